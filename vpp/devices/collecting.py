"""Readings of MQTT and Modbus at work beside something else.

python communication.py modbus
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from vpp.devices import modbus_readings, mqtt_readings
from vpp.devices.telemetry import Telemetry
from vpp.runtime.settings import Config
from vpp.stream.data_set import register_sources


@contextmanager
def collecting(
    config: Config,
    words: Sequence[str] = ("mqtt", "modbus"),
    clock: Callable[[], float] = time.time,
) -> Iterator[Telemetry]:
    """Readings at work beside a block, where the configuration has some.

    Parameters
    ----------
    config : the configuration.
    words : of the sections whose readings are taken.
    clock : the time [s since 1970].

    Raises
    ------
    ConfigError : a reading names what there is not.
    """
    mqtt = config.mqtt_readings if "mqtt" in words else ()
    modbus = config.modbus_readings if "modbus" in words else ()
    telemetry = Telemetry(config, [*mqtt, *modbus], clock)
    if not (mqtt or modbus):
        yield telemetry
        return
    register_sources(config)
    stop = threading.Event()
    work: list[Callable[[], None]] = [lambda: telemetry.run(stop)]
    if mqtt:
        work.append(lambda: mqtt_readings.listen(config, telemetry, mqtt, stop))
    for address in dict.fromkeys((item.host, item.port) for item in modbus):
        own = [item for item in modbus if (item.host, item.port) == address]
        work.append(partial(modbus_readings.poll, telemetry, own, stop))
    threads = [threading.Thread(target=item, name="telemetry", daemon=True) for item in work]
    for thread in threads:
        thread.start()
    try:
        yield telemetry
    finally:
        stop.set()
        for thread in threads:
            thread.join(4.0)
