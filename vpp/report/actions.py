"""The actions of the batteries in the next day, and that day in words.

The first day is told, however long the plan is: it is the part that is carried out.

    python report.py
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.report.frames import bus_price, interval_length, times_of
from vpp.report.words import (
    clock,
    energy,
    even_energies,
    joined,
    power,
    price_text,
    price_unit,
    span,
)
from vpp.site.times import DAY

IDLE = 0.005  # a power below this share of the strongest is no action
NOTHING = 1e-6  # of the import or the renewables: less is not told
MAIN_ACTIONS = 3  # are told with their times
ACTION_HEAD = ("When", "What", "Energy|", "Price|", "Why")


def battery_actions(schedule: pd.DataFrame) -> list[dict]:
    """The times in which the batteries together charge or discharge.

    Parameters
    ----------
    schedule : as `with_battery_power` gives it, on a regular step.

    Returns
    -------
    One dict an uninterrupted action: what, start, end, energy_kwh at the terminals, mean price, and
    the reason of its strongest interval with the price that it speaks of [EUR/MWh]."""
    step = interval_length(schedule.index)
    hours = step / pd.Timedelta(hours=1)
    net = schedule["charge_kw"] - schedule["discharge_kw"]
    sign = pd.Series(np.sign(net.where(net.abs() > IDLE * net.abs().max(), 0.0)), net.index)
    prices, actions = bus_price(schedule), []
    for _, part in schedule.groupby((sign != sign.shift()).cumsum()):
        direction = sign[part.index[0]]
        if direction == 0:
            continue
        strength = net[part.index].abs()
        price, strongest = prices[part.index], strength.argmax()
        actions.append(
            {
                "what": "Charge" if direction > 0 else "Discharge",
                "start": part.index[0],
                "end": part.index[-1] + step,
                "energy_kwh": float(strength.sum() * hours),
                "price_eur_per_mwh": float(np.average(price, weights=strength)),
                "reason_price_eur_per_mwh": float(price.iloc[strongest]),
                "reason": part["reason"].iloc[strongest] if "reason" in part else None,
            }
        )
    return actions


def action_rows(actions: Sequence[dict], zone: str) -> list[tuple]:
    """Actions as rows of a table, whose numbers have even decimals.

    Parameters
    ----------
    actions : as `battery_actions` gives them, at least one.
    zone : the zone in which times are shown."""
    energies = even_energies([action["energy_kwh"] for action in actions])
    return [
        (
            span(action["start"], action["end"], zone),
            action["what"],
            told,
            price_text(action["reason_price_eur_per_mwh"]),
            action["reason"] or "–",
        )
        for action, told in zip(actions, energies, strict=True)
    ]


def next_day_in_words(schedule: pd.DataFrame, fleet: pd.DataFrame, zone: str) -> dict[str, str]:
    """The first 24 h of a schedule: batteries, grid, price and renewables, a phrase each.

    Parameters
    ----------
    schedule : as `with_battery_power` gives it, on a regular step.
    fleet : the batteries' state of charge, as `fleet_soc` gives it.
    zone : the zone in which times are shown."""
    day = schedule[schedule.index < schedule.index[0] + DAY]
    words = actions_in_words(day, zone)
    if not words:
        none = "none: add a section [battery:NAME] to the configuration"
        words["Batteries"] = "hold: no price difference pays for the losses" if len(fleet) else none
    if len(fleet):
        step = interval_length(schedule.index)
        words["Stored"] = stored_in_words(fleet[fleet.index < day.index[0] + DAY], step, zone)
    return words | grid_in_words(day, zone) | renewables_in_words(day)


def actions_in_words(day: pd.DataFrame, zone: str) -> dict[str, str]:
    """The largest times of charging and of discharging, with energy and mean price.

    Parameters
    ----------
    day : of a schedule with the batteries' power [kW].
    zone : the zone in which times are shown."""
    words = {}
    for what in ("Charge", "Discharge"):
        own = [action for action in battery_actions(day) if action["what"] == what]
        if own:
            total_kwh = sum(action["energy_kwh"] for action in own)
            price = (
                sum(action["energy_kwh"] * action["price_eur_per_mwh"] for action in own)
                / total_kwh
            )
            main = sorted(own, key=lambda action: -action["energy_kwh"])[:MAIN_ACTIONS]
            spans = joined(
                [
                    span(action["start"], action["end"], zone, False)
                    for action in sorted(main, key=lambda action: action["start"])
                ]
            )
            others = len(own) - len(main)
            more = f" (and {others} smaller)" if others else ""
            words[what] = (
                f"{spans}{more}: {energy(total_kwh)} at {price:,.0f} {price_unit()} on average"
            )
    return words


def stored_in_words(fleet: pd.DataFrame, step: pd.Timedelta, zone: str) -> str:
    """The state of charge at the ends of a day, and its highest and lowest.

    Parameters
    ----------
    fleet : the day of it, as `fleet_soc` gives it.
    step : length of an interval.
    zone : the zone in which times are shown."""
    soc = fleet["soc"]
    times = times_of(fleet)
    high, low = (
        f"{soc.iloc[at]:.0%} at {clock(times[int(at)] + step, zone, False)}"
        for at in (soc.argmax(), soc.argmin())
    )
    return (
        f"{fleet['before'].iloc[0]:.0%} at the start, highest {high}, lowest {low}, "
        f"{soc.iloc[-1]:.0%} after 24 h"
    )


def grid_in_words(day: pd.DataFrame, zone: str) -> dict[str, str]:
    """Energy and peak of import and export, and the ends of the import price.

    Parameters
    ----------
    day : of a schedule [kW, EUR/MWh].
    zone : the zone in which times are shown."""
    hours = interval_length(day.index) / pd.Timedelta(hours=1)
    times, words = times_of(day), {}
    imports, exports = day["grid_import_kw"], day["grid_export_kw"]
    for name, flow in (("Import", imports), ("Export", exports)):
        if name == "Import" or flow.max() > NOTHING * max(1.0, imports.max()):
            words[name] = (
                f"{energy(flow.sum() * hours)}, at most {power(flow.max())} at "
                f"{clock(times[int(flow.argmax())], zone, False)}"
            )
    price = day["import_price_eur_per_mwh"]
    low, high = (
        f"{price.iloc[at]:,.0f} {price_unit()} at {clock(times[int(at)], zone, False)}"
        for at in (price.argmin(), price.argmax())
    )
    return words | {"Price": f"lowest {low}, highest {high}"}


def renewables_in_words(day: pd.DataFrame) -> dict[str, str]:
    """The energy of the renewables beside the load's, and the curtailed part of it."""
    hours = interval_length(day.index) / pd.Timedelta(hours=1)
    load, renewables, curtailed = (
        float(day[name].sum()) for name in ("load_kw", "renewables_kw", "curtailed_kw")
    )
    words = {}
    if load > 0:
        words["Renewables"] = (
            f"{energy(renewables * hours)}, {renewables / load:.0%} of the load's "
            f"{energy(load * hours)}"
        )
    if curtailed > NOTHING * max(1.0, renewables):
        words["Curtailed"] = f"{energy(curtailed * hours)} of it"
    return words
