"""Messages of batteries: a state that was measured, an order of a person, an acknowledgement.

    {"battery_id": "battery-1", "time": "2026-01-05T12:00:00Z", "soc": 0.42, "power_kw": -250}

All ways in read them here: the topic, MQTT, the web server and `battery.py record`. Each refusal is
one line. Power is positive where the battery charges [kW]; SOC is a fraction. Nothing is read from
a server or written here, and this is not a script.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vpp.runtime.errors import VppError, shortened
from vpp.runtime.plant_settings import BatteryParameters
from vpp.runtime.words import in_one_line

AHEAD_S = 300.0  # clocks differ; a state that is measured later than that has a wrong clock
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AGREE_SHARE = 0.005  # of the capacity: soc is often told in whole per cent
POWER_SHARE = 1.2  # of the rating: a meter is not exact, and W are not kW
BYTES_MAX = 65_536
NAME_MAX = 500  # characters of a battery's name
TEXT_MAX = 100  # characters of a status
STATE_FIELDS = ("battery_id", "time", "soc", "energy_kwh", "power_kw")
OVERRIDE_FIELDS = ("battery_id", "override", "soc", "until", "name", "reason")
OVERRIDE_WORDS = ("auto", "hold", "charge", "discharge", "off")
ACK_FIELDS = ("battery_id", "plan_id", "valid_from", "status")

Message = bytes | str | Mapping[str, Any]


class MessageError(VppError):
    """A message that cannot be taken; its text is one line."""


@dataclass(frozen=True)
class BatteryState:
    """A state of a battery as it was measured.

    Parameters
    ----------
    battery_id : the battery.
    time : when it was measured [UTC].
    soc : state of charge [fraction].
    energy_kwh : stored energy [kWh].
    charge_kw, discharge_kw : power at that time [kW], one of them 0; None where it was not told.
    """

    battery_id: str
    time: datetime
    soc: float
    energy_kwh: float
    charge_kw: float | None = None
    discharge_kw: float | None = None


@dataclass(frozen=True)
class Acknowledgement:
    """A device's word on a set-point.

    Parameters
    ----------
    battery_id : the battery.
    plan_id : the plan of the set-point.
    valid_from : when the set-point begins to hold [UTC].
    status : a word of the device, such as obeyed or late.
    """

    battery_id: str
    plan_id: str
    valid_from: datetime
    status: str


def by_name(batteries: Iterable[BatteryParameters]) -> dict[str, BatteryParameters]:
    """The batteries by their names."""
    return {battery.battery_id: battery for battery in batteries}


def read_state(
    value: Message,
    batteries: Mapping[str, BatteryParameters],
    battery_id: str | None = None,
    now: datetime | None = None,
) -> BatteryState:
    """Read a measured state, as a value of `battery-topic` tells it.

    Parameters
    ----------
    value : JSON, or the object that it is.
    batteries : the batteries of the site by name.
    battery_id : the battery where the topic tells it; the message need not name it then.
    now : the time of its receipt [UTC]; None: it may lie ahead of any clock.

    Raises
    ------
    MessageError : it is no such message, or impossible.
    """
    fields = _fields(value, STATE_FIELDS)
    name = _battery(fields, battery_id)
    if name not in batteries:
        known = shortened(", ".join(batteries) or "none", 200)
        raise MessageError(
            f"battery_id {_shown(name)} is unknown; expected one of {known}: "
            "add [battery:NAME] to the configuration"
        )
    battery = batteries[name]
    time = _time(fields, "time")
    if time < EARLIEST:
        raise MessageError(f"time {fields['time']} is before {EARLIEST:%Y-%m-%d}")
    if now is not None and time > now + timedelta(seconds=AHEAD_S):
        raise MessageError(
            f"time {fields['time']} is ahead of the clock, {now:%Y-%m-%dT%H:%M:%SZ}; expected the "
            "time of the measurement"
        )
    soc, energy_kwh = _stored(fields, battery)
    return BatteryState(name, time, soc, energy_kwh, *_powers(fields, battery))


def read_override(value: Message, battery_id: str | None = None) -> dict[str, Any]:
    """Read a person's order for a battery: one of the words, or JSON.

    Parameters
    ----------
    value : `auto`, `hold`, `charge`, `discharge` or `off`, JSON, or the object that it is.
    battery_id : the battery where the topic tells it; the message need not name it then.

    Returns
    -------
    battery_id and override; also soc [fraction], until [UTC], name and reason where they are told:
    the fields of `vpp.storage.overrides.Override`.

    Raises
    ------
    MessageError : it is no such message, or impossible.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str) and text.strip() in OVERRIDE_WORDS:
        value = {"override": text.strip()}
    elif isinstance(text, str) and not text.lstrip().startswith("{"):
        raise _not_a_word(text)
    given = _fields(value, OVERRIDE_FIELDS)
    fields: dict[str, Any] = {"battery_id": _battery(given, battery_id)}
    fields["override"] = word = _present(given, "override")
    if word not in OVERRIDE_WORDS:
        raise _not_a_word(word)
    if given.get("soc") is not None:
        if word not in ("charge", "discharge"):
            raise MessageError(f"soc {_shown(given['soc'])}: {word} goes to no state of charge")
        fields["soc"] = _number(given, "soc", 0.0, 1.0, "a fraction from 0 to 1")
    if given.get("until") is not None:
        if word == "auto":
            raise MessageError(
                f"until {_shown(given['until'])}: auto ends an order, and has no end"
            )
        fields["until"] = _time(given, "until")
    for key in ("name", "reason"):
        if given.get(key) is not None:
            fields[key] = _text(given, key, 500)
    return fields


