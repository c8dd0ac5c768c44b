"""The cost of ways to run the site, what they save, and how many limits each of them bends.

Pure: reads and writes nothing.

    python optimization.py value

Money is EUR, positive where it is paid; energy left in batteries counts at their terminal price.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpp.runtime.errors import VppError
from vpp.runtime.tables import shown
from vpp.schedule.battery import energy_kwh, money_eur, stored_kwh
from vpp.schedule.dispatch import idle
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.replay import Replay, replay
from vpp.schedule.site import without_battery

logger = logging.getLogger("optimization")

# ways to run a site
NO_BATTERY, RULE, PLAN, PERFECT = "no_battery", "rule", "plan", "perfect_foresight"


class BrokenScheduleError(VppError):
    """A schedule that breaks physics, which must be neither stored nor valued.

    Names what, where and by how much.
    """


def net_cost_eur(problem: Problem, schedule: Schedule) -> float:
    """The cost of a schedule: energy, peak, CO2 and wear, less the value of energy that it adds.

    Limits that bend have no price; `bent_limits` counts them.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.

    Returns
    -------
    The cost [EUR].
    """
    return _net_eur(problem, replay(problem, schedule))


def _net_eur(problem: Problem, money: Replay) -> float:
    """`net_cost_eur` of a schedule's replay."""
    start = sum(
        money_eur(b.soc_initial * b.capacity_kwh, b.terminal_value_eur_per_mwh or 0.0)
        for b in problem.batteries
    )
    return money.objective_eur + start


def interval_costs_eur(problem: Problem, schedule: Schedule) -> np.ndarray:
    """The cost of each interval: energy, CO2 and wear, less the value of energy that it adds.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.

    Returns
    -------
    Costs [EUR], one an interval. Their sum is `net_cost_eur` but for the peak, which belongs to no
    interval.
    """
    costs = problem.settlement.energy_eur(schedule.grid_import_kw, schedule.grid_export_kw)
    for battery, charge, discharge in zip(
        problem.batteries, schedule.charge_kw, schedule.discharge_kw, strict=True
    ):
        stored = stored_kwh(battery, charge, discharge, problem.hours)
        added = np.diff(stored, prepend=battery.soc_initial * battery.capacity_kwh)
        costs += money_eur(energy_kwh(discharge, problem.hours), battery.wear_eur_per_mwh)
        costs -= money_eur(added, battery.terminal_value_eur_per_mwh or 0.0)
    return costs


def replay_or_raise(problem: Problem, schedule: Schedule, name: str) -> Replay:
    """The replay of a schedule that keeps to physics; limits that bend are in it.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.
    name : how a message calls the schedule.

    Raises
    ------
    BrokenScheduleError : it does not keep to physics.
    """
    money = replay(problem, schedule)
    if money.violations:
        worst = max(
            money.violations, key=lambda violation: np.nan_to_num(violation.amount, nan=np.inf)
        )
        raise BrokenScheduleError(
            f"{name} from {shown(problem.start)} breaks physics in {len(money.violations)} "
            "places, most in interval"
            f" {worst.interval}: {worst.field} by {worst.amount:g} {worst.unit}; expected none: "
            "nothing is stored, report this defect"
        )
    return money


