"""Rolling-origin backtest: forecast past issue times with what was known then, and calibrate as a
live system would.

    python -c "from vpp.forecast.backtest import walk; help(walk)"
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from vpp.forecast.calibration import with_median
from vpp.forecast.errors import Errors
from vpp.forecast.known import Known, SourceData, history_problem, known_at
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.model import ForecastModel
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.stale import inputs_of, without
from vpp.forecast.together import MOST_ROWS, Later, forecasts_from, with_naive
from vpp.runtime.errors import VppError
from vpp.runtime.tables import shown
from vpp.site.times import DAY, next_local_day

REFIT_DAYS = 28
CALIBRATION_DAYS = 21  # origins before the issue time whose errors calibrate a single forecast
CALIBRATION_WINDOW_DAYS = 90  # and in a backtest, as far as they are known by then
# of the level of a quantile, for each share by which an origin's actual values missed it
ADAPTATION = 0.03
LEVEL_LIMITS = (0.005, 0.995)
RELEARN_H = 12  # between two calibrations of a backtest, unless there are
RELEARN_SHARE = 1.1  # times as many errors
HOUR_NS = 3600 * 10**9


class ForecastError(VppError):
    """A forecast cannot be made as asked."""


def walk(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    issue_times: Iterable[pd.Timestamp],
    steps: int | None = None,
    refit_days: float = REFIT_DAYS,
    history_days: float | None = None,
) -> Iterator[pd.DataFrame]:
    """Forecast at each issue time, in their order, with what was known then.

    Parameters
    ----------
    factory : makes a new, unfitted model.
    data : all that is stored of the source.
    issue_times : origins [UTC].
    steps : intervals to forecast from each origin; None for those of the local day after it.
    refit_days : the model is fitted anew when its last fit is so old [days]; infinite for one fit
        at the first origin. Where an input that it learned from is too old, one is fitted without.
    history_days : how far back it learns from [days]; None for all of it.

    Yields
    ------
    The rows of one origin at a time: issue_time, valid_time [UTC]; value, q05 … q95 as the model
    gives them; published, dark; actual (NaN where not measured); naive (last week's same local
    hour, or the published price) [kW or EUR/MWh].
    """
    for frame in _walk(factory, data, issue_times, steps, refit_days, history_days):
        issued = frame["issue_time"]
        first = np.flatnonzero(issued != issued.shift())
        for start, end in pairwise([*first, len(frame)]):
            yield frame.iloc[start:end].reset_index(drop=True)


def _walk(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    issue_times: Iterable[pd.Timestamp],
    steps: int | None,
    refit_days: float,
    history_days: float | None,
) -> Iterator[pd.DataFrame]:
    """The rows of `walk`, those of several origins in one frame where that gives the same."""
    fitted: dict[frozenset[str], tuple[ForecastModel, pd.Timestamp]] = {}
    left, later = deque(sorted(issue_times)), Later(data, history_days)
    while left:
        known = known_at(data, left[0], history_days)
        inputs = inputs_of(known)
        model = usable_model(fitted, inputs, known.issue_time, refit_days)
        if model is None:
            model = factory().fit(known)
            fitted[model.input_names] = model, known.issue_time
        origins, spans = [left.popleft()], [_span(data, known.issue_time, steps)]
        together = model.takes_pairs and later.may_follow(known.issue_time)
        while together and left and sum(count for _, count in spans) < MOST_ROWS:
            there = later.inputs(left[0]) if model.reads_inputs else inputs
            # with other inputs the same model would be given other features
            if there != inputs or usable_model(fitted, there, left[0], refit_days) is not model:
                break
            spans.append(_span(data, left[0], steps))
            origins.append(left.popleft())
        starts, counts = zip(*spans, strict=True)
        if together:
            frame = forecasts_from(model, later.known(origins, data), origins, counts)
        else:
            frame = model.predict(known, counts[0])
            frame = with_naive(frame, known, pd.DatetimeIndex([known.issue_time] * len(frame)))
        first = np.repeat([start.value for start in starts], counts)
        frame = frame[nanoseconds(frame["valid_time"]) >= first].reset_index(drop=True)
        actual = data.series.reindex(pd.DatetimeIndex(frame["valid_time"])).to_numpy()
        frame.insert(frame.columns.get_loc("naive"), "actual", actual)
        yield frame


def _span(
    data: SourceData, issue_time: pd.Timestamp, steps: int | None
) -> tuple[pd.Timestamp, int]:
    """The first interval that is forecast from an origin, and intervals from the origin on."""
    if steps is not None:
        return issue_time, steps
    start, end = next_local_day(issue_time, data.zone)
    return start, int((end - issue_time) / data.step)


def usable_model(
    fitted: Mapping[frozenset[str], tuple[ForecastModel, pd.Timestamp]],
    inputs: frozenset[str],
    issue_time: pd.Timestamp,
    refit_days: float,
) -> ForecastModel | None:
    """The model with the most inputs that are all known now; None where it is too old or missing.

    Parameters
    ----------
    fitted : models and when they were fitted [UTC], by their inputs.
    inputs : the names of those that are known at the issue time.
    issue_time : now [UTC].
    refit_days : age from which a model is fitted anew [days].
    """
    able = [needs for needs in fitted if needs <= inputs]
    if not able:
        return None
    model, fitted_at = fitted[max(able, key=lambda needs: (len(needs), fitted[needs][1]))]
    return model if (issue_time - fitted_at) / DAY < refit_days else None


def backtest(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    issue_times: Iterable[pd.Timestamp],
    steps: int | None = None,
    refit_days: float = REFIT_DAYS,
    history_days: float | None = None,
) -> pd.DataFrame:
    """The rows of all origins of `walk` in one frame.

    Parameters
    ----------
    factory, data, issue_times, steps, refit_days, history_days : as for `walk`.

    Raises
    ------
    ForecastError : there are no origins.
    """
    frames = list(_walk(factory, data, issue_times, steps, refit_days, history_days))
    if not frames:
        raise ForecastError(
            f"{data.source.source_id}: no origins to backtest; expected at least one"
        )
    return pd.concat(frames, ignore_index=True)


def with_history(
    data: SourceData, issue_times: pd.DatetimeIndex, history_days: float | None = None
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Origins to backtest, in two parts: the first `CALIBRATION_DAYS`, and those asked for.

    Of the former, whose errors calibrate the first of the latter, only those with enough history.

    Parameters
    ----------
    data : all that is stored of the source.
    issue_times : origins [UTC], the oldest first.
    history_days : how far back a model learns from [days]; None for all of it.

    Raises
    ------
    ForecastError : the first origin asked for has too little history.
    """
    warm_up, origins = issue_times[:CALIBRATION_DAYS], issue_times[CALIBRATION_DAYS:]
    problem = history_problem(known_at(data, origins[0], history_days))
    if problem:
        raise ForecastError(
            f"{data.source.source_id}: {problem} at the first origin "
            f"{origins[0]:%Y-%m-%dT%H:%MZ}; choose later or fewer origins"
        )
    enough = [history_problem(known_at(data, origin)) is None for origin in warm_up]
    return warm_up[enough], origins


