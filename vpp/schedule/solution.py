"""The schedule that a solver's values mean, and where they do not keep to what needs binaries.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.dispatch import settle
from vpp.schedule.draft import Model
from vpp.schedule.exclusive import Intervals, broken_intervals
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.stores import unlooped


def solution(problem: Problem, model: Model, found: np.ndarray) -> tuple[Schedule, Intervals]:
    """The schedule that a solver's values mean.

    Values are put inside their bounds. Rounding that charges and discharges at once is taken out at
    equal stored energy. Grid power and SOC follow from the powers, so that balances hold exactly;
    import and export are netted.

    Parameters
    ----------
    problem : what is scheduled.
    model : its model.
    found : values of the model's variables.

    Returns
    -------
    The schedule, and the intervals in which the values break a condition, by its key.
    """
    charge, discharge = np.zeros((2, len(problem.batteries), problem.intervals))
    for b, battery in enumerate(problem.batteries):
        charges, gives = (model.values(found, f"{way}_kw_{b}") for way in ("charge", "discharge"))
        eta = battery.eta_charge * battery.eta_discharge
        charge[b], discharge[b] = unlooped(charges, gives, eta)
        if battery.charge_min_kw:  # what is below is rounding, or the condition is broken
            below = charge[b] < battery.charge_min_kw
            rounded = np.where(charge[b] < battery.charge_min_kw / 2, 0.0, battery.charge_min_kw)
            near = np.abs(charge[b] - rounded) <= 1e-6 * max(1.0, battery.charge_min_kw)
            charge[b] = np.where(below & near, rounded, charge[b])
    curtailed = np.zeros(problem.intervals)
    for name in model.columns:
        if name.startswith(("curtailed_kw", "clipped_kw")):
            curtailed = curtailed + model.values(found, name)
    devices = {}
    for key, _, device in problem.devices:

        def read(name: str, key: str = key) -> np.ndarray:
            return model.values(found, f"{name}_{key}")

        devices[key] = device.read(read, problem.hours)
    schedule = settle(problem, charge, discharge, curtailed, devices)
    return schedule, broken_intervals(model, found)
