"""The site at the start of a plan: energy and cycles of its batteries, its peak so far.

Reads sources, measurements and battery states; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.carrying import Start
from vpp.planning.site_series import plan_step_min, site_sources
from vpp.runtime.settings import BatteryParameters, Config
from vpp.schedule.basis import PlanBasis, basis_of, peaks_of
from vpp.schedule.battery import energy_kwh
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.peaks import Peak, billed
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import day_start, month_start
from vpp.storage.measurements import read_resampled
from vpp.storage.results import read_all_states, read_last_states

# The shortest step of any series. A battery state of a longer one holds in each of its parts.
STATE_STEP_MIN = 5
EPOCH, MINUTE = pd.Timestamp(0), pd.Timedelta(minutes=1)
AT_ONCE = 100  # batteries whose month is in memory at the same time


def site_basis(
    conn: connection,
    config: Config,
    at: pd.Timestamp,
    step_min: int | None = None,
    starts: Sequence[Start] | None = None,
) -> PlanBasis:
    """The basis of a plan that begins at a time.

    Parameters
    ----------
    conn : connection to the database.
    config : the site, its batteries, its grid and its tariff.
    at : start of the plan [UTC].
    step_min : step of the plan [min]; default the finest of the sources.
    starts : states of the batteries, one each; default their last ones that are not planned.

    Returns
    -------
    The basis, without a terminal price.
    """
    sources = site_sources(conn, config)
    batteries = starting_batteries(conn, config, at, starts)
    return replace(
        basis_of(config, step_min or plan_step_min(sources, config), batteries),
        peak_so_far_kw=peak_so_far(conn, config, at),
        peaks=peaks_so_far(conn, config, at, step_min or plan_step_min(sources, config)),
        source_ids=tuple(source.source_id for source in sources),
    )


def battery_powers(
    conn: connection,
    battery_ids: Sequence[str],
    start: pd.Timestamp,
    end: pd.Timestamp,
    batteries: Sequence[BatteryParameters] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Mean powers of batteries, by their states that are not planned.

    A state holds as long as its battery's usually do: the median time to the next, at most an hour.

    Parameters
    ----------
    conn : connection to the database.
    battery_ids : the batteries.
    start, end : the span [UTC], without its end.
    batteries : their parameters: where states tell no power, it follows from the SOC of the next.

    Returns
    -------
    Charging and discharging power [kW] in steps of `STATE_STEP_MIN` (battery, step); 0 where no
    state holds.
    """
    step, names = pd.Timedelta(minutes=STATE_STEP_MIN), list(battery_ids)
    shape = len(names), len(pd.date_range(start, end, freq=step, inclusive="left"))
    states = _with_powers(read_all_states(conn, names, start, end), batteries)
    battery = pd.Categorical(states["battery_id"], names).codes.astype(int)
    apart = (states["time"].diff() / step).where(np.diff(battery, prepend=-1) == 0)
    usual = apart.groupby(battery).median().reindex(range(shape[0])).fillna(np.inf)
    parts = np.rint(usual.clip(upper=60 / STATE_STEP_MIN)).clip(lower=1).to_numpy()
    cells = battery * shape[1] + ((states["time"] - start) // step).to_numpy(int)
    charge, discharge = (
        _held(states[name].to_numpy(), cells, shape, parts)
        for name in ("charge_kw", "discharge_kw")
    )
    return charge, discharge


def _with_powers(states: pd.DataFrame, batteries: Sequence[BatteryParameters]) -> pd.DataFrame:
    """States whose power is not told, with the mean power up to the next state of the battery."""
    unknown = states["charge_kw"].isna() & states["discharge_kw"].isna()
    known = {battery.battery_id: battery for battery in batteries}
    if not unknown.any() or not known:
        return states
    after = states.groupby("battery_id")[["time", "soc"]].shift(-1)
    hours = (after["time"] - states["time"]) / pd.Timedelta(hours=1)
    own = [known.get(name) for name in states["battery_id"]]
    capacity, eta_charge, eta_discharge = (
        np.array([np.nan if item is None else getattr(item, name) for item in own])
        for name in ("capacity_kwh", "eta_charge", "eta_discharge")
    )
    stored_kw = (after["soc"] - states["soc"]) * capacity / hours
    powers = {
        "charge_kw": stored_kw.clip(lower=0.0) / eta_charge,
        "discharge_kw": (-stored_kw).clip(lower=0.0) * eta_discharge,
    }
    told = {name: states[name].where(~unknown, power) for name, power in powers.items()}
    return states.assign(**told)


def _held(
    values: np.ndarray, cells: np.ndarray, shape: tuple[int, int], parts: np.ndarray
) -> np.ndarray:
    """Means of the values of each cell, each held for the parts of its row; 0 elsewhere."""
    known = ~np.isnan(values)
    size = shape[0] * shape[1]
    count = np.bincount(cells[known], minlength=size)
    means = np.bincount(cells[known], values[known], size) / np.maximum(count, 1)
    steps = np.arange(shape[1])
    last = np.maximum.accumulate(np.where(count.reshape(shape) > 0, steps, -shape[1] - 1), axis=1)
    holds = steps - last < parts[:, np.newaxis]
    return np.where(holds, np.take_along_axis(means.reshape(shape), np.maximum(last, 0), 1), 0.0)


def starting_batteries(
    conn: connection, config: Config, at: pd.Timestamp, starts: Sequence[Start] | None = None
) -> list[ScheduledBattery]:
    """The batteries at the start of a plan, with their cycles of the local day.

    Parameters
    ----------
    conn : connection to the database.
    config : the batteries and the site's time zone.
    at : start of the plan [UTC].
    starts : states of the batteries, one each.

    Returns
    -------
    Each battery as its start says; without starts as its last state that is not planned, else at
    `soc_initial`.
    """
    names = [battery.battery_id for battery in config.batteries]
    socs = {start.battery_id: start.soc for start in starts or ()}
    if starts is None:
        last = read_last_states(conn, names, at)
        socs = {name: min(max(soc, 0.0), 1.0) for name, (_, soc) in last.items()}
    midnight = day_start(at, config.site.time_zone)
    _, discharge = battery_powers(conn, names, midnight, at, config.batteries)
    discharged = energy_kwh(discharge.sum(axis=1), STATE_STEP_MIN / 60).tolist()
    batteries = []
    for battery, used_kwh in zip(config.batteries, discharged, strict=True):
        soc = socs.get(battery.battery_id, battery.soc_initial)
        values = asdict(replace(battery, soc_initial=soc))
        cycles = used_kwh / battery.capacity_kwh
        batteries.append(ScheduledBattery(**values, cycles_so_far=cycles))
    return batteries


def peak_so_far(conn: connection, config: Config, issue_time: pd.Timestamp) -> float:
    """Highest mean import over a peak interval since the local month began.

    The import is load less renewables, and what the batteries charge less what they discharge by
    their states that are not planned.

    Parameters
    ----------
    conn : connection to the database.
    config : the site, its batteries and its peak price.
    issue_time : end of the span [UTC].

    Returns
    -------
    The peak [kW]; 0 without a peak price.
    """
    if not config.grid.peak_price_eur_per_kw:
        return 0.0
    month = month_start(issue_time, config.site.time_zone)
    net = _net_kw(conn, config, month, issue_time)
    means = net.resample(f"{config.grid.peak_interval_min}min", origin="epoch").mean()
    return max(0.0, float(means.max())) if means.notna().any() else 0.0


def peaks_so_far(
    conn: connection, config: Config, at: pd.Timestamp, step_min: int
) -> tuple[Peak, ...]:
    """The peaks of the tariff at a time: those of the local month, and intervals that go on.

    Parameters
    ----------
    conn : connection to the database.
    config : the site, its batteries and its tariff.
    at : start of a plan [UTC].
    step_min : of the plan [min].
    """
    peaks, zone = peaks_of(config.tariff, step_min), config.site.time_zone
    month = month_start(at, zone)
    if not peaks or month >= at:
        return peaks
    imports = _net_kw(conn, config, month, at).clip(lower=0.0)
    index = pd.DatetimeIndex(imports.index)
    hourly = imports.groupby(index.floor("h")).transform("mean")  # in place of what is missing
    imports_kw = imports.fillna(hourly).fillna(0.0).to_numpy(float)
    utc_min, local_min = (
        (times.tz_localize(None) - EPOCH) // MINUTE for times in (index, index.tz_convert(zone))
    )
    clock = np.asarray(local_min), np.asarray(local_min - utc_min), STATE_STEP_MIN
    return tuple(billed(peak, *clock).state(imports_kw, STATE_STEP_MIN / 60) for peak in peaks)


def _net_kw(
    conn: connection, config: Config, month: pd.Timestamp, issue_time: pd.Timestamp
) -> pd.Series:
    """Imports less exports of the site, in steps of `STATE_STEP_MIN` [kW]; NaN where not known."""
    sources = [source for source in site_sources(conn, config) if source.kind != "market"]
    powers = read_resampled(conn, sources, month, issue_time, STATE_STEP_MIN)
    signs = [-1.0 if source.kind in PLANT_KINDS else 1.0 for source in sources]
    net = powers[[source.source_id for source in sources]].mul(signs).sum(axis=1, skipna=False)
    steps = pd.date_range(month, issue_time, freq=f"{STATE_STEP_MIN}min", inclusive="left")
    names = [battery.battery_id for battery in config.batteries]
    for first in range(0, len(names), AT_ONCE):
        some = names[first : first + AT_ONCE]
        charge, discharge = battery_powers(conn, some, month, issue_time, config.batteries)
        taken = pd.Series((charge - discharge).sum(axis=0), steps)
        net += taken.reindex(net.index, fill_value=0.0)
    return net
