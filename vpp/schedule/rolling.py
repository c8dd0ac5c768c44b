"""A rolling horizon: plan, carry out the first steps on actual values, go on from there.

Reads and writes nothing; a terminal shows how far it is.

    python optimization.py backtest --days 30
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vpp.runtime import terminal
from vpp.schedule.bank import Bank
from vpp.schedule.battery import energy_kwh
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.dispatch import carried, settle
from vpp.schedule.following import Following, leaning
from vpp.schedule.held_model import Held, shape
from vpp.schedule.model import build
from vpp.schedule.previous import Previous, PreviousBattery
from vpp.schedule.problem import InfeasibleScheduleError, Problem, Schedule
from vpp.schedule.solver import solve, solve_model


class Rolling:
    """Solves problems one after the other; those of the same shape in the same model.

    Parameters
    ----------
    solver : `highs`, or `cbc`, which keeps no model.
    calm : whether the calmest schedule of those that cost the same is wanted; `roll` then tells
        each plan the one before.

    Attributes
    ----------
    held : the models that are kept, by `shape`.
    reused, rebuilt : how many problems a kept model has solved, and how many had to be built anew.
    seconds : time of all solves [s].
    """

    def __init__(self, solver: str = "highs", calm: bool = False) -> None:
        self.solver, self.calm = solver, calm
        self.held: dict[tuple, Held] = {}
        self.reused = self.rebuilt = 0
        self.seconds = 0.0

    def solve(self, problem: Problem, step: int | None = None) -> Schedule:
        """The cheapest schedule, as `solve_model` finds it.

        Parameters
        ----------
        problem : what is to be scheduled.
        step : number of its first interval, where problems are windows of one span; it saves time.

        Returns
        -------
        The schedule; among those that cost the same, any one unless a calm one is wanted.

        Raises
        ------
        InfeasibleScheduleError : no schedule keeps to physics.
        """
        started, kept = time.perf_counter(), self.solver == "highs" and not problem.scenarios
        schedule = self._reuse(problem, step) if kept else None
        if schedule is None:
            self.rebuilt += 1
            schedule = self._anew(problem)
        else:
            self.reused += 1
        self.seconds += time.perf_counter() - started
        return schedule

    def _anew(self, problem: Problem) -> Schedule:
        """The schedule of a new model; with scenarios that of the first of them."""
        if not problem.scenarios:
            return solve_model(problem, self.solver, explain=False).schedule
        result = solve(problem, self.solver)
        if result.schedule is None:
            raise InfeasibleScheduleError(result.cause)
        return result.schedule

    def _reuse(self, problem: Problem, step: int | None) -> Schedule | None:
        """The schedule that a kept model finds; None where a new model has to."""
        model = build(problem, soft=False, exclusive={})
        key = shape(model)
        if key not in self.held:
            self.held[key] = Held.of(problem, model)
        return self.held[key].solve(problem, model, self.calm, step)


def roll(
    actual: Problem,
    window: Callable[[int, Sequence[ScheduledBattery]], Problem],
    starts: Sequence[int] | np.ndarray,
    rolling: Rolling,
    follow: bool = False,
) -> Schedule:
    """Plan again and again, and carry out the first steps of each plan.

    Parameters
    ----------
    actual : what really happened, with the batteries as they were at the start.
    window : gives the problem seen from an interval on, with the batteries as they are then.
    starts : numbers of the intervals, in their order, from which a new plan is carried out. There
        is one also where a plan ends early.
    rolling : solves the problems.
    follow : whether the batteries follow the meter beside the plan, as the control of a home
        battery can: load and sun are never just as forecast.

    Returns
    -------
    The schedule that results through `Battery.step`; curtailment is decided at actual prices, and
    the grid takes the rest.
    """
    done, beginnings = _Done(actual), np.asarray(starts)
    plan: Schedule | None = None
    planned_at = 0
    with terminal.progress("rolling plan", actual.intervals) as advance:
        while done.count < actual.intervals:
            t = done.count
            problem = window(t, done.batteries_now())
            if problem.grid.peak_price_eur_per_kw:
                grid = replace(problem.grid, peak_so_far_kw=done.peak_kw)
                problem = replace(problem, grid=grid)
            if problem.grid.peaks:
                problem = replace(problem, grid=done.with_peaks(problem.grid))
            if rolling.calm and plan is not None:
                problem = replace(problem, previous=moved_on(plan, problem, t - planned_at))
            if follow and not problem.scenarios:
                problem = leaning(problem)
            plan, planned_at = rolling.solve(problem, t), t
            after = int(np.searchsorted(beginnings, t, side="right"))
            next_start = beginnings[after : after + 1].tolist()
            end = min([t + problem.intervals, actual.intervals, *next_start])
            done.carry_out(plan, end, Following.of(problem, plan) if follow else None)
            advance(end - t)
    return settle(actual, done.charge_kw, done.discharge_kw)


def moved_on(plan: Schedule, problem: Problem, steps: int) -> Previous:
    """A plan as the plan before of a later problem.

    Parameters
    ----------
    plan : the plan, for the batteries of the problem in their order.
    problem : the problem.
    steps : intervals from the start of the plan to that of the problem.

    Returns
    -------
    The powers that it has for each battery; nothing beyond its end.
    """
    said = np.full((2, len(problem.batteries), problem.intervals), np.nan)
    rest = np.stack((plan.charge_kw, plan.discharge_kw))[:, :, steps:][:, :, : problem.intervals]
    said[:, :, : rest.shape[2]] = rest
    named = zip(problem.batteries, *said, strict=True)
    return Previous(tuple(PreviousBattery(one.battery_id, *powers) for one, *powers in named))


class _Done:
    """The state of what was carried out so far: powers, the batteries as they are, and the peak."""

    def __init__(self, actual: Problem) -> None:
        self.actual, self.count, self.peak_kw = actual, 0, actual.grid.peak_so_far_kw
        self.net_kw = actual.load_kw - actual.renewables_kw
        self.bank = Bank(actual)
        shape_of_powers = (len(actual.batteries), actual.intervals)
        self.charge_kw, self.discharge_kw = np.zeros(shape_of_powers), np.zeros(shape_of_powers)

    def batteries_now(self) -> list[ScheduledBattery]:
        """The batteries at the start of the next interval, with their cycles of its local day."""
        days, t = self.actual.local_days, self.count
        today = slice(int(np.searchsorted(days, days[t])), t)
        discharged = energy_kwh(self.discharge_kw[:, today].sum(axis=1), self.actual.hours)
        cycles = (discharged / self.bank.capacity_kwh).tolist()
        now = []
        for battery, soc, used in zip(
            self.actual.batteries, self.bank.soc.tolist(), cycles, strict=True
        ):
            so_far = used + battery.cycles_so_far if days[t] == 0 else used
            now.append(battery.going_on(soc, so_far))
        return now

    def carry_out(self, plan: Schedule, end: int, following: Following | None) -> None:
        """Do what a plan says, or follow it, from the next interval up to `end`."""
        first = self.count
        planned = plan.charge_kw - plan.discharge_kw
        for t in range(first, end):
            wanted = planned[:, t - first]
            if following is not None:
                wanted = following.wanted_kw(t - first, self.net_kw[t])
            done = carried(self.actual, wanted, self.bank)
            self.charge_kw[:, t], self.discharge_kw[:, t] = done
        self.count = end
        if self.actual.grid.peak_price_eur_per_kw:
            self.peak_kw = max(self.peak_kw, self._peak_since(first))

    def with_peaks(self, grid: GridConnection) -> GridConnection:
        """The connection of a window whose peaks know what was done before it."""
        now = {}
        for one in self.actual.peaks[-len(self.actual.grid.peaks) :]:
            state = one.state(self._imports(slice(0, self.count)), self.actual.hours)
            now[one.peak.price_eur_per_kw, one.peak.interval_min, one.peak.window] = state
        fresh = [replace(peak, so_far_kw=0.0, running_interval_kwh=0.0) for peak in grid.peaks]
        keys = [(peak.price_eur_per_kw, peak.interval_min, peak.window) for peak in fresh]
        known = [now.get(key, peak) for key, peak in zip(keys, fresh, strict=True)]
        return replace(grid, peaks=tuple(known))

    def _imports(self, part: slice) -> np.ndarray:
        """Net imports of what was done, at least 0 [kW]."""
        moved = self.charge_kw[:, part].sum(axis=0) - self.discharge_kw[:, part].sum(axis=0)
        return np.maximum(self.net_kw[part] + moved, 0.0)

    def _peak_since(self, first: int) -> float:
        """Highest mean import of the peak intervals from that of interval `first` on [kW].

        Of an interval that goes on, the mean is that of the part that is done.
        """
        (whole,) = self.actual.peaks[:1]
        blocks = whole.block
        part = slice(int(np.searchsorted(blocks, blocks[first])), self.count)
        block = blocks[part] - blocks[first]
        means = np.bincount(block, self._imports(part)) / np.bincount(block)
        return float(means.max())