def rolling_calibration(
    frame: pd.DataFrame,
    data: SourceData,
    window_days: float = CALIBRATION_WINDOW_DAYS,
    moves: bool = True,
) -> pd.DataFrame:
    """A backtest whose bands are calibrated as a live system would have calibrated them.

    The quantiles of each origin are calibrated on those errors of earlier origins that were known
    by then. The levels taken of those errors adapt (Gibbs and Candès, Adaptive Conformal Inference
    Under Distribution Shift, 2021): where an origin's actual values fell below a quantile more
    often than they should, that level is lowered by `ADAPTATION` times the excess. This holds
    coverage where errors grow or shrink. An origin without enough errors keeps the model's own
    quantiles. Errors are learned from anew after `RELEARN_H`: origins an hour apart know the same.

    Parameters
    ----------
    frame : rows of `walk` or `backtest`, not calibrated.
    data : all that is stored of the source.
    window_days : how far back an origin looks for errors [days].
    moves : whether the model's values go along with their medians (`value_moves`).

    Returns
    -------
    The same rows with other quantiles, and values that go half the way of their medians.
    """
    place = data.grid.index.get_indexer(pd.DatetimeIndex(frame["valid_time"]))
    when = np.where(place >= 0, data.available_at.asi8[place], np.iinfo(np.int64).max)
    issued = pd.DatetimeIndex(frame["issue_time"]).as_unit("ns").asi8
    result, actual = frame.copy(), frame["actual"].to_numpy()
    value = frame["value"].to_numpy(copy=True)
    values = frame[list(QUANTILE_COLUMNS)].to_numpy(copy=True)
    errors = Errors.of(frame, data.source, data.zone)
    counted = ~errors.given & ~np.isnan(actual)
    levels, pending = np.array(QUANTILES), list[tuple[int, np.ndarray]]()
    groups, calibration = frame.groupby("issue_time").indices, None
    learned, learned_from = -(1 << 62), 0
    for issue_time in pd.DatetimeIndex(frame["issue_time"]).unique().sort_values():
        rows, now = groups[issue_time], issue_time.as_unit("ns").value
        for _, past in (one for one in pending if one[0] <= now):
            reality = actual[past, None]
            # both are 0 at dusk, or at capacity: that says nothing
            below = np.where(reality == values[past], QUANTILES, reality < values[past])
            levels = levels + ADAPTATION * (QUANTILES - below.mean(axis=0))
        pending = [one for one in pending if one[0] > now]
        since = now - int(window_days * DAY.value)
        earlier = (when <= now) & (issued < now) & (issued >= since)
        number = int(np.count_nonzero(earlier))
        if number > RELEARN_SHARE * learned_from or now - learned >= RELEARN_H * HOUR_NS:
            calibration = errors.calibration(earlier, np.clip(np.sort(levels), *LEVEL_LIMITS))
            learned, learned_from = now, number
        if calibration is not None:
            values[rows] = errors.calibrated(calibration, rows)
            before = errors.quantiles[rows] if moves else values[rows]
            value[rows] = with_median(value[rows], before, values[rows])
        if counted[rows].any():
            past = rows[counted[rows]]
            pending.append((int(when[past].max()), past))
    result[["value", *QUANTILE_COLUMNS]] = np.column_stack([value, values])
    return result


