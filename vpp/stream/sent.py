"""How much of each CSV file was sent before, so that a file that grows sends only its new lines.

    python communication.py produce
    python communication.py produce --all

The state folder remembers of each topic a position in its file and a digest of all before it. A
file that was changed before that position is sent again from its beginning. So it is when the
messages may have been forgotten meanwhile: by the database, which then has fewer rows than when
they were known to be stored, or by the broker, which then is another one or has fewer messages.
Sending a line twice does no harm; not sending one does.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException

from vpp.runtime.errors import ConfigError
from vpp.runtime.files import replacing_file
from vpp.runtime.places import make_private
from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.storage.counts import count_measurements
from vpp.stream.files import Mark, csv_path, measure
from vpp.stream.kafka import (
    REQUEST_S,
    StreamError,
    close,
    kafka_settings,
    lags,
    new_consumer,
    topic_names,
)
from vpp.stream.refusals import explained

log = logging.getLogger("stream")

FILE = "sent.json"


@dataclass(frozen=True)
class Sent:
    """The record of the lines of a file that were sent.

    Parameters
    ----------
    path : of the file.
    mark : how far it was sent.
    database : a digest of the database's address.
    broker : the cluster that took the messages.
    end : messages that its topic had got by then, since it was made.
    rows : rows of its kind in the database when all of it was stored; None where nobody looked.
    """

    path: str
    mark: Mark
    database: str
    broker: str
    end: int
    rows: int | None


class Ledger:
    """The lines of each file that were sent, and those that there are to send now.

    Parameters
    ----------
    config : names files, servers and the state folder.
    kinds : keys of `KINDS`.
    everything : send all, whatever was sent.
    """

    def __init__(self, config: Config, kinds: Iterable[str], everything: bool = False):
        self.config, self.topics = config, topic_names(config)
        self.path = config.paths.state_dir / FILE
        self.kinds = [kind for kind in kinds if csv_path(config, kind).exists()]
        self.database = hashlib.blake2b(config.database.url.encode(), digest_size=16).hexdigest()
        before = {} if everything else self._read()
        self.ends: dict[str, Mark] = {}
        # kind -> where to go on; the beginning where it is not named
        self.starts: dict[str, Mark] = {}
        for kind in self.kinds:
            known = before.get(self.topics[kind])
            self.ends[kind], is_same = measure(self._file(kind), known.mark if known else None)
            if known is not None and is_same and known.path == str(self._file(kind)):
                self.starts[kind] = known.mark
        if self.starts:
            self._forget_lost({kind: before[self.topics[kind]] for kind in self.starts})

    def _file(self, kind: str) -> Path:
        return csv_path(self.config, kind).resolve()

    def _read(self) -> dict[str, Sent]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, Sent])
        except (OSError, msgspec.MsgspecError, ValueError):  # whoever wrote it, we send all again
            return {}

    def _forget_lost(self, before: Mapping[str, Sent]) -> None:
        """Begin anew where the database or the broker may have lost what was sent."""
        with session(self.config) as conn:
            rows = count_measurements(conn)
        broker, ends, waiting = self._look([kind for kind, item in before.items()])
        for kind, item in before.items():
            if item.database != self.database:
                is_there = False
            elif item.rows is not None:
                is_there = rows[kind] >= item.rows
            else:
                is_kept = item.broker == broker and ends[kind] >= item.end
                is_there = is_kept and (waiting[kind] > 0 or rows[kind] > 0)
            if not is_there:
                del self.starts[kind]

    def _look(self, kinds: Sequence[str]) -> tuple[str, dict[str, int], dict[str, int]]:
        """The broker's name, and of each kind the messages sent ever and those that wait."""
        consumer = new_consumer(kafka_settings(self.config), self.config.kafka.group_id)
        try:
            known = consumer.list_topics(timeout=REQUEST_S)
            names = {self.topics[kind]: kind for kind in kinds if self.topics[kind] in known.topics}
            found = lags(consumer, {name: sorted(known.topics[name].partitions) for name in names})
        except KafkaException as error:
            raise StreamError(f"Kafka: {explained(error)}") from None
        finally:
            close(consumer)
        ends, waiting = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
        for item in found:
            ends[names[item.topic]] += item.high
            waiting[names[item.topic]] += item.unread
        # the embedded broker has a name like that of its next life, but hardly its port
        address = ",".join(sorted(str(broker) for broker in known.brokers.values()))
        return f"{known.cluster_id} {address}", ends, waiting

    def save(self, kinds: Iterable[str], rows: Mapping[str, int] | None = None) -> None:
        """Remember that the files of these kinds were sent up to the ends that they had.

        Parameters
        ----------
        kinds : keys of `KINDS`.
        rows : kind -> rows in the database, where all is known to be stored.
        """
        kinds = [kind for kind in kinds if kind in self.ends]
        broker, ends, _ = self._look(kinds)
        found = self._read()
        for kind in kinds:
            found[self.topics[kind]] = Sent(
                str(self._file(kind)),
                self.ends[kind],
                self.database,
                broker,
                ends[kind],
                rows[kind] if rows is not None else None,
            )
        try:
            make_private(self.config.paths.state_dir)
            with replacing_file(self.path) as path:
                path.write_bytes(
                    msgspec.json.format(
                        msgspec.json.encode({name: asdict(item) for name, item in found.items()})
                    )
                )
        except (OSError, ConfigError) as error:  # a container whose files are read-only
            text = "what was sent cannot be remembered, so it is sent again next time: %s"
            log.warning(text, error)
