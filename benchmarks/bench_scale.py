"""CPU time, memory and disk of every stage as sources and sites grow, with the exponent of growth.

    python benchmarks/bench_scale.py [--sources 6 60 600] [--days 60] [--plot docs/scale.png]
    python benchmarks/bench_scale.py --sources 3000 --folder kept --last train

`--folder` keeps data, servers' files and figures: a stage that has its figures there is not run
again, so that a long run goes on where it was. `--last` ends after a stage.

A site has three solar plants, a wind plant, two loads and a battery; all sites have one market. The
scripts run as they stand, one after the other, on embedded servers in a temporary folder, with the
model `global` for all plants and loads, trained as of two days before the end of the data. A
stage's CPU seconds are those of its processes and, while it runs, of the two servers; its memory is
that of all of its processes, pages that they share counted once (PSS). The exponent says by which
power of the number of sources the seconds grew since the row before: 1 is in proportion, and less
where a constant part remains.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psutil

import embedded
from vpp.runtime.tables import print_rows

PER_SITE = 6
STAGES = (
    ("generate", "generation.py", ()),
    ("stream", "communication.py", ()),
    ("train", "train_forecast.py", ("--issue-time", "{then}")),
    ("forecast", "forecast_and_save.py", ()),
    ("forecast again", "forecast_and_save.py", ()),
    ("plan", "optimization.py", ()),
    ("past", "forecast_and_save.py", ("--issue-time", "{then}")),
    ("plan then", "optimization.py", ("--issue-time", "{then}")),
    ("value", "optimization.py", ("value", "--site", "all")),
    ("report", "report.py", ("--output", "{folder}/report.html")),
    ("status", "communication.py", ("status",)),
    ("tables", "db.py", ()),
)
SHOWN = (
    "generate",
    "stream",
    "train",
    "forecast",
    "forecast again",
    "plan",
    "value",
    "report",
    "status",
    "tables",
)


def write_config(folder: Path, sites: int, days: int) -> Path:
    """A configuration of so many sites."""
    path = folder / "config.ini"
    path.write_text(f"""
[paths]
data_dir = {folder / "data"}
state_dir = {folder / "state"}
[generation]
days = {days}
sites = {sites}
solar = 3
wind = 1
loads = 2
batteries = 1
[training]
own_models = 0
models = seasonal_naive, lear
trials = 3
""")
    return path


def server_seconds(state_dir: Path) -> float:
    """CPU time of the embedded servers so far [s], with all that they have started."""
    daemon = psutil.Process(int(embedded.find_places(state_dir).lock.read_text()))
    spent = [one.cpu_times() for one in (daemon, *daemon.children(recursive=True))]
    return sum(x.user + x.system + x.children_user + x.children_system for x in spent)


def used_mb(process: psutil.Process) -> float:
    """Memory of a process and its children [MB]; pages that several share count once (PSS)."""
    used = 0.0
    with suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # it has ended since
                used += one.memory_full_info().pss / 1e6
    return used


def watch(process: psutil.Process, done: threading.Event, peak: list[float]) -> None:
    """Note the most memory of a process and its children [MB], until it ends."""
    while not done.wait(0.2):
        peak[0] = max(peak[0], used_mb(process))


def run(folder: Path, script: str, arguments: Sequence[str]) -> tuple[float, float, float]:
    """Run a script: CPU time of its processes [s], time by the clock [s], most memory [MB]."""
    command = [sys.executable, str(ROOT / script), *arguments]
    log, began = (folder / "log").open("wb"), time.perf_counter()
    process = subprocess.Popen(command, stdout=log, stderr=log)
    # only now: to begin a process takes in those that have ended, such as servers of the row before
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done, peak = threading.Event(), [0.0]
    watcher = threading.Thread(target=watch, args=(psutil.Process(process.pid), done, peak))
    watcher.start()
    code = process.wait()
    done.set()
    watcher.join()
    log.close()
    if code:
        told = (folder / "log").read_text(errors="replace")[-2000:]
        sys.exit(f"{script} {' '.join(arguments)}: exit code {code}\n{told}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.perf_counter() - began, peak[0]


def data_end(config: Path) -> str:
    """Two days before the end of the data, as the scripts take it."""
    command = [sys.executable, str(ROOT / "db.py"), "--config", str(config), "--json"]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    last = next(row["last"] for row in shown if row["table"] == "load")
    day = datetime.fromisoformat(last).date() - timedelta(days=1)
    return f"{day}T00:00Z"


def disk_mb(config: Path) -> float:
    """Size of what is kept: data, tables, MLflow's store, report [MB]."""
    places = [path for path in config.parent.rglob("*") if path.is_file()]
    database = embedded.find_places(config.parent / "state").postgres
    if database.is_dir() and config.parent not in database.parents:
        places += [path for path in database.rglob("*") if path.is_file()]
    size = 0
    for path in places:
        if "pg_wal" not in path.parts:
            with suppress(FileNotFoundError):
                size += path.stat().st_size
    return size / 1e6


