"""The bridge on a real broker: plans and set-points go out, states, words and orders come in."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta

import pandas as pd
from small_bridge import BASE, bridged, eventually, save_plan

import db
from vpp.devices.publish import alert_channels, publish_plan
from vpp.planning.alerts import evaluate
from vpp.storage.battery_states import count_measured, read_acknowledgements
from vpp.storage.jobs import record_clock
from vpp.storage.overrides import read_overrides


def test_a_plan_and_its_set_point_are_published(make_site, ear):
    config = make_site()
    start = save_plan(config, "p1")
    save_plan(config, "nothing", status="infeasible")
    with bridged(config):
        assert ear.wait(f"{BASE}/status") == "online"
        point = ear.wait(f"{BASE}/a/setpoint")
        assert set(point) == {"plan_id", "valid_from", "valid_until", "charge_kw", "discharge_kw"}
        assert (point["plan_id"], point["charge_kw"], point["discharge_kw"]) == ("p1", 1.0, 0.0)
        assert point["valid_from"] == start.strftime("%Y-%m-%dT%H:%M:%SZ")
        plan = ear.wait(f"{BASE}/b/plan")
        assert {"battery_id", "site_id", "plan_id", "issue_time", "intervals"} == set(plan)
        assert len(plan["intervals"]) == 8  # equal neighbours are not merged
        fields = {"valid_from", "valid_until", "charge_kw", "discharge_kw", "soc"}
        assert set(plan["intervals"][0]) == fields
        assert ear.wait(f"{BASE}/a/override")["override"] == "auto"
        save_plan(config, "p2", first=7.0)
        with db.session(config) as conn:
            assert publish_plan(conn, config, "p2")["mqtt"] == 2
        assert ear.wait(f"{BASE}/a/setpoint", lambda told: told["plan_id"] == "p2")
        order = [name for name, payload, _ in ear.heard if b'"p2"' in payload and "/a/" in name]
        assert order == [f"{BASE}/a/plan", f"{BASE}/a/setpoint"]
        assert ear.wait(f"{BASE}/now") == {"savings": 1.5, "health": "ok"}
    assert ear.wait(f"{BASE}/status", lambda told: told == "offline")


def test_a_plan_that_is_told_waits_for_no_look(make_site, ear, monkeypatch):
    config = make_site()
    save_plan(config, "p1")
    with bridged(config):
        ear.wait(f"{BASE}/a/setpoint")
        monkeypatch.setattr("vpp.devices.bridge.LOOK_S", 3600.0)
        save_plan(config, "p2", first=7.0)
        with db.session(config) as conn:
            publish_plan(conn, config, "p2")
        assert ear.wait(f"{BASE}/a/setpoint", lambda told: told["plan_id"] == "p2")


def test_on_a_fast_clock_a_set_point_leaves_before_its_step(make_site, ear):
    config = make_site()
    start = pd.Timestamp("2025-03-30T00:00Z")
    save_plan(config, "p1", start)
    at = start + pd.Timedelta("14min 25s")  # the second step begins at 15 min
    with db.session(config) as conn:
        record_clock(conn, "site-1", "here", at, 0.0)
        with bridged(config):
            assert ear.wait(f"{BASE}/a/setpoint")["charge_kw"] == 1
            # it goes on for 0.3 s, to 14 min 55 s; 0.1 s before a step are 10 s
            record_clock(conn, "site-1", "here", at, 100.0)
            assert ear.wait(f"{BASE}/a/setpoint", lambda told: told["charge_kw"] == 2)


def test_a_set_point_is_sent_at_each_step_and_each_connection(make_site, ear, mosquitto):
    config = make_site()
    start = datetime(2025, 3, 30, tzinfo=UTC)
    save_plan(config, "p1", start)
    clock = [start + timedelta(minutes=14, seconds=59)]
    with bridged(config, lambda: clock[0]):
        assert ear.wait(f"{BASE}/a/setpoint")["charge_kw"] == 1
        clock[0] += timedelta(seconds=1)
        assert ear.wait(f"{BASE}/a/setpoint", lambda told: told["charge_kw"] == 2)
        mosquitto.kill()
        ear.forget()
        mosquitto.start()
        assert ear.wait(f"{BASE}/a/setpoint", lambda told: told["charge_kw"] == 2)
        clock[0] += timedelta(hours=5)  # the plan has ended
        assert ear.wait(f"{BASE}/now", lambda told: "does not reach" in told["health"])
        assert ear.last(f"{BASE}/a/setpoint")["charge_kw"] == 2  # late, and says so


def test_what_devices_and_people_say_is_stored(make_site, ear):
    config = make_site()
    start = save_plan(config, "p1")
    now = pd.Timestamp.now("UTC").floor("s")
    with bridged(config):
        ear.wait(f"{BASE}/a/setpoint")
        for payload in (b"", b"\xff", b"[]", b"{" * 5000, b'{"soc": 9}', b"hold"):
            for name in ("state", "ack", "override/set", "override/set/more"):
                if (payload, name) != (b"hold", "override/set"):
                    ear.say(f"{BASE}/a/{name}", payload)
        ear.say(f"{BASE}/nobody/state", {"time": now.isoformat(), "soc": 0.4})
        ear.say(f"{BASE}/a/state", {"time": now.isoformat(), "soc": 0.42, "power_kw": -3})
        word = {"plan_id": "p1", "valid_from": start.isoformat(), "status": "obeyed"}
        ear.say(f"{BASE}/a/ack", word)
        ear.say(f"{BASE}/a/ack", word)
        told = ear.wait(f"{BASE}/a/now", lambda told: told["soc_percent"] == 42)
        assert told["power_kw"] == -3
        with db.session(config) as conn:
            assert count_measured(conn) == 1
            assert len(eventually(lambda: read_acknowledgements(conn, "p1"))) == 1
        ear.say(f"{BASE}/b/override/set", b"hold")
        found = ear.wait(f"{BASE}/b/override", lambda told: told["override"] == "hold")
        assert found == {
            "override": "hold",
            "soc": None,
            "until": None,
            "name": "MQTT",
            "reason": "",
        }
        until = (now + pd.Timedelta("2h")).isoformat()
        order = {"override": "charge", "soc": 0.9, "until": until, "name": "Ada", "reason": "storm"}
        ear.say(f"{BASE}/b/override/set", order)
        ear.wait(f"{BASE}/b/override", lambda told: told["reason"] == "storm")
        with db.session(config) as conn:
            assert read_overrides(conn, now)["b"].soc == 0.9
        ear.forget()  # before the first order it was as it will be
        ear.say(f"{BASE}/b/override/set", b"auto")
        ear.wait(f"{BASE}/b/override", lambda told: told["name"] == "" and told["soc"] is None)
        with db.session(config) as conn:
            assert read_overrides(conn, now) == {}


def test_an_old_retained_order_is_not_obeyed(make_site, ear, caplog):
    config = make_site()
    ear.say(f"{BASE}/a/override/set", b"off", retain=True)
    with bridged(config):
        ear.wait(f"{BASE}/a/override")
        eventually(lambda: "retained order" in caplog.text)
        assert ear.last(f"{BASE}/a/override")["override"] == "auto"


def test_nothing_is_lost_while_the_service_is_killed(make_site, ear, start_bridge):
    """What is said while it is dead is stored by the next, for the broker keeps it."""
    config = make_site()
    save_plan(config, "p1")
    process = start_bridge(config)
    ear.wait(f"{BASE}/status", lambda told: told == "online")
    process.kill()
    assert ear.wait(f"{BASE}/status", lambda told: told == "offline")  # its last will
    now = pd.Timestamp.now("UTC").floor("s")
    for n in range(50):
        told = {"time": (now - pd.Timedelta(seconds=n)).isoformat(), "soc": 0.5}
        ear.say(f"{BASE}/a/state", told)
    process = start_bridge(config)
    with db.session(config) as conn:
        eventually(lambda: count_measured(conn) == 50 or conn.commit())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0 and time.monotonic() - began < 5
    assert ear.last(f"{BASE}/status") == "offline"


def test_a_second_bridge_waits_and_takes_over(make_site, ear, start_bridge):
    config = make_site()
    save_plan(config, "p1")
    first = start_bridge(config)
    ear.wait(f"{BASE}/status", lambda told: told == "online")
    second = start_bridge(config)
    time.sleep(1)
    first.kill()
    heard = len(ear.heard)
    eventually(
        lambda: any(
            name == f"{BASE}/status" and payload == b"online"
            for name, payload, _ in ear.heard[heard:]
        )
    )
    assert second.poll() is None


def test_a_database_that_goes_away_is_told_and_comes_back(make_site, ear):
    config = make_site()
    save_plan(config, "p1")
    kill = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    with bridged(config):
        ear.wait(f"{BASE}/a/setpoint")
        with db.session(config) as conn, conn.cursor() as cursor:
            cursor.execute(kill)
        assert ear.wait(f"{BASE}/status", lambda told: told == "offline")
        heard = len(ear.heard)
        eventually(lambda: (f"{BASE}/status", b"online", False) in ear.heard[heard:])
        told = {"time": pd.Timestamp.now("UTC").isoformat(), "soc": 0.31}
        ear.say(f"{BASE}/a/state", told)
        assert ear.wait(f"{BASE}/a/now", lambda told: told["soc_percent"] == 31)


def test_a_plan_is_published_also_where_no_bridge_runs(make_site, ear):
    config = make_site()
    save_plan(config, "p1")
    with db.session(config) as conn:
        assert publish_plan(conn, config, "p1") == {"kafka": 2, "mqtt": 2}
        assert publish_plan(conn, config, None) == {}
    assert ear.wait(f"{BASE}/a/setpoint")["plan_id"] == "p1"
    retained = json.dumps(ear.wait(f"{BASE}/b/plan"))
    assert "p1" in retained
    save_plan(config, "far")  # the plan of another site goes to that site's topics
    with db.session(config) as conn:
        with conn.cursor() as cursor:
            cursor.execute("UPDATE schedule_runs SET site_id = 'north' WHERE run_id = 'far'")
        assert publish_plan(conn, config, "far") == {"kafka": 2, "mqtt": 2}
    north = f"{BASE.rpartition('/')[0]}/north"
    assert ear.wait(f"{north}/a/setpoint")["plan_id"] == "far"
    assert ear.wait(f"{north}/b/plan")["site_id"] == "north"
    assert ear.last(f"{BASE}/a/setpoint")["plan_id"] == "p1"


def test_an_alert_is_told_as_it_fires_and_as_it_resolves(make_site, ear):
    config = make_site(alerts={"plan_late_min": 60})
    start = pd.Timestamp(save_plan(config, "p1"))
    ways = alert_channels(config)
    with db.session(config) as conn:
        evaluate(conn, start + pd.Timedelta(minutes=500), config, ways)
        told = ear.wait(f"{BASE}/alert")
        assert (told["event"], told["rule"]) == ("fired", "plan_late") and told["what_to_do"]
        evaluate(conn, start, config, ways)
        assert ear.wait(f"{BASE}/alert", lambda told: told["event"] == "resolved")
