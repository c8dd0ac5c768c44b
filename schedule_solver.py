"""The cheapest schedule: the model handed to HiGHS or CBC, exclusivity, ties, and a certificate. Pure: reads and writes nothing.

A battery must not charge and discharge at once, nor the grid connection import and export. The linear programme does neither
except where burning energy pays, that is where the price of taking it is below -wear * eta / (1 - eta) (eta: round trip),
or where exporting pays more than importing costs. Only there binaries forbid it. Every solution is checked; where another
interval breaks the rule, it gets its binaries and the model is solved again.

    python optimization.py solve --input problem.json --output result.json
"""

import logging
import time
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter

import highspy
import numpy as np
import pulp

from battery import TOLERANCE, idle, money_eur, replay, self_consumption, settle
from config import VppError
from schedule_columns import INFINITE, MONEY_SCALE
from schedule_model import Model, build
from schedule_problem import Certificate, Problem, Result, Schedule
from schedule_programme import garbage_kept
from schedule_reasons import leading, reasons, worth

logger = logging.getLogger("schedule_solver")

DUAL_TOLERANCE = (
    1e-7  # of the largest price, above which a reduced cost holds a value at the optimal cost
)

# The relaxation is so tight that rounding it finds the optimum; other searches for schedules would take most of the time.
HIGHS_SEARCHES = {
    f"mip_heuristic_run_{name}": False
    for name in ("rins", "rens", "root_reduced_cost", "feasibility_jump")
}


class InfeasibleScheduleError(VppError):
    """No schedule keeps to physics; says why."""


@dataclass(frozen=True)
class Outcome:
    """What a solver found: `optimal`, `limit` or `infeasible`, values and duals in the order of the model."""

    status: str
    values: np.ndarray | None = None
    objective: float | None = None
    bound: float | None = None
    reduced_costs: np.ndarray | None = None
    duals: np.ndarray | None = None
    basis: object | None = None


# --- solvers ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Matrices:
    """A model as numpy arrays, by rows, in the order of its variables and constraints."""

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
    """Read the PuLP model out in one go; PuLP sorts variables by name, so each carries its column."""
    variables, constraints, objective = model.variables, model.lp.constraints(), model.lp.objective
    count, rows, expressions = (
        len(variables),
        len(constraints),
        [constraint.expr for constraint in constraints],
    )
    lower = np.fromiter((variable.lowBound for variable in variables), float, count)
    upper = np.array([variable.upBound for variable in variables], dtype=float)
    upper[np.isnan(upper)] = INFINITE  # None
    integral, cost = np.zeros(count, dtype=np.int32), np.zeros(count)
    if "binaries" in model.columns:
        binaries = model.columns["binaries"]
        integral[binaries.first :] = [
            variable.cat == pulp.LpInteger for variable in binaries.variables
        ]
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
    """A HiGHS that holds these matrices."""
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
        *(
            len(matrix.cost),
            len(matrix.row_lower),
            len(matrix.index),
            int(highspy.MatrixFormat.kRowwise),
            int(highspy.ObjSense.kMinimize),
            0.0,
        ),
        *(matrix.cost, matrix.lower, matrix.upper, matrix.row_lower, matrix.row_upper),
        *(matrix.starts, matrix.index, matrix.value, matrix.integral),
    )
    return highs


def highs_outcome(highs: highspy.Highs, priced: bool = True) -> Outcome:
    """What HiGHS found, by its own word (PuLP would call a solve that hit its time limit optimal); with duals if `priced`."""
    status, info = highs.getModelStatus(), highs.getInfo()
    if status in (
        highspy.HighsModelStatus.kInfeasible,
        highspy.HighsModelStatus.kUnboundedOrInfeasible,
    ):
        return Outcome("infeasible")
    optimal = status == highspy.HighsModelStatus.kOptimal
    if (
        not optimal
        and info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible
    ):
        return Outcome("limit")
    solution = highs.getSolution()
    priced = priced and solution.dual_valid
    bound = (
        info.mip_dual_bound
        if info.mip_node_count >= 0
        else info.objective_function_value
        if optimal
        else None
    )
    return Outcome(
        status="optimal" if optimal else "limit",
        values=np.array(solution.col_value),
        objective=info.objective_function_value,
        bound=bound,
        reduced_costs=np.array(solution.col_dual) if priced else None,
        duals=np.array(solution.row_dual) if priced else None,
        basis=highs.getBasis() if priced and optimal else None,
    )


def run_highs(model: Model, time_limit_s: float, basis: object | None = None) -> Outcome:
    """Hand the model to HiGHS in bulk and solve it."""
    highs = new_highs(matrices(model), time_limit_s, model.problem.gap)
    if basis is not None:
        highs.setBasis(basis)
    highs.run()
    return highs_outcome(highs)


