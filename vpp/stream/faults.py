"""The checks of records: which are good, and in words what is wrong with each of the others.

    python -c "from vpp.stream import faults; print(*faults.REASONS, sep='\\n')"

Columns of times are int64 [µs since 1970 UTC]. Nothing is read or written here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.runtime.words import in_one_line
from vpp.site.kinds import KINDS, Column
from vpp.site.sources import Source

SHOWN_CHARACTERS = 80  # of a refused value in a reason
MINUTE_US = 60_000_000
PROVISIONAL_STEP_MIN = 5  # of a source that sources.csv does not state yet

# The bad rows as a mask, and a function of row and source name that says what is wrong.
Fault = tuple[np.ndarray, Callable[[int, str], str]]

# kind of a reason, the words that tell it; metrics and warnings count by it
REASONS = (
    ("empty message", "empty message"),
    ("null message", "null message"),
    ("not JSON", "not JSON"),
    ("wrong field", "wrong field"),
    ("wrong field", "unknown field"),
    ("wrong field", " is missing"),
    ("unknown battery", " is unknown; expected"),
    ("unknown source", "unknown source"),
    ("wrong kind", " is of kind "),
    ("wrong key", "the key of the message"),
    ("off the step", "is not on the"),
    ("too early", " is before "),
    ("too late", " is after "),
    ("too late", " is ahead of "),
    ("out of bounds", " is below "),
    ("out of bounds", " is above "),
    ("out of bounds", " is not within "),
    ("not finite", "not finite"),
    ("out of bounds", ": expected "),
    ("out of bounds", "expected that they agree"),
    ("by the database", "refused by the database"),
)


def reason_kind(reason: str) -> str:
    """The kind of reason for which a message is refused, such as `off the step`."""
    return next((name for name, words in REASONS if words in reason), "other")


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
    needs_key : whether a message's key must be its source_id.
    """

    earliest_us: int
    ahead_us: int
    price_min_eur_per_mwh: float
    price_max_eur_per_mwh: float
    publication: str
    publication_zone: str
    needs_key: bool = True


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


def is_provisional(source: Source) -> bool:
    """Whether a source was registered from the stream, and sources.csv does not state it yet."""
    return bool(source.parameters.get("provisional"))


def _step_min(source: Source) -> int:
    return PROVISIONAL_STEP_MIN if is_provisional(source) else source.step_min


def _power_bounds(source: Source) -> tuple[float, float]:
    """The least and the largest power [kW] of a source."""
    share = KINDS[source.kind].share
    if share is None or not source.capacity_kw or is_provisional(source):
        return -np.inf, np.inf
    return share[0] * source.capacity_kw, share[1] * source.capacity_kw


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
    numbers = np.array([columns[name] for name in KINDS[kind].value_names])
    yield ~np.isfinite(numbers).all(axis=0), lambda row, name: "a number is not finite"
    for column in KINDS[kind].values:
        yield _physical_fault(column, columns[column.name])


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


def _physical_fault(column: Column, values: np.ndarray) -> Fault:
    bounds = f"{column.least:g} to {column.most:g} {column.unit}"
    return (
        (values < column.least) | (values > column.most),
        lambda row, name: f"{column.name} {values[row]:g} is not within {bounds}",
    )


def key_fault(keys: Sequence[bytes | None], names: Sequence[str]) -> Fault:
    """The check that a message's key is its source.

    Another key keeps its messages in no order, or in that of another source.

    Parameters
    ----------
    keys : of the messages.
    names : their sources.
    """

    def reason(row: int, name: str) -> str:
        return key_reason(keys[row], name, "source_id")

    encoded = {name: name.encode(errors="replace") for name in set(names)}
    pairs = zip(keys, names, strict=True)
    return np.array([key != encoded[name] for key, name in pairs], bool), reason


def key_reason(key: bytes | None, name: str, field: str) -> str:
    """In words: the key of a message is not the name that it must be.

    Parameters
    ----------
    key : of the message.
    name : as the message states it.
    field : where it states it.
    """
    shown = "there is none" if key is None else f"it is {in_one_line(_text(key))!r}"
    return f"the key of the message must be its {field} {name[:SHOWN_CHARACTERS]!r}; {shown}"


def _text(key: bytes) -> str:
    return key[:SHOWN_CHARACTERS].decode("utf-8", "replace")


def _iso(microseconds: int) -> str:
    # numpy also has the years that datetime does not have.
    return f"{np.datetime64(int(microseconds) // 1_000_000, 's')}Z"
