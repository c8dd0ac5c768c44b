"""The schedule as a mathematical programme: the PuLP model, one named function a constraint, and its exact solution.

`solve(problem)` returns the cheapest schedule with a certificate. Pure: reads and writes nothing. The model is hard where its
limits can be kept; where they cannot, it is built again with limits that bend at `Problem.penalties`; physics never bends.

A battery must not charge and discharge at once, nor the grid connection import and export. The linear programme does neither
except where burning energy pays, that is where the price of taking it is below -wear * eta / (1 - eta) (eta: round trip),
or where exporting pays more than importing costs. Only there binaries forbid it. Every solution is checked; where another
interval breaks the rule, it gets its binaries and the model is solved again.

    python optimization.py solve --input problem.json --output result.json
"""

import logging
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import highspy
import numpy as np
import pulp

from battery import TOLERANCE, idle, keep_fraction, replay, settle
from config import VppError
from schedule_problem import Certificate, Problem, Result, Schedule

logger = logging.getLogger("schedule_model")

# The objective is in EUR/1000, so that its coefficients are about as large as prices and the solvers' absolute tolerances fit.
MONEY_SCALE = 1000.0
DUAL_TOLERANCE = 1e-6  # reduced cost [EUR/1000 a kW] above which a value is held at the optimal cost
INFINITE = float("inf")


class InfeasibleScheduleError(VppError):
    """No schedule keeps to physics; says why."""


@dataclass
class Columns:
    """Variables of one kind, one an interval: bounds and cost [EUR/1000 a unit], and where they are in the model."""

    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    first: int = 0
    variables: list[pulp.LpVariable] = field(default_factory=list)


@dataclass
class Model:
    """A PuLP problem and the order of its variables; constraints keep the order in which they were added."""

    problem: Problem
    soft: bool
    lp: pulp.LpProblem
    columns: dict[str, Columns]
    rows: dict[str, int]
    binaries: int = 0

    @property
    def variables(self) -> list[pulp.LpVariable]:
        return [variable for group in self.columns.values() for variable in group.variables]


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


# --- columns and right-hand sides: all that changes from one window of a rolling horizon to the next -----------------------


def column_data(problem: Problem, soft: bool) -> dict[str, Columns]:
    """Bounds and costs of all continuous variables. Soft models have a variable for each limit that may bend."""
    hours, grid, penalties = problem.hours, problem.grid, problem.penalties
    zeros, steps = np.zeros(problem.intervals), problem.intervals
    charge = sum(battery.charge_kw for battery in problem.batteries)
    discharge = sum(battery.discharge_kw for battery in problem.batteries)
    # more than can ever flow; keeps a linear programme finite that would import and export at once
    import_kw = np.maximum(problem.load_kw, 0.0) + charge + 1.0
    export_kw = problem.renewables_kw + np.maximum(-problem.load_kw, 0.0) + discharge + 1.0
    if not soft:
        import_kw, export_kw = np.minimum(import_kw, grid.import_limit_kw), np.minimum(export_kw, grid.export_limit_kw)
    columns = {
        "grid_import_kw": Columns(zeros, import_kw, hours * problem.import_cost_eur_per_mwh),
        "grid_export_kw": Columns(zeros, export_kw, -hours * problem.export_price_eur_per_mwh),
    }
    if problem.curtailable:
        columns["curtailed_kw"] = Columns(zeros, problem.renewables_kw, zeros)
    for b, battery in enumerate(problem.batteries):
        lower, upper = np.full(steps, battery.soc_min), np.full(steps, battery.soc_max)
        if soft:
            lower, upper = np.zeros(steps), np.ones(steps)
        else:
            for interval, soc_min in battery.soc_targets:
                lower[interval] = max(lower[interval], soc_min)
            lower[-1] = max(lower[-1], battery.soc_final_min or 0.0)
            if battery.soc_final is not None:
                lower[-1], upper[-1] = max(lower[-1], battery.soc_final), min(upper[-1], battery.soc_final)
        value = zeros.copy()
        value[-1] = -(battery.terminal_value_eur_per_mwh or 0.0)
        columns[f"charge_kw_{b}"] = Columns(zeros, np.full(steps, battery.charge_kw), zeros)
        columns[f"discharge_kw_{b}"] = Columns(
            zeros, np.full(steps, battery.discharge_kw), np.full(steps, hours * battery.wear_eur_per_mwh)
        )
        columns[f"energy_kwh_{b}"] = Columns(lower * battery.capacity_kwh, upper * battery.capacity_kwh, value)
    if grid.peak_price_eur_per_kw:
        columns["peak_kw"] = Columns(np.zeros(1), np.full(1, INFINITE), np.full(1, MONEY_SCALE * grid.peak_price_eur_per_kw))
    if soft:
        free, over = np.full(steps, INFINITE), np.full(steps, hours * penalties.grid_eur_per_mwh)
        outside = np.full(steps, hours * penalties.bound_eur_per_mwh_h)
        for name, limit in (("import_over_kw", grid.import_limit_kw), ("export_over_kw", grid.export_limit_kw)):
            if limit < INFINITE:
                columns[name] = Columns(zeros, free, over)
        for b in range(len(problem.batteries)):
            columns[f"below_kwh_{b}"] = Columns(zeros, free, outside)
            columns[f"above_kwh_{b}"] = Columns(zeros, free, outside)
            targets = len(soc_goals(problem, b))
            if targets:
                columns[f"short_kwh_{b}"] = Columns(*(np.full(targets, x) for x in (0.0, INFINITE, penalties.target_eur_per_mwh)))
    return columns


