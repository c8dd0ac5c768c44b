"""The solver-free check of a schedule: state of charge, power balance, limits and money recomputed,
every violation listed.

Money is positive where it is paid.
"""

from dataclasses import dataclass

import numpy as np

from vpp.schedule.battery import energy_kwh, keep_fraction, money_eur, stored_kwh
from vpp.schedule.checks import Checks, Violation, rounding
from vpp.schedule.curves import power_at
from vpp.schedule.draft import BOUNDS, GRID, TARGETS
from vpp.schedule.inverters import check_flows
from vpp.schedule.peaks import Peak
from vpp.schedule.problem import Problem, Schedule


@dataclass(frozen=True)
class Replay:
    """Faults and money of a schedule.

    Parameters
    ----------
    violations : faults against physics; a schedule must not have any.
    bends : limits that gave way.
    bent : by how much in all: energy over grid limits [kWh], energy outside SOC bounds times hours
        [kWh h], energy missing to targets [kWh].
    energy_eur, peak_eur, co2_eur : paid for energy with its fee, peaks and CO2 [EUR].
    wear_eur : ageing of the batteries [EUR].
    change_eur : price of what departs from the plan before [EUR].
    left_eur : value of the energy left at the end [EUR].
    position_eur, deviation_eur : parts of `energy_eur`: what the position and what deviations from
        it cost [EUR]; 0 without a position.
    """

    violations: tuple[Violation, ...]
    bends: tuple[Violation, ...]
    bent: tuple[float, float, float]
    energy_eur: float
    peak_eur: float
    co2_eur: float
    wear_eur: float
    change_eur: float
    left_eur: float
    position_eur: float = 0.0
    deviation_eur: float = 0.0

    @property
    def cost_eur(self) -> float:
        """Paid for energy, peaks and CO2 [EUR]."""
        return self.energy_eur + self.peak_eur + self.co2_eur

    @property
    def objective_eur(self) -> float:
        """Cost, wear and price of changes less the value of the energy left [EUR]."""
        return self.cost_eur + self.wear_eur + self.change_eur - self.left_eur


def replay(problem: Problem, schedule: Schedule) -> Replay:
    """Recompute a schedule without a solver: SOC, power balance, bounds, exclusivity and money.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : powers [kW] and SOC as they are claimed.

    Returns
    -------
    Every violation by more than rounding of the quantity that it is about, with its interval and
    amount, and the money [EUR].
    """
    hours, checks = problem.hours, Checks(problem.hours)
    _check_power(problem, schedule, checks)
    _check_sides(problem, schedule, checks)
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    slack = _grid_rounding(problem, schedule)
    over = {
        "import": imports - problem.import_limit_kw,
        "export": exports - problem.export_limit_kw,
    }
    for way, amount in over.items():
        checks.bend(GRID, f"grid.{way}_limit_kw", amount, "kW", slack)
    stack, change = problem.stack, 0.0
    stored_kwh = stack.stored_kwh(schedule.charge_kw, schedule.discharge_kw)
    discharged = energy_kwh(schedule.discharge_kw.sum(axis=1), hours)
    wear = float(money_eur(discharged, stack.wear_eur_per_mwh[:, 0]).sum())
    left = float(money_eur(stored_kwh[:, -1:], stack.terminal_value_eur_per_mwh).sum())
    for b in np.flatnonzero(_looked_at(problem, schedule, stored_kwh)).tolist():
        battery = problem.batteries[b]
        _check_bends(problem, b, _check_battery(problem, schedule, b, checks), checks)
        charge, discharge = schedule.charge_kw[b], schedule.discharge_kw[b]
        if battery.wear_curve:
            wear += wear_of_depth_eur(problem, b, charge, discharge)
        changed = np.nan_to_num(np.abs(charge - discharge - problem.before_kw(battery))).sum()
        change += money_eur(energy_kwh(float(changed), hours), problem.change_price_eur_per_mwh)
    for key, path, device in problem.devices:
        wear += device.replay(schedule.devices[key], checks, path)

    co2_price = problem.co2_kg_per_mwh / 1000 * problem.co2_price_eur_per_t
    co2 = float(money_eur(energy_kwh(imports, hours), co2_price).sum())
    settlement = problem.settlement
    peak = sum(one.peak.price_eur_per_kw * one.excess_kw(imports, hours) for one in problem.peaks)
    return Replay(
        violations=tuple(checks.violations),
        bends=tuple(checks.bends),
        bent=(checks.totals[GRID], checks.totals[BOUNDS], checks.totals[TARGETS]),
        energy_eur=float(settlement.energy_eur(imports, exports).sum()) - co2,
        peak_eur=float(peak),
        co2_eur=co2,
        wear_eur=wear,
        change_eur=change,
        left_eur=left,
        position_eur=float(settlement.position_eur().sum()),
        deviation_eur=float(settlement.deviation_eur(imports, exports).sum()),
    )


