"""What a message of the stream must say to be stored: decoding and checks, batch by batch.

`decode(kind, values, sent_ms)` turns the values of one topic's messages into columns, and `check(decoded, registry, limits, now_us)`
those into what the database may store; both list the refused messages, each with its reason. A message is JSON:
`{"source_id", "time", "power_kw"}`; market `"price_eur_per_mwh"`; weather `ghi dni dhi temp_air wind_speed`; weather forecasts
`issue_time` and `valid_time` for `time`.
Nothing is read or written here. Times are int64 [µs since 1970 UTC].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd

import features
from kinds import KINDS
from sources import Source

FAR_MS = 250_000_000_000_000  # year 9892: a message's own time is not taken for later than that
SHOWN_CHARACTERS = 80  # of a refused value in a reason

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
class Limits:
    """Bounds of the configuration, and the rule by which prices become known."""

    earliest_us: int
    ahead_us: int
    price_min_eur_per_mwh: float
    price_max_eur_per_mwh: float
    publication: str
    publication_zone: str


class Registry:
    """The known sources as arrays, so that a batch is checked at once."""

    def __init__(self, sources: Iterable[Source]):
        self.sources = list(sources)
        self.ids = [source.source_id for source in self.sources]
        self.place = {name: place for place, name in enumerate(self.ids)}
        provisional = [bool(source.parameters.get("provisional")) for source in self.sources]
        self.kinds = np.array([source.kind for source in self.sources], object)
        self.step_us = np.array(
            [
                60_000_000 * (5 if loose else source.step_min)
                for source, loose in zip(self.sources, provisional, strict=True)
            ],
            np.int64,
        )
        bounds = [
            [share * source.capacity_kw for share in KINDS[source.kind].share]
            if KINDS[source.kind].share and source.capacity_kw and not loose
            else (-np.inf, np.inf)
            for source, loose in zip(self.sources, provisional, strict=True)
        ]
        self.power_min_kw, self.power_max_kw = np.array(bounds, float).reshape(-1, 2).T


@dataclass(frozen=True)
class Decoded:
    """The well-formed records of one kind, with their places among the messages, and place and reason of the others."""

    kind: str
    names: list[str]
    columns: dict[str, np.ndarray]
    places: np.ndarray
    refused: list[tuple[int, str]]


@dataclass(frozen=True)
class Checked:
    """The outcome for one topic's messages: columns of the good ones, their places in the batch, and place and reason of the bad."""

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
    Decoded : its columns are the record's times, its numbers and `sent_at`.
    """
    decoder, refused = DECODERS[kind].decode, []
    try:
        records, places = list(map(decoder, values)), np.arange(len(values))
    except (
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # one of them is bad: look at each
        records, places = [], []
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
        places = np.array(places, np.int64)
    columns = {}
    for field in KINDS[kind].times:
        columns[field] = np.array(
            [round(getattr(record, field).timestamp() * 1e6) for record in records], np.int64
        )
    for field in KINDS[kind].value_names:
        columns[field] = np.array([getattr(record, field) for record in records], float)
    columns["sent_at"] = np.clip(np.array(sent_ms, np.int64)[places], 0, FAR_MS) * 1000
    return Decoded(kind, [record.source_id for record in records], columns, places, refused)


def check(decoded: Decoded, registry: Registry, limits: Limits, now_us: int) -> Checked:
    """Check records against the known sources.

    Parameters
    ----------
    registry : the known sources.
    now_us : time of receipt [µs since 1970 UTC].

    Returns
    -------
    Columns as `db.store_measurements` takes them, with `source` an index into `registry.ids`.
    """
    names, places, refused = decoded.names, decoded.places, list(decoded.refused)
    source = np.array([registry.place.get(name, -1) for name in names], np.int64)
    unknown = {names[place] for place in np.flatnonzero(source < 0)}
    columns = {"source": source} | decoded.columns
    good = np.ones(len(names), bool)
    for bad, reason in problems(decoded.kind, columns, registry, limits, now_us):
        refused += [
            (int(places[place]), reason(int(place), names[place]))
            for place in np.flatnonzero(bad & good)
        ]
        good &= ~bad
    columns = {name: column[good] for name, column in columns.items()}
    if "available_at" in KINDS[decoded.kind].derived:
        columns["available_at"] = _available_at(columns, registry, limits)
    return Checked(columns, places[good], refused, unknown)


def problems(kind: str, columns: dict, registry: Registry, limits: Limits, now_us: int):
    """The checks in their order, each as a mask of the bad rows and a function of row and source name that says why."""
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
        times = columns[field]
        early, late = times < limits.earliest_us, times > now_us + limits.ahead_us
        yield (
            early,
            lambda row, name, f=field, t=times: (
                f"{f} {_iso(t[row])} is before {_iso(limits.earliest_us)}"
            ),
        )
        yield (
            late,
            lambda row, name, f=field, t=times: (
                f"{f} {_iso(t[row])} is after {_iso(now_us + limits.ahead_us)}"
            ),
        )
        if field != "issue_time":
            off = times % registry.step_us[source] != 0
            yield (
                off,
                lambda row, name, f=field, t=times: (
                    f"{f} {_iso(t[row])} is not on the {registry.step_us[source[row]] // 60_000_000} min step of {name}"
                ),
            )
    if "power_kw" in columns:
        power, low, high = (
            columns["power_kw"],
            registry.power_min_kw[source],
            registry.power_max_kw[source],
        )
        yield (
            power < low,
            lambda row, name: f"power_kw {power[row]:g} is below {low[row]:g}, the least of {name}",
        )
        yield (
            power > high,
            lambda row, name: f"power_kw {power[row]:g} is above {high[row]:g}, the most of {name}",
        )
    if "price_eur_per_mwh" in columns:
        price = columns["price_eur_per_mwh"]
        low, high = limits.price_min_eur_per_mwh, limits.price_max_eur_per_mwh
        yield (
            (price < low) | (price > high),
            lambda row, name: f"price_eur_per_mwh {price[row]:g} is not within {low:g} to {high:g}",
        )
    yield (
        columns["sent_at"] > now_us + limits.ahead_us,
        lambda row, name: f"the message's own time {_iso(columns['sent_at'][row])} lies ahead",
    )
    numbers = [columns[name] for name in KINDS[kind].value_names]
    yield ~np.isfinite(numbers).all(axis=0), lambda row, name: "a number is not finite"


def _iso(microseconds: int) -> str:
    return f"{np.datetime64(int(microseconds) // 1_000_000, 's')}Z"  # also for years that datetime does not have


def _available_at(columns: dict, registry: Registry, limits: Limits) -> np.ndarray:
    """When each price became known [µs since 1970 UTC], by the local day of its source."""
    result = np.empty(len(columns["time"]), np.int64)
    for place in np.unique(columns["source"]):
        rows = columns["source"] == place
        times = pd.DatetimeIndex(columns["time"][rows].astype("M8[us]")).tz_localize("UTC")
        zone = registry.sources[place].time_zone
        known = features.price_available_at(
            times, limits.publication, limits.publication_zone, zone
        )
        result[rows] = (
            known.tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[us]").astype(np.int64)
        )
    return result
