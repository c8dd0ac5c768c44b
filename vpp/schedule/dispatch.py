"""Schedules that follow from wanted powers: carried out battery by battery, within grid limits and
cycles, and settled by the grid.

Powers are means over an interval at the AC terminals [kW], positive where a battery charges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vpp.schedule.battery import Battery, energy_kwh, stored_kwh
from vpp.schedule.checks import Arrays, rounding
from vpp.schedule.curves import pieces
from vpp.schedule.devices import BY_INTERVAL
from vpp.schedule.problem import Problem, Schedule


def settle(
    problem: Problem,
    charge_kw: np.ndarray,
    discharge_kw: np.ndarray,
    curtailed_kw: np.ndarray | None = None,
    devices: Mapping[str, Arrays] | None = None,
) -> Schedule:
    """The schedule in which the batteries do this and the grid connection takes the rest.

    Parameters
    ----------
    problem : what is scheduled.
    charge_kw, discharge_kw : powers of the batteries [kW] (battery, interval).
    curtailed_kw : curtailed renewables [kW]; by default each interval curtails what is cheapest at
        its own prices and grid limits.
    devices : arrays of each other device by its key; by default they do what they must.

    Returns
    -------
    The schedule; its balances hold exactly.
    """
    if devices is None:
        devices = {key: device.idle(problem.horizon) for key, _, device in problem.devices}
    net = problem.load_kw + charge_kw.sum(axis=0) - discharge_kw.sum(axis=0) - problem.renewables_kw
    for key, _, device in problem.devices:
        net = net + device.net_kw(devices[key])
    if curtailed_kw is None:
        curtailed_kw = _cheapest_curtailment(problem, net)
    net = net + curtailed_kw
    socs = [
        stored_kwh(battery, c, d, problem.hours) / battery.capacity_kwh
        for battery, c, d in zip(problem.batteries, charge_kw, discharge_kw, strict=True)
    ]
    soc = np.array(socs).reshape(len(problem.batteries), problem.intervals)
    powers = (np.maximum(net, 0.0), np.maximum(-net, 0.0))
    return Schedule(charge_kw, discharge_kw, curtailed_kw, *powers, soc, dict(devices))


def _cheapest_curtailment(problem: Problem, net_kw: np.ndarray) -> np.ndarray:
    """Curtailed renewables [kW] that break grid limits least, and then cost least."""
    none = np.zeros(problem.intervals)
    if not problem.curtailable:
        return none
    most_in, most_out = problem.import_limit_kw, problem.export_limit_kw
    bends = [-net_kw, problem.renewables_kw, -net_kw - most_out, most_in - net_kw]
    if problem.settlement.position_kw is not None:
        bends.append(problem.settlement.position_kw - net_kw)
    choices = np.clip(np.stack((none, *bends)), 0.0, problem.renewables_kw)
    imports, exports = np.maximum(net_kw + choices, 0.0), np.maximum(-net_kw - choices, 0.0)
    over = np.maximum(imports - most_in, 0.0) + np.maximum(exports - most_out, 0.0)
    costs = problem.settlement.energy_eur(imports, exports)
    least = over.min(axis=0)
    costs = np.where(over <= least + rounding(least), costs, np.inf)
    return choices[np.argmin(costs, axis=0), np.arange(problem.intervals)]


def within_grid(
    problem: Problem, t: int, wanted_kw: Sequence[float], batteries: Sequence[Battery]
) -> list[float]:
    """Wanted powers, cut back where charging would import, or discharging export, too much.

    Only the powers count that `Battery.step` can carry out: an empty battery makes no room for
    another. If the load alone exceeds the import limit, or must-run renewables alone the export
    limit, batteries are cut to 0 and no further.

    Parameters
    ----------
    problem : what is scheduled.
    t : number of the interval.
    wanted_kw : power wanted of each battery [kW], positive where it charges.
    batteries : the batteries as they are.

    Returns
    -------
    Power of each battery [kW], positive where it charges.
    """
    possible = [
        battery.possible(power, problem.hours)
        for battery, power in zip(batteries, wanted_kw, strict=True)
    ]
    charge, discharge = sum(power[0] for power in possible), sum(power[1] for power in possible)
    load, renewables = float(problem.load_kw[t]), float(problem.renewables_kw[t])
    over = max(0.0, load - renewables + charge - discharge - problem.import_limit_kw[t])
    under = max(
        0.0,
        (0.0 if problem.curtailable else renewables)
        - load
        - charge
        + discharge
        - problem.export_limit_kw[t],
    )
    keep_charge = max(0.0, 1 - over / charge) if charge else 1.0
    keep_discharge = max(0.0, 1 - under / discharge) if discharge else 1.0
    return [power[0] * keep_charge - power[1] * keep_discharge for power in possible]


def carry_out(
    problem: Problem, wanted_kw: Callable[[int, Sequence[Battery]], Sequence[float]]
) -> Schedule:
    """The schedule that results from wanted powers, interval by interval, through `Battery.step`.

    A battery is not asked for a power that would break a limit of the grid connection, nor for more
    than its cycles of the local day leave.

    Parameters
    ----------
    problem : what is scheduled.
    wanted_kw : gives the power wanted of each battery [kW], positive where it charges, from the
        number of the interval and the batteries as they are, with the discharging power that their
        cycles leave.

    Returns
    -------
    The schedule.
    """
    batteries = [Battery.of(battery.at(0)) for battery in problem.batteries]
    charge, discharge = np.zeros((2, len(batteries), problem.intervals))
    days = problem.local_days.tolist()
    used = [battery.cycles_so_far * battery.capacity_kwh for battery in problem.batteries]
    for t in range(problem.intervals):
        if t and days[t] != days[t - 1]:
            used = [0.0] * len(used)
        now = [able_at(problem, b, t, battery) for b, battery in enumerate(batteries)]
        able = tuple(map(within_cycles, now, used, [problem.hours] * len(used)))
        for b, power_kw in enumerate(within_grid(problem, t, wanted_kw(t, able), able)):
            done = able[b].step(power_kw, problem.hours)
            batteries[b] = replace(batteries[b], energy_kwh=done.battery.energy_kwh)
            charge[b, t], discharge[b, t] = done.charge_kw, done.discharge_kw
            used[b] += energy_kwh(done.discharge_kw, problem.hours)
    return settle(problem, charge, discharge)


def able_at(problem: Problem, b: int, t: int, battery: Battery) -> Battery:
    """A battery with what its powers, SOC bounds and curves allow in an interval.

    Parameters
    ----------
    problem : what is scheduled.
    b : number of the battery.
    t : number of the interval.
    battery : the battery as it is.

    Returns
    -------
    The battery, limited for this interval.
    """
    stated = problem.batteries[b]
    limits: dict[str, Any] = {n: float(getattr(stated.at(t), n)) for n in BY_INTERVAL}
    for name in ("charge", "discharge"):
        for at_empty, rise in pieces(getattr(stated, f"{name}_curve")):
            most = max(0.0, at_empty + rise * battery.soc)
            limits[f"{name}_kw"] = min(limits[f"{name}_kw"], most)
    if all(getattr(battery, name) == value for name, value in limits.items()):
        return battery
    return replace(battery, **limits)


def within_cycles(battery: Battery, used_kwh: float, hours: float) -> Battery:
    """The battery with no more discharging power than its cycles leave.

    Parameters
    ----------
    battery : the battery.
    used_kwh : energy that it has discharged that local day [kWh].
    hours : length of the interval [h].

    Returns
    -------
    The battery, limited for this interval.
    """
    if battery.cycles_per_day_max is None:
        return battery
    left = max(0.0, battery.cycles_per_day_max * battery.capacity_kwh - used_kwh)
    return replace(battery, discharge_kw=min(battery.discharge_kw, left / hours))


def idle(problem: Problem) -> Schedule:
    """The schedule in which no battery moves.

    Parameters
    ----------
    problem : what is scheduled.

    Returns
    -------
    The schedule.
    """
    nothing = np.zeros((len(problem.batteries), problem.intervals))
    return settle(problem, nothing, nothing)


def self_consumption(problem: Problem) -> Schedule:
    """The rule that most batteries follow: charge on surplus, discharge on deficit.

    One battery after the other is asked, within its daily cycles.

    Parameters
    ----------
    problem : what is scheduled.

    Returns
    -------
    The schedule.
    """
    deficit = (problem.load_kw - problem.renewables_kw).tolist()

    def wanted(t: int, batteries: Sequence[Battery]) -> list[float]:
        remaining, powers = deficit[t], []
        for battery in batteries:
            charge, discharge, _ = battery.possible(-remaining, problem.hours)
            remaining += charge - discharge
            powers.append(charge - discharge)
        return powers

    return carry_out(problem, wanted)
