"""Messages of batteries: each is taken as it is meant, or refused in one line that says why."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.runtime.plant_settings import BatteryParameters
from vpp.site.battery_messages import (
    BatteryState,
    MessageError,
    by_name,
    read_acknowledgement,
    read_override,
    read_state,
)

BATTERIES = by_name(
    [BatteryParameters("b", capacity_kwh=2000.0, charge_kw=1000.0, discharge_kw=500.0)]
)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
TIME = "2026-01-05T12:00:00Z"


def state(**fields):
    """A message of 0.4, with other fields; None leaves one out."""
    told = {"battery_id": "b", "time": TIME, "soc": 0.4} | fields
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def test_a_state_is_taken():
    # 0.4 x 2,000 kWh = 800 kWh; it discharges where power_kw is below 0
    found = read_state(state(power_kw=-250), BATTERIES, now=NOON)
    assert found == BatteryState("b", NOON, 0.4, 800.0, 0.0, 250.0)
    local = state(time="2026-01-05T13:00:00+01:00", soc=None, energy_kwh=500)
    assert read_state(local, BATTERIES) == BatteryState("b", NOON, 0.25, 500.0, None, None)
    both = state(battery_id=None, energy_kwh=810)  # 0.405: soc is rounded
    assert read_state(both, BATTERIES, "b") == BatteryState("b", NOON, 0.4, 810.0)


REFUSED = {
    b"": "empty message",
    b"{": "not JSON",
    b"\xff{}": "not JSON",
    b"[" * 100_000: "100000 bytes",
    b"[" * 50_000: "nested too deep",
    b'"soc"': "expected a JSON object",
    b"{}": "battery_id is missing",
    b'{"battery_id": "b", "soc": 0.4}': "time is missing",
    b'{"soc": 0.4, "soc": 0.5}': "comes twice",
    b'{"soc": NaN}': "NaN is not a number",
    b'{"soc": -Infinity}': "-Infinity is not a number",
    state(soc=None): "soc is missing",
    state(soc=40): "soc 40: expected a fraction",
    state(soc=-0.01): "soc -0.01",
    state(soc=True): "soc True",
    state(soc="0.4"): "soc '0.4'",
    state(soc=10**400): "soc 1000",
    state(soc=None, energy_kwh=2001): "0 to 2000 kWh",
    state(energy_kwh=820): "expected that they agree",
    state(power_kw=1201): "-600 to 1200 kW",
    state(power_kw=-601): "-600 to 1200 kW",
    state(power_kw=[1]): "power_kw [1]",
    state(time="2026-01-05T12:00:00"): "with its zone",
    state(time=1767614400): "with its zone",
    state(time="0001-01-01T00:00:00+10:00"): "out of range",
    state(time="1999-12-31T23:00:00Z"): "before 2000-01-01",
    state(time="2026-01-05T12:06:00Z"): "ahead of the clock",
    state(battery_id="c"): "'c' is unknown; expected one of b",
    state(battery_id=7): "battery_id 7",
    state(charge_kw=7): "unknown field 'charge_kw'",
}


@pytest.mark.parametrize("value", REFUSED, ids=range(len(REFUSED)))
def test_a_state_is_refused(value):
    with pytest.raises(MessageError) as caught:
        read_state(value, BATTERIES, now=NOON)
    assert REFUSED[value] in str(caught.value) and "\n" not in str(caught.value)


def test_the_topic_and_the_message_name_one_battery():
    with pytest.raises(MessageError, match="not that of the topic, 'a'"):
        read_state(state(), BATTERIES, "a")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    | st.dictionaries(
        st.sampled_from(
            ("battery_id", "time", "soc", "until", "override", "valid_from", "plan_id")
        ),
        st.sampled_from((None, TIME, "b", 0.5, 10**400, "\ud800", "charge", float("nan"))),
    )
)
def test_anything_else_is_refused_in_one_line(value):
    texts = (
        value,
        json.dumps(value),
        json.dumps(value, ensure_ascii=False).encode(errors="replace"),
    )
    for text in texts:
        for read in (lambda item: read_state(item, BATTERIES), read_override, read_acknowledgement):
            try:
                read(text)
            except MessageError as error:
                assert len(str(error).splitlines()) == 1 and len(str(error)) < 600


def test_an_override_is_a_word_or_json():
    assert read_override(b"hold", "b") == {"battery_id": "b", "override": "hold"}
    told = {"override": "charge", "soc": 0.9, "until": "2026-01-05T18:00:00Z", "name": "Ada"}
    found = read_override(json.dumps(told | {"reason": None}), "b")
    until = datetime(2026, 1, 5, 18, tzinfo=UTC)
    expected = {"battery_id": "b", "override": "charge", "soc": 0.9, "until": until, "name": "Ada"}
    assert found == expected
    for value, why in (
        (b"Hold!", "expected one of auto, hold"),
        (b'{"override": "idle"}', "expected one of auto, hold"),
        (b'{"soc": 0.5}', "override is missing"),
        (b'{"override": "hold", "soc": 0.5}', "goes to no state"),
        (b'{"override": "charge", "soc": 90}', "a fraction"),
        (b'{"override": "auto", "until": "2026-01-05T18:00:00Z"}', "auto ends"),
        (b'{"override": "off", "until": "18:00"}', "with its zone"),
        (b'{"override": "off", "name": 5}', "expected a text"),
    ):
        with pytest.raises(MessageError, match=why):
            read_override(value, "b")


def test_an_acknowledgement():
    told = {"plan_id": "p", "valid_from": TIME, "status": "obeyed"}
    found = read_acknowledgement(json.dumps(told), "b")
    assert (found.battery_id, found.plan_id, found.valid_from) == ("b", "p", NOON)
    with pytest.raises(MessageError, match="status is missing"):
        read_acknowledgement({"plan_id": "p", "valid_from": TIME}, "b")
