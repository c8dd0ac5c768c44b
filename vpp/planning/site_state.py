"""The site at the start of a plan: energy and cycles of its batteries, its peak so far.

Reads sources, measurements and battery states; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

from dataclasses import asdict, replace

import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.site_series import plan_step_min, site_sources
from vpp.runtime.settings import Config
from vpp.schedule.basis import PlanBasis, basis_of
from vpp.schedule.battery import energy_kwh
from vpp.schedule.devices import ScheduledBattery
from vpp.site.kinds import PLANT_KINDS
from vpp.storage.measurements import read_resampled
from vpp.storage.results import read_last_state, read_states

# The shortest step of any series. A battery state of a longer one holds in each of its parts.
STATE_STEP_MIN = 5


def site_basis(
    conn: connection, config: Config, at: pd.Timestamp, step_min: int | None = None
) -> PlanBasis:
    """The basis of a plan that begins at a time.

    Parameters
    ----------
    conn : connection to the database.
    config : the site, its batteries, its grid and its tariff.
    at : start of the plan [UTC].
    step_min : step of the plan [min]; default the finest of the sources.

    Returns
    -------
    The basis, without a terminal price.
    """
    sources = site_sources(conn, config)
    batteries = starting_batteries(conn, config, at)
    return replace(
        basis_of(config, step_min or plan_step_min(sources), batteries),
        peak_so_far_kw=peak_so_far(conn, config, at),
        source_ids=tuple(source.source_id for source in sources),
    )


def battery_powers(
    conn: connection, battery_id: str, start: pd.Timestamp, end: pd.Timestamp
) -> pd.DataFrame:
    """Mean powers of a battery, by its states that are not planned.

    A state holds as long as its like usually do: the median time to the next, at most an hour.

    Parameters
    ----------
    conn : connection to the database.
    battery_id : the battery.
    start, end : the span [UTC], without its end.

    Returns
    -------
    Columns `charge_kw` and `discharge_kw` [kW] in steps of `STATE_STEP_MIN`; 0 where no state
    holds.
    """
    step, hour = pd.Timedelta(minutes=STATE_STEP_MIN), pd.Timedelta(hours=1)
    states = read_states(conn, battery_id, start, end)
    steps = pd.date_range(start, end, freq=step, inclusive="left", name="time")
    usual = hour
    if len(states) > 1:
        usual = min(pd.Timedelta(pd.Series(states.index).diff().median()), hour)
    parts = max(round(usual / step), 1)
    means = states.resample(step, origin=start).mean().reindex(steps)
    return (means.ffill(limit=parts - 1) if parts > 1 else means).fillna(0.0)


def starting_batteries(
    conn: connection, config: Config, at: pd.Timestamp
) -> list[ScheduledBattery]:
    """The batteries at the start of a plan, with their cycles of the local day.

    Parameters
    ----------
    conn : connection to the database.
    config : the batteries and the site's time zone.
    at : start of the plan [UTC].

    Returns
    -------
    Each battery as its last state that is not planned says; without a state at `soc_initial`.
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
    local = issue_time.tz_convert(config.site.time_zone)
    month = local.normalize().replace(day=1).tz_convert("UTC")
    sources = [source for source in site_sources(conn, config) if source.kind != "market"]
    powers = read_resampled(conn, sources, month, issue_time, STATE_STEP_MIN)
    signs = [-1.0 if source.kind in PLANT_KINDS else 1.0 for source in sources]
    net = powers[[source.source_id for source in sources]].mul(signs).sum(axis=1, skipna=False)
    for battery in config.batteries:
        states = battery_powers(conn, battery.battery_id, month, issue_time)
        net += (states["charge_kw"] - states["discharge_kw"]).reindex(net.index, fill_value=0.0)
    means = net.resample(f"{config.grid.peak_interval_min}min", origin="epoch").mean()
    return max(0.0, float(means.max())) if means.notna().any() else 0.0
