"""Processor time of an hour of a plant in operation, job by job.

    python benchmarks/bench_cycle.py                  # 24 hours
    python benchmarks/bench_cycle.py --hours 48 --profile

Luxembourg 2024 by quarter-hours (lu_2024_15min_utc.csv of the folder VPP_TEST_DATA, default
../shared/data): load, wind, PV and the market's price, one battery, 8 months stored, 60 days of
hourly plans, champions `hourly_ridge`. Each hour its rows are stored, then the jobs of
`pipeline.py operate` run one after the other, and the battery's state is measured as planned.
Seconds are of the processor, of this process by job, and of the database's processes in sum.
`--profile` shows the functions that take most. Runs on embedded servers of its own in a temporary
folder.
"""

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # before numpy loads: the time of one thread is what is measured

import numpy as np
import pandas as pd

import db
import embedded
from sources import Source
from vpp.champions.training import train
from vpp.operation.clock import Clock
from vpp.operation.plant import Plant
from vpp.runtime.config import load_config
from vpp.runtime.tables import print_rows
from vpp.site.kinds import KINDS
from vpp.storage.connection import kept_connections
from vpp.storage.measurements import upsert_sources
from vpp.storage.rows import select_rows

FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
BEGIN = pd.Timestamp("2024-09-02T00:00Z")
COLUMNS = {"load": "load_mw", "wind": "wind_mw", "solar": "pv_mw", "market": "price_da_eur_mwh"}
DAYS_BEFORE = 60  # of hourly plans
PLANS = {  # each table of them, with its times
    "schedule_runs": ("issue_time", "created_at"),
    "schedules": ("time",),
    "battery_states": ("time",),
}
JOBS = ("forecast", "plan", "publish", "ledger", "alerts", "orders")
HOUR = pd.Timedelta(hours=1)


class HandClock(Clock):
    """A clock on data that stands where it is put."""

    at = BEGIN

    def now(self) -> pd.Timestamp:
        return type(self).at


def series():
    """The four sources with their values; MW count as kW, and a price is there a day ahead."""
    frame = pd.read_csv(FILE)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("time_utc"), utc=True), name="time")
    for kind, column in COLUMNS.items():
        capacity = None if kind == "market" else 1500.0
        place = ("lu", capacity, 15, 49.6, 6.1, "Europe/Luxembourg", {})
        yield Source(f"{kind}-1", kind, kind, *place), frame[column]


def store(conn, source, values):
    """As the sink would."""
    times = values.index.as_unit("us").asi8
    columns = {"source": np.zeros(len(times), int), "time": times, "sent_at": times}
    columns[KINDS[source.kind].value] = values.to_numpy(float)
    if source.kind == "market":
        columns["available_at"] = times - 86_400_000_000
    db.store_measurements(conn, KINDS[source.kind].table, [source.source_id], columns)


def new_config(folder):
    path = folder / "config.ini"
    path.write_text(
        f"[paths]\ndata_dir = {folder / 'data'}\nstate_dir = {folder / 'state'}\n"
        "[site]\nsite_id = lu\ntime_zone = Europe/Luxembourg\nholidays_country = LU\n"
        "[training]\nmodels = hourly_ridge, seasonal_naive\njobs = 1\nhistory_days = 60\n"
        "[operation]\nretrain_every_h = 0\nvalue_every_min = 0\n"
        "[battery:store]\ncapacity_kwh = 400\ncharge_kw = 200\ndischarge_kw = 200\n"
    )
    return load_config(path)


def database_s(conn):
    """Processor time of the database's processes so far [s], of those that ended, too."""
    backend = select_rows(conn, "SELECT pg_backend_pid() AS pid")[0]["pid"]
    parent, total = int(Path(f"/proc/{backend}/stat").read_text().split()[3]), 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == parent or path.parent.name == str(parent):
            total += int(words[11]) + int(words[12])
            total += (int(words[13]) + int(words[14])) if path.parent.name == str(parent) else 0
    return total / os.sysconf("SC_CLK_TCK")


def measured(conn, at):
    """The battery stands where the newest plan has it."""
    query = """
        SELECT soc FROM battery_states WHERE kind = 'planned' AND time < %s AND run_id = (
            SELECT run_id FROM schedule_runs WHERE kind = 'plan' ORDER BY created_at DESC LIMIT 1)
        ORDER BY time DESC LIMIT 1"""
    rows = select_rows(conn, query, (at.to_pydatetime(),))
    row = {"battery_id": "store", "kind": "measured", "soc": rows[0]["soc"] if rows else 0.5}
    db.save_battery_states(conn, pd.DataFrame([row | {"time": at}]))


