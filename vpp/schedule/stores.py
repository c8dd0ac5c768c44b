"""Stores of electric energy in the model: their balance, tapering, and two directions.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.curves import pieces
from vpp.schedule.draft import EQ, GE, LE, Model


def balance_energy(
    model: Model, key: str, gain: float, spend: float, keep: float, start_kwh: float
) -> None:
    """Stored energy is the rest of the energy before, plus charged, less discharged energy.

    Parameters
    ----------
    model : a model with the variables energy_kwh, charge_kw and discharge_kw of the key.
    key : the store in names.
    gain, spend : stored by, and taken for, a kW of an interval [kWh].
    keep : fraction of the energy that an interval leaves.
    start_kwh : energy at the start [kWh].
    """
    count = model.intervals
    start, later, energy = np.zeros(count), np.arange(1, count), f"energy_kwh_{key}"
    start[0] = start_kwh * keep
    model.constrain(
        f"balance_energy_{key}",
        EQ,
        start,
        (energy, 1.0),
        (f"charge_kw_{key}", -gain),
        (f"discharge_kw_{key}", spend),
        (energy, -keep, later, later - 1),
    )


def taper(
    model: Model,
    key: str,
    power: str,
    curve: tuple[tuple[float, ...], ...],
    capacity_kwh: float,
    start_kwh: float,
) -> None:
    """A power stays below its curve at the SOC with which an interval starts.

    Parameters
    ----------
    model : a model with the variables energy_kwh of the key.
    key : the store in names.
    power : `charge_kw` or `discharge_kw`.
    curve : (soc, kW), concave.
    capacity_kwh : energy between SOC 0 and 1 [kWh].
    start_kwh : energy at the start [kWh].
    """
    later = np.arange(1, model.intervals)
    for i, (at_empty, rise) in enumerate(pieces(curve)):
        right = np.full(model.intervals, at_empty)
        right[0] += rise * start_kwh / capacity_kwh
        before = (f"energy_kwh_{key}", -rise / capacity_kwh, later, later - 1)
        name = f"taper_{power}_{key}_{i}"
        model.constrain(name, LE, right, (f"{power}_{key}", 1.0), before)


def fit_alone(
    model: Model,
    key: str,
    intervals: np.ndarray,
    gain: float,
    spend: float,
    keep: float,
    start_kwh: float,
) -> None:
    """Charging finds its room, and discharging its energy, without the other.

    Where binaries keep both apart, whole binaries imply it. Fractions of them do not: with it the
    solver has less to branch on. Such linear models are compared by Pozo, Electric Power Systems
    Research 212 (2022), arXiv:2204.08240.

    Parameters
    ----------
    model : the model that gets it.
    key : the store in names.
    intervals : numbers of the intervals.
    gain, spend, keep, start_kwh : as in `balance_energy`.
    """
    energy, count, here = (
        model.columns[f"energy_kwh_{key}"],
        len(intervals),
        np.arange(len(intervals)),
    )
    bounds = []
    for bound, outer in ((energy.lower, np.minimum), (energy.upper, np.maximum)):
        before = keep * np.concatenate(([start_kwh], bound[:-1]))[intervals]
        least = outer(before, bound[intervals])
        bounds.append(np.where(intervals == 0, least - keep * start_kwh, least))
    later = np.flatnonzero(intervals > 0)
    held = (f"energy_kwh_{key}", keep, later, intervals[later] - 1)
    names = {"count": count, "numbers": intervals.tolist(), "implied": True}
    charge = (f"charge_kw_{key}", gain, here, intervals)
    model.constrain(f"fit_charge_{key}", LE, bounds[1], held, charge, **names)
    discharge = (f"discharge_kw_{key}", -spend, here, intervals)
    model.constrain(f"fit_discharge_{key}", GE, bounds[0], held, discharge, **names)


def unlooped(
    charge: np.ndarray, discharge: np.ndarray, eta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Powers of which only one is above zero, with the same stored energy.

    Parameters
    ----------
    charge, discharge : powers [kW], one an interval.
    eta : round trip efficiency.

    Returns
    -------
    Charging and discharging power [kW], without what only goes round.
    """
    loop = np.minimum(charge, discharge / eta)
    alone = loop < charge
    return np.where(alone, charge - loop, 0.0), np.where(alone, 0.0, discharge - eta * loop)
