"""Features of forecasts that others issue: a grid operator's load, wind and sun, a provider's price
or weather.

Of each the newest value for an interval that was known at the origin counts, and where several
issues reach it the mean of the newest as well. A value that nobody had issued by then is missing.
For prices the residual load (load - wind - sun) and its extremes of the local day are features too.

Times are UTC and label the start of their interval.

    python -c "from vpp.forecast.external import External; help(External)"
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vpp.forecast.lookups import SECOND_NS, nanoseconds
from vpp.site.times import DAY, from_local, local_days

LOWEST_NS = np.iinfo(np.int64).min
ISSUES = 6  # of one interval, averaged
PREFIX, RESIDUAL = "forecast_", "residual_load"
SIGNS = {"load": 1.0, "wind": -1.0, "solar": -1.0, "renewables": -1.0}  # in the residual load


@dataclass(frozen=True)
class External:
    """A forecast that others issue.

    Parameters
    ----------
    name : its source_id.
    quantity : load, wind, solar, renewables, price, or any other.
    step_min : of its valid times [min].
    frame : issue_time, from which a value is at hand, valid_time [UTC] and value.
    """

    name: str
    quantity: str
    step_min: int
    frame: pd.DataFrame

    @cached_property
    def issues(self) -> "Issues":
        """Its values, ordered to be looked up."""
        return Issues(self.frame, self.step_min)

    @property
    def feature(self) -> str:
        """Name of its feature."""
        return f"{PREFIX}{self.name}"

    def known_at(
        self, issue_time: pd.Timestamp, since: pd.Timestamp | None = None
    ) -> "External | None":
        """The values that are at hand at an issue time; None for none.

        Parameters
        ----------
        issue_time : now [UTC].
        since : the first valid time that counts [UTC]; None for all.
        """
        keep = (self.frame["issue_time"] <= issue_time).to_numpy()
        if since is not None:
            keep = keep & (self.frame["valid_time"] >= since).to_numpy()
        if not keep.any():
            return None
        return External(self.name, self.quantity, self.step_min, self.frame[keep])

    def with_step(self, step_min: int) -> "External":
        """Means over a longer step; as it is where its own is not shorter.

        Parameters
        ----------
        step_min : wanted [min].
        """
        if self.step_min >= step_min:
            return self
        times = self.frame["valid_time"].dt.floor(f"{step_min}min")
        mean = self.frame.assign(valid_time=times).groupby(
            ["issue_time", "valid_time"], as_index=False
        )
        return External(self.name, self.quantity, step_min, mean["value"].mean())


class Issues:
    """Values by interval and issue, which answer what was known at an origin.

    Parameters
    ----------
    frame : issue_time, valid_time [UTC] and value.
    step_min : of the intervals [min].
    """

    def __init__(self, frame: pd.DataFrame, step_min: int) -> None:
        self.step = step_min * 60 * SECOND_NS
        issued = nanoseconds(frame["issue_time"]) // SECOND_NS
        interval = nanoseconds(frame["valid_time"]) // self.step
        order = np.lexsort((issued, interval))
        self.values = frame["value"].to_numpy(dtype=float)[order]
        self.issued, self.interval = issued[order], interval[order]
        self.low, self.first = self.issued.min(), self.interval[0]
        self.span = self.issued.max() - self.low + 2
        self.keys = (self.interval - self.first) * self.span + self.issued - self.low

    @cached_property
    def overlap(self) -> bool:
        """Whether an interval has several issues."""
        return bool((np.diff(self.interval) == 0).any())

    def at(
        self, origins: np.ndarray, times: np.ndarray, most: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The newest values for intervals that were issued by the origins.

        Parameters
        ----------
        origins, times : of each pair [ns].
        most : issues of each.

        Returns
        -------
        Values (issue × pair), the newest first, NaN where there is none; when the newest was issued
        [ns], the lowest int64 where there is none.
        """
        interval = times // self.step
        by = np.clip(origins // SECOND_NS - self.low, -1, self.span - 1)
        last = np.searchsorted(self.keys, (interval - self.first) * self.span + by, side="right")
        places = last[None, :] - 1 - np.arange(most)[:, None]
        inside = np.maximum(places, 0)
        there = (places >= 0) & (self.interval[inside] == interval)
        values = np.where(there, self.values[inside], np.nan)
        return values, np.where(there[0], self.issued[inside[0]] * SECOND_NS, LOWEST_NS)


Features = dict[str, tuple[np.ndarray, np.ndarray | None]]


def external_features(
    external: tuple[External, ...],
    kind: str,
    zone: str,
    origins: pd.DatetimeIndex,
    times: pd.DatetimeIndex,
) -> Features:
    """Features of (origin, valid time) pairs, each with the time from which it was known [ns].

    Parameters
    ----------
    external : the forecasts.
    kind : of the source that is forecast.
    zone : of local days.
    origins, times : of each pair [UTC].
    """
    started, wanted, found = nanoseconds(origins), nanoseconds(times), Features()
    for item in external:
        values, when = item.issues.at(started, wanted, ISSUES if item.issues.overlap else 1)
        found[item.feature] = values[0], when
        if item.issues.overlap:
            number = (~np.isnan(values)).sum(axis=0)
            total = np.nan_to_num(values).sum(axis=0)
            mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
            found[f"{item.feature}_mean"] = mean, when
    if kind == "market" and has_residual(external):
        found |= _residual_features(external, zone, started, times)
    return found


def has_residual(external: tuple[External, ...]) -> bool:
    """Whether there are a load and what is taken from it."""
    there = {item.quantity for item in external}
    return "load" in there and len(there & set(SIGNS)) > 1


def residual_load(
    external: tuple[External, ...], origins: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Load - wind - sun as known at the origins, NaN where one of them is not; several of a
    quantity are added, as those of onshore and offshore wind.

    Parameters
    ----------
    external : the forecasts.
    origins, times : of each pair [ns].

    Returns
    -------
    Residual load; from when it was known [ns].
    """
    total, known = np.zeros(len(times)), np.full(len(times), LOWEST_NS)
    for item in external:
        if item.quantity in SIGNS:
            values, when = item.issues.at(origins, times)
            total = total + SIGNS[item.quantity] * values[0]
            known = np.maximum(known, when)
    return total, known


def _residual_features(
    external: tuple[External, ...], zone: str, origins: np.ndarray, times: pd.DatetimeIndex
) -> Features:
    """The residual load, and the least, mean and most of the intervals of its local day: those of
    the finest feed, in each of which a longer interval of another has its one value.
    """
    residual, when = residual_load(external, origins, nanoseconds(times))
    names, day = np.unique(local_days(times, zone), return_inverse=True)
    days = pd.DatetimeIndex(names)
    starts, ends = (from_local(each, zone).asi8 for each in (days, days + DAY))
    pairs, place = np.unique(np.stack([origins, day]), axis=1, return_inverse=True)
    step_min = min(60, *(item.step_min for item in external if item.quantity in SIGNS))
    number = 25 * 60 // step_min
    intervals = np.arange(number) * step_min * 60 * SECOND_NS
    within = starts[pairs[1]][:, None] + intervals
    there = within < ends[pairs[1]][:, None]
    values, known = residual_load(external, np.repeat(pairs[0], number), within.ravel())
    values = np.where(there, values.reshape(within.shape), np.nan)
    known = np.where(there, known.reshape(within.shape), LOWEST_NS).max(axis=1)
    count = (~np.isnan(values)).sum(axis=1)
    whole = count >= there.sum(axis=1) * 0.75  # of a day that is mostly unknown nothing is said
    low = np.where(whole, np.nanmin(np.where(np.isnan(values), np.inf, values), axis=1), np.nan)
    high = np.where(whole, np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=1), np.nan)
    mean = np.where(whole, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)
    of_day = known[place.ravel()]
    return {RESIDUAL: (residual, when)} | {
        f"{RESIDUAL}_{name}": (each[place.ravel()], of_day)
        for name, each in (("min", low), ("mean", mean), ("max", high))
    }


def is_external(name: str) -> bool:
    """Whether a feature is of a forecast that others issue."""
    return name.startswith((PREFIX, RESIDUAL))
