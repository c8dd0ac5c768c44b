"""The numbers of the schedule's model: bounds and costs of variables, right-hand sides.

All that changes from one window of a rolling horizon to the next is here, never in the matrix.

    python optimization.py backtest --days 30
"""

from dataclasses import dataclass, field

import numpy as np

from vpp.schedule.battery import keep_fraction
from vpp.schedule.problem import Problem
from vpp.schedule.programme import Variable

# The objective is in EUR/1000, so that its coefficients are about as large as prices and the
# solvers' absolute tolerances fit.
MONEY_SCALE = 1000.0
INFINITE = float("inf")


@dataclass
class Columns:
    """Variables of one kind, one an interval.

    Parameters
    ----------
    lower, upper : bounds, in the unit of the variables.
    cost : cost of a unit [EUR/1000].
    first : place of the first variable in the model.
    variables : the variables themselves, once the model is built.
    """

    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    first: int = 0
    variables: list[Variable] = field(default_factory=list)


def column_data(problem: Problem, soft: bool) -> dict[str, Columns]:
    """Bounds and costs of all continuous variables.

    Parameters
    ----------
    problem : what is to be scheduled.
    soft : whether limits may bend; such a model has a variable for each limit that may.

    Returns
    -------
    Columns by name, in the order of the model; a battery's names end with its number.
    """
    columns = _grid_columns(problem, soft)
    for b in range(len(problem.batteries)):
        columns |= _battery_columns(problem, b, soft)
    price = problem.grid.peak_price_eur_per_kw
    if price:
        cost = np.full(1, MONEY_SCALE * price)
        columns["peak_kw"] = Columns(np.zeros(1), np.full(1, INFINITE), cost)
    return columns | _bending_columns(problem) if soft else columns


def _grid_columns(problem: Problem, soft: bool) -> dict[str, Columns]:
    """Power through the connection, and curtailed power."""
    hours, grid, zeros = problem.hours, problem.grid, np.zeros(problem.intervals)
    usable = [problem.usable_kw(battery) for battery in problem.batteries]
    charge, discharge = map(sum, zip(*usable, strict=True)) if usable else (0.0, 0.0)
    # more than can ever flow; keeps a linear programme finite that would import and export at once
    import_kw = np.maximum(problem.load_kw, 0.0) + charge + 1.0
    export_kw = problem.renewables_kw + np.maximum(-problem.load_kw, 0.0) + discharge + 1.0
    if not soft:
        import_kw = np.minimum(import_kw, grid.import_limit_kw)
        export_kw = np.minimum(export_kw, grid.export_limit_kw)
    columns = {
        "grid_import_kw": Columns(zeros, import_kw, hours * problem.import_cost_eur_per_mwh),
        "grid_export_kw": Columns(zeros, export_kw, -hours * problem.export_price_eur_per_mwh),
    }
    if problem.curtailable:
        columns["curtailed_kw"] = Columns(zeros, problem.renewables_kw, zeros)
    return columns


def _battery_columns(problem: Problem, b: int, soft: bool) -> dict[str, Columns]:
    """Powers and stored energy of a battery."""
    battery, steps = problem.batteries[b], problem.intervals
    zeros = np.zeros(steps)
    # ratings far beyond the capacity would make constraints with binaries so loose that solvers'
    # tolerances break them
    charge_kw, discharge_kw = problem.usable_kw(battery)
    lower, upper = np.full(steps, battery.soc_min), np.full(steps, battery.soc_max)
    if soft:
        lower, upper = np.zeros(steps), np.ones(steps)
    else:
        for t, sign, soc in soc_goals(problem, b):
            if sign > 0:
                lower[t] = max(lower[t], soc)
            else:
                upper[t] = min(upper[t], soc)
    value = zeros.copy()
    value[-1] = -(battery.terminal_value_eur_per_mwh or 0.0)
    wear = np.full(steps, problem.hours * battery.wear_eur_per_mwh)
    capacity = battery.capacity_kwh
    return {
        f"charge_kw_{b}": Columns(zeros, np.full(steps, charge_kw), zeros),
        f"discharge_kw_{b}": Columns(zeros, np.full(steps, discharge_kw), wear),
        f"energy_kwh_{b}": Columns(lower * capacity, upper * capacity, value),
    }


def _bending_columns(problem: Problem) -> dict[str, Columns]:
    """By how much each limit bends, and what it costs."""
    steps, hours = problem.intervals, problem.hours
    grid, penalties = problem.grid, problem.penalties
    zeros, free = np.zeros(steps), np.full(steps, INFINITE)
    over = np.full(steps, hours * penalties.grid_eur_per_mwh)
    outside = np.full(steps, hours * penalties.bound_eur_per_mwh_h)
    columns = {}
    for direction, limit in (("import", grid.import_limit_kw), ("export", grid.export_limit_kw)):
        if limit < INFINITE:
            columns[f"{direction}_over_kw"] = Columns(zeros, free, over)
    for b in range(len(problem.batteries)):
        columns[f"below_kwh_{b}"] = Columns(zeros, free, outside)
        columns[f"above_kwh_{b}"] = Columns(zeros, free, outside)
        count = len(soc_goals(problem, b))
        if count:
            short = np.full(count, penalties.target_eur_per_mwh)
            columns[f"short_kwh_{b}"] = Columns(np.zeros(count), np.full(count, INFINITE), short)
    return columns


def soc_goals(problem: Problem, b: int) -> list[tuple[int, int, float]]:
    """The targets of a battery's SOC.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.

    Returns
    -------
    (interval, sign, soc) of each: sign * SOC should be at least sign * soc.
    """
    battery, last = problem.batteries[b], problem.intervals - 1
    goals = [(target.interval, 1, target.soc_min) for target in battery.soc_targets]
    if battery.soc_final_min is not None:
        goals.append((last, 1, battery.soc_final_min))
    if battery.soc_final is not None:
        goals += [(last, 1, battery.soc_final), (last, -1, battery.soc_final)]
    return goals


def power_to_serve_kw(problem: Problem) -> np.ndarray:
    """Right-hand side of the power balance.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    Load less renewables [kW], one an interval.
    """
    return problem.load_kw - problem.renewables_kw


def initial_energy_kwh(problem: Problem, b: int) -> np.ndarray:
    """Right-hand side of a battery's energy balance.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of the battery.

    Returns
    -------
    Energy of the start that self-discharge leaves in the first interval [kWh]; 0 in all others.
    """
    battery, start = problem.batteries[b], np.zeros(problem.intervals)
    kept = keep_fraction(battery, problem.hours)
    start[0] = battery.soc_initial * battery.capacity_kwh * kept
    return start


def cycles_left_kwh(problem: Problem, b: int) -> np.ndarray:
    """Energy that a battery may still discharge.

    Parameters
    ----------
    problem : what is to be scheduled.
    b : number of a battery with `cycles_per_day_max`.

    Returns
    -------
    Energy at the AC terminals [kWh], one a local day.
    """
    battery = problem.batteries[b]
    cycles = battery.cycles_per_day_max
    most_kwh = INFINITE if cycles is None else cycles * battery.capacity_kwh
    left = np.full(problem.local_days[-1] + 1, most_kwh)
    left[0] = max(0.0, left[0] - battery.cycles_so_far * battery.capacity_kwh)
    return left
