"""The solver-free check of a schedule: state of charge, power balance, limits and money recomputed,
every violation listed.

Money is positive where it is paid.
"""

from dataclasses import dataclass, field

import numpy as np

from vpp.schedule.battery import TOLERANCE, energy_kwh, money_eur, stored_kwh
from vpp.schedule.problem import Problem, Schedule, Violation


@dataclass(frozen=True)
class Replay:
    """Faults and money of a schedule.

    Parameters
    ----------
    violations : faults against physics; a schedule must not have any.
    bends : limits that gave way at a penalty.
    energy_eur, peak_eur, co2_eur : paid for energy, peak and CO2 [EUR].
    wear_eur : ageing of the batteries [EUR].
    penalty_eur : penalties of the bends, which nobody pays [EUR].
    left_eur : value of the energy left at the end [EUR].
    """

    violations: tuple[Violation, ...]
    bends: tuple[Violation, ...]
    energy_eur: float
    peak_eur: float
    co2_eur: float
    wear_eur: float
    penalty_eur: float
    left_eur: float

    @property
    def cost_eur(self) -> float:
        """Paid for energy, peak and CO2 [EUR]."""
        return self.energy_eur + self.peak_eur + self.co2_eur

    @property
    def objective_eur(self) -> float:
        """Cost, wear and penalties less the value of the energy left [EUR]."""
        return self.cost_eur + self.wear_eur + self.penalty_eur - self.left_eur


def replay(problem: Problem, schedule: Schedule) -> Replay:
    """Recompute a schedule without a solver: SOC, power balance, bounds, exclusivity and money.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : powers [kW] and SOC as they are claimed.

    Returns
    -------
    Every violation by more than `TOLERANCE` of the largest power or capacity, with its interval and
    amount, and the money [EUR].
    """
    hours, grid, penalties = problem.hours, problem.grid, problem.penalties
    checks = _Checks(_tolerance(problem))
    _check_power(problem, schedule, checks)
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    over = checks.bend("grid.import_limit_kw", imports - grid.import_limit_kw, "kW")
    over += checks.bend("grid.export_limit_kw", exports - grid.export_limit_kw, "kW")
    penalty = money_eur(energy_kwh(over, hours), penalties.grid_eur_per_mwh)
    wear = left = 0.0
    for b, battery in enumerate(problem.batteries):
        stored = _check_battery(problem, schedule, b, checks)
        outside, short = _bends_of_battery(problem, b, stored, checks)
        penalty += money_eur(outside * hours, penalties.bound_eur_per_mwh_h)
        penalty += money_eur(short, penalties.target_eur_per_mwh)
        discharged = energy_kwh(float(schedule.discharge_kw[b].sum()), hours)
        wear += money_eur(discharged, battery.wear_eur_per_mwh)
        left += money_eur(float(stored[-1]), battery.terminal_value_eur_per_mwh or 0.0)

    imported, exported = energy_kwh(imports, hours), energy_kwh(exports, hours)
    energy = money_eur(imported, problem.import_price_eur_per_mwh).sum()
    energy -= money_eur(exported, problem.export_price_eur_per_mwh).sum()
    co2_price = problem.import_cost_eur_per_mwh - problem.import_price_eur_per_mwh
    peak_kw = max(0.0, peak_import_kw(problem, imports) - grid.peak_so_far_kw)
    return Replay(
        violations=tuple(checks.violations),
        bends=tuple(checks.bends),
        energy_eur=float(energy),
        peak_eur=float(grid.peak_price_eur_per_kw * peak_kw),
        co2_eur=float(money_eur(imported, co2_price).sum()),
        wear_eur=wear,
        penalty_eur=float(penalty),
        left_eur=left,
    )


@dataclass
class _Checks:
    """Limits that a schedule does not keep by more than a tolerance [kW, kWh]."""

    tolerance: float
    violations: list[Violation] = field(default_factory=list)
    bends: list[Violation] = field(default_factory=list)

    def violate(self, name: str, amount: np.ndarray, unit: str) -> None:
        """Note where an amount above what physics allow is not within the tolerance."""
        self._note(self.violations, name, amount, unit, 0)

    def bend(self, name: str, amount: np.ndarray, unit: str, first: int = 0) -> float:
        """Note where a limit bends from interval `first` on; returns the sum of the amounts."""
        return self._note(self.bends, name, amount, unit, first)

    def _note(self, found: list, name: str, amount: np.ndarray, unit: str, first: int) -> float:
        kept = amount <= self.tolerance  # NaN is not kept
        if kept.all():
            return 0.0
        places = np.flatnonzero(~kept)
        found += [Violation(name, first + int(t), float(amount[t]), unit) for t in places]
        return float(amount[places].sum())


