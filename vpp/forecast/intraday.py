"""The next hours by the newest measurements: how long an error of a forecast lasts.

The error that a forecast of some hours ago has made by now lasts on for a while. How much of it is
left after so many hours is learned from the errors of past forecasts (a regression for each lead),
and so is the width that is left to the band. Of a solar plant errors count by the height of the
sun, and the rest of the day starts from the forecast that was issued in it at the time of day of
the fit; published prices and nights stay as they are.

Times are UTC and label the start of their interval. Power in kW.

    python -c "from vpp.forecast.intraday import Intraday; help(Intraday)"
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vpp.forecast.calibration import is_given, possible, size_of_errors
from vpp.forecast.known import Known, ends_of
from vpp.forecast.quantiles import COLUMNS
from vpp.forecast.stale import inputs_of
from vpp.site.sources import Source
from vpp.site.times import DAY, local_days

BASE_H = 3  # the forecast whose error is looked at was issued so long before, at least
RECENT_H = 1  # of its newest errors, averaged
REACH_H = 12  # hours that are updated
FEWEST_DAYS = 1  # of past forecasts that count half
LOWEST = 0.02  # less of an error is nothing
LOWEST_SUN = 0.1  # sine of the elevation, below which an error of a solar plant says nothing


@dataclass(frozen=True)
class Intraday:
    """The part of a forecast's newest error that is left, by lead.

    Parameters
    ----------
    left : share of the error that is expected so many intervals later [fractions].
    width : of the band that is left then [fractions].
    """

    left: np.ndarray
    width: np.ndarray

    def asks(
        self, known: Known, times: pd.DatetimeIndex, fitted_at: pd.Timestamp
    ) -> tuple[Known, pd.DatetimeIndex] | None:
        """The forecast of some hours ago that the update needs beside the new one.

        Parameters
        ----------
        known : what is known at the issue time.
        times : of the new forecast [UTC].
        fitted_at : issue time of the fit [UTC]; its errors were learned at this time of day.

        Returns
        -------
        The source as known then, and the times to forecast [UTC]: the newest measured ones, then
        the next hours. None where nothing was measured of late, or other inputs were known.
        """
        since = (known.issue_time - fitted_at) % DAY
        if since < pd.Timedelta(hours=BASE_H):
            since += DAY
        base = as_of(known, known.issue_time - since)
        if base.targets.empty or inputs_of(base) != inputs_of(known):
            return None
        recent = self._recent(known, base.issue_time).index
        ahead = times[: len(self.left)]
        return (base, pd.DatetimeIndex(recent).append(ahead)) if len(recent) else None

    def _recent(self, known: Known, since: pd.Timestamp) -> pd.Series:
        newest = known.targets[known.targets.index >= since]
        return newest[newest.index > known.targets.index[-1] - pd.Timedelta(hours=RECENT_H)]

    def update(
        self,
        frame: pd.DataFrame,
        known: Known,
        asked: tuple[Known, pd.DatetimeIndex],
        earlier: np.ndarray,
    ) -> pd.DataFrame:
        """A forecast with its next hours brought up to date.

        Parameters
        ----------
        frame : of a model, from the issue time on [kW].
        known : what is known at the issue time.
        asked : of `asks`.
        earlier : the model's own forecast of then for these times, before limits: rows of value
            and quantiles [kW].
        """
        base, times = asked
        newest = self._recent(known, base.issue_time)
        recent, count = pd.DatetimeIndex(newest.index), min(len(frame), len(self.left))
        late = int((known.issue_time - recent[-1]) / known.step) - 1
        values = possible(earlier[:, 0], known.source)
        size = size_of_errors(known.source, times)[:, 0]
        lit = size[: len(recent)] >= LOWEST_SUN
        error = (newest.to_numpy() - values[: len(recent)]) / size[: len(recent)]
        lead = np.arange(count) + late
        there = (lead < len(self.left)) & ~is_given(frame)[:count] & lit.any()
        place = np.minimum(lead, len(self.left) - 1)
        left = np.where(there, self.left[place], 0.0)
        width = np.where(there, self.width[place], 1.0)[:, None]
        left_error = left * (error[lit].mean() if lit.any() else 0.0) * size[len(recent) :]
        rows = frame[list(COLUMNS)].to_numpy(copy=True)
        value = rows[:count, :1]
        # the more an error lasts, the more the forecast that was seen to make it counts
        weight = np.sqrt(left)
        if known.source.kind == "solar":
            # hours of the sun are learned at the time of day of the fit: what is known at another
            # one tells of them worse
            morning = pd.DatetimeIndex([base.issue_time])
            ahead = local_days(times[len(recent) :], known.zone)
            today = ahead == local_days(morning, known.zone)[0]
            weight = np.where(there & today, 1.0, weight)
        shift = weight * (values[len(recent) :] + left_error - value[:, 0])
        rows[:count] = value + (rows[:count] - value) * width + shift[:, None]
        changed = weight > np.sqrt(LOWEST)
        rows[:count][changed] = possible(rows[:count][changed], known.source)
        rows[:count][~changed] = frame[list(COLUMNS)].to_numpy()[:count][~changed]
        return frame.assign(**dict(zip(COLUMNS, rows.T, strict=True)))


def intraday_of(backtest: pd.DataFrame, source: Source) -> Intraday | None:
    """The correction that errors of past forecasts teach; None for prices, and for too few of them.

    Parameters
    ----------
    backtest : rows of a model, not calibrated.
    source : of the rows.
    """
    if source.kind == "market" or backtest.empty:
        return None
    per_hour = 60 / source.step_min
    recent, reach = max(1, int(RECENT_H * per_hour)), int(REACH_H * per_hour)
    times = pd.DatetimeIndex(backtest["valid_time"])
    size = size_of_errors(source, times)[:, 0]
    error = (backtest["actual"] - backtest["value"]).to_numpy() / size
    error = np.where(is_given(backtest) | (size < LOWEST_SUN), np.nan, error)
    products, squares, variance, number = (np.zeros(reach) for _ in range(4))
    days = 0
    for rows in backtest.groupby("issue_time").indices.values():
        of_origin = error[rows]
        if np.isfinite(of_origin).sum() <= recent:
            continue
        days += 1
        mean = pd.Series(of_origin).rolling(recent).mean().to_numpy()
        for lead in range(min(reach, len(rows) - 1)):
            now, later = mean[: len(rows) - 1 - lead], of_origin[lead + 1 :]
            both = np.isfinite(now) & np.isfinite(later)
            products[lead] += now[both] @ later[both]
            squares[lead] += now[both] @ now[both]
            variance[lead] += later[both] @ later[both]
            number[lead] += both.sum()
    if not days or not (squares > 0).any():
        return None
    trust = days / (days + FEWEST_DAYS)
    left = trust * np.clip(products / np.maximum(squares, 1e-12), 0.0, 1.0)
    left = np.minimum.accumulate(np.where(number > 0, left, 0.0))
    kept = variance - 2 * left * products + left**2 * squares
    width = np.sqrt(np.clip(kept / np.maximum(variance, 1e-12), 0.05, 1.0))
    return Intraday(left, np.where(number > 0, width, 1.0))


def as_of(known: Known, issue_time: pd.Timestamp) -> Known:
    """The same source as it was known earlier.

    Parameters
    ----------
    known : what is known.
    issue_time : an earlier time [UTC].
    """
    count = int(known.available_at.searchsorted(issue_time, side="right"))
    weather, others = known.weather_forecasts, known.others
    if weather is not None:
        weather = weather[weather["issue_time"] <= issue_time]
    if others is not None:
        ends = ends_of(pd.DatetimeIndex(others.index), known.step, known.others_step_min)
        others = others[ends + known.measurement_delay <= issue_time]
    external = [item.known_at(issue_time) for item in known.external]
    return replace(
        known,
        issue_time=issue_time,
        series=known.series.iloc[:count],
        filled=known.filled[:count],
        available_at=known.available_at[:count],
        weather_forecasts=weather if weather is not None and len(weather) else None,
        others=others if others is not None and len(others) else None,
        external=tuple(item for item in external if item is not None),
    )
