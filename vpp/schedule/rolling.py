"""A rolling horizon: plan, carry out the first steps on actual values, go on from where the
batteries are.

`Rolling` solves windows of the same shape in one HiGHS that keeps its model: only costs, bounds and
right-hand sides change."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np

from vpp.runtime import terminal
from vpp.schedule.backends import highs_outcome, matrices, new_highs
from vpp.schedule.battery import Battery, energy_kwh
from vpp.schedule.columns import (
    Columns,
    column_data,
    cycles_left_kwh,
    initial_energy_kwh,
    power_to_serve_kw,
)
from vpp.schedule.constraints import Model
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import settle, within_grid
from vpp.schedule.exclusive import merged, paying_intervals, solution
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.solver import solve_model


@dataclass
class Held:
    """A model in HiGHS, and the places of its columns and rows."""

    model: Model
    highs: highspy.Highs
    columns: np.ndarray
    rows: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray


class Rolling:
    """Solves problems one after the other; those of the same shape in the same model."""

    def __init__(self, solver: str = "highs"):
        self.solver, self.held = solver, {}
        self.reused = self.rebuilt = 0
        self.seconds = 0.0

    def solve(self, problem: Problem) -> Schedule:
        """The cheapest schedule, as `solve_model` finds it.

        Among schedules that cost the same, any one.
        """
        started = time.perf_counter()
        schedule = self._reuse(problem) if self.solver == "highs" else None
        if schedule is None:
            self.rebuilt += 1
            schedule = solve_model(problem, self.solver, explain=False).schedule
        else:
            self.reused += 1
        self.seconds += time.perf_counter() - started
        return schedule

    def _reuse(self, problem: Problem) -> Schedule | None:
        """The schedule of the model that is kept, with binaries for a while where it needs some.

        None where it is infeasible.
        """
        columns = column_data(problem, soft=False)
        held = self.held.get(shape(problem))
        if held is None:
            held = self.held[shape(problem)] = _hold(problem)
        cost, lower, upper = (
            np.concatenate([getattr(group, name) for group in columns.values()])
            for name in ("cost", "lower", "upper")
        )
        if (lower > upper).any():
            return None
        _set_right_sides(held, problem)
        held.highs.changeColsCost(len(held.columns), held.columns, cost)
        held.highs.changeColsBounds(len(held.columns), held.columns, lower, upper)
        held.highs.changeRowsBounds(len(held.rows), held.rows, held.row_lower, held.row_upper)
        model, exclusive = _at(held.model, problem, columns), {}
        while True:
            binaries = _add_binaries(held, columns, exclusive)
            # the clock of HiGHS runs on from one solve to the next
            held.highs.setOptionValue("time_limit", held.highs.getRunTime() + problem.time_limit_s)
            held.highs.run()
            outcome = highs_outcome(held.highs, priced=False)
            _remove_binaries(held, binaries)
            if outcome.status != "optimal":
                return None
            schedule, both = solution(model, outcome.values)
            if not both:
                return schedule
            found = merged(exclusive, both)
            if sum(map(len, found.values())) == sum(map(len, exclusive.values())):
                return None  # these binaries do not settle it: a new model is to
            exclusive = found if exclusive else merged(found, paying_intervals(problem))


def shape(problem: Problem) -> tuple:
    """All that the matrix of a linear programme depends on."""
    batteries = tuple(
        (
            battery.eta_charge,
            battery.eta_discharge,
            battery.self_discharge_per_h,
            battery.cycles_per_day_max is None,
        )
        for battery in problem.batteries
    )
    peaks = problem.peak_blocks.tobytes() if problem.grid.peak_price_eur_per_kw else None
    days = (
        problem.local_days.tobytes()
        if any(battery.cycles_per_day_max for battery in problem.batteries)
        else None
    )
    return problem.intervals, problem.step_min, problem.curtailable, batteries, peaks, days


def _hold(problem: Problem) -> Held:
    model = build(problem, soft=False)
    matrix = matrices(model)
    columns, rows = (
        np.arange(count, dtype=np.int32) for count in (len(matrix.cost), len(matrix.row_lower))
    )
    return Held(
        model,
        new_highs(matrix, problem.time_limit_s, problem.gap),
        columns,
        rows,
        matrix.row_lower,
        matrix.row_upper,
    )


def _set_right_sides(held: Held, problem: Problem) -> None:
    """Write what the constraints of `schedule_model` have on their right, in the order in which the
    model has them.
    """
    values = {
        "balance_power": power_to_serve_kw(problem),
        "measure_peak": problem.grid.peak_so_far_kw,
    }
    for b in range(len(problem.batteries)):
        values[f"balance_energy_{b}"] = initial_energy_kwh(problem, b)
        if f"limit_cycles_{b}" in held.model.rows:
            values[f"limit_cycles_{b}"] = cycles_left_kwh(problem, b)
    firsts = [*held.model.rows.values(), len(held.rows)]
    for name, first, end in zip(held.model.rows, firsts, firsts[1:], strict=False):
        held.row_upper[first:end] = values[name]
        if np.isfinite(held.row_lower[first]):
            held.row_lower[first:end] = values[name]


def _add_binaries(held: Held, columns: dict[str, Columns], exclusive: dict[str, np.ndarray]) -> int:
    """Forbid two opposite powers at once in these intervals, as `schedule_model.exclude_both` does;
    returns the number of binaries.
    """
    firsts, seconds = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
    most = [np.zeros((2, 0))]
    for key, intervals in exclusive.items():
        names = (
            ("grid_import_kw", "grid_export_kw")
            if key == "grid"
            else (f"charge_kw_{key}", f"discharge_kw_{key}")
        )
        firsts.append(columns[names[0]].first + intervals)
        seconds.append(columns[names[1]].first + intervals)
        most.append(np.stack([columns[name].upper[intervals] for name in names]))
    first, second, (first_kw, second_kw) = (
        np.concatenate(firsts),
        np.concatenate(seconds),
        np.concatenate(most, axis=1),
    )
    count, before = len(first), len(held.columns)
    if not count:
        return 0
    added, none = np.arange(before, before + count, dtype=np.int32), np.zeros(0, dtype=np.int32)
    held.highs.addCols(
        count,
        np.zeros(count),
        np.zeros(count),
        np.ones(count),
        0,
        np.zeros(count, dtype=np.int32),
        none,
        np.zeros(0),
    )
    held.highs.changeColsIntegrality(count, added, np.full(count, highspy.HighsVarType.kInteger))
    index = (
        np.stack((np.concatenate((first, second)), np.concatenate((added, added))), axis=1)
        .astype(np.int32)
        .ravel()
    )
    value = np.stack((np.ones(2 * count), np.concatenate((-first_kw, second_kw))), axis=1).ravel()
    upper = np.concatenate((np.zeros(count), second_kw))
    starts = np.arange(0, 4 * count, 2, dtype=np.int32)
    held.highs.addRows(
        2 * count, np.full(2 * count, -np.inf), upper, 4 * count, starts, index, value
    )
    return count


def _remove_binaries(held: Held, count: int) -> None:
    if count:
        columns, rows = len(held.columns), len(held.rows)
        held.highs.deleteCols(count, np.arange(columns, columns + count, dtype=np.int32))
        held.highs.deleteRows(2 * count, np.arange(rows, rows + 2 * count, dtype=np.int32))


def _at(model: Model, problem: Problem, columns: dict[str, Columns]) -> Model:
    """The model with another problem's bounds, to read a solution by."""
    for name, group in columns.items():
        group.first = model.columns[name].first
    return replace(model, problem=problem, columns=columns)


