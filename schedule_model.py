"""The schedule as a mathematical programme in PuLP: one named function a constraint. Pure: reads and writes nothing.

The model is hard where its limits can be kept; the soft one has limits that bend at `Problem.penalties`; physics never bends.
All that changes from one window of a rolling horizon to the next is in the columns and right-hand sides, never in the matrix.

    python optimization.py solve --input problem.json --output result.json
"""

import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, pairwise, repeat

import numpy as np
import pulp

from battery import keep_fraction
from schedule_problem import Problem

logger = logging.getLogger("schedule_model")

# The objective is in EUR/1000, so that its coefficients are about as large as prices and the solvers' absolute tolerances fit.
MONEY_SCALE = 1000.0
INFINITE = float("inf")


class Variable(pulp.LpVariable):
    """A PuLP variable that knows its column, and puts its name together when asked: checking the names of a year takes long."""

    __hash__ = object.__hash__  # by identity, as in PuLP, at the speed of C
    hash = property(id)
    cat = pulp.LpContinuous
    varValue = dj = None
    modified = True

    def __init__(self, kind: str, number: int, column: int, low: float, high: float | None):
        self.kind, self.number, self.column, self.lowBound, self.upBound = (
            kind,
            number,
            column,
            low,
            high,
        )

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.number}"


class Terms(pulp.LpAffineExpression):
    """A PuLP expression without constant, from (variable, coefficient) pairs, as fast as a dict is made."""

    name = None
    constant = 0.0
    __init__ = dict.__init__


class Constraint(pulp.LpConstraint):
    """A PuLP constraint whose parts need no checking."""

    pi = slack = None
    modified = True
    name = None  # in place of PuLP's property, which translates every name

    def __init__(
        self, terms: Iterable[tuple[Variable, float]], sense: int, name: str, right: float
    ):
        self.expr, self.sense, self.name, self.constant = Terms(terms), sense, name, -right


class Programme(pulp.LpProblem):
    """A PuLP problem that takes constraints without registering their variables one by one; `variables()` does so when asked."""

    def addConstraint(self, constraint: pulp.LpConstraint, name: str | None = None) -> None:
        name = name or constraint.name
        if name in self._constraints:
            raise pulp.PulpError(f"two constraints are named {name}")
        self._constraints[name] = constraint

    def drop(self, start: str) -> None:
        """Take out the constraints whose names start so."""
        for name in [name for name in self._constraints if name.startswith(start)]:
            del self._constraints[name]


@dataclass
class Columns:
    """Variables of one kind, one an interval: bounds and cost [EUR/1000 a unit], and where they are in the model."""

    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    first: int = 0
    variables: list[Variable] = field(default_factory=list)


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
    def variables(self) -> list[Variable]:
        return [variable for group in self.columns.values() for variable in group.variables]


# --- columns and right-hand sides: all that changes from one window of a rolling horizon to the next -----------------------


