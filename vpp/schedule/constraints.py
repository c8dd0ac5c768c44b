"""The constraints of the schedule's model: one named function a constraint.

Each adds its constraints to a `Model`. Physics never bends; a soft model has limits that bend at
`Problem.penalties`. Bounds, costs and right-hand sides are in `vpp.schedule.columns`. Pure: reads
and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pulp

from vpp.schedule.battery import keep_fraction
from vpp.schedule.columns import (
    Columns,
    cycles_left_kwh,
    initial_energy_kwh,
    power_to_serve_kw,
    soc_goals,
)
from vpp.schedule.problem import Problem
from vpp.schedule.programme import Constraint, Programme, Variable

# Signs in the power balance.
SIGNS = {
    "grid_import_kw": 1.0,
    "grid_export_kw": -1.0,
    "curtailed_kw": -1.0,
    "charge_kw": -1.0,
    "discharge_kw": 1.0,
}


@dataclass
class Model:
    """A PuLP problem and where its parts are.

    Parameters
    ----------
    problem : what is to be scheduled.
    soft : whether limits may bend.
    lp : the PuLP problem; its constraints keep the order in which they were added.
    columns : groups of variables by name, in the order of the model.
    rows : number of the first constraint of each group.
    binaries : number of binary variables.
    """

    problem: Problem
    soft: bool
    lp: Programme
    columns: dict[str, Columns]
    rows: dict[str, int]
    binaries: int = 0

    @property
    def variables(self) -> list[Variable]:
        """All variables in the order of the model."""
        return [variable for group in self.columns.values() for variable in group.variables]

    @property
    def contradictory(self) -> bool:
        """Whether a variable has a lower bound above its upper bound."""
        return any((group.lower > group.upper).any() for group in self.columns.values())

    def of(self, name: str) -> list[Variable]:
        """The variables of a group."""
        return self.columns[name].variables

    def constrain(
        self, name: str, terms: Iterable[tuple[Variable, float]], sense: int, right: float
    ) -> None:
        """Add a constraint.

        Parameters
        ----------
        name : a name of its own.
        terms : variables and their coefficients on the left.
        sense : `pulp.LpConstraintLE`, `LpConstraintEQ` or `LpConstraintGE`.
        right : the number on the right.
        """
        self.lp.addConstraint(Constraint(terms, sense, name, right))


def balance_power(model: Model) -> None:
    """Import and discharging serve the load that renewables do not.

    The rest of the power is exported, curtailed or charged.

    Parameters
    ----------
    model : the model that gets it.
    """
    groups = [
        (group.variables, SIGNS.get(name) or SIGNS.get(name.rpartition("_")[0]))
        for name, group in model.columns.items()
    ]
    powers, signs = zip(*((variables, sign) for variables, sign in groups if sign), strict=True)
    serve = power_to_serve_kw(model.problem).tolist()
    for t, (right, *variables) in enumerate(zip(serve, *powers, strict=True)):
        terms = zip(variables, signs, strict=True)
        model.constrain(f"balance_power_{t}", terms, pulp.LpConstraintEQ, right)


def balance_energy(model: Model, b: int) -> None:
    """Stored energy is the rest of the energy before, plus charged, less discharged energy.

    Parameters
    ----------
    model : the model that gets it.
    b : number of the battery.
    """
    battery, hours = model.problem.batteries[b], model.problem.hours
    energy, charge = model.of(f"energy_kwh_{b}"), model.of(f"charge_kw_{b}")
    discharge, gain = model.of(f"discharge_kw_{b}"), -hours * battery.eta_charge
    factors = (1.0, gain, hours / battery.eta_discharge, -keep_fraction(battery, hours))
    for t, right in enumerate(initial_energy_kwh(model.problem, b).tolist()):
        # zip ends with the shorter: before the first interval there is no energy variable
        variables = (energy[t], charge[t], discharge[t], *energy[max(t - 1, 0) : t])
        terms = zip(variables, factors, strict=False)
        model.constrain(f"balance_energy_{b}_{t}", terms, pulp.LpConstraintEQ, right)


def limit_cycles(model: Model, b: int) -> None:
    """Energy discharged on a local day stays within its cycles.

    Parameters
    ----------
    model : the model that gets it.
    b : number of a battery with `cycles_per_day_max`.
    """
    problem, discharge = model.problem, model.of(f"discharge_kw_{b}")
    for day, right in enumerate(cycles_left_kwh(problem, b).tolist()):
        terms = [(discharge[t], problem.hours) for t in np.flatnonzero(problem.local_days == day)]
        model.constrain(f"limit_cycles_{b}_{day}", terms, pulp.LpConstraintLE, right)


def measure_peak(model: Model) -> None:
    """The peak to pay for is the excess of the highest mean import over the peak so far.

    Parameters
    ----------
    model : a model with the column `peak_kw`.
    """
    problem, imports = model.problem, model.of("grid_import_kw")
    (peak,) = model.of("peak_kw")
    starts = np.flatnonzero(np.diff(problem.peak_blocks, prepend=-1)).tolist()
    for block, (first, end) in enumerate(pairwise([*starts, problem.intervals])):
        terms = [(imports[t], 1.0 / (end - first)) for t in range(first, end)] + [(peak, -1.0)]
        right = problem.grid.peak_so_far_kw
        model.constrain(f"measure_peak_{block}", terms, pulp.LpConstraintLE, right)


def bend_grid_limit(model: Model, direction: str, limit_kw: float) -> None:
    """Power above a grid limit is noted, and paid for.

    Parameters
    ----------
    model : a soft model.
    direction : `import` or `export`.
    limit_kw : the limit [kW].
    """
    power, over = model.of(f"grid_{direction}_kw"), model.of(f"{direction}_over_kw")
    for t in range(model.problem.intervals):
        terms = [(power[t], 1.0), (over[t], -1.0)]
        model.constrain(f"bend_{direction}_limit_{t}", terms, pulp.LpConstraintLE, limit_kw)


def bend_soc_bounds(model: Model, b: int) -> None:
    """Energy outside the SOC bounds is noted, and paid for.

    Parameters
    ----------
    model : a soft model.
    b : number of the battery.
    """
    battery, energy = model.problem.batteries[b], model.of(f"energy_kwh_{b}")
    below, above = model.of(f"below_kwh_{b}"), model.of(f"above_kwh_{b}")
    low, high = battery.soc_min * battery.capacity_kwh, battery.soc_max * battery.capacity_kwh
    for t in range(model.problem.intervals):
        terms = [(energy[t], 1.0), (below[t], 1.0)]
        model.constrain(f"bend_soc_min_{b}_{t}", terms, pulp.LpConstraintGE, low)
        terms = [(energy[t], 1.0), (above[t], -1.0)]
        model.constrain(f"bend_soc_max_{b}_{t}", terms, pulp.LpConstraintLE, high)


def bend_soc_goals(model: Model, b: int) -> None:
    """Energy missing to a target is noted, and paid for.

    Parameters
    ----------
    model : a soft model.
    b : number of the battery.
    """
    capacity, energy = model.problem.batteries[b].capacity_kwh, model.of(f"energy_kwh_{b}")
    short = model.of(f"short_kwh_{b}")
    for i, (t, sign, soc) in enumerate(soc_goals(model.problem, b)):
        terms, right = [(energy[t], sign), (short[i], 1.0)], sign * soc * capacity
        model.constrain(f"bend_soc_goal_{b}_{i}", terms, pulp.LpConstraintGE, right)


def cap_co2(model: Model, most_kg: float) -> None:
    """CO2 of all imports stays below a cap.

    Parameters
    ----------
    model : the model that gets it.
    most_kg : the cap [kg].
    """
    problem = model.problem
    weights = (problem.hours * problem.co2_kg_per_mwh / 1000).tolist()
    terms = zip(model.of("grid_import_kw"), weights, strict=True)
    model.constrain("cap_co2", terms, pulp.LpConstraintLE, most_kg)


def cap_discharge(model: Model, most_kwh: float) -> None:
    """Energy discharged by all batteries stays below a cap.

    Parameters
    ----------
    model : the model that gets it.
    most_kwh : the cap [kWh].
    """
    problem = model.problem
    powers = [model.of(f"discharge_kw_{b}") for b in range(len(problem.batteries))]
    terms = [(variable, problem.hours) for variables in powers for variable in variables]
    model.constrain("cap_discharge", terms, pulp.LpConstraintLE, most_kwh)


def exclude_both(model: Model, name: str, first: str, second: str, intervals: np.ndarray) -> None:
    """A binary for each interval lets only one of two powers be above zero.

    Parameters
    ----------
    model : the model that gets it.
    name : start of the constraints' names.
    first, second : names of the two powers' columns.
    intervals : numbers of the intervals.
    """
    one, other = model.columns[first], model.columns[second]
    if "binaries" not in model.columns:
        model.columns["binaries"] = Columns(
            *(np.zeros(0), np.zeros(0), np.zeros(0)), len(model.variables)
        )
    binaries = model.columns["binaries"]
    for t in intervals.tolist():
        column = binaries.first + len(binaries.variables)
        binary = Variable(f"only_{first}", t, column, 0, 1)
        binary.cat = pulp.LpInteger
        binaries.variables.append(binary)
        one_kw, other_kw = float(one.upper[t]), float(other.upper[t])
        terms = [(one.variables[t], 1.0), (binary, -one_kw)]
        model.constrain(f"{name}_first_{t}", terms, pulp.LpConstraintLE, 0.0)
        terms = [(other.variables[t], 1.0), (binary, other_kw)]
        model.constrain(f"{name}_second_{t}", terms, pulp.LpConstraintLE, other_kw)
    model.binaries += len(intervals)


def fit_alone(model: Model, b: int, intervals: np.ndarray) -> None:
    """Charging finds its room, and discharging its energy, without the other.

    Where binaries keep both apart, whole binaries imply it. Fractions of them do not: with it the
    solver has less to branch on. Such linear models are compared by Pozo, Electric Power Systems
    Research 212 (2022), arXiv:2204.08240.

    Parameters
    ----------
    model : the model that gets it.
    b : number of the battery.
    intervals : numbers of the intervals.
    """
    battery, hours = model.problem.batteries[b], model.problem.hours
    energy, charge = model.columns[f"energy_kwh_{b}"], model.of(f"charge_kw_{b}")
    discharge, gain = model.of(f"discharge_kw_{b}"), hours * battery.eta_charge
    keep, start = keep_fraction(battery, hours), initial_energy_kwh(model.problem, b)
    for t in intervals.tolist():
        before = [(variable, keep) for variable in energy.variables[max(t - 1, 0) : t]]
        low, high = (
            keep * bound[t - 1] if t else start[0] for bound in (energy.lower, energy.upper)
        )
        low = float(min(low, energy.lower[t]) - start[t])
        high = float(max(high, energy.upper[t]) - start[t])
        terms = [*before, (charge[t], gain)]
        model.constrain(f"fit_charge_{b}_{t}", terms, pulp.LpConstraintLE, high)
        terms = [*before, (discharge[t], -hours / battery.eta_discharge)]
        model.constrain(f"fit_discharge_{b}_{t}", terms, pulp.LpConstraintGE, low)
