"""The batteries' part of the model: one named function a constraint.

Physics never bends; a soft model has limits that bend and note by how much. Pure: reads and writes
nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from functools import partial

import numpy as np

from vpp.schedule.battery import keep_fraction
from vpp.schedule.checks import rounding
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.draft import BOUNDS, EQ, GE, INFINITE, LE, TARGETS, Model
from vpp.schedule.exclusive import LeastPower, Pair
from vpp.schedule.problem import Problem
from vpp.schedule.stores import balance_energy, fit_alone, taper


def draft_batteries(problem: Problem, model: Model) -> None:
    """Add all batteries to a model.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : the model that gets them.
    """
    for b in range(len(problem.batteries)):
        _add_columns(problem, b, model)
    for b, battery in enumerate(problem.batteries):
        flows = flows_of(battery, problem.hours)
        balance_energy(model, str(b), *flows)
        start_kwh = flows[-1]
        model.conditions[str(b)] = Pair(
            *(f"charge_kw_{b}", f"discharge_kw_{b}"),
            least_kw=rounding(*(powers[b] for powers in problem.stack.usable_kw)),
            pays=_burning_pays(problem, battery),
            fit=partial(_fit, key=str(b), flows=flows),
        )
        if battery.cycles_per_day_max is not None:
            limit_cycles(problem, b, model)
        for power in ("charge", "discharge"):
            curve = getattr(battery, f"{power}_curve")
            if curve:
                taper(model, str(b), f"{power}_kw", curve, battery.capacity_kwh, start_kwh)
        if battery.charge_min_kw:
            least = LeastPower(
                f"charge_kw_{b}", battery.charge_min_kw, rounding(problem.stack.usable_kw[0][b])
            )
            model.conditions[f"least_{b}"] = least
        if battery.wear_curve:
            divide_in_bands(problem, b, model)
        note_changes(problem, b, model)
        if model.may_bend(BOUNDS):
            bend_soc_bounds(problem, b, model)
        if model.may_bend(TARGETS):
            bend_soc_goals(problem, b, model)


def flows_of(battery: ScheduledBattery, hours: float) -> tuple[float, float, float, float]:
    """The parts of a battery's energy balance.

    Parameters
    ----------
    battery : the battery.
    hours : length of an interval [h].

    Returns
    -------
    Energy stored by and taken for a kW of an interval [kWh], the fraction of energy that an
    interval leaves, and the energy at the start [kWh].
    """
    gain, spend = hours * battery.eta_charge, hours / battery.eta_discharge
    start_kwh = battery.soc_initial * battery.capacity_kwh
    return gain, spend, keep_fraction(battery, hours), start_kwh


def _fit(
    model: Model, intervals: np.ndarray, key: str, flows: tuple[float, float, float, float]
) -> None:
    fit_alone(model, key, intervals, *flows)


def _add_columns(problem: Problem, b: int, model: Model) -> None:
    """Powers and stored energy of a battery."""
    battery, steps = problem.batteries[b], problem.intervals
    # ratings far beyond the capacity would make constraints with binaries so loose that solvers'
    # tolerances break them
    charge_kw, discharge_kw = (powers[b] for powers in problem.stack.usable_kw)
    lower, upper = np.zeros(steps), np.ones(steps)
    if not model.may_bend(BOUNDS):
        lower = problem.by_interval(battery, "soc_min").copy()
        upper = problem.by_interval(battery, "soc_max").copy()
    if not model.may_bend(TARGETS):
        for t, sign, soc in soc_goals(problem, b):
            if sign > 0:
                lower[t] = max(lower[t], soc)
            else:
                upper[t] = min(upper[t], soc)
    value = np.zeros(steps)
    value[-1] = -(battery.terminal_value_eur_per_mwh or 0.0)
    wear, capacity = problem.hours * battery.wear_eur_per_mwh, battery.capacity_kwh
    powers = {"cycles": True, "power": True}
    model.add(f"charge_kw_{b}", 0.0, charge_kw, balance=-1.0, **powers)
    model.add(f"discharge_kw_{b}", 0.0, discharge_kw, wear, balance=1.0, **powers)
    model.add(f"energy_kwh_{b}", lower * capacity, upper * capacity, value)


def _burning_pays(problem: Problem, battery: ScheduledBattery) -> np.ndarray:
    """Where a linear programme could gain by charging and discharging a battery at once."""
    eta = battery.eta_charge * battery.eta_discharge
    if eta >= 1 or not (np.any(battery.charge_kw) and np.any(battery.discharge_kw)):
        return np.zeros(0, dtype=int)
    imports, exports = problem.settlement.taking
    # taken energy is imported, or is not exported; renewables that can be curtailed need nobody to
    # burn them
    taking = imports if problem.curtailable else np.minimum(imports, exports)
    return np.flatnonzero(taking < -battery.wear_eur_per_mwh * eta / (1 - eta))


def limit_cycles(problem: Problem, b: int, model: Model) -> None:
    """Energy discharged on a local day stays within its cycles.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of a battery with `cycles_per_day_max`.
    model : the model that gets it.
    """
    days = problem.local_days
    most, every = cycles_left_kwh(problem, problem.batteries[b]), np.arange(problem.intervals)
    terms = (f"discharge_kw_{b}", problem.hours, days, every)
    model.constrain(f"limit_cycles_{b}", LE, most, terms, count=len(most))


def cycles_left_kwh(problem: Problem, battery: ScheduledBattery) -> np.ndarray:
    """Energy that a battery may still discharge.

    Parameters
    ----------
    problem : what is to be scheduled.
    battery : the battery.

    Returns
    -------
    Energy at the AC terminals [kWh], one a local day.
    """
    cycles = battery.cycles_per_day_max
    most_kwh = INFINITE if cycles is None else cycles * battery.capacity_kwh
    left = np.full(problem.local_days[-1] + 1, most_kwh)
    left[0] = max(0.0, left[0] - battery.cycles_so_far * battery.capacity_kwh)
    return left


def divide_in_bands(problem: Problem, b: int, model: Model) -> None:
    """The capacity is divided in bands, of which each has its own wear.

    A battery's powers are the sums of its bands'. Energy at the start lies in the cheapest bands.
    Convex wear by depth of cycle is that of Xu et al., IEEE Trans. Power Systems 33 (2018) 2248.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of a battery with a `wear_curve`.
    model : the model that gets it.
    """
    battery, hours = problem.batteries[b], problem.hours
    gain, spend, keep, start_kwh = flows_of(battery, hours)
    charge_kw, discharge_kw = problem.usable_kw(battery)
    keys, before = [], 0.0
    for j, (depth, price) in enumerate(battery.wear_curve):
        key, width = f"{b}_band_{j}", (depth - before) * battery.capacity_kwh
        inside = min(max(start_kwh - before * battery.capacity_kwh, 0.0), width)
        model.add(f"charge_kw_{key}", 0.0, charge_kw)
        model.add(f"discharge_kw_{key}", 0.0, discharge_kw, hours * price)
        model.add(f"energy_kwh_{key}", 0.0, width)
        balance_energy(model, key, gain, spend, keep, inside)
        keys.append(key)
        before = depth
    for power in ("charge_kw", "discharge_kw"):
        parts = [(f"{power}_{key}", -1.0) for key in keys]
        model.constrain(f"bands_{power}_{b}", EQ, 0.0, (f"{power}_{b}", 1.0), *parts)


def note_changes(problem: Problem, b: int, model: Model) -> None:
    """A variable notes by how much a battery's power departs from the plan before, and its price.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.
    model : the model that gets it.
    """
    cost = problem.hours * problem.change_price_eur_per_mwh
    before_kw = problem.before_kw(problem.batteries[b])
    places = np.flatnonzero(np.isfinite(before_kw))
    count, here = len(places), np.arange(len(places))
    if not count:
        return
    model.add(f"change_kw_{b}", 0.0, INFINITE, cost, count=count)
    names = {"count": count, "numbers": places.tolist()}
    for way, sign in (("more", 1.0), ("less", -1.0)):
        charge = (f"charge_kw_{b}", sign, here, places)
        discharge = (f"discharge_kw_{b}", -sign, here, places)
        terms = (charge, discharge, (f"change_kw_{b}", -1.0))
        model.constrain(f"change_{way}_{b}", LE, sign * before_kw[places], *terms, **names)


def only_from_renewables(problem: Problem, model: Model) -> None:
    """Batteries that must not charge from the grid take no more than the renewables that are used.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : a model with all its powers.
    """
    named = [b for b, battery in enumerate(problem.batteries) if not battery.grid_charging]
    if named:
        charge = [(f"charge_kw_{b}", 1.0) for b in named]
        cut = [(n, 1.0) for n in model.columns if n.startswith(("curtailed_kw", "clipped_kw"))]
        model.constrain("only_from_renewables", LE, problem.renewables_kw, *charge, *cut)


def only_to_consumption(problem: Problem, model: Model) -> None:
    """Batteries that must not discharge into the grid give no more than is consumed.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : a model with all its powers.
    """
    named = [b for b, battery in enumerate(problem.batteries) if not battery.grid_discharging]
    if named:
        load = np.maximum(problem.load_kw, 0.0)
        served = [(name, -1.0) for name, group in model.columns.items() if group.serves]
        discharge = [(f"discharge_kw_{b}", 1.0) for b in named]
        model.constrain("only_to_consumption", LE, load, *discharge, *served)


def soc_goals(problem: Problem, b: int) -> list[tuple[int, int, float]]:
    """The targets of a battery's SOC.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.

    Returns
    -------
    (interval, sign, soc) of each: sign * SOC should be at least sign * soc.
    """
    battery, last = problem.batteries[b], problem.intervals - 1
    goals = [(target.interval, 1, target.soc_min) for target in battery.soc_targets]
    if battery.soc_final_min is not None:
        goals.append((last, 1, battery.soc_final_min))
    if battery.soc_final is not None:
        goals += [(last, 1, battery.soc_final), (last, -1, battery.soc_final)]
    return goals


def bend_soc_bounds(problem: Problem, b: int, model: Model) -> None:
    """Energy outside the SOC bounds is noted.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.
    model : a soft model.
    """
    battery, capacity = problem.batteries[b], problem.batteries[b].capacity_kwh
    energy, weight = (f"energy_kwh_{b}", 1.0), problem.hours
    low, high = (problem.by_interval(battery, name) for name in ("soc_min", "soc_max"))
    for name, side, bound, sense, sign in (
        ("soc_min", "below", low, GE, 1.0),
        ("soc_max", "above", high, LE, -1.0),
    ):
        # a bound that is that of the capacity does not bend
        places = np.flatnonzero(bound > 0) if sense == GE else np.flatnonzero(bound < 1)
        count, here = len(places), np.arange(len(places))
        if count:
            model.add(f"{side}_kwh_{b}", count=count, bends=BOUNDS, weight=weight)
            terms = ((*energy, here, places), (f"{side}_kwh_{b}", sign))
            given = {"count": count, "numbers": places.tolist(), "folds": True}
            model.constrain(f"bend_{name}_{b}", sense, bound[places] * capacity, *terms, **given)


def bend_soc_goals(problem: Problem, b: int, model: Model) -> None:
    """Energy missing to a target is noted.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.
    model : a soft model.
    """
    goals = soc_goals(problem, b)
    if not goals:
        return
    places, signs, socs = (np.array(values) for values in zip(*goals, strict=True))
    count, here = len(goals), np.arange(len(goals))
    model.add(f"short_kwh_{b}", count=count, bends=TARGETS, weight=1.0)
    right = signs * socs * problem.batteries[b].capacity_kwh
    terms = ((f"energy_kwh_{b}", signs.astype(float), here, places), (f"short_kwh_{b}", 1.0))
    model.constrain(f"bend_soc_goals_{b}", GE, right, *terms, count=count)
