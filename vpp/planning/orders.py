"""Orders of people as constraints of a plan: bounds by interval of the batteries' powers and SOC.

An order to charge or discharge asks for the SOC that full power reaches, and keeps the other
direction at 0. Like any SOC bound it bends where the limits of the grid connection leave no room,
and then as little as it can; money comes after it. Pure: reads and writes nothing.

    python -c "from vpp.planning.orders import with_overrides; help(with_overrides)"

Powers are kW, SOC fractions at the end of an interval, times UTC.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vpp.runtime.words import in_one_line
from vpp.schedule.battery import Battery
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.frames import problem_index
from vpp.schedule.problem import Problem
from vpp.storage.overrides import Override

logger = logging.getLogger("optimization")

SLACK = 1e-6  # of the SOC that is asked for: rounding is no bend


def with_overrides(
    problem: Problem, overrides: Mapping[str, Override], now: pd.Timestamp
) -> Problem:
    """The problem with orders as constraints; each is logged with its name and reason.

    Parameters
    ----------
    problem : of the plan.
    overrides : the order in force of each battery, by battery_id.
    now : orders that end by then do not count [UTC].

    Returns
    -------
    The problem.
    """
    starts = problem_index(problem)
    batteries = []
    for battery in problem.batteries:
        order = overrides.get(battery.battery_id)
        if order is None or (order.until is not None and order.until <= now):
            batteries.append(battery)
            continue
        logger.info("override: %s", override_in_words(order))
        end = problem.intervals if order.until is None else int((starts < order.until).sum())
        batteries.append(_ordered(problem, battery, order, end))
    return replace(problem, batteries=tuple(batteries))


def overrides_json(overrides: Mapping[str, Override]) -> list[dict]:
    """Orders as the list that is stored with a plan.

    Parameters
    ----------
    overrides : the order in force of each battery.
    """
    return [
        {
            name: value.isoformat() if isinstance(value, pd.Timestamp) else value
            for name, value in vars(override).items()
            if name != "made_at"
        }
        for override in overrides.values()
    ]


def override_in_words(override: Override) -> str:
    """An order in one line.

    Parameters
    ----------
    override : the order.
    """
    what = override.override
    what += "" if override.soc is None else f" to {override.soc:.0%}"
    what += "" if override.until is None else f" until {override.until:%Y-%m-%dT%H:%MZ}"
    said = f", {override.reason}" if override.reason else ""
    return in_one_line(f"{override.battery_id}: {what} ({override.name or 'no name'}{said})")


def _ordered(
    problem: Problem, battery: ScheduledBattery, order: Override, end: int
) -> ScheduledBattery:
    """The battery with its bounds in the intervals before `end` as ordered."""
    values = {name: problem.by_interval(battery, name).copy() for name in _BOUNDS}
    charges, discharges = order.override == "charge", order.override == "discharge"
    low, high = float(values["soc_min"][0]), float(values["soc_max"][0])
    goal = order.soc
    if goal is None:
        goal = high if charges else low
    bounds = {"soc_max": goal, "soc_min": min(low, goal)} if charges else {"soc_min": goal}
    bounds |= {} if charges else {"soc_max": max(high, goal)}
    plain = {name: float(values[name][0]) for name in _BOUNDS} | bounds
    state = Battery.of(replace(battery, **dict[str, Any](plain)))
    for t in range(end):
        wanted = float(values["charge_kw"][t]) if charges else 0.0
        wanted -= float(values["discharge_kw"][t]) if discharges else 0.0
        state = state.step(wanted, problem.hours).battery
        if not charges:
            values["charge_kw"][t] = 0.0
        if not discharges:
            values["discharge_kw"][t] = 0.0
        reached, slack = state.soc, SLACK
        if charges:
            values["soc_min"][t] = max(0.0, reached - slack)
            values["soc_max"][t] = min(1.0, max(goal, reached) + slack)
        elif discharges:
            values["soc_min"][t] = max(0.0, min(goal, reached) - slack)
            values["soc_max"][t] = min(1.0, reached + slack)
        else:
            values["soc_min"][t] = min(values["soc_min"][t], max(0.0, reached - slack))
            values["soc_max"][t] = max(values["soc_max"][t], min(1.0, reached + slack))
    return replace(battery, **dict[str, Any](_frozen(values)))


_BOUNDS = ("charge_kw", "discharge_kw", "soc_min", "soc_max")


def _frozen(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that nobody changes any more."""
    for value in values.values():
        value.flags.writeable = False
    return dict(values)
