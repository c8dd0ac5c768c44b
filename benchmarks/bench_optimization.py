"""The time that schedules take beside handing the same matrices straight to HiGHS, in one run.

Each problem is solved by `vpp.schedule.solver.solve_model` (PuLP model, hand-over, solve, check and
certificate) and by an independent numpy assembly passed to HiGHS in one call, in turn; both must
find the same optimum. Times are CPU seconds of this process, the best of the repeats; read the
ratios. `explained` adds marginal values, reasons and the replay. energypylinear runs beside them
where VPP_BENCH_ENERGYPYLINEAR names the Python of an environment that has it.

    python benchmarks/bench_optimization.py --plot docs/optimization.png
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).parent)]

import numpy as np
from home import a_home
from straight import INF, straight

from vpp.runtime.tables import print_rows
from vpp.schedule.backends import HIGHS_SEARCHES, new_highs
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.exclusive import expected_intervals
from vpp.schedule.model import build
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.replay import replay
from vpp.schedule.rolling import Rolling, roll
from vpp.schedule.solver import solve, solve_model

YEAR_H = 8760

# Runs in energypylinear's own environment: CPU seconds, its solver's included, for the prices on
# stdin; the best of 3.
ENERGYPYLINEAR = """
import json, resource, sys
import energypylinear as epl

def spent():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)

prices, seconds = json.load(sys.stdin), []
epl.Battery(electricity_prices=prices[:4]).optimize(verbose=4)
for _ in range(3):
    before = spent()
    battery = epl.Battery(
        power_mw=1, capacity_mwh=2, efficiency_pct=0.9, electricity_prices=prices, freq_mins=60
    )
    battery.optimize(verbose=4)
    seconds.append(spent() - before)
