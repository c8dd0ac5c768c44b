"""A schedule's matrices by numpy, passed to HiGHS in one call: written without the project's model.

The columns are import, export and curtailment, then of each battery charging, discharging and
energy, then the binaries; each has a value an interval.
"""

from collections.abc import Sequence

import highspy
import numpy as np

from vpp.schedule.backends import HIGHS_SEARCHES
from vpp.schedule.problem import Problem

INF = float("inf")
# row, column and value of entries of the matrix
Entries = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def straight(
    problem: Problem, exclusive: dict[str, np.ndarray], options: dict = HIGHS_SEARCHES
) -> float:
    """The optimum [EUR], with the options of the project's model."""
    n, hours, grid = problem.intervals, problem.hours, problem.grid
    binaries = [(key, t) for key, intervals in exclusive.items() for t in intervals]
    total, zeros = (3 + 3 * len(problem.batteries)) * n + len(binaries), np.zeros(n)
    cost = [hours * problem.import_price_eur_per_mwh, -hours * problem.export_price_eur_per_mwh]
    cost += [zeros]
    upper = [zeros + grid.import_limit_kw, zeros + grid.export_limit_kw, problem.renewables_kw]
    for b in problem.batteries:
        cost += [zeros, zeros + hours * b.wear_eur_per_mwh, zeros]
        upper += [
            zeros + most for most in (b.charge_kw, b.discharge_kw, b.soc_max * b.capacity_kwh)
        ]
    cost = np.concatenate([*cost, np.zeros(len(binaries))])
    upper = np.concatenate([*upper, np.ones(len(binaries))])
    lower = np.zeros(total)
    for b, battery in enumerate(problem.batteries):
        energy = (5 + 3 * b) * n + np.arange(n)
        lower[energy] = battery.soc_min * battery.capacity_kwh
        cost[energy[-1]] = -battery.terminal_value_eur_per_mwh
    entries, right = balances(problem)
    row_upper = choices(problem, binaries, total, len(right), entries)
    integral = np.zeros(total, dtype=np.int32)
    integral[total - len(binaries) :] = 1
    limits = {"output_flag": False, "threads": 1}
    limits |= {"mip_rel_gap": problem.gap, "time_limit": problem.time_limit_s}
    sides = np.append(right, np.full(len(row_upper), -INF)), np.append(right, row_upper)
    return least(limits | options, entries, (cost, lower, upper), sides, integral) / 1000


def balances(problem: Problem) -> tuple[Entries, np.ndarray]:
    """Rows of the power balance and of each battery's energy, and their right sides."""
    n, hours, here = problem.intervals, problem.hours, np.arange(problem.intervals)
    zeros = np.zeros(n)
    rows, columns = [here, here, here], [here, here + n, here + 2 * n]
    values = [zeros + 1, zeros - 1, zeros - 1]
    right = [problem.load_kw - problem.renewables_kw]
    for b, battery in enumerate(problem.batteries):
        charge, row = (3 + 3 * b) * n + here, (1 + b) * n + here
        discharge, energy = charge + n, charge + 2 * n
        rows += [here, here, row, row, row, row[1:]]
        columns += [charge, discharge, energy, charge, discharge, energy[:-1]]
        values += [
            zeros - 1,
            zeros + 1,
            zeros + 1,
            zeros - hours * battery.eta_charge,
            zeros + hours / battery.eta_discharge,
            zeros[1:] - 1,
        ]
        start = zeros.copy()
        start[0] = battery.soc_initial * battery.capacity_kwh
        right.append(start)
    return (rows, columns, values), np.concatenate(right)


def choices(
    problem: Problem,
    binaries: Sequence[tuple[str, int]],
    total: int,
    first: int,
    entries: Entries,
) -> np.ndarray:
    """Add two rows a binary, from row `first` on, one power or the other; gives their limits."""
    ratings = {
        str(b): (battery.charge_kw, battery.discharge_kw)
        for b, battery in enumerate(problem.batteries)
    }
    ratings["grid"] = (problem.grid.import_limit_kw, problem.grid.export_limit_kw)
    n, (rows, columns, values) = problem.intervals, entries
    upper = np.zeros(2 * len(binaries))
    for i, (key, t) in enumerate(binaries):
        one = (0 if key == "grid" else 3 + 3 * int(key)) * n + t
        binary, row = total - len(binaries) + i, first + 2 * i
        one_kw, other_kw = ratings[key]
        rows.append(np.array([row, row, row + 1, row + 1]))
        columns.append(np.array([one, binary, one + n, binary]))
        values.append(np.array([1.0, -one_kw, 1.0, other_kw]))
        upper[2 * i + 1] = other_kw
    return upper


def least(
    options: dict,
    entries: Entries,
    columns: tuple[np.ndarray, ...],
    sides: tuple[np.ndarray, np.ndarray],
    integral: np.ndarray,
) -> float:
    """The least cost; `columns` are cost, lower and upper bound of each."""
    rows, places, values = (np.concatenate(part) for part in entries)
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(len(sides[0]))).astype(np.int32)
    highs = highspy.Highs()
    for name, value in options.items():
        highs.setOptionValue(name, value)
    kind, sense = int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize)
    sizes = (len(integral), len(sides[0]), len(values), kind, sense, 0.0)
    matrix = (starts, places[order].astype(np.int32), values[order])
    highs.passModel(*sizes, *columns, *sides, *matrix, integral)
    highs.run()
    np.array(highs.getSolution().col_value)
    return highs.getInfo().objective_function_value
