"""The parameters of all batteries of a problem as arrays, and the energy that follows from powers.

Numbers of each battery are columns (battery, 1), limits by interval (battery, interval), so that
they go with powers (battery, interval). Pure: reads and writes nothing.

    python optimization.py value
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.schedule.battery import TOLERANCE, keep_fraction
from vpp.schedule.devices import ScheduledBattery


@dataclass(frozen=True, eq=False)
class Stack:
    """Batteries as arrays.

    Parameters
    ----------
    hours : length of an interval [h].
    capacity_kwh, soc_initial, cycles_per_day_max, cycles_so_far : of each battery; no
        `cycles_per_day_max` is infinite.
    eta_charge, eta_discharge : of each; powers to stored energy.
    keep : fraction of its energy that an interval leaves each.
    charge_min_kw, wear_eur_per_mwh, terminal_value_eur_per_mwh : of each.
    charge_kw, discharge_kw, soc_min, soc_max : limits of each in each interval.
    """

    hours: float
    capacity_kwh: np.ndarray
    soc_initial: np.ndarray
    cycles_per_day_max: np.ndarray
    cycles_so_far: np.ndarray
    eta_charge: np.ndarray
    eta_discharge: np.ndarray
    keep: np.ndarray
    charge_min_kw: np.ndarray
    wear_eur_per_mwh: np.ndarray
    terminal_value_eur_per_mwh: np.ndarray
    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    soc_min: np.ndarray
    soc_max: np.ndarray

    @property
    def usable_kw(self) -> tuple[np.ndarray, np.ndarray]:
        """Charging and discharging power, as `Problem.usable_kw` of each battery [kW]."""
        most_kw = self.capacity_kwh / self.hours
        return (
            np.minimum(self.charge_kw, most_kw / self.eta_charge),
            np.minimum(self.discharge_kw, most_kw * self.eta_discharge),
        )

    @property
    def power_rounding_kw(self) -> np.ndarray:
        """Deviation of a battery's powers that is rounding [kW], as `checks.rounding`."""
        largest = np.maximum(
            self.charge_kw.max(axis=1, initial=0), self.discharge_kw.max(axis=1, initial=0)
        )
        return TOLERANCE * np.maximum(largest, 1.0)[:, np.newaxis]

    @property
    def energy_rounding_kwh(self) -> np.ndarray:
        """Deviation of a battery's energy that is rounding [kWh], as `checks.rounding`."""
        return TOLERANCE * np.maximum(self.capacity_kwh, 1.0)

    def stored_kwh(self, charge_kw: np.ndarray, discharge_kw: np.ndarray) -> np.ndarray:
        """Stored energy that follows from powers, not limited in any way.

        Parameters
        ----------
        charge_kw, discharge_kw : powers [kW] (battery, interval).

        Returns
        -------
        Energy at the end of each interval [kWh] (battery, interval).
        """
        change = self.hours * (self.eta_charge * charge_kw - discharge_kw / self.eta_discharge)
        start = self.soc_initial * self.capacity_kwh
        stored = start + np.cumsum(change, axis=1)
        leaking = np.flatnonzero(self.keep[:, 0] != 1.0)
        if len(leaking):
            now, keep, part = start[leaking, 0], self.keep[leaking, 0], change[leaking]
            for t in range(change.shape[1]):
                now = now * keep + part[:, t]
                stored[leaking, t] = now
        return stored


def stack_of(batteries: Sequence[ScheduledBattery], intervals: int, hours: float) -> Stack:
    """The batteries as arrays.

    Parameters
    ----------
    batteries : the batteries.
    intervals : number of intervals.
    hours : length of an interval [h].
    """
    shape = len(batteries), intervals

    def of_each(name: str, missing: float = 0.0) -> np.ndarray:
        values = (getattr(battery, name) for battery in batteries)
        each = [missing if value is None else value for value in values]
        return np.array(each, dtype=float).reshape(-1, 1)

    def by_interval(name: str) -> np.ndarray:
        values = [getattr(battery, name) for battery in batteries]
        if not any(isinstance(value, np.ndarray) for value in values):
            return np.broadcast_to(np.array(values, dtype=float).reshape(-1, 1), shape)
        rows = [np.broadcast_to(np.asarray(value, float), shape[1:]) for value in values]
        return np.reshape(rows, shape)

    keep = [keep_fraction(battery, hours) for battery in batteries]
    names = ("charge_kw", "discharge_kw", "soc_min", "soc_max")
    return Stack(
        hours=hours,
        keep=np.array(keep, dtype=float).reshape(-1, 1),
        cycles_per_day_max=of_each("cycles_per_day_max", np.inf),
        **{name: by_interval(name) for name in names},
        **{
            name: of_each(name)
            for name in (
                *("capacity_kwh", "soc_initial", "cycles_so_far", "eta_charge", "eta_discharge"),
                *("charge_min_kw", "wear_eur_per_mwh", "terminal_value_eur_per_mwh"),
            )
        },
    )
