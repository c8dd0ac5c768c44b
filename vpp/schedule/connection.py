"""The grid connection's part of the model: power balance, limits and caps.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.checks import rounding
from vpp.schedule.draft import EQ, GRID, INFINITE, LE, Model
from vpp.schedule.exclusive import Pair
from vpp.schedule.problem import Problem


def draft_grid(problem: Problem, model: Model) -> None:
    """Add the connection's powers and curtailment.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : the model that gets them.
    """
    hours, limits = problem.hours, most_kw(problem)
    imports, exports = problem.settlement.flows
    if not model.may_bend(GRID):
        limits = (
            np.minimum(limits[0], problem.import_limit_kw),
            np.minimum(limits[1], problem.export_limit_kw),
        )
    model.add("grid_import_kw", 0.0, limits[0], hours * imports, balance=1.0)
    model.add("grid_export_kw", 0.0, limits[1], -hours * exports, balance=-1.0)
    problem.settlement.draft(model)
    sells_dearer = np.flatnonzero(exports > imports)
    behind = sum(inverter.renewables_share for inverter in problem.inverters)
    if problem.curtailable:
        most = problem.renewables_kw * max(0.0, 1.0 - behind)
        model.add("curtailed_kw", 0.0, most, balance=-1.0)
    model.conditions["grid"] = Pair(
        *("grid_import_kw", "grid_export_kw"),
        least_kw=rounding(problem.load_kw, problem.renewables_kw, *problem.stack.usable_kw),
        pays=sells_dearer,
        watched=sells_dearer,
    )


def most_kw(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """More power than can ever flow through the connection.

    It keeps a linear programme finite that would import and export at once.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    Import and export [kW], one an interval.
    """
    charge, discharge = (powers.sum(axis=0) for powers in problem.stack.usable_kw)
    for _, _, device in problem.devices:
        takes, gives = device.most_kw(problem.horizon)
        charge, discharge = charge + takes, discharge + gives
    return (
        np.maximum(problem.load_kw, 0.0) + charge + 1.0,
        problem.renewables_kw + np.maximum(-problem.load_kw, 0.0) + discharge + 1.0,
    )


def balance_power(problem: Problem, model: Model) -> None:
    """Import and discharging serve the load that renewables do not.

    The rest of the power is exported, curtailed or charged.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : a model with all its powers.
    """
    powers = [(name, group.balance) for name, group in model.columns.items() if group.balance]
    model.constrain("balance_power", EQ, problem.load_kw - problem.renewables_kw, *powers)


def bend_grid_limits(problem: Problem, model: Model) -> None:
    """Power above a grid limit is noted.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : a soft model.
    """
    limits = (("import", problem.import_limit_kw), ("export", problem.export_limit_kw))
    for direction, limit in limits:
        places = np.flatnonzero(limit < INFINITE)
        count, here = len(places), np.arange(len(places))
        if count:
            over = f"{direction}_over_kw"
            model.add(over, count=count, bends=GRID, weight=problem.hours)
            terms = ((f"grid_{direction}_kw", 1.0, here, places), (over, -1.0))
            given = {"count": count, "numbers": places.tolist(), "folds": True}
            model.constrain(f"bend_{direction}_limit", LE, limit[places], *terms, **given)


def cap_co2(problem: Problem, model: Model, most_kg: float) -> None:
    """CO2 of all imports stays below a cap.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : the model that gets it.
    most_kg : the cap [kg].
    """
    every, weights = np.arange(problem.intervals), problem.hours * problem.co2_kg_per_mwh / 1000
    total = ("grid_import_kw", weights, np.zeros_like(every), every)
    model.constrain("cap_co2", LE, most_kg, total, count=1)


def cap_discharge(problem: Problem, model: Model, most_kwh: float) -> None:
    """Energy discharged by all batteries stays below a cap.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : the model that gets it.
    most_kwh : the cap [kWh].
    """
    every = np.arange(problem.intervals)
    terms = [
        (f"discharge_kw_{b}", problem.hours, np.zeros_like(every), every)
        for b in range(len(problem.batteries))
    ]
    model.constrain("cap_discharge", LE, most_kwh, *terms, count=1)
