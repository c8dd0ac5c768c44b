"""A stored plan, and a bridge at work, for the tests of devices."""

import time
from contextlib import contextmanager

import pandas as pd
import psycopg2.extras

import db
from vpp.devices.bridge import serving
from vpp.devices.publish import is_bridged

STEP_MIN = 15
BASE = "vpp/site-1"


def eventually(condition, seconds=20):
    """Wait until a condition holds, and return what it returns."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def save_plan(config, run_id, start=None, steps=8, step_min=STEP_MIN, status="optimal", first=1.0):
    """A plan that charges by 1, 2, … kW, from a time on; returns its start."""
    start = pd.Timestamp(start or pd.Timestamp.now("UTC").floor(f"{step_min}min"))
    times = pd.date_range(start, periods=steps, freq=f"{step_min}min", name="time")
    run = {"run_id": run_id, "site_id": config.site.site_id, "issue_time": start, "kind": "plan"}
    run |= {"status": status, "cost_eur": 4.0, "cost_no_battery_eur": 5.5}
    schedule = pd.DataFrame({"grid_import_kw": 1.0}, times)
    powers = [first + n for n in range(steps)]
    states = pd.concat(
        pd.DataFrame({"battery_id": battery.battery_id, "soc": 0.5, "charge_kw": powers}, times)
        for battery in config.batteries
    )
    states = states.assign(energy_kwh=50.0, discharge_kw=0.0)
    with db.session(config) as conn:
        db.save_schedule(conn, run, schedule, states)
        with conn.cursor() as cursor:
            basis = psycopg2.extras.Json({"step_min": step_min})
            query = "UPDATE schedule_runs SET basis = %s WHERE run_id = %s"
            cursor.execute(query, (basis, run_id))
    return start


@contextmanager
def bridged(config, clock=None):
    """A bridge at work in a thread, which serves the site."""
    with serving(config, clock):
        until = time.monotonic() + 20
        with db.session(config) as conn:
            while not is_bridged(conn, config.site.site_id):
                assert time.monotonic() < until
                time.sleep(0.02)
        yield
