"""HiGHS and CBC: a model handed over once, and solved for one objective after the other.

HiGHS gets the model as matrices in one call and keeps it, with its basis; CBC gets the PuLP problem
each time. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Callable
from typing import Any

import highspy
import numpy as np

from vpp.schedule.cbc import cbc_run
from vpp.schedule.draft import INFINITE, Matrices, Model
from vpp.schedule.folding import folded
from vpp.schedule.outcome import DUAL_TOLERANCE, Outcome, Run
from vpp.schedule.ring import Ring

# The relaxation is so tight that rounding it finds the optimum; other searches for schedules would
# take most of the time.
HIGHS_SEARCHES = {
    f"mip_heuristic_run_{name}": False
    for name in ("rins", "rens", "root_reduced_cost", "feasibility_jump")
}
DUAL, PRIMAL = 1, 4  # HiGHS's simplex_strategy: a new objective leaves the basis feasible


def new_highs(matrix: Matrices, time_limit_s: float, gap: float) -> highspy.Highs:
    """A HiGHS that holds a model.

    Parameters
    ----------
    matrix : the model.
    time_limit_s : most time of a solve [s].
    gap : relative gap at which a mixed-integer solve may stop.

    Returns
    -------
    The solver, not run.
    """
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "time_limit": max(time_limit_s, 0.0),
        "mip_rel_gap": gap,
        "mip_abs_gap": 1e-9,
        "mip_feasibility_tolerance": 1e-8,  # with 1e-9 its presolve has lost an optimum
    }
    for name, value in (options | HIGHS_SEARCHES).items():
        highs.setOptionValue(name, value)
    highs.passModel(
        len(matrix.cost),
        len(matrix.row_lower),
        len(matrix.index),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        *(matrix.cost, matrix.lower, matrix.upper, matrix.row_lower, matrix.row_upper),
        *(matrix.starts, matrix.index, matrix.value, matrix.integral),
    )
    return highs


def highs_outcome(highs: highspy.Highs, priced: bool = True) -> Outcome:
    """The answer of HiGHS, by its own word: PuLP would call a solve that ran out of time optimal.

    Parameters
    ----------
    highs : the solver after its run.
    priced : whether duals and reduced costs are wanted.

    Returns
    -------
    The answer.
    """
    status, info = highs.getModelStatus(), highs.getInfo()
    statuses = highspy.HighsModelStatus
    if status in (statuses.kInfeasible, statuses.kUnboundedOrInfeasible):
        return Outcome("infeasible")
    optimal = status == statuses.kOptimal
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if not optimal and not feasible:
        return Outcome("limit")
    solution = highs.getSolution()
    priced = priced and solution.dual_valid
    bound = info.objective_function_value if optimal else -INFINITE
    if info.mip_node_count >= 0:  # a mixed-integer solve
        bound = info.mip_dual_bound
    return Outcome(
        status="optimal" if optimal else "limit",
        values=np.array(solution.col_value),
        objective=info.objective_function_value,
        bound=bound,
        reduced_costs=np.array(solution.col_dual) if priced else None,
        duals=np.array(solution.row_dual) if priced else None,
    )


class HighsRun(Run):
    """A model in HiGHS, as `Run` has it.

    Parameters
    ----------
    model : the model.
    gap : relative gap at which a mixed-integer solve may stop.
    """

    def __init__(self, model: Model, gap: float) -> None:
        fold, matrix = folded(model), model.matrices
        held = fold.matrix if fold else matrix
        self.model, self.fold, self.highs = model, fold, new_highs(held, 0.0, gap)
        self.lower, self.upper = held.lower.copy(), held.upper.copy()
        self.row_lower, self.row_upper = matrix.row_lower.copy(), matrix.row_upper.copy()
        self.columns, self.rows = _every(self.lower), _every(self.row_lower)
        if fold:
            self.highs.setOptionValue("presolve", "off")  # it finds less to do than it takes
            self.rows = fold.rows
            self.row_lower[~fold.there] = self.row_upper[~fold.there] = 0.0
        self.integral, self.cost, self.based = bool(matrix.integral.any()), matrix.cost, False
        self.before: list[np.ndarray] = []
        self.told: list[np.ndarray] = []  # the numbers of the last model, where nothing changed any
        self.start: np.ndarray | None = None  # values that the next linear programme is near to

    def write(self, model: Model, ring: Ring) -> None:
        """Write other costs, bounds and right-hand sides to the same matrix.

        Parameters
        ----------
        model : the model that has them; nothing that was held before holds.
        ring : where its variables and constraints lie in the solver from now on.
        """
        self.model, self.based, numbers = model, False, model.numbers
        told = [
            *(values[ring.at_columns] for values in numbers[:3]),
            *(values[ring.at_rows] for values in numbers[3:]),
        ]
        unknown: list[Any] = [None] * len(told)
        before = self.told or unknown
        for (first, last), write in (
            ((0, 1), self.highs.changeColsCost),
            ((1, 3), self.highs.changeColsBounds),
            # type hints of highspy do not name this one
            ((3, 5), self.highs.changeRowsBounds),  # type: ignore[attr-defined]
        ):
            other = _others(before[first:last], told[first:last])
            write(len(other), other, *(values[other] for values in told[first:last]))
        self.told, self.columns, self.rows = told, ring.columns, ring.rows
        self.cost = numbers[0]
        self.lower, self.upper, self.row_lower, self.row_upper = (x.copy() for x in numbers[1:])

    def outcome(self, priced: bool = True) -> Outcome:
        """The answer of the last run, in the order of the model.

        Parameters
        ----------
        priced : whether duals and reduced costs are wanted.
        """
        found = highs_outcome(self.highs, priced)
        values = _in_order(found.values, self.columns)
        if self.fold and values is not None:
            values = self.fold.values(values)
        return Outcome(
            *(found.status, values, found.objective, found.bound),
            reduced_costs=_in_order(found.reduced_costs, self.columns),
            duals=_in_order(found.duals, self.rows),
        )

    def minimise(self, cost: np.ndarray, limit_s: float, gap: float) -> Outcome:
        """The least of an objective; see `Run`."""
        if cost is not self.cost:
            new, old = cost, self.cost
            if self.fold:
                new, old = self.fold.cost(cost), self.fold.cost(self.cost)
            other = np.flatnonzero(new != old)
            self.highs.changeColsCost(len(other), self.columns[other], new[other])
            self.cost, self.told = cost, []
        if self.integral:
            # no solution is handed over to start from: with one, HiGHS 1.15 now and then takes a
            # worse one for the optimum, with a bound above the best
            self.highs.setOptionValue("mip_rel_gap", gap)
        else:
            self.highs.setOptionValue("simplex_strategy", PRIMAL if self.based else DUAL)
        # the clock of HiGHS runs on from one solve to the next
        limit = self.highs.getRunTime() + max(limit_s, 0.0)
        self.highs.setOptionValue("time_limit", limit)
        if self.start is not None and not self.integral:
            start = highspy.HighsSolution()  # near to the optimum: a third of the time
            start.col_value, start.value_valid = self.start.tolist(), True
            self.highs.setSolution(start)
        self.start = None
        self.highs.run()
        self.based = not self.integral
        return self.outcome()

    def hold(self, outcome: Outcome, cost: np.ndarray) -> None:
        """Keep the optimum; see `Run`."""
        if outcome.reduced_costs is None or outcome.duals is None:
            raise ValueError("an optimum without duals")
        least = DUAL_TOLERANCE * max(float(np.abs(cost).max(initial=0.0)), 1e-9)
        held = np.flatnonzero(np.abs(outcome.reduced_costs) > least)
        values = np.where(outcome.reduced_costs[held] > 0, self.lower[held], self.upper[held])
        held, values = held[np.isfinite(values)], values[np.isfinite(values)]
        self._bound(held, values, values)
        free = self.row_lower < self.row_upper
        rows = np.flatnonzero(free & (np.abs(outcome.duals) > least))
        # a positive dual is that of the lower bound
        right = np.where(outcome.duals[rows] > 0, self.row_lower[rows], self.row_upper[rows])
        rows, right = rows[np.isfinite(right)], right[np.isfinite(right)]
        self.row_lower[rows] = self.row_upper[rows] = right
        places, self.told = self.rows[rows], []
        self.highs.changeRowsBounds(len(rows), places, right, right)  # type: ignore[attr-defined]

    def forbid(self, columns: np.ndarray) -> None:
        """Keep variables at nothing; see `Run`."""
        self.bound(columns, *np.zeros((2, len(columns))))

    def bound(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Keep variables between other bounds; see `Run`."""
        if self.fold:  # a power that is to be nothing has no part beyond its limit
            parts = np.setdiff1d(self.fold.parts_of(columns[upper <= 0]), columns)
            self._bound(parts, *np.zeros((2, len(parts))))
        self._bound(columns, lower, upper)

    def _bound(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self.lower[columns], self.upper[columns], self.told = lower, upper, []
        self.highs.changeColsBounds(len(columns), self.columns[columns], lower, upper)

    def alone(self, outcome: Outcome, cost: np.ndarray) -> bool:
        """Whether nothing outside the basis is free of cost; see `Run`."""
        if outcome.reduced_costs is None or outcome.duals is None:
            return False
        least = DUAL_TOLERANCE * max(float(np.abs(cost).max(initial=0.0)), 1e-9)
        # type hints of highspy do not name this one
        status, basic = self.highs.getBasicVariables()  # type: ignore[attr-defined]
        if status != highspy.HighsStatus.kOk:
            return False
        for places, named, costs, low, high in (
            (self.columns, basic[basic >= 0], outcome.reduced_costs, self.lower, self.upper),
            (self.rows, -basic[basic < 0] - 1, outcome.duals, self.row_lower, self.row_upper),
        ):
            moves = np.ones(len(places), dtype=bool)
            moves[named] = False
            if (moves[places] & (np.abs(costs) <= least) & (low < high)).any():
                return False
        return True

    def cap(self, cost: np.ndarray, most: float) -> int:
        """Keep an objective at or below a number; see `Run`."""
        named, count = np.flatnonzero(cost), len(self.row_lower)
        self.highs.addRow(-INFINITE, most, len(named), self.columns[named], cost[named])
        self.row_lower = np.append(self.row_lower, -INFINITE)
        self.row_upper = np.append(self.row_upper, most)
        self.rows = np.append(self.rows, np.int32(self.highs.getNumRow() - 1))
        return count - len(self.model.matrices.row_lower)

    def uncap(self, count: int) -> None:
        """Take out caps; see `Run`."""
        first = len(self.model.matrices.row_lower) + count
        self.highs.deleteRows(len(self.rows) - first, self.rows[first:])
        self.row_lower, self.row_upper = self.row_lower[:first], self.row_upper[:first]
        self.rows = self.rows[:first]

    def choose(self, values: np.ndarray) -> None:
        """The linear programme of the binaries' choices; see `Run`."""
        sides = (self.lower, self.upper, self.row_lower, self.row_upper)
        self.before = [side.copy() for side in sides]
        caps = np.arange(len(self.model.matrices.row_lower), len(self.row_upper))
        self._loosen(caps)
        whole = np.flatnonzero(self.model.matrices.integral)
        chosen = np.clip(np.round(values[whole]), self.lower[whole], self.upper[whole])
        continuous = np.full(len(whole), highspy.HighsVarType.kContinuous)
        self.highs.changeColsIntegrality(len(whole), self.columns[whole], continuous)
        self.bound(whole, chosen, chosen)
        self.integral = False
        self.start = values
        for rows in self.model.rows.values():
            if rows.implied:
                self._loosen(np.arange(rows.first, rows.first + len(rows)))

    def _loosen(self, rows: np.ndarray) -> None:
        """Let constraints hold nothing."""
        self.row_lower[rows], self.row_upper[rows] = -INFINITE, INFINITE
        bounds = (self.row_lower[rows], self.row_upper[rows])
        self.highs.changeRowsBounds(len(rows), self.rows[rows], *bounds)  # type: ignore[attr-defined]

    def release(self) -> None:
        """The mixed-integer model again; see `Run`."""
        self.lower, self.upper, self.row_lower, self.row_upper = self.before
        every, there = self.columns, slice(None) if self.fold is None else self.fold.there
        self.highs.changeColsBounds(len(every), every, self.lower, self.upper)
        bounds, rows = (self.row_lower[there], self.row_upper[there]), self.rows[there]
        self.highs.changeRowsBounds(len(rows), rows, *bounds)  # type: ignore[attr-defined]
        whole = np.flatnonzero(self.model.matrices.integral)
        kinds = np.full(len(whole), highspy.HighsVarType.kInteger)
        self.highs.changeColsIntegrality(len(whole), self.columns[whole], kinds)
        self.integral, self.based = bool(len(whole)), False


def _every(values: np.ndarray) -> np.ndarray:
    return np.arange(len(values), dtype=np.int32)


def _in_order(values: np.ndarray | None, places: np.ndarray) -> np.ndarray | None:
    """Values that the solver has at these places; those of more variables come last."""
    if values is None:
        return None
    here = values[places]
    return here if len(here) == len(values) else np.concatenate((here, values[len(here) :]))


def _others(before: list, after: list[np.ndarray]) -> np.ndarray:
    """Where numbers are others than before; everywhere where that is not known."""
    differs = np.not_equal(before[0], after[0])
    for old, new in zip(before[1:], after[1:], strict=True):
        differs |= np.not_equal(old, new)
    return np.flatnonzero(differs).astype(np.int32)


SOLVERS: dict[str, Callable[[Model, float], Run]] = {"highs": HighsRun, "cbc": cbc_run}
