"""The parameters of all batteries of a problem as arrays, and the energy that follows from powers.

Numbers of each battery are columns (battery, 1), limits by interval (battery, interval), so that
they go with powers (battery, interval). Pure: reads and writes nothing.

    python optimization.py value
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpp.schedule.battery import TOLERANCE, keep_fraction
from vpp.schedule.devices import BY_INTERVAL, ScheduledBattery

NUMBERS = (
    *("capacity_kwh", "soc_initial", "cycles_so_far", "cycles_per_day_max", "eta_charge"),
    *("eta_discharge", "charge_min_kw", "wear_eur_per_mwh", "terminal_value_eur_per_mwh"),
)


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

    @cached_property
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
    # one array of all numbers is made in a fraction of the time of one a name
    numbers = np.array([_numbers(one, hours) for one in batteries], dtype=float)
    columns = numbers.reshape(-1, len(NUMBERS) + 1).T[:, :, None]
    given = [[getattr(battery, name) for battery in batteries] for name in BY_INTERVAL]
    shape = len(given), len(batteries), intervals
    if any(isinstance(value, np.ndarray) for values in given for value in values):
        rows = [[np.broadcast_to(value, intervals) for value in values] for values in given]
        limits = np.array(rows, dtype=float).reshape(shape)
    else:
        limits = np.broadcast_to(np.array(given, dtype=float)[:, :, None], shape)
    named = zip((*NUMBERS, "keep", *BY_INTERVAL), (*columns, *limits), strict=True)
    return Stack(hours, **dict(named))


def _numbers(battery: ScheduledBattery, hours: float) -> list[float]:
    """The numbers that `NUMBERS` names, and the fraction of its energy that an interval leaves."""
    values = [getattr(battery, name) for name in NUMBERS]
    if battery.cycles_per_day_max is None:
        values[NUMBERS.index("cycles_per_day_max")] = np.inf
    return [*(0.0 if value is None else value for value in values), keep_fraction(battery, hours)]