def column_data(problem: Problem, soft: bool) -> dict[str, Columns]:
    """Bounds and costs of all continuous variables. Soft models have a variable for each limit that may bend."""
    hours, grid = problem.hours, problem.grid
    zeros, steps = np.zeros(problem.intervals), problem.intervals
    # ratings far beyond the capacity would make constraints with binaries so loose that solvers' tolerances break them
    usable = [problem.usable_kw(battery) for battery in problem.batteries]
    charge, discharge = (
        (sum(powers) for powers in zip(*usable, strict=True)) if usable else (0.0, 0.0)
    )
    # more than can ever flow; keeps a linear programme finite that would import and export at once
    import_kw = np.maximum(problem.load_kw, 0.0) + charge + 1.0
    export_kw = problem.renewables_kw + np.maximum(-problem.load_kw, 0.0) + discharge + 1.0
    if not soft:
        import_kw, export_kw = (
            np.minimum(import_kw, grid.import_limit_kw),
            np.minimum(export_kw, grid.export_limit_kw),
        )
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
            for target in battery.soc_targets:
                lower[target.interval] = max(lower[target.interval], target.soc_min)
            lower[-1] = max(lower[-1], battery.soc_final_min or 0.0)
            if battery.soc_final is not None:
                lower[-1], upper[-1] = (
                    max(lower[-1], battery.soc_final),
                    min(upper[-1], battery.soc_final),
                )
        value = zeros.copy()
        value[-1] = -(battery.terminal_value_eur_per_mwh or 0.0)
        columns[f"charge_kw_{b}"] = Columns(zeros, np.full(steps, usable[b][0]), zeros)
        columns[f"discharge_kw_{b}"] = Columns(
            zeros, np.full(steps, usable[b][1]), np.full(steps, hours * battery.wear_eur_per_mwh)
        )
        columns[f"energy_kwh_{b}"] = Columns(
            lower * battery.capacity_kwh, upper * battery.capacity_kwh, value
        )
    if grid.peak_price_eur_per_kw:
        columns["peak_kw"] = Columns(
            np.zeros(1), np.full(1, INFINITE), np.full(1, MONEY_SCALE * grid.peak_price_eur_per_kw)
        )
    if soft:
        penalties = problem.penalties
        free, over = np.full(steps, INFINITE), np.full(steps, hours * penalties.grid_eur_per_mwh)
        outside = np.full(steps, hours * penalties.bound_eur_per_mwh_h)
        for name, limit in (
            ("import_over_kw", grid.import_limit_kw),
            ("export_over_kw", grid.export_limit_kw),
        ):
            if limit < INFINITE:
                columns[name] = Columns(zeros, free, over)
        for b in range(len(problem.batteries)):
            columns[f"below_kwh_{b}"] = Columns(zeros, free, outside)
            columns[f"above_kwh_{b}"] = Columns(zeros, free, outside)
            targets = len(soc_goals(problem, b))
            if targets:
                columns[f"short_kwh_{b}"] = Columns(
                    *(np.full(targets, x) for x in (0.0, INFINITE, penalties.target_eur_per_mwh))
                )
    return columns


def soc_goals(problem: Problem, b: int) -> list[tuple[int, int, float]]:
    """What a battery's SOC should reach: (interval, sign, soc), where sign * SOC should be at least sign * soc."""
    battery, last = problem.batteries[b], problem.intervals - 1
    goals = [(target.interval, 1, target.soc_min) for target in battery.soc_targets]
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


def constrain(
    model: Model, name: str, terms: Iterable[tuple[Variable, float]], sense: int, right: float
) -> None:
    model.lp.addConstraint(Constraint(terms, sense, name, right))


def balance_power(model: Model) -> None:
    """Import and discharging serve the load that renewables do not; what is left is exported, curtailed or charged."""
    signs = {
        "grid_import_kw": 1.0,
        "grid_export_kw": -1.0,
        "curtailed_kw": -1.0,
        "charge_kw": -1.0,
        "discharge_kw": 1.0,
    }
    groups = [
        (group.variables, signs.get(name, signs.get(name.rpartition("_")[0])))
        for name, group in model.columns.items()
    ]
    powers, signs = zip(*((variables, sign) for variables, sign in groups if sign), strict=True)
    for t, (right, *variables) in enumerate(
        zip(power_to_serve_kw(model.problem).tolist(), *powers, strict=True)
    ):
        constrain(
            model,
            f"balance_power_{t}",
            zip(variables, signs, strict=True),
            pulp.LpConstraintEQ,
            right,
        )


def balance_energy(model: Model, b: int) -> None:
    """What is stored at the end is what was left of the start, plus charged, less discharged energy, with its losses."""
    battery, hours = model.problem.batteries[b], model.problem.hours
    kept, gain, loss = (
        -keep_fraction(battery, hours),
        -hours * battery.eta_charge,
        hours / battery.eta_discharge,
    )
    energy, charge, discharge = (
        model.columns[f"{name}_{b}"].variables
        for name in ("energy_kwh", "charge_kw", "discharge_kw")
    )
    factors = (1.0, gain, loss, kept)
    for t, right in enumerate(initial_energy_kwh(model.problem, b).tolist()):
        # zip ends with the shorter: before the first interval there is no energy variable
        terms = zip(
            (energy[t], charge[t], discharge[t], *energy[max(t - 1, 0) : t]), factors, strict=False
        )
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
        constrain(
            model, f"measure_peak_{block}", terms, pulp.LpConstraintLE, problem.grid.peak_so_far_kw
        )


