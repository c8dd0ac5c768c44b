"""Readings of devices that speak Modbus over TCP: registers that are named, or found by SunSpec.

    python communication.py modbus

A SunSpec device says "SunS" at a known address, and then one model after the other with its number
and length. Inverters (101 to 103, 111 to 113) and meters (201 to 204, 211 to 214) tell their power
in W. Nothing is ever written to a device.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from vpp.devices.telemetry import Telemetry
from vpp.runtime.errors import VppError
from vpp.runtime.telemetry_settings import ModbusReading
from vpp.runtime.words import in_words

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

TIMEOUT_S = 3.0
SUNSPEC = [0x5375, 0x6E53]  # "SunS"
BASES = (40000, 50000, 0)
END, MODELS_MOST = 0xFFFF, 60
# model -> its power: offset of the number and of its scale from the model's first register, type
# (SunSpec Alliance, Information Model Reference)
Place = tuple[int, int | None, str]
_SCALED_INVERTER: Place = (14, 15, "int16")
_FLOAT_INVERTER: Place = (22, None, "float32")
_SCALED_METER: Place = (18, 22, "int16")
_FLOAT_METER: Place = (28, None, "float32")
POINTS: dict[str, dict[int, Place]] = {
    "inverter": dict.fromkeys((101, 102, 103), _SCALED_INVERTER)
    | dict.fromkeys((111, 112, 113), _FLOAT_INVERTER),
    "meter": dict.fromkeys((201, 202, 203, 204), _SCALED_METER)
    | dict.fromkeys((211, 212, 213, 214), _FLOAT_METER),
}
# what a device says in place of a number that it does not have
NONE = {"int16": -(2**15), "uint16": 2**16 - 1, "int32": -(2**31), "uint32": 2**32 - 1}


class ModbusError(VppError):
    """A device that does not answer, or not with what is expected."""


def poll(telemetry: Telemetry, readings: Sequence[ModbusReading], stop: threading.Event) -> None:
    """Read the registers of one device until told to stop.

    Parameters
    ----------
    telemetry : takes the values.
    readings : of one address.
    stop : ends it.
    """
    from pymodbus.client import ModbusTcpClient

    first = readings[0]
    client = ModbusTcpClient(first.host, port=first.port, timeout=TIMEOUT_S, retries=1)
    found: dict[str, ModbusReading] = {}  # where SunSpec has it
    due = dict.fromkeys(readings, time.monotonic())
    while not stop.wait(max(0.0, min(due.values()) - time.monotonic())):
        item = min(due, key=lambda one: due[one])
        try:
            if not client.connected and not client.connect():
                raise ModbusError(f"{item.host}:{item.port} does not answer")
            if item.reading_id not in found:
                found[item.reading_id] = locate(client, item) if item.sunspec else item
            value = read(client, found[item.reading_id])
        except Exception as error:  # whatever a device answers, the others are read
            telemetry.lose(item, in_words(error))
            found.pop(item.reading_id, None)
            client.close()
        else:
            if value is None:
                telemetry.lose(item)
            else:
                telemetry.take(item, value)
        due[item] = max(due[item] + item.every_s, time.monotonic())
    client.close()


def locate(client: "ModbusTcpClient", item: ModbusReading) -> ModbusReading:
    """A reading with the registers that SunSpec has for it.

    Parameters
    ----------
    client : connected.
    item : names inverter or meter.

    Raises
    ------
    ModbusError : the device does not speak SunSpec, or has no such model.
    """
    start = next((base for base in BASES if _is_sunspec(client, item, base)), None)
    if start is None:
        raise ModbusError(
            f"{item.host}:{item.port} unit {item.unit}: no SunSpec at {', '.join(map(str, BASES))};"
            " say register in place of sunspec"
        )
    at = start + 2
    seen: list[int] = []
    while len(seen) < MODELS_MOST:
        model, length = _registers(client, item, at, 2)
        if model == END:
            break
        seen.append(model)
        if model in POINTS[item.sunspec]:
            number, scale, kind = POINTS[item.sunspec][model]
            return replace(
                item,
                sunspec="",
                table="holding",
                register=at + number,
                scale_register=None if scale is None else at + scale,
                type=kind,
            )
        at += 2 + length
    known = ", ".join(map(str, seen)) or "none"
    raise ModbusError(
        f"{item.host}:{item.port} unit {item.unit}: no {item.sunspec} among its models {known}"
    )


def _is_sunspec(client: "ModbusTcpClient", item: ModbusReading, base: int) -> bool:
    try:
        return _registers(client, item, base, 2) == SUNSPEC
    except ModbusError:  # there is no such address
        return False


def read(client: "ModbusTcpClient", item: ModbusReading) -> float | None:
    """The number of a reading's register, scaled; None where the device has none.

    Parameters
    ----------
    client : connected.
    item : names the registers.

    Raises
    ------
    ModbusError : the device refuses.
    """
    kind = client.DATATYPE[item.type.upper()]
    assert item.register is not None
    words = _registers(client, item, item.register, kind.value[1])
    order: Literal["big", "little"] = "big" if item.word_order == "big" else "little"
    value = client.convert_from_registers(words, kind, word_order=order)
    if not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        return None
    if item.scale_register is None:
        return float(value)
    scale = _registers(client, item, item.scale_register, 1)[0]
    scale -= 2**16 if scale >= 2**15 else 0
    if value == NONE.get(item.type) or not -10 <= scale <= 10:
        return None
    return float(value) * 10.0**scale


def _registers(client: "ModbusTcpClient", item: ModbusReading, at: int, count: int) -> list[int]:
    from pymodbus.exceptions import ModbusException

    ask = client.read_holding_registers if item.table == "holding" else client.read_input_registers
    try:
        answer = ask(at, count=count, device_id=item.unit)
    except ModbusException as error:
        raise ModbusError(f"{item.host}:{item.port}: {in_words(error)}") from None
    if answer.isError() or len(answer.registers) != count:
        raise ModbusError(
            f"{item.host}:{item.port} unit {item.unit}: no {item.table} register {at}"
            + (f" to {at + count - 1}" if count > 1 else "")
        )
    return list(answer.registers)
