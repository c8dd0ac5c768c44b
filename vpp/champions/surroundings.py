"""All that stands around the sources: others of their sites, weather, forecasts of others.

`Surroundings` reads each of them once for all sources of a command, not once a source.

Power in kW, prices in EUR/MWh; times are UTC."""

from collections import defaultdict
from functools import cached_property

import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.capacities import scaled
from vpp.forecast.external import External
from vpp.site.quantities import is_regressor_of
from vpp.site.sources import Source
from vpp.storage.measurements import (
    read_external_forecasts,
    read_series,
    read_sources,
    read_weather_forecasts,
    sources_in,
)


class Surroundings:
    """The registered sources by site, and the weather forecasts of each site, read once.

    Parameters
    ----------
    conn : connection to the database, open as long as this is used.
    start : values and forecasts of earlier times are left out [UTC]; None for all.
    """

    def __init__(self, conn: connection, start: pd.Timestamp | None = None) -> None:
        self.conn, self.start = conn, start
        self._weather: dict[str, pd.DataFrame] = {}

    @cached_property
    def sources(self) -> list[Source]:
        """All registered sources."""
        return read_sources(self.conn)

    @cached_property
    def by_site(self) -> dict[str, list[Source]]:
        """The registered sources of each site."""
        found = defaultdict(list)
        for source in self.sources:
            found[source.site_id].append(source)
        return dict(found)

    @cached_property
    def forecasts(self) -> list[Source]:
        """The sources that are forecasts of others."""
        return [source for source in self.sources if source.kind == "forecast"]

    @cached_property
    def revised(self) -> set[str]:
        """Names of the sources of which a newer message replaced a value."""
        return sources_in(self.conn, "revisions")

    @cached_property
    def grown(self) -> set[str]:
        """Names of the sources whose capacity was another one."""
        return sources_in(self.conn, "capacities")

    def weather(self, source: Source) -> pd.DataFrame | None:
        """The weather forecasts of a source's site; None where there are none.

        Parameters
        ----------
        source : of the site.
        """
        site = self.by_site.get(source.site_id, [])
        found = next((other for other in site if other.kind == "weather"), None)
        if found is None:
            return None
        if found.source_id not in self._weather:
            self._weather[found.source_id] = load_weather(self.conn, found, self.start)
        frame = self._weather[found.source_id]
        return frame if len(frame) else None

    def others(self, source: Source) -> tuple[pd.DataFrame | None, int | None]:
        """The measured powers of a market's site, and the longest step of them [min].

        Parameters
        ----------
        source : the market.
        """
        site = self.by_site.get(source.site_id, [])
        measured = [other for other in site if other.kind in ("load", "wind", "solar")]
        series = [self._history(other) for other in measured]
        powers = [on_step(each, own, source) for each, own in zip(series, measured, strict=True)]
        longest = max((other.step_min for other in measured), default=None)
        return (pd.concat(powers, axis=1) if powers else None), longest

    def _history(self, source: Source) -> pd.Series:
        series = read_series(self.conn, source, self.start)
        return scaled(self.conn, source, series) if source.source_id in self.grown else series

    def external(self, source: Source) -> tuple[External, ...]:
        """The forecasts of others that are regressors of a source, from when they were at hand.

        Parameters
        ----------
        source : a solar, wind, load or market source.
        """
        found = []
        for item in self.forecasts:
            if not is_regressor_of(item, source):
                continue
            delay = delay_of(item)
            frame = read_external_forecasts(self.conn, item.source_id, self.start)
            if len(frame):
                known_from = frame["issue_time"] + pd.Timedelta(minutes=delay)
                quantity = str(item.parameters.get("quantity", "other"))
                frame = frame.assign(issue_time=known_from)
                made = External(item.source_id, quantity, item.step_min, frame)
                found.append(made.with_step(source.step_min))
        return tuple(found)


def delay_of(source: Source, usual: float = 0.0) -> float:
    """How long after its end, or its issue, a value of a source is known [min].

    Parameters
    ----------
    source : its parameter `delay_min`, where it has one.
    usual : of a source that does not say [min].
    """
    return float(source.parameters.get("delay_min", usual))


def load_weather(
    conn: connection, weather: Source, start: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Load a site's weather forecasts; `issue_time` is when its provider had published each.

    Parameters
    ----------
    conn : connection to the database.
    weather : the weather source, with its `delay_min`.
    start : forecasts of earlier times are left out [UTC].
    """
    frame = read_weather_forecasts(conn, weather.source_id, start)
    delay = pd.Timedelta(minutes=delay_of(weather))
    return frame.assign(issue_time=frame["issue_time"] + delay) if delay else frame


def on_step(series: pd.Series, own: Source, wanted: Source) -> pd.Series:
    """A series on the step of another source: means over it, or held where its own is longer.

    Parameters
    ----------
    series : by time [UTC].
    own, wanted : its source, and the one whose step it gets.
    """
    step = f"{wanted.step_min}min"
    if own.step_min <= wanted.step_min or series.empty:
        return series.resample(step).mean()
    last = series.index[-1] + pd.Timedelta(minutes=own.step_min - wanted.step_min)
    times = pd.date_range(series.index[0], last, freq=step, name=series.index.name)
    return series.reindex(times, method="ffill", tolerance=last - series.index[-1])