def _not_a_word(word: object) -> MessageError:
    return MessageError(f"override {_shown(word)}: expected one of {', '.join(OVERRIDE_WORDS)}")


def read_acknowledgement(value: Message, battery_id: str | None = None) -> Acknowledgement:
    """Read a device's acknowledgement of a set-point.

    Parameters
    ----------
    value : JSON, or the object that it is.
    battery_id : the battery where the topic tells it; the message need not name it then.

    Raises
    ------
    MessageError : it is no such message.
    """
    fields = _fields(value, ACK_FIELDS)
    name, plan_id = _battery(fields, battery_id), _text(fields, "plan_id", TEXT_MAX)
    time, status = _time(fields, "valid_from"), _text(fields, "status", TEXT_MAX)
    return Acknowledgement(name, plan_id, time, status)


def _fields(value: Message, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The fields of a JSON object; one that comes twice or is unknown is refused."""
    found = value if isinstance(value, Mapping) else _decoded(value)
    if not isinstance(found, Mapping):
        raise MessageError(f"{_shown(found)}: expected a JSON object with {', '.join(known)}")
    for name in found:
        if name not in known:
            raise MessageError(f"unknown field {_shown(name)}; expected {', '.join(known)}")
    return found


def _decoded(value: object) -> Any:
    if value is None:
        raise MessageError("null message; expected a JSON object")
    if not isinstance(value, bytes | str):
        raise MessageError(f"{_shown(value)}: expected a JSON object")
    if len(value) > BYTES_MAX:
        raise MessageError(f"{len(value)} bytes; expected at most {BYTES_MAX}")
    if not value:
        raise MessageError("empty message; expected a JSON object")
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else value
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise MessageError("not JSON that can be read: it is nested too deep") from None
    except ValueError as error:  # also of a text that is not UTF-8
        raise MessageError(f"not JSON: {shortened(in_one_line(error), 200)}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MessageError(f"field {_shown(name)} comes twice; expected it once")
        found[name] = value
    return found


def _no_constant(name: str) -> float:
    raise MessageError(f"{name} is not a number of JSON; expected a finite number")


def _battery(fields: Mapping[str, Any], battery_id: str | None) -> str:
    """The battery that a message is of; the topic and the message must agree."""
    told = fields.get("battery_id")
    if told is None:
        if battery_id is None:
            raise MessageError("battery_id is missing; expected the name of a battery")
        return battery_id
    if not _text(fields, "battery_id", NAME_MAX):
        raise MessageError("battery_id is empty; expected the name of a battery")
    if battery_id is not None and told != battery_id:
        raise MessageError(
            f"battery_id {_shown(told)} is not that of the topic, {_shown(battery_id)}"
        )
    return told


def _present(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None:
        raise MessageError(f"{name} is missing")
    return value


def _time(fields: Mapping[str, Any], name: str) -> datetime:
    """A time with its zone, in UTC."""
    value = _present(fields, name)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        expected = "expected a time with its zone, such as 2026-01-05T12:00:00Z"
        raise MessageError(f"{name} {_shown(fields[name])}: {expected}")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise MessageError(f"{name} {_shown(fields[name])} is out of range") from None


def _number(
    fields: Mapping[str, Any], name: str, least: float, most: float, expected: str
) -> float:
    value = fields[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # an int may be larger than any float; a NaN is within nothing
    if not is_number or not least <= value <= most or not math.isfinite(value):
        raise MessageError(f"{name} {_shown(value)}: expected {expected}")
    return float(value)


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    value = _present(fields, name)
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise MessageError(f"{name} {_shown(value)}: expected a text of at most {most} characters")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        raise MessageError(f"{name} {_shown(value)}: expected a text that is Unicode") from None
    return value


def _stored(fields: Mapping[str, Any], battery: BatteryParameters) -> tuple[float, float]:
    """SOC [fraction] and energy [kWh]; where both are told they must agree."""
    soc = energy_kwh = None
    capacity_kwh = battery.capacity_kwh
    if fields.get("soc") is not None:
        soc = _number(fields, "soc", 0.0, 1.0, "a fraction from 0 to 1")
    if fields.get("energy_kwh") is not None:
        within = f"from 0 to {capacity_kwh:g} kWh, the capacity of {battery.battery_id}"
        energy_kwh = _number(fields, "energy_kwh", 0.0, capacity_kwh, within)
    if soc is None and energy_kwh is None:
        raise MessageError("soc is missing, and energy_kwh too; expected one of them")
    if soc is None:
        soc = (energy_kwh or 0.0) / capacity_kwh
    elif energy_kwh is None:
        energy_kwh = soc * capacity_kwh
    elif abs(soc * capacity_kwh - energy_kwh) > AGREE_SHARE * capacity_kwh * (1 + 1e-9):
        raise MessageError(
            f"soc {soc:g} is {soc * capacity_kwh:g} kWh of {capacity_kwh:g}, but energy_kwh is "
            f"{energy_kwh:g}; expected that they agree"
        )
    return soc, energy_kwh or 0.0


def _powers(
    fields: Mapping[str, Any], battery: BatteryParameters
) -> tuple[float | None, float | None]:
    """Charging and discharging power [kW]; None for both where none is told."""
    if fields.get("power_kw") is None:
        return None, None
    least, most = -POWER_SHARE * battery.discharge_kw, POWER_SHARE * battery.charge_kw
    within = f"{least:g} to {most:g} kW, positive where {battery.battery_id} charges"
    power_kw = _number(fields, "power_kw", least, most, within)
    return max(power_kw, 0.0), max(-power_kw, 0.0)


def _shown(value: object) -> str:
    """A refused value for a message, in one line."""
    return shortened(in_one_line(repr(value) if isinstance(value, str) else value), 80)
