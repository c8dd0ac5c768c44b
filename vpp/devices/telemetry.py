"""Readings of foreign devices become rows of the stream: means per step, and states of batteries.

    python communication.py mqtt
    python communication.py modbus

Each source's mean goes to the topic of its kind when its step has ended, so the sink checks and
stores it as any other row. While Kafka is away the rows wait. A value that cannot be read is told
once and is a gap.
"""

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer

from vpp.devices.means import Held
from vpp.runtime.errors import ConfigError, VppError, check_known
from vpp.runtime.settings import Config
from vpp.runtime.telemetry_settings import Reading
from vpp.runtime.words import in_one_line, in_words
from vpp.site.kinds import BATTERY_TOPIC, KINDS, POWER_KINDS
from vpp.site.sources import SOURCES_FILE, read_sources
from vpp.stream.kafka import kafka_settings, new_producer, send
from vpp.stream.refusals import explained
from vpp.stream.topics import ensure_topics

log = logging.getLogger("telemetry")

GRACE_S = 5.0  # a message may be so long on its way
LOOK_S = 0.5
STATE_S = 30.0  # a battery's state is sent so often at most
WAITING_MOST = 100_000  # rows that wait for Kafka


class Outbox:
    """Rows on their way to Kafka; those that do not arrive wait and are sent again.

    Parameters
    ----------
    config : names the broker.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.producer: Producer | None = None
        self.waiting: deque[tuple[str, str, bytes]] = deque(maxlen=WAITING_MOST)
        self.known: set[str] = set()
        self.told = ""

    def put(self, topic: str, key: str, message: dict[str, Any]) -> None:
        """Add a row.

        Parameters
        ----------
        topic : without its prefix.
        key : source or battery.
        message : its fields.
        """
        name = self.config.kafka.topic_prefix + topic
        self.waiting.append((name, key, msgspec.json.encode(message)))

    def flush(self, wait_s: float = 0.0) -> None:
        """Send what waits.

        Parameters
        ----------
        wait_s : wait so long until it has arrived [s].
        """
        try:
            producer = self._open()
        except (VppError, KafkaException) as error:
            self._tell(explained(error) if isinstance(error, KafkaException) else in_words(error))
            return
        for _ in range(len(self.waiting)):
            item = self.waiting.popleft()
            send(producer, *item[:1], item[2], item[1], on_delivery=self._report(item))
        producer.flush(wait_s) if wait_s else producer.poll(0)

    def _open(self) -> Producer:
        settings = kafka_settings(self.config)
        wait_s = min(10.0, self.config.database.wait_s)
        if topics := sorted({topic for topic, *_ in self.waiting} - self.known):
            ensure_topics(self.config.kafka, settings, topics, wait_s)
            self.known |= set(topics)
        if self.producer is None:
            self.producer = new_producer(settings, wait_s, Counter())
        return self.producer

    def _report(self, item: tuple[str, str, bytes]) -> Callable[[Any, Any], None]:
        def report(error: Any, _: Any) -> None:
            if error is None:
                self.told = ""
                return
            self.waiting.append(item)
            self._tell(str(error.str()))

        return report

    def _tell(self, text: str) -> None:
        if text != self.told:
            self.told = text
            log.error("Kafka, rows wait: %s", text)


class Telemetry:
    """The readings of a configuration, and what they make.

    Parameters
    ----------
    config : names sources, batteries and the broker.
    readings : that are taken.
    clock : the time [s since 1970].

    Raises
    ------
    ConfigError : a reading names a source or a battery that there is not.
    """

    def __init__(
        self,
        config: Config,
        readings: Sequence[Reading],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config, self.clock, self.outbox = config, clock, Outbox(config)
        self.lock, self.told = threading.Lock(), dict[str, str]()
        self.held: dict[str, dict[str, Held]] = defaultdict(dict)  # source -> reading -> its sums
        self.means: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        self.states: dict[str, float] = {}  # battery -> when its state was sent [s]
        self.topics: dict[str, str] = {}
        path = config.paths.data_dir / SOURCES_FILE
        sources = {item.source_id: item for item in read_sources(path)} if path.exists() else {}
        batteries = {item.battery_id for item in config.batteries}
        for item in readings:
            try:
                if item.battery:
                    check_known("battery", item.battery, batteries)
                    continue
                check_known("source", item.source, sources)
            except ConfigError as error:
                where = f"{config.path}: reading {item.reading_id}"
                more = "" if item.battery else "; make one with python sources.py add"
                raise ConfigError(f"{where}: {error}{more}") from None
            source = sources[item.source]
            if source.kind not in POWER_KINDS:
                raise ConfigError(
                    f"{config.path}: reading {item.reading_id}: source {item.source} is of the "
                    f"kind {source.kind}; expected one of {', '.join(POWER_KINDS)}"
                )
            self.topics[item.source] = KINDS[source.kind].topic
            self.held[item.source][item.reading_id] = Held(source.step_min * 60, item.hold_s)

    def take(self, item: Reading, value: float, at_s: float | None = None) -> None:
        """Take a value of a reading.

        Parameters
        ----------
        item : the reading.
        value : as the device told it.
        at_s : its time [s since 1970]; None: now.
        """
        self.told.pop(item.reading_id, None)
        at_s, value = self.clock() if at_s is None else at_s, value * item.factor
        with self.lock:
            if not item.battery:
                self.held[item.source][item.reading_id].take(at_s, value)
            elif at_s - self.states.get(item.battery, -STATE_S) >= STATE_S:
                self.states[item.battery] = at_s
                message = {"battery_id": item.battery, "time": _iso(at_s), "soc": round(value, 6)}
                self.outbox.put(BATTERY_TOPIC, item.battery, message)

    def lose(self, item: Reading, cause: str = "") -> None:
        """Take that a reading's value is not known any more.

        Parameters
        ----------
        item : the reading.
        cause : is told, once.
        """
        if cause:
            self.tell(item, cause)
        with self.lock:
            if not item.battery:
                self.held[item.source][item.reading_id].lose(self.clock())

    def tell(self, item: Reading, cause: str) -> None:
        """Tell what is wrong with a reading, once until it is mended.

        Parameters
        ----------
        item : the reading.
        cause : in words.
        """
        if self.told.get(item.reading_id) != cause:
            self.told[item.reading_id] = cause
            log.warning("%s: %s", item.reading_id, in_one_line(cause))

    def look(self) -> None:
        """Send the means of the steps that have ended."""
        before_s = self.clock() - GRACE_S
        with self.lock:
            for source_id, parts in self.held.items():
                for name, held in parts.items():
                    for start, mean in held.means(before_s).items():
                        self.means[source_id][start][name] = mean
                for start, found in sorted(self.means.pop(source_id, {}).items()):
                    if len(found) == len(parts):  # else a part of the sum is a gap
                        power_kw = round(sum(found.values()), 3)
                        row = {"source_id": source_id, "time": _iso(start), "power_kw": power_kw}
                        self.outbox.put(self.topics[source_id], source_id, row)
        if self.outbox.waiting or self.outbox.producer is not None:
            self.outbox.flush()

    def run(self, stop: threading.Event) -> None:
        """Send means until told to stop.

        Parameters
        ----------
        stop : ends it.
        """
        while not stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:  # whatever it is, values are taken on
                log.error("%s", in_words(error))
        self.outbox.flush(2.0)


def _iso(at_s: float) -> str:
    return (
        datetime.fromtimestamp(at_s, UTC)
        .isoformat(timespec="milliseconds" if at_s % 1 else "seconds")
        .replace("+00:00", "Z")
    )
