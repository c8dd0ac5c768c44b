"""A good schedule of many batteries in little time: grouped, solved, shared out again.

Batteries that are alike are one large battery each; the problem with these is solved; then the
power of each group is shared out, at every interval, among its own so that all of them can go on as
long as possible (Evans, Tindemans and Angeli, IEEE Trans. Power Systems 33 (2018), 4438: the
greatest time to go first). Every battery keeps to its own limits. The schedule is no optimum, but
one that the solver has to beat. Pure: reads and writes nothing.

    python benchmarks/bench_optimization.py
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpp.schedule.bank import Bank
from vpp.schedule.curves import power_at
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import carried, clipped_kw, settle
from vpp.schedule.previous import NO_PLAN_BEFORE
from vpp.schedule.problem import Problem, Schedule

FEWEST, MOST = 8, 128  # groups
# Intervals of all groups that HiGHS solves in a second, on a machine that does much else.
CELLS_A_SECOND = 15_000
SHARE = 0.3  # of the time limit that the groups may take
# HiGHS takes some 11 s for a thousand batteries of 144 intervals, and more than twice as long for
# twice as many.
KNOWN_CELLS, KNOWN_S, POWER = 144_000, 11.0, 1.4


@dataclass(frozen=True, eq=False)
class Shared:
    """A schedule that was shared out, with the values of its groups.

    Parameters
    ----------
    schedule : the schedule.
    battery_value_eur_per_mwh : value of a MWh more in each battery (battery, interval).
    bus_price_eur_per_mwh : value of a MWh more at the bus in each interval.
    """

    schedule: Schedule
    battery_value_eur_per_mwh: np.ndarray
    bus_price_eur_per_mwh: np.ndarray


def expected_s(problem: Problem) -> float:
    """The time that HiGHS may take for a problem, by its size alone [s]."""
    cells = len(problem.batteries) * problem.intervals
    return KNOWN_S * (cells / KNOWN_CELLS) ** POWER


def fleet_schedule(problem: Problem, solve: Callable[[Problem], Any]) -> Shared:
    """A good schedule in a small part of the time limit.

    Parameters
    ----------
    problem : what is to be scheduled.
    solve : gives the cheapest schedule of the groups, with its values, as
        `vpp.schedule.solver.solve_model`.

    Returns
    -------
    The schedule.

    Raises
    ------
    InfeasibleScheduleError : the groups have none.
    """
    limit_s = SHARE * problem.time_limit_s
    most = int(limit_s * CELLS_A_SECOND / problem.intervals)
    most = min(max(most, FEWEST), MOST)
    for count in (most, FEWEST, 1):
        groups = groups_of(problem, count)
        found = solve(replace(grouped(problem, groups), time_limit_s=limit_s))
        if found.status == "optimal":
            break
    value = np.zeros((len(problem.batteries), problem.intervals))
    for members, of_group in zip(groups, found.battery_value_eur_per_mwh, strict=True):
        value[members] = of_group
    return Shared(shared_out(problem, groups, found.schedule), value, found.bus_price_eur_per_mwh)


def groups_of(problem: Problem, most: int) -> list[np.ndarray]:
    """Batteries that are alike.

    Those of different inverters, or that differ in what the grid may do, are never together. The
    largest group is halved where its batteries differ most, until there are enough.

    Parameters
    ----------
    problem : what is to be scheduled.
    most : number of groups.

    Returns
    -------
    Numbers of the batteries of each group.
    """
    features = _features(problem)
    kinds: dict[tuple, list[int]] = {}
    behind = {name: i.inverter_id for i in problem.inverters for name in i.batteries}
    for b, battery in enumerate(problem.batteries):
        kind = (
            behind.get(battery.battery_id),
            *(battery.grid_charging, battery.grid_discharging),
            *(bool(battery.charge_curve), bool(battery.discharge_curve), bool(battery.wear_curve)),
        )
        kinds.setdefault(kind, []).append(b)
    groups = [np.array(members) for members in kinds.values()]
    while len(groups) < most:
        spreads = [np.ptp(features[one], axis=0) * len(one) ** 0.5 for one in groups]
        widest = int(np.argmax([spread.max() for spread in spreads]))
        if not spreads[widest].max():
            break
        members = groups.pop(widest)
        values = features[members, int(np.argmax(spreads[widest]))]
        middle = (values.min() + values.max()) / 2
        groups += [members[values <= middle], members[values > middle]]
    return groups


def _features(problem: Problem) -> np.ndarray:
    """Numbers that say how alike batteries are (battery, feature).

    How long they take to fill and to empty counts most: those that differ in it cannot share a
    power for long.
    """
    stack, capacity = problem.stack, problem.stack.capacity_kwh[:, 0]
    usable = np.maximum((stack.soc_max - stack.soc_min).mean(axis=1), 1e-6) * capacity
    money = stack.wear_eur_per_mwh - stack.terminal_value_eur_per_mwh
    return np.column_stack(
        (
            np.log(np.maximum(stack.charge_kw.mean(axis=1), 1e-9) / usable),
            np.log(np.maximum(stack.discharge_kw.mean(axis=1), 1e-9) / usable),
            3 * np.log(stack.eta_charge * stack.eta_discharge)[:, 0],
            72 * (1 - stack.keep[:, 0]) / problem.hours,
            0.1 * (stack.soc_initial[:, 0] - stack.soc_min.mean(axis=1)) * capacity / usable,
            money[:, 0] / 150,
            np.minimum(stack.cycles_per_day_max[:, 0], 4.0) / 2,
        )
    )


def grouped(problem: Problem, groups: list[np.ndarray]) -> Problem:
    """The problem in which each group is one battery.

    Parameters
    ----------
    problem : what is to be scheduled.
    groups : numbers of the batteries of each.

    Returns
    -------
    The problem of the groups.
    """
    needs = _needed_soc(problem)
    batteries = tuple(
        _group(problem, members, f"group {g}", needs) for g, members in enumerate(groups)
    )
    of_battery = {
        problem.batteries[b].battery_id: f"group {g}" for g, one in enumerate(groups) for b in one
    }
    inverters = tuple(
        replace(one, batteries=tuple(dict.fromkeys(of_battery[name] for name in one.batteries)))
        for one in problem.inverters
    )
    return replace(
        problem, batteries=batteries, inverters=inverters, previous=NO_PLAN_BEFORE, gap=1e-4
    )


def _needed_soc(problem: Problem) -> np.ndarray:
    """The SOC from which each battery can still reach its lower bounds and targets to come."""
    stack, needed = problem.stack, problem.stack.soc_min.copy()
    for b, battery in enumerate(problem.batteries):
        for target in battery.soc_targets:
            needed[b, target.interval] = max(needed[b, target.interval], target.soc_min)
        final = (battery.soc_final, battery.soc_final_min)
        needed[b, -1] = max(needed[b, -1], *(soc for soc in final if soc is not None), 0.0)
    if (needed == needed[:, :1]).all():
        return needed
    rise = problem.hours * stack.eta_charge * stack.charge_kw / stack.capacity_kwh
    for t in range(problem.intervals - 1, 0, -1):
        before = (needed[:, t] - rise[:, t]) / stack.keep[:, 0]
        needed[:, t - 1] = np.maximum(needed[:, t - 1], before)
    return np.minimum(needed, 1.0)


def _group(
    problem: Problem, members: np.ndarray, name: str, needed: np.ndarray
) -> ScheduledBattery:
    """The battery that some batteries are together."""
    stack, one = problem.stack, problem.batteries[members[0]]
    capacity, power = stack.capacity_kwh[members], stack.discharge_kw[members].mean(axis=1)
    total = float(capacity.sum())

    def mean(values: np.ndarray, weights: np.ndarray = capacity[:, 0]) -> float:
        column = values[members, 0]
        return float(np.average(column, weights=weights) if weights.any() else column.mean())

    def share(soc: np.ndarray) -> Any:
        return np.clip((soc * capacity).sum(axis=0) / total, 0.0, 1.0)

    low, high = share(needed[members]), share(stack.soc_max[members])
    cycles = stack.cycles_per_day_max[members]
    values = [problem.batteries[b].terminal_value_eur_per_mwh for b in members]
    return ScheduledBattery(
        battery_id=name,
        capacity_kwh=total,
        charge_kw=stack.charge_kw[members].sum(axis=0),
        discharge_kw=stack.discharge_kw[members].sum(axis=0),
        eta_charge=mean(stack.eta_charge, stack.charge_kw[members].mean(axis=1)),
        eta_discharge=mean(stack.eta_discharge, power),
        soc_min=np.minimum(low, high),
        soc_max=high,
        soc_initial=mean(stack.soc_initial),
        self_discharge_per_h=1.0 - mean(stack.keep) ** (1 / problem.hours),
        wear_eur_per_mwh=mean(stack.wear_eur_per_mwh, power),
        cycles_per_day_max=None
        if np.isinf(cycles).any()
        else float((cycles * capacity).sum() / total),
        cycles_so_far=mean(stack.cycles_so_far),
        terminal_value_eur_per_mwh=None
        if values[0] is None
        else mean(stack.terminal_value_eur_per_mwh),
        charge_curve=_sum_of_curves(problem, members, "charge_curve"),
        discharge_curve=_sum_of_curves(problem, members, "discharge_curve"),
        grid_charging=one.grid_charging,
        grid_discharging=one.grid_discharging,
        wear_curve=one.wear_curve,
    )


def _sum_of_curves(
    problem: Problem, members: np.ndarray, name: str
) -> tuple[tuple[float, ...], ...]:
    """The power limit by SOC of batteries that have the same SOC."""
    curves = [getattr(problem.batteries[b], name) for b in members]
    if not curves[0]:
        return ()
    socs = sorted({point[0] for curve in curves for point in curve})
    power = sum((power_at(curve, np.array(socs)) for curve in curves), np.zeros(1))
    return tuple(zip(socs, power.tolist(), strict=True))


def shared_out(problem: Problem, groups: list[np.ndarray], plan: Schedule) -> Schedule:
    """The schedule in which the batteries of each group do together what it should.

    Parameters
    ----------
    problem : what is to be scheduled.
    groups : numbers of the batteries of each.
    plan : schedule of the groups.

    Returns
    -------
    The schedule; it keeps to all physics of the batteries.
    """
    devices = {key: plan.devices[key] for key, _, _ in problem.devices}
    taken = sum(
        (device.net_kw(devices[key]) for key, _, device in problem.devices),
        np.zeros(problem.intervals),
    )
    alone = replace(problem, load_kw=problem.load_kw + taken) if devices else problem
    bank, wanted_kw = Bank(problem), plan.charge_kw - plan.discharge_kw
    charge, discharge = np.zeros((2, len(problem.batteries), problem.intervals))
    free = _may_help(problem)
    for t in range(problem.intervals):
        able = bank.able_kw()
        power, missing = np.zeros(len(bank)), 0.0
        for members, group_kw in zip(groups, wanted_kw[:, t].tolist(), strict=True):
            part = _filled(bank, able, members, group_kw)
            power[members] = part
            missing += group_kw - float(part.sum())
        if free.any() and abs(missing) > 1e-9:
            power[free] += _helped(bank, able, free, power, missing)
        charge[:, t], discharge[:, t] = carried(alone, power, bank)
    curtailed = None
    sides = (b.grid_charging and b.grid_discharging for b in problem.batteries)
    if problem.inverters or not all(sides):
        curtailed = clipped_kw(problem, discharge - charge)
        if problem.curtailable:  # what is not curtailed may be charged
            curtailed = np.maximum(curtailed, plan.curtailed_kw)
    return settle(problem, charge, discharge, curtailed, devices)


def _may_help(problem: Problem) -> np.ndarray:
    """The batteries that may do what those of another group cannot."""
    behind = {name for one in problem.inverters for name in one.batteries}
    return np.array(
        [
            b.grid_charging and b.grid_discharging and b.battery_id not in behind
            for b in problem.batteries
        ],
        dtype=bool,
    )


def _filled(
    bank: Bank, able: tuple[np.ndarray, np.ndarray], members: np.ndarray, group_kw: float
) -> np.ndarray:
    """Powers of a group's batteries that add up to its own, as far as they can [kW].

    Those with the greatest time to go do more, so that all come to the same.
    """
    if not group_kw:
        return np.zeros(len(members))
    sign, most = (1.0, able[0][members]) if group_kw > 0 else (-1.0, able[1][members])
    wanted = abs(group_kw)
    if most.sum() <= wanted:
        return sign * most
    rating = np.maximum((bank.charge_kw if sign > 0 else bank.discharge_kw)[members, bank.t], 1e-12)
    kept = bank.energy_kwh[members] * bank.keep[members]
    if sign > 0:
        energy = (bank.high_kwh[members, bank.t] - kept) / bank.gain[members]
    else:
        energy = (kept - bank.low_kwh[members, bank.t]) / bank.spend[members]
    intervals = np.maximum(energy, 0.0) / rating  # that it can go on at full power
    if bank.least and sign > 0:  # whole powers, one battery after the other
        order = np.argsort(-intervals, kind="stable")
        before = np.cumsum(most[order]) - most[order]
        part = np.zeros(len(members))
        part[order] = np.clip(wanted - before, 0.0, most[order])
        return part
    low, high = 0.0, float(intervals.max())
    for _ in range(40):
        level = (low + high) / 2
        enough = np.minimum(most, rating * np.maximum(intervals - level, 0.0)).sum() >= wanted
        low, high = (level, high) if enough else (low, level)
    part = np.minimum(most, rating * np.maximum(intervals - low, 0.0))
    return sign * part * min(1.0, wanted / max(float(part.sum()), 1e-12))


def _helped(
    bank: Bank,
    able: tuple[np.ndarray, np.ndarray],
    free: np.ndarray,
    power_kw: np.ndarray,
    missing_kw: float,
) -> np.ndarray:
    """More power of batteries of other groups, where one could not do its own [kW]."""
    up = missing_kw > 0
    room = able[0] - np.maximum(power_kw, 0.0) if up else able[1] - np.maximum(-power_kw, 0.0)
    against = power_kw < 0 if up else power_kw > 0
    room = np.where(against, 0.0, np.maximum(room, 0.0))[free]
    total = float(room.sum())
    return np.sign(missing_kw) * room * min(1.0, abs(missing_kw) / total) if total else room