def run_cbc(model: Model, time_limit_s: float, basis: object | None = None) -> Outcome:
    """Solve the model with the CBC that PuLP brings along."""
    lp, options = (
        model.lp,
        {"gapRel": model.problem.gap, "gapAbs": 1e-6, "options": ["primalT 1e-9", "dualT 1e-9"]},
    )
    lp.solve(pulp.PULP_CBC_CMD(msg=False, timeLimit=max(time_limit_s, 1e-3), **options))
    if lp.status == pulp.LpStatusInfeasible:
        return Outcome("infeasible")
    variables = model.variables
    if lp.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return Outcome("limit")
    values = np.array([variable.varValue or 0.0 for variable in variables])
    optimal, objective = lp.sol_status == pulp.LpSolutionOptimal, pulp.value(lp.objective)
    integral = any(variable.cat == pulp.LpInteger for variable in variables)
    duals = reduced = None
    if optimal and not integral:
        duals = np.array([constraint.pi or 0.0 for constraint in lp.constraints()])
        reduced = np.array([variable.dj or 0.0 for variable in variables])
    # CBC through PuLP does not tell its bound; an optimum is within the gap that was asked for
    bound = (
        (objective - model.problem.gap * abs(objective) if integral else objective)
        if optimal
        else None
    )
    return Outcome("optimal" if optimal else "limit", values, objective, bound, reduced, duals)


SOLVERS = {"highs": run_highs, "cbc": run_cbc}


# --- exclusivity, ties, solution ----------------------------------------------------------------------------------------


def paying_intervals(problem: Problem) -> dict[str, np.ndarray]:
    """Where a linear programme could gain by doing two opposite things at once: the intervals that get binaries at first."""
    imports, exports = problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh
    exclusive = {"grid": np.flatnonzero(exports > imports)}
    # what is taken is imported, or is not exported; renewables that can be curtailed need nobody to burn them
    taking = imports if problem.curtailable else np.minimum(imports, exports)
    for b, battery in enumerate(problem.batteries):
        eta = battery.eta_charge * battery.eta_discharge
        if eta < 1 and battery.charge_kw and battery.discharge_kw:
            exclusive[str(b)] = np.flatnonzero(taking < -battery.wear_eur_per_mwh * eta / (1 - eta))
    return {key: intervals for key, intervals in exclusive.items() if len(intervals)}


def solution(model: Model, values: np.ndarray) -> tuple[Schedule, dict[str, np.ndarray]]:
    """The schedule that a solver's values mean, and where it does two opposite things at once.

    Values are put inside their bounds, rounding that charges and discharges at once is taken out at equal stored energy, and
    grid power and SOC follow from the powers, so that balances hold exactly. Import and export are netted.
    """
    problem, columns, count = model.problem, model.columns, model.problem.intervals

    def series(name: str) -> np.ndarray:
        group = columns[name]
        return np.clip(values[group.first : group.first + count], group.lower, group.upper)

    charge, discharge = np.zeros((2, len(problem.batteries), count))
    largest = max([1.0, *(max(problem.usable_kw(battery)) for battery in problem.batteries)])
    both = {}
    for b, battery in enumerate(problem.batteries):
        c, d = series(f"charge_kw_{b}"), series(f"discharge_kw_{b}")
        found = np.flatnonzero(np.minimum(c, d) > TOLERANCE * largest)
        if len(found):
            both[str(b)] = found
        eta = battery.eta_charge * battery.eta_discharge
        loop = np.minimum(c, d / eta)
        charge[b], discharge[b] = (
            np.where(loop < c, c - loop, 0.0),
            np.where(loop < c, 0.0, d - eta * loop),
        )
    if bool((problem.export_price_eur_per_mwh > problem.import_cost_eur_per_mwh).any()):
        through = np.minimum(series("grid_import_kw"), series("grid_export_kw"))
        scale = max(
            largest, float(np.abs(problem.load_kw).max()), float(problem.renewables_kw.max())
        )
        pays = problem.export_price_eur_per_mwh > problem.import_cost_eur_per_mwh
        found = np.flatnonzero((through > TOLERANCE * scale) & pays)
        if len(found):
            both["grid"] = found
    curtailed = series("curtailed_kw") if problem.curtailable else np.zeros(count)
    return settle(problem, charge, discharge, curtailed), both


