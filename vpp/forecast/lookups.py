"""Look-ups of series and of issued weather forecasts that answer only what was available at an
origin.

Times are int64 [ns since 1970 UTC] and label the start of their interval;
`vpp/forecast/features.py` makes features of the answers.
"""

from functools import cached_property

import numpy as np
import pandas as pd

SECOND_NS, DAY_NS = 10**9, 86_400 * 10**9


def nanoseconds(times: pd.Index | pd.Series) -> np.ndarray:
    """Times as int64 [ns since 1970 UTC]."""
    return pd.DatetimeIndex(times).as_unit("ns").asi8


class Lookup:
    """Values on a regular grid that answer only what was available at an origin.

    Parameters
    ----------
    series : values on the grid, by time [UTC], NaN where missing.
    available_at : when each value became known [UTC], never earlier than the one before it.
    step : of the grid.
    """

    def __init__(
        self, series: pd.Series, available_at: pd.DatetimeIndex, step: pd.Timedelta
    ) -> None:
        self.values = series.to_numpy(dtype=float)
        self.available = nanoseconds(available_at)
        self.start, self.step = (series.index[0].value if len(series) else 0), step.value

    def at(self, times: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at times as known at origins.

        Parameters
        ----------
        times, origins : arrays that broadcast against each other [ns].

        Returns
        -------
        Values, NaN where not known; when they became known [ns], the lowest int64 where not.
        """
        place = (times - self.start) // self.step
        inside = (place >= 0) & (place < len(self.values))
        place = np.where(inside, place, 0)
        if not len(self.values):
            return np.full(times.shape, np.nan), np.full(times.shape, np.iinfo(np.int64).min)
        known = inside & (self.available[place] <= origins)
        return np.where(known, self.values[place], np.nan), np.where(
            known, self.available[place], np.iinfo(np.int64).min
        )

    def newest(self, origins: np.ndarray) -> np.ndarray:
        """Position of the newest value known at each origin [ns]; -1 for none."""
        return np.searchsorted(self.available, origins, side="right") - 1


class WeatherForecasts:
    """Issued forecasts, ordered once, that answer what was known at an origin.

    Parameters
    ----------
    frame : issue_time and valid_time [UTC], and a column for each quantity.
    step : of the series that they are looked up for.
    """

    def __init__(self, frame: pd.DataFrame, step: pd.Timedelta) -> None:
        self.columns = [name for name in frame.columns if name not in ("issue_time", "valid_time")]
        issued, valid = nanoseconds(frame["issue_time"]), nanoseconds(frame["valid_time"])
        values = frame[self.columns].to_numpy(dtype=float)
        later, same = np.diff(issued) > 0, np.diff(issued) == 0
        if not np.all(later | (same & (np.diff(valid) > 0))):  # the database gives them in order
            order = np.lexsort((valid, issued))
            issued, valid, values = issued[order], valid[order], values[order]
        self.values = values
        self.issues, self.starts, number = np.unique(issued, return_index=True, return_inverse=True)
        self.lasts = np.append(self.starts[1:], len(issued)) - 1
        following = valid[np.minimum(self.starts + 1, self.lasts)] - valid[self.starts]
        self.steps = np.where(self.lasts > self.starts, following, step.value)
        self.points, self.half_step = valid + self.steps[number] // 2, step.value // 2
        # one ascending key for all issues finds the points on both sides
        self.low = self.points.min()
        self.span = (self.points.max() - self.low) // SECOND_NS + 1
        self.keys = number * self.span + (self.points - self.low) // SECOND_NS

    @cached_property
    def overlap(self) -> bool:
        """Whether an issue begins before the one before it ends."""
        return bool((self.points[self.starts[1:]] <= self.points[self.lasts[:-1]]).any())

    def newest(self, origins: pd.DatetimeIndex) -> np.ndarray:
        """Number of the newest issue known at each origin [UTC]; -1 for none."""
        return np.searchsorted(self.issues, nanoseconds(origins), side="right") - 1

    def at(self, issue: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values in the middle of intervals, by one issue each.

        Beyond the end of an issue the same hour of its last day stands in.

        Parameters
        ----------
        issue : number of the issue of each interval; below 0 for none.
        times : starts of the intervals [ns].

        Returns
        -------
        Values (interval × column), NaN without an issue; whether the issue reaches so far.
        """
        issue = np.maximum(issue, -1)  # which takes any, and becomes NaN in the end
        start, last = self.starts[issue], self.lasts[issue]
        middle = times + self.half_step
        beyond = middle - self.points[last] - self.steps[issue]
        middle = np.where(beyond > 0, middle + (-beyond // DAY_NS) * DAY_NS, middle)
        inside = np.clip((middle - self.low) // SECOND_NS, 0, self.span - 1)
        left = np.clip(
            np.searchsorted(self.keys, issue * self.span + inside, side="right") - 1, start, last
        )
        right = np.minimum(left + 1, last)
        part = np.clip(
            (middle - self.points[left]) / np.maximum(self.points[right] - self.points[left], 1),
            0,
            1,
        )[:, None]
        values = np.where(
            issue[:, None] >= 0, self.values[left] * (1 - part) + self.values[right] * part, np.nan
        )
        return values, (issue >= 0) & (beyond <= 0)