@dataclass(frozen=True, eq=False)
class Valuation:
    """Ways to run one site over the same intervals, and the cost of each.

    Parameters
    ----------
    ways : problem and schedule by name: "no_battery", those that were given and, where it is known,
        "perfect_foresight".
    replays : the replay of each.
    """

    ways: dict[str, tuple[Problem, Schedule]]
    replays: dict[str, Replay]

    @cached_property
    def cost_eur(self) -> dict[str, float]:
        """`net_cost_eur` of each way [EUR]."""
        replays = self.replays
        return {name: _net_eur(way[0], replays[name]) for name, way in self.ways.items()}

    @cached_property
    def bent_limits(self) -> dict[str, int]:
        """How many limits each way bends; each interval counts."""
        return {name: len(money.bends) for name, money in self.replays.items()}

    def captured_share(self, name: str) -> float | None:
        """Share of what perfect foresight saves that a way saves; None where that is not known."""
        if PERFECT not in self.cost_eur:
            return None
        return captured_share(*(self.cost_eur[key] for key in (NO_BATTERY, name, PERFECT)))

    def by_interval(self) -> dict[str, np.ndarray]:
        """Cost of each interval [EUR]; a peak is in the last, so that the sum is `cost_eur`."""
        costs = {name: interval_costs_eur(*way) for name, way in self.ways.items()}
        for name, values in costs.items():
            values[-1] += self.cost_eur[name] - values.sum()
        return costs

    def warn_of_bent_limits(self) -> None:
        """Log the counts where a way bends a limit."""
        if any(self.bent_limits.values()):
            logger.warning("%s", bent_in_words(self.bent_limits))


def value_ways(problem: Problem, schedules: Mapping[str, Schedule]) -> Valuation:
    """Value schedules of one problem beside the site without batteries.

    Parameters
    ----------
    problem : the site over the intervals.
    schedules : schedules by the names of their ways.

    Raises
    ------
    BrokenScheduleError : a schedule breaks physics; nothing is said of its money.
    """
    alone = without_battery(problem)
    ways = {NO_BATTERY: (alone, idle(alone))}
    ways |= {name: (problem, schedule) for name, schedule in schedules.items()}
    replays = {n: replay_or_raise(*way, n.replace("_", " ")) for n, way in ways.items()}
    return Valuation(ways, replays)


def bent_in_words(bent: Mapping[str, int]) -> str:
    """Counts of bent limits as a line to print."""
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in bent.items())
    return f"limits not kept (each interval counts), of which no cost is shown: {counts}"


def captured_share(no_battery_eur: float, plan_eur: float, perfect_eur: float) -> float | None:
    """Share of what perfect foresight saves that a plan saved.

    Of ways that bend different limits it compares what is not alike: money alone says nothing of a
    limit that was not kept.

    Parameters
    ----------
    no_battery_eur, plan_eur, perfect_eur : cost without a battery, of the plan, and with perfect
        foresight [EUR].

    Returns
    -------
    The share, a fraction; None where there was nothing to save.
    """
    possible = no_battery_eur - perfect_eur
    return (
        (no_battery_eur - plan_eur) / possible
        if possible > 1e-9 * max(1.0, abs(no_battery_eur))
        else None
    )


def compare(
    actual: Problem, schedules: dict[str, Schedule], counted: np.ndarray | None
) -> list[dict]:
    """Compare schedules of one problem, perfect foresight among them.

    With counted intervals, `share_without_day` leaves out what the others cost, less the value of
    the energy that they add to the batteries at the terminal price; the peak stays. It may still be
    above 1: perfect foresight costs least over the whole span, and may pay more than the terminal
    price, on days that count, for energy that it uses on one that does not.

    Parameters
    ----------
    actual : the site at actual values.
    schedules : schedules by the names of their ways.
    counted : which intervals `share_without_day` counts (interval); None: no such share.

    Returns
    -------
    A row for each way: cost and saving [EUR], captured share as a fraction, and how many limits it
    bends.

    Raises
    ------
    BrokenScheduleError : a schedule breaks physics.
    """
    valued = value_ways(actual, schedules)
    valued.warn_of_bent_limits()
    money = valued.cost_eur
    rows = {
        name: {
            "way": name.replace("_", " "),
            "cost_eur": cost,
            "saved_eur": money[NO_BATTERY] - cost,
            "captured_share": valued.captured_share(name),
        }
        for name, cost in money.items()
    }
    if counted is not None:
        part = {
            name: money[name] - float(interval_costs_eur(*way)[~counted].sum())
            for name, way in valued.ways.items()
        }
        for name, row in rows.items():
            share = captured_share(part[NO_BATTERY], part[name], part[PERFECT])
            row["share_without_day"] = share
    return [row | {"bent_limits": valued.bent_limits[name]} for name, row in rows.items()]
