"""Measured states and acknowledgements in the database: newest wins, and nothing doubles."""

from datetime import UTC, datetime, timedelta

import pandas as pd
from small_storage import START

import db
from vpp.site.battery_messages import Acknowledgement, BatteryState
from vpp.storage.battery_states import (
    count_measured,
    read_acknowledgements,
    record_acknowledgements,
    record_states,
)
from vpp.storage.retention import prune_results
from vpp.storage.rows import select_rows

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def measured(soc, time=NOON, battery_id="b"):
    return BatteryState(battery_id, time, soc, soc * 100, 0.0, 5.0)


def test_the_state_that_was_sent_last_counts(conn):
    assert record_states(conn, [measured(0.4)], sent_at=[NOON]) == 1
    assert record_states(conn, [measured(0.4)], sent_at=[NOON + SECOND]) == 0  # as it was
    assert record_states(conn, [measured(0.3)], sent_at=[NOON - SECOND]) == 0  # older
    assert record_states(conn, [measured(0.5)], sent_at=[NOON + SECOND]) == 1
    both = [measured(0.7), measured(0.6)]
    assert record_states(conn, both, sent_at=[NOON + 3 * SECOND, NOON + 2 * SECOND]) == 1
    assert record_states(conn, []) == 0
    assert db.read_last_state(conn, "b", NOON) == (pd.Timestamp(NOON), 0.7)
    assert count_measured(conn) == 1  # of a battery that no plan has met
    assert record_states(conn, [measured(0.2, battery_id="c")], kind="simulated") == 1
    assert count_measured(conn) == 1
    assert [row["battery_id"] for row in select_rows(conn, "SELECT * FROM batteries")] == ["b", "c"]


def save_plan(conn):
    run = {"run_id": "p", "site_id": "s", "issue_time": START, "kind": "plan", "status": "optimal"}
    times = pd.DatetimeIndex([START], name="time")
    schedule = pd.DataFrame({"grid_import_kw": [1.0]}, times)
    states = pd.DataFrame({"battery_id": ["b"], "soc": [0.5], "energy_kwh": [50.0]}, times)
    db.save_schedule(conn, run, schedule, states.assign(charge_kw=1.0, discharge_kw=0.0))


def test_an_acknowledgement_is_kept_once(conn):
    save_plan(conn)
    word = Acknowledgement("b", "p", NOON, "obeyed")
    other = Acknowledgement("b", "of no plan", NOON, "obeyed")
    assert record_acknowledgements(conn, [word, word, other], [NOON] * 3) == 1
    assert record_acknowledgements(conn, [word], [NOON + SECOND]) == 0
    conn.commit()
    (row,) = read_acknowledgements(conn, "p")
    assert (row["status"], row["received_at"]) == ("obeyed", NOON)
    save_plan(conn)  # made again: its acknowledgements stay
    assert len(read_acknowledgements(conn, "p")) == 1
    assert "sent_at" not in db.read_schedule(conn, "p")[2]
    late = {"run_id": "q", "site_id": "s", "kind": "plan"}
    late["issue_time"] = START + pd.Timedelta("10D")
    empty = pd.DataFrame({"time": pd.DatetimeIndex([], tz="UTC")})
    db.save_schedule(conn, late, empty, empty.assign(battery_id=[]))
    prune_results(conn, 5)
    assert read_acknowledgements(conn, "p") == []