def soc_goals(problem: Problem, b: int) -> list[tuple[int, int, float]]:
    """What a battery's SOC should reach: (interval, sign, soc), where sign * SOC should be at least sign * soc."""
    battery, last = problem.batteries[b], problem.intervals - 1
    goals = [(interval, 1, soc_min) for interval, soc_min in battery.soc_targets]
    if battery.soc_final_min is not None:
        goals.append((last, 1, battery.soc_final_min))
    if battery.soc_final is not None:
        goals += [(last, 1, battery.soc_final), (last, -1, battery.soc_final)]
    return goals


def power_to_serve_kw(problem: Problem) -> np.ndarray:
    """Right-hand side of the power balance."""
    return problem.load_kw - problem.renewables_kw


def initial_energy_kwh(problem: Problem, b: int) -> np.ndarray:
    """Right-hand side of a battery's energy balance: what of its first energy is left after an interval."""
    battery, start = problem.batteries[b], np.zeros(problem.intervals)
    start[0] = battery.soc_initial * battery.capacity_kwh * keep_fraction(battery, problem.hours)
    return start


def cycles_left_kwh(problem: Problem, b: int) -> np.ndarray:
    """Energy that a battery may still discharge on each local day."""
    battery = problem.batteries[b]
    left = np.full(problem.local_days[-1] + 1, battery.cycles_per_day_max * battery.capacity_kwh)
    left[0] = max(0.0, left[0] - battery.cycles_so_far * battery.capacity_kwh)
    return left


# --- constraints --------------------------------------------------------------------------------------------------------


def constrain(model: Model, name: str, terms: list, sense: int, right: float) -> None:
    model.lp.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, name, right))


def balance_power(model: Model) -> None:
    """Import and discharging serve the load that renewables do not; what is left is exported, curtailed or charged."""
    signs = {"grid_import_kw": 1.0, "grid_export_kw": -1.0, "curtailed_kw": -1.0, "charge_kw": -1.0, "discharge_kw": 1.0}
    groups = [(group.variables, signs.get(name, signs.get(name.rpartition("_")[0]))) for name, group in model.columns.items()]
    groups = [(variables, sign) for variables, sign in groups if sign]
    for t, right in enumerate(power_to_serve_kw(model.problem).tolist()):
        terms = [(variables[t], sign) for variables, sign in groups]
        constrain(model, f"balance_power_{t}", terms, pulp.LpConstraintEQ, right)


def balance_energy(model: Model, b: int) -> None:
    """What is stored at the end is what was left of the start, plus charged, less discharged energy, with its losses."""
    battery, hours = model.problem.batteries[b], model.problem.hours
    kept, gain, loss = -keep_fraction(battery, hours), -hours * battery.eta_charge, hours / battery.eta_discharge
    energy, charge, discharge = (model.columns[f"{name}_{b}"].variables for name in ("energy_kwh", "charge_kw", "discharge_kw"))
    for t, right in enumerate(initial_energy_kwh(model.problem, b).tolist()):
        terms = [(energy[t], 1.0), (charge[t], gain), (discharge[t], loss)]
        if t:
            terms.append((energy[t - 1], kept))
        constrain(model, f"balance_energy_{b}_{t}", terms, pulp.LpConstraintEQ, right)


