"""Messages of the stream are decoded and checked before they are stored, batch by batch.

`decode` turns the values of one topic's messages into columns, and `check` turns those into what
the database may store. Both list the refused messages, each with its reason. A message is JSON, an
object with the fields of its kind: `{"source_id", "time", "power_kw"}`, for the market
`"price_eur_per_mwh"`, for weather `ghi dni dhi temp_air wind_speed`, and for weather forecasts
`issue_time` and `valid_time` in the place of `time`. Nothing is read or written here. Times are
int64 [µs since 1970 UTC].
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
import pandas as pd

from vpp.site.kinds import KINDS
from vpp.site.sources import Source
from vpp.site.times import price_available_at

FAR_MS = 250_000_000_000_000  # year 9892: a message's own time is not taken for later than that
SHOWN_CHARACTERS = 80  # of a refused value in a reason
MINUTE_US = 60_000_000
PROVISIONAL_STEP_MIN = 5  # of a source that sources.csv does not state yet

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
# The bad rows as a mask, and a function of row and source name that says what is wrong.
Fault = tuple[np.ndarray, Callable[[int, str], str]]

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
class Limits:
    """Bounds of the configuration, and the rule by which prices become known.

    Parameters
    ----------
    earliest_us : no time lies before it [µs since 1970 UTC].
    ahead_us : no time lies further ahead of now [µs].
    price_min_eur_per_mwh, price_max_eur_per_mwh : of a price [EUR/MWh].
    publication : local time at which the prices of the next day are published, such as 13:00.
    publication_zone : time zone of that time.
    """

    earliest_us: int
    ahead_us: int
    price_min_eur_per_mwh: float
    price_max_eur_per_mwh: float
    publication: str
    publication_zone: str


class Registry:
    """The known sources as arrays, so that a batch is checked at once.

    The capacity of a source that was registered provisionally bounds nothing, and its step is the
    shortest that there is.

    Parameters
    ----------
    sources : the registered ones.

    Attributes
    ----------
    sources, ids : the sources and their names, in the order given.
    place : name -> place among them.
    kinds, step_us, power_min_kw, power_max_kw : kind, step [µs] and least and largest power [kW]
        of each, as arrays.
    """

    def __init__(self, sources: Iterable[Source]):
        self.sources = list(sources)
        self.ids = [source.source_id for source in self.sources]
        self.place = {name: place for place, name in enumerate(self.ids)}
        self.kinds = np.array([source.kind for source in self.sources], object)
        steps_us = [MINUTE_US * _step_min(source) for source in self.sources]
        self.step_us = np.array(steps_us, np.int64)
        bounds = np.array([_power_bounds(source) for source in self.sources], float)
        self.power_min_kw, self.power_max_kw = bounds.reshape(-1, 2).T


def _is_provisional(source: Source) -> bool:
    return bool(source.parameters.get("provisional"))


def _step_min(source: Source) -> int:
    return PROVISIONAL_STEP_MIN if _is_provisional(source) else source.step_min


def _power_bounds(source: Source) -> tuple[float, float]:
    """The least and the largest power [kW] of a source."""
    share = KINDS[source.kind].share
    if share is None or not source.capacity_kw or _is_provisional(source):
        return -np.inf, np.inf
    return share[0] * source.capacity_kw, share[1] * source.capacity_kw


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
    """

    kind: str
    names: list[str]
    columns: dict[str, np.ndarray]
    places: np.ndarray
    refused: list[tuple[int, str]]


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


def decode(kind: str, values: Sequence[bytes | None], sent_ms: Sequence[int]) -> Decoded:
    """Decode the values of messages of one kind.

    Parameters
    ----------
    kind : a key of `KINDS`.
    values : the messages' bytes, None for a null.
    sent_ms : the messages' times [ms since 1970 UTC].

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
    return Decoded(kind, [record.source_id for record in records], columns, places, refused)


def _decode_all(
    decoder: Callable[[Any], Any], values: Sequence[bytes | None]
) -> tuple[list[Any], np.ndarray, list[tuple[int, str]]]:
    """The records, the place of each among the messages, and the refused ones and why."""
    try:
        return list(map(decoder, values)), np.arange(len(values)), []
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError):
        pass  # one of them is bad: look at each
    records, places, refused = [], [], []
    for place, value in enumerate(values):
        try:
            records.append(decoder(value))
            places.append(place)
        except msgspec.ValidationError as error:
            refused.append((place, f"wrong field: {error}"))
        except (msgspec.DecodeError, ValueError) as error:
            refused.append((place, "empty message" if value == b"" else f"not JSON: {error}"))
        except (TypeError, AttributeError):
            refused.append((place, "null message"))
    return records, np.array(places, np.int64), refused


def check(decoded: Decoded, registry: Registry, limits: Limits, now_us: int) -> Checked:
    """Check records against the known sources.

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
    good = np.ones(len(names), bool)
    for bad, reason in faults(decoded.kind, columns, registry, limits, now_us):
        refused += [
            (int(places[place]), reason(int(place), names[place]))
            for place in np.flatnonzero(bad & good)
        ]
        good &= ~bad
    columns = {name: column[good] for name, column in columns.items()}
    if "available_at" in KINDS[decoded.kind].derived:
        columns["available_at"] = _available_at(columns, registry, limits)
    return Checked(columns, places[good], refused, unknown)