def bend_grid_limit(model: Model, direction: str, limit_kw: float) -> None:
    """Power above a grid limit is noted, and paid for."""
    power, over = (
        model.columns[f"grid_{direction}_kw"].variables,
        model.columns[f"{direction}_over_kw"].variables,
    )
    for t in range(model.problem.intervals):
        constrain(
            model,
            f"bend_{direction}_limit_{t}",
            [(power[t], 1.0), (over[t], -1.0)],
            pulp.LpConstraintLE,
            limit_kw,
        )


def bend_soc_bounds(model: Model, b: int) -> None:
    """Energy outside the SOC bounds is noted, and paid for."""
    battery = model.problem.batteries[b]
    energy, below, above = (
        model.columns[f"{name}_kwh_{b}"].variables for name in ("energy", "below", "above")
    )
    low, high = battery.soc_min * battery.capacity_kwh, battery.soc_max * battery.capacity_kwh
    for t in range(model.problem.intervals):
        constrain(
            model,
            f"bend_soc_min_{b}_{t}",
            [(energy[t], 1.0), (below[t], 1.0)],
            pulp.LpConstraintGE,
            low,
        )
        constrain(
            model,
            f"bend_soc_max_{b}_{t}",
            [(energy[t], 1.0), (above[t], -1.0)],
            pulp.LpConstraintLE,
            high,
        )


def bend_soc_goals(model: Model, b: int) -> None:
    """Energy missing to a target is noted, and paid for."""
    battery, energy = model.problem.batteries[b], model.columns[f"energy_kwh_{b}"].variables
    for i, (t, sign, soc) in enumerate(soc_goals(model.problem, b)):
        terms = [(energy[t], sign), (model.columns[f"short_kwh_{b}"].variables[i], 1.0)]
        constrain(
            model,
            f"bend_soc_goal_{b}_{i}",
            terms,
            pulp.LpConstraintGE,
            sign * soc * battery.capacity_kwh,
        )


def cap_co2(model: Model, most_kg: float) -> None:
    """CO2 of all imports stays below a cap."""
    problem, imports = model.problem, model.columns["grid_import_kw"].variables
    weights = (problem.hours * problem.co2_kg_per_mwh / 1000).tolist()
    constrain(
        model, "cap_co2", list(zip(imports, weights, strict=True)), pulp.LpConstraintLE, most_kg
    )


def cap_discharge(model: Model, most_kwh: float) -> None:
    """Energy discharged by all batteries stays below a cap."""
    powers = [
        model.columns[f"discharge_kw_{b}"].variables for b in range(len(model.problem.batteries))
    ]
    terms = [(variable, model.problem.hours) for variables in powers for variable in variables]
    constrain(model, "cap_discharge", terms, pulp.LpConstraintLE, most_kwh)


def exclude_both(model: Model, name: str, first: str, second: str, intervals: np.ndarray) -> None:
    """A binary for each interval lets only one of two powers be above zero."""
    one, other = model.columns[first], model.columns[second]
    binaries = model.columns.setdefault(
        "binaries", Columns(*np.zeros((3, 0)), first=len(model.variables))
    )
    for t in intervals.tolist():
        binary = Variable(f"only_{first}", t, binaries.first + len(binaries.variables), 0, 1)
        binary.cat = pulp.LpInteger
        binaries.variables.append(binary)
        one_kw, other_kw = float(one.upper[t]), float(other.upper[t])
        constrain(
            model,
            f"{name}_first_{t}",
            [(one.variables[t], 1.0), (binary, -one_kw)],
            pulp.LpConstraintLE,
            0.0,
        )
        constrain(
            model,
            f"{name}_second_{t}",
            [(other.variables[t], 1.0), (binary, other_kw)],
            pulp.LpConstraintLE,
            other_kw,
        )
    model.binaries += len(intervals)


