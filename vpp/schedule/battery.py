"""A battery: what it can do in an interval, and the energy in it.

Powers are means over an interval at the AC terminals [kW], charging and discharging both >= 0; a
wanted power is positive where it charges. SOC and energy are those at the END of the interval.
Pure: reads and writes nothing.

    python battery.py
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.runtime.settings import BatteryParameters

TOLERANCE = 1e-6  # of the largest power or capacity, below which a deviation is rounding

Amount = TypeVar("Amount", float, np.ndarray)


def energy_kwh(power_kw: Amount, hours: float) -> Amount:
    """Energy of a mean power.

    Parameters
    ----------
    power_kw : power [kW], a number or an array.
    hours : time [h].

    Returns
    -------
    Energy [kWh].
    """
    return power_kw * hours


def money_eur(energy_kwh: Any, price_eur_per_mwh: Any) -> Any:
    """Value of energy.

    Parameters
    ----------
    energy_kwh : energy [kWh], a number or an array.
    price_eur_per_mwh : price [EUR/MWh], a number or an array.

    Returns
    -------
    Money [EUR].
    """
    return energy_kwh * price_eur_per_mwh / 1000


@dataclass(frozen=True)
class Step:
    """The answer of a battery in an interval.

    Parameters
    ----------
    battery : the battery afterwards.
    charge_kw, discharge_kw : powers that it carried out [kW].
    limited_by : `power`, `full`, `empty` or nothing.
    """

    battery: "Battery"
    charge_kw: float
    discharge_kw: float
    limited_by: str


@dataclass(frozen=True)
class Battery(BatteryParameters):
    """A battery and the energy in it [kWh]; by default that of `soc_initial`."""

    energy_kwh: float = None  # type: ignore[assignment]  # __post_init__ puts a number in its place

    def __post_init__(self) -> None:
        super().__post_init__()
        if vars(self)["energy_kwh"] is None:
            object.__setattr__(self, "energy_kwh", self.soc_initial * self.capacity_kwh)
        if not 0 <= self.energy_kwh <= self.capacity_kwh:
            raise FieldError(
                "energy_kwh", self.energy_kwh, f"0 to capacity_kwh = {self.capacity_kwh:g}"
            )

    @classmethod
    def of(cls, parameters: BatteryParameters, soc: float | None = None) -> "Battery":
        """The battery with these parameters.

        Parameters
        ----------
        parameters : its data sheet.
        soc : its state of charge, a fraction; default `soc_initial`.

        Returns
        -------
        The battery.
        """
        values = {item.name: getattr(parameters, item.name) for item in fields(BatteryParameters)}
        if soc is not None:
            values["energy_kwh"] = soc * parameters.capacity_kwh
        return cls(**values)

    @property
    def soc(self) -> float:
        """State of charge, a fraction of the capacity."""
        return self.energy_kwh / self.capacity_kwh

    def step(self, power_kw: float, hours: float) -> Step:
        """Carry out a wanted power as far as the battery can.

        The stored energy changes by `hours * (eta_charge * charge - discharge / eta_discharge)`
        after self-discharge. That compounds: a fraction `1 - (1 - self_discharge_per_h) ** hours`
        of the energy at the start is lost.

        Parameters
        ----------
        power_kw : wanted mean power at the AC terminals [kW], positive where it charges.
        hours : length of the interval [h].

        Returns
        -------
        The battery afterwards, the powers carried out, and their limit. A battery outside its SOC
        bounds is not moved by itself, and not moved further outside.

        Raises
        ------
        FieldError (a ValueError) : the power is no number, or the interval has no length.
        """
        charge, discharge, limited_by = self.possible(power_kw, hours)
        energy = self.energy_kwh * keep_fraction(self, hours)
        energy += energy_kwh(self.eta_charge * charge - discharge / self.eta_discharge, hours)
        after = replace(self, energy_kwh=min(max(energy, 0.0), self.capacity_kwh))
        return Step(after, charge, discharge, limited_by)

    def possible(self, power_kw: float, hours: float) -> tuple[float, float, str]:
        """The powers that `step` carries out of a wanted one.

        Parameters
        ----------
        power_kw : wanted mean power at the AC terminals [kW], positive where it charges.
        hours : length of the interval [h].

        Returns
        -------
        Charging and discharging power [kW], and the limit that holds.

        Raises
        ------
        FieldError (a ValueError) : the power is no number, or the interval has no length.
        """
        if math.isnan(power_kw):
            raise FieldError(
                "power_kw",
                power_kw,
                f"the power wanted of battery {self.battery_id}, a number of kW",
            )
        if not 0 < hours < math.inf:
            raise FieldError("hours", hours, "the length of the interval, more than 0 h")
        kept = self.energy_kwh * keep_fraction(self, hours)
        charge, discharge, limited_by = 0.0, 0.0, ""
        if power_kw > 0:
            room = max(0.0, self.soc_max * self.capacity_kwh - kept) / (self.eta_charge * hours)
            charge = min(power_kw, self.charge_kw, room)
            limited_by = "" if charge == power_kw else "full" if charge == room else "power"
        elif power_kw < 0:
            stock = max(0.0, kept - self.soc_min * self.capacity_kwh) * self.eta_discharge / hours
            discharge = min(-power_kw, self.discharge_kw, stock)
            limited_by = (
                "" if discharge == -power_kw else "empty" if discharge == stock else "power"
            )
        return charge, discharge, limited_by


def keep_fraction(battery: BatteryParameters, hours: float) -> float:
    """Fraction of the stored energy that self-discharge leaves.

    Parameters
    ----------
    battery : the battery.
    hours : time that passes [h].

    Returns
    -------
    The fraction, 0 to 1.
    """
    return (1.0 - battery.self_discharge_per_h) ** hours


def stored_kwh(
    battery: BatteryParameters, charge_kw: np.ndarray, discharge_kw: np.ndarray, hours: float
) -> np.ndarray:
    """Stored energy that follows from powers, not limited in any way.

    Parameters
    ----------
    battery : the battery, which starts at its `soc_initial`.
    charge_kw, discharge_kw : powers [kW], one an interval.
    hours : length of an interval [h].

    Returns
    -------
    Energy at the end of each interval [kWh].
    """
    change = energy_kwh(
        battery.eta_charge * charge_kw - discharge_kw / battery.eta_discharge, hours
    )
    start, keep = battery.soc_initial * battery.capacity_kwh, keep_fraction(battery, hours)
    if keep == 1.0:
        return start + np.cumsum(change)
    stored = np.empty(len(change))
    for t, delta in enumerate(change.tolist()):
        start = start * keep + delta
        stored[t] = start
    return stored