def limit_cycles(model: Model, b: int) -> None:
    """Energy discharged on a local day stays within its cycles."""
    problem, discharge = model.problem, model.columns[f"discharge_kw_{b}"].variables
    for day, right in enumerate(cycles_left_kwh(problem, b).tolist()):
        terms = [(discharge[t], problem.hours) for t in np.flatnonzero(problem.local_days == day)]
        constrain(model, f"limit_cycles_{b}_{day}", terms, pulp.LpConstraintLE, right)


def measure_peak(model: Model) -> None:
    """The peak to pay for is what the mean import of any peak interval has above the peak so far."""
    problem, imports = model.problem, model.columns["grid_import_kw"].variables
    (peak,) = model.columns["peak_kw"].variables
    starts = np.flatnonzero(np.diff(problem.peak_blocks, prepend=-1)).tolist() + [problem.intervals]
    for block, (first, end) in enumerate(pairwise(starts)):
        terms = [(imports[t], 1.0 / (end - first)) for t in range(first, end)] + [(peak, -1.0)]
        constrain(model, f"measure_peak_{block}", terms, pulp.LpConstraintLE, problem.grid.peak_so_far_kw)


def bend_grid_limit(model: Model, direction: str, limit_kw: float) -> None:
    """Power above a grid limit is noted, and paid for."""
    power, over = model.columns[f"grid_{direction}_kw"].variables, model.columns[f"{direction}_over_kw"].variables
    for t in range(model.problem.intervals):
        constrain(model, f"bend_{direction}_limit_{t}", [(power[t], 1.0), (over[t], -1.0)], pulp.LpConstraintLE, limit_kw)


def bend_soc_bounds(model: Model, b: int) -> None:
    """Energy outside the SOC bounds is noted, and paid for."""
    battery = model.problem.batteries[b]
    energy, below, above = (model.columns[f"{name}_kwh_{b}"].variables for name in ("energy", "below", "above"))
    low, high = battery.soc_min * battery.capacity_kwh, battery.soc_max * battery.capacity_kwh
    for t in range(model.problem.intervals):
        constrain(model, f"bend_soc_min_{b}_{t}", [(energy[t], 1.0), (below[t], 1.0)], pulp.LpConstraintGE, low)
        constrain(model, f"bend_soc_max_{b}_{t}", [(energy[t], 1.0), (above[t], -1.0)], pulp.LpConstraintLE, high)


def bend_soc_goals(model: Model, b: int) -> None:
    """Energy missing to a target is noted, and paid for."""
    battery, energy = model.problem.batteries[b], model.columns[f"energy_kwh_{b}"].variables
    for i, (t, sign, soc) in enumerate(soc_goals(model.problem, b)):
        terms = [(energy[t], sign), (model.columns[f"short_kwh_{b}"].variables[i], 1.0)]
        constrain(model, f"bend_soc_goal_{b}_{i}", terms, pulp.LpConstraintGE, sign * soc * battery.capacity_kwh)


def exclude_both(model: Model, name: str, first: str, second: str, intervals: np.ndarray) -> None:
    """A binary for each interval lets only one of two powers be above zero."""
    one, other = model.columns[first], model.columns[second]
    for t in intervals.tolist():
        binary = model.lp.add_variable(f"only_{first}_{t}", 0, 1, pulp.LpInteger)
        model.columns.setdefault("binaries", Columns(*np.zeros((3, 0)), first=len(model.variables))).variables.append(binary)
        one_kw, other_kw = float(one.upper[t]), float(other.upper[t])
        constrain(model, f"{name}_first_{t}", [(one.variables[t], 1.0), (binary, -one_kw)], pulp.LpConstraintLE, 0.0)
        constrain(model, f"{name}_second_{t}", [(other.variables[t], 1.0), (binary, other_kw)], pulp.LpConstraintLE, other_kw)
    model.binaries += len(intervals)


