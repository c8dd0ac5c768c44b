"""The worth of one more MWh, from the duals of a solved model.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.draft import Model
from vpp.schedule.problem import Problem


def marginal_values(
    problem: Problem, model: Model, duals: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The value of one more MWh.

    Parameters
    ----------
    problem : what is scheduled.
    model : its model.
    duals : of its constraints, if they are known.

    Returns
    -------
    Of a MWh in each battery at the end of each interval (battery, interval), and of a MWh at the
    bus in each interval [EUR/MWh]; NaN without duals.
    """
    count, batteries = problem.intervals, len(problem.batteries)
    if duals is None:
        return unknown_values(problem)
    firsts = [model.rows[f"balance_energy_{b}"].first for b in range(batteries)]
    stored = [-duals[first : first + count] for first in firsts]
    bus = duals[model.rows["balance_power"].first :][:count] / problem.hours
    return np.reshape(stored, (batteries, count)) + 0.0, bus


def unknown_values(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Marginal values that nobody knows: NaN in the shapes of `marginal_values`."""
    count = problem.intervals
    return np.full((len(problem.batteries), count), np.nan), np.full(count, np.nan)