def _looked_at(problem: Problem, schedule: Schedule, stored_kwh: np.ndarray) -> np.ndarray:
    """The batteries that have to be looked at one by one.

    All others keep to all their limits, by the same checks for all at once, and have no curves,
    targets or price of changes.
    """
    stack, charge, discharge = problem.stack, schedule.charge_kw, schedule.discharge_kw
    power_kw, energy = 0.99 * stack.power_rounding_kw, 0.99 * stack.energy_rounding_kwh
    capacity = stack.capacity_kwh
    low = np.maximum(stack.soc_min, 0.0) * capacity
    high = np.minimum(stack.soc_max, 1.0) * capacity
    kept = (np.minimum(charge, discharge) <= power_kw) & (
        np.minimum(charge, discharge) >= -power_kw
    )
    kept &= (charge - stack.charge_kw <= power_kw) & (discharge - stack.discharge_kw <= power_kw)
    kept &= (charge <= power_kw) | (charge >= stack.charge_min_kw)
    kept &= (stored_kwh - high <= energy) & (low - stored_kwh <= energy)
    kept &= np.abs(schedule.soc * capacity - stored_kwh) <= energy
    own = np.array(
        [
            bool(b.charge_curve or b.discharge_curve or b.wear_curve or b.soc_targets)
            or b.soc_final is not None
            or b.soc_final_min is not None
            for b in problem.batteries
        ],
        dtype=bool,
    )
    if np.isfinite(stack.cycles_per_day_max).any():
        firsts = np.flatnonzero(np.diff(problem.local_days, prepend=-1))
        cycles = problem.hours * np.add.reduceat(discharge, firsts, axis=1) / capacity
        cycles[:, :1] += stack.cycles_so_far
        own |= (cycles - stack.cycles_per_day_max > energy / capacity).any(axis=1)
    return own | ~kept.all(axis=1) | bool(problem.change_price_eur_per_mwh)


def _grid_rounding(problem: Problem, schedule: Schedule) -> float:
    """Rounding of the connection's powers [kW]."""
    moved = (schedule.charge_kw.sum(axis=0), schedule.discharge_kw.sum(axis=0))
    return rounding(problem.load_kw, problem.renewables_kw, *moved)


def _check_power(problem: Problem, schedule: Schedule, checks: Checks) -> None:
    """Power through the grid connection, curtailment, and the balance of all."""
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    curtailed, renewables = schedule.curtailed_kw, problem.renewables_kw
    slack = _grid_rounding(problem, schedule)
    for name in ("grid_import_kw", "grid_export_kw", "curtailed_kw"):
        checks.violate(f"{name} below 0", -getattr(schedule, name), "kW", slack)
    at_once = np.minimum(imports, exports)
    checks.violate("grid_import_kw and grid_export_kw at once", at_once, "kW", slack)
    net_kw = dict(
        zip(
            (battery.battery_id for battery in problem.batteries),
            schedule.discharge_kw - schedule.charge_kw,
            strict=True,
        )
    )
    plants = (problem.renewables_kw, curtailed, problem.curtailable)
    check_flows(problem.inverters, net_kw, *plants, checks)
    supply = imports - exports + renewables - curtailed
    supply = supply + sum(net_kw.values(), np.zeros(1))
    for key, _, device in problem.devices:
        supply = supply - device.net_kw(schedule.devices[key])
    checks.violate("power balance", np.abs(supply - problem.load_kw), "kW", slack)


def _check_sides(problem: Problem, schedule: Schedule, checks: Checks) -> None:
    """Batteries that may only charge from renewables, or only discharge into consumption."""
    slack = _grid_rounding(problem, schedule)
    charging = np.array([not battery.grid_charging for battery in problem.batteries], dtype=bool)
    discharging = np.array([not b.grid_discharging for b in problem.batteries], dtype=bool)
    if charging.any():
        used = problem.renewables_kw - schedule.curtailed_kw
        above = schedule.charge_kw[charging].sum(axis=0) - used
        checks.violate("grid_charging", above, "kW", slack)
    if discharging.any():
        served = np.maximum(problem.load_kw, 0.0)
        for key, _, device in problem.devices:
            served = served + device.taken_kw(schedule.devices[key])
        above = schedule.discharge_kw[discharging].sum(axis=0) - served
        checks.violate("grid_discharging", above, "kW", slack)


