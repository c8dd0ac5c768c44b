"""Readings of devices that speak MQTT in a shape of their own.

    python communication.py mqtt

A message is a number, or JSON with a number somewhere in it. A message that the broker kept from
earlier has no time of receipt, so it counts only where it tells its own.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import paho.mqtt.client as mqtt

from vpp.devices.telemetry import Telemetry
from vpp.devices.topics import QOS, new_client
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config
from vpp.runtime.telemetry_settings import MqttReading

AHEAD_S = 60.0  # a device's clock may be so far ahead of ours
MS_FROM = 1e11  # a larger number is milliseconds since 1970
SHOWN = 100  # characters of a message that is told


class ReadingError(VppError):
    """A message in which a reading is not found."""


def listen(
    config: Config, telemetry: Telemetry, readings: Sequence[MqttReading], stop: threading.Event
) -> None:
    """Take the messages of devices until told to stop.

    Parameters
    ----------
    config : names broker and site.
    telemetry : takes the values.
    readings : of it.
    stop : ends it.

    Raises
    ------
    ConfigError : the configuration names no broker.
    """
    if not config.mqtt.url:
        raise ConfigError(f"{config.path}: [mqtt] url is empty; expected mqtt://host:port")
    of_topic: dict[str, list[MqttReading]] = defaultdict(list)
    for item in readings:
        of_topic[item.topic].append(item)
    client = new_client(config, "", is_kept=False)

    def on_connect(client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if not reason.is_failure:
            client.subscribe([(topic, QOS) for topic in of_topic])

    def on_disconnect(*_: Any) -> None:
        for item in readings:
            telemetry.lose(item)

    def on_message(_: Any, __: Any, message: mqtt.MQTTMessage) -> None:
        for item in of_topic.get(message.topic, ()):
            if message.retain and not item.time:
                continue  # nobody knows how old it is
            try:
                value, at_s = read(
                    bytes(message.payload), item, config.site.time_zone, telemetry.clock()
                )
            except ReadingError as error:
                telemetry.tell(item, f"{item.topic}: {error}")
                continue
            if value is None:
                telemetry.lose(item)
            else:
                telemetry.take(item, value, at_s)

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.on_message = on_message
    client.loop_start()
    stop.wait()
    client.disconnect()
    client.loop_stop()


def read(
    payload: bytes, item: MqttReading, time_zone: str, now_s: float
) -> tuple[float | None, float]:
    """The value of a message and its time.

    Parameters
    ----------
    payload : of the message.
    item : says where they are.
    time_zone : of a time that does not tell its own, where the reading names none.
    now_s : when the message came [s since 1970].

    Returns
    -------
    The value, None where the device says that it has none, and its time [s since 1970].

    Raises
    ------
    ReadingError : there is no number, or no usable time.
    """
    if not item.value and not item.time:
        return _number(payload.decode("utf-8", "replace").strip(), "the message"), now_s
    try:
        answer = msgspec.json.decode(payload)
    except msgspec.MsgspecError:
        raise ReadingError(f"{_short(payload)} is no JSON") from None
    value = _number(_at(answer, item.value), item.value or "the message")
    if not item.time:
        return value, now_s
    zone = item.time_zone or time_zone
    at_s = _time(_at(answer, item.time), item.time, zone, now_s)
    if at_s > now_s + AHEAD_S:
        raise ReadingError(
            f"{item.time} is {at_s - now_s:,.0f} s ahead of the clock; set the clock or the time "
            "zone of the device, or say time_zone"
        )
    return value, at_s


def _at(answer: Any, path: str) -> Any:
    """The part of an answer that a path such as ENERGY.Power leads to."""
    found = answer
    for name in path.split(".") if path else ():
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            has = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise ReadingError(f"the message has no {path} (it has: {has[:SHOWN]})")
    return found


def _number(value: Any, name: str) -> float | None:
    """A number, or the text of one; None stays None."""
    if value is None:
        return None
    try:
        if isinstance(value, bool | dict | list):
            raise ValueError
        number = float(value)
        if not abs(number) < float("inf"):
            raise ValueError
    except ValueError:
        raise ReadingError(f"{name} is {str(value)[:SHOWN]!r}, no number") from None
    return number


def _time(value: Any, name: str, zone: str, now_s: float) -> float:
    """A time [s since 1970]; of two that a local text may mean, the one nearer to now."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > MS_FROM else float(value)
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        expected = "expected such as 2025-06-01T12:00:00, or seconds since 1970"
        raise ReadingError(f"{name} is {str(value)[:SHOWN]!r}; {expected}") from None
    if time.tzinfo is not None:
        return time.timestamp()
    local = ZoneInfo(zone)
    both = [time.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return min((found.timestamp() for found in both), key=lambda at_s: abs(now_s - at_s))


def _short(payload: bytes) -> str:
    return repr(payload[:SHOWN].decode("utf-8", "replace"))
