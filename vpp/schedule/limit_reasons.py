"""Limits of batteries and inverters that an interval is held by, and changes of plan, in words.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/limits.json --output limits.json
"""

from collections.abc import Iterator

import numpy as np

from vpp.schedule.checks import rounding
from vpp.schedule.curves import power_at
from vpp.schedule.problem import Problem, Schedule


def limit_reasons(problem: Problem, schedule: Schedule) -> Iterator[tuple[np.ndarray, str]]:
    """Texts, and where they hold.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.

    Returns
    -------
    Numbers of the intervals and the text for them, for each limit that holds somewhere.
    """
    named = problem.batteries if any(map(_has_limits, problem.batteries)) else ()
    for b, battery in enumerate(named):
        slack = 10 * rounding(*problem.usable_kw(battery))
        before = np.concatenate(([battery.soc_initial], schedule.soc[b, :-1]))
        for way, power in (
            ("charge", schedule.charge_kw[b]),
            ("discharge", schedule.discharge_kw[b]),
        ):
            curve = getattr(battery, f"{way}_curve")
            if curve:
                most = power_at(curve, before)
                rating = problem.by_interval(battery, f"{way}_kw")
                held = (power > slack) & (power >= most - slack) & (most < rating - slack)
                yield (
                    np.flatnonzero(held),
                    f"{battery.battery_id} as fast as its {way}_curve lets it",
                )
        if battery.charge_min_kw:
            charge = schedule.charge_kw[b]
            least = (charge > slack) & (charge <= battery.charge_min_kw + slack)
            yield np.flatnonzero(least), f"{battery.battery_id} at its least power"
    yield from _at_sides(problem, schedule)
    yield from _at_inverters(problem, schedule)
    yield from _changes(problem, schedule)


def _has_limits(battery: object) -> bool:
    names = ("charge_curve", "discharge_curve", "charge_min_kw")
    return any(getattr(battery, name) for name in names)


def _at_sides(problem: Problem, schedule: Schedule) -> Iterator[tuple[np.ndarray, str]]:
    """Where batteries take all the renewables, or serve all the consumption, that they may."""
    slack = 10 * rounding(problem.load_kw, problem.renewables_kw)
    charging = np.array([not battery.grid_charging for battery in problem.batteries], dtype=bool)
    if charging.any():
        power = schedule.charge_kw[charging].sum(axis=0)
        used = problem.renewables_kw - schedule.curtailed_kw
        held = (power > slack) & (power >= used - slack)
        yield np.flatnonzero(held), "charges from renewables only, and takes all"
    discharging = np.array([not b.grid_discharging for b in problem.batteries], dtype=bool)
    if discharging.any():
        served = np.maximum(problem.load_kw, 0.0)
        for key, _, device in problem.devices:
            served = served + device.taken_kw(schedule.devices[key])
        power = schedule.discharge_kw[discharging].sum(axis=0)
        held = (power > slack) & (power >= served - slack)
        yield np.flatnonzero(held), "discharges into consumption only, and serves all"


def clipped_kw(problem: Problem, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Power through inverters, and the part of it that exceeds their limits.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.

    Returns
    -------
    Power before anything is clipped, and what must be clipped (inverter, interval) [kW].
    """
    through = np.zeros((len(problem.inverters), problem.intervals))
    names = {battery.battery_id: b for b, battery in enumerate(problem.batteries)}
    net = schedule.discharge_kw - schedule.charge_kw
    for i, inverter in enumerate(problem.inverters):
        through[i] = inverter.renewables_share * problem.renewables_kw
        for name in inverter.batteries:
            through[i] += net[names[name]]
    limits = np.array([[inverter.ac_kw] for inverter in problem.inverters]).reshape(-1, 1)
    return through, np.maximum(through - limits, 0.0)


def _at_inverters(problem: Problem, schedule: Schedule) -> Iterator[tuple[np.ndarray, str]]:
    """Where an inverter passes all that it can, wherever more than must be is curtailed."""
    through, clipped = clipped_kw(problem, schedule)
    more = schedule.curtailed_kw - clipped.sum(axis=0)
    for i, inverter in enumerate(problem.inverters):
        slack = 10 * rounding(inverter.ac_kw)
        behind = inverter.renewables_share * problem.renewables_kw
        most = np.clip(more, 0.0, behind) + clipped[i]
        held = (through[i] - most >= inverter.ac_kw - slack) | (
            through[i] <= slack - inverter.ac_kw
        )
        text = f"inverter {inverter.inverter_id} at its {inverter.ac_kw:g} kW"
        yield np.flatnonzero(held), text


def _changes(problem: Problem, schedule: Schedule) -> Iterator[tuple[np.ndarray, str]]:
    """Where a battery does otherwise than in the plan before."""
    for b, battery in enumerate(problem.batteries if problem.previous.batteries else ()):
        before = problem.before_kw(battery)
        slack = 10 * rounding(*problem.usable_kw(battery))
        change = schedule.charge_kw[b] - schedule.discharge_kw[b] - before
        for t in np.flatnonzero(np.nan_to_num(np.abs(change)) > slack).tolist():
            was = "hold" if abs(before[t]) <= slack else f"{abs(before[t]):,.1f} kW"
            way = "" if was == "hold" else "charge " if before[t] > 0 else "discharge "
            yield np.array([t]), f"{battery.battery_id} planned before: {way}{was}"
