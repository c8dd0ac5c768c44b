"""The database: schema, what a write replaces, what a read returns, and how it fails.

On a real server.
"""

import dataclasses
import re
import shutil
import threading
import time

import numpy as np
import pandas as pd
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import db
from sources import Source
from vpp.runtime.config import BatteryParameters, load_config
from vpp.site.kinds import KINDS, MEASUREMENTS, WEATHER
from vpp.storage import bulk, schema

START = pd.Timestamp("2025-01-01T00:00Z")
HOUR_US = 3_600_000_000


def make_source(source_id, kind, step_min=60, **parameters):
    capacity = None if kind in ("market", "weather") else 100.0
    return Source(
        source_id,
        kind,
        source_id,
        "site-1",
        capacity,
        step_min,
        49.6,
        6.1,
        "Europe/Brussels",
        parameters,
    )


@pytest.fixture
def config(config_file):
    return load_config(config_file())


@pytest.fixture
def conn(config):
    connection = db.connect(config)
    yield connection
    connection.close()


def us(times) -> np.ndarray:
    return np.array([pd.Timestamp(t).value // 1000 for t in times], np.int64)


def store(conn, source, values, start=START, sent_ms=1000, table=None):
    """Values one step after the other; returns how many rows were inserted or replaced."""
    times = us(pd.date_range(start, periods=len(values), freq=f"{source.step_min}min"))
    table, column = (table, None) if table else (KINDS[source.kind].table, KINDS[source.kind].value)
    columns = {
        "source": np.zeros(len(values), np.int64),
        "time": times,
        column: np.array(values, float),
    }
    if table == "market_prices":
        columns["available_at"] = times
    stored = db.store_measurements(
        conn, table, [source.source_id], columns | {"sent_at": np.full(len(values), sent_ms * 1000)}
    )
    conn.commit()
    return stored


# --- schema and connection


def test_connecting_at_once_makes_one_schema(config):
    failures = []

    def work():
        try:
            db.connect(config).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with db.session(config) as conn:
        assert schema.schema_version(conn) == max(schema.migration_files())
        assert list(db.count_rows(conn).values()) == [0] * len(schema.TABLES)


def test_migrations_run_once_and_in_order(config, conn, monkeypatch, tmp_path):
    """Two more; the second fails where the first has not run, or where it has run already."""
    newest = max(schema.migration_files())
    db.upsert_sources(conn, [make_source("solar-1", "solar")])
    conn.commit()
    folder = tmp_path / "migrations"
    shutil.copytree(schema.FOLDER, folder)
    (folder / f"{newest + 1:04}_note.sql").write_text("ALTER TABLE sources ADD COLUMN note text")
    (folder / f"{newest + 2:04}_key.sql").write_text(
        "UPDATE sources SET note = 'x';\nALTER TABLE sources ADD UNIQUE (note);\n"
    )
    monkeypatch.setattr(schema, "FOLDER", folder)
    for _ in range(2):
        with db.session(config) as other, other.cursor() as cursor:
            cursor.execute("SELECT note FROM sources")
            assert cursor.fetchall() == [("x",)]
            cursor.execute("SELECT version FROM schema_version ORDER BY applied_at")
            assert cursor.fetchall() == [(number,) for number in range(1, newest + 3)]
    monkeypatch.undo()
    expected = f"schema has version {newest + 2}, this code knows {newest}; update the code"
    with pytest.raises(db.DatabaseError, match=expected):
        db.connect(config)


def test_a_role_that_owns_only_its_schema(config_file, servers, database_url):
    with db.session(load_config(config_file())) as conn, conn.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS plain_user")
        cursor.execute(
            "CREATE ROLE plain_user LOGIN PASSWORD 'plain'; CREATE SCHEMA AUTHORIZATION plain_user"
        )
    separator = "&" if "?" in database_url else "?"
    name = (
        f"{database_url}{separator}options=-c%20role%3Dplain_user%20-c%20search_path%3Dplain_user"
    )
    try:
        with db.session(load_config(config_file(database={"url": name}))) as conn:
            db.upsert_sources(conn, [make_source("solar-1", "solar")])
            assert db.count_rows(conn)["sources"] == 1
            db.reset(conn)
            assert db.count_rows(conn)["sources"] == 0
    finally:
        with db.session(load_config(config_file())) as conn, conn.cursor() as cursor:
            cursor.execute("DROP OWNED BY plain_user CASCADE; DROP ROLE plain_user")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://vpp:s3cret@127.0.0.1:1/vpp",
        "postgresql://vpp:s3cret@127.0.0.1:notaport/vpp",
        "host=127.0.0.1 port=1 password=s3cret what=else",
        "postgresql:/vpp:s3cret@127.0.0.1/vpp",
    ],
)
def test_an_error_is_one_line_without_the_password(url):
    began = time.monotonic()
    with pytest.raises(db.DatabaseError) as caught:
        db.connect_url(url, 0.3)
    assert time.monotonic() - began < 5
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)
    assert "[database] url" in str(caught.value)


