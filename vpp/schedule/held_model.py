"""A model that stays in HiGHS while its numbers change.

Windows of the same shape have the same matrix: only costs, bounds and right-hand sides are written
anew. Binaries come for one window, where it needs some, and go again. Pure: reads and writes
nothing.

    python optimization.py backtest --days 30
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import highspy
import numpy as np

from vpp.schedule.backends import Outcome, highs_outcome, matrices, new_highs
from vpp.schedule.columns import (
    Columns,
    column_data,
    cycles_left_kwh,
    initial_energy_kwh,
    power_to_serve_kw,
)
from vpp.schedule.constraints import Model
from vpp.schedule.exclusive import Intervals, merged, paying_intervals, solution
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule


@dataclass
class Held:
    """A model in HiGHS.

    Parameters
    ----------
    model : the PuLP model that it was made of.
    highs : the solver that holds it.
    columns, rows : numbers of its columns and rows.
    row_lower, row_upper : bounds of the rows as they were written last.
    """

    model: Model
    highs: highspy.Highs
    columns: np.ndarray
    rows: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray

    @classmethod
    def of(cls, problem: Problem) -> "Held":
        """The hard model of a problem, handed over to a HiGHS of its own."""
        model = build(problem, soft=False)
        matrix = matrices(model)
        columns = np.arange(len(matrix.cost), dtype=np.int32)
        rows = np.arange(len(matrix.row_lower), dtype=np.int32)
        highs = new_highs(matrix, problem.time_limit_s, problem.gap)
        return cls(model, highs, columns, rows, matrix.row_lower, matrix.row_upper)

    def solve(self, problem: Problem) -> Schedule | None:
        """The cheapest schedule of a problem of the same shape.

        Parameters
        ----------
        problem : what is to be scheduled; its `shape` is that of the model.

        Returns
        -------
        The schedule; None where limits have to bend, time runs out, or binaries do not settle it.
        """
        columns = column_data(problem, soft=False)
        if any((group.lower > group.upper).any() for group in columns.values()):
            return None
        self._write(problem, columns)
        model = self._read_by(problem, columns)
        exclusive: Intervals | None = {}
        while exclusive is not None:
            outcome = self._run(problem, columns, exclusive)
            if outcome.status != "optimal":
                return None
            schedule, both = solution(model, outcome.found)
            if not both:
                return schedule
            exclusive = more_binaries(problem, exclusive, both)
        return None

    def _write(self, problem: Problem, columns: dict[str, Columns]) -> None:
        """Write the problem's costs, bounds and right-hand sides into the model."""
        self._set_right_sides(problem)
        cost, lower, upper = (
            np.concatenate([getattr(group, name) for group in columns.values()])
            for name in ("cost", "lower", "upper")
        )
        self.highs.changeColsCost(len(self.columns), self.columns, cost)
        self.highs.changeColsBounds(len(self.columns), self.columns, lower, upper)
        bounds = (self.row_lower, self.row_upper)
        # type hints of highspy do not name this one
        self.highs.changeRowsBounds(len(self.rows), self.rows, *bounds)  # type: ignore[attr-defined]

    def _set_right_sides(self, problem: Problem) -> None:
        """Set what the constraints of `build` have on their right, in the order of the model."""
        values: dict[str, np.ndarray | float] = {
            "balance_power": power_to_serve_kw(problem),
            "measure_peak": problem.grid.peak_so_far_kw,
        }
        for b in range(len(problem.batteries)):
            values[f"balance_energy_{b}"] = initial_energy_kwh(problem, b)
            if f"limit_cycles_{b}" in self.model.rows:
                values[f"limit_cycles_{b}"] = cycles_left_kwh(problem, b)
        firsts = [*self.model.rows.values(), len(self.rows)]
        for name, first, end in zip(self.model.rows, firsts, firsts[1:], strict=False):
            self.row_upper[first:end] = values[name]
            if np.isfinite(self.row_lower[first]):
                self.row_lower[first:end] = values[name]

    def _read_by(self, problem: Problem, columns: dict[str, Columns]) -> Model:
        """The model with the problem's bounds, to read a solution by."""
        for name, group in columns.items():
            group.first = self.model.columns[name].first
        return replace(self.model, problem=problem, columns=columns)

    def _run(self, problem: Problem, columns: dict[str, Columns], exclusive: Intervals) -> Outcome:
        """The answer with these binaries, in the time that the problem allows."""
        with self._binaries(columns, exclusive):
            # the clock of HiGHS runs on from one solve to the next
            limit_s = self.highs.getRunTime() + problem.time_limit_s
            self.highs.setOptionValue("time_limit", limit_s)
            self.highs.run()
            return highs_outcome(self.highs, priced=False)

    @contextmanager
    def _binaries(self, columns: dict[str, Columns], exclusive: Intervals) -> Iterator[None]:
        """Forbid two opposite powers at once in these intervals, as `exclude_both` does."""
        pairs = [_opposite(columns, key, intervals) for key, intervals in exclusive.items()]
        if not pairs:
            yield
            return
        first, second, first_kw, second_kw = map(np.concatenate, zip(*pairs, strict=True))
        columns_before, rows_before, count = len(self.columns), len(self.rows), len(first)
        binaries = np.arange(columns_before, columns_before + count, dtype=np.int32)
        self._add_binaries(binaries)
        # first <= first_kw * binary, and second <= second_kw * (1 - binary)
        powers, twice = np.concatenate((first, second)), np.concatenate((binaries, binaries))
        most = np.concatenate((-first_kw, second_kw))
        index = np.stack((powers, twice), axis=1).astype(np.int32).ravel()
        value = np.stack((np.ones(2 * count), most), axis=1).ravel()
        lower, upper = np.full(2 * count, -np.inf), np.concatenate((np.zeros(count), second_kw))
        starts = np.arange(0, 4 * count, 2, dtype=np.int32)
        self.highs.addRows(2 * count, lower, upper, 4 * count, starts, index, value)
        try:
            yield
        finally:
            rows = np.arange(rows_before, rows_before + 2 * count, dtype=np.int32)
            self.highs.deleteCols(count, binaries)
            self.highs.deleteRows(2 * count, rows)

    def _add_binaries(self, binaries: np.ndarray) -> None:
        """Columns without cost that are 0 or 1, after those of the model."""
        count, none = len(binaries), np.zeros(0, dtype=np.int32)
        zeros, starts = np.zeros(count), np.zeros(count, dtype=np.int32)
        self.highs.addCols(count, zeros, zeros, np.ones(count), 0, starts, none, np.zeros(0))
        whole = np.full(count, highspy.HighsVarType.kInteger)
        self.highs.changeColsIntegrality(count, binaries, whole)


