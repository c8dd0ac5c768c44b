"""A schedule made of a solver's values that break conditions: near to them, and keeping all.

Where a condition is broken it is decided by what the values are nearer to; a linear programme finds
the rest. The schedule is an upper bound beside the solver's lower one: it ends the search where the
two meet, and is what is left where time runs out. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from dataclasses import dataclass

from vpp.schedule.backends import Outcome
from vpp.schedule.exclusive import Intervals, merged, without
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.solution import solution
from vpp.schedule.stages import CLASS_SLACK, Stages

TRIES = 5  # one decision may break a condition elsewhere


@dataclass(frozen=True, eq=False)
class Repaired:
    """A schedule that keeps all conditions.

    Parameters
    ----------
    outcome : the linear programme of what was decided.
    schedule : its schedule.
    bends_more : whether limits bend more than in the solver's values.
    """

    outcome: Outcome
    schedule: Schedule
    bends_more: bool


def repaired(
    problem: Problem, stages: Stages, outcome: Outcome, broken: Intervals, exclusive: Intervals
) -> Repaired | None:
    """A schedule near a solver's values.

    Parameters
    ----------
    problem : what is to be scheduled.
    stages : the model, which keeps what is decided.
    outcome : the solver's answer.
    broken : intervals in which it breaks conditions.
    exclusive : intervals with binaries.

    Returns
    -------
    The schedule; None where it is not found so.
    """
    decided: Intervals = {}
    found, bent = outcome.found, stages.least
    for _ in range(TRIES):
        new = without(broken, decided)
        if not new:
            return None
        stages.settle(found, new)
        decided = merged(decided, new)
        fixed = stages.fixed(outcome.found)
        if fixed.status != "optimal":
            return None
        schedule, broken = solution(problem, stages.model, fixed.found)
        broken = without(broken, exclusive)
        if not broken:
            return Repaired(fixed, schedule, bends_more(bent, stages.least))
        found = fixed.found
        stages.run.release()
    return None


def bends_more(before: list[float], after: list[float]) -> bool:
    """Whether limits bend more than before, class by class, but for rounding.

    Parameters
    ----------
    before, after : violation of each class [kWh, kWh h].
    """
    return any(b > a + 2 * CLASS_SLACK for a, b in zip(before, after, strict=False))