def faults(
    kind: str, columns: dict[str, np.ndarray], registry: Registry, limits: Limits, now_us: int
) -> Iterator[Fault]:
    """The checks of records in their order.

    Parameters
    ----------
    kind : of the records.
    columns : theirs, and `source`, an index into `registry.ids` or -1 for an unknown source.
    registry, limits, now_us : as of `check`.

    Yields
    ------
    The bad rows of each check as a mask, and a function that says what is wrong with one.
    """
    source = columns["source"]
    yield (
        source < 0,
        lambda row, name: f"unknown source {name[:SHOWN_CHARACTERS]!r}: register it in sources.csv",
    )
    if not len(registry.ids):
        return
    expected = KINDS[kind].source_kind
    yield (
        registry.kinds[source] != expected,
        lambda row, name: f"source {name} is of kind {registry.kinds[source[row]]}, not {expected}",
    )
    for field in KINDS[kind].times:
        yield from _time_faults(field, columns, registry, limits, now_us)
    yield from _value_faults(columns, registry, limits)
    yield (
        columns["sent_at"] > now_us + limits.ahead_us,
        lambda row, name: f"the message's own time {_iso(columns['sent_at'][row])} lies ahead",
    )
    numbers = np.array([columns[name] for name in KINDS[kind].value_names])
    yield ~np.isfinite(numbers).all(axis=0), lambda row, name: "a number is not finite"


def _time_faults(
    field: str, columns: dict[str, np.ndarray], registry: Registry, limits: Limits, now_us: int
) -> Iterator[Fault]:
    times, step_us = columns[field], registry.step_us[columns["source"]]
    earliest_us, latest_us = limits.earliest_us, now_us + limits.ahead_us
    yield (
        times < earliest_us,
        lambda row, name: f"{field} {_iso(times[row])} is before {_iso(earliest_us)}",
    )
    yield (
        times > latest_us,
        lambda row, name: f"{field} {_iso(times[row])} is after {_iso(latest_us)}",
    )
    if field != "issue_time":
        yield (
            times % step_us != 0,
            lambda row, name: (
                f"{field} {_iso(times[row])} is not on the {step_us[row] // MINUTE_US} min step "
                f"of {name}"
            ),
        )


def _value_faults(
    columns: dict[str, np.ndarray], registry: Registry, limits: Limits
) -> Iterator[Fault]:
    if "power_kw" in columns:
        power, source = columns["power_kw"], columns["source"]
        least, most = registry.power_min_kw[source], registry.power_max_kw[source]
        yield (
            power < least,
            lambda row, name: (
                f"power_kw {power[row]:g} is below {least[row]:g}, the least of {name}"
            ),
        )
        yield (
            power > most,
            lambda row, name: f"power_kw {power[row]:g} is above {most[row]:g}, the most of {name}",
        )
    if "price_eur_per_mwh" in columns:
        price = columns["price_eur_per_mwh"]
        low, high = limits.price_min_eur_per_mwh, limits.price_max_eur_per_mwh
        yield (
            (price < low) | (price > high),
            lambda row, name: f"price_eur_per_mwh {price[row]:g} is not within {low:g} to {high:g}",
        )


def _iso(microseconds: int) -> str:
    # numpy also has the years that datetime does not have.
    return f"{np.datetime64(int(microseconds) // 1_000_000, 's')}Z"


def _available_at(columns: dict[str, np.ndarray], registry: Registry, limits: Limits) -> np.ndarray:
    """When each price became known [µs since 1970 UTC], by the local day of its source."""
    result = np.empty(len(columns["time"]), np.int64)
    for place in np.unique(columns["source"]):
        rows = columns["source"] == place
        times = pd.DatetimeIndex(columns["time"][rows].astype("M8[us]")).tz_localize("UTC")
        zone = registry.sources[place].time_zone
        rule = (limits.publication, limits.publication_zone)
        known = price_available_at(times, *rule, zone).tz_convert("UTC").tz_localize(None)
        result[rows] = known.to_numpy().astype("M8[us]").astype(np.int64)
    return result