def measure(count: int, days: int, folder: Path, last: str) -> list[dict]:
    """All stages with so many sources, a row each; those whose rows are kept are not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, state = folder / "rows.jsonl", folder / "state"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["stage"] for row in rows}
    config = write_config(folder, max(1, count // PER_SITE), days)
    try:
        embedded.ensure_running(state, wait_s=60)
        then = ""
        for stage, script, arguments in STAGES:
            if stage not in done:
                if "{then}" in arguments:
                    then = then or data_end(config)
                given = [each.format(folder=folder, then=then) for each in arguments]
                given = ["--config", str(config), *given]
                served, before = server_seconds(state), disk_mb(config)
                spent, clock, peak = run(folder, script, given)
                row = {"stage": stage, "sources": count, "cpu_s": spent}
                row |= {"servers_cpu_s": server_seconds(state) - served, "clock_s": clock}
                rows.append(row | {"peak_mb": peak, "disk_mb": disk_mb(config) - before})
                with kept.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
            if stage == last:
                break
        if (folder / "report.html").exists():
            report = os.path.getsize(folder / "report.html") / 1e6
            print(f"{count:,} sources: report {report:.1f} MB", flush=True)
    finally:
        embedded.stop(state)
    return [row for row in rows if row["stage"] in SHOWN]


def with_exponents(rows: list[dict], by: str = "sources") -> list[dict]:
    """The rows by stage, each with the exponent since the one before."""
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    ordered = sorted(rows, key=lambda row: (stages.index(row["stage"]), row[by]))
    for before, row in zip([None, *ordered], ordered, strict=False):
        same = before is not None and before["stage"] == row["stage"]
        row["exponent"] = None
        if same:
            growth = total(row) / total(before)
            row["exponent"] = math.log(growth) / math.log(row[by] / before[by])
    return ordered


def total(row: dict) -> float:
    """CPU time of a stage with its servers [s]."""
    return row["cpu_s"] + row["servers_cpu_s"]


def draw(rows: list[dict], path: str) -> None:
    """Seconds by sources, both as logarithms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for stage in SHOWN:
        of_stage = [row for row in rows if row["stage"] == stage]
        axes.plot(
            [row["sources"] for row in of_stage],
            [total(row) for row in of_stage],
            "o-",
            label=stage,
        )
    axes.set(xscale="log", yscale="log", xlabel="sources", ylabel="CPU time with servers [s]")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sources", type=int, nargs="+", default=[6, 60, 600])
    parser.add_argument("--days", type=int, default=60, help="of hourly data")
    parser.add_argument("--plot", metavar="FILE", help="also draw the seconds")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep all, and go on there")
    parser.add_argument("--last", choices=SHOWN, default=SHOWN[-1], help="stage to end after")
    args = parser.parse_args(argv)
    rows = []
    for count in args.sources:
        if args.folder:
            rows += measure(count, args.days, args.folder / str(count), args.last)
            continue
        with tempfile.TemporaryDirectory() as name:
            rows += measure(count, args.days, Path(name), args.last)
            embedded.stop(Path(name) / "state", delete=True)
    shown = with_exponents(rows)
    print_rows(shown)
    if args.plot:
        draw(shown, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
