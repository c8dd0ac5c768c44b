"""Inputs that are too old to forecast with: what each may be, and what a model must do without.

An input whose newest row is older than its maximum age is taken away in `known_at`, in fitting as
in predicting. A model that learned with it is not asked without it: one that did not is fitted.

Times are UTC.

    python -c "from vpp.forecast.stale import fresh_weather; help(fresh_weather)"
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from vpp.forecast.external import External

WEATHER = "weather forecast"
OTHERS_STALE_AFTER_H = 48.0  # another series: the same hour of a day or two before still helps


def age_h(newest: pd.Timestamp, now: pd.Timestamp) -> float:
    """How old something is [h].

    Parameters
    ----------
    newest, now : its time, and the issue time [UTC].
    """
    return (now - newest) / pd.Timedelta(hours=1)


def fresh_weather(
    weather: pd.DataFrame | None, issue_time: pd.Timestamp, stale_after_h: float
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """The weather forecasts, unless the newest issue is too old to be used.

    Parameters
    ----------
    weather : those that are known; None where there are none.
    issue_time : now [UTC].
    stale_after_h : the most that the newest issue may be old [h].

    Returns
    -------
    The forecasts or None; a reason by the name of the input, where it is too old.
    """
    if weather is None or weather.empty:
        return None, {}
    newest = weather["issue_time"].max()
    old = age_h(newest, issue_time)
    if old <= stale_after_h:
        return weather, {}
    return None, {WEATHER: too_old(WEATHER, newest, old, stale_after_h)}


def fresh_others(
    others: pd.DataFrame | None,
    step: pd.Timedelta,
    issue_time: pd.Timestamp,
    stale_after_h: float,
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """The other series, without those whose newest value is too old.

    Parameters
    ----------
    others : what is known of them, a column each; None where there are none.
    step : of their intervals.
    issue_time : now [UTC].
    stale_after_h : the most that a newest value may be old [h].

    Returns
    -------
    As of `fresh_weather`, the reasons by the name of the series.
    """
    if others is None or others.empty:
        return None, {}
    stale = {}
    for name, series in others.items():
        newest = series.last_valid_index()
        if newest is None:
            continue
        old = age_h(newest + step, issue_time)
        if old > stale_after_h:
            stale[str(name)] = too_old(str(name), newest + step, old, stale_after_h)
    left = others.drop(columns=list(stale))
    return (left if len(left.columns) else None), stale


def fresh_external(
    external: Sequence[External | None], issue_time: pd.Timestamp, stale_after_h: float
) -> tuple[tuple[External, ...], dict[str, str]]:
    """Forecasts of others, without those whose newest issue is too old.

    Parameters
    ----------
    external : what is known of each; None where nothing is.
    issue_time : now [UTC].
    stale_after_h : the most that a newest issue may be old [h].

    Returns
    -------
    As of `fresh_weather`, the reasons by the name of the forecast.
    """
    fresh, stale = [], {}
    for item in external:
        if item is None:
            continue
        newest = item.frame["issue_time"].max()
        old = age_h(newest, issue_time)
        if old > stale_after_h:
            stale[item.name] = too_old(item.name, newest, old, stale_after_h)
        else:
            fresh.append(item)
    return tuple(fresh), stale


def without(data: Any, stale: Mapping[str, str]) -> Any:
    """A source without the inputs that are too old, in all of its history.

    Parameters
    ----------
    data : a `vpp.forecast.known.SourceData`.
    stale : by the names of those inputs.
    """
    if not stale:
        return data
    weather, others = data.weather_forecasts, data.others
    if others is not None:
        left = others.drop(columns=[name for name in others if str(name) in stale])
        others = left if len(left.columns) else None
    return replace(
        data,
        weather_forecasts=None if WEATHER in stale else weather,
        others=others,
        external=tuple(item for item in data.external if item.name not in stale),
    )


def too_old(name: str, newest: pd.Timestamp, old_h: float, most_h: float) -> str:
    """Say that an input is too old.

    Parameters
    ----------
    name, newest : of the input, and its newest time [UTC].
    old_h, most_h : its age, and the most that it may have [h].
    """
    return (
        f"forecast without {name}: the newest is of {newest:%Y-%m-%dT%H:%MZ}, {old_h:g} h old, at "
        f"most {most_h:g} h are used"
    )


def inputs_of(known: Any) -> frozenset[str]:
    """The names of what is known beside the series itself.

    Parameters
    ----------
    known : a `vpp.forecast.known.Known`.
    """
    names = [] if known.weather_forecasts is None else [WEATHER]
    others = () if known.others is None else known.others.columns
    return frozenset([*names, *map(str, others), *(item.name for item in known.external)])


def missing_inputs(model: Any, known: Any) -> dict[str, str]:
    """The inputs that a fitted model needs and that are too old or not there now, each with why.

    Parameters
    ----------
    model : a fitted `vpp.forecast.model.ForecastModel`; one of an earlier version, which does not
        say, misses all that is too old.
    known : what is known at the issue time.
    """
    stale: Mapping[str, str] = known.stale
    needs: frozenset[str] = getattr(model, "input_names", frozenset(stale))
    gone = sorted(needs - inputs_of(known))
    return {name: stale.get(name, f"forecast without {name}: there is none now") for name in gone}