def build(problem: Problem, soft: bool, exclusive: dict[str, np.ndarray] | None = None) -> Model:
    """The PuLP model of a problem.

    Parameters
    ----------
    problem : what is to be scheduled.
    soft : whether limits may bend at their penalties.
    exclusive : intervals that get binaries, for `grid` and for each battery's number.
    """
    lp = pulp.LpProblem("schedule", pulp.LpMinimize)
    model = Model(problem, soft, lp, column_data(problem, soft), {})
    count, objective = 0, []
    for name, group in model.columns.items():
        group.first, cost = count, group.cost.tolist()
        bounds = zip(group.lower.tolist(), group.upper.tolist(), strict=True)
        group.variables = [lp.add_variable(f"{name}_{t}", low, None if high == INFINITE else high) for t, (low, high) in enumerate(bounds)]
        objective += [(variable, price) for variable, price in zip(group.variables, cost, strict=True) if price]
        count += len(cost)
    lp.setObjective(pulp.LpAffineExpression(objective))

    constraints = [("balance_power", balance_power)]
    constraints += [(f"balance_energy_{b}", partial(balance_energy, b=b)) for b in range(len(problem.batteries))]
    limited = [b for b, battery in enumerate(problem.batteries) if battery.cycles_per_day_max is not None]
    constraints += [(f"limit_cycles_{b}", partial(limit_cycles, b=b)) for b in limited]
    if "peak_kw" in model.columns:
        constraints.append(("measure_peak", measure_peak))
    if soft:
        for direction, limit in (("import", problem.grid.import_limit_kw), ("export", problem.grid.export_limit_kw)):
            if limit < INFINITE:
                constraints.append((f"bend_{direction}_limit", partial(bend_grid_limit, direction=direction, limit_kw=limit)))
        for b in range(len(problem.batteries)):
            constraints.append((f"bend_soc_bounds_{b}", partial(bend_soc_bounds, b=b)))
            if soc_goals(problem, b):
                constraints.append((f"bend_soc_goals_{b}", partial(bend_soc_goals, b=b)))
    for key, intervals in (exclusive or {}).items():
        if key == "grid":
            exclude = partial(exclude_both, name="exclude_grid", first="grid_import_kw", second="grid_export_kw", intervals=intervals)
        else:
            powers = {"first": f"charge_kw_{key}", "second": f"discharge_kw_{key}"}
            exclude = partial(exclude_both, name=f"exclude_battery_{key}", **powers, intervals=intervals)
        constraints.append((f"exclude_{key}", exclude))
    for name, add in constraints:
        model.rows[name] = len(lp._constraints)
        add(model)
    return model


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


def matrices(model: Model) -> Matrices:
    """Read the PuLP model out in one go; PuLP sorts variables by name, so each is mapped by itself, never by position."""
    variables = model.variables
    place = {variable: i for i, variable in enumerate(variables)}
    constraints = model.lp._constraints.values()
    lower = np.array([variable.lowBound for variable in variables], dtype=float)
    upper = np.array([INFINITE if variable.upBound is None else variable.upBound for variable in variables], dtype=float)
    integral = np.array([variable.cat == pulp.LpInteger for variable in variables], dtype=np.int32)
    cost = np.zeros(len(variables))
    cost[[place[variable] for variable in model.lp.objective]] = list(model.lp.objective.values())
    right = np.array([-constraint.constant for constraint in constraints], dtype=float)
    sense = np.array([constraint.sense for constraint in constraints])
    index = np.array([place[variable] for constraint in constraints for variable in constraint.expr], dtype=np.int32)
    value = np.array([number for constraint in constraints for number in constraint.expr.values()], dtype=float)
    starts = np.concatenate(([0], np.cumsum([len(constraint.expr) for constraint in constraints]))).astype(np.int32)
    row_lower = np.where(sense == pulp.LpConstraintLE, -INFINITE, right)
    row_upper = np.where(sense == pulp.LpConstraintGE, INFINITE, right)
    return Matrices(cost, lower, upper, integral, row_lower, row_upper, starts[:-1], index, value)


