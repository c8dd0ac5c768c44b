"""How fast the stream stores rows beside the most that the database can, in one run on one server.

    python benchmarks/bench_ingest.py [--rows 200000] [--stream-rows 2000000] [--config FILE]

Prints rows/s of: bare COPY into the table; COPY into a temporary table + upsert, the limit, and of
corrections with and without their revisions; `db.store_measurements`, which spares new rows the
upsert; the sink alone on a filled topic in turns with the limit, five times, since a machine's own
speed moves more than they differ, and reading the rows again; end to end from CSV by one
`communication.py`, with the memory of its sink, the CPU of all processes together and what
others had of the machine meanwhile; the seconds that `communication.py` takes for one appended row,
with a sink of its own and (`produce`) without; and to read a year of ten sources at 15 minutes.
Runs on embedded servers in a temporary folder, or those of a configuration, whose tables it
empties.
"""

import argparse
import dataclasses
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import db
import embedded
from sources import Source, write_sources
from vpp.runtime.config import load_config
from vpp.runtime.settings import EMBEDDED, Config
from vpp.site.kinds import MEASUREMENTS
from vpp.storage import bulk
from vpp.storage.overview import server_name
from vpp.stream import files, sink
from vpp.stream.kafka import (
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    send,
    topic_names,
)
from vpp.stream.topics import ensure_topics

TURNS = 5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START = pd.Timestamp("2020-01-01T00:00Z")
SOURCES = [
    Source(f"load-{n}", "load", f"Load {n}", "site-1", 1000.0, 15, 49.6, 6.1, "Europe/Brussels")
    for n in range(50)
]


def make_columns(rows: int) -> dict[str, np.ndarray]:
    """Rows as `db.store_measurements` takes them: time after time, at each time all sources."""
    number = np.arange(rows)
    step = number // len(SOURCES)
    return {
        "source": number % len(SOURCES),
        "time": START.value // 1000 + step * 900_000_000,
        "power_kw": np.round(500 + 400 * np.sin(number), 2),
        "sent_at": np.full(rows, 1_700_000_000_000_000),
    }


def write_csv(path: Path, rows: int) -> None:
    """The rows of `make_columns` as a file."""
    columns = make_columns(rows)
    frame = pd.DataFrame({"time": columns["time"].astype("M8[us]")})
    frame["source_id"] = "load-" + pd.Series(columns["source"]).astype(str)
    frame["power_kw"] = columns["power_kw"]
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def bare_copy(config: Config, rows: int, batch: int) -> float:
    """Rows/s of COPY into the table with its key."""
    columns = make_columns(rows)
    times = columns["time"].astype("M8[us]").astype("M8[s]").astype(str)
    lines = [
        f"{at}Z\tload-{n}\t{value}\t2023-11-14T22:13:20Z\n"
        for at, n, value in zip(times, columns["source"], columns["power_kw"], strict=True)
    ]
    texts = ["".join(lines[start : start + batch]) for start in range(0, rows, batch)]
    with db.session(config) as conn, conn.cursor() as cursor:

        def copy() -> None:
            for text in texts:
                cursor.copy_expert(
                    "COPY load (time, source_id, power_kw, sent_at) FROM STDIN", io.StringIO(text)
                )
                conn.commit()

        return rows / timed(copy)


def store(config: Config, rows: int, batch: int, write: Callable, more: float = 0.0) -> float:
    """Rows/s of a way to write ready columns; `more` is added to values and times of sending."""
    columns, source_ids = make_columns(rows), [source.source_id for source in SOURCES]
    columns["power_kw"] = columns["power_kw"] + more
    columns["sent_at"] = columns["sent_at"] + int(more * 1000)
    with db.session(config) as conn:

        def store() -> None:
            for start in range(0, rows, batch):
                part = slice(start, start + batch)
                rows_of = {name: column[part] for name, column in columns.items()}
                write(conn, "load", source_ids, rows_of)
                conn.commit()

        return rows / timed(store)


def upsert(conn, table: str, source_ids: Sequence[str], columns: dict[str, np.ndarray]) -> None:
    """COPY into a temporary table and INSERT ... ON CONFLICT."""
    shape = MEASUREMENTS[table]
    newest, _ = bulk.newest_rows(shape, source_ids, conn.encoding, columns)
    with conn.cursor() as cursor:
        bulk.upsert(cursor, table, source_ids, newest)


