"""How near two costs, and how calm two plans, are to each other."""

import numpy as np

from vpp.schedule.problem import Problem, Schedule


def near(value: float, other: float, relative: float = 1e-6) -> bool:
    return abs(value - other) <= relative * max(1.0, abs(value), abs(other))


def calmness(problem: Problem, schedule: Schedule) -> tuple[float, float]:
    """Throughput, and change from the plan before [kWh]."""
    both = schedule.charge_kw + schedule.discharge_kw
    before = np.array([problem.before_kw(battery) for battery in problem.batteries])
    change = np.abs(schedule.charge_kw - schedule.discharge_kw - before)
    return problem.hours * float(both.sum()), problem.hours * float(np.nansum(change))
