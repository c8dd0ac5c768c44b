"""Orders of people, jobs and the plant's clock in the database. On a real server."""

import pandas as pd
import pytest
from small_storage import START

from vpp.runtime.errors import FieldError
from vpp.storage.jobs import (
    read_clock,
    read_data_clock,
    read_jobs,
    read_pace,
    record_clock,
    record_job,
    record_pace,
)
from vpp.storage.overrides import Override, newest_override, read_overrides, record_override

LATER = START + pd.Timedelta("2h")


@pytest.mark.parametrize(
    "values",
    [
        {"override": "stop"},
        {"override": None},
        {"battery_id": ""},
        {"battery_id": None},
        {"soc": 1.1},
        {"soc": -0.1},
        {"soc": float("nan")},
        {"soc": True},
        {"soc": "half"},
        {"override": "hold", "soc": 0.5},
        {"override": "auto", "until": LATER},
        {"until": "tomorrow, perhaps"},
        {"until": "2025-01-01T10:00"},
        {"until": 5},
        {"until": pd.NaT},
        {"name": 5},
        {"reason": "x" * 501},
        {"reason": "\0"},
    ],
)
def test_an_impossible_order_is_refused_with_its_field(values):
    with pytest.raises(FieldError, match=f"^{list(values)[-1]} = "):
        Override(**({"battery_id": "b", "override": "charge"} | values))


def test_the_newest_order_of_a_battery_counts_until_it_ends(conn):
    assert read_overrides(conn, START) == {} and newest_override(conn) == 0
    first = Override("b", "charge", 0.8, None, "Ann", "storm")
    record_override(conn, first)
    record_override(conn, Override("c", "off"))
    hold = Override("b", "hold", until="2025-01-01T03:00+01:00", name="Bo", made_at=START)
    number = record_override(conn, hold)
    with pytest.raises(FieldError, match="until = 2025-01-01 02"):
        record_override(conn, Override("b", "hold", until=LATER, made_at=LATER))
    assert newest_override(conn) == number
    assert read_overrides(conn, START)["b"] == hold and hold.until == LATER
    # one that has ended does not bring back the one before
    assert set(read_overrides(conn, LATER)) == {"c"}
    record_override(conn, first)
    found = read_overrides(conn, LATER)["b"]
    assert (found.soc, found.until, found.name, found.reason) == (0.8, None, "Ann", "storm")
    assert found.made_at is not None
    record_override(conn, Override("b", "auto"))
    assert set(read_overrides(conn, START)) == {"c"}


def test_a_job_keeps_what_is_not_told_anew(conn):
    record_job(conn, "s", "plan", "running", started_at=START, next_at=LATER)
    record_job(conn, "s", "plan", "failed", ended_at=LATER, last_error="no data")
    record_job(conn, "t", "plan", "waiting")
    [row] = read_jobs(conn, "s").to_dict("records")
    assert (row["state"], row["last_error"]) == ("failed", "no data")
    assert (row["started_at"], row["ended_at"], row["next_at"]) == (START, LATER, LATER)
    assert pd.isna(row["ok_at"]) and len(read_jobs(conn)) == 2


def test_the_clock_on_data_runs_on_and_ends_with_its_operation(conn):
    server = pd.Timestamp.now("UTC")
    assert abs(read_clock(conn, "s") - server) < pd.Timedelta("1min")
    record_clock(conn, "s", "here", server, 1.0)
    assert abs(read_clock(conn, "s") - server) < pd.Timedelta("1min")
    record_clock(conn, "s", "here", server - pd.Timedelta("1d"), 1.0)  # a replay in real time
    assert read_clock(conn, "s") < server - pd.Timedelta("23h")
    record_clock(conn, "s", "here", START, 3600.0)
    assert read_data_clock(conn, "s", died=True) >= START
    record_clock(conn, "s", "", START, 3600.0)
    assert read_data_clock(conn, "s", died=True) is None  # it ended in order
    assert START < read_clock(conn, "s") < START + pd.Timedelta("20h")  # within 20 s
    assert read_clock(conn, "t") > server - pd.Timedelta("1min")
    record_clock(conn, "s", "here", START, 3600.0)
    with conn.cursor() as cur:  # nobody was heard for 9 s: it stands soon after the last beat
        cur.execute("UPDATE operations SET beat_at = beat_at - interval '9 s'")
    assert read_clock(conn, "s") == START + pd.Timedelta("18min")
    record_clock(conn, "s", "here", START, 20_000.0)
    with conn.cursor() as cur:  # a kill at this speed leaves out two hourly plans at most
        cur.execute("UPDATE operations SET beat_at = beat_at - interval '9 s'")
    assert read_clock(conn, "s") <= START + pd.Timedelta("2h")
    record_pace(conn, "s", START, 0.0)
    assert read_pace(conn, "s") == (START, 0.0)
    record_pace(conn, "s", START, 3600.0)
    with conn.cursor() as cur:
        cur.execute("UPDATE operations SET beat_at = beat_at - interval '2 minutes'")
    assert read_clock(conn, "s") > server - pd.Timedelta("1min")
