"""`pipeline.py operate` as processes: it plans, hears an order, is taken over, and ends."""

import json
import os
import signal
import subprocess
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import db
import pipeline
from vpp.operation.sent_before import _waiting
from vpp.runtime.config import load_config
from vpp.site.sources import Source, write_sources
from vpp.storage.jobs import read_jobs
from vpp.storage.overrides import Override, record_override
from vpp.storage.rows import select_rows
from vpp.stream.feed import Feed
from vpp.stream.kafka import kafka_settings, new_producer, topic_names

START, DAYS = pd.Timestamp("2025-03-20T00:00Z"), 8
SPEED = 600  # an hour in 6 s
TARIFF = {"import_eur_per_mwh": "300 06:00-20:00; 150", "export_eur_per_mwh": "50"}
PATIENCE_S = 240  # of a test, on a machine that has other work too


@pytest.fixture
def path(config_file):
    """A site with a load of 8 days and a tariff of its own prices, and nothing in the database."""
    sections = {
        "site": {"holidays_country": ""},
        "training": {"jobs": 1},
        "tariff": TARIFF,
        "operation": {"retrain_every_h": 0},
        "battery:store": {"capacity_kwh": 400, "charge_kw": 100, "discharge_kw": 100},
    }
    path = config_file(**sections)
    folder = load_config(path).paths.data_dir
    folder.mkdir()
    place = (49.6, 6.1, "Europe/Brussels")
    load = Source("load-1", "load", "Works", "site-1", 500.0, 60, *place, {})
    write_sources(folder / "sources.csv", [load])
    index = pd.date_range(START, periods=DAYS * 24, freq="h")
    power = 200 + 50 * np.sin(np.arange(len(index)) / 24 * 2 * np.pi)
    frame = pd.DataFrame({"time": index.strftime("%Y-%m-%dT%H:%M:%SZ"), "source_id": "load-1"})
    frame.assign(power_kw=power.round(1)).to_csv(folder / "load.csv", index=False)
    return path


def begin(script, path, log, *options):
    command = script("pipeline.py", "--config", path, "operate", *options)
    return subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)


def until(condition, processes, log, patience_s=PATIENCE_S):
    end = time.monotonic() + patience_s
    while not (found := condition()):
        for process in processes:
            assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
    return found


def plans_of(conn, where="TRUE"):
    query = f"SELECT * FROM schedule_runs WHERE kind = 'plan' AND {where} ORDER BY created_at"
    rows = select_rows(conn, query)
    conn.commit()
    return rows


def waiting(config):
    """The time of a row that is in Kafka and not stored; None where there is none."""
    found = _waiting(config, ["load"])["load"]
    times = [pd.Timestamp(json.loads(value)["time"]) for _, value in found]
    return max(times, default=None)


def correct(config, at):
    failures = Counter()
    producer = new_producer(kafka_settings(config), 30, failures)
    record = {"source_id": "load-1", "time": at.isoformat(), "power_kw": 123.0}
    producer.produce(topic_names(config)["load"], json.dumps(record).encode(), "load-1")
    assert not producer.flush(30) and not failures


def test_rows_that_are_stored_or_wait_are_left_out(config_file):
    """Of an issued forecast those that are missing are sent, though others of its issue are not."""
    config = load_config(config_file())
    folder = config.paths.data_dir
    folder.mkdir()
    weather = "wx,{0},{1},0,0,0,1,1"
    (folder / "sources.csv").write_text(
        "source_id,kind,name,site_id,capacity_kw,step_min,latitude,longitude,time_zone,parameters\n"
    )
    (folder / "load.csv").write_text(
        "time,source_id,power_kw\n2025-01-01T00:00Z,a,1\n2025-01-01T02:00:00+01:00,a,2\n"
        "2025-01-01T02:00Z,a,3\nsoon,a,4\n2025-01-01T03:00Z,a,x\n2025-01-09T03:00Z,a,5\n"
    )
    rows = [weather.format("2025-01-01T00:00Z", f"2025-01-01T0{hour}:00Z") for hour in (1, 2, 3)]
    header = "source_id,issue_time,valid_time,ghi,dni,dhi,temp_air,wind_speed"
    (folder / "weather_forecast.csv").write_text("\n".join([header, *rows]) + "\n")
    feed, hour = Feed(config), 3_600_000_000
    midnight = pd.Timestamp("2025-01-01T00:00Z").value // 1000
    stored = {"load": {("a", midnight), ("a", midnight + hour)}}
    stored["weather-forecast"] = {("wx", midnight, midnight + hour)}
    waiting = {"load": set(), "weather-forecast": {feed.rows[-2][1:]}}
    for kind, key, value in [row for row in feed.rows if b"soon" in row[2] or b"T02:00Z" in row[2]]:
        waiting[feed.kinds[kind]].add((key, value))
    feed.leave_out(pd.Timestamp("2025-01-02T00:00Z"), stored, waiting)
    left = [row[2] for place, row in enumerate(feed.rows) if place not in feed.left_out]
    assert len(left) == 3
    assert b'"x"' in left[0] + left[1] and b"T03:00Z" in left[0] + left[1] and b"09T" in left[2]
    out = set(feed.left_out)
    feed.skip(pd.Timestamp("2025-01-02T00:00Z"))
    feed.begin_again()  # as of a process that leads again
    assert not feed.left_out and feed.next_due() == pd.Timestamp(feed.due[0], tz="UTC")
    feed.leave_out(pd.Timestamp("2025-01-02T00:00Z"), stored, waiting)
    assert feed.left_out == out


