"""The schedule and the batteries in the shape in which the report draws and tells them.

Pure functions on frames indexed by the start of each interval [UTC]; SOC is at its end.

    python -c "from vpp.report.frames import MOST_INTERVALS; print(MOST_INTERVALS)"
"""

from collections.abc import Sequence

import pandas as pd

from vpp.runtime.settings import BatteryParameters
from vpp.schedule.battery import keep_fraction

MOST_INTERVALS = 700  # a figure of more is drawn from means over longer steps
AGGREGATES_MIN = (15, 30, 60, 180, 360, 1440, 10080)
FLEET_COLUMNS = ("before", "soc", "soc_min", "soc_max")


def times_of(data: pd.DataFrame | pd.Series) -> pd.DatetimeIndex:
    """The start of each interval."""
    return pd.DatetimeIndex(data.index)


def interval_length(times: pd.Index) -> pd.Timedelta:
    """The step of regular times; an hour where there is only one."""
    return times[1] - times[0] if len(times) > 1 else pd.Timedelta(hours=1)


def aggregated(schedule: pd.DataFrame, step: pd.Timedelta) -> tuple[pd.DataFrame, pd.Timedelta]:
    """The schedule in at most MOST_INTERVALS intervals.

    Parameters
    ----------
    schedule : on a regular step.
    step : its step.

    Returns
    -------
    The schedule and its step: as they are, or means over longer steps."""
    if len(schedule) <= MOST_INTERVALS:
        return schedule, step
    span = step * len(schedule)
    fitting = [
        minutes
        for minutes in AGGREGATES_MIN
        if pd.Timedelta(minutes=minutes) >= step
        and span / pd.Timedelta(minutes=minutes) <= MOST_INTERVALS
    ]
    coarse = pd.Timedelta(minutes=fitting[0] if fitting else AGGREGATES_MIN[-1])
    means = schedule.resample(coarse).mean(numeric_only=True)
    means["reason"] = f"mean of {int(coarse / step)} intervals"
    return means.dropna(how="all"), coarse


def with_battery_power(schedule: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """The schedule with the power of all batteries together.

    Parameters
    ----------
    schedule : the run's schedule.
    states : its battery states, a row an interval and battery.

    Returns
    -------
    The schedule with the columns charge_kw and discharge_kw, 0 where there is no state."""
    totals = (
        states.groupby(level=0)[["charge_kw", "discharge_kw"]]
        .sum()
        .reindex(schedule.index)
        .fillna(0.0)
    )
    return schedule.drop(columns=["charge_kw", "discharge_kw"], errors="ignore").join(totals)


def bus_price(schedule: pd.DataFrame) -> pd.Series:
    """The price that the reasons speak of: the worth of a MWh more at the site [EUR/MWh].

    Parameters
    ----------
    schedule : the run's schedule. An older version did not store that price: it is then the export
        price where the site exports, else the import price."""
    price = schedule["import_price_eur_per_mwh"].where(
        schedule["grid_export_kw"] <= schedule["grid_import_kw"],
        schedule["export_price_eur_per_mwh"],
    )
    if "bus_price_eur_per_mwh" not in schedule:
        return price
    return schedule["bus_price_eur_per_mwh"].astype(float).fillna(price)


def fleet_soc(states: pd.DataFrame, batteries: Sequence[BatteryParameters]) -> pd.DataFrame:
    """State of charge of all batteries together, weighted with capacity.

    Parameters
    ----------
    states : battery states of a run, a row an interval and battery.
    batteries : the parameters that the run was made with.

    Returns
    -------
    Columns before and soc (at the start and at the end of each interval), soc_min and soc_max,
    all [fraction]; empty without batteries."""
    known = [battery for battery in batteries if (states["battery_id"] == battery.battery_id).any()]
    if not known:
        return pd.DataFrame(columns=list(FLEET_COLUMNS), index=states.index[:0], dtype=float)
    capacity_kwh = sum(battery.capacity_kwh for battery in known)
    own = [states[states["battery_id"] == battery.battery_id] for battery in known]
    soc = (
        sum(
            (part["soc"] * battery.capacity_kwh for battery, part in zip(known, own, strict=True)),
            pd.Series(0.0, own[0].index),
        )
        / capacity_kwh
    )
    first_kwh = sum(
        energy_before_kwh(battery, part) for battery, part in zip(known, own, strict=True)
    )
    low, high = (
        sum(getattr(battery, name) * battery.capacity_kwh for battery in known) / capacity_kwh
        for name in ("soc_min", "soc_max")
    )
    return pd.DataFrame(
        {
            "before": soc.shift(fill_value=first_kwh / capacity_kwh),
            "soc": soc,
            "soc_min": low,
            "soc_max": high,
        }
    )


def energy_before_kwh(battery: BatteryParameters, states: pd.DataFrame) -> float:
    """The energy [kWh] that a battery held before the first of its states.

    Parameters
    ----------
    battery : the parameters that the run was made with.
    states : of this battery alone."""
    hours = interval_length(states.index) / pd.Timedelta(hours=1)
    first = states.iloc[0]
    change_kwh = hours * (
        battery.eta_charge * first["charge_kw"] - first["discharge_kw"] / battery.eta_discharge
    )
    return (first["soc"] * battery.capacity_kwh - change_kwh) / keep_fraction(battery, hours)
