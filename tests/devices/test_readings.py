"""Readings of foreign devices, from a real broker through the stream into the database."""

import configparser
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

import communication
import db
from vpp.devices.collecting import collecting
from vpp.devices.means import Held
from vpp.devices.mqtt_readings import ReadingError, read
from vpp.devices.telemetry import GRACE_S, Telemetry
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError, FieldError
from vpp.runtime.telemetry_settings import ModbusReading, MqttReading
from vpp.site.sources import Source, write_sources

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
SHAPES = PAGE.partition("## MQTT")[2].partition("## Modbus")[0]
NOON = datetime(2025, 6, 1, 10, tzinfo=UTC).timestamp()  # 12:00 in Berlin
STEP_S, ZONE = 900, "Europe/Berlin"
# mean of the page's messages [kW]: their number times the factor
EXPECTED = {
    "oven": 0.412,
    "pump": 0.3205,  # of which three decimals are kept
    "fridge": 0.087,
    "house": 1.25,
    "roof": 0.598,
    "heater": 1.5,
    "garage": 0.64,
    "net": -0.8,  # 0.3 - 1.1
    "net-2": 0.275,
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", SHAPES, re.M | re.S)


def sections():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("\n".join(blocks("ini")))
    return {name: dict(parser[name]) for name in parser.sections()}


def messages():
    return [line.partition(" ")[::2] for block in blocks("text") for line in block.splitlines()]


def make_config(config_file, url, **more):
    own = {"mqtt": {"url": url}} | more
    battery = {"capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 5}
    config = load_config(config_file(**{"battery:cellar": battery}, **own))
    config.paths.data_dir.mkdir(parents=True, exist_ok=True)
    sources = [
        Source(
            name, "solar" if name == "roof" else "load", name, "site-1", 10.0, 15, 50.0, 8.0, ZONE
        )
        for name in EXPECTED
    ]
    write_sources(config.paths.data_dir / "sources.csv", sources)
    return config


@pytest.fixture
def clock():
    """The time of all readings; it stands until a test moves it."""
    return [NOON]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_each_shape_of_the_page_comes_through(config_file, mosquitto, ear, clock):
    config = make_config(config_file, mosquitto.url, **sections())
    said = messages()
    assert len(said) == len(config.mqtt_readings)
    ear.say("evcc/site/homePower", b"99999", retain=True)  # of yesterday, perhaps
    with collecting(config, clock=lambda: clock[0]) as telemetry:
        heard = telemetry.held
        ear_ready(ear, heard, clock)
        for minute in (0, 5, 10):
            clock[0] = NOON + 60 * minute
            for topic, text in said:
                ear.say(topic, text.replace(":00:00", f":{minute:02}:00").encode())
            until(
                lambda now=clock[0]: all(
                    held.last is not None and held.last[0] >= now
                    for parts in heard.values()
                    for held in parts.values()
                )
            )
        clock[0] = NOON + STEP_S + GRACE_S
        until(
            lambda: (
                not any(held.sums for parts in heard.values() for held in parts.values())
                and not telemetry.outbox.waiting
            )
        )
    communication.consume(config, until_drained=True)
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute(
            "SELECT source_id, time, power_kw FROM renewables UNION ALL "
            "SELECT source_id, time, power_kw FROM load ORDER BY 1, 2"
        )
        rows = cur.fetchall()
        cur.execute("SELECT battery_id, soc FROM battery_states WHERE kind = 'measured'")
        states = cur.fetchall()
    at = datetime.fromtimestamp(NOON, UTC)
    assert {name: value for name, time, value in rows if time == at} == pytest.approx(
        EXPECTED, abs=6e-4
    )
    assert len(rows) == len(EXPECTED)
    assert {(name, round(soc, 3)) for name, soc in states} == {("cellar", 0.55)}


def ear_ready(ear, heard, clock):
    """Wait until the readings are subscribed, all by one packet: a message reaches one of them.

    It tells its own time, before the step: those still on their way afterwards change nothing.
    """
    clock[0] = NOON - 3600

    def is_heard():
        ear.say("zigbee2mqtt/heater", {"power": 1, "last_seen": "2025-06-01T09:00:00Z"})
        return heard["heater"]["zigbee"].last is not None

    until(is_heard)


def test_what_the_broker_kept_is_old_and_what_goes_away_is_a_gap(
    config_file, mosquitto, ear, clock
):
    own = {
        "mqtt:a": {"source": "oven", "topic": "a"},
        "mqtt:b": {"source": "pump", "topic": "b", "value": "p", "time": "t"},
    }
    config = make_config(config_file, mosquitto.url, **own)
    ear.say("a", b"5", retain=True)
    ear.say("b", {"p": 6, "t": NOON - 60}, retain=True)
    with collecting(config, clock=lambda: clock[0]) as telemetry:
        oven, pump = telemetry.held["oven"]["a"], telemetry.held["pump"]["b"]
        until(lambda: pump.last is not None)  # it tells its own time
        assert pump.last == (NOON - 60, 6)
        assert oven.last is None
        until(lambda: ear.say("a", b"5") or oven.last is not None)
        clock[0] = NOON + 60
        mosquitto.kill()
        until(lambda: oven.last is None)
        clock[0] = NOON + STEP_S + GRACE_S
        until(lambda: not oven.sums)
        assert not telemetry.outbox.waiting  # of 900 s only 60 were covered


@pytest.mark.parametrize(
    ("taken", "lost_s", "expected"),
    [
        # 100 s at 2, 800 s at 6: (200 + 4800) / 900
        ([(0, 2), (100, 6)], None, {0: 5000 / 900, 900: 6}),
        # it holds across a step: 900 s at 3, then again
        ([(0, 3), (1700, 3)], None, {0: 3, 900: 3}),
        # the first 100 s are not known, more than a tenth
        ([(100, 6)], None, {900: 6}),
        # 90 s are a tenth
        ([(90, 6)], None, {0: 6, 900: 6}),
        # one that is older than the last, or of its time, changes nothing
        ([(0, 2), (600, 2), (300, 99), (600, 99)], None, {0: 2, 900: 2}),
        # it holds for 1,000 s at most: 1,100 to 1,800 is a gap
        ([(100, 6), (0, 1)], None, {}),
        # gone after 850 s: 850 s of 4
        ([(0, 4)], 850, {0: 4}),
        ([(0, 4)], 800, {}),
    ],
)
def test_means_are_weighted_by_time_and_a_gap_is_a_gap(taken, lost_s, expected):
    hold_s = 1000 if expected == {} and lost_s is None else 5000
    held = Held(900, hold_s)
    for at_s, value in taken:
        held.take(9000 + at_s, value)
    if lost_s is not None:
        held.lose(9000 + lost_s)
    found = held.means(9000 + 1800)
    assert {start - 9000: mean for start, mean in found.items()} == pytest.approx(expected)
    assert held.means(9000 + 1800) == {}
    held.take(9000 + 1700, 50)  # late: its step is told
    assert 9000 + 900 not in held.means(9000 + 2700)


READING = MqttReading("r", source="x", topic="t", value="a.0.b", time="t")


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ('{"a": [{"b": 7}], "t": 1748772000}', (7, NOON)),
        ('{"a": [{"b": "7.5"}], "t": 1748772000000}', (7.5, NOON)),
        ('{"a": [{"b": null}], "t": "2025-06-01T10:00:00Z"}', (None, NOON)),
        ('{"a": [{"b": 1}], "t": "2025-06-01T12:00:00"}', (1, NOON)),
        ("7", "has no a.0.b"),
        ("{", "no JSON"),
        ('{"a": [], "t": 1}', "has no a.0.b"),
        ('{"a": [{"b": true}], "t": 1}', "'True', no number"),
        ('{"a": [{"b": "NaN"}], "t": 1}', "no number"),
        ('{"a": [{"b": 1}], "t": "noon"}', "t is 'noon'"),
        ('{"a": [{"b": 1}], "t": 1748779200}', "7,200 s ahead of the clock"),
    ],
)
def test_a_message_is_read_or_refused(payload, found):
    if isinstance(found, str):
        with pytest.raises(ReadingError, match=re.escape(found)):
            read(payload.encode(), READING, "Europe/Berlin", NOON)
    else:
        assert read(payload.encode(), READING, "Europe/Berlin", NOON) == found