def ends_well(process):
    """Whether a SIGTERM ends it in 5 s, and some on a busy machine."""
    ended = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return process.wait(30) == 0 and time.monotonic() - ended < 10


def end(*processes):
    """End those that began and still run, at once."""
    for process in processes:
        if process is not None:
            process.kill()
            process.wait()


def test_it_plans_obeys_an_order_is_taken_over_and_ends(path, script, tmp_path):
    config, logs = load_config(path), [tmp_path / name for name in ("one.log", "two.log")]
    options = ("--clock", "data", "--speed", SPEED)
    first = begin(script, path, logs[0], *options)
    second = None
    with db.session(config) as conn:
        try:
            until(lambda: plans_of(conn), [first], logs[0])
            second = begin(script, path, logs[1], *options)
            # the clock begins two days before the data end, and no later row is in the database
            [earliest, *_] = plans_of(conn)
            begun = START + pd.Timedelta(days=DAYS - 2)
            assert begun <= earliest["issue_time"] < begun + pd.Timedelta(hours=24)
            record_override(conn, Override("store", "hold", name="Ann", reason="storm"))
            asked = time.monotonic()
            held = 'made_from -> \'overrides\' @> \'[{"override": "hold", "name": "Ann"}]\''
            until(lambda: plans_of(conn, held), [first, second], logs[0])
            assert time.monotonic() - asked < 60
            states = db.read_schedule(conn, plans_of(conn, held)[-1]["run_id"])[2]
            assert (states[["charge_kw", "discharge_kw"]].abs() < 1e-6).all(axis=None)
            until(lambda: "waiting" in logs[1].read_text(), [first, second], logs[1])
            leader = select_rows(conn, "SELECT leader FROM operations")[0]["leader"]
            assert leader.endswith(f" {first.pid}")
            conn.commit()
            before = plans_of(conn)[-1]
            with db.session(config) as blocker:
                with blocker.cursor() as cur:  # nothing is stored until its transaction ends
                    cur.execute("LOCK TABLE load IN EXCLUSIVE MODE")
                at = until(lambda: waiting(config), [first, second], logs[0])
                correct(config, at)
                os.kill(first.pid, signal.SIGKILL)
                killed = time.monotonic()
                until(lambda: f" {second.pid} leads" in logs[1].read_text(), [second], logs[1])
                assert time.monotonic() - killed < 60
                blocker.rollback()
            # the row that waited is not sent again by the one that took over
            query = "SELECT power_kw, max(time) OVER () AS newest FROM load WHERE time >= %s"
            query += " ORDER BY time LIMIT 1"

            def two_hours_later():
                rows = select_rows(conn, query, (at.to_pydatetime(),))
                conn.commit()
                return rows and rows[0]["newest"] >= at + pd.Timedelta(hours=2) and rows

            [corrected] = until(two_hours_later, [second], logs[1])
            assert corrected["power_kw"] == 123.0
            until(
                lambda: plans_of(conn)[-1]["issue_time"] > before["issue_time"], [second], logs[1]
            )
            later = plans_of(conn)[-1]
            assert later["issue_time"] < begun + pd.Timedelta(days=3)  # its clock went on
            jobs = read_jobs(conn).set_index("job")
            assert {"ingest", "forecast", "plan", "orders", "stream"} <= set(jobs.index)
            seen = select_rows(conn, "SELECT topic FROM stream_status WHERE lag IS NOT NULL")
            assert seen  # for the page and for the alert of dead letters
            conn.commit()
            assert ends_well(second)
            assert "Traceback" not in logs[0].read_text() + logs[1].read_text()
        finally:
            end(first, second)


def test_a_signal_in_its_first_seconds_ends_it_as_well(path, script, tmp_path):
    """While it sends the rows before the start, or forecasts for the first time."""
    log = tmp_path / "log"
    process = begin(script, path, log, "--clock", "data")
    try:
        until(lambda: "leads" in log.read_text(), [process], log)
        ended = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - ended < 10
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--speed", "60"], "--speed: is of a clock on data"),
        (["--from", "2025-03-01T00:00Z"], "--from: is of a clock on data"),
        (["--clock", "data", "--speed", "0"], "--speed 0: expected more than 0"),
        (["--clock", "data", "--speed", "nan"], "--speed"),
        (["--clock", "data", "--speed", "inf"], "--speed inf: expected more than 0"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, told, config_file, capsys):
    words = ["--config", str(config_file()), "operate", *options]
    try:
        code = pipeline.main(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert told in capsys.readouterr().err


def test_a_clock_begins_before_the_end_of_the_data(path, capsys):
    """Said before it waits for another process that leads; signals are as they were."""
    words = ["--config", str(path), "operate", "--clock", "data", "--from", "2031-01-01T00:00Z"]
    before = signal.getsignal(signal.SIGINT)
    assert pipeline.main(words) == 2
    assert signal.getsignal(signal.SIGINT) is before
    told = "--from 2031-01-01T00:00Z: expected a time before the end of the data folder,"
    assert f"{told} 2025-03-28T00:00Z" in capsys.readouterr().err


def test_a_clock_on_no_data_is_one_line(path, capsys):
    folder = load_config(path).paths.data_dir
    (folder / "load.csv").unlink()
    words = ["--config", str(path), "operate", "--clock", "data"]
    assert pipeline.main(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no CSV files" in error