def fit_alone(model: Model, b: int, intervals: np.ndarray) -> None:
    """Where binaries keep charging and discharging apart, charging finds its room, and discharging its energy, without the other.

    Whole binaries imply it, fractions of them do not: the solver has less to branch on. Such linear models are compared by Pozo,
    Electric Power Systems Research 212 (2022), arXiv:2204.08240.
    """
    battery, hours, energy = (
        model.problem.batteries[b],
        model.problem.hours,
        model.columns[f"energy_kwh_{b}"],
    )
    charge, discharge = (
        model.columns[f"{name}_kw_{b}"].variables for name in ("charge", "discharge")
    )
    keep, start = keep_fraction(battery, hours), initial_energy_kwh(model.problem, b)
    for t in intervals.tolist():
        before = [(variable, keep) for variable in energy.variables[max(t - 1, 0) : t]]
        low, high = (
            keep * bound[t - 1] if t else start[0] for bound in (energy.lower, energy.upper)
        )
        low, high = (
            float(bound - start[t])
            for bound in (min(low, energy.lower[t]), max(high, energy.upper[t]))
        )
        constrain(
            model,
            f"fit_charge_{b}_{t}",
            [*before, (charge[t], hours * battery.eta_charge)],
            pulp.LpConstraintLE,
            high,
        )
        constrain(
            model,
            f"fit_discharge_{b}_{t}",
            [*before, (discharge[t], -hours / battery.eta_discharge)],
            pulp.LpConstraintGE,
            low,
        )


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Hold the garbage collector while a model is built: it would walk through all variables again and again, for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@garbage_kept()
def build(
    problem: Problem,
    soft: bool,
    exclusive: dict[str, np.ndarray] | None = None,
    caps: dict[str, float] | None = None,
) -> Model:
    """The PuLP model of a problem.

    Parameters
    ----------
    problem : what is to be scheduled.
    soft : whether limits may bend at their penalties.
    exclusive : intervals that get binaries, for `grid` and for each battery's number.
    caps : the most of other aims than cost: `co2_kg`, `discharge_kwh`.
    """
    lp = Programme("schedule", pulp.LpMinimize)
    model = Model(problem, soft, lp, column_data(problem, soft), {})
    count, objective = 0, Terms()
    for name, group in model.columns.items():
        group.first, cost = count, group.cost.tolist()
        upper = [None if high == INFINITE else high for high in group.upper.tolist()]
        numbers = (range(len(cost)), range(count, count + len(cost)))
        group.variables = list(map(Variable, repeat(name), *numbers, group.lower.tolist(), upper))
        objective.update(zip(compress(group.variables, cost), filter(None, cost), strict=True))
        count += len(cost)
    lp.setObjective(objective)

    constraints = [("balance_power", balance_power)]
    constraints += [
        (f"balance_energy_{b}", partial(balance_energy, b=b)) for b in range(len(problem.batteries))
    ]
    limited = [
        b for b, battery in enumerate(problem.batteries) if battery.cycles_per_day_max is not None
    ]
    constraints += [(f"limit_cycles_{b}", partial(limit_cycles, b=b)) for b in limited]
    if "peak_kw" in model.columns:
        constraints.append(("measure_peak", measure_peak))
    if soft:
        for direction, limit in (
            ("import", problem.grid.import_limit_kw),
            ("export", problem.grid.export_limit_kw),
        ):
            if limit < INFINITE:
                constraints.append(
                    (
                        f"bend_{direction}_limit",
                        partial(bend_grid_limit, direction=direction, limit_kw=limit),
                    )
                )
        for b in range(len(problem.batteries)):
            constraints.append((f"bend_soc_bounds_{b}", partial(bend_soc_bounds, b=b)))
            if soc_goals(problem, b):
                constraints.append((f"bend_soc_goals_{b}", partial(bend_soc_goals, b=b)))
    for name, cap in (caps or {}).items():
        constraints.append(
            (
                name,
                partial(cap_co2, most_kg=cap)
                if name == "co2_kg"
                else partial(cap_discharge, most_kwh=cap),
            )
        )
    for key, intervals in (exclusive or {}).items():
        if key == "grid":
            exclude = partial(
                exclude_both,
                name="exclude_grid",
                first="grid_import_kw",
                second="grid_export_kw",
                intervals=intervals,
            )
        else:
            powers = {"first": f"charge_kw_{key}", "second": f"discharge_kw_{key}"}
            exclude = partial(
                exclude_both, name=f"exclude_battery_{key}", **powers, intervals=intervals
            )
        constraints.append((f"exclude_{key}", exclude))
        if key != "grid":
            constraints.append((f"fit_{key}", partial(fit_alone, b=int(key), intervals=intervals)))
    for name, add in constraints:
        model.rows[name] = len(lp.constraints())
        add(model)
    return model