@pytest.mark.parametrize("hours", [0, 1])
def test_a_local_time_that_comes_twice_is_the_one_nearer_to_now(hours):
    # 2025-10-26T02:30 in Berlin is 00:30Z and 01:30Z
    at_s = datetime(2025, 10, 26, hours, 30, tzinfo=UTC).timestamp()
    payload = b'{"a": [{"b": 1}], "t": "2025-10-26T02:30:00"}'
    assert read(payload, READING, "Europe/Berlin", at_s + 3) == (1, at_s)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"mqtt:a": {"source": "ovn", "topic": "a"}}, "oven"),
        ({"mqtt:a": {"battery": "celar", "topic": "a"}}, "cellar"),
        ({"mqtt:a": {"source": "oven", "topic": "a/#"}}, "without + and #"),
        ({"mqtt:a": {"topic": "a"}}, "source_id"),
        ({"modbus:a": {"source": "oven", "host": "x"}}, "register"),
        ({"modbus:a": {"source": "oven", "host": "x", "register": 1, "every_s": 400}}, "hold_s"),
        ({"modbus:a": {"source": "oven", "register": 1}}, "address of a device"),
    ],
)
def test_a_wrong_reading_is_one_line(config_file, own, said):
    with pytest.raises((ConfigError, FieldError), match=re.escape(said)) as caught:
        Telemetry(
            config := make_config(config_file, "mqtt://x", **own),
            [*config.mqtt_readings, *config.modbus_readings],
        )
    assert "\n" not in str(caught.value)


def test_a_reading_may_have_the_name_of_a_battery(config_file):
    own = {"mqtt:cellar": {"battery": "cellar", "topic": "soc"}}
    own["modbus:cellar"] = {"battery": "cellar", "host": "h", "register": 1}
    config = make_config(config_file, "mqtt://x", **own)
    assert isinstance(config.modbus_readings[0], ModbusReading)
    assert config.mqtt_readings[0].reading_id == "cellar"
