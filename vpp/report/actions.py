"""What the batteries do in the next day: their actions, and the day in words."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.report.figures import DAY, interval_length
from vpp.report.words import clock, energy, power


def battery_actions(schedule: pd.DataFrame) -> list[dict]:
    """The times in which the batteries together charge or discharge.

    Parameters
    ----------
    schedule : as `with_battery_power` gives it, on a regular step.

    Returns
    -------
    One dict an uninterrupted action: what, start, end, energy_kwh at the terminals, mean price
    [EUR/MWh] and the reason of its strongest interval."""
    step = interval_length(schedule.index)
    hours = step / pd.Timedelta(hours=1)
    net = schedule["charge_kw"] - schedule["discharge_kw"]
    sign = np.sign(net.where(net.abs() > 0.005 * net.abs().max(), 0.0))
    actions = []
    for _, part in schedule.groupby((sign != sign.shift()).cumsum()):
        direction = sign[part.index[0]]
        if direction == 0:
            continue
        strength = net[part.index].abs()
        price = part["import_price_eur_per_mwh" if direction > 0 else "export_price_eur_per_mwh"]
        actions.append(
            {
                "what": "Charge" if direction > 0 else "Discharge",
                "start": part.index[0],
                "end": part.index[-1] + step,
                "energy_kwh": float(strength.sum() * hours),
                "price_eur_per_mwh": float(np.average(price, weights=strength)),
                "reason": part["reason"][strength.idxmax()] if "reason" in part else None,
            }
        )
    return actions


def joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def next_day_in_words(schedule: pd.DataFrame, fleet: pd.DataFrame, zone: str) -> dict[str, str]:
    """The first 24 h of a schedule.

    What the batteries, the grid and the price do, a phrase each.
    """
    day = schedule[schedule.index < schedule.index[0] + DAY]
    step = interval_length(schedule.index)
    hours = step / pd.Timedelta(hours=1)
    words = {}
    for what in ("Charge", "Discharge"):
        own = [action for action in battery_actions(day) if action["what"] == what]
        if own:
            total = sum(action["energy_kwh"] for action in own)
            price = (
                sum(action["energy_kwh"] * action["price_eur_per_mwh"] for action in own) / total
            )
            main = sorted(
                sorted(own, key=lambda action: -action["energy_kwh"])[:3],
                key=lambda action: action["start"],
            )
            spans = joined(
                [f"{clock(a['start'], zone, False)}–{clock(a['end'], zone, False)}" for a in main]
            )
            more = f" (and {len(own) - 3} smaller)" if len(own) > 3 else ""
            words[what] = f"{spans}{more}: {energy(total)} at {price:,.0f} EUR/MWh on average"
    if not words:
        none = "none: add a section [battery:NAME] to the configuration"
        words["Batteries"] = "hold: no price difference pays for the losses" if len(fleet) else none
    if len(fleet):
        soc = fleet["soc"][fleet.index < schedule.index[0] + DAY]
        high, low = (
            f"{soc[time]:.0%} at {clock(time + step, zone, False)}"
            for time in (soc.idxmax(), soc.idxmin())
        )
        words["Stored"] = (
            f"{fleet['before'].iloc[0]:.0%} at the start, highest {high}, lowest {low}, "
            f"{soc.iloc[-1]:.0%} after 24 h"
        )
    imports, exports = day["grid_import_kw"], day["grid_export_kw"]
    words["Import"] = (
        f"{energy(imports.sum() * hours)}, at most {power(imports.max())} at "
        f"{clock(imports.idxmax(), zone, False)}"
    )
    if exports.max() > 1e-6 * max(1.0, imports.max()):
        words["Export"] = (
            f"{energy(exports.sum() * hours)}, at most {power(exports.max())} at "
            f"{clock(exports.idxmax(), zone, False)}"
        )
    price = day["import_price_eur_per_mwh"]
    low, high = (
        f"{price[time]:,.0f} EUR/MWh at {clock(time, zone, False)}"
        for time in (price.idxmin(), price.idxmax())
    )
    words["Price"] = f"lowest {low}, highest {high}"
    load, renewables, curtailed = (
        float(day[name].sum()) for name in ("load_kw", "renewables_kw", "curtailed_kw")
    )
    if load > 0:
        words["Renewables"] = (
            f"{energy(renewables * hours)}, {renewables / load:.0%} of the load's "
            f"{energy(load * hours)}"
        )
    if curtailed > 1e-6 * max(1.0, renewables):
        words["Curtailed"] = f"{energy(curtailed * hours)} of it"
    return words
