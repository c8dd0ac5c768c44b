"""Registers of devices, read from a real Modbus server on loopback."""

import asyncio
import itertools
import socket
import struct
import threading
import time

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from vpp.devices.modbus_readings import ModbusError, locate, poll, read
from vpp.devices.telemetry import Telemetry
from vpp.runtime.config import load_config
from vpp.runtime.telemetry_settings import ModbusReading
from vpp.site.sources import Source, write_sources

MINUS_2 = 2**16 - 2


def model(number, length, **values):
    """A SunSpec model: its registers from its number on; `o14` is that of offset 14."""
    words = [number, length, *[0] * length]
    for name, value in values.items():
        words[int(name[1:])] = value
    return words


def words_of(kind, value):
    raw = struct.pack(">" + kind, value)
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


def sunspec(*models):
    return [0x5375, 0x6E53, *model(1, 65), *itertools.chain(*models), 0xFFFF, 0]


FLOAT = model(111, 60)
FLOAT[22:24] = words_of("f", 1234.5)
DEVICES = {
    # the inverter's power: 20,512 x 10^-1 W; the meter's: -1,203 W x 10^0
    1: (40000, sunspec(model(103, 50, o14=20512, o15=2**16 - 1), model(203, 105, o18=64333))),
    2: (50000, sunspec(FLOAT)),
    # float32 -7.25 with its words in turn, uint16 555, and int16 that is none
    3: (10, [*reversed(words_of("f", -7.25)), 555, 0x8000, MINUS_2]),
    4: (40000, sunspec(model(103, 50, o14=0x8000))),
}


@pytest.fixture(scope="module")
def server():
    """The port of a server with several devices."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    devices = [
        SimDevice(id=unit, simdata=[SimData(at, values=words, datatype=DataType.REGISTERS)])
        for unit, (at, words) in DEVICES.items()
    ]
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def serve():
        own = ModbusTcpServer(devices, address=("127.0.0.1", port))
        task = asyncio.create_task(own.serve_forever())
        await asyncio.sleep(0.05)
        started.set()
        await stopped.wait()
        await own.shutdown()
        task.cancel()

    stopped = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    yield port
    loop.call_soon_threadsafe(stopped.set)
    thread.join(20)


@pytest.fixture
def client(server):
    found = ModbusTcpClient("127.0.0.1", port=server, timeout=3, retries=1)
    assert found.connect()
    yield found
    found.close()


def reading(unit, **own):
    return ModbusReading("r", source="x", host="127.0.0.1", unit=unit, **own)


@pytest.mark.parametrize(
    ("unit", "own", "value"),
    [
        (1, {"sunspec": "inverter"}, 2051.2),
        (1, {"sunspec": "meter"}, -1203.0),
        (2, {"sunspec": "inverter"}, 1234.5),
        (4, {"sunspec": "inverter"}, None),  # the device says that it has none
        (3, {"register": 10, "type": "float32", "word_order": "little"}, -7.25),
        (3, {"register": 12, "type": "uint16"}, 555.0),
        (3, {"register": 12, "type": "uint16", "scale_register": 14}, 5.55),
    ],
)
def test_a_number_is_found_and_scaled(client, unit, own, value):
    item = reading(unit, **own)
    item = locate(client, item) if item.sunspec else item
    assert read(client, item) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("unit", "own", "said"),
    [
        (3, {"sunspec": "inverter"}, "no SunSpec at 40000, 50000, 0; say register"),
        (2, {"sunspec": "meter"}, "no meter among its models 1, 111"),
        (3, {"register": 99}, "unit 3: no holding register 99"),
    ],
)
def test_a_device_without_it_is_one_line(client, unit, own, said):
    item = reading(unit, **own)
    with pytest.raises(ModbusError, match=said):
        read(client, locate(client, item) if item.sunspec else item)


def test_readings_are_polled_and_one_that_fails_stops_no_other(config_file, server, caplog):
    shared = {"host": "127.0.0.1", "port": server, "factor": 0.001, "every_s": 0.1}
    config = load_config(
        config_file(
            **{
                "modbus:bad": shared | {"source": "meter", "register": 99, "unit": 3},
                "modbus:good": shared | {"source": "roof", "sunspec": "inverter"},
            }
        )
    )
    config.paths.data_dir.mkdir(parents=True)
    sources = [
        Source(name, kind, name, "site-1", 10.0, 15, 50.0, 8.0, "UTC")
        for name, kind in (("roof", "solar"), ("meter", "load"))
    ]
    write_sources(config.paths.data_dir / "sources.csv", sources)
    telemetry, stop = Telemetry(config, config.modbus_readings), threading.Event()
    thread = threading.Thread(target=poll, args=(telemetry, config.modbus_readings, stop))
    thread.start()
    try:
        until = time.monotonic() + 20
        while (last := telemetry.held["roof"]["good"].last) is None:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(20)
    assert last[1] == pytest.approx(2.0512)  # kW
    assert telemetry.held["meter"]["bad"].last is None
    assert caplog.text.count("no holding register 99") == 1
