"""Schedules that follow from wanted powers: carried out battery by battery, within grid limits and
cycles, and settled by the grid.

Powers are means over an interval at the AC terminals [kW], positive where a battery charges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vpp.schedule.bank import Bank
from vpp.schedule.battery import Battery
from vpp.schedule.checks import Arrays, rounding
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

    Raises
    ------
    ValueError : powers of more or fewer batteries or intervals than there are.
    """
    if devices is None:
        devices = idle_devices(problem)
    net = problem.load_kw + charge_kw.sum(axis=0) - discharge_kw.sum(axis=0) - problem.renewables_kw
    for key, _, device in problem.devices:
        net = net + device.net_kw(devices[key])
    if curtailed_kw is None:
        curtailed_kw = _cheapest_curtailment(problem, net, discharge_kw - charge_kw)
    net = net + curtailed_kw
    stack, shape = problem.stack, (len(problem.batteries), problem.intervals)
    if charge_kw.shape != shape or discharge_kw.shape != shape:
        raise ValueError(
            f"argument of shape {charge_kw.shape}; expected (battery, interval) {shape}"
        )
    soc = stack.stored_kwh(charge_kw, discharge_kw) / stack.capacity_kwh
    powers = (np.maximum(net, 0.0), np.maximum(-net, 0.0))
    return Schedule(charge_kw, discharge_kw, curtailed_kw, *powers, soc, dict(devices))


def idle_devices(problem: Problem) -> dict[str, Arrays]:
    """Arrays of all devices beside batteries, by their keys, in which they do what they must."""
    return {key: device.idle(problem.horizon) for key, _, device in problem.devices}


def with_load_of(problem: Problem, devices: Mapping[str, Arrays]) -> Problem:
    """The problem in which devices beside batteries are a part of the load.

    Parameters
    ----------
    problem : what is scheduled.
    devices : arrays of each by its key.

    Returns
    -------
    The problem with batteries alone.
    """
    if not problem.devices:
        return problem
    load = problem.load_kw + sum(device.net_kw(devices[key]) for key, _, device in problem.devices)
    kinds: dict[str, Any] = {path.partition("[")[0]: () for _, path, _ in problem.devices}
    return replace(problem, load_kw=load, **kinds)


def clipped_kw(problem: Problem, given_kw: np.ndarray) -> np.ndarray:
    """Renewables that their inverters cannot let through.

    Parameters
    ----------
    problem : what is scheduled.
    given_kw : discharging less charging power of the batteries [kW] (battery, interval).

    Returns
    -------
    Powers [kW], one an interval.
    """
    clipped = np.zeros(problem.intervals)
    places = {battery.battery_id: b for b, battery in enumerate(problem.batteries)}
    for inverter in problem.inverters:
        batteries = given_kw[[places[name] for name in inverter.batteries]].sum(axis=0)
        flow = inverter.renewables_share * problem.renewables_kw + batteries
        clipped = clipped + np.maximum(flow - inverter.ac_kw, 0.0)
    return clipped


def _cheapest_curtailment(problem: Problem, net_kw: np.ndarray, given_kw: np.ndarray) -> np.ndarray:
    """Curtailed renewables [kW] that break grid limits least, and then cost least.

    Renewables beyond the AC limit of their inverter are curtailed, whatever it costs.
    """
    clipped = clipped_kw(problem, given_kw)
    if not problem.curtailable:
        return clipped
    most_in, most_out = problem.import_limit_kw, problem.export_limit_kw
    bends = [-net_kw, problem.renewables_kw, -net_kw - most_out, most_in - net_kw]
    if problem.settlement.position_kw is not None:
        bends.append(problem.settlement.position_kw - net_kw)
    most = np.maximum(problem.renewables_kw, clipped)
    choices = np.clip(np.stack((clipped, *bends)), clipped, most)
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
    keep_charge, keep_discharge = kept_shares(problem, t, charge, discharge)
    return [power[0] * keep_charge - power[1] * keep_discharge for power in possible]


def kept_shares(
    problem: Problem, t: int, charge_kw: float, discharge_kw: float
) -> tuple[float, float]:
    """Shares of all charging and discharging that the grid connection leaves, as `within_grid`.

    Parameters
    ----------
    problem : what is scheduled.
    t : number of the interval.
    charge_kw, discharge_kw : powers of all batteries together [kW].

    Returns
    -------
    The shares, 0 to 1.
    """
    load, renewables = float(problem.load_kw[t]), float(problem.renewables_kw[t])
    must_run = 0.0 if problem.curtailable else renewables
    moved = charge_kw - discharge_kw
    over = max(0.0, load - renewables + moved - float(problem.import_limit_kw[t]))
    under = max(0.0, must_run - load - moved - float(problem.export_limit_kw[t]))
    return (
        max(0.0, 1 - over / charge_kw) if charge_kw else 1.0,
        max(0.0, 1 - under / discharge_kw) if discharge_kw else 1.0,
    )


def carried(
    problem: Problem, wanted_kw: Sequence[float] | np.ndarray, bank: Bank
) -> tuple[np.ndarray, np.ndarray]:
    """Wanted powers carried out in an interval as far as batteries and grid connection allow.

    Parameters
    ----------
    problem : what is scheduled.
    wanted_kw : power wanted of each battery [kW], positive where it charges.
    bank : the batteries as they are, which go on to the next interval.

    Returns
    -------
    Charging and discharging power of each battery [kW].
    """
    charge, discharge = bank.possible_kw(np.asarray(wanted_kw, dtype=float))
    shares = kept_shares(problem, bank.t, float(charge.sum()), float(discharge.sum()))
    charge, discharge = bank.at_least(charge * shares[0]), discharge * shares[1]
    bank.move(charge, discharge)
    return charge, discharge


def carry_out(
    problem: Problem,
    wanted_kw: Callable[[int, Bank], Sequence[float] | np.ndarray],
    devices: Mapping[str, Arrays] | None = None,
) -> Schedule:
    """The schedule that results from wanted powers, interval by interval.

    A battery is not asked for a power that would break a limit of the grid connection, nor for more
    than its cycles of the local day leave.

    Parameters
    ----------
    problem : what is scheduled.
    wanted_kw : gives the power wanted of each battery [kW], positive where it charges, from the
        number of the interval and the batteries as they are.
    devices : arrays of each other device by its key; by default they do what they must.

    Returns
    -------
    The schedule.
    """
    devices = idle_devices(problem) if devices is None else devices
    bank, alone = Bank(problem), with_load_of(problem, devices)
    charge, discharge = np.zeros((2, len(problem.batteries), problem.intervals))
    for t in range(problem.intervals):
        charge[:, t], discharge[:, t] = carried(alone, wanted_kw(t, bank), bank)
    return settle(problem, charge, discharge, devices=devices)


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
    devices = idle_devices(problem)
    load = with_load_of(problem, devices).load_kw
    surplus = (problem.renewables_kw - load).tolist()

    def wanted(t: int, bank: Bank) -> np.ndarray:
        charge, discharge = bank.able_kw()
        able, sign = (charge, 1.0) if surplus[t] > 0 else (discharge, -1.0)
        others_before = np.cumsum(able) - able
        return sign * np.clip(abs(surplus[t]) - others_before, 0.0, able)

    return carry_out(problem, wanted, devices)