def fit_calibrated(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    known: Known,
    steps: int,
    history_days: float | None = None,
) -> ForecastModel:
    """A model fitted to all that is known, its quantiles calibrated on the days before.

    The errors of those days are of a second model, fitted to earlier values only.

    Parameters
    ----------
    factory : makes a new, unfitted model.
    data : all that is stored of the source.
    known : what is known of it at the issue time.
    steps : intervals to forecast.
    history_days : how far back it learns from [days]; None for all of it.

    Raises
    ------
    ForecastError : nothing is known.
    """
    first = factory()
    if not first.needs_history:
        return first.fit(known)
    if known.targets.empty:
        times = data.series.index
        span = f"from {shown(times[0])} to {shown(times[-1])}" if len(times) else "none"
        within = "" if history_days is None else f"in the {history_days:g} days "
        raise ForecastError(
            f"{data.source.source_id}: nothing measured {within}before "
            f"{shown(known.issue_time)}; its data are {span}; name an --issue-time that has some"
        )
    days = min(CALIBRATION_DAYS, int((known.issue_time - known.targets.index[0]) / DAY) // 3)
    origins = [known.issue_time - day * DAY for day in range(days, 0, -1)]
    model = first.fit(known)
    if not origins:
        return model
    data = without(data, known.stale)  # whose bands are to be those of a model without
    past = backtest(factory, data, origins, steps, refit_days=np.inf, history_days=history_days)
    # the horizons of the newest origins reach beyond the issue time: not known yet
    past["actual"] = past["actual"].where(past["valid_time"].isin(known.targets.index))
    return model.calibrate(past, data.source, data.zone)
