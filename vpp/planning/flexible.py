"""The flexible loads of the site at the start of a plan: what is left to do, and what is in store.

Devices are taken to have followed the plans made before; a measured state of a vehicle goes before.
Reads the database; writes nothing.

    python optimization.py --help

Powers are electric [kW], energies kWh, times UTC.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.flexible_settings import DeferrableParameters, HeatParameters, VehicleParameters
from vpp.runtime.settings import Config
from vpp.runtime.windows import Window
from vpp.schedule.deferrable import DeferrableLoad
from vpp.schedule.device import Device
from vpp.schedule.heat import HeatStore
from vpp.schedule.vehicles import Session, Vehicle
from vpp.site.times import from_local
from vpp.storage.device_states import read_followed, read_plan, read_rest
from vpp.storage.results import read_last_state

DONE_KWH = 1e-6  # energy that is no longer missing
Devices = dict[str, tuple[Device, ...]]  # by the field of a problem


@dataclass(frozen=True)
class Span:
    """The intervals of a plan, and the zone of its windows.

    Parameters
    ----------
    start : of the first interval [UTC].
    step_min : length of each [min].
    intervals : how many there are.
    zone : IANA name.
    """

    start: pd.Timestamp
    step_min: int
    intervals: int
    zone: str

    @property
    def step(self) -> pd.Timedelta:
        """Length of an interval."""
        return pd.Timedelta(minutes=self.step_min)

    @property
    def end(self) -> pd.Timestamp:
        """End of the last interval [UTC]."""
        return self.start + self.intervals * self.step

    def local_hours(self) -> np.ndarray:
        """Local hour in which each interval starts."""
        times = pd.date_range(self.start, periods=self.intervals, freq=self.step)
        return times.tz_convert(self.zone).hour.to_numpy()

    def first(self, time: pd.Timestamp) -> int:
        """Number of the first interval that starts at a time or later."""
        return max(0, math.ceil((time - self.start) / self.step))

    def last(self, time: pd.Timestamp) -> int:
        """Number of the interval before which those end that lie before a time."""
        return math.floor((time - self.start) / self.step)


def spans(windows: Sequence[Window], span: Span) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Begin and end of each time that windows come in a plan.

    Parameters
    ----------
    windows : of the local week.
    span : the plan.

    Returns
    -------
    Times [UTC] in their order, from those that hold at the start on; those that meet are one.
    """
    first, last = (time.tz_convert(span.zone).tz_localize(None) for time in (span.start, span.end))
    found: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for day in pd.date_range(first.floor("D") - pd.Timedelta(days=1), last.floor("D")):
        for window in windows:
            if day.isoweekday() in window.days:
                minutes = (window.begins_min, window.ends_min)
                local = pd.DatetimeIndex([day + pd.Timedelta(minutes=m) for m in minutes])
                found.append(tuple(from_local(local, span.zone)))
    merged: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for begin, end in sorted(found):
        if end <= span.start or begin >= span.end:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def site_devices(conn: connection, config: Config, span: Span) -> Devices:
    """The flexible loads of a plan.

    Parameters
    ----------
    conn : connection to the database.
    config : the site and its flexible loads.
    span : the plan.

    Returns
    -------
    Devices by the field of a problem: `vehicles`, `deferrable_loads`, `heat_stores`.
    """
    loads = [_loads(conn, load, span) for load in config.deferrable_loads]
    return {
        "vehicles": tuple(_vehicle(conn, vehicle, span) for vehicle in config.vehicles),
        "deferrable_loads": tuple(load for found in loads for load in found),
        "heat_stores": tuple(_store(conn, store, span) for store in config.heat_stores),
    }


def device_lines(conn: connection, run_id: str) -> list[dict]:
    """The flexible loads of a stored plan as lines of JSON.

    Parameters
    ----------
    conn : connection to the database.
    run_id : the plan.

    Returns
    -------
    device_id, kind, time, powers [kW], SOC, energy [kWh] and reason of each interval.
    """
    return read_plan(conn, run_id).reset_index().to_dict("records")


def _vehicle(conn: connection, vehicle: VehicleParameters, span: Span) -> Vehicle:
    sessions = []
    for begin, end in spans(vehicle.windows, span):
        arrival, departure = span.first(begin), span.last(end)
        if departure > arrival:
            soc = vehicle.soc_arrival
            if begin < span.start:
                soc = _soc_now(conn, vehicle.vehicle_id, begin, span.start, soc)
            sessions.append(Session(arrival, departure, soc, vehicle.soc_departure_min))
    own = _same_fields(vehicle, Vehicle)
    return Vehicle(**own, sessions=tuple(sessions))


def _same_fields(parameters: Any, cls: type) -> dict[str, Any]:
    """The values of the fields that both classes have."""
    names = {item.name for item in fields(cls)}
    return {i.name: getattr(parameters, i.name) for i in fields(parameters) if i.name in names}


