"""Look-ups of series and of issued weather forecasts that answer only what was available at an
origin.

Times are int64 [ns since 1970 UTC] and label the start of their interval. `features.py` makes
features of the answers.

    python -c "import lookups; print(lookups.WeatherForecasts.__doc__)"
"""

from functools import cached_property

import numpy as np
import pandas as pd

SECOND_NS, DAY_NS = 10**9, 86_400 * 10**9


def nanoseconds(times) -> np.ndarray:
    """Times as int64 [ns since 1970 UTC]."""
    return pd.DatetimeIndex(times).as_unit("ns").asi8


class Lookup:
    """Values on a regular grid that answer only what was available at an origin."""

    def __init__(self, series: pd.Series, available_at: pd.DatetimeIndex, step: pd.Timedelta):
        self.values = series.to_numpy(dtype=float)
        self.available = nanoseconds(available_at)
        self.start, self.step = (series.index[0].value if len(series) else 0), step.value

    def at(self, times: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at times as known at origins (NaN where not), and when they became known.

        All times in ns.
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
        """Position of the newest value known at each origin; -1 for none."""
        return np.searchsorted(self.available, origins, side="right") - 1


class WeatherForecasts:
    """Issued forecasts, ordered once, that answer what was known at an origin."""

    def __init__(self, frame: pd.DataFrame, step: pd.Timedelta):
        self.columns = [name for name in frame.columns if name not in ("issue_time", "valid_time")]
        issued, valid, values = (
            nanoseconds(frame["issue_time"]),
            nanoseconds(frame["valid_time"]),
            frame[self.columns].to_numpy(dtype=float),
        )
        if not np.all(
            (np.diff(issued) > 0) | ((np.diff(issued) == 0) & (np.diff(valid) > 0))
        ):  # the database gives them in order
            order = np.lexsort((valid, issued))
            issued, valid, values = issued[order], valid[order], values[order]
        self.values = values
        self.issues, self.starts, number = np.unique(issued, return_index=True, return_inverse=True)
        self.lasts = np.append(self.starts[1:], len(issued)) - 1
        following = valid[np.minimum(self.starts + 1, self.lasts)] - valid[self.starts]
        self.steps = np.where(self.lasts > self.starts, following, step.value)
        self.points, self.half_step = valid + self.steps[number] // 2, step.value // 2
        # one ascending key for all issues finds the points on both sides
        self.low, self.span = (
            self.points.min(),
            (self.points.max() - self.points.min()) // SECOND_NS + 1,
        )
        self.keys = number * self.span + (self.points - self.low) // SECOND_NS

    @cached_property
    def overlap(self) -> bool:
        """Whether an issue begins before the one before it ends."""
        return bool((self.points[self.starts[1:]] <= self.points[self.lasts[:-1]]).any())

    def newest(self, origins: pd.DatetimeIndex) -> np.ndarray:
        """Number of the newest issue known at each origin; below 0 for none."""
        return np.searchsorted(self.issues, nanoseconds(origins), side="right") - 1

    def at(self, issue: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values in the middle of intervals [ns] by the issues of these numbers, NaN below 0, and
        whether an issue reaches so far.

        Beyond the end of an issue the same hour of its last day stands in.
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