def roll(
    actual: Problem,
    window: Callable[[int, Sequence[ScheduledBattery]], Problem],
    starts: Sequence[int],
    rolling: Rolling,
) -> Schedule:
    """Plan again and again, and carry out the first steps of each plan.

    Parameters
    ----------
    actual : what really happened, with the batteries as they were at the start.
    window : the problem seen from an interval on, with the batteries as they are then.
    starts : numbers of the intervals, in their order, from which a new plan is carried out; also
        where a plan ends early.

    Returns
    -------
    Schedule : what the batteries did through `Battery.step`; curtailment is decided at actual
    prices, the grid takes the rest."""
    batteries = [Battery.of(battery) for battery in actual.batteries]
    charge, discharge = np.zeros((2, len(batteries), actual.intervals))
    days, blocks, peak_kw = actual.local_days, actual.peak_blocks, actual.grid.peak_so_far_kw
    net, starts = power_to_serve_kw(actual), np.asarray(starts)
    with terminal.progress("rolling plan", actual.intervals) as advance:
        t = 0
        while t < actual.intervals:
            today = slice(int(np.searchsorted(days, days[t])), t)
            now = []
            for b, battery in enumerate(actual.batteries):
                cycles = (
                    energy_kwh(float(discharge[b, today].sum()), actual.hours)
                    / battery.capacity_kwh
                )
                before = battery.cycles_so_far if days[t] == 0 else 0.0
                now.append(
                    replace(battery, soc_initial=batteries[b].soc, cycles_so_far=cycles + before)
                )
            problem = window(t, now)
            if problem.grid.peak_price_eur_per_kw:
                problem = replace(problem, grid=replace(problem.grid, peak_so_far_kw=peak_kw))
            plan = rolling.solve(problem)
            end = min([t + problem.intervals, actual.intervals, *starts[starts > t][:1].tolist()])
            planned = (plan.charge_kw - plan.discharge_kw).T.tolist()
            for k in range(t, end):
                for b, power_kw in enumerate(within_grid(actual, k, planned[k - t], batteries)):
                    done = batteries[b].step(power_kw, actual.hours)
                    batteries[b], charge[b, k], discharge[b, k] = (
                        done.battery,
                        done.charge_kw,
                        done.discharge_kw,
                    )
            if actual.grid.peak_price_eur_per_kw:
                first = int(np.searchsorted(blocks, blocks[t]))
                imports = np.maximum(
                    net[first:end]
                    + charge[:, first:end].sum(axis=0)
                    - discharge[:, first:end].sum(axis=0),
                    0.0,
                )
                means = np.bincount(blocks[first:end] - blocks[first], imports) / np.bincount(
                    blocks[first:end] - blocks[first]
                )
                peak_kw = max(peak_kw, float(means.max()))
            advance(end - t)
            t = end
    return settle(actual, charge, discharge)
