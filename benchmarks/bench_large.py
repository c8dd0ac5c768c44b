"""A year in which a limit bends beside one in which none does, and fleets of 1,000 and 10,000
batteries.

Times are CPU seconds of this process. The share of a fleet's saving is that between doing nothing
and the bound that its certificate proves.

    python benchmarks/bench_large.py
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).parent)]

from bench_optimization import YEAR_H, a_problem, timed
from straight import straight

from vpp.runtime.tables import print_rows
from vpp.schedule.devices import GridConnection
from vpp.schedule.dispatch import idle
from vpp.schedule.problem import Problem
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve_model

LIMIT_S = 5.0


def bent_year(repeats: int) -> dict:
    """A year whose import limit cannot be kept now and then, and its twin with a wide one."""
    twin = a_problem(YEAR_H)
    bent = replace(twin, grid=GridConnection(1600.0, 5000.0))
    solve_model(a_problem(24), explain=False)
    seconds = [
        (timed(solve_model, bent, explain=False), timed(solve_model, twin, explain=False)[1])
        for _ in range(repeats)
    ]
    found = seconds[0][0][0]
    ours, unbent = min(one[0][1] for one in seconds), min(one[1] for one in seconds)
    return {
        "bent_intervals": len(replay(bent, found.schedule).bends),
        "status": found.status,
        "bent_s": ours,
        "unbent_s": unbent,
        "ratio": ours / unbent,
        "target": 2.0,
    }


def a_fleet(count: int) -> Problem:
    """144 steps of 10 min; a hundred kinds of batteries."""
    some = a_problem(144, 10, 100)
    more = [
        replace(some.batteries[b % 100], battery_id=f"b{b}", wear_eur_per_mwh=5.0 + 2.0 * b / count)
        for b in range(count)
    ]
    scale, limit_kw = count / 100, 5000.0 * count
    return replace(
        some,
        batteries=tuple(more),
        load_kw=some.load_kw * scale,
        renewables_kw=some.renewables_kw * scale,
        grid=GridConnection(limit_kw, limit_kw),
    )


def optimal_fleet(count: int) -> dict:
    """A fleet solved to its optimum, beside its matrices handed straight to HiGHS."""
    problem = a_fleet(count)
    found, ours = timed(solve_model, problem, explain=False)
    optimum, raw = timed(straight, problem, {})
    money = replay(problem, found.schedule).objective_eur
    return {
        "batteries": count,
        "status": found.status,
        "off_eur": money - optimum,
        "optimum_eur": optimum,
        "ours_s": ours,
        "straight_s": raw,
        "ratio": ours / raw,
        "target": 1.3,
    }


def fleet_in_time(count: int) -> dict:
    """A fleet at a time limit: share of the possible saving."""
    problem = replace(a_fleet(count), time_limit_s=LIMIT_S)
    found, seconds = timed(solve_model, problem, explain=False)
    return {
        "batteries": count,
        "limit_s": LIMIT_S,
        "status": found.status,
        "seconds": seconds,
        "target_s": LIMIT_S,
        "share_of_saving": share(problem, found),
        "target": 0.95,
    }


def share(problem: Problem, found) -> float:
    """What a plan saves of what its bound leaves possible."""
    nothing = replay(problem, idle(problem)).objective_eur
    money = replay(problem, found.schedule)
    assert not money.violations
    return (nothing - money.objective_eur) / (nothing - found.certificate.bound_eur)


def main() -> None:
    print_rows([bent_year(3)], "a year of hours that bends, and its twin")
    print_rows([fleet_in_time(count) for count in (1000, 10_000)], "fleets of 144 steps in time")
    print_rows([optimal_fleet(1000)], "a fleet of 144 steps to its optimum")


if __name__ == "__main__":
    main()
