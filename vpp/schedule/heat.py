"""Heat stores: a tank or a building with its demand, its losses, a heat pump and a heating rod.

Powers of heat pump and rod are electric, energies are thermal. It is a linear programme as it is.
Pure: reads and writes nothing.

    python optimization.py solve --input examples/home.json --output result.json
"""

from dataclasses import dataclass

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.schedule.checks import Arrays, Checks, Read, rounding
from vpp.schedule.device import Device, Horizon
from vpp.schedule.draft import BOUNDS, EQ, GE, TARGETS, Model
from vpp.schedule.stated import stated


@dataclass(frozen=True, eq=False)
class HeatStore(Device):
    """A tank or a building that holds heat."""

    NAME = "store_id"
    TAKES = ("heat_pump_kw", "rod_kw")

    store_id: str = stated("a name of its own", least_length=1)
    capacity_kwh: float = stated("heat that it holds when it is full [kWh]", above=0)
    energy_initial_kwh: float = stated("heat in it at the start [kWh]", low=0)
    demand_kw: np.ndarray = stated("heat that is drawn [kW]", low=0, series=True)
    heat_pump_kw: float = stated("largest electric power of the heat pump [kW]", low=0)
    cop: np.ndarray = stated("heat over electricity of the heat pump", low=0, series=True)
    energy_min_kwh: float = stated("least heat that is of use [kWh]; may bend", 0.0, low=0)
    energy_final_min_kwh: float | None = stated(
        "heat wanted at the end [kWh]; default energy_initial_kwh", None, low=0
    )
    loss_per_h: float = stated("fraction of the heat lost in an hour", 0.0, low=0, high=1)
    rod_kw: float = stated("largest electric power of the heating rod [kW]", 0.0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.energy_final_min_kwh is None:
            object.__setattr__(self, "energy_final_min_kwh", self.energy_initial_kwh)
        for name in ("energy_initial_kwh", "energy_min_kwh", "energy_final_min_kwh"):
            if getattr(self, name) > self.capacity_kwh:
                expected = f"at most capacity_kwh = {self.capacity_kwh:g}"
                raise FieldError(name, getattr(self, name), expected)

    @property
    def final_kwh(self) -> float:
        """Heat wanted at the end [kWh]."""
        return float(self.energy_final_min_kwh or 0.0)

    def _keep(self, hours: float) -> float:
        """Fraction of the heat that losses leave in an interval of this length [h]."""
        return float((1.0 - self.loss_per_h) ** hours)

    def most_kw(self, horizon: Horizon) -> tuple[float, float]:
        """The ratings of heat pump and rod together; see `Device.most_kw`."""
        return self.heat_pump_kw + self.rod_kw, 0.0

    def draft(self, model: Model, key: str) -> None:
        """Add the store to a model; see `Device.draft`."""
        hours, last = model.hours, model.intervals - 1
        model.add(
            f"heat_pump_kw_{key}", 0.0, self.heat_pump_kw, balance=-1.0, serves=True, power=True
        )
        if self.rod_kw:
            model.add(f"rod_kw_{key}", 0.0, self.rod_kw, balance=-1.0, serves=True, power=True)
        lower = np.full(model.intervals, 0.0 if model.soft else self.energy_min_kwh)
        if not model.soft:
            lower[last] = max(lower[last], self.final_kwh)
        energy = f"energy_kwh_{key}"
        model.add(energy, lower, self.capacity_kwh)
        rows = np.arange(model.intervals)
        demand, cop = (np.broadcast_to(x, model.intervals) for x in (self.demand_kw, self.cop))
        right, keep = -hours * demand, self._keep(hours)
        right[0] += keep * self.energy_initial_kwh
        terms = [
            (energy, 1.0, rows, rows),
            (energy, -keep, rows[1:], rows[:-1]),
            (f"heat_pump_kw_{key}", -hours * cop, rows, rows),
        ]
        if self.rod_kw:
            terms.append((f"rod_kw_{key}", -hours, rows, rows))
        if model.soft:
            unmet = f"unmet_kwh_{key}"
            model.add(unmet, 0.0, hours * demand, bends=TARGETS, weight=1.0)
            terms.append((unmet, -1.0, rows, rows))
        model.constrain(f"balance_heat_{key}", EQ, right, *terms)
        if model.soft:
            self._bend(model, key)

    def _bend(self, model: Model, key: str) -> None:
        """Heat below what is of use, and heat missing at the end."""
        energy = f"energy_kwh_{key}"
        if self.energy_min_kwh:
            model.add(f"below_kwh_{key}", bends=BOUNDS, weight=model.hours)
            below = (f"below_kwh_{key}", 1.0)
            model.constrain(f"bend_heat_min_{key}", GE, self.energy_min_kwh, (energy, 1.0), below)
        if self.final_kwh:
            model.add(f"short_kwh_{key}", count=1, bends=TARGETS, weight=1.0)
            last = np.array([model.intervals - 1])
            terms = (energy, 1.0, np.zeros(1, dtype=int), last), (f"short_kwh_{key}", 1.0)
            model.constrain(f"bend_heat_end_{key}", GE, self.final_kwh, *terms, count=1)

    def read(self, read: Read, hours: float) -> Arrays:
        """The store's powers and heat in a solution; see `Device.read`."""
        pump = read("heat_pump_kw")
        rod = read("rod_kw") if self.rod_kw else np.zeros(len(pump))
        unmet = read("unmet_kwh")
        made = self._made_kwh(pump, rod, hours)
        if len(unmet):
            made = made + unmet
        return {"heat_pump_kw": pump, "rod_kw": rod, "energy_kwh": self._stored(made, hours)}

    def _made_kwh(self, pump: np.ndarray, rod: np.ndarray, hours: float) -> np.ndarray:
        """Heat of the powers less the demand [kWh], one an interval."""
        return hours * (self.cop * pump + rod - self.demand_kw)

    def _stored(self, made: np.ndarray, hours: float) -> np.ndarray:
        """Heat at the end of each interval that follows from what comes in and goes out [kWh]."""
        energy, keep, stored = self.energy_initial_kwh, self._keep(hours), np.empty(len(made))
        for t, change in enumerate(made.tolist()):
            energy = energy * keep + change
            stored[t] = energy
        return stored

    def idle(self, horizon: Horizon) -> Arrays:
        """The store without a plan: a thermostat keeps the heat of the start, or the least."""
        wanted = min(self.capacity_kwh, max(self.energy_min_kwh, self.final_kwh))
        count, hours, keep = horizon.intervals, horizon.hours, self._keep(horizon.hours)
        demand, cop = (np.broadcast_to(x, count).tolist() for x in (self.demand_kw, self.cop))
        pump, rod, stored = np.zeros((3, count))
        energy = self.energy_initial_kwh
        for t in range(count):
            energy = energy * keep - hours * demand[t]
            missing = max(0.0, wanted - energy) / hours
            pump[t] = min(self.heat_pump_kw, missing / cop[t]) if cop[t] else 0.0
            rod[t] = min(self.rod_kw, missing - cop[t] * pump[t])
            energy = max(0.0, energy + hours * (cop[t] * pump[t] + rod[t]))
            stored[t] = energy
        return {"heat_pump_kw": pump, "rod_kw": rod, "energy_kwh": stored}

    def replay(self, arrays: Arrays, checks: Checks, path: str) -> float:
        """Check the store's arrays without a solver; see `Device.replay`."""
        pump, rod, stored = (arrays[x] for x in ("heat_pump_kw", "rod_kw", "energy_kwh"))
        for name, power in (("heat_pump_kw", pump), ("rod_kw", rod)):
            most, kw = getattr(self, name), rounding(getattr(self, name))
            checks.violate(f"{path}.{name} below 0", -power, "kW", kw)
            checks.violate(f"{path}.{name}", power - most, "kW", kw)
        kwh = rounding(self.capacity_kwh, checks.hours * np.asarray(self.demand_kw))
        made = self._made_kwh(pump, rod, checks.hours)
        before = np.append(self.energy_initial_kwh, stored[:-1]) * self._keep(checks.hours)
        unmet = stored - before - made
        checks.violate(f"{path}.energy_kwh", -unmet, "kWh", kwh)
        demand = checks.hours * np.broadcast_to(self.demand_kw, len(pump))
        checks.violate(f"{path}.energy_kwh without its powers", unmet - demand, "kWh", kwh)
        checks.violate(f"{path}.capacity_kwh", stored - self.capacity_kwh, "kWh", kwh)
        checks.violate(f"{path}.energy_kwh below 0", -stored, "kWh", kwh)
        checks.bend(TARGETS, f"{path}.demand_kw", unmet, "kWh", kwh)
        low = self.energy_min_kwh - stored
        checks.bend(BOUNDS, f"{path}.energy_min_kwh", low, "kWh", kwh)
        missing, last = self.final_kwh - stored[-1:], len(stored) - 1
        checks.bend(TARGETS, f"{path}.energy_final_min_kwh", missing, "kWh", kwh, last)
        return 0.0