def test_what_the_server_refuses_names_the_table(conn):
    run = {"run_id": "a", "site_id": "s", "issue_time": START, "kind": "plan"}
    schedule = pd.DataFrame({"grid_import_kw": ["much"]}, index=[START])
    states = pd.DataFrame({"battery_id": ["b"], "soc": [0.5]}, index=[START])
    with pytest.raises(db.DatabaseError, match=r"^database, schedules: invalid input syntax"):
        db.save_schedule(conn, run, schedule, states)
    assert db.read_schedule(conn) is None  # one transaction: the run was not left behind


def test_a_lock_is_not_waited_for_without_end(config, conn):
    with conn.cursor() as cursor:
        cursor.execute("LOCK TABLE sources")
    with (
        pytest.raises(db.DatabaseError, match="lock timeout"),
        db.session(config) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("SET lock_timeout = '50ms'")
        db.upsert_sources(other, [make_source("solar-1", "solar")])


def test_a_session_that_fails_leaves_nothing(config):
    with pytest.raises(RuntimeError), db.session(config) as conn:
        db.upsert_sources(conn, [make_source("solar-1", "solar")])
        raise RuntimeError
    with db.session(config) as conn:
        assert db.read_sources(conn) == []


# --- measurements


def test_only_a_newer_message_replaces_a_value(conn):
    load = make_source("load-1", "load")
    assert store(conn, load, [1, 2, 3], sent_ms=2000) == 3
    assert store(conn, load, [1, 2, 3], sent_ms=2000) == 0  # read again
    assert store(conn, load, [7, 8, 9], sent_ms=1999) == 0  # older
    assert list(db.read_series(conn, load)) == [1, 2, 3]
    assert (
        store(conn, load, [1, 5, 3], sent_ms=2000) == 1
    )  # the same millisecond: what comes later is newer
    assert store(conn, load, [7], sent_ms=2001) == 1
    assert list(db.read_series(conn, load)) == [7, 5, 3]


def test_the_newest_of_a_batch_counts(conn):
    time_us = us([START])[0]
    columns = {
        "source": np.array([0, 0, 0, 1, 0]),
        "time": np.array([time_us, time_us, time_us, time_us, time_us + HOUR_US]),
        "power_kw": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        "sent_at": np.array([20, 30, 30, 10, 10]) * 1000,
    }
    assert (
        db.store_measurements(conn, "load", ["a", "b"], columns) == 3
    )  # of the first three the last of the two sent at 30
    assert list(db.read_series(conn, make_source("a", "load"))) == [3, 5]
    assert list(db.read_series(conn, make_source("b", "load"))) == [4]


NAMES = ["a", "load-1", "load-22", "mühle-1"]  # of different lengths, in characters and in bytes
# source, hour, value, sent: few keys, so that batches meet what is stored, and gaps, so that they
# pass it by
BATCHES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 2), st.integers(0, 3)),
        max_size=12,
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", ["load", "weather-forecast"])
@pytest.mark.parametrize("looks", [True, False])
@given(batches=BATCHES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_batches_leave_the_newest_values(conn, monkeypatch, kind, looks, batches):
    """Whether a batch is copied straight in or not.

    Also where the look at the table is mistaken, as when another writes meanwhile.
    """
    if not looks:
        monkeypatch.setattr(bulk, "_holds_any", lambda *arguments: False)
    table = KINDS[kind].table
    with conn.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
    newest = {}
    for batch in batches:
        source, hour, value, sent = np.array(batch, np.int64).reshape(-1, 4).T
        if kind == "load":
            columns = {
                "source": source,
                "time": us([START])[0] + hour * HOUR_US,
                "power_kw": value.astype(float),
            }
        else:  # the hour is split into two times
            columns = {
                "source": source,
                "issue_time": us([START])[0] + hour // 6 * HOUR_US,
                "valid_time": us([START])[0] + hour % 6 * HOUR_US,
            }
            columns |= dict.fromkeys(WEATHER, value.astype(float))
        before = dict(newest)
        for name, key, number, at in batch:
            newest[name, key] = max(
                newest.get((name, key), (-1, 0)), (at, number), key=lambda item: item[0]
            )
            if newest[name, key][0] == at:  # the same millisecond: what comes later is newer
                newest[name, key] = (at, number)
        changed = sum(before.get(key) != item for key, item in newest.items())
        assert (
            db.store_measurements(conn, table, NAMES, columns | {"sent_at": sent * 1000}) == changed
        )
    conn.commit()
    with conn.cursor() as cursor:
        if kind == "load":
            cursor.execute(
                "SELECT source_id, extract(epoch FROM time), power_kw, sent_at FROM load"
            )
            found = {(name, int(at) // 3600): (sent, value) for name, at, value, sent in cursor}
            first = us([START])[0] // HOUR_US
            expected = {(NAMES[name], first + hour): item for (name, hour), item in newest.items()}
        else:
            cursor.execute(
                "SELECT source_id, extract(epoch FROM issue_time), extract(epoch FROM "
                "valid_time), ghi, sent_at FROM weather_forecasts"
            )
            first = us([START])[0] // HOUR_US
            found = {
                (name, (int(issue) // 3600 - first) * 6 + int(valid) // 3600 - first): (sent, value)
                for name, issue, valid, value, sent in cursor
            }
            expected = {(NAMES[name], hour): item for (name, hour), item in newest.items()}
    assert {
        key: (round(sent.timestamp() * 1000), value) for key, (sent, value) in found.items()
    } == expected


def test_a_writer_that_was_faster_is_waited_for(config, conn):
    """Both see an empty table.

    The second waits for the first, and then replaces only what is older.
    """
    load = make_source("load-1", "load")
    other = db.connect(config)
    times = us(pd.date_range(START, periods=3, freq="h"))
    columns = {
        "source": np.zeros(3, np.int64),
        "time": times,
        "power_kw": np.array([1.0, 2.0, 3.0]),
        "sent_at": np.array([5, 1, 5]) * 1000,
    }
    db.store_measurements(other, "load", ["load-1"], columns)
    stored = []
    second = threading.Thread(target=lambda: stored.append(store(conn, load, [7, 8, 9], sent_ms=2)))
    second.start()
    with db.connect(config) as third, third.cursor() as cursor:
        deadline = time.monotonic() + 30
        waits = False
        while not waits and time.monotonic() < deadline:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %s)",
                (conn.info.backend_pid,),
            )
            waits = cursor.fetchone()[0]
    assert waits
    other.commit()
    second.join()
    other.close()
    third.close()
    assert stored == [1] and list(db.read_series(conn, load)) == [1, 8, 3]


def test_ranges_are_half_open_and_in_utc(conn):
    price = make_source("market-1", "market")
    store(conn, price, [10, 20, 30, 40])
    read = db.read_series(conn, price, START + pd.Timedelta("1h"), "2025-01-01T04:00+01:00")
    assert list(read) == [20, 30] and read.name == "market-1" and read.index.name == "time"
    assert str(read.index.tz) == "UTC" and read.index[0] == pd.Timestamp("2025-01-01T01:00Z")
    empty = db.read_series(conn, price, "2030-01-01T00:00Z")
    assert len(empty) == 0 and str(empty.index.dtype) == "datetime64[ns, UTC]"
    with pytest.raises(ValueError, match="expected a time with a time zone"):
        db.read_series(conn, price, "2025-01-01")


def test_weather_and_its_forecasts(conn):
    values = {name: np.array([place + 0.5, place + 1.5]) for place, name in enumerate(WEATHER)}
    times = us([START, START + pd.Timedelta("1h")])
    sent = np.array([1000, 1000])
    db.store_measurements(
        conn,
        "weather",
        ["w"],
        {"source": np.array([0, 0]), "time": times, **values, "sent_at": sent},
    )
    with conn.cursor() as cursor:
        cursor.execute(f"SELECT time, {', '.join(WEATHER)} FROM weather ORDER BY time")
        (first, *measured), (second, *_) = cursor.fetchall()
    assert (first, second) == (START, START + pd.Timedelta("1h"))
    assert measured == [0.5, 1.5, 2.5, 3.5, 4.5]
    for issue in range(2):  # two issues of the same hours are four rows
        key = {
            "source": np.array([0, 0]),
            "issue_time": np.full(2, times[0] - issue * HOUR_US),
            "valid_time": times,
        }
        assert (
            db.store_measurements(
                conn, "weather_forecasts", ["w"], key | values | {"sent_at": sent}
            )
            == 2
        )
    frame = db.read_weather_forecasts(conn, "w", START, START + pd.Timedelta("1h"))
    assert (
        list(frame["issue_time"]) == [START - pd.Timedelta("1h"), START]
        and list(frame["valid_time"]) == [START] * 2
    )
    assert list(frame["wind_speed"]) == [4.5, 4.5]


def test_sources_at_one_step(conn):
    quarter, hour = make_source("solar-1", "solar", 15), make_source("market-1", "market", 60)
    store(conn, quarter, [1, 2, 3, 6, 8])
    store(conn, hour, [50, 60])
    wide = db.read_resampled(
        conn, [quarter, hour], START, None, 60
    )  # (1+2+3+6)/4 = 3; of the second hour one quarter
    assert wide.to_dict("list") == {"solar-1": [3, 8], "market-1": [50, 60]}
    wide = db.read_resampled(
        conn, [hour, quarter], START, START + pd.Timedelta("1h"), 30
    )  # an hour's value holds in both halves
    assert wide.to_dict("list") == {"market-1": [50, 50], "solar-1": [1.5, 4.5]}
    assert db.read_resampled(conn, [hour], "2030-01-01T00:00Z", None, 30).shape == (0, 1)


def test_the_data_end_is_that_of_the_slowest(conn):
    with pytest.raises(db.DataGapError, match=r"run python communication\.py"):
        db.data_end(conn)
    solar, load = make_source("solar-1", "solar", 15), make_source("load-1", "load", 60)
    db.upsert_sources(conn, [solar, load, make_source("market-1", "market")])
    store(conn, solar, [1, 2, 3, 4, 5])  # ends 01:15
    with pytest.raises(db.DataGapError, match="load-1"):
        db.data_end(conn)
    store(conn, load, [1, 2])  # ends 02:00; the price, which has none, does not count
    assert db.data_end(conn) == START + pd.Timedelta(
        "1h"
    )  # not 01:15, which is within an hour of the load
    assert db.read_latest(conn, solar) == (START + pd.Timedelta("1h"), 5)
    assert db.count_measurements(conn)["solar"] == 5 and db.count_measurements(conn)["wind"] == 0


def test_prices_alone_have_no_data_end(conn):
    market = make_source("market-1", "market")
    db.upsert_sources(conn, [market])
    with pytest.raises(db.DataGapError, match=r"prices only.* --issue-time"):
        db.data_end(conn)


def test_sources_are_read_as_they_were_written(conn):
    sources = [
        make_source("a", "market", price_area="LU"),
        make_source("b", "solar", 15, tilt=30, turbine="ü"),
    ]
    db.upsert_sources(conn, sources)
    changed = dataclasses.replace(sources[1], capacity_kw=5.0)
    db.upsert_sources(conn, [changed])
    assert db.read_sources(conn) == [sources[0], changed]
    assert db.read_sources(conn, "market") == [sources[0]]


def test_ten_sources_at_15_min_are_read_in_bulk(conn):
    sources = [make_source(f"solar-{number}", "solar", 15) for number in range(10)]
    count = 8_760
    times = np.tile(us(pd.date_range(START, periods=count, freq="15min")), 10)
    place = np.repeat(np.arange(10), count)
    columns = {
        "source": place,
        "time": times,
        "power_kw": np.arange(count * 10.0),
        "sent_at": np.full(count * 10, 1000),
    }
    assert (
        db.store_measurements(conn, "renewables", [source.source_id for source in sources], columns)
        == 87_600
    )
    frame = db.read_resampled(conn, sources, START, None, 15)
    assert frame.shape == (count, 10)
    assert frame.to_numpy().T.ravel().tolist() == list(range(count * 10))


# --- forecasts, batteries, schedules


def make_forecast(value, start=START):
    index = pd.date_range(start, periods=2, freq="h", name="valid_time")
    return pd.DataFrame(
        {"value": value, **{name: float(place) for place, name in enumerate(schema.QUANTILES)}},
        index,
    )


def test_forecasts_are_replaced_as_a_whole(conn):
    run = db.ForecastRun("solar-1", "prophet", "3", START, START, "champion")
    db.save_forecasts(
        conn,
        [
            (run, make_forecast(1.0)),
            (dataclasses.replace(run, role="candidate"), make_forecast(9.0)),
        ],
    )
    db.save_forecasts(conn, [(run, make_forecast(2.0).iloc[:1])])
    found, frame = db.read_forecasts(conn, "solar-1", START)
    assert found == run and found.run_id == run.run_id
    assert list(frame["value"]) == [2.0] and list(frame.loc[START, list(schema.QUANTILES)]) == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    fallback = dataclasses.replace(
        run, model="seasonal_naive", model_version=None, trained_until=None, role="fallback"
    )
    db.save_forecasts(
        conn, [(fallback, make_forecast(3.0))]
    )  # the newest of the roles that plans read
    found, frame = db.read_forecasts(conn, "solar-1", START.tz_convert("Europe/Brussels"))
    assert found == fallback and list(frame["value"]) == [3, 3]
    assert db.read_forecasts(conn, "solar-1", START + pd.Timedelta("1h")) is None
    assert list(db.read_forecast_runs(conn, roles=["candidate"])["source_id"]) == ["solar-1"]
    assert (
        len(db.read_forecast_runs(conn, "solar-1")) == 3
        and len(db.read_forecast_runs(conn, "x")) == 0
    )


def test_a_forecast_that_fails_replaces_nothing(conn):
    run = db.ForecastRun("solar-1", "prophet", "3", START, START, "champion")
    db.save_forecasts(conn, [(run, make_forecast(1.0))])
    with pytest.raises(db.DatabaseError, match="forecasts"):
        db.save_forecasts(
            conn,
            [
                (run, make_forecast(2.0)),
                (dataclasses.replace(run, source_id="b"), make_forecast(np.nan)),
            ],
        )
    assert list(db.read_forecasts(conn, "solar-1", START)[1]["value"]) == [1, 1]
    with pytest.raises(ValueError, match="time zone"):
        db.save_forecasts(conn, [(run, make_forecast(1.0).tz_localize(None))])


def test_the_last_state_is_not_a_planned_one(conn):
    db.upsert_batteries(conn, [BatteryParameters("b")] * 1)
    db.upsert_batteries(conn, [BatteryParameters("b", capacity_kwh=5.0)])
    assert db.read_last_state(conn, "b", START) is None
    frame = pd.DataFrame(
        {"battery_id": "b", "kind": ["measured", "planned", "simulated"], "soc": [0.1, 0.2, 0.3]}
    )
    frame["time"] = pd.date_range(START, periods=3, freq="h")
    for _ in range(2):
        db.save_battery_states(conn, frame)
    assert db.read_last_state(conn, "b", START + pd.Timedelta("1h")) == (START, 0.1)
    assert db.read_last_state(conn, "b", START + pd.Timedelta("2h")) == (
        START + pd.Timedelta("2h"),
        0.3,
    )
    assert db.count_rows(conn)["battery_states"] == 3 and db.count_rows(conn)["batteries"] == 1


def test_a_schedule_is_replaced_as_a_whole(conn):
    index = pd.date_range(START, periods=2, freq="h", name="time")
    schedule = pd.DataFrame(
        {"grid_import_kw": [1.0, np.nan], "reason": ['says "no", twice', ""]}, index
    )
    states = pd.DataFrame({"battery_id": "b", "soc": [0.5, 0.6], "charge_kw": 1.0}, index)
    run = {
        "run_id": "r",
        "site_id": "s",
        "issue_time": START,
        "kind": "plan",
        "gap": np.float64(0.5),
        "cost_eur": float("nan"),
    }
    db.save_schedule(conn, run, schedule, states)
    db.save_schedule(conn, run | {"status": "optimal"}, schedule.iloc[:1], states)
    later = run | {"run_id": "r2", "issue_time": START + pd.Timedelta("1h")}
    db.save_schedule(conn, later, schedule, states)
    found, read, read_states = db.read_schedule(conn, "r")
    assert (found["status"], found["gap"], found["cost_eur"], found["issue_time"]) == (
        "optimal",
        0.5,
        None,
        START,
    )
    assert (
        read.index.name == "time"
        and list(read["reason"]) == ['says "no", twice']
        and list(read_states["kind"]) == ["planned"] * 2
    )
    assert db.read_schedule(conn)[0]["run_id"] == "r2"
    assert db.read_schedule(conn, kind="perfect") is None
    assert db.read_schedule(conn, "r2")[1]["reason"].tolist() == ['says "no", twice', ""]


def test_run_id_depends_on_what_it_says_only():
    frame = pd.DataFrame({"a": [1.0, 2.0]}, pd.date_range(START, periods=2, freq="h"))
    first = db.run_id("plan", START, {"b": 1, "a": 2.0}, BatteryParameters("b"), frame)
    same = db.run_id(
        "plan",
        START.tz_convert("Asia/Tokyo"),
        {"a": 2.0, "b": 1},
        BatteryParameters("b"),
        frame.copy(),
    )
    assert first == same and len(first) == 16
    assert first != db.run_id("plan", START, {"b": 1, "a": 2.0}, BatteryParameters("b"), frame + 1)


# --- command


def test_command(config_file, config, capsys):
    path = config_file()
    store_something = make_source("load-1", "load")
    with db.session(config) as conn:
        store(conn, store_something, [1, 2])

    def run(*arguments):
        code = db.main(["--config", str(path), *arguments])
        return code, capsys.readouterr()

    code, shown = run()
    assert code == 0 and "PostgreSQL" in shown.out and "2025-01-01T01:00Z" in shown.out
    code, shown = run("reset")  # standard input is no terminal here
    assert code == 1 and shown.err.endswith(
        ": reset deletes all tables with their rows; add --yes\n"
    )
    assert run("reset", "--table", "load", "--yes")[0] == 0
    with db.session(config) as conn:
        assert db.count_rows(conn)["load"] == 0
        store(conn, store_something, [1, 2])
    assert run("reset", "--yes")[0] == 0 and run("--json", "init")[0] == 0
    with db.session(config) as conn:
        assert set(db.count_rows(conn).values()) == {0}


# --- hourly means and TimescaleDB


def test_hourly_means(config, conn):
    solar = make_source("solar-1", "solar", 15)
    store(conn, solar, [1, 2, 3, 6, 8])
    db.after_import(conn, 7, 0)
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT time, power_kw FROM renewables_hourly WHERE source_id = 'solar-1' ORDER BY time"
        )
        assert cursor.fetchall() == [(START, 3), (START + pd.Timedelta("1h"), 8)]


def test_timescaledb_compresses_and_still_takes_corrections(config, conn, has_timescaledb):
    if not has_timescaledb or not db.is_compressing(conn):
        pytest.skip("needs TimescaleDB (Community); name such a server in VPP_TEST_DATABASE_URL")
    load = make_source("load-1", "load")
    store(conn, load, range(24 * 60))
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_schema = "
            "current_schema()"
        )
        assert cursor.fetchone() == (len(schema.HYPERTABLES),)
        for days, retention in ((7, 0), (9, 10_000), (9, 0)):
            db.after_import(conn, days, retention)
            cursor.execute(
                "SELECT config ->> 'compress_after', config ->> 'drop_after' FROM "
                "timescaledb_information.jobs "
                "WHERE hypertable_name = 'load' AND config ?| array['compress_after', "
                "'drop_after'] ORDER BY 1"
            )
            assert cursor.fetchall() == [(f"{days} days", None)] + [
                (None, f"{retention} days")
            ] * bool(retention)
        cursor.execute(
            "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('load') c"
        )
        conn.commit()
    assert store(conn, load, range(24 * 60)) == 0
    assert store(conn, load, [5] * 48, sent_ms=2000) == 48
    assert store(conn, load, [6] * 48, sent_ms=1500) == 0
    series = db.read_series(conn, load)
    assert len(series) == 1440 and list(series.iloc[:48]) == [5] * 48 and series.iloc[48] == 48
    with conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM show_chunks('load')")
        assert cursor.fetchone()[0] >= 2
    shown = {row["table"]: row for row in schema.table_rows(conn)}
    assert shown["load"]["rows"] == 1440 and shown["load"]["compressed_mb"] > 0
    db.reset(conn)
    assert db.count_rows(conn)["load"] == 0


def test_a_server_that_ends_the_session_is_a_database_error(config):
    with pytest.raises(db.DatabaseError, match="session"), db.session(config) as conn:
        with psycopg2.connect(config.database.url) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        other.close()
        db.count_rows(conn)


def fill_every_table(conn):
    """A row of each table, each hanging on the others.

    A measured battery state that hangs on no plan.
    """
    sources = [make_source(f"{kind}-1", kind) for kind in ("solar", "load", "market")]
    db.upsert_sources(conn, sources)
    for source in sources:
        store(conn, source, [1, 2])
    with conn.cursor() as cursor:
        values = ", ".join(["1"] * len(WEATHER))
        cursor.execute(f"INSERT INTO weather VALUES (now(), 'load-1', {values}, now())")
        cursor.execute(
            f"INSERT INTO weather_forecasts VALUES ('load-1', now(), now(), {values}, now())"
        )
    conn.commit()
    run = db.ForecastRun("load-1", "arima", None, None, START, "champion")
    db.save_forecasts(conn, [(run, make_forecast(1.0))])
    db.upsert_batteries(conn, [BatteryParameters("b")])
    hour = pd.DatetimeIndex([START])
    states = pd.DataFrame({"battery_id": "b", "soc": 0.5}, hour)
    db.save_battery_states(conn, states.assign(kind="measured"))
    plan = {"run_id": "plan-1", "site_id": "s", "issue_time": START, "kind": "plan"}
    db.save_schedule(conn, plan, pd.DataFrame({"load_kw": 1.0}, hour), states)
    conn.commit()


LEFT_HANGING = (
    "SELECT count(*) FROM forecasts LEFT JOIN forecast_runs r USING (run_id) WHERE r IS NULL",
    "SELECT count(*) FROM forecast_runs r LEFT JOIN forecasts f USING (run_id) WHERE f IS NULL",
    "SELECT count(*) FROM schedules LEFT JOIN schedule_runs r USING (run_id) WHERE r IS NULL",
    "SELECT count(*) FROM schedule_runs r LEFT JOIN schedules s USING (run_id) WHERE s IS NULL",
    "SELECT count(*) FROM battery_states s LEFT JOIN schedule_runs r USING (run_id) WHERE "
    "s.run_id <> '' AND r IS NULL",
    "SELECT count(*) FROM schedule_runs r LEFT JOIN battery_states s USING (run_id) WHERE s IS "
    "NULL",
    "SELECT count(*) FROM battery_states LEFT JOIN batteries b USING (battery_id) WHERE b IS NULL",
    *(
        f"SELECT count(*) FROM {table} LEFT JOIN sources s USING (source_id) WHERE s IS NULL"
        for table in (*MEASUREMENTS, "forecast_runs")
    ),
)


@pytest.mark.parametrize("table", schema.TABLES)
def test_a_reset_of_one_table_leaves_nothing_hanging(config_file, config, caplog, table):
    with db.session(config) as conn:
        fill_every_table(conn)
        before = db.count_rows(conn)
        assert all(before.values()), before
    with caplog.at_level("INFO"):
        assert db.main(["--config", str(config_file()), "reset", "--table", table, "--yes"]) == 0
    with db.session(config) as conn, conn.cursor() as cursor:
        after = db.count_rows(conn)
        for query in LEFT_HANGING:
            cursor.execute(query)
            assert cursor.fetchone()[0] == 0, query
    assert after[table] == 0
    changed = [name for name in before if after[name] != before[name]]
    said = caplog.text.partition("emptied: ")[2]
    assert set(changed) == {name for name in schema.TABLES if re.search(rf"\b{name}\b", said)}
    if table in ("schedules", "schedule_runs"):
        assert after["battery_states"] == 1  # the measured one
    assert table != "load" or changed == ["load"]


def test_a_reset_says_what_it_would_delete(config_file, capsys):
    path = str(config_file())
    assert db.main(["--config", path, "reset", "--table", "schedules"]) == 1
    told = "reset deletes all rows of schedules, schedule_runs and the battery_states of plans"
    assert told in capsys.readouterr().err