def shape(problem: Problem) -> tuple:
    """All that the matrix of a linear programme depends on."""
    batteries = tuple(
        (b.eta_charge, b.eta_discharge, b.self_discharge_per_h, b.cycles_per_day_max is None)
        for b in problem.batteries
    )
    peaks = problem.peak_blocks.tobytes() if problem.grid.peak_price_eur_per_kw else None
    counted = any(battery.cycles_per_day_max for battery in problem.batteries)
    days = problem.local_days.tobytes() if counted else None
    return problem.intervals, problem.step_min, problem.curtailable, batteries, peaks, days


def more_binaries(problem: Problem, exclusive: Intervals, both: Intervals) -> Intervals | None:
    """The intervals that get binaries next.

    Parameters
    ----------
    problem : what is to be scheduled.
    exclusive : the intervals that have binaries.
    both : those in which the solution does two opposite things at once.

    Returns
    -------
    The intervals of both kinds, at first also those where doing both pays; None where binaries did
    not settle it, so that a new model has to.
    """
    found = merged(exclusive, both)
    if sum(map(len, found.values())) == sum(map(len, exclusive.values())):
        return None
    return found if exclusive else merged(found, paying_intervals(problem))


def _opposite(
    columns: dict[str, Columns], key: str, intervals: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places of two opposite powers in these intervals, and the most of each [kW]."""
    names = [f"charge_kw_{key}", f"discharge_kw_{key}"]
    if key == "grid":
        names = ["grid_import_kw", "grid_export_kw"]
    one, other = (columns[name] for name in names)
    places = (one.first + intervals, other.first + intervals)
    return (*places, one.upper[intervals], other.upper[intervals])