def new_highs(matrix: Matrices, time_limit_s: float, gap: float) -> highspy.Highs:
    """A HiGHS that holds these matrices."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("time_limit", max(time_limit_s, 0.0))
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("mip_abs_gap", 1e-6)
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


def highs_outcome(highs: highspy.Highs) -> Outcome:
    """What HiGHS found, by its own word: PuLP would call a solve that hit its time limit optimal."""
    status, info = highs.getModelStatus(), highs.getInfo()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        return Outcome("infeasible")
    optimal = status == highspy.HighsModelStatus.kOptimal
    if not optimal and info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Outcome("limit")
    solution = highs.getSolution()
    bound = info.mip_dual_bound if info.mip_node_count >= 0 else info.objective_function_value if optimal else None
    return Outcome(
        status="optimal" if optimal else "limit",
        values=np.array(solution.col_value),
        objective=info.objective_function_value,
        bound=bound,
        reduced_costs=np.array(solution.col_dual) if solution.dual_valid else None,
        duals=np.array(solution.row_dual) if solution.dual_valid else None,
        basis=highs.getBasis() if optimal else None,
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
    lp, options = model.lp, {"gapRel": model.problem.gap, "gapAbs": 1e-6, "options": ["primalT 1e-9", "dualT 1e-9"]}
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
        duals = np.array([constraint.pi or 0.0 for constraint in lp._constraints.values()])
        reduced = np.array([variable.dj or 0.0 for variable in variables])
    # CBC through PuLP does not tell its bound; an optimum is within the gap that was asked for
    bound = (objective - model.problem.gap * abs(objective) if integral else objective) if optimal else None
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
    largest = max([1.0, *(max(battery.charge_kw, battery.discharge_kw) for battery in problem.batteries)])
    both = {}
    for b, battery in enumerate(problem.batteries):
        c, d = series(f"charge_kw_{b}"), series(f"discharge_kw_{b}")
        found = np.flatnonzero(np.minimum(c, d) > TOLERANCE * largest)
        if len(found):
            both[str(b)] = found
        eta = battery.eta_charge * battery.eta_discharge
        loop = np.minimum(c, d / eta)
        charge[b], discharge[b] = np.where(loop < c, c - loop, 0.0), np.where(loop < c, 0.0, d - eta * loop)
    if bool((problem.export_price_eur_per_mwh > problem.import_cost_eur_per_mwh).any()):
        through = np.minimum(series("grid_import_kw"), series("grid_export_kw"))
        scale = max(largest, float(np.abs(problem.load_kw).max()), float(problem.renewables_kw.max()))
        pays = problem.export_price_eur_per_mwh > problem.import_cost_eur_per_mwh
        found = np.flatnonzero((through > TOLERANCE * scale) & pays)
        if len(found):
            both["grid"] = found
    curtailed = series("curtailed_kw") if problem.curtailable else np.zeros(count)
    return settle(problem, charge, discharge, curtailed), both


def merged(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    empty = np.zeros(0, dtype=int)
    return {key: np.union1d(first.get(key, empty), second.get(key, empty)) for key in {**first, **second}}


def fix_binaries(model: Model, values: np.ndarray) -> None:
    """Turn a solved mixed-integer model into the linear programme of its choices."""
    group = model.columns["binaries"]
    for variable, value in zip(group.variables, values[group.first :], strict=True):
        variable.cat = pulp.LpContinuous
        variable.bounds(round(value), round(value))


def hold_cost(model: Model, outcome: Outcome) -> None:
    """Keep the linear programme at its optimal cost, and ask for the least throughput of the batteries instead.

    At the optimum every variable with a reduced cost stays where it is, and so does every constraint with a dual
    (complementary slackness): what is left to choose are exactly the schedules that cost the same.
    """
    scale = max(1.0, float(np.abs(outcome.reduced_costs).max(initial=0.0)))
    for variable, value, cost in zip(model.variables, outcome.values.tolist(), outcome.reduced_costs.tolist(), strict=True):
        if abs(cost) > DUAL_TOLERANCE * scale:
            variable.bounds(value, value)
    for constraint, dual in zip(model.lp._constraints.values(), outcome.duals.tolist(), strict=True):
        if constraint.sense != pulp.LpConstraintEQ and abs(dual) > DUAL_TOLERANCE * scale:
            constraint.sense = pulp.LpConstraintEQ
    powers = [group.variables for name, group in model.columns.items() if name.startswith(("charge_kw", "discharge_kw"))]
    model.lp.setObjective(pulp.LpAffineExpression([(variable, 1.0) for variables in powers for variable in variables]))


@dataclass(frozen=True, eq=False)
class Solution:
    """A schedule with the values that explain it."""

    status: str
    certificate: Certificate
    schedule: Schedule
    soft: bool
    stored_value_eur_per_mwh: np.ndarray
    bus_price_eur_per_mwh: np.ndarray


def marginal_values(model: Model, duals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Value of one more MWh stored at the end of each interval (mean over the batteries by capacity), and of one more MWh at the bus."""
    problem, count = model.problem, model.problem.intervals
    if duals is None:
        return np.zeros(count), np.where(power_to_serve_kw(problem) > 0, problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh)
    bus = duals[model.rows["balance_power"] :][:count] / problem.hours
    stored = np.zeros(count)
    for b, battery in enumerate(problem.batteries):
        stored -= duals[model.rows[f"balance_energy_{b}"] :][:count] * battery.capacity_kwh
    return stored / (sum(battery.capacity_kwh for battery in problem.batteries) or 1.0) + 0.0, bus


