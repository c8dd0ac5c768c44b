"""Sinks that come and go while rows flow: 1, then 6, then 1; rows lost and doubled; throughput.

    python benchmarks/bench_sinks.py [--rows 2000000] [--sinks 1 6 1]

`communication.py produce` sends load, solar and wind rows; sinks are `communication.py consume` in
one group, each a process. A phase has so many sinks and ends when its share of the rows is stored.
`rows_per_s` is by the clock, with the time of joining and leaving; `cpu_us_per_row` is that of
sinks and servers. At the end each row must be in its table, inserted once and never updated: exit
code 1 otherwise. Runs on embedded servers in a temporary folder.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psutil

import db
import embedded
from benchmarks.bench_ingest import SOURCES, make_columns
from sources import write_sources
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows

KINDS, TABLES = ("load", "solar", "wind"), ("load", "renewables")
LONGEST_S = 3600.0


def write_data(folder: Path, rows: int) -> None:
    """A file of rows for each kind."""
    import pandas as pd

    folder.mkdir(parents=True)
    sources = [
        replace(item, kind=kind, source_id=item.source_id.replace("load", kind))
        for kind in KINDS
        for item in SOURCES
    ]
    write_sources(folder / "sources.csv", sources)
    columns = make_columns(rows // len(KINDS))
    times = pd.Series(columns["time"].astype("M8[us]"))
    for kind in KINDS:
        names = f"{kind}-" + pd.Series(columns["source"]).astype(str)
        frame = pd.DataFrame({"time": times, "source_id": names, "power_kw": columns["power_kw"]})
        frame.to_csv(folder / f"{kind}.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")


def start(config: Config, what: str, log: Path) -> psutil.Popen:
    """Start a producer or a sink as a process of its own."""
    command = [sys.executable, str(ROOT / "communication.py"), "--config", str(config.path), what]
    with log.open("ab") as file:
        return psutil.Popen(command, stdout=file, stderr=file)


def written(config: Config) -> tuple[int, int]:
    """Rows inserted and updated so far, as the server counts them."""
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(n_tup_ins), 0), coalesce(sum(n_tup_upd), 0)
            FROM pg_stat_user_tables WHERE relname = ANY(%s)""",
            (list(TABLES),),
        )
        inserted, updated = cursor.fetchone()
    return int(inserted), int(updated)


def seconds_of(processes: Sequence[psutil.Process]) -> float:
    """CPU time of processes and of what they have started [s]."""
    spent = 0.0
    for process in processes:
        try:
            for one in (process, *process.children(recursive=True)):
                used = one.cpu_times()
                spent += used.user + used.system
        except psutil.NoSuchProcess:
            continue
    return spent


def end(sinks: Sequence[psutil.Popen]) -> None:
    """Stop sinks as a service manager does."""
    for sink in sinks:
        sink.send_signal(signal.SIGTERM)
    for sink in sinks:
        if (code := sink.wait(60)) not in (0, -signal.SIGTERM):  # one that had not begun yet
            raise SystemExit(f"a sink ended with exit code {code}")


def measure(config: Config, rows: int, phases: Sequence[int]) -> list[dict]:
    """Let rows flow through so many sinks, one phase after the other."""
    servers = psutil.Process(int(embedded.find_places(config.paths.state_dir).lock.read_text()))
    log, sinks, found = config.path.parent / "log", [], []
    producer = start(config, "produce", log)
    deadline = time.monotonic() + LONGEST_S
    try:
        for number, count in enumerate(phases):
            sinks += [start(config, "consume", log) for _ in range(count - len(sinks))]
            leaving, sinks = sinks[count:], sinks[:count]
            began, (before, _) = time.perf_counter(), written(config)
            spent = seconds_of((servers, *sinks))
            end(leaving)
            goal = rows * (number + 1) // len(phases)
            while (stored := written(config)[0]) < goal:
                time.sleep(0.5)
                if time.monotonic() > deadline or any(s.poll() is not None for s in sinks):
                    told = log.read_text()[-2000:]
                    raise SystemExit(f"{stored:,} of {rows:,} rows stored\n{told}")
            clock = time.perf_counter() - began
            row = {"sinks": count, "rows": stored - before, "clock_s": clock}
            row["rows_per_s"] = row["rows"] / clock
            used = seconds_of((servers, *sinks)) - spent
            found.append(row | {"cpu_us_per_row": used / max(1, row["rows"]) * 1e6})
        if producer.wait(60):
            raise SystemExit(f"the producer failed\n{log.read_text()[-2000:]}")
    finally:
        end([sink for sink in sinks if sink.poll() is None])
        if producer.poll() is None:
            producer.kill()
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--sinks", type=int, nargs="+", default=[1, 6, 1], help="a phase each")
    args = parser.parse_args(argv)
    rows = args.rows // len(KINDS) * len(KINDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "config.ini"
        path.write_text(f"[paths]\ndata_dir = {folder / 'data'}\nstate_dir = {folder / 'state'}\n")
        config = load_config(path)
        write_data(config.paths.data_dir, rows)
        try:
            embedded.ensure_running(config.paths.state_dir, wait_s=60)
            print_rows(measure(config, rows, args.sinks), f"{os.cpu_count()} cores")
            inserted, updated = written(config)
            with db.session(config) as conn:
                stored = sum(db.count_rows(conn)[table] for table in TABLES)
        finally:
            embedded.stop(config.paths.state_dir, delete=True)
    print(f"{rows:,} rows sent, {stored:,} stored, {rows - stored:,} lost,", end=" ")
    print(f"{inserted - stored + updated:,} written twice")
    return int(not stored == inserted == rows or updated > 0)


if __name__ == "__main__":
    sys.exit(main())