def fill(config: Config, rows: int) -> int:
    """Put that many messages into the topic, or as many as the broker can hold."""
    settings = kafka_settings(config)
    topic = topic_names(config)["load"]
    partitions = ensure_topics(config.kafka, settings, [topic], 20)
    client = new_producer(settings, 60, Counter())
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder) / "load.csv", rows)
        for _, keys, values in files.read_messages(Path(folder) / "load.csv", "load"):
            for key, value in zip(keys, values, strict=True):
                send(client, topic, value, key)
    client.flush(60)
    observer = new_consumer(settings, config.kafka.group_id)
    found = lags(observer, partitions)
    observer.close()
    return sum(item.high - item.low for item in found)


def drain(config: Config, group: str) -> tuple[float, sink.Count]:
    """Rows/s of the sink after its first batch, so without the time of joining; and its counts."""
    config = dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, group_id=group))
    batches = []
    member = sink.Sink(config, until_drained=True)
    member.advance = lambda rows: batches.append((time.perf_counter(), rows))
    sink.run_sink(member)
    rows = sum(rows for _, rows in batches[1:])
    return rows / (batches[-1][0] - batches[0][0]), member.counts["load"]


def stream(config: Config, rows: int) -> dict[str, float]:
    """`communication.py` on a CSV file: rows/s, CPU, and the memory [MB] of its sink."""
    config.paths.data_dir.mkdir(parents=True, exist_ok=True)
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    write_csv(config.paths.data_dir / "load.csv", rows)
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "communication.py"), "--config", str(config.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    servers, machine = server_pids(config), cpu_of_machine()
    cpu = cpu_of(servers) + cpu_of_children()
    curve, first = [], None
    with db.session(config) as conn, conn.cursor() as cursor:
        while process.poll() is None:
            cursor.execute("SELECT pg_relation_size('load')")
            (size,) = cursor.fetchone()
            conn.commit()
            if size and first is None:
                first = time.perf_counter()
            curve += memory_of(process.pid)
            time.sleep(0.2)
        ended = time.perf_counter()
        cpu, machine = cpu_of(servers) + cpu_of_children() - cpu, cpu_of_machine() - machine
        stored = db.count_rows(conn)["load"]
    if process.returncode or stored != rows:
        raise SystemExit(
            f"communication.py ended with {process.returncode}, {stored} of {rows} rows stored"
        )
    return {
        "cpu_us": cpu / rows * 1e6,
        "others": (machine - cpu) / (ended - began) / os.cpu_count(),
        "rows_per_s": rows / (ended - began),
        "rows_per_s_after_joining": rows / (ended - (first or began)),
        "at a fifth": curve[len(curve) // 5][0],
        "at half": curve[len(curve) // 2][0],
        "most": max(most for _, most in curve),
    }


def append(config: Config, day: int, *arguments: str) -> float:
    """Seconds of `communication.py` on a file whose rows are sent already, but the last."""
    time.sleep(2)  # a broker keeps the partitions of a sink that has just left
    with (config.paths.data_dir / "load.csv").open("a") as file:
        file.write(f"2019-12-{day:02d}T00:00:00Z,{SOURCES[0].source_id},1.5\n")
    command = [sys.executable, str(ROOT / "communication.py"), "--config", str(config.path)]
    run = partial(subprocess.run, [*command, *arguments], stdout=subprocess.DEVNULL, check=True)
    return timed(run)


def memory_of(pid: int) -> list[tuple[float, float]]:
    """The memory of a process now and at its most [MB]; nothing when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return []
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmHWM" not in values:
        return []
    return [tuple(int(values[name].split()[0]) / 1e3 for name in ("VmRSS", "VmHWM"))]


def cpu_of_children() -> float:
    """Seconds of CPU of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_of(pids: Sequence[int]) -> float:
    """Seconds of CPU of these processes and of their children, also of those that have ended."""
    seconds = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        except FileNotFoundError:
            continue
        seconds += sum(map(int, fields[11:15])) / TICKS_PER_S
        seconds += cpu_of([int(child) for text in lists for child in text.split()])
    return seconds


def cpu_of_machine() -> float:
    """Seconds of CPU that the machine was busy."""
    fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
    user, nice, system, _, _, *interrupts = map(int, fields)
    return (user + nice + system + sum(interrupts)) / TICKS_PER_S


def server_pids(config: Config) -> list[int]:
    """The daemon of the embedded servers, whose child PostgreSQL is; none for others."""
    if config.database.url != EMBEDDED:
        return []
    return [int(embedded.find_places(config.paths.state_dir).lock.read_text())]


def read_year(config: Config) -> tuple[int, float]:
    """Values of a year of ten sources at 15 minutes, and the seconds to read them side by side."""
    store(config, 35_040 * len(SOURCES), 200_000, db.store_measurements)
    end, frames = START + pd.Timedelta(days=365), []
    with db.session(config) as conn:
        seconds = timed(
            lambda: frames.append(db.read_resampled(conn, SOURCES[:10], START, end, 15))
        )
    return frames[0].size, seconds


def measure(config: Config, rows: int, stream_rows: int) -> None:
    """Run the parts one after the other, and print a line for each."""

    def empty() -> None:
        with db.session(config) as conn:
            db.reset(conn)
            db.upsert_sources(conn, SOURCES)

    def show(title: str, rate: float, more: str = "") -> None:
        print(f"{title:28} {rate:9,.0f} rows/s{more}", flush=True)

    batch = config.kafka.batch_rows
    with db.session(config) as conn:
        print(server_name(conn))
    empty()
    show("bare COPY", bare_copy(config, rows, batch))
    empty()
    limit = store(config, rows, batch, upsert)
    show("COPY + upsert (the limit)", limit, f", batches of {batch:,}")
    show("  the same rows again", store(config, rows, batch, upsert))
    kept = store(config, rows, batch, upsert, 1.0)
    with db.session(config) as conn:
        count = db.count_rows(conn)["revisions"]
    show("  other values, each kept", kept, f", {count:,} revisions")
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("TRUNCATE revisions")
    bulk.KEEP, keep = "", bulk.KEEP
    bare = store(config, rows, batch, upsert, 2.0)
    bulk.KEEP = keep
    show("  other values, none kept", bare, f", revisions cost {bare / kept - 1:.0%} more time")
    empty()
    show("store_measurements", store(config, rows, batch, db.store_measurements))
    held, shares = fill(config, rows), []
    for _ in range(TURNS):
        empty()
        limit = store(config, rows, batch, upsert)
        empty()
        rate, count = drain(config, f"bench{time.time_ns()}")
        shares.append(rate / limit)
    share = f", {statistics.median(shares):.0%} of the limit, the median of "
    share += ", ".join(f"{share:.0%}" for share in shares)
    show("sink alone, new rows", rate, f"{share} ({count.stored:,} of {held:,} held)")
    rate, count = drain(config, f"bench{time.time_ns()}")
    share = f", {rate / limit:.0%} of the limit"
    show("sink alone, read again", rate, f"{share} ({count.unchanged:,} unchanged)")
    empty()
    for title in ("end to end, new rows", "end to end, sent again"):
        result = stream(config, stream_rows)
        show(title, result["rows_per_s"], more_of(result))
    for day, arguments in ((1, ()), (2, ("produce",))):
        seconds = append(config, day, *arguments)
        print(f"{'one appended row':28} {seconds:9.2f} s by communication.py {''.join(arguments)}")
    with db.session(config) as conn:
        print(f"{'':28} {db.count_rows(conn)['load'] - stream_rows:9} of them in the database")
    empty()
    size, seconds = read_year(config)
    print(f"{'read a year, 10 sources':28} {seconds:9.2f} s for {size:,} values at 15 min")


def more_of(result: dict[str, float]) -> str:
    """The figures of `stream` behind its rows/s, in words."""
    return (
        f", {result['rows_per_s_after_joining']:,.0f} after joining the group, "
        f"{result['cpu_us']:.1f} µs of CPU a row, others had {result['others']:.0%} "
        f"of the machine; memory of the sink {result['at a fifth']:.0f} MB at a fifth, "
        f"{result['at half']:.0f} at half, {result['most']:.0f} at most"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    many, most = 200_000, 2_000_000
    parser.add_argument("--rows", type=int, default=many, help=f"of each part (default: {many:,})")
    parser.add_argument(
        "--stream-rows", type=int, default=most, help=f"of the end to end run (default: {most:,})"
    )
    parser.add_argument("--config", metavar="FILE", help="servers to use; their tables are emptied")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "bench.ini"
        database = kafka = EMBEDDED
        if args.config:
            given = load_config(args.config)
            database, kafka = given.database.url, given.kafka.bootstrap_servers
        path.write_text(
            f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state\n"
            f"[database]\nurl = {database}\n"
            f"[kafka]\nbootstrap_servers = {kafka}\ntopic_prefix = bench{time.time_ns()}-\n"
        )
        try:
            measure(load_config(path, {}), args.rows, args.stream_rows)
        finally:
            if not args.config:
                embedded.stop(folder / "state", delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