def merged(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    empty = np.zeros(0, dtype=int)
    return {
        key: np.union1d(first.get(key, empty), second.get(key, empty))
        for key in {**first, **second}
    }


def fix_binaries(model: Model, values: np.ndarray) -> None:
    """Turn a solved mixed-integer model into the linear programme of its choices, without what these imply."""
    group = model.columns["binaries"]
    for variable, value in zip(group.variables, values[group.first :], strict=True):
        variable.cat = pulp.LpContinuous
        variable.bounds(round(value), round(value))
    model.lp.drop("fit_")


def hold_cost(model: Model, outcome: Outcome) -> None:
    """Keep the linear programme at its optimal cost, and ask for the least throughput of the batteries instead.

    At the optimum every variable with a reduced cost stays where it is, and so does every constraint with a dual
    (complementary slackness): what is left to choose are exactly the schedules that cost the same.
    """
    prices = (model.columns["grid_import_kw"].cost, model.columns["grid_export_kw"].cost)
    scale = max(1.0, *(float(np.abs(cost).max()) for cost in prices))
    for variable, value, cost in zip(
        model.variables, outcome.values.tolist(), outcome.reduced_costs.tolist(), strict=True
    ):
        if abs(cost) > DUAL_TOLERANCE * scale:
            variable.bounds(value, value)
    for constraint, dual in zip(model.lp.constraints(), outcome.duals.tolist(), strict=True):
        if constraint.sense != pulp.LpConstraintEQ and abs(dual) > DUAL_TOLERANCE * scale:
            constraint.sense = pulp.LpConstraintEQ
    powers = [
        group.variables
        for name, group in model.columns.items()
        if name.startswith(("charge_kw", "discharge_kw"))
    ]
    model.lp.setObjective(
        pulp.LpAffineExpression([(variable, 1.0) for variables in powers for variable in variables])
    )


@dataclass(frozen=True, eq=False)
class Solution:
    """A schedule with the values that explain it."""

    status: str
    certificate: Certificate
    schedule: Schedule
    soft: bool
    battery_value_eur_per_mwh: np.ndarray
    bus_price_eur_per_mwh: np.ndarray


def marginal_values(model: Model, duals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Value of one more MWh in each battery at the end of each interval, and of one more MWh at the bus; NaN without duals."""
    problem, count = model.problem, model.problem.intervals
    if duals is None:
        return np.full((len(problem.batteries), count), np.nan), np.full(count, np.nan)
    rows = [model.rows[f"balance_energy_{b}"] for b in range(len(problem.batteries))]
    stored = [-duals[row : row + count] for row in rows]
    bus = duals[model.rows["balance_power"] :][:count] / problem.hours
    return np.reshape(stored, (len(rows), count)) + 0.0, bus


@garbage_kept()
def solve_model(
    problem: Problem,
    solver: str = "highs",
    explain: bool = True,
    caps: dict[str, float] | None = None,
) -> Solution:
    """The cheapest schedule.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.
    explain : whether to compute marginal values, which after a mixed-integer solve needs one more linear programme.
    caps : the most of other aims than cost, as in `schedule_model.build`.

    Raises
    ------
    InfeasibleScheduleError : no schedule keeps to physics.
    """
    started, run = time.monotonic(), SOLVERS[solver]

    def left() -> float:
        return problem.time_limit_s - (time.monotonic() - started)

    exclusive = paying_intervals(problem)
    soft, known, relaxed = False, [], -INFINITE
    while True:
        model = build(problem, soft, exclusive, caps)
        if not soft and any((group.lower > group.upper).any() for group in model.columns.values()):
            soft = True
            continue
        outcome = run(model, left())
        if outcome.status == "infeasible":
            if soft:
                raise InfeasibleScheduleError(
                    "no schedule keeps to load, power ratings, capacity and daily cycles; expected numbers of similar orders of magnitude"
                )
            soft, relaxed = True, -INFINITE
            continue
        if outcome.status == "limit":
            fixed = None
            if outcome.values is not None:
                known.append(solution(model, outcome.values)[0])
                if model.binaries:
                    fix_binaries(model, outcome.values)
                    fixed = run(model, max(left(), 1.0))
            known += [idle(problem)] if caps else [idle(problem), self_consumption(problem)]
            bound = (
                relaxed
                if outcome.bound is None or not np.isfinite(outcome.bound)
                else max(relaxed, outcome.bound)
            )
            return _incumbent(model, bound, fixed, known, started)
        schedule, both = solution(model, outcome.values)
        ties = any(not battery.wear_eur_per_mwh for battery in problem.batteries)
        priced = outcome
        if model.binaries and (ties or explain):
            fix_binaries(model, outcome.values)
            priced = run(model, max(left(), 1.0))
        values = marginal_values(model, priced.duals)
        if ties and priced.duals is not None:
            hold_cost(model, priced)
            calm = run(model, max(left(), 1.0), priced.basis)
            if calm.status == "optimal":
                calmer, at_once = solution(model, calm.values)
                cost, same = (
                    replay(problem, choice).objective_eur for choice in (schedule, calmer)
                )
                if same <= cost + TOLERANCE * max(1.0, abs(cost)) * 1e-3:
                    schedule, both = calmer, at_once
        new = {
            key: np.setdiff1d(found, exclusive.get(key, np.zeros(0, dtype=int)))
            for key, found in both.items()
        }
        if not any(len(found) for found in new.values()):
            break
        exclusive = merged(exclusive, new)
        known.append(schedule)
        relaxed = outcome.bound
        logger.info(
            "binaries added in %d intervals where the solution did two things at once",
            sum(map(len, new.values())),
        )
    objective = replay(problem, schedule).objective_eur
    bound = min(outcome.bound / MONEY_SCALE, objective) if model.binaries else objective
    certificate = _certificate(model, objective, bound, started)
    return Solution("optimal", certificate, schedule, soft, *values)


def _certificate(
    model: Model, objective: float, bound: float | None, started: float, proven: bool = True
) -> Certificate:
    # of an objective and a bound of different signs the distance would be more than all
    gap = (
        None
        if bound is None
        else min(1.0, max(0.0, objective - bound) / max(abs(objective), abs(bound), 1e-9))
    )
    kind = "lp-exact" if proven and not model.binaries else "milp"
    return Certificate(kind, model.binaries, gap, bound, time.monotonic() - started)


def loose_bound_eur(problem: Problem) -> float:
    """What no schedule can cost less than, without a solver: every interval at its best, as if batteries were never empty or full."""
    charge, discharge = (
        sum(getattr(battery, name) for battery in problem.batteries)
        for name in ("charge_kw", "discharge_kw")
    )
    low = problem.load_kw - problem.renewables_kw - discharge
    high = problem.load_kw + charge - (0.0 if problem.curtailable else problem.renewables_kw)
    net = np.stack((low, high, np.clip(0.0, low, high)))
    costs = (
        np.maximum(net, 0.0) * problem.import_cost_eur_per_mwh
        - np.maximum(-net, 0.0) * problem.export_price_eur_per_mwh
    )
    left = sum(
        money_eur(battery.capacity_kwh, max(battery.terminal_value_eur_per_mwh or 0.0, 0.0))
        for battery in problem.batteries
    )
    return float(costs.min(axis=0).sum()) * problem.hours / 1000 - left


def _incumbent(
    model: Model, bound: float, fixed: Outcome | None, known: list[Schedule], started: float
) -> Solution:
    """The cheapest schedule known when time ran out, with marginal values where it is the optimum of the solver's choices (`fixed`)."""
    problem, values = model.problem, marginal_values(model, None)
    checked = [(replay(problem, choice), choice) for choice in known]
    objective, best = min(
        ((money.objective_eur, choice) for money, choice in checked if not money.violations),
        key=itemgetter(0),
    )
    if fixed is not None and fixed.status == "optimal":
        schedule, both = solution(model, fixed.values)
        money = replay(problem, schedule)
        if (
            not both
            and not money.violations
            and money.objective_eur <= objective + TOLERANCE * max(1.0, abs(objective))
        ):
            best, objective, values = (
                schedule,
                money.objective_eur,
                marginal_values(model, fixed.duals),
            )
    certificate = _certificate(
        model, objective, max(loose_bound_eur(problem), bound / MONEY_SCALE), started, proven=False
    )
    return Solution("feasible", certificate, best, model.soft, *values)


def solve(problem: Problem, solver: str = "highs") -> Result:
    """The cheapest schedule, checked by `battery.replay`, with its money, the limits that bent, and a reason for each interval."""
    try:
        found = solve_model(problem, solver)
    except InfeasibleScheduleError as error:
        return Result("infeasible", Certificate("lp-exact", 0, None, None, 0.0), cause=str(error))
    checked = replay(problem, found.schedule)
    if checked.violations:
        worst = max(checked.violations, key=lambda violation: violation.amount)
        raise AssertionError(f"the solver's schedule breaks physics: {worst}")
    shown = np.zeros(problem.intervals)
    if problem.batteries:
        values, _ = worth(problem, found.schedule, found.battery_value_eur_per_mwh)
        shown = values[leading(problem, found.schedule), np.arange(problem.intervals)]
    result = Result(
        status=found.status,
        certificate=found.certificate,
        schedule=found.schedule,
        cost_eur=checked.cost_eur,
        objective_eur=checked.objective_eur,
        violations=checked.bends,
        stored_value_eur_per_mwh=shown,
        battery_value_eur_per_mwh=found.battery_value_eur_per_mwh,
        bus_price_eur_per_mwh=found.bus_price_eur_per_mwh,
    )
    return replace(result, reason=reasons(problem, result))