print(min(seconds))
"""


def a_problem(
    intervals: int, step_min: int = 60, batteries: int = 1, negative: bool = False, seed: int = 1
) -> Problem:
    """A site with sun, wind and load.

    With `negative`, 31 days have three hours at -60 EUR/MWh, where burning energy pays.
    """
    generator, hour = np.random.default_rng(seed), np.arange(intervals) * step_min / 60
    price = (
        80
        + 35 * np.sin(2 * np.pi * (hour - 15) / 12)
        + 12 * np.sin(2 * np.pi * hour / 168)
        + generator.normal(0, 8, intervals)
    )
    price = np.maximum(price, 1.0)
    if negative:
        days = generator.choice(intervals * step_min // 1440, 31, replace=False)
        price[np.isin(hour // 24, days) & (hour % 24 >= 12) & (hour % 24 < 15)] = -60.0
    load = 2000 + 800 * np.sin(2 * np.pi * (hour - 9) / 24) + generator.normal(0, 100, intervals)
    renewables = np.maximum(0, 2500 * np.sin(2 * np.pi * (hour - 6) / 24)) * generator.uniform(
        0.2, 1, intervals
    ) + generator.uniform(0, 900, intervals)
    fleet = tuple(
        ScheduledBattery(
            battery_id=f"b{b}",
            capacity_kwh=2000.0 + 10 * b,
            charge_kw=1000.0,
            discharge_kw=1000.0 - 2 * b,
            eta_charge=0.95,
            eta_discharge=0.95 - 0.0005 * b,
            soc_min=0.05,
            soc_max=0.95,
            soc_initial=0.5,
            wear_eur_per_mwh=5.0 + 0.02 * b,
            terminal_value_eur_per_mwh=60.0,
        )
        for b in range(batteries)
    )
    return Problem(
        step_min=step_min,
        load_kw=load * batteries,
        import_price_eur_per_mwh=price + 10,
        export_price_eur_per_mwh=price,
        renewables_kw=renewables * batteries,
        co2_kg_per_mwh=np.zeros(intervals),
        batteries=fleet,
        grid=GridConnection(5000.0 * batteries, 5000.0 * batteries),
        time_limit_s=900.0,
    )


def timed(function, *arguments, **options):
    started = time.process_time()
    result = function(*arguments, **options)
    return result, time.process_time() - started


def compared(name: str, problem: Problem, limit: float, repeats: int) -> dict:
    """Both ways in turn, the best of the repeats of each; refuses to compare different optima."""
    ours, raw, exclusive = INF, INF, expected_intervals(build(problem, False, {}))
    for _ in range(repeats):
        found, seconds = timed(solve_model, problem, explain=False)
        optimum, straight_seconds = timed(straight, problem, exclusive)
        ours, raw = min(ours, seconds), min(raw, straight_seconds)
        assert abs(found.certificate.bound_eur - optimum) <= 2e-6 * max(1.0, abs(optimum)), (
            name,
            found.certificate,
            optimum,
        )
    model, building = timed(build, problem, False, exclusive)
    matrix, reading = timed(lambda: model.matrices)
    highs, passing = timed(new_highs, matrix, 900.0, problem.gap)
    solving = timed(highs.run)[1]
    explained = timed(solve, problem)[1]
    return {
        "problem": name,
        "variables": len(matrix.cost),
        "binaries": model.binaries,
        "straight_s": raw,
        "ours_s": ours,
        "ratio": ours / raw,
        "target": limit,
        "build_s": building,
        "hand_over_s": reading + passing,
        "solve_s": solving,
        "explained_s": explained,
    }


def all_binaries(problem: Problem) -> list[dict]:
    """A year with negative prices: binaries where burning energy pays against binaries in every
    interval.

    A textbook model, as energypylinear builds it, has one for charging or discharging and one for
    importing or exporting. Both are handed straight to HiGHS, as it comes and with the options that
    this project sets."""
    few, seconds = min(
        (timed(solve_model, problem, explain=False) for _ in range(5)), key=lambda found: found[1]
    )
    every = {str(b): np.arange(problem.intervals) for b in range(len(problem.batteries))}
    textbook, rows = every | {"grid": np.arange(problem.intervals)}, []
    for name, exclusive in (("batteries", every), ("batteries and grid", textbook)):
        for options, set_by in (({}, "HiGHS"), (HIGHS_SEARCHES, "us")):
            optimum, all_seconds = timed(straight, problem, exclusive, options)
            rows.append(
                {
                    "binaries_for": name,
                    "all_binaries": sum(map(len, exclusive.values())),
                    "options_of": set_by,
                    "all_s": all_seconds,
                    "binaries": few.certificate.binaries,
                    "ours_s": seconds,
                    "times_faster": all_seconds / seconds,
                    "target": 8.0,
                    "difference": abs(few.certificate.bound_eur - optimum) / abs(optimum),
                }
            )
    return rows


def homes(count: int) -> list[dict]:
    """Homes with a battery, a car, a heat pump and a washing machine, 48 h in steps of 15 min."""
    rows = []
    for name, price, limit in (
        ("no peak price", 0.0, 1.0),
        ("a price of quarter-hours", 4.0, None),
    ):
        solved = [timed(solve, parse_problem(a_home(seed, price))) for seed in range(count)]
        seconds = sorted(spent for _, spent in solved)
        certificates = [result.certificate for result, _ in solved]
        rows.append(
            {
                "homes": f"{count} with {name}",
                "binaries": max(one.binaries for one in certificates),
                "largest_gap": max(one.gap for one in certificates),
                "median_s": seconds[count // 2],
                "slowest_s": seconds[-1],
                "target": limit,
            }
        )
    return rows


def rolling_year(windows: int) -> dict:
    """Windows of 48 h, an hour carried out of each.

    Beside building and solving every window anew (a sample).
    """
    whole = a_problem(windows + 48)
    names = (
        "load_kw",
        "import_price_eur_per_mwh",
        "export_price_eur_per_mwh",
        "renewables_kw",
        "co2_kg_per_mwh",
    )

    def window(t: int, batteries) -> Problem:
        return replace(
            whole,
            batteries=tuple(batteries),
            **{name: getattr(whole, name)[t : t + 48] for name in names},
        )

    actual = replace(whole, **{name: getattr(whole, name)[:windows] for name in names})
    rolling = Rolling()
    schedule, seconds = timed(roll, actual, window, range(windows), rolling)
    assert not replay(actual, schedule).violations
    sample = [window(t, whole.batteries) for t in range(0, windows, max(1, windows // 50))]
    anew = sum(timed(solve_model, problem, explain=False)[1] for problem in sample) / len(sample)
    return {
        "windows": windows,
        "seconds": seconds,
        "target_s": 7.0,
        "ms_a_window": 1000 * seconds / windows,
        "ms_anew": 1000 * anew,
    }


def beside_energypylinear(python: str) -> list[dict]:
    rows = []
    for hours in (48, 168):
        problem = a_problem(hours)
        prices = json.dumps(problem.import_price_eur_per_mwh.tolist())
        done = subprocess.run(
            [python, "-c", ENERGYPYLINEAR], input=prices, capture_output=True, text=True, check=True
        )
        theirs, ours = (
            float(done.stdout.split()[-1]),
            min(timed(solve, problem)[1] for _ in range(20)),
        )
        rows.append(
            {
                "hours": hours,
                "energypylinear_s": theirs,
                "ours_s": ours,
                "times_faster": theirs / ours,
                "target": 20.0,
            }
        )
    return rows


def growth() -> tuple[list[dict], list[dict]]:
    """CPU seconds by length of the horizon and by number of batteries, the best of 5."""

    def row(key: str, size: int, problem: Problem) -> dict:
        seconds = [
            (timed(straight, problem, {})[1], timed(solve_model, problem, explain=False)[1])
            for _ in range(5)
        ]
        return {
            key: size,
            "straight_s": min(pair[0] for pair in seconds),
            "ours_s": min(pair[1] for pair in seconds),
        }

    hours = [row("hours", hours, a_problem(hours)) for hours in (24, 48, 168, 720, 2190, 8760)]
    return hours, [
        row("batteries", count, a_problem(96, 15, count)) for count in (1, 3, 10, 30, 100)
    ]


def plot(hours: list[dict], batteries: list[dict], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = zip(
        figure.subplots(1, 2),
        ("hours", "batteries"),
        (hours, batteries),
        ("one battery, hourly", "96 quarter-hours"),
        strict=True,
    )
    for axes, key, rows, title in panels:
        for name, label, colour in (
            ("ours_s", "solve_model", "#d1495b"),
            ("straight_s", "matrices straight to HiGHS", "#2a6f97"),
        ):
            axes.loglog(
                [row[key] for row in rows],
                [row[name] for row in rows],
                marker="o",
                label=label,
                color=colour,
            )
        axes.set(xlabel=key, ylabel="CPU seconds", title=title)
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="picture of the growth with hours and batteries"
    )
    parser.add_argument(
        "--windows", type=int, default=YEAR_H, help="windows of the rolling year (default 8760)"
    )
    parser.add_argument(
        "--skip-all-binaries",
        action="store_true",
        help="leave out the minute that all binaries of a year take",
    )
    args = parser.parse_args(argv)
    negative = a_problem(YEAR_H, negative=True)
    compared("warm-up", a_problem(24), 0, 1)
    rows = [
        compared("48 h", a_problem(48), 1.7, 300),
        compared("week of 15 min", a_problem(672, 15), 2.0, 20),
        compared("year of hours", a_problem(YEAR_H), 1.3, 5),
        compared("year of hours, negative prices", negative, 0.8, 4),
        compared("year of 15 min", a_problem(4 * YEAR_H, 15), 1.2, 3),
        compared("100 batteries x 96 steps", a_problem(96, 15, 100), 1.25, 10),
    ]
    print_rows(rows, "CPU seconds, one run")
    print_rows(homes(7), "a home's 48 h of 15 min: battery, car, heat pump, washing machine")
    print_rows([rolling_year(args.windows)], "rolling horizon, windows of 48 h")
    if not args.skip_all_binaries:
        print_rows(all_binaries(negative), "a year with negative prices")
    python = os.environ.get("VPP_BENCH_ENERGYPYLINEAR")
    if python:
        print_rows(beside_energypylinear(python), "energypylinear in an environment of its own")
    else:
        print("energypylinear: skipped, VPP_BENCH_ENERGYPYLINEAR names no Python that has it")
    hours, batteries = growth()
    print_rows(hours, "growth with the horizon")
    print_rows(batteries, "growth with the batteries")
    if args.plot:
        plot(hours, batteries, args.plot)
        print(f"picture: {args.plot}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