def _tolerance(problem: Problem) -> float:
    """Deviation that is rounding: `TOLERANCE` of the largest power or capacity [kW, kWh]."""
    series = (problem.load_kw, problem.renewables_kw)
    largest = [1.0, *(np.abs(power).max(initial=0.0) for power in series)]
    for battery in problem.batteries:
        largest += [battery.capacity_kwh, battery.charge_kw, battery.discharge_kw]
    return TOLERANCE * float(max(largest))


def _check_power(problem: Problem, schedule: Schedule, checks: _Checks) -> None:
    """Power through the grid connection, curtailment, and the balance of all."""
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    curtailed, renewables = schedule.curtailed_kw, problem.renewables_kw
    for name in ("grid_import_kw", "grid_export_kw", "curtailed_kw"):
        checks.violate(f"{name} below 0", -getattr(schedule, name), "kW")
    at_once = np.minimum(imports, exports)
    checks.violate("grid_import_kw and grid_export_kw at once", at_once, "kW")
    most = renewables if problem.curtailable else 0.0
    checks.violate("curtailed_kw", curtailed - most, "kW")
    supply = imports - exports + renewables - curtailed
    supply = supply + schedule.discharge_kw.sum(axis=0) - schedule.charge_kw.sum(axis=0)
    checks.violate("power balance", np.abs(supply - problem.load_kw), "kW")


def _check_battery(problem: Problem, schedule: Schedule, b: int, checks: _Checks) -> np.ndarray:
    """Physics of a battery; returns its stored energy at the end of each interval [kWh]."""
    battery, path = problem.batteries[b], f"batteries[{b}]"
    charge, discharge = schedule.charge_kw[b], schedule.discharge_kw[b]
    for name, power in (("charge_kw", charge), ("discharge_kw", discharge)):
        checks.violate(f"{path}.{name} below 0", -power, "kW")
        checks.violate(f"{path}.{name}", power - getattr(battery, name), "kW")
    at_once = np.minimum(charge, discharge)
    checks.violate(f"{path} charges and discharges at once", at_once, "kW")
    stored = stored_kwh(battery, charge, discharge, problem.hours)
    claimed = schedule.soc[b] * battery.capacity_kwh
    checks.violate(f"{path}.soc", np.abs(claimed - stored), "kWh")
    checks.violate(f"{path} below empty", -stored, "kWh")
    checks.violate(f"{path} above capacity", stored - battery.capacity_kwh, "kWh")
    if battery.cycles_per_day_max is not None:
        discharged = np.bincount(problem.local_days, energy_kwh(discharge, problem.hours))
        most_kwh = battery.cycles_per_day_max * battery.capacity_kwh
        allowed = np.full(len(discharged), most_kwh)
        allowed[0] = max(0.0, allowed[0] - battery.cycles_so_far * battery.capacity_kwh)
        excess = np.zeros(problem.intervals)
        first = np.searchsorted(problem.local_days, np.arange(len(discharged)))
        excess[first] = discharged - allowed
        checks.violate(f"{path}.cycles_per_day_max", excess, "kWh")
    return stored


def _bends_of_battery(
    problem: Problem, b: int, stored: np.ndarray, checks: _Checks
) -> tuple[float, float]:
    """Energy [kWh] outside the SOC bounds, and energy missing to targets."""
    battery, path, last = problem.batteries[b], f"batteries[{b}]", problem.intervals - 1
    capacity, end = battery.capacity_kwh, stored[last:]
    outside = checks.bend(f"{path}.soc_min", battery.soc_min * capacity - stored, "kWh")
    outside += checks.bend(f"{path}.soc_max", stored - battery.soc_max * capacity, "kWh")
    short = 0.0
    for i, target in enumerate(battery.soc_targets):
        t = target.interval
        missing = target.soc_min * capacity - stored[t : t + 1]
        short += checks.bend(f"{path}.soc_targets[{i}]", missing, "kWh", t)
    if battery.soc_final is not None:
        deviation = np.abs(battery.soc_final * capacity - end)
        short += checks.bend(f"{path}.soc_final", deviation, "kWh", last)
    if battery.soc_final_min is not None:
        missing = battery.soc_final_min * capacity - end
        short += checks.bend(f"{path}.soc_final_min", missing, "kWh", last)
    return outside, short


def peak_import_kw(problem: Problem, grid_import_kw: np.ndarray) -> float:
    """Highest mean import of a clock-aligned peak interval.

    An interval that the problem cuts counts with the part inside it.

    Parameters
    ----------
    problem : what is scheduled.
    grid_import_kw : imports [kW], one an interval.

    Returns
    -------
    The mean [kW].
    """
    blocks = problem.peak_blocks
    return float((np.bincount(blocks, grid_import_kw) / np.bincount(blocks)).max(initial=0.0))
