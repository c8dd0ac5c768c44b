"""The table of every interval of a run: what is expected, what is done, what it costs and why.

    python report.py --open

Sun and wind have the band that 80 % of outcomes are expected in, where they are forecast: the sum
of those of their sources, which is a little wider than that of the sum.
"""

import numpy as np
import pandas as pd

from vpp.planning.site_series import on_steps
from vpp.report.flexible import with_flexible_loads
from vpp.report.frames import fleet_soc, interval_length, with_battery_power
from vpp.report.markup import folded, paragraph, table
from vpp.report.views import Content
from vpp.report.words import currency, even, power_unit, price_unit, span
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import local_days

MOST_ROWS = 400  # of the page; a longer run is shown up to there
LOW, HIGH = "q10", "q90"


def every_interval(content: Content) -> str:
    """The table as HTML, which a click opens.

    Parameters
    ----------
    content : with a schedule."""
    head, rows = slot_table(content)
    lead = (
        "A battery that charges is +, one that discharges -; import from the grid is +, export -. "
        "SOC is that of all batteries at the end of the interval."
    )
    if content.costs is not None:
        lead += (
            " Cost counts energy added to the batteries at one price; a peak is in the last"
            " interval."
        )
    if len(rows) > MOST_ROWS:
        lead += f" Here are the first {MOST_ROWS:,} of {len(rows):,} intervals."
    listed = paragraph(lead, "quiet") + table(head, rows[:MOST_ROWS], "slots")
    return folded(f"Every interval ({len(rows):,})", listed)


def end_of(times: pd.DatetimeIndex) -> pd.Timestamp:
    """The end of the last interval."""
    return times[-1] + interval_length(times)


def slot_table(content: Content) -> tuple[list[str], list[tuple[str, ...]]]:
    """Head and rows of the table in words; the numbers of a column have the same decimals.

    Parameters
    ----------
    content : with a schedule."""
    assert content.schedule is not None  # the caller has asked
    schedule = with_battery_power(content.schedule, content.states)
    schedule = with_flexible_loads(schedule, content.devices)
    times, zone = pd.DatetimeIndex(schedule.index), content.zone
    ends = [*times[1:], end_of(times)]
    days = local_days(times, zone)
    is_new = [True, *(days[1:] != days[:-1])]
    price = schedule["import_price_eur_per_mwh"], schedule["export_price_eur_per_mwh"]
    largest = float(schedule[["load_kw", "renewables_kw", "grid_import_kw"]].abs().max().max())
    divisor, unit = power_unit(largest)
    digits = 2 if unit == "MW" else 0 if largest >= 100 else 1
    columns: dict[str, list[str]] = {
        "Time": [
            span(start, end, zone, with_day)
            for start, end, with_day in zip(times, ends, is_new, strict=True)
        ],
        f"Price [{price_unit()}]|": even(price[0], 2),
    }
    if not np.allclose(*price, equal_nan=True):
        columns[f"Export [{price_unit()}]|"] = even(price[1], 2)

    def power(values: pd.Series | np.ndarray, sign: str = "") -> list[str]:
        return even(np.asarray(values, dtype=float) / divisor, digits, sign)

    columns[f"Load [{unit}]|"] = power(schedule["load_kw"])
    columns[f"Sun and wind [{unit}]|"] = power(schedule["renewables_kw"])
    band = renewables_band(content, times)
    if band is not None:
        low, high = (power(values) for values in band)
        columns["80 % band|"] = [
            "–" if "–" in ends_of else "–".join(ends_of) for ends_of in zip(low, high, strict=True)
        ]
    if len(content.states):
        moved = schedule["charge_kw"] - schedule["discharge_kw"]
        columns[f"Battery [{unit}]|"] = power(moved, "+")
    columns[f"Grid [{unit}]|"] = power(schedule["grid_import_kw"] - schedule["grid_export_kw"], "+")
    if len(content.states):
        soc = fleet_soc(content.states, content.batteries)["soc"].reindex(times)
        columns["SOC [%]|"] = even(100 * soc, 0)
    if content.costs is not None:
        costs = content.costs.reindex(times)
        columns[f"Cost [{currency()}]|"] = even(costs, 2)
        columns[f"So far [{currency()}]|"] = even(costs.cumsum(), 2)
    columns["Why"] = [str(reason or "–") for reason in schedule["reason"]]
    return list(columns), list(zip(*columns.values(), strict=True))


def renewables_band(
    content: Content, times: pd.DatetimeIndex
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ends of the band of sun and wind together [kW]; None where one of them has no forecast.

    Parameters
    ----------
    content : with the sources' forecasts.
    times : start of each interval of the plan."""
    plants = [view for view in content.views if view.source.kind in PLANT_KINDS]
    if content.run["kind"] != "plan" or not plants:
        return None
    step_min = int(interval_length(times) / pd.Timedelta(minutes=1))
    sums = np.zeros((2, len(times)))
    for view in plants:
        if view.forecast is None or LOW not in view.forecast:
            return None
        for end, name in enumerate((LOW, HIGH)):
            values = on_steps(view.forecast[name], view.source.step_min, times, step_min)
            sums[end] += values.clip(lower=0.0).to_numpy(float)
    return sums[0], sums[1]