def _check_battery(problem: Problem, schedule: Schedule, b: int, checks: Checks) -> np.ndarray:
    """Physics of a battery; returns its stored energy at the end of each interval [kWh]."""
    battery, path = problem.batteries[b], f"batteries[{b}]"
    charge, discharge = schedule.charge_kw[b], schedule.discharge_kw[b]
    stored = stored_kwh(battery, charge, discharge, problem.hours)
    before = np.concatenate(([battery.soc_initial], stored[:-1] / battery.capacity_kwh))
    slack = rounding(*problem.usable_kw(battery))
    for name, power in (("charge", charge), ("discharge", discharge)):
        checks.violate(f"{path}.{name}_kw below 0", -power, "kW", slack)
        most = problem.by_interval(battery, f"{name}_kw")
        checks.violate(f"{path}.{name}_kw", power - most, "kW", slack)
        curve = getattr(battery, f"{name}_curve")
        if curve:
            above = power - power_at(curve, before)
            checks.violate(f"{path}.{name}_curve", above, "kW", slack)
    below = np.where(charge > slack, battery.charge_min_kw - charge, 0.0)
    checks.violate(f"{path}.charge_min_kw", below, "kW", slack)
    at_once = np.minimum(charge, discharge)
    checks.violate(f"{path} charges and discharges at once", at_once, "kW", slack)
    claimed, slack = schedule.soc[b] * battery.capacity_kwh, rounding(battery.capacity_kwh)
    checks.violate(f"{path}.soc", np.abs(claimed - stored), "kWh", slack)
    checks.violate(f"{path} below empty", -stored, "kWh", slack)
    checks.violate(f"{path} above capacity", stored - battery.capacity_kwh, "kWh", slack)
    if battery.cycles_per_day_max is not None:
        discharged = np.bincount(problem.local_days, energy_kwh(discharge, problem.hours))
        most_kwh = battery.cycles_per_day_max * battery.capacity_kwh
        allowed = np.full(len(discharged), most_kwh)
        allowed[0] = max(0.0, allowed[0] - battery.cycles_so_far * battery.capacity_kwh)
        excess = np.zeros(problem.intervals)
        first = np.searchsorted(problem.local_days, np.arange(len(discharged)))
        excess[first] = discharged - allowed
        checks.violate(f"{path}.cycles_per_day_max", excess, "kWh", slack)
    return stored


def _check_bends(problem: Problem, b: int, stored: np.ndarray, checks: Checks) -> None:
    """Energy [kWh] outside the SOC bounds, and energy missing to targets."""
    battery, path, last = problem.batteries[b], f"batteries[{b}]", problem.intervals - 1
    capacity, end = battery.capacity_kwh, stored[last:]
    low, high = (problem.by_interval(battery, name) * capacity for name in ("soc_min", "soc_max"))
    slack = rounding(capacity)
    checks.bend(BOUNDS, f"{path}.soc_min", low - stored, "kWh", slack)
    checks.bend(BOUNDS, f"{path}.soc_max", stored - high, "kWh", slack)
    for i, target in enumerate(battery.soc_targets):
        t = target.interval
        missing = target.soc_min * capacity - stored[t : t + 1]
        checks.bend(TARGETS, f"{path}.soc_targets[{i}]", missing, "kWh", slack, t)
    if battery.soc_final is not None:
        deviation = np.abs(battery.soc_final * capacity - end)
        checks.bend(TARGETS, f"{path}.soc_final", deviation, "kWh", slack, last)
    if battery.soc_final_min is not None:
        missing = battery.soc_final_min * capacity - end
        checks.bend(TARGETS, f"{path}.soc_final_min", missing, "kWh", slack, last)


def wear_of_depth_eur(
    problem: Problem, b: int, charge_kw: np.ndarray, discharge_kw: np.ndarray
) -> float:
    """Wear by depth of cycle: bands of the capacity, each with its own price.

    Prices rise from band to band, so the cheapest band that can give or take is always the best.

    Parameters
    ----------
    problem : what is scheduled.
    b : number of a battery with a `wear_curve`.
    charge_kw, discharge_kw : its powers [kW], one an interval.

    Returns
    -------
    Wear [EUR], beside that of each MWh discharged.
    """
    battery, hours = problem.batteries[b], problem.hours
    depths, prices = (np.array(values) for values in zip(*battery.wear_curve, strict=True))
    tops = depths * battery.capacity_kwh
    widths, total, keep = np.diff(tops, prepend=0.0), 0.0, keep_fraction(battery, hours)
    full = np.clip(battery.soc_initial * battery.capacity_kwh - (tops - widths), 0.0, widths)
    flows = zip(
        energy_kwh(battery.eta_charge * charge_kw, hours).tolist(),
        energy_kwh(discharge_kw / battery.eta_discharge, hours).tolist(),
        strict=True,
    )
    for put, take in flows:
        full = full * keep
        given = np.clip(take - np.concatenate(([0.0], np.cumsum(full)[:-1])), 0.0, full)
        total += money_eur(float(given @ prices) * battery.eta_discharge, 1.0)
        room = widths - full
        taken = np.clip(put - np.concatenate(([0.0], np.cumsum(room)[:-1])), 0.0, room)
        full = full - given + taken
    return total


def peak_import_kw(problem: Problem, grid_import_kw: np.ndarray) -> float:
    """Highest mean import of a local clock interval of the peak price in short form.

    Parameters
    ----------
    problem : what is scheduled.
    grid_import_kw : imports [kW], one an interval.

    Returns
    -------
    The mean [kW].
    """
    whole = problem.clock_intervals(Peak(0.0, problem.peak_interval_min))
    return float(whole.means_kw(grid_import_kw, problem.hours).max(initial=0.0))
