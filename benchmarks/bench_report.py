"""The size of the report of a year of quarter-hours, and how long a browser takes to open it.

    python benchmarks/bench_report.py --days 365 --keep report.html
    python benchmarks/bench_report.py --page report.html    # a page that there is

Generates and streams a year of data at 15 minutes into embedded servers in a temporary folder,
schedules all of it at its actual values and stores that as a backtest is, with forecasts of last
week's values where it begins, and writes its report. Debian's Chromium then opens the file several
times, each time as new: until the text can be read, until the page and its script have loaded, and
until the last figure is drawn."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pandas as pd
from chromium import Chromium, find

import communication
import db
import embedded
import generation
import report
from forecasting import load_source_data
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.planning.plans import solve_or_raise
from vpp.planning.runs import run_key, run_row, schedule_frames
from vpp.planning.site_series import actual_frame, basis_sources
from vpp.planning.site_state import site_basis
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.schedule.site import site_problem, with_terminal_price

START = pd.Timestamp("2025-01-01T00:00Z")
HISTORY = pd.Timedelta(days=14)
GOAL_S, GOAL_MB = 3.0, 8.0


def a_year(config: Config, days: int) -> str:
    """Data, a forecast of each source and a schedule of the year; returns the run's id."""
    for script in (generation, communication):
        if script.main(["--config", str(config.path)]):
            raise SystemExit(1)
    index = pd.date_range(
        START + HISTORY,
        START + pd.Timedelta(days=days),
        freq="15min",
        inclusive="left",
        name="time",
    )
    with db.session(config) as conn:
        runs = []
        for source in db.read_sources(conn):
            if source.kind != "weather":
                known = known_at(load_source_data(conn, config, source), index[0])
                frame = (
                    MODELS["seasonal_naive"]()
                    .fit(known)
                    .predict(known, 4 * config.forecast.horizon_h)
                )
                runs.append(
                    (
                        db.ForecastRun(
                            source.source_id, "seasonal_naive", None, index[0], index[0], "fallback"
                        ),
                        frame,
                    )
                )
        db.save_forecasts(conn, runs)
        basis = site_basis(conn, config, index[0], 15)
        frame = actual_frame(conn, basis_sources(conn, basis), index, 15)
        basis = with_terminal_price(basis, frame)
        problem = site_problem(basis, index[0], frame)
        result = solve_or_raise(problem, config.optimization.solver)
        for kind in ("perfect", "backtest"):
            row = run_row(run_key(config, kind, index[0]), basis, problem, result)
            db.save_schedule(conn, row, *schedule_frames(problem, result, frame))
    return row["run_id"]


def opened(page: Path, width: int) -> dict[str, float]:
    """Seconds until a new browser shows text, has loaded the page, and has drawn all figures.

    Its own start does not count.
    """
    with Chromium() as browser:
        began = time.perf_counter()
        browser.open(page, width)
        loaded = time.perf_counter()
        browser.run("document.drawn")
        drawn = time.perf_counter()
        painted = browser.run("performance.getEntriesByType('paint')[0].startTime / 1000")
        if browser.messages:
            raise SystemExit(f"the page says {browser.messages}")
    return {"readable_s": painted, "loaded_s": loaded - began, "drawn_s": drawn - began}


def print_opened(page: Path) -> None:
    """The size of a page, and the seconds until it is open, wide and narrow."""
    print(f"{page.stat().st_size / 1e6:.1f} MB (at most {GOAL_MB:g})")
    rows = [
        {"width": width, "attempt": attempt, **opened(page, width)}
        for width in (1400, 390)
        for attempt in (1, 2, 3)
    ]
    print_rows(rows, f"seconds to open (goal {GOAL_S:g})")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--days", type=int, default=365, help="days of data (default: 365)")
    parser.add_argument("--keep", metavar="FILE", type=Path, help="keep the page")
    parser.add_argument("--page", metavar="FILE", type=Path, help="only open this page")
    args = parser.parse_args(argv)
    if args.days <= HISTORY.days:
        parser.error(f"--days {args.days}: expected more than {HISTORY.days}, which are history")
    if not find():
        print("no Chromium on this machine: apt-get install chromium")
        return 0
    if args.page:
        print_opened(args.page.resolve())
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "bench.ini"
        path.write_text(
            f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state\n"
            f"[generation]\nstart = {START:%Y-%m-%d}\ndays = {args.days}\nstep_min = 15\n"
            "[battery:battery-1]\n"
        )
        config = load_config(path, {})
        try:
            run_id = a_year(config, args.days)
            page = args.keep or folder / "report.html"
            began = time.perf_counter()
            report.write_report(config, run_id, page)
            made = time.perf_counter() - began
            print(f"written in {made:.1f} s")
            print_opened(page)
        finally:
            embedded.stop(config.paths.state_dir, delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
