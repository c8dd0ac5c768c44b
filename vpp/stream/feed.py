"""Rows of the data folder as a clock passes them, as if measured, published and issued now.

    python pipeline.py operate --clock data --speed 3600

A measurement is sent at the end of its interval, a price at its publication, a forecast at its
issue time. Times are UTC.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping

import msgspec
import numpy as np
import pandas as pd
from confluent_kafka import Producer

from vpp.runtime.settings import Config
from vpp.site.kinds import KINDS
from vpp.site.sources import SOURCES_FILE, read_sources
from vpp.site.times import price_available_at
from vpp.storage.connection import DataGapError
from vpp.stream.files import csv_path, read_messages
from vpp.stream.kafka import StreamError, kafka_settings, new_producer, topic_names
from vpp.stream.producer import Room, send_all
from vpp.stream.topics import ensure_topics, has_little_room

CHUNK_ROWS = 5000


def _as_times(texts: object) -> pd.DatetimeIndex:
    """Times as written [UTC, ns]; NaT for what cannot be read."""
    times = pd.to_datetime(pd.Series(list(texts)), utc=True, errors="coerce", format="ISO8601")  # type: ignore[call-overload]
    return pd.DatetimeIndex(times).as_unit("ns")


class Feed:
    """The messages of the data folder in the order in which they are known.

    Parameters
    ----------
    config : names the data folder and the broker.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.kinds = [kind for kind in KINDS if csv_path(config, kind).exists()]
        if not self.kinds:
            raise StreamError(f"no CSV files in {config.paths.data_dir}; run python generation.py")
        path = config.paths.data_dir / SOURCES_FILE
        self.steps = {source.source_id: source.step_min for source in read_sources(path)}
        self.stale_after_h = config.forecast.stale_after_h
        kinds, keys, values, due = [], [], [], []
        self.counts = dict.fromkeys(self.kinds, 0)
        self.ends: dict[str, int] = {}  # source_id -> end of its newest power [ns]
        for number, kind in enumerate(self.kinds):
            for texts, some, messages in read_messages(csv_path(config, kind), kind):
                due.append(self._due(kind, texts, some))
                kinds += [number] * len(messages)
                keys += list(some)
                values += messages
                self.counts[kind] += len(messages)
        times = np.concatenate(due)
        order = np.argsort(times, kind="stable")
        self.due = times[order]
        self.rows = [(kinds[place], keys[place], values[place]) for place in order.tolist()]
        self.place = 0
        self.left_out: set[int] = set()
        self.rooms: dict[int, Room] = {}
        self.failures = Counter[str]()
        self.producer: Producer | None = None

    def _due(self, kind: str, texts: object, keys: object) -> np.ndarray:
        """When each row is known [ns]; one without a time that can be read at once."""
        index, names = _as_times(texts), list(keys)  # type: ignore[call-overload]
        steps = np.array([self.steps.get(name, 60) for name in names]) * 60_000_000_000
        found = index.asi8
        known = ~np.asarray(index.isna())
        if KINDS[kind].times[0] == "issue_time":
            pass
        elif kind == "market":
            rules = self.config.forecast
            some = price_available_at(
                index[known], rules.price_publication, rules.price_publication_zone
            )
            found = found.copy()
            found[known] = np.minimum(some.as_unit("ns").asi8, found[known])
        else:
            found = found + steps
            if kind != "weather":
                for name in set(names):
                    mine = np.array([other == name for other in names]) & known
                    if mine.any():
                        self.ends[name] = max(self.ends.get(name, 0), int(found[mine].max()))
        return np.where(known, found, 0)

    def data_end(self) -> pd.Timestamp:
        """End of the newest interval that every current plant and load of the folder has [UTC].

        Raises
        ------
        DataGapError : the folder has no plant and no load with a value.
        """
        if not self.ends:
            raise DataGapError(f"{self.config.paths.data_dir} holds no measurement of a power")
        newest = max(self.ends.values())
        limit = newest - int(self.stale_after_h * 3600e9)
        end = min(end for end in self.ends.values() if end >= limit)
        return pd.Timestamp(end, tz="UTC").floor(f"{max(self.steps.values())}min")

    def next_due(self) -> pd.Timestamp:
        """When the next row is known [UTC]; the last one, once all are sent."""
        return pd.Timestamp(self.due[min(self.place, len(self.due) - 1)], tz="UTC")

    def skip(self, until: pd.Timestamp) -> None:
        """Leave out the rows that were known before a time.

        Parameters
        ----------
        until : the time [UTC].
        """
        self.place = int(np.searchsorted(self.due, until.value, side="right"))

    def begin_again(self) -> None:
        """Send all rows again; those that are there still, `leave_out` leaves out."""
        self.place, self.producer = 0, None
        self.left_out.clear()

    def leave_out(
        self,
        until: pd.Timestamp,
        stored: Mapping[str, Container[tuple[str | int, ...]]],
        waiting: Mapping[str, Container[tuple[str, bytes]]],
    ) -> None:
        """Leave out the rows up to a time that were sent before.

        Parameters
        ----------
        until : the time [UTC].
        stored : kind -> source_id and times of each row that the database has, whatever its
            values are; times in microseconds since 1970.
        waiting : kind -> key and value of each message that waits in Kafka.
        """
        end = int(np.searchsorted(self.due, until.value, side="right"))
        for number, kind in enumerate(self.kinds):
            places = [place for place in range(self.place, end) if self.rows[place][0] == number]
            rows = [self.rows[place][1:] for place in places]
            decoded = [msgspec.json.decode(value) for _, value in rows]
            texts = [[item[name] for item in decoded] for name in KINDS[kind].times]
            times = [(_as_times(column).asi8 // 1000).tolist() for column in texts]
            for place, row, *at in zip(places, rows, *times, strict=True):
                if row in waiting[kind] or (row[0], *at) in stored[kind]:
                    self.left_out.add(place)

    def send(self, until: pd.Timestamp, stop: Callable[[], bool] = lambda: False) -> int:
        """Send the rows that are known by a time, and were not sent yet.

        Parameters
        ----------
        until : the time [UTC].
        stop : asked now and then; True ends it early.

        Returns
        -------
        Number of rows sent.

        Raises
        ------
        StreamError : the broker did not take them; they are sent again the next time.
        """
        begin, end = self.place, int(np.searchsorted(self.due, until.value, side="right"))
        while self.place < end and not stop():
            last = min(self.place + CHUNK_ROWS, end)
            places = (place for place in range(self.place, last) if place not in self.left_out)
            self._send_some([self.rows[place] for place in places], stop)
            self.place = last
        return self.place - begin

    def _send_some(self, rows: list[tuple[int, str, bytes]], stop: Callable[[], bool]) -> None:
        wait_s, topics = self.config.database.wait_s, topic_names(self.config)
        if self.producer is None:
            settings = kafka_settings(self.config)
            names = [topics[kind] for kind in self.kinds]
            ensure_topics(self.config.kafka, settings, names, wait_s)
            self.producer = new_producer(settings, wait_s, self.failures)
            if has_little_room(self.producer):
                self.rooms = {
                    number: Room(self.config, settings, self.producer, topics[kind])
                    for number, kind in enumerate(self.kinds)
                }
        for number, kind in enumerate(self.kinds):
            keys = [key for other, key, _ in rows if other == number]
            values = [value for other, _, value in rows if other == number]
            if not keys:
                continue
            room = self.rooms.get(number)
            for part in room.portions(keys, values, stop) if room else [slice(None)]:
                send_all(self.producer, topics[kind], keys[part], values[part])
        left = self.producer.flush(wait_s + 1)
        if self.failures or left:
            causes = ", ".join(self.failures) or "no answer"
            self.failures.clear()
            self.producer = None  # the broker may have another address when it is back
            raise StreamError(f"Kafka did not take rows of the data folder ({causes})")
