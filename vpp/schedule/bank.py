"""All batteries of a site as arrays: what they can do in an interval, and the energy in them.

The same physics as `vpp.schedule.battery.Battery`, for a thousand batteries in the time of one.
Powers are means over an interval at the AC terminals [kW]; a wanted power is positive where it
charges. Pure: reads and writes nothing.

    python optimization.py value
"""

from dataclasses import replace

import numpy as np

from vpp.schedule.battery import Battery
from vpp.schedule.curves import power_at
from vpp.schedule.problem import Problem


class Bank:
    """The batteries of a problem, as they are at the start of an interval.

    Parameters
    ----------
    problem : what is scheduled; its batteries are at their `soc_initial`.

    Attributes
    ----------
    t : number of the interval.
    energy_kwh : energy in each battery at its start [kWh].
    left_kwh : energy that each may still discharge on the local day [kWh]; infinite where it has no
        `cycles_per_day_max`.
    """

    def __init__(self, problem: Problem) -> None:
        batteries, stack = problem.batteries, problem.stack
        self.batteries, self.t = batteries, 0
        self.hours, self.days = problem.hours, problem.local_days
        self.capacity_kwh, self.keep = stack.capacity_kwh[:, 0], stack.keep[:, 0]
        self.gain = self.hours * stack.eta_charge[:, 0]
        self.spend = self.hours / stack.eta_discharge[:, 0]
        self.least_kw = stack.charge_min_kw[:, 0]
        self.charge_kw, self.discharge_kw = stack.charge_kw, stack.discharge_kw
        self.low_kwh = stack.soc_min * stack.capacity_kwh
        self.high_kwh = stack.soc_max * stack.capacity_kwh
        self.energy_kwh = (stack.soc_initial * stack.capacity_kwh)[:, 0]
        self.daily_kwh = (stack.cycles_per_day_max * stack.capacity_kwh)[:, 0]
        self.left_kwh = self.daily_kwh - (stack.cycles_so_far * stack.capacity_kwh)[:, 0]
        self.counted = bool(np.isfinite(self.daily_kwh).any())
        self.least = bool(self.least_kw.any())
        self.curves = [
            (b, way, getattr(battery, f"{way}_curve"))
            for b, battery in enumerate(batteries)
            for way in ("charge", "discharge")
            if getattr(battery, f"{way}_curve")
        ]

    def __len__(self) -> int:
        return len(self.batteries)

    def __getitem__(self, b: int) -> Battery:
        """A battery as it is, with the powers that its curves and cycles leave in the interval."""
        now = self.batteries[b].at(self.t)
        limits = {name: [getattr(now, name)] for name in ("charge_kw", "discharge_kw")}
        for way in ("charge", "discharge"):
            curve = getattr(now, f"{way}_curve")
            if curve:
                limits[f"{way}_kw"].append(float(power_at(curve, self.soc[b : b + 1])[0]))
        limits["discharge_kw"].append(max(0.0, float(self.left_kwh[b])) / self.hours)
        able = replace(now, **{name: min(values) for name, values in limits.items()})
        return Battery.of(able, float(self.soc[b]))

    @property
    def soc(self) -> np.ndarray:
        """State of charge of each battery, a fraction of its capacity."""
        return self.energy_kwh / self.capacity_kwh

    def able_kw(self) -> tuple[np.ndarray, np.ndarray]:
        """The most that each battery can charge and discharge in the interval.

        Returns
        -------
        Charging and discharging power [kW].
        """
        t = self.t
        kept = self.energy_kwh * self.keep
        charge = np.minimum(
            self.charge_kw[:, t], np.maximum(self.high_kwh[:, t] - kept, 0.0) / self.gain
        )
        discharge = np.minimum(
            self.discharge_kw[:, t], np.maximum(kept - self.low_kwh[:, t], 0.0) / self.spend
        )
        if self.counted:
            discharge = np.minimum(discharge, np.maximum(self.left_kwh, 0.0) / self.hours)
        for b, way, curve in self.curves:
            power = charge if way == "charge" else discharge
            power[b] = min(power[b], float(power_at(curve, self.soc[b : b + 1])[0]))
        return charge, discharge

    def possible_kw(self, wanted_kw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The powers that the batteries can carry out of wanted ones.

        Parameters
        ----------
        wanted_kw : power wanted of each battery [kW].

        Returns
        -------
        Charging and discharging power [kW].
        """
        charge, discharge = self.able_kw()
        charge = np.minimum(charge, np.maximum(wanted_kw, 0.0))
        return self.at_least(charge), np.minimum(discharge, np.maximum(-wanted_kw, 0.0))

    def at_least(self, charge_kw: np.ndarray) -> np.ndarray:
        """Charging powers [kW], 0 where a battery would charge below its least power."""
        if not self.least:
            return charge_kw
        return np.where(charge_kw < self.least_kw * (1 - 1e-12), 0.0, charge_kw)

    def move(self, charge_kw: np.ndarray, discharge_kw: np.ndarray) -> None:
        """Let the interval pass, in which the batteries carry out possible powers.

        Parameters
        ----------
        charge_kw, discharge_kw : powers of each battery [kW].
        """
        energy = self.energy_kwh * self.keep + self.gain * charge_kw - self.spend * discharge_kw
        self.energy_kwh = np.clip(energy, 0.0, self.capacity_kwh)
        self.t += 1
        if self.counted:
            self.left_kwh = self.left_kwh - self.hours * discharge_kw
            if self.t < len(self.days) and self.days[self.t] != self.days[self.t - 1]:
                self.left_kwh = self.daily_kwh.copy()
