"""Forecasts from many issue times in one table: the figures of one after the other, in less time.

Features carry when they became known, so that rows of one table may have origins of their own. What
is known at the last origin then does for all of them, where nothing that was known at an earlier
one has been replaced or taken away since.

Times are UTC. Power in kW, price in EUR/MWh.

    python -c "from vpp.forecast.together import forecasts_from; help(forecasts_from)"
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from vpp.forecast.external import External
from vpp.forecast.intraday import as_of
from vpp.forecast.known import LAG_DAYS, Known, SourceData, known_at
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.model import ForecastModel, within_limits
from vpp.forecast.models.naive import FARTHEST_WEEKS, weeks_before
from vpp.forecast.quantiles import COLUMNS, FLAGS
from vpp.forecast.stale import inputs_of
from vpp.forecast.sun import under_the_sun
from vpp.site.times import DAY

MOST_ROWS = 20_000  # in one table
REACH_DAYS = LAG_DAYS + 7 * FARTHEST_WEEKS  # that a feature looks back, at most


def forecasts_from(
    model: ForecastModel,
    known: Known,
    issue_times: Sequence[pd.Timestamp],
    counts: Sequence[int],
) -> pd.DataFrame:
    """The forecasts of a model from several issue times.

    Parameters
    ----------
    model : fitted, and not calibrated; it has `forecast_pairs`.
    known : what is known at the last of the issue times.
    issue_times : in their order [UTC].
    counts : intervals from each.

    Returns
    -------
    Columns issue_time, valid_time [UTC]; value, q05 … q95; published, dark; naive (last week's same
    local hour, or the published price) [kW or EUR/MWh].
    """
    issued = nanoseconds(pd.DatetimeIndex(issue_times))
    ahead = np.concatenate([np.arange(count) for count in counts])
    origins = pd.DatetimeIndex(np.repeat(issued, counts), tz="UTC")
    times = pd.DatetimeIndex(nanoseconds(origins) + known.step.value * ahead, tz="UTC")
    own = model.forecast_pairs(model.by_clock(known), origins, times)
    if known.source.kind == "solar":
        frame = _under_each_sun(own, known, issue_times, times, np.cumsum(counts))
    else:
        frame = within_limits(own, known, times, origins)
    return with_naive(frame, known, origins)


def _under_each_sun(
    own: np.ndarray,
    known: Known,
    issue_times: Sequence[pd.Timestamp],
    times: pd.DatetimeIndex,
    ends: np.ndarray,
) -> pd.DataFrame:
    """Forecasts of a solar plant, whose nights and best are those known at each issue time."""
    bare, frames = replace(known, weather_forecasts=None, others=None, external=()), []
    for issue_time, start, end in zip(issue_times, [0, *ends[:-1]], ends, strict=True):
        then, of_then = as_of(bare, issue_time), times[start:end]
        frame = within_limits(own[start:end], then, of_then)
        frame[list(COLUMNS)] = under_the_sun(frame[list(COLUMNS)].to_numpy(), then, of_then)
        frames.append(frame)
    return pd.concat(frames)


def with_naive(frame: pd.DataFrame, known: Known, origins: pd.DatetimeIndex) -> pd.DataFrame:
    """Forecasts beside last week's same local hour, as columns of `forecasts_from`.

    Parameters
    ----------
    frame : of `vpp.forecast.model.within_limits`.
    known : what is known at the last of the origins.
    origins : of each row [UTC].
    """
    times = pd.DatetimeIndex(frame.index)
    naive = weeks_before(known, origins, times)
    if known.source.kind == "market":
        naive = np.where(frame["published"], frame["value"], naive)
    rows = {"issue_time": origins, "valid_time": times}
    rows |= {name: frame[name].to_numpy() for name in (*COLUMNS, *FLAGS)}
    return pd.DataFrame(rows | {"naive": naive})


class Later:
    """Which origins one table may hold.

    Parameters
    ----------
    data : all that is stored of the source.
    history_days : how far back a model learns from [days]; None for all of it.
    """

    def __init__(self, data: SourceData, history_days: float | None) -> None:
        old = data.revisions
        self.replaced = None if old is None or old.empty else old["known_to"].max()
        self.history_days = history_days
        self.reaches = history_days is None or history_days > REACH_DAYS
        self.has_inputs = bool(
            data.weather_forecasts is not None or data.others is not None or data.external
        )
        self.data = _inputs_only(data) if self.has_inputs else data

    def may_follow(self, issue_time: pd.Timestamp) -> bool:
        """Whether others may follow an origin: what was known then stays as it was, and no feature
        looks back beyond the history.

        Parameters
        ----------
        issue_time : the origin [UTC].
        """
        return self.reaches and (self.replaced is None or self.replaced <= issue_time)

    def inputs(self, issue_time: pd.Timestamp) -> frozenset[str]:
        """The names of the inputs that are known at an origin, as of `inputs_of`.

        Parameters
        ----------
        issue_time : the origin [UTC].
        """
        if not self.has_inputs:
            return frozenset()
        return inputs_of(known_at(self.data, issue_time, self.history_days))

    def known(self, issue_times: Sequence[pd.Timestamp], data: SourceData) -> Known:
        """All that is known at the last of some origins, back to the history of the first.

        Parameters
        ----------
        issue_times : the origins [UTC].
        data : all that is stored of the source.
        """
        days = self.history_days
        if days is not None:
            days += (issue_times[-1] - issue_times[0]) / DAY
        return known_at(data, issue_times[-1], days)


def _inputs_only(data: SourceData) -> SourceData:
    """A source with as little as tells which of its inputs are known when."""
    weather = data.weather_forecasts
    return replace(
        data,
        series=data.grid.iloc[:1],
        weather_forecasts=None if weather is None else _last_times(weather),
        external=tuple(
            External(item.name, item.quantity, item.step_min, _last_times(item.frame))
            for item in data.external
        ),
        revisions=None,
    )


def _last_times(frame: pd.DataFrame) -> pd.DataFrame:
    """The last valid time of each issue."""
    return frame.groupby("issue_time", as_index=False)["valid_time"].max()
