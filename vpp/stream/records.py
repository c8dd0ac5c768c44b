"""Messages of the stream are decoded and checked before they are stored, batch by batch.

`decode` turns the values of one topic's messages into columns, and `check` turns those into what
the database may store. Both list the refused messages, each with its reason. A message is JSON, an
object with the fields of its kind: `{"source_id", "time", "power_kw"}`, for the market
`"price_eur_per_mwh"`, for weather `ghi dni dhi temp_air wind_speed`, and for weather forecasts
`issue_time` and `valid_time` in the place of `time`. Nothing is read or written here. Times are
int64 [µs since 1970 UTC].
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np

from vpp.runtime.words import in_words
from vpp.site.kinds import KINDS
from vpp.stream.faults import Limits, Registry, faults, key_fault

FAR_MS = 250_000_000_000_000  # year 9892: a message's own time is not taken for later than that
AHEAD_US = 300_000_000  # a message's own time that is further ahead of its receipt is not believed

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]

RECORDS = {
    kind.name: msgspec.defstruct(
        "Record",
        [
            ("source_id", str),
            *((name, AwareTime) for name in kind.times),
            *((name, float) for name in kind.value_names),
        ],
        gc=False,
    )
    for kind in KINDS.values()
}
DECODERS = {kind: msgspec.json.Decoder(record) for kind, record in RECORDS.items()}


@dataclass(frozen=True)
class Decoded:
    """The well-formed records of one kind.

    Parameters
    ----------
    kind : their kind.
    names : the source of each record.
    columns : their times and `sent_at` [µs since 1970 UTC], and their values.
    places : the place of each record among the messages.
    refused : place and reason of each other message.
    keys : the key of each record's message; None where keys do not count.
    """

    kind: str
    names: list[str]
    columns: dict[str, np.ndarray]
    places: np.ndarray
    refused: list[tuple[int, str]]
    keys: list[bytes | None] | None = None

    def part(self, rows: slice) -> "Decoded":
        """Some of the records, without the refused messages."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        keys = None if self.keys is None else self.keys[rows]
        return Decoded(self.kind, self.names[rows], columns, self.places[rows], [], keys)


@dataclass(frozen=True)
class Checked:
    """The messages of one kind after the checks: rows to store, and the refused ones.

    Parameters
    ----------
    columns : as `store_measurements` takes them.
    places : the place of each row among the messages.
    refused : place and reason of each other message.
    unknown : names of sources that are not registered.
    """

    columns: dict[str, np.ndarray]
    places: np.ndarray
    refused: list[tuple[int, str]]
    unknown: set[str]


def decode(
    kind: str,
    values: Sequence[bytes | None],
    sent_ms: Sequence[int],
    keys: Sequence[bytes | None] | None = None,
) -> Decoded:
    """Decode the values of messages of one kind.

    Parameters
    ----------
    kind : a key of `KINDS`.
    values : the messages' bytes, None for a null.
    sent_ms : the messages' times [ms since 1970 UTC].
    keys : their keys; None where keys do not count.

    Returns
    -------
    The records, and the messages that are none.
    """
    records, places, refused = _decode_all(DECODERS[kind].decode, values)
    columns = {}
    for field in KINDS[kind].times:
        times = [round(getattr(record, field).timestamp() * 1e6) for record in records]
        columns[field] = np.array(times, np.int64)
    for field in KINDS[kind].value_names:
        columns[field] = np.array([getattr(record, field) for record in records], float)
    columns["sent_at"] = np.clip(np.array(sent_ms, np.int64)[places], 0, FAR_MS) * 1000
    names = [record.source_id for record in records]
    kept = None if keys is None else [keys[place] for place in places.tolist()]
    return Decoded(kind, names, columns, places, refused, kept)


def _decode_all(
    decoder: Callable[[Any], Any], values: Sequence[bytes | None]
) -> tuple[list[Any], np.ndarray, list[tuple[int, str]]]:
    """The records, the place of each among the messages, and the refused ones and why."""
    try:
        return list(map(decoder, values)), np.arange(len(values)), []
    except MemoryError:
        raise
    except Exception:  # one of them is bad: look at each
        pass
    records, places, refused = [], [], []
    for place, value in enumerate(values):
        try:
            records.append(decoder(value))
            places.append(place)
        except msgspec.ValidationError as error:
            refused.append((place, f"wrong field: {error}"))
        except (msgspec.DecodeError, ValueError) as error:
            refused.append((place, "empty message" if value == b"" else f"not JSON: {error}"))
        except RecursionError:
            refused.append((place, "not JSON that can be read: it is nested too deep"))
        except MemoryError:
            raise
        except Exception as error:  # whatever else it is, the others are stored
            known = "null message" if value is None else f"cannot be read: {in_words(error)}"
            refused.append((place, known))
    return records, np.array(places, np.int64), refused


def check(decoded: Decoded, registry: Registry, limits: Limits, now_us: int) -> Checked:
    """Check records against the known sources.

    A message whose own time lies ahead counts as sent when it was received: it must not keep later
    ones from correcting it.

    Parameters
    ----------
    decoded : the records.
    registry : the known sources.
    limits : the bounds of the configuration.
    now_us : time of receipt [µs since 1970 UTC].

    Returns
    -------
    The good records, `source` being an index into `registry.ids`, and the refused ones.
    """
    names, places, refused = decoded.names, decoded.places, list(decoded.refused)
    source = np.array([registry.place.get(name, -1) for name in names], np.int64)
    unknown = {names[place] for place in np.flatnonzero(source < 0)}
    columns = {"source": source} | decoded.columns
    sent_at = columns["sent_at"]
    columns["sent_at"] = np.where(sent_at > now_us + AHEAD_US, now_us, sent_at)
    good = np.ones(len(names), bool)
    found = faults(decoded.kind, columns, registry, limits, now_us)
    if limits.needs_key and decoded.keys is not None:
        found = itertools.chain(found, [key_fault(decoded.keys, names)])
    for bad, reason in found:
        refused += [
            (int(places[place]), reason(int(place), names[place]))
            for place in np.flatnonzero(bad & good)
        ]
        good &= ~bad
    columns = {name: column[good] for name, column in columns.items()}
    if "available_at" in KINDS[decoded.kind].derived:
        columns["available_at"] = _available_at(columns, registry, limits)
    return Checked(columns, places[good], refused, unknown)


def _available_at(columns: dict[str, np.ndarray], registry: Registry, limits: Limits) -> np.ndarray:
    """When each price became known [µs since 1970 UTC], by the local day of its source."""
    import pandas as pd

    from vpp.site.times import price_available_at

    result = np.empty(len(columns["time"]), np.int64)
    for place in np.unique(columns["source"]):
        rows = columns["source"] == place
        times = pd.DatetimeIndex(columns["time"][rows].astype("M8[us]")).tz_localize("UTC")
        zone = registry.sources[place].time_zone
        rule = (limits.publication, limits.publication_zone)
        known = price_available_at(times, *rule, zone).tz_convert("UTC").tz_localize(None)
        result[rows] = known.to_numpy().astype("M8[us]").astype(np.int64)
    return result
