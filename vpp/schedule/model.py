"""The schedule as a mathematical programme in PuLP: variables, objective and all constraints.

The model is hard where its limits can be kept; the soft one has limits that bend at
`Problem.penalties`; physics never bends. Constraints are in `vpp.schedule.constraints`,
numbers in `vpp.schedule.columns`. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import compress, repeat

import numpy as np
import pulp

from vpp.schedule.columns import INFINITE, column_data, soc_goals
from vpp.schedule.constraints import (
    Model,
    balance_energy,
    balance_power,
    bend_grid_limit,
    bend_soc_bounds,
    bend_soc_goals,
    cap_co2,
    cap_discharge,
    exclude_both,
    fit_alone,
    limit_cycles,
    measure_peak,
)
from vpp.schedule.problem import Problem
from vpp.schedule.programme import Programme, Terms, Variable, garbage_kept

Added = Iterator[tuple[str, Callable[[Model], None]]]  # name of a group, and what adds it


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
    exclusive : numbers of the intervals that get binaries, for `grid` and for each battery's
        number.
    caps : the most of other aims than cost: `co2_kg` [kg], `discharge_kwh` [kWh].

    Returns
    -------
    The model, not solved.
    """
    model = Model(problem, soft, Programme("schedule", pulp.LpMinimize), {}, {})
    _add_variables(model)
    for name, add in [
        *_constraints_of_physics(model),
        *(_constraints_that_bend(problem) if soft else ()),
        *_constraints_of_aims(caps or {}),
        *_constraints_with_binaries(exclusive or {}),
    ]:
        model.rows[name] = model.lp.numConstraints()
        add(model)
    return model


def _add_variables(model: Model) -> None:
    """Variables with their bounds, and the objective."""
    model.columns = column_data(model.problem, model.soft)
    count, objective = 0, Terms()
    for name, group in model.columns.items():
        group.first, cost = count, group.cost.tolist()
        upper = [None if high == INFINITE else high for high in group.upper.tolist()]
        numbers = (range(len(cost)), range(count, count + len(cost)))
        made = map(Variable, repeat(name), *numbers, group.lower.tolist(), upper)
        group.variables = list(made)
        costing = compress(group.variables, cost)
        objective.update(zip(costing, filter(None, cost), strict=True))
        count += len(cost)
    model.lp.setObjective(objective)


def _constraints_of_physics(model: Model) -> Added:
    problem = model.problem
    yield "balance_power", balance_power
    for b in range(len(problem.batteries)):
        yield f"balance_energy_{b}", partial(balance_energy, b=b)
    for b, battery in enumerate(problem.batteries):
        if battery.cycles_per_day_max is not None:
            yield f"limit_cycles_{b}", partial(limit_cycles, b=b)
    if "peak_kw" in model.columns:
        yield "measure_peak", measure_peak


def _constraints_that_bend(problem: Problem) -> Added:
    grid = problem.grid
    for direction, limit in (("import", grid.import_limit_kw), ("export", grid.export_limit_kw)):
        if limit < INFINITE:
            add = partial(bend_grid_limit, direction=direction, limit_kw=limit)
            yield f"bend_{direction}_limit", add
    for b in range(len(problem.batteries)):
        yield f"bend_soc_bounds_{b}", partial(bend_soc_bounds, b=b)
        if soc_goals(problem, b):
            yield f"bend_soc_goals_{b}", partial(bend_soc_goals, b=b)


def _constraints_of_aims(caps: dict[str, float]) -> Added:
    for name, cap in caps.items():
        if name == "co2_kg":
            yield name, partial(cap_co2, most_kg=cap)
        else:
            yield name, partial(cap_discharge, most_kwh=cap)


def _constraints_with_binaries(exclusive: dict[str, np.ndarray]) -> Added:
    for key, intervals in exclusive.items():
        if key == "grid":
            powers = ("exclude_grid", "grid_import_kw", "grid_export_kw")
        else:
            powers = (f"exclude_battery_{key}", f"charge_kw_{key}", f"discharge_kw_{key}")
        name, first, second = powers
        add = partial(exclude_both, name=name, first=first, second=second, intervals=intervals)
        yield f"exclude_{key}", add
        if key != "grid":
            yield f"fit_{key}", partial(fit_alone, b=int(key), intervals=intervals)
