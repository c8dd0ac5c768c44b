"""HiGHS and CBC: a schedule's model handed over and solved, and their answer in the model's order.

HiGHS gets the model as matrices in one call, CBC by PuLP's own way. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import time
from dataclasses import dataclass
from itertools import chain

import highspy
import numpy as np
import pulp

from vpp.schedule.columns import INFINITE
from vpp.schedule.constraints import Model
from vpp.schedule.programme import garbage_kept

# The relaxation is so tight that rounding it finds the optimum; other searches for schedules would
# take most of the time.
HIGHS_SEARCHES = {
    f"mip_heuristic_run_{name}": False
    for name in ("rins", "rens", "root_reduced_cost", "feasibility_jump")
}


@dataclass(frozen=True)
class Outcome:
    """The answer of a solver, with values and duals in the order of the model.

    Parameters
    ----------
    status : `optimal`, `limit` (of time) or `infeasible`.
    values : of the variables, if there are some.
    objective, bound : cost of the values, and what nothing can cost less than [EUR/1000];
        minus infinity where nothing is proven.
    reduced_costs : of the variables; None after a mixed-integer solve.
    duals : of the constraints; None after a mixed-integer solve.
    basis : where HiGHS can start from again.
    """

    status: str
    values: np.ndarray | None = None
    objective: float | None = None
    bound: float = -INFINITE
    reduced_costs: np.ndarray | None = None
    duals: np.ndarray | None = None
    basis: highspy.HighsBasis | None = None

    @property
    def found(self) -> np.ndarray:
        """The values of an answer that has some.

        Raises
        ------
        ValueError : it has none.
        """
        if self.values is None:
            raise ValueError(f"no values: {self.status}")
        return self.values


@dataclass(frozen=True, eq=False)
class Matrices:
    """A model as numpy arrays, by rows, in the order of its variables and constraints.

    Parameters
    ----------
    cost, lower, upper, integral : of the variables; `integral` is 1 for a binary.
    row_lower, row_upper : bounds of the constraints.
    starts, index, value : the matrix: where each row starts in `index` (columns) and `value`.
    """

    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    integral: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    starts: np.ndarray
    index: np.ndarray
    value: np.ndarray


@garbage_kept()
def matrices(model: Model) -> Matrices:
    """Read the PuLP model out in one go.

    PuLP sorts variables by name, so each carries its column.

    Parameters
    ----------
    model : the model.

    Returns
    -------
    Its matrices.
    """
    variables, constraints = model.variables, model.lp.constraints()
    count, rows = len(variables), len(constraints)
    expressions = [constraint.expr for constraint in constraints]
    lower = np.fromiter((variable.lowBound for variable in variables), float, count)
    upper = np.array([variable.upBound for variable in variables], dtype=float)
    upper[np.isnan(upper)] = INFINITE  # None
    integral, cost = np.zeros(count, dtype=np.int32), np.zeros(count)
    if "binaries" in model.columns:
        binaries = model.columns["binaries"]
        whole = [variable.cat == pulp.LpInteger for variable in binaries.variables]
        integral[binaries.first :] = whole
    objective = model.lp.objective
    cost[[variable.column for variable in objective]] = list(objective.values())
    right = -np.fromiter((constraint.constant for constraint in constraints), float, rows)
    sense = np.fromiter((constraint.sense for constraint in constraints), np.int8, rows)
    index = np.fromiter((variable.column for terms in expressions for variable in terms), np.int32)
    value = np.fromiter(chain.from_iterable(terms.values() for terms in expressions), float)
    starts = np.cumsum([0, *map(len, expressions)], dtype=np.int32)
    row_lower = np.where(sense == pulp.LpConstraintLE, -INFINITE, right)
    row_upper = np.where(sense == pulp.LpConstraintGE, INFINITE, right)
    return Matrices(cost, lower, upper, integral, row_lower, row_upper, starts[:-1], index, value)


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
        "mip_abs_gap": 1e-6,
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
    priced : whether duals, reduced costs and the basis are wanted.

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
        basis=highs.getBasis() if priced and optimal else None,
    )


def run_highs(
    model: Model, time_limit_s: float, basis: highspy.HighsBasis | None = None
) -> Outcome:
    """Solve a model with HiGHS.

    Parameters
    ----------
    model : the model.
    time_limit_s : most time of the solve [s].
    basis : where to start from.

    Returns
    -------
    The answer.
    """
    highs = new_highs(matrices(model), time_limit_s, model.problem.gap)
    if basis is not None:
        highs.setBasis(basis)
    highs.run()
    return highs_outcome(highs)


def run_cbc(model: Model, time_limit_s: float, basis: highspy.HighsBasis | None = None) -> Outcome:
    """Solve a model with the CBC that PuLP brings along.

    Parameters
    ----------
    model : the model.
    time_limit_s : most time of the solve [s].
    basis : not used; CBC starts anew.

    Returns
    -------
    The answer.
    """
    lp, gap, options = model.lp, model.problem.gap, ["primalT 1e-9", "dualT 1e-9"]
    limit_s, started = max(time_limit_s, 1e-3), time.monotonic()
    lp.solve(
        pulp.PULP_CBC_CMD(msg=False, timeLimit=limit_s, gapRel=gap, gapAbs=1e-6, options=options)
    )
    if lp.status == pulp.LpStatusInfeasible:
        # CBC now and then calls a model infeasible because its time ran out; a hard one is then
        # solved with limits that bend, but after a soft one nothing is left
        late = model.soft and time.monotonic() - started >= limit_s
        return Outcome("limit" if late else "infeasible")
    variables = model.variables
    if lp.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return Outcome("limit")
    values = np.array([variable.varValue or 0.0 for variable in variables])
    objective = pulp.value(lp.objective)
    if lp.sol_status != pulp.LpSolutionOptimal:
        return Outcome("limit", values, objective)
    if any(variable.cat == pulp.LpInteger for variable in variables):
        # CBC through PuLP does not tell its bound; an optimum is within the gap asked for
        return Outcome("optimal", values, objective, objective - gap * abs(objective))
    duals = np.array([constraint.pi or 0.0 for constraint in lp.constraints()])
    reduced = np.array([variable.dj or 0.0 for variable in variables])
    return Outcome("optimal", values, objective, objective, reduced, duals)


SOLVERS = {"highs": run_highs, "cbc": run_cbc}
