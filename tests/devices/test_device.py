"""A device obeys a set-point once, while it holds, and only one of the newest plan.

The example's logic is checked by random histories of messages, and on a real broker under kills.
"""

import importlib.util
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_bridge import BASE, eventually, save_plan

import db
from vpp.devices.publish import publish_plan
from vpp.devices.topics import new_client, site_topics
from vpp.schedule.battery import Battery
from vpp.storage.battery_states import count_measured, read_acknowledgements

PATH = Path(__file__).resolve().parents[2] / "examples" / "device.py"
START = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(minutes=15)


def load():
    spec = importlib.util.spec_from_file_location("device", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["device"] = module
    spec.loader.exec_module(module)
    return module


device = load()


def plan(number):
    """Of plans 0, 1, 2, … two each are issued at one time, a step apart."""
    return {"plan_id": f"p{number}", "issue_time": (START + number // 2 * STEP).isoformat()}


def point(number, step):
    """Plan 2 charges by 200 kW and more: each set-point has a power of its own."""
    begin = START + step * STEP
    times = {"valid_from": begin.isoformat(), "valid_until": (begin + STEP).isoformat()}
    power = {"charge_kw": 100.0 * number + step + 1, "discharge_kw": 0.0}
    return {"plan_id": f"p{number}"} | times | power


def test_a_set_point_is_obeyed_while_it_holds():
    found, now = device.Obedience(), START
    assert found.power_kw(now) == 0
    assert found.take_set_point(point(0, 0), now)[1] == "waiting"  # its plan is not known
    assert found.take_plan(plan(0), now)[1] == "obeyed"
    assert found.power_kw(now) == 1 == found.power_kw(now + STEP - timedelta(seconds=1))
    assert found.power_kw(now + STEP) == 0  # nothing valid came: idle
    assert found.take_set_point(point(0, 0), now)[1] == "doubled"
    assert found.take_set_point(point(0, 1), now)[1] == "waiting"  # for its time
    assert found.wake(now) is None and found.wake(now + STEP)[1] == "obeyed"
    assert found.take_set_point(point(0, 0), now + STEP)[1] == "late"
    assert found.take_plan(plan(1), now + STEP) is None and found.plan_id == "p1"
    assert found.take_set_point(point(0, 2), now + 2 * STEP)[1] == "older plan"
    assert found.take_plan(plan(0), now) is None and found.plan_id == "p1"  # comes late
    assert found.take_set_point(point(1, 2), now + 2 * STEP)[1] == "obeyed"


@pytest.mark.parametrize(
    "change",
    [
        {"charge_kw": "5"},
        {"charge_kw": True},
        {"charge_kw": float("nan")},
        {"discharge_kw": -5},
        {"valid_from": "2026-01-05T00:00:00"},
        {"valid_until": 5},
    ],
)
def test_a_faulty_set_point_is_not_obeyed(change):
    found = device.Obedience()
    found.take_plan(plan(0), START)
    assert found.take_set_point(point(0, 0) | change, START) == (None, "invalid")
    assert found.take_set_point([], START) == (None, "invalid")
    assert found.take_plan({"plan_id": "x"}, START) is None and found.plan_id == "p0"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("plan", "point", "wake")),
            st.integers(0, 3),
            st.integers(0, 5),
            st.integers(0, 900),
        ),
        max_size=60,
    )
)
def test_whatever_comes_only_what_is_valid_is_obeyed(events):
    found, now, obeyed, followed = device.Obedience(), START, set(), set()
    newest_issue = START - STEP
    for kind, number, step, seconds in events:
        now += timedelta(seconds=seconds)
        if kind == "plan":
            before = found.plan_id
            decided = found.take_plan(plan(number), now)
            if found.plan_id != before:
                followed.add(before)
            newest_issue = max(newest_issue, START + number // 2 * STEP)
            assert found.issue_time == newest_issue
        elif kind == "point":
            decided = found.take_set_point(point(number, step), now)
        else:
            decided = found.wake(now)
        if decided is not None and decided[1] == "obeyed":
            taken = decided[0]
            key = taken.plan_id, taken.valid_from
            assert key not in obeyed, "obeyed twice"
            obeyed.add(key)
            assert taken.valid_from <= now < taken.valid_until, "late, or early"
            assert taken.plan_id == found.plan_id not in followed, "of an older plan"
        power_kw = found.power_kw(now)
        held = found.current
        assert power_kw == 0 or held.valid_from <= now < held.valid_until


def test_on_a_broker_that_is_killed_nothing_stale_is_obeyed(
    make_site, ear, mosquitto, start_bridge
):
    """Plans come one after the other while broker and publisher are killed in turn."""
    config = make_site()
    battery = config.batteries[0]
    client = new_client(config, "", is_kept=False)
    run = device.Device(client, site_topics(config).of("a", "x")[:-2], Battery.of(battery))
    obeyed, decide = [], run.obedience._decide

    def watch(told, now):
        status = decide(told, now)
        if status == "obeyed":
            obeyed.append((told, now, run.obedience.plan_id))
        return status

    run.obedience._decide = watch
    client.loop_start()
    stop = threading.Event()
    ticking = threading.Thread(target=lambda: [run.tick() for _ in iter(lambda: stop.wait(0.2), 1)])
    ticking.start()
    try:
        process = start_bridge(config)
        for number in range(6):
            save_plan(config, f"p{number}", first=10.0 * number + 1)
            with db.session(config) as conn:
                publish_plan(conn, config, f"p{number}") if number % 3 == 0 else None
            eventually(lambda number=number: obeyed and obeyed[-1][0].plan_id == f"p{number}")
            # an acknowledgement that a broker took just before its kill is lost with it, so the
            # last one dies by the bridge
            if number % 2 == 0:
                mosquitto.kill()
                time.sleep(0.3)
                mosquitto.start()
            else:
                process.kill()
                process = start_bridge(config)
        with db.session(config) as conn:
            eventually(lambda: read_acknowledgements(conn, "p5") or conn.commit())
            assert count_measured(conn) > 0
    finally:
        stop.set()
        ticking.join()
        client.disconnect()
        client.loop_stop()
    keys = [(told.plan_id, told.valid_from) for told, *_ in obeyed]
    assert len(set(keys)) == len(keys)
    for told, now, newest in obeyed:
        assert told.plan_id == newest and told.valid_from <= now < told.valid_until
    assert ear.last(f"{BASE}/a/ack")["status"] == "obeyed"
    assert pd.Timestamp(ear.last(f"{BASE}/a/state")["time"]).tzinfo is not None