def put_behind(conn):
    """Forecasts, plans and states of each hour of the days before: the first ones, shifted."""
    of_run = "source_id, model, model_version, trained_until"
    names = "value, q05, q10, q25, q50, q75, q90, q95, published"
    with conn.cursor() as cur:
        for table in ("forecast_runs", "schedule_runs"):
            cur.execute(f"CREATE TEMP TABLE first_{table} AS SELECT run_id FROM {table}")
        hours = f"generate_series(1, {24 * DAYS_BEFORE}) AS hour"
        shift = "hour * interval '1 hour'"
        cur.execute(f"""
            INSERT INTO forecast_runs (run_id, {of_run}, issue_time, role, created_at)
            SELECT run_id || '-' || hour, {of_run}, issue_time - {shift}, role, created_at - {shift}
            FROM forecast_runs JOIN first_forecast_runs USING (run_id), {hours}""")
        cur.execute(f"""
            INSERT INTO forecasts (run_id, valid_time, {names})
            SELECT run_id || '-' || hour, valid_time - {shift}, {names}
            FROM {hours}, forecasts JOIN first_forecast_runs USING (run_id)""")
        for table, times in PLANS.items():
            cur.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,)
            )
            columns = [name for (name,) in cur.fetchall()]
            shifted = {name: f"{name} - {shift}" for name in times}
            shifted["run_id"] = "run_id || '-' || hour"
            taken = [shifted.get(name, name) for name in columns]
            cur.execute(f"""
                INSERT INTO {table} ({", ".join(columns)}) SELECT {", ".join(taken)}
                FROM {hours}, {table} JOIN first_schedule_runs USING (run_id)""")


def rows_scanned(conn):
    """Rows that were read without an index so far, by table."""
    query = "SELECT relname, seq_tup_read AS n FROM pg_stat_user_tables"
    return Counter({row["relname"]: row["n"] for row in select_rows(conn, query)})


def run(config, hours, profile):
    """Rows to print: each job's mean seconds an hour."""
    parts = list(series())
    with db.session(config) as conn:
        upsert_sources(conn, [source for source, _ in parts])
        for source, values in parts:
            ahead = 24 * HOUR if source.kind == "market" else 0 * HOUR
            store(conn, source, values[values.index < BEGIN + ahead])
    train(config, issue_time=BEGIN)
    plant = Plant(config, HandClock(BEGIN))
    works = {"forecast": plant._forecast_now, "plan": plant._plan, "orders": plant._look}
    works |= plant._others() | {"ledger": plant._book}
    spent = Counter()
    with kept_connections():
        for hour in range(-2, hours):  # the first two load what is loaded once
            HandClock.at = at = BEGIN + (hour + 3) * HOUR
            with db.session(config) as conn:
                for source, values in parts:
                    ahead = 24 * HOUR if source.kind == "market" else 0 * HOUR
                    new = (values.index >= at - HOUR + ahead) & (values.index < at + ahead)
                    store(conn, source, values[new])
                measured(conn, at)
                if hour == -1:
                    put_behind(conn)
                if hour == 0:
                    spent, database, scanned = Counter(), database_s(conn), rows_scanned(conn)
            for name in JOBS:
                began = time.process_time()
                if profile and hour >= 0:
                    profile.enable()
                works[name]()
                if profile:
                    profile.disable()
                spent[name] += time.process_time() - began
        with db.session(config) as conn:
            plans = select_rows(conn, "SELECT count(*) AS n FROM schedule_runs")[0]["n"]
            database, scanned = database_s(conn) - database, rows_scanned(conn) - scanned
    rows = [{"job": name, "cpu_s": spent[name] / hours} for name in JOBS]
    rows.append({"job": "all", "cpu_s": sum(spent.values()) / hours})
    rows.append({"job": "database", "cpu_s": database / hours})
    print(f"{plans} plans; rows read without an index, an hour, by table:")
    print_rows([{"table": name, "rows": n / hours} for name, n in scanned.most_common(5)])
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args(argv)
    profile = cProfile.Profile(time.process_time) if args.profile else None
    with tempfile.TemporaryDirectory() as folder:
        config = new_config(Path(folder))
        try:
            print_rows(run(config, args.hours, profile))
        finally:
            embedded.stop(config.paths.state_dir, delete=True)
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(r"vpp|sql|execute|pandas", 90)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
