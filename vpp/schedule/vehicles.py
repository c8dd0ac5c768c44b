"""Electric vehicles: stays at the charger, the energy wanted at departure, and what they may give.

A vehicle is a battery that comes with a state of charge and leaves. It is a linear programme; a
binary is added where that charges below the least power, or charges and gives at once. Pure: reads
and writes nothing.

    python optimization.py solve --input examples/home.json --output result.json
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section
from vpp.schedule.battery import money_eur
from vpp.schedule.checks import Arrays, Checks, Read, rounding
from vpp.schedule.curves import check_curve, pieces
from vpp.schedule.device import Device, Horizon
from vpp.schedule.draft import BOUNDS, EQ, GE, INFINITE, LE, TARGETS, Model
from vpp.schedule.exclusive import LeastPower, Pair
from vpp.schedule.stated import stated
from vpp.schedule.stores import unlooped

MOVES = {"cycles": True, "power": True}  # both powers are throughput, and calmer when early


@dataclass(frozen=True)
class Session(Section):
    """A stay of a vehicle at its charger."""

    arrival: int = stated("interval from whose start it is connected", low=0)
    departure: int = stated("interval at whose start it leaves; may lie behind the last one", low=1)
    soc_arrival: float = stated("SOC with which it comes", low=0, high=1)
    soc_departure_min: float = stated("least SOC wanted when it leaves", 0.0, low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.departure <= self.arrival:
            raise FieldError("departure", self.departure, f"more than arrival = {self.arrival}")


@dataclass(frozen=True, eq=False)
class Vehicle(Device):
    """An electric vehicle, its charger and its stays."""

    NAME = "vehicle_id"
    TAKES = ("charge_kw",)
    GIVES = ("discharge_kw",)
    CYCLES = True

    vehicle_id: str = stated("a name of its own", least_length=1)
    capacity_kwh: float = stated("energy between SOC 0 and 1 [kWh]", above=0)
    charge_kw: float = stated("largest charging power at the AC terminals [kW]", low=0)
    sessions: tuple[Session, ...] = stated("its stays, in order of time")
    discharge_kw: float = stated("largest power that it gives [kW]; 0: none", 0.0, low=0)
    charge_min_kw: float = stated("it charges at 0 or at least this [kW]", 0.0, low=0)
    charge_curve: tuple[tuple[float, ...], ...] = stated(
        "[soc, kW]: charging power by SOC at the start of the interval; linear between, concave", ()
    )
    eta_charge: float = stated("stored over charged energy", 1.0, high=1, above=0)
    eta_discharge: float = stated("delivered over taken energy", 1.0, high=1, above=0)
    soc_min: float = stated("lower bound of SOC while connected; may bend", 0.0, low=0, high=1)
    soc_max: float = stated("upper bound of SOC while connected; may bend", 1.0, low=0, high=1)
    wear_eur_per_mwh: float = stated("cost of ageing for each MWh that it gives", 0.0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.soc_min > self.soc_max:
            raise FieldError("soc_min", self.soc_min, f"at most soc_max = {self.soc_max:g}")
        check_curve("charge_curve", self.charge_curve)
        for j, (before, after) in enumerate(zip(self.sessions, self.sessions[1:], strict=False)):
            if after.arrival < before.departure:
                expected = f"{before.departure} or more, when the session before it has ended"
                raise FieldError(f"sessions[{j + 1}].arrival", after.arrival, expected)

    def stays(self, intervals: int) -> Iterator[tuple[int, Session, int]]:
        """Number of each session that begins within the horizon, the session, and its end there."""
        for j, session in enumerate(self.sessions):
            if session.arrival < intervals:
                yield j, session, min(session.departure, intervals)

    def wanted_kwh(self, session: Session, end: int, hours: float) -> float:
        """Energy that a session wants at its end within the horizon.

        Parameters
        ----------
        session : the session.
        end : its end within the horizon, an interval.
        hours : length of an interval [h].

        Returns
        -------
        Energy wanted at departure less what can still be charged after the horizon [kWh].
        """
        later = (session.departure - end) * hours * self.eta_charge * self.charge_kw
        return session.soc_departure_min * self.capacity_kwh - later

    def connected(self, intervals: int) -> np.ndarray:
        """Whether it is at its charger, one an interval."""
        here = np.zeros(intervals, dtype=bool)
        for _, session, end in self.stays(intervals):
            here[session.arrival : end] = True
        return here

    def most_kw(self, horizon: Horizon) -> tuple[np.ndarray, np.ndarray]:
        """The ratings while it is connected; see `Device.most_kw`."""
        here = self.connected(horizon.intervals)
        return here * self.charge_kw, here * self.discharge_kw

    def draft(self, model: Model, key: str) -> None:
        """Add the vehicle to a model; see `Device.draft`."""
        here = self.connected(model.intervals)
        low, high = self.soc_min * self.capacity_kwh, self.soc_max * self.capacity_kwh
        if model.soft:
            low, high = 0.0, self.capacity_kwh
        lower, upper = np.where(here, low, 0.0), np.where(here, high, 0.0)
        if not model.soft:
            for _, session, end in self.stays(model.intervals):
                wanted = self.wanted_kwh(session, end, model.hours)
                lower[end - 1] = max(lower[end - 1], wanted)
        most = self.charge_kw if self.charge_kw >= self.charge_min_kw else 0.0
        taken = np.where(here, most, 0.0)
        model.add(f"charge_kw_{key}", 0.0, taken, balance=-1.0, serves=True, **MOVES)
        if self.discharge_kw:
            wear = model.hours * self.wear_eur_per_mwh
            given = np.where(here, self.discharge_kw, 0.0)
            model.add(f"discharge_kw_{key}", 0.0, given, wear, balance=1.0, **MOVES)
        model.add(f"energy_kwh_{key}", lower, upper)
        self._balance(model, key)
        self._taper(model, key)
        charge, rounded = f"charge_kw_{key}", rounding(self.charge_kw, self.discharge_kw)
        if self.charge_min_kw:
            model.conditions[f"least_{key}"] = LeastPower(charge, self.charge_min_kw, rounded)
        if self.discharge_kw:
            model.conditions[key] = Pair(charge, f"discharge_kw_{key}", rounded)
        if model.soft:
            self._bend(model, key, here)

    def _balance(self, model: Model, key: str) -> None:
        """Energy is that before, or that on arrival, plus what is charged less what is given."""
        for j, session, end in self.stays(model.intervals):
            count = end - session.arrival
            rows, places = np.arange(count), np.arange(session.arrival, end)
            right = np.zeros(count)
            right[0] = session.soc_arrival * self.capacity_kwh
            gain = -model.hours * self.eta_charge
            terms = [
                (f"energy_kwh_{key}", 1.0, rows, places),
                (f"energy_kwh_{key}", -1.0, rows[1:], places[:-1]),
                (f"charge_kw_{key}", gain, rows, places),
            ]
            if self.discharge_kw:
                loss = model.hours / self.eta_discharge
                terms.append((f"discharge_kw_{key}", loss, rows, places))
            model.constrain(f"balance_energy_{key}_{j}", EQ, right, *terms, count=count)

    def _taper(self, model: Model, key: str) -> None:
        """Charging power is below every line of the curve, by the energy at the start."""
        for i, (kw, rise) in enumerate(pieces(self.charge_curve)):
            slope = rise / self.capacity_kwh
            for j, session, end in self.stays(model.intervals):
                count = end - session.arrival
                rows, places = np.arange(count), np.arange(session.arrival, end)
                right = np.full(count, kw)
                right[0] += rise * session.soc_arrival
                terms = [
                    (f"charge_kw_{key}", 1.0, rows, places),
                    (f"energy_kwh_{key}", -slope, rows[1:], places[:-1]),
                ]
                model.constrain(f"taper_charge_{key}_{j}_{i}", LE, right, *terms, count=count)

    def _bend(self, model: Model, key: str, here: np.ndarray) -> None:
        """Energy outside the bounds, and energy missing at departures."""
        energy, high = (f"energy_kwh_{key}", 1.0), np.where(here, INFINITE, 0.0)
        bends: dict[str, Any] = {"bends": BOUNDS, "weight": model.hours}
        low_kwh = np.where(here, self.soc_min * self.capacity_kwh, 0.0)
        if self.soc_min:
            model.add(f"below_kwh_{key}", 0.0, high, **bends)
            model.constrain(f"bend_soc_min_{key}", GE, low_kwh, energy, (f"below_kwh_{key}", 1.0))
        if self.soc_max < 1:
            high_kwh = np.where(here, self.soc_max * self.capacity_kwh, 0.0)
            model.add(f"above_kwh_{key}", 0.0, high, **bends)
            model.constrain(f"bend_soc_max_{key}", LE, high_kwh, energy, (f"above_kwh_{key}", -1.0))
        stays = list(self.stays(model.intervals))
        if stays:
            count, ends = len(stays), np.array([end - 1 for _, _, end in stays])
            wanted = [self.wanted_kwh(session, end, model.hours) for _, session, end in stays]
            model.add(f"short_kwh_{key}", count=count, bends=TARGETS, weight=1.0)
            terms = (f"energy_kwh_{key}", 1.0, np.arange(count), ends), (f"short_kwh_{key}", 1.0)
            model.constrain(f"bend_departure_{key}", GE, np.array(wanted), *terms, count=count)

    def _most_kw(self, soc: np.ndarray | float) -> np.ndarray:
        """Most charging power at a SOC [kW]."""
        limits = [kw + rise * np.asarray(soc) for kw, rise in pieces(self.charge_curve)]
        return np.min([np.full(np.shape(soc), self.charge_kw), *limits], axis=0)

    def read(self, read: Read, hours: float) -> Arrays:
        """The vehicle's powers and SOC in a solution; see `Device.read`."""
        charge, least = read("charge_kw"), self.charge_min_kw
        discharge = np.zeros(len(charge))
        if self.discharge_kw:
            eta = self.eta_charge * self.eta_discharge
            charge, discharge = unlooped(charge, read("discharge_kw"), eta)
        if least:  # what is near is rounding; what is between breaks a condition
            rounded = np.where(charge < least / 2, 0.0, np.maximum(charge, least))
            near = np.abs(charge - rounded) <= rounding(self.charge_kw)
            charge = np.where(near, rounded, charge)
        return self._with_soc(charge, discharge, hours)

    def _with_soc(self, charge: np.ndarray, discharge: np.ndarray, hours: float) -> Arrays:
        """The arrays of powers [kW]; SOC follows from them, and is NaN while it is away."""
        soc = np.full(len(charge), np.nan)
        change = hours * (self.eta_charge * charge - discharge / self.eta_discharge)
        for _, session, end in self.stays(len(charge)):
            stay = slice(session.arrival, end)
            soc[stay] = session.soc_arrival + np.cumsum(change[stay]) / self.capacity_kwh
        return {"charge_kw": charge, "discharge_kw": discharge, "soc": soc}

    def idle(self, horizon: Horizon) -> Arrays:
        """The vehicle without a plan: it charges from its arrival until it has what it wants."""
        charge, hours = np.zeros(horizon.intervals), horizon.hours
        for _, session, end in self.stays(horizon.intervals):
            energy = session.soc_arrival * self.capacity_kwh
            wanted = min(session.soc_departure_min, self.soc_max) * self.capacity_kwh
            for t in range(session.arrival, end):
                most = float(self._most_kw(energy / self.capacity_kwh))
                room = (self.capacity_kwh - energy) / (hours * self.eta_charge)
                missing = max(0.0, wanted - energy) / (hours * self.eta_charge)
                power = max(missing, self.charge_min_kw) if missing > 0 else 0.0
                power = min(power, most, room)
                charge[t] = power if power >= self.charge_min_kw else 0.0
                energy += hours * self.eta_charge * charge[t]
        return self._with_soc(charge, np.zeros(horizon.intervals), hours)

    def replay(self, arrays: Arrays, checks: Checks, path: str) -> float:
        """Check the vehicle's arrays without a solver; see `Device.replay`."""
        charge, discharge, soc = (arrays[name] for name in ("charge_kw", "discharge_kw", "soc"))
        here, capacity = self.connected(len(charge)), self.capacity_kwh
        kw = rounding(self.charge_kw, self.discharge_kw)
        kwh = rounding(capacity)
        for name, power in (("charge_kw", charge), ("discharge_kw", discharge)):
            most = np.where(here, getattr(self, name), 0.0)
            checks.violate(f"{path}.{name} below 0", -power, "kW", kw)
            checks.violate(f"{path}.{name}", power - most, "kW", kw)
        both = np.minimum(charge, discharge)
        checks.violate(f"{path}.charge_kw and discharge_kw at once", both, "kW", kw)
        less = np.where(charge > kw, self.charge_min_kw - charge, 0.0)
        checks.violate(f"{path}.charge_min_kw", less, "kW", kw)
        checks.violate(f"{path}.soc while away", (~here & ~np.isnan(soc)).astype(float), "", 0.5)
        made = self._with_soc(charge, discharge, checks.hours)["soc"]
        for j, session, end in self.stays(len(charge)):
            stay = slice(session.arrival, end)
            energy = capacity * made[stay]
            off = np.abs(capacity * soc[stay] - energy)
            checks.violate(f"{path}.soc", _placed(off, stay, len(charge)), "kWh", kwh)
            for name, amount in (("capacity_kwh", energy - capacity), ("energy below 0", -energy)):
                checks.violate(f"{path}.{name}", _placed(amount, stay, len(charge)), "kWh", kwh)
            before = np.append(session.soc_arrival, made[stay][:-1])
            over = charge[stay] - self._most_kw(before)
            checks.violate(f"{path}.charge_curve", _placed(over, stay, len(charge)), "kW", kw)
            low, high = self.soc_min * capacity - energy, energy - self.soc_max * capacity
            checks.bend(BOUNDS, f"{path}.soc_min", low, "kWh", kwh, session.arrival)
            checks.bend(BOUNDS, f"{path}.soc_max", high, "kWh", kwh, session.arrival)
            missing = self.wanted_kwh(session, end, checks.hours) - energy[-1:]
            name = f"{path}.sessions[{j}].soc_departure_min"
            checks.bend(TARGETS, name, missing, "kWh", kwh, end - 1)
        given = float(discharge.sum()) * checks.hours
        return money_eur(given, self.wear_eur_per_mwh)


def _placed(amount: np.ndarray, stay: slice, intervals: int) -> np.ndarray:
    """Amounts of a stay among all intervals; 0 elsewhere."""
    placed = np.zeros(intervals)
    placed[stay] = amount
    return placed
