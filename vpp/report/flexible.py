"""The report's sections of flexible loads: one of each kind that the site has.

python report.py
"""

import numpy as np
import pandas as pd

from vpp.report.actions import ACTION_HEAD, action_rows
from vpp.report.figures.device import device_figure
from vpp.report.frames import bus_price, interval_length, times_of
from vpp.report.markup import Section, paragraph, table
from vpp.report.views import Content
from vpp.report.words import escape

TITLES = {
    "vehicle": "Vehicles",
    "deferrable": "Loads that may run later",
    "heat": "Heat stores",
}
IDLE = 1e-3  # a power below this share of the strongest is no action


def flexible_sections(content: Content) -> list[Section]:
    """A section of each kind of flexible load in the run; none where there are no such devices.

    Parameters
    ----------
    content : the run with its devices."""
    if content.schedule is None or content.devices.empty:
        return []
    return [
        _section(content, kind, content.devices[content.devices["kind"] == kind])
        for kind in TITLES
        if (content.devices["kind"] == kind).any()
    ]


def _section(content: Content, kind: str, rows: pd.DataFrame) -> Section:
    assert content.schedule is not None  # the caller has asked
    price, body, drawn = bus_price(content.schedule), "", {}
    for number, (name, device) in enumerate(rows.groupby("device_id")):
        drawn[f"device{number}"] = device_figure(device, price, content.zone)
        body += f"<h3>{escape(str(name))}</h3><!--device{number}-->"
        actions = device_actions(device, price)
        if actions:
            body += table(ACTION_HEAD, action_rows(actions, content.zone), "lines")
        else:
            body += paragraph("It does nothing in this plan.", "quiet")
    return Section(kind, TITLES[kind], body, drawn)


def device_actions(device: pd.DataFrame, price: pd.Series) -> list[dict]:
    """The times in which a device takes or gives power, and why.

    Parameters
    ----------
    device : its rows of `device_states`, on a regular step.
    price : as `bus_price` gives it [EUR/MWh], on the same step.

    Returns
    -------
    One dict an uninterrupted action: what, start, end, energy_kwh, mean price, and the reason of
    its strongest interval with the price that it speaks of [EUR/MWh]."""
    step = interval_length(device.index)
    power = device["power_kw"]
    sign = np.sign(power.where(power.abs() > IDLE * power.abs().max(), 0.0))
    takes = {"vehicle": "Charge", "deferrable": "Run", "heat": "Heat"}
    actions = []
    for _, part in device.groupby((sign != sign.shift()).cumsum()):
        direction, times = sign[part.index[0]], times_of(part)
        if direction == 0:
            continue
        strength = part["power_kw"].abs()
        strongest = int(strength.argmax())
        actions.append(
            {
                "what": takes[part["kind"].iloc[0]] if direction > 0 else "Give",
                "start": times[0],
                "end": times[-1] + step,
                "energy_kwh": float(strength.sum() * (step / pd.Timedelta(hours=1))),
                "price_eur_per_mwh": float(np.average(price[part.index], weights=strength)),
                "reason_price_eur_per_mwh": float(price[times[strongest]]),
                "reason": part["reason"].iloc[strongest],
            }
        )
    return actions


def with_flexible_loads(schedule: pd.DataFrame, devices: pd.DataFrame) -> pd.DataFrame:
    """The schedule whose load has the power of the flexible loads in it, so that it balances.

    Parameters
    ----------
    schedule : the run's schedule [kW].
    devices : its rows of `device_states`."""
    if devices.empty:
        return schedule
    taken = devices.groupby(level=0)["power_kw"].sum().reindex(schedule.index).fillna(0.0)
    return schedule.assign(load_kw=schedule["load_kw"] + taken)
