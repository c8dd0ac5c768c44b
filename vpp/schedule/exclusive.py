"""Never two opposite powers at once: where binaries are needed, and what a solver's values mean.

A battery must not charge and discharge at once, nor the grid connection import and export. The
linear programme does neither except where burning energy pays: where the price of taking it is
below -wear * eta / (1 - eta) (eta: round trip), or where exporting pays more than importing costs.
Only there binaries forbid it. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.battery import TOLERANCE
from vpp.schedule.constraints import Model
from vpp.schedule.dispatch import settle
from vpp.schedule.problem import Problem, Schedule

Intervals = dict[str, np.ndarray]  # numbers of intervals, for `grid` and for each battery's number


def paying_intervals(problem: Problem) -> Intervals:
    """Where a linear programme could gain by doing two opposite things at once.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    The intervals that get binaries at first.
    """
    imports, exports = problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh
    exclusive = {"grid": np.flatnonzero(exports > imports)}
    # taken energy is imported, or is not exported; renewables that can be curtailed need nobody to
    # burn them
    taking = imports if problem.curtailable else np.minimum(imports, exports)
    for b, battery in enumerate(problem.batteries):
        eta = battery.eta_charge * battery.eta_discharge
        if eta < 1 and battery.charge_kw and battery.discharge_kw:
            pays = taking < -battery.wear_eur_per_mwh * eta / (1 - eta)
            exclusive[str(b)] = np.flatnonzero(pays)
    return {key: intervals for key, intervals in exclusive.items() if len(intervals)}


def solution(model: Model, values: np.ndarray) -> tuple[Schedule, Intervals]:
    """The schedule that a solver's values mean, and where it does two opposite things at once.

    Values are put inside their bounds. Rounding that charges and discharges at once is taken out at
    equal stored energy. Grid power and SOC follow from the powers, so that balances hold exactly;
    import and export are netted.

    Parameters
    ----------
    model : the model.
    values : of its variables.

    Returns
    -------
    The schedule, and the intervals in which the values do two things at once.
    """
    problem, count = model.problem, model.problem.intervals
    charge, discharge = np.zeros((2, len(problem.batteries), count))
    largest = max([1.0, *(max(problem.usable_kw(battery)) for battery in problem.batteries)])
    both = {}
    for b, battery in enumerate(problem.batteries):
        c, d = _series(model, values, f"charge_kw_{b}"), _series(model, values, f"discharge_kw_{b}")
        both[str(b)] = np.flatnonzero(np.minimum(c, d) > TOLERANCE * largest)
        eta = battery.eta_charge * battery.eta_discharge
        loop = np.minimum(c, d / eta)
        charge[b] = np.where(loop < c, c - loop, 0.0)
        discharge[b] = np.where(loop < c, 0.0, d - eta * loop)
    both["grid"] = _through(model, values, largest)
    curtailed = np.zeros(count)
    if problem.curtailable:
        curtailed = _series(model, values, "curtailed_kw")
    found = {key: intervals for key, intervals in both.items() if len(intervals)}
    return settle(problem, charge, discharge, curtailed), found


def _series(model: Model, values: np.ndarray, name: str) -> np.ndarray:
    """Values of a group of variables, inside their bounds."""
    group = model.columns[name]
    here = values[group.first : group.first + model.problem.intervals]
    return np.clip(here, group.lower, group.upper)


def _through(model: Model, values: np.ndarray, largest_kw: float) -> np.ndarray:
    """Where importing and exporting at once pays, and is done."""
    problem = model.problem
    pays = problem.export_price_eur_per_mwh > problem.import_cost_eur_per_mwh
    if not pays.any():
        return np.zeros(0, dtype=int)
    imports, exports = (_series(model, values, f"grid_{way}_kw") for way in ("import", "export"))
    load, renewables = np.abs(problem.load_kw).max(), problem.renewables_kw.max()
    least = TOLERANCE * max(largest_kw, float(load), float(renewables))
    return np.flatnonzero((np.minimum(imports, exports) > least) & pays)


def merged(first: Intervals, second: Intervals) -> Intervals:
    """Intervals of either.

    Parameters
    ----------
    first, second : intervals.

    Returns
    -------
    Their union, sorted, for each key of either.
    """
    empty = np.zeros(0, dtype=int)
    return {
        key: np.union1d(first.get(key, empty), second.get(key, empty))
        for key in {**first, **second}
    }


def without(first: Intervals, second: Intervals) -> Intervals:
    """Intervals of the first that are not in the second.

    Parameters
    ----------
    first, second : intervals.

    Returns
    -------
    The difference, sorted; a key without intervals is left out.
    """
    empty = np.zeros(0, dtype=int)
    left = {key: np.setdiff1d(found, second.get(key, empty)) for key, found in first.items()}
    return {key: intervals for key, intervals in left.items() if len(intervals)}
