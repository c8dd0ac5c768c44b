"""The site as a scheduling problem: its sources' forecasts or actual values, its batteries, its
grid connection and tariff.

All solar, wind and load sources are summed behind one grid connection, and one market source gives
the price, without fees; `plan_basis.with_fees` adds them where a problem is made. Reads sources,
measurements, forecasts and battery states; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from vpp.runtime.config import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis, basis_of
from vpp.schedule.battery import energy_kwh
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.site import PLANTS, on_steps, site_frame
from vpp.storage.connection import DataGapError
from vpp.storage.measurements import read_resampled, read_series, read_sources
from vpp.storage.results import read_forecasts, read_last_state, read_states

logger = logging.getLogger("schedule_site")
STATE_STEP_MIN = (
    5  # the shortest step of any series: what longer battery states say holds in each of its parts
)


def site_sources(conn, config: Config) -> list:
    """All solar, wind and load sources and the market source of the site's price area."""
    sources = [source for source in read_sources(conn) if source.kind in (*PLANTS, "load")]
    markets = read_sources(conn, "market")
    if not sources or not markets:
        raise DataGapError(
            "the database has no plants and loads, or no market price; run python "
            "communication.py (after python generation.py)"
        )
    in_area = [
        market
        for market in markets
        if market.parameters.get("price_area") == config.site.price_area
    ]
    return [*sources, (in_area or markets)[0]]


def basis_sources(conn, basis: PlanBasis) -> list:
    """The sources that a plan was made for, whatever has been registered since.

    Raises
    ------
    DataGapError : one of them is registered no more.
    """
    registered = {source.source_id: source for source in read_sources(conn)}
    gone = [name for name in basis.source_ids if name not in registered]
    if gone:
        raise DataGapError(
            f"source {gone[0]}, which the plan was made for, is registered no more; register it "
            "again"
            " with python sources.py add"
        )
    return [registered[name] for name in basis.source_ids]


def site_basis(conn, config: Config, at: pd.Timestamp, step_min: int | None = None) -> PlanBasis:
    """The basis of a plan made now, from a time on [UTC].

    Its step [min] is by default the finest of the sources.
    """
    sources = site_sources(conn, config)
    basis = basis_of(
        config, step_min or plan_step_min(sources), starting_batteries(conn, config, at)
    )
    return replace(
        basis,
        peak_so_far_kw=peak_so_far(conn, config, at),
        source_ids=tuple(source.source_id for source in sources),
    )


def plan_step_min(sources: Sequence) -> int:
    """The finest step of any source [min]."""
    return min(source.step_min for source in sources)


def forecast_frame(
    conn, config: Config, issue_time: pd.Timestamp
) -> tuple[pd.DataFrame, int] | None:
    """Forecasts of the site from the issue time on, and their step [min].

    None where a source has no forecast for it.
    """
    sources = site_sources(conn, config)
    step = plan_step_min(sources)
    found = [(source, read_forecasts(conn, source.source_id, issue_time)) for source in sources]
    if any(forecast is None for _, forecast in found):
        return None
    index = pd.date_range(
        issue_time,
        periods=config.optimization.horizon_h * 60 // step,
        freq=f"{step}min",
        name="time",
    )
    series = [
        (source.kind, on_steps(forecast[1]["value"], source.step_min, index, step))
        for source, forecast in found
    ]
    frame = site_frame(series, index)
    known = frame.notna().all(axis=1).to_numpy()
    if not known[0]:
        raise DataGapError(
            f"the forecasts for issue time {shown(issue_time)} do not begin there; run python "
            "forecast_and_save.py"
        )
    if known.all():
        return frame, step
    count = int(np.argmin(known))
    ends = [
        source.source_id
        for (source, _), (_, values) in zip(found, series, strict=True)
        if np.isnan(values.iloc[count])
    ]
    hours = [intervals * step / 60 for intervals in (count, len(known))]
    logger.warning(
        "the forecasts cover %g of the %g h to plan: that of %s ends first", *hours, ends[0]
    )
    return frame[:count], step


def actual_frame(conn, sources: Sequence, index: pd.DatetimeIndex, step_min: int) -> pd.DataFrame:
    """What load, renewables and price of these sources turned out to be.

    NaN where that is not known.
    """
    series = []
    for source in sources:
        # an interval of a source may begin before the first of the plan
        first = index[0].floor(f"{max(source.step_min, step_min)}min")
        values = read_series(conn, source, first, index[-1] + pd.Timedelta(minutes=step_min))
        series.append((source.kind, on_steps(values, source.step_min, index, step_min)))
    return site_frame(series, index)


def battery_powers(conn, battery_id: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Mean `charge_kw` and `discharge_kw` of a battery in steps of `STATE_STEP_MIN` [kW], by its
    states that are not planned.

    A state holds as long as its like usually do: the median time to the next, at most an hour. 0
    where there is none."""
    step = pd.Timedelta(minutes=STATE_STEP_MIN)
    states = read_states(conn, battery_id, start, end)
    steps = pd.date_range(start, end, freq=step, inclusive="left", name="time")
    usual = pd.Series(states.index).diff().median() if len(states) > 1 else pd.Timedelta(hours=1)
    parts = max(round(min(usual, pd.Timedelta(hours=1)) / step), 1)
    means = states.resample(step, origin=start).mean().reindex(steps)
    return (means.ffill(limit=parts - 1) if parts > 1 else means).fillna(0.0)


def starting_batteries(conn, config: Config, at: pd.Timestamp) -> list[ScheduledBattery]:
    """The batteries as their last state that is not planned says, else at `soc_initial`.

    With their cycles of the day.
    """
    midnight = at.tz_convert(config.site.time_zone).normalize().tz_convert("UTC")
    batteries = []
    for battery in config.batteries:
        state = read_last_state(conn, battery.battery_id, at)
        soc = battery.soc_initial if state is None else min(max(state[1], 0.0), 1.0)
        discharged = battery_powers(conn, battery.battery_id, midnight, at)["discharge_kw"].sum()
        cycles = energy_kwh(float(discharged), STATE_STEP_MIN / 60) / battery.capacity_kwh
        values = asdict(replace(battery, soc_initial=soc))
        batteries.append(ScheduledBattery(**values, cycles_so_far=cycles))
    return batteries


def peak_so_far(conn, config: Config, issue_time: pd.Timestamp) -> float:
    """Highest mean import over a peak interval since the local month began [kW]; 0 without a peak
    price.

    The import is load less renewables, and what the batteries charge less what they discharge by
    their states that are not planned."""
    if not config.grid.peak_price_eur_per_kw:
        return 0.0
    month = (
        issue_time.tz_convert(config.site.time_zone).normalize().replace(day=1).tz_convert("UTC")
    )
    sources = [source for source in site_sources(conn, config) if source.kind != "market"]
    powers = read_resampled(conn, sources, month, issue_time, STATE_STEP_MIN)
    signs = [-1.0 if source.kind in PLANTS else 1.0 for source in sources]
    net = powers[[source.source_id for source in sources]].mul(signs).sum(axis=1, skipna=False)
    for battery in config.batteries:
        states = battery_powers(conn, battery.battery_id, month, issue_time)
        net += (states["charge_kw"] - states["discharge_kw"]).reindex(net.index, fill_value=0.0)
    means = net.resample(f"{config.grid.peak_interval_min}min", origin="epoch").mean()
    return max(0.0, float(means.max())) if means.notna().any() else 0.0