def solve_model(problem: Problem, solver: str = "highs", explain: bool = True) -> Solution:
    """The cheapest schedule.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.
    explain : whether to compute marginal values, which after a mixed-integer solve needs one more linear programme.

    Raises
    ------
    InfeasibleScheduleError : no schedule keeps to physics.
    """
    started, run = time.monotonic(), SOLVERS[solver]

    def left() -> float:
        return problem.time_limit_s - (time.monotonic() - started)

    exclusive = paying_intervals(problem)
    soft = any(bool((group.lower > group.upper).any()) for group in column_data(problem, soft=False).values())
    while True:
        model = build(problem, soft, exclusive)
        outcome = run(model, left())
        if outcome.status == "infeasible":
            if soft:
                raise InfeasibleScheduleError(
                    "no schedule keeps to load, power ratings, capacity and daily cycles; expected numbers of similar orders of magnitude"
                )
            soft = True
            continue
        if outcome.values is None:
            return _incumbent(problem, model, None, started)
        schedule, both = solution(model, outcome.values)
        if outcome.status == "limit":
            return _incumbent(problem, model, None if both else schedule, started, outcome.bound)
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
                schedule, both = solution(model, calm.values)
        new = {key: np.setdiff1d(found, exclusive.get(key, np.zeros(0, dtype=int))) for key, found in both.items()}
        if not any(len(found) for found in new.values()):
            break
        exclusive = merged(exclusive, new)
        logger.info("binaries added in %d intervals where the solution did two things at once", sum(map(len, new.values())))
    objective = replay(problem, schedule).objective_eur
    bound = min(outcome.bound / MONEY_SCALE, objective) if model.binaries else objective
    certificate = _certificate(model, objective, bound, started)
    return Solution("optimal", certificate, schedule, soft, *values)


def _certificate(model: Model, objective: float, bound: float | None, started: float) -> Certificate:
    gap = None if bound is None else max(0.0, objective - bound) / max(abs(objective), 1e-9)
    return Certificate("milp" if model.binaries else "lp-exact", model.binaries, gap, bound, time.monotonic() - started)


def _incumbent(problem: Problem, model: Model, schedule: Schedule | None, started: float, bound: float | None = None) -> Solution:
    """The best schedule known when time ran out: the solver's, or no battery moving, whichever costs less."""
    choices = [idle(problem)] + ([] if schedule is None else [schedule])
    best = min(choices, key=lambda choice: replay(problem, choice).objective_eur)
    bound = None if bound is None or not np.isfinite(bound) else bound / MONEY_SCALE
    certificate = _certificate(model, replay(problem, best).objective_eur, bound, started)
    return Solution("feasible", certificate, best, model.soft, *marginal_values(model, None))


def solve(problem: Problem, solver: str = "highs") -> Result:
    """The cheapest schedule, checked by `battery.replay`, with its money, the limits that bent, and a reason for each interval."""
    from schedule_reasons import reasons

    try:
        found = solve_model(problem, solver)
    except InfeasibleScheduleError as error:
        return Result("infeasible", Certificate("lp-exact", 0, None, None, 0.0), cause=str(error))
    checked = replay(problem, found.schedule)
    if checked.violations:
        worst = max(checked.violations, key=lambda violation: violation.amount)
        raise AssertionError(f"the solver's schedule breaks physics: {worst}")
    result = Result(
        status=found.status,
        certificate=found.certificate,
        schedule=found.schedule,
        cost_eur=checked.cost_eur,
        objective_eur=checked.objective_eur,
        violations=checked.bends,
        stored_value_eur_per_mwh=found.stored_value_eur_per_mwh,
        bus_price_eur_per_mwh=found.bus_price_eur_per_mwh,
    )
    return replace(result, reason=reasons(problem, result))
