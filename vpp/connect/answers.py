"""Answers of providers: fields taken out with their checks, and what is made of them.

python sources.py fetch energy-charts --area DE-LU --from 2025-01-01 --to 2025-01-31
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vpp.connect.web import Web
from vpp.runtime.settings import Site
from vpp.runtime.tables import shown
from vpp.site.kinds import KINDS
from vpp.site.sources import FETCHED, STEPS_MIN, Source
from vpp.site.times import day_before, local_days

ISSUED_LOCAL = "18:00"  # of the day before: when day-ahead forecasts have to be published
MINUTE_NS = 60 * 10**9


@dataclass(frozen=True)
class Wanted:
    """A request for data.

    Parameters
    ----------
    start, end : the span [UTC], without its end.
    site : that the sources belong to; gives place, zone and the default of the area.
    area : bidding zone, country, region or tariff, as the provider names it.
    now : of the request [UTC].
    options : more words of the provider, such as the tilt of a plant.
    """

    start: pd.Timestamp
    end: pd.Timestamp
    site: Site
    area: str
    now: pd.Timestamp
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fetched:
    """A series as fetched.

    Parameters
    ----------
    source : it belongs to; its parameters state licence and attribution.
    kind : of its rows, a name of `vpp.site.kinds.KINDS`.
    rows : the times of the kind [UTC], then its values, in the units of the kind.
    notes : for the operator.
    """

    source: Source
    kind: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()


def take(web: Web, answer: Any, *path: str) -> Any:
    """A field of an answer.

    Parameters
    ----------
    web : the provider, for the message.
    answer : as JSON.
    path : names of the field, and of those around it.

    Raises
    ------
    ProviderError : it is missing.
    """
    found = answer
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            has = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise web.refusal(
                f"the answer has no field {'.'.join(path)} (it has: {has[:200]}); its format has "
                "changed, or the request is not served"
            )
        found = found[name]
    return found


def numbers(web: Web, values: Any, name: str) -> np.ndarray:
    """A list of numbers or nulls of an answer.

    Parameters
    ----------
    web : the provider, for the message.
    values : the list.
    name : of the field.

    Returns
    -------
    The numbers; NaN for a null.

    Raises
    ------
    ProviderError : it is no list of numbers.
    """
    right = isinstance(values, list) and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    )
    if not right:
        raise web.refusal(f"the answer's {name} is no list of numbers; its format has changed")
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def as_times(web: Web, values: Any, name: str, unit: str = "s") -> pd.DatetimeIndex:
    """A list of epoch times of an answer.

    Parameters
    ----------
    web : the provider, for the message.
    values : the list.
    name : of the field.
    unit : s or ms.

    Returns
    -------
    The times [UTC].

    Raises
    ------
    ProviderError : it is no list of times.
    """
    found = numbers(web, values, name)
    if np.isnan(found).any():
        raise web.refusal(f"the answer's {name} has an empty time; its format has changed")
    return pd.to_datetime(found.astype("int64"), unit=unit, utc=True)


def series(
    web: Web, times: pd.DatetimeIndex, values: np.ndarray, wanted: Wanted, name: str
) -> pd.Series:
    """Values by time within the wanted span: sorted, without holes' empty values.

    Parameters
    ----------
    web : the provider, for the message.
    times, values : as answered, one for one.
    wanted : names the span.
    name : of the values.

    Raises
    ------
    ProviderError : there are more times than values, two values of one time, or none at all.
    """
    if len(times) != len(values):
        raise web.refusal(f"{len(times)} times but {len(values)} values of {name}")
    found = pd.Series(values, times).dropna()
    found = found[(found.index >= wanted.start) & (found.index < wanted.end)].sort_index()
    twice = found.index[found.index.duplicated(keep=False)]
    if len(twice):
        first = twice[0]
        both = found[[first]]
        if (found.groupby(level=0).nunique() > 1).any():
            raise web.refusal(
                f"{name} has two values at {shown(first)}: {both.iloc[0]:g} and {both.iloc[1]:g}"
            )
        found = found[~found.index.duplicated()]
    if not len(found):
        raise web.refusal(f"no {name} from {shown(wanted.start)} to {shown(wanted.end)}")
    return found


def step_of(web: Web, times: pd.DatetimeIndex, name: str) -> int:
    """The step of a series [min]: the usual distance of its times.

    Parameters
    ----------
    web : the provider, for the message.
    times : sorted.
    name : of the values.

    Raises
    ------
    ProviderError : its times are no multiple of one step.
    """
    if len(times) < 2:
        return 60
    apart = np.diff(times.asi8) // MINUTE_NS
    step = int(np.bincount(apart[apart <= 60]).argmax()) if (apart <= 60).any() else 60
    if step not in STEPS_MIN or (apart % step).any():
        raise web.refusal(f"{name} has steps of {sorted(set(apart.tolist()))[:5]} min")
    return step


def steps(
    web: Web, values: pd.Series, wanted: Wanted, name: str, hold: bool = False
) -> tuple[pd.Series, int, tuple[str, ...]]:
    """A series on one step: its finest, which a longer interval's value holds for.

    Parameters
    ----------
    web : the provider, for messages.
    values : sorted by time.
    wanted : names the span.
    name : of the values.
    hold : whether the step of a price may change inside the series, so that each value holds for
        the step around it.

    Returns
    -------
    The series, its step [min], and a note on holes.
    """
    if hold:
        found, step = _held(values)
    else:
        found, step = values, step_of(web, pd.DatetimeIndex(values.index), name)
    whole = len(pd.date_range(found.index[0], found.index[-1], freq=f"{step}min"))
    missing = whole - len(found)
    note = f"{name}: {missing} of {whole} intervals are missing" if missing else ""
    return found, step, (note,) if note else ()


def _held(values: pd.Series) -> tuple[pd.Series, int]:
    """Prices on the finest step, each held as long as the step around it."""
    minutes = pd.Series(pd.DatetimeIndex(values.index).asi8 // MINUTE_NS)
    before = minutes.diff().where(lambda apart: apart <= 60)
    # a hole on one side does not make an interval longer
    own = pd.concat([before, before.shift(-1)], axis=1).min(axis=1).fillna(60).astype(int)
    step = int(own.min())
    parts = (own // step).to_numpy()
    inside = np.concatenate([np.arange(part) for part in parts]) * step
    at = (np.repeat(minutes.to_numpy(), parts) + inside) * MINUTE_NS
    return pd.Series(np.repeat(values.to_numpy(), parts), pd.to_datetime(at, utc=True)), step


def source(
    wanted: Wanted, kind: str, source_id: str, name: str, step_min: int, **parameters: Any
) -> Source:
    """A source of the wanted site.

    Parameters
    ----------
    wanted : names the site.
    kind : of its rows.
    source_id, name : its names.
    step_min : its step [min].
    **parameters : more of it, such as licence and attribution; `capacity_kw` is its capacity [kW].
    """
    capacity = parameters.pop("capacity_kw", None)
    return Source(
        source_id=source_id,
        kind=KINDS[kind].source_kind,
        name=name,
        site_id=wanted.site.site_id,
        capacity_kw=capacity,
        step_min=step_min,
        latitude=wanted.site.latitude,
        longitude=wanted.site.longitude,
        time_zone=wanted.site.time_zone,
        parameters={"origin": FETCHED} | parameters,
    )


def one_value(source: Source, values: pd.Series, notes: Sequence[str] = ()) -> Fetched:
    """A fetched series of a kind with one value.

    Parameters
    ----------
    source : it belongs to.
    values : by time [kW or EUR/MWh].
    notes : for the operator.
    """
    column = KINDS[source.kind].value
    rows = pd.DataFrame({"time": values.index, column: values.to_numpy()})
    return Fetched(source, source.kind, rows, tuple(notes))


def market(web: Web, wanted: Wanted, prices: pd.Series, terms: Mapping[str, str]) -> Fetched:
    """The prices of the wanted area as a market source.

    Parameters
    ----------
    web : the provider, for messages.
    wanted : names site and area.
    prices : by time [EUR/MWh]; each holds for the step around it.
    terms : licence and attribution.
    """
    held, step, notes = steps(web, prices, wanted, "price", hold=True)
    name, area = f"Price {wanted.area}", wanted.area
    made = source(wanted, "market", price_id(area), name, step, price_area=area, **terms)
    return one_value(made, held, notes)


def power(
    web: Web, wanted: Wanted, kind: str, region: str, power_kw: pd.Series, terms: Mapping[str, str]
) -> Fetched:
    """The power of a region as a load, solar or wind source, with its largest as capacity.

    Parameters
    ----------
    web : the provider, for messages.
    wanted : names the site.
    kind : load, solar or wind.
    region : country or bidding zone.
    power_kw : by time [kW].
    terms : licence and attribution.
    """
    values, step, notes = steps(web, power_kw, wanted, kind)
    name, capacity_kw = f"{kind.capitalize()} of {region.upper()}", float(values.abs().max())
    made = source(wanted, kind, f"{kind}-{region}", name, step, capacity_kw=capacity_kw, **terms)
    return one_value(made, values, notes)


def day_ahead(
    web: Web, wanted: Wanted, kind: str, region: str, power_kw: pd.Series, terms: Mapping[str, str]
) -> Fetched:
    """The day-ahead forecast of a region's power, each value issued on the local day before.

    Parameters
    ----------
    web : the provider, for messages.
    wanted : names the site, whose local days they are.
    kind : load, solar or wind.
    region : country or bidding zone.
    power_kw : by valid time [kW].
    terms : licence and attribution.

    Returns
    -------
    Of a source that is a regressor of the region's power and of the price of the area.
    """
    zone, name = wanted.site.time_zone, f"Day-ahead forecast of {kind}, {region.upper()}"
    found, step, notes = steps(web, power_kw, wanted, name)
    made = source(
        wanted,
        "forecast",
        f"{kind}-forecast-{region}",
        name,
        step,
        quantity=kind,
        unit="kW",
        regressor_of=[f"{kind}-{region}", price_id(wanted.area)],
        **terms,
    )
    index = pd.DatetimeIndex(found.index)
    issue = day_before(local_days(index, zone), ISSUED_LOCAL, zone)
    rows = pd.DataFrame({"issue_time": issue, "valid_time": index, "value": found.to_numpy()})
    return Fetched(made, "forecast", rows, notes)


def price_id(area: str) -> str:
    """The id of the market source of an area."""
    return f"price-{slug(area)}"


def slug(area: str) -> str:
    """An area as a part of an id: DE_LU becomes de-lu."""
    return area.lower().replace("_", "-")
