"""Clock and jobs of a plant in operation."""

import threading
import time
from collections import Counter
from functools import partial

import pandas as pd
import pytest

import db
from vpp.operation.clock import Clock
from vpp.operation.jobs import Job, Jobs
from vpp.operation.plant import Plant
from vpp.runtime.config import load_config
from vpp.storage.jobs import read_clock, read_jobs, record_clock

START = pd.Timestamp("2025-03-30T00:10Z")


class At(Clock):
    """A clock that stands still."""

    def now(self):
        return self.start


@pytest.mark.parametrize(
    ("every_min", "last", "following"),
    [
        (60, "2025-03-30T00:00Z", "2025-03-30T01:00Z"),
        (15, "2025-03-30T00:00Z", "2025-03-30T00:15Z"),
        (7, "2025-03-30T00:07Z", "2025-03-30T00:14Z"),
        (1440, "2025-03-30T00:00Z", "2025-03-31T00:00Z"),
        (168 * 60, "2025-03-27T00:00Z", "2025-04-03T00:00Z"),  # weeks begin on Thursday, as in 1970
    ],
)
def test_periods_are_multiples_of_the_clock(every_min, last, following):
    clock = At(START)
    assert clock.last(every_min) == pd.Timestamp(last)
    assert clock.next(every_min) == pd.Timestamp(following)


def test_a_period_that_does_not_divide_the_day_begins_anew_at_midnight():
    assert At(pd.Timestamp("2025-03-30T23:59Z")).next(7) == pd.Timestamp("2025-03-31T00:00Z")


def test_a_clock_on_data_runs_at_its_speed():
    clock = Clock(START, 3600.0, began=time.monotonic() - 2)
    assert pd.Timedelta("2h") <= clock.now() - START < pd.Timedelta("3h")
    assert 0 < clock.wait_s(START + pd.Timedelta("12h")) <= 10
    assert clock.wait_s(START) == 0
    assert abs(Clock().now() - pd.Timestamp.now("UTC")) < pd.Timedelta("10s")


def test_a_clock_on_data_stands_and_goes_on_from_there():
    clock = Clock(START, 3600.0, began=time.monotonic() - 2)
    clock.stand()
    at = clock.now()
    time.sleep(0.1)  # 6 min of the clock
    clock.stand()  # it stands already
    assert clock.now() == at and clock.pace == 0
    clock.go_on()
    assert at <= clock.now() < at + pd.Timedelta("5min") and clock.pace == 3600
    wall = Clock()
    wall.stand()
    assert wall.pace == 1 and abs(wall.now() - pd.Timestamp.now("UTC")) < pd.Timedelta("10s")


def test_a_leader_of_before_moves_the_clock_no_more(config_file):
    """Its forecast goes on for seconds after another has taken over: hours of the clock."""
    config = load_config(config_file())
    site, taken_over = config.site.site_id, START + pd.Timedelta("5h")
    jobs = Jobs(config, Clock(START, 3600.0))
    with jobs.standing():
        jobs.stop()
        with db.session(config) as conn:
            record_clock(conn, site, "the next one", taken_over, 3600.0)
        at = jobs.clock.now()
    time.sleep(0.6)  # 36 min of the clock
    assert jobs.clock.now() == at
    with db.session(config) as conn:
        assert taken_over < read_clock(conn, site) <= taken_over + pd.Timedelta("30min")


def until(condition, patience_s=30):
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_a_clock_that_stands_at_each_tick_skips_no_job(config_file):
    """Forecasts let it stand; alerts come half a period later, and values at few of the ticks."""
    config, ran = load_config(config_file()), Counter()
    jobs = Jobs(config, Clock(START.floor("h"), 36_000.0))  # an hour in 0.1 s

    def forecast():
        with jobs.standing():
            ran["forecast"] += 1

    jobs.add(Job("forecast", forecast, 30.0, every_min=60))
    for name, every_min in (("alerts", 60), ("value", 360)):
        work = partial(ran.update, [name])
        jobs.add(Job(name, work, 30.0, every_min=every_min, offset_s=0.05, at_start=False))
    jobs.start()
    try:
        until(lambda: ran["alerts"] >= 5 and ran["value"] >= 2)
        with db.session(config) as conn:  # when it is on the wall, a clock that stands cannot tell
            assert read_jobs(conn, config.site.site_id)["next_at"].isna().all()
    finally:
        jobs.stop()
        until(lambda: not jobs.running)


def test_a_failing_job_stops_no_other_and_none_runs_beside_itself(config_file):
    config = load_config(config_file())
    counts = {"good": 0, "bad": 0, "slow": 0}
    together, gate = [], threading.Event()

    def good():
        counts["good"] += 1

    def bad():
        counts["bad"] += 1
        raise RuntimeError("a wall fell down") if counts["bad"] == 1 else db.DatabaseError("away")

    def slow():
        counts["slow"] += 1
        together.append(1)
        assert len(together) == 1
        gate.wait(30)
        together.pop()

    jobs = Jobs(config, Clock())
    jobs.add(Job("good", good, 60, every_s=0.1))
    jobs.add(Job("bad", bad, 60, every_s=0.1))
    jobs.add(Job("slow", slow, 0.0, every_min=60))
    jobs.add(Job("called", good, 60, at_start=False))
    jobs.start()
    try:
        until(lambda: counts["good"] >= 3 and counts["bad"] >= 3 and counts["slow"] == 1)
        jobs.call("slow")  # while it runs: once more afterwards
        jobs.look()
        with db.session(config) as conn:
            found = read_jobs(conn, config.site.site_id).set_index("job")
        assert (
            found.loc["slow", "state"] == "late" and "deadline" in found.loc["slow", "last_error"]
        )
        gate.set()
        until(lambda: counts["slow"] == 2)
        jobs.call("nobody")
    finally:
        gate.set()
        jobs.stop()
    until(lambda: not jobs.running)
    with db.session(config) as conn:
        found = read_jobs(conn, config.site.site_id).set_index("job")
    assert found.loc["good", "state"] in ("waiting", "running")
    assert pd.notna(found.loc["good", "ok_at"]) and found.loc["good", "last_error"] is None
    assert found.loc["bad", "last_error"] in ("away",) or "wall" in found.loc["bad", "last_error"]
    assert pd.isna(found.loc["bad", "ok_at"])
    assert "called" not in found.index


@pytest.mark.parametrize(
    ("speed", "timing"),
    [
        (1.0, {"every_min": 60, "offset_s": 300.0}),
        (100.0, {"every_min": 60, "offset_s": 18.0}),
        (8760.0, {"every_s": 10.0}),
    ],
)
def test_books_are_kept_each_period_but_on_a_fast_clock_no_faster_than_the_wall(
    speed, timing, config_file
):
    plant = Plant(load_config(config_file()), Clock(START, speed))
    assert plant._calmly(60) == timing
