"""Readings of foreign devices in the configuration: `[mqtt:NAME]` and `[modbus:NAME]`.

python -c "from vpp.runtime.telemetry_settings import MqttReading; help(MqttReading)"
"""

from dataclasses import dataclass

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, check_zone, choice, number


@dataclass(frozen=True)
class Reading(Section):
    """A number that a device tells again and again.

    Parameters
    ----------
    reading_id : name of the section.
    source : source_id whose power it is; several readings of one source are summed.
    battery : battery whose state of charge it is, in place of a source; empty: none.
    factor : its value times this is kW, or a state of charge as a fraction; below 0 turns the sign.
    hold_s : a value holds until the next one, and at most so long.
    """

    reading_id: str
    source: str = ""
    battery: str = ""
    factor: float = 1.0
    hold_s: float = number(300.0, high=86400, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.source) == bool(self.battery):
            expected = "a source_id here, or the name of a battery in the key battery"
            raise FieldError("source", self.source, expected)
        if not self.factor:
            raise FieldError("factor", self.factor, "a number other than 0")


@dataclass(frozen=True)
class MqttReading(Reading):
    """`[mqtt:NAME]`: a topic of a device on the broker of `[mqtt] url`.

    Parameters
    ----------
    reading_id : name of the section.
    source : source_id whose power it is; several readings of one source are summed.
    battery : battery whose state of charge it is, in place of a source; empty: none.
    factor : its value times this is kW, or a state of charge as a fraction; below 0 turns the sign.
    hold_s : a value holds until the next one, and at most so long.
    topic : that the device publishes.
    value : path of the number in a message of JSON, such as ENERGY.Power; empty: the message is
        the number.
    time : path of the time of the measurement; empty: a value is of the time when it comes.
    time_zone : of such a time that does not tell its own; empty: that of the site.
    """

    topic: str = ""
    value: str = ""
    time: str = ""
    time_zone: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.topic or any(mark in self.topic for mark in "+#\0"):
            raise FieldError("topic", self.topic, "a topic without + and #")
        if self.time_zone:
            check_zone("time_zone", self.time_zone)


@dataclass(frozen=True)
class ModbusReading(Reading):
    """`[modbus:NAME]`: a register of a device, read over TCP.

    Parameters
    ----------
    reading_id : name of the section.
    source : source_id whose power it is; several readings of one source are summed.
    battery : battery whose state of charge it is, in place of a source; empty: none.
    factor : its value times this is kW, or a state of charge as a fraction; below 0 turns the sign.
    hold_s : a value holds until the next one, and at most so long.
    host : address of the device.
    port : its port.
    unit : its number behind that address.
    sunspec : inverter or meter: its power is found by SunSpec, in W; empty: the keys below say.
    register : address of the number, counted from 0 as it is sent.
    table : holding or input registers.
    type : int16, uint16, int32, uint32, int64, uint64, float32 or float64.
    word_order : which of several registers comes first: big or little.
    scale_register : address of an int16, the power of ten that multiplies the number.
    every_s : it is read so often.
    """

    host: str = ""
    port: int = number(502, 1, 65535)
    unit: int = number(1, 0, 255)
    sunspec: str = choice("", "", "inverter", "meter")
    register: int | None = number(None, 0, 65535)
    table: str = choice("holding", "holding", "input")
    type: str = choice(
        "int16",
        *("int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"),
    )
    word_order: str = choice("big", "big", "little")
    scale_register: int | None = number(None, 0, 65535)
    every_s: float = number(10.0, 0.1, 3600)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.host:
            raise FieldError("host", self.host, "the address of a device, such as 192.168.1.5")
        if bool(self.sunspec) == (self.register is not None):
            expected = "an address here, or inverter or meter in the key sunspec"
            raise FieldError("register", self.register, expected)
        if self.every_s > self.hold_s:
            raise FieldError("every_s", self.every_s, f"at most hold_s, {self.hold_s:g}")