def _soc_now(
    conn: connection, vehicle_id: str, begin: pd.Timestamp, now: pd.Timestamp, otherwise: float
) -> float:
    """SOC of a vehicle that came before now: what was measured since, and what its plans did after
    that; without a measurement as planned, else otherwise."""
    measured = read_last_state(conn, vehicle_id, now)
    planned = read_followed(conn, vehicle_id, begin, now)["soc"].dropna()
    soc = otherwise if planned.empty else float(planned.iloc[-1])
    if measured is not None and measured[0] >= begin:
        soc = float(measured[1]) + _since(planned, measured[0], otherwise)
    return min(max(soc, 0.0), 1.0)


def _since(planned: pd.Series, time: pd.Timestamp, before: float) -> float:
    """The change that plans made since a time; that of the interval in which it lies is known."""
    if planned.empty:
        return 0.0
    at = planned[planned.index < time]
    return float(planned.iloc[-1]) - (before if at.empty else float(at.iloc[-1]))


def _loads(conn: connection, load: DeferrableParameters, span: Span) -> list[DeferrableLoad]:
    """A load for each window that ends within the plan; what is done of a run is not done again."""
    found = []
    for begin, end in spans(load.windows, span):
        earliest, latest = span.first(begin), span.last(end)
        if latest > span.intervals or latest <= earliest:
            continue  # a later plan sees all of this window
        name = f"{load.load_id} {begin.tz_convert(span.zone):%Y-%m-%d}"
        left = _left(conn, load, begin, span) if begin < span.start else _whole(load, span.step_min)
        if "profile_kw" in left and left.pop("running", False):
            earliest, latest = 0, len(left["profile_kw"])
        if left:
            found.append(DeferrableLoad(name, earliest, latest, **left))
    return found


def _whole(load: DeferrableParameters, step_min: int, done_kwh: float = 0.0) -> dict[str, Any]:
    """The run of a load, or what is left of its energy, in intervals of this length."""
    if load.profile_kw:
        return {"profile_kw": profile_by_step(load.powers_kw, load.profile_min, step_min)}
    energy, hours = load.energy_kwh - done_kwh, step_min / 60
    if energy <= DONE_KWH:
        return {}
    # the least power gives way where no number of whole intervals makes the energy
    fewest = max(1, math.ceil(energy / (hours * load.power_kw) - 1e-9))
    return {
        "energy_kwh": energy,
        "power_kw": load.power_kw,
        "min_power_kw": min(load.min_power_kw, energy / (hours * fewest)),
        "contiguous": load.contiguous == "yes",
    }


def profile_by_step(
    powers_kw: Sequence[float], length_min: int, step_min: int
) -> tuple[float, ...]:
    """A profile in intervals of another length.

    Parameters
    ----------
    powers_kw : its powers [kW].
    length_min : length of each [min].
    step_min : length of the intervals [min].

    Returns
    -------
    Mean powers of the intervals [kW], with the same energy.
    """
    total = length_min * len(powers_kw)
    energy = np.append(0.0, np.cumsum(powers_kw)) * length_min
    ends = np.arange(0, total + step_min, step_min)[: math.ceil(total / step_min) + 1]
    at = np.interp(ends, np.arange(len(powers_kw) + 1) * length_min, energy)
    return tuple((np.diff(at) / step_min).tolist())


def _left(
    conn: connection, load: DeferrableParameters, begin: pd.Timestamp, span: Span
) -> dict[str, Any]:
    """The rest of a run whose window began before the plan; nothing of one that is done."""
    followed = read_followed(conn, load.load_id, begin, span.start)
    used = followed[followed["power_kw"] > 0]
    done = float((used["power_kw"] * used["step_min"]).sum()) / 60
    if done <= DONE_KWH:
        return _whole(load, span.step_min)
    if not load.profile_kw and load.contiguous == "no":
        return _whole(load, span.step_min, done)
    rest = read_rest(conn, load.load_id, used["run_id"].iloc[-1], span.start)
    rest = rest.resample(span.step, origin=span.start).mean().fillna(0.0)
    running = rest.to_numpy()[: int((rest > 0).cummin().sum())]
    return {"profile_kw": tuple(running.tolist()), "running": True} if len(running) else {}


def _store(conn: connection, store: HeatParameters, span: Span) -> HeatStore:
    hours = span.local_hours()
    day = pd.Timedelta(days=1)
    planned = read_followed(conn, store.store_id, span.start - day, span.start)["energy_kwh"]
    planned = planned.dropna()
    measured = read_last_state(conn, store.store_id, span.start)
    own = _same_fields(store, HeatStore)
    own |= {name: np.array(store.by_hour(name))[hours] for name in ("demand_kw", "cop")}
    energy = store.energy_initial_kwh if planned.empty else float(planned.iloc[-1])
    if measured is not None and measured[0] >= span.start - day:
        since = _since(planned, measured[0], store.energy_initial_kwh)
        energy = float(measured[1]) * store.capacity_kwh + since
    own["energy_initial_kwh"] = min(max(energy, 0.0), store.capacity_kwh)
    # a plan ends as full as the site's own start says, not as full as it happens to begin
    return HeatStore(**own, energy_final_min_kwh=store.energy_initial_kwh)
