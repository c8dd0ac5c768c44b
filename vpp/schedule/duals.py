"""The linear programme at a solved model: its choices fixed, its cost held, its marginal values.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np
import pulp

from vpp.schedule.backends import Outcome
from vpp.schedule.constraints import Model

DUAL_TOLERANCE = 1e-7  # of the largest price; a reduced cost above it holds its variable


def fix_binaries(model: Model, values: np.ndarray) -> None:
    """Turn a solved mixed-integer model into the linear programme of its choices.

    Constraints that these choices imply are taken out.

    Parameters
    ----------
    model : the model, which is changed.
    values : of its variables.
    """
    group = model.columns["binaries"]
    for variable, value in zip(group.variables, values[group.first :], strict=True):
        variable.cat = pulp.LpContinuous
        variable.bounds(round(value), round(value))
    model.lp.drop("fit_")


def hold_cost(model: Model, outcome: Outcome) -> None:
    """Keep the linear programme at its optimal cost, and ask for the least throughput instead.

    At the optimum every variable with a reduced cost stays where it is, and so does every
    constraint with a dual (complementary slackness): the schedules left are those of equal cost.

    Parameters
    ----------
    model : the model, which is changed.
    outcome : its optimum, with duals.

    Raises
    ------
    ValueError : it has none.
    """
    prices = (model.columns["grid_import_kw"].cost, model.columns["grid_export_kw"].cost)
    least = DUAL_TOLERANCE * max(1.0, *(float(np.abs(cost).max()) for cost in prices))
    if outcome.reduced_costs is None or outcome.duals is None:
        raise ValueError("an optimum without duals")
    values, costs = outcome.found.tolist(), outcome.reduced_costs.tolist()
    for variable, value, cost in zip(model.variables, values, costs, strict=True):
        if abs(cost) > least:
            variable.bounds(value, value)
    for constraint, dual in zip(model.lp.constraints(), outcome.duals.tolist(), strict=True):
        if constraint.sense != pulp.LpConstraintEQ and abs(dual) > least:
            constraint.sense = pulp.LpConstraintEQ
    powers = ("charge_kw", "discharge_kw")
    groups = [group for name, group in model.columns.items() if name.startswith(powers)]
    moves = [(variable, 1.0) for group in groups for variable in group.variables]
    model.lp.setObjective(pulp.LpAffineExpression(moves))


def marginal_values(model: Model, duals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The value of one more MWh.

    Parameters
    ----------
    model : the model.
    duals : of its constraints, if they are known.

    Returns
    -------
    Of a MWh in each battery at the end of each interval (battery, interval), and of a MWh at the
    bus in each interval [EUR/MWh]; NaN without duals.
    """
    problem, count = model.problem, model.problem.intervals
    if duals is None:
        return np.full((len(problem.batteries), count), np.nan), np.full(count, np.nan)
    rows = [model.rows[f"balance_energy_{b}"] for b in range(len(problem.batteries))]
    stored = [-duals[row : row + count] for row in rows]
    bus = duals[model.rows["balance_power"] :][:count] / problem.hours
    return np.reshape(stored, (len(rows), count)) + 0.0, bus
