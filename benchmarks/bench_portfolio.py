"""Plans of many sites together: time, distance to the bound, and limits in the replay.

    python benchmarks/bench_portfolio.py                # 1,000 and 10,000 batteries
    python benchmarks/bench_portfolio.py --batteries 1000 --sites 30
    python benchmarks/bench_portfolio.py --growth       # 1 to 10,000 batteries, 1 to 300 sites

Each site has a load, sun, a connection with limits and its batteries; 96 intervals of 15 min.
Batteries differ little (capacity and duration by some 5 %) or much (by some 60 %, with wear). All
sites together have nothing in common, limits of 70 % of what they would exchange without them, or
a position from which each MWh away costs 30 EUR. Goals are those of two cores that do nothing else;
`cpu_s` is that of all threads. `--growth` runs all six of each size in a process of its own, and
prints its CPU seconds, start-up included, its memory, and the exponents as `bench_scale.py` does.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.bench_scale import run, with_exponents
from vpp.runtime.tables import print_rows
from vpp.schedule.coupling import Coupling
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.portfolio import plan_portfolio
from vpp.schedule.portfolio_plan import PortfolioPlan
from vpp.schedule.problem import Problem
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve_model

STEPS, HOURS = 96, 0.25
SPREADS = {"little": 0.05, "much": 0.6}
GOALS = {("little", "gap"): 1e-3, ("much", "gap"): 1e-2}
GOAL_S = {1_000: 3.0, 10_000: 60.0}
GROWTH = {  # batteries of each number of sites
    "batteries": [(1, 1), (1, 10), (3, 100), (30, 1_000), (300, 10_000)],
    "sites": [(1, 10), (10, 100), (100, 1_000), (300, 3_000)],
}
NONE = np.full(STEPS, np.inf)


def a_site(rng: np.random.Generator, price: np.ndarray, count: int, spread: float) -> Problem:
    """A site with so many batteries."""
    hour = np.arange(STEPS) * HOURS
    capacity = 200 * np.exp(rng.normal(0, spread, count))
    power = capacity / (3 * np.exp(rng.normal(0, spread / 2, count)))
    eta = rng.uniform(0.96 - 0.1 * spread, 0.96, (2, count))
    wear, soc = spread * rng.uniform(0, 15, count), rng.uniform(0.5 - spread / 2, 0.5, count)
    batteries = tuple(
        ScheduledBattery(
            f"b{b}", capacity[b], power[b], power[b], eta[0, b], eta[1, b],
            soc_min=0.05, soc_max=0.95, soc_initial=max(0.1, soc[b]), wear_eur_per_mwh=wear[b],
            terminal_value_eur_per_mwh=55.0,
        )
        for b in range(count)
    )  # fmt: skip
    load = rng.uniform(300, 900) * (1 + 0.3 * np.sin((hour - 9) / 12 * np.pi))
    sun = rng.uniform(200, 1500) * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
    most = 0.5 * power.sum() + load.max()
    return Problem(
        step_min=15,
        load_kw=load * rng.uniform(0.95, 1.05, STEPS),
        renewables_kw=sun,
        import_price_eur_per_mwh=price + 10,
        export_price_eur_per_mwh=price - 5,
        batteries=batteries,
        grid=GridConnection(import_limit_kw=most, export_limit_kw=most),
        time_limit_s=60.0,
    )


def make(sites: int, batteries: int, spread: float) -> dict[str, Problem]:
    """A portfolio."""
    rng, hour = np.random.default_rng(1), np.arange(STEPS) * HOURS
    price = 70 + 30 * np.sin((hour - 4) / 6 * np.pi) + rng.normal(0, 4, STEPS)
    counts = np.full(sites, batteries // sites) + (np.arange(sites) < batteries % sites)
    return {f"site-{i}": a_site(rng, price, int(n), spread) for i, n in enumerate(counts)}


def couplings(problems: dict[str, Problem], free: PortfolioPlan) -> dict[str, Coupling]:
    """What the sites have in common, by a name."""
    net = free.exchange_kw
    bare = sum(problem.load_kw - problem.renewables_kw for problem in problems.values())
    limits = (np.full(STEPS, 0.7 * max(net.max(), 0)), np.full(STEPS, 0.7 * max(-net.min(), 0)))
    return {
        "limits": Coupling(HOURS, *limits),
        "position": Coupling(HOURS, NONE, NONE, bare, 30.0, 30.0),
    }


def broken(plan: PortfolioPlan) -> int:
    """Limits of sites that are not kept, and faults, in a replay of each unit."""
    found = [replay(one.problem, one.schedule) for one in plan.sites.values()]
    return sum(len(money.violations) + len(money.bends) for money in found) + len(plan.faults)


def measured(
    problems: dict[str, Problem], name: str, spread: str, coupling: Coupling, limit_s: float
) -> tuple[dict, PortfolioPlan]:
    """A row of the table, and the plan."""
    began, cpu = time.perf_counter(), time.process_time()
    plan = plan_portfolio(problems, coupling, solve_model, time_limit_s=limit_s)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = sum(len(problem.batteries) for problem in problems.values())
    goal, goal_s = GOALS[spread, "gap"], GOAL_S.get(count)
    total = sum(one.exchange_kw for one in plan.sites.values())
    row = {
        "batteries": count, "sites": len(problems), "differ": spread, "common": name,
        "seconds": round(seconds, 1), "cpu_s": round(cpu, 1), "goal_s": goal_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "gap": f"{plan.certificate.gap:.4%}", "goal_gap": f"{goal:.1%}",
        "broken": broken(plan), "excess_kwh": round(plan.excess_kwh, 6),
        "sum_off_kw": float(np.abs(total - plan.exchange_kw).max()),
        "met": bool(plan.certificate.gap <= goal and (goal_s is None or seconds <= goal_s)),
    }  # fmt: skip
    return row, plan


def growth(limit_s: float) -> None:
    """Print how CPU time and memory grow."""
    script = str(Path(__file__).relative_to(ROOT))
    for name, sizes in GROWTH.items():
        rows = []
        for sites, batteries in sizes:
            given = ("--batteries", batteries, "--sites", sites, "--time-limit", limit_s)
            with tempfile.TemporaryDirectory() as folder:
                spent, clock, peak = run(Path(folder), script, [str(each) for each in given])
            row = {"stage": "six plans", "sites": sites, "batteries": batteries, "cpu_s": spent}
            rows.append(row | {"servers_cpu_s": 0.0, "clock_s": clock, "peak_mb": peak})
        print_rows(with_exponents(rows, name), f"more {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--batteries", type=int, metavar="N")
    parser.add_argument("--sites", type=int, metavar="N", default=300)
    parser.add_argument("--time-limit", type=float, metavar="S", default=60.0)
    parser.add_argument("--growth", action="store_true", help="print how time and memory grow")
    args = parser.parse_args()
    if args.growth:
        growth(args.time_limit)
        return
    sizes = [(30, 1_000), (300, 10_000)]
    if args.batteries:
        sizes = [(args.sites, args.batteries)]
    rows, loose = [], Coupling(HOURS, NONE, NONE)
    for sites, batteries in sizes:
        for spread, width in SPREADS.items():
            problems = make(sites, batteries, width)
            row, free = measured(problems, "nothing", spread, loose, args.time_limit)
            rows.append(row)
            for name, coupling in couplings(problems, free).items():
                rows.append(measured(problems, name, spread, coupling, args.time_limit)[0])
                print_rows(rows[-1:])
    print_rows(rows, "portfolio; goals of two cores")


if __name__ == "__main__":
    main()
