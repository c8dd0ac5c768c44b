"""Expressions and a mixed-integer programme that goes to HiGHS as matrices, for `reference.py`."""

import math
from dataclasses import dataclass, field

import highspy
import numpy as np

GRID, BOUND, TARGET = range(3)  # classes of violations, in the order in which they are kept small


class Expression(dict):
    """Coefficients by column; `None` is the constant."""

    def plus(self, other, factor: float = 1.0) -> "Expression":
        """This expression with another, or a number, added to it."""
        items = other.items() if isinstance(other, dict) else ((None, other),)
        for column, value in items:
            self[column] = self.get(column, 0.0) + factor * value
        return self


@dataclass
class Programme:
    """A mixed-integer programme that grows by columns and rows."""

    low: list = field(default_factory=list)
    high: list = field(default_factory=list)
    whole: list = field(default_factory=list)
    rows: list = field(default_factory=list)

    def column(self, low: float = 0.0, high: float = math.inf, whole: bool = False) -> Expression:
        """A new variable."""
        self.low.append(low)
        self.high.append(high)
        self.whole.append(whole)
        return Expression({len(self.low) - 1: 1.0})

    def columns(self, count: int, low=0.0, high=math.inf) -> list[Expression]:
        """One variable for each interval; bounds are numbers or lists."""
        lows, highs = (list(np.broadcast_to(bound, count)) for bound in (low, high))
        return [self.column(a, b) for a, b in zip(lows, highs, strict=True)]

    def binary(self) -> Expression:
        """A variable that is 0 or 1."""
        return self.column(0.0, 1.0, whole=True)

    def most(self, left: Expression, right=0.0) -> None:
        """left <= right."""
        self.rows.append((Expression(left).plus(right, -1.0), -math.inf))

    def equal(self, left: Expression, right=0.0) -> None:
        """left = right."""
        self.rows.append((Expression(left).plus(right, -1.0), 0.0))

    def only_one(self, first: Expression, most_first: float, second: Expression, most_second):
        """Of two powers at most one is above 0; returns the binary that allows the first."""
        choice = self.binary()
        self.most(first, Expression().plus(choice, most_first))
        self.most(second, Expression({None: most_second}).plus(choice, -most_second))
        return choice

    def least(self, goal: Expression) -> tuple[float, np.ndarray] | None:
        """The smallest value of an expression and the columns there; None where nothing fits."""
        lp, cost = highspy.HighsLp(), np.zeros(len(self.low))
        for column, value in goal.items():
            if column is not None:
                cost[column] = value
        starts, index, values, lower, upper = [0], [], [], [], []
        for row, low in self.rows:
            terms = [(column, value) for column, value in row.items() if column is not None]
            index += [column for column, _ in terms]
            values += [value for _, value in terms]
            starts.append(len(index))
            upper.append(-row.get(None, 0.0))
            lower.append(low if low == -math.inf else upper[-1])
        lp.num_col_, lp.num_row_ = len(self.low), len(self.rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.array(self.low), np.array(self.high)
        lp.row_lower_, lp.row_upper_ = np.array(lower), np.array(upper)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = np.array(starts), np.array(index, dtype=int)
        lp.a_matrix_.value_ = np.array(values)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[whole] for whole in self.whole]
        return self._run(lp, goal.get(None, 0.0))

    def _run(self, lp, constant: float) -> tuple[float, np.ndarray] | None:
        solver = highspy.Highs()
        for name, value in {
            "output_flag": False,
            "threads": 1,
            "mip_rel_gap": 1e-9,
            "mip_abs_gap": 1e-9,
            "primal_feasibility_tolerance": 1e-9,
            "dual_feasibility_tolerance": 1e-9,
            "mip_feasibility_tolerance": 1e-9,
        }.items():
            solver.setOptionValue(name, value)
        infeasible = (
            highspy.HighsModelStatus.kInfeasible,
            highspy.HighsModelStatus.kUnboundedOrInfeasible,
        )
        for presolve in ("on", "off"):  # presolve at times cuts off all of a thin programme
            solver.setOptionValue("presolve", presolve)
            solver.passModel(lp)
            solver.run()
            status = solver.getModelStatus()
            if status not in infeasible:
                break
        if status in infeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise ArithmeticError(f"HiGHS ends with {status.name}")
        value = solver.getInfo().objective_function_value + constant
        return value, np.array(solver.getSolution().col_value)
