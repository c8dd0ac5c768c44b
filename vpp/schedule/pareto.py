"""More than one aim: the front of cost, CO2 of imports and battery cycles.

The epsilon-constraint method (Haimes, Lasdon and Wismer, IEEE Trans. SMC 1 (1971) 296) minimises
cost while CO2 and discharged energy are capped. A grid of caps lies between the least that is
possible and the most that the cheapest schedule, or the one of least CO2, has. A schedule that
another beats in all aims is left out. Reads nothing; `plot_front` writes a picture.

    python optimization.py pareto

Cost is EUR with wear, less the value of the energy left; CO2 is kg; a cycle is the capacity of all
batteries discharged once. A schedule that bends limits more is no better for being cheaper.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpp.runtime.errors import ConfigError
from vpp.schedule.battery import energy_kwh
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.solver import Solution, solve_model
from vpp.schedule.value import net_cost_eur, replay_or_raise

logger = logging.getLogger("optimization")

# Violation of each class, in their order of importance.
BENT = ("over_grid_limits_kwh", "outside_soc_bounds_kwh_h", "short_of_targets_kwh")


def aims(problem: Problem, schedule: Schedule) -> dict[str, float]:
    """The aims of a schedule.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : the schedule.

    Returns
    -------
    `cost_eur` [EUR], `co2_kg` [kg] and `cycles` of all batteries together.
    """
    imported_kwh = energy_kwh(schedule.grid_import_kw, problem.hours)
    discharged_kwh = energy_kwh(float(schedule.discharge_kw.sum()), problem.hours)
    return {
        "cost_eur": net_cost_eur(problem, schedule),
        "co2_kg": float((imported_kwh * problem.co2_kg_per_mwh / 1000).sum()),
        "cycles": discharged_kwh / _capacity_kwh(problem),
    }


def _capacity_kwh(problem: Problem) -> float:
    return sum(battery.capacity_kwh for battery in problem.batteries) or 1.0


def cleanest(problem: Problem, caps: dict[str, float], solver: str = "highs") -> dict[str, float]:
    """The aims of the schedule of least CO2; of such schedules it has the least throughput.

    Parameters
    ----------
    problem : what is to be scheduled.
    caps : the most of other aims, as in `vpp.schedule.model.build`.
    solver : `highs` or `cbc`.

    Returns
    -------
    Its `aims`.
    """
    nothing = np.zeros(problem.intervals)
    batteries = tuple(
        replace(battery, wear_eur_per_mwh=0.0, terminal_value_eur_per_mwh=None)
        for battery in problem.batteries
    )
    clean = replace(
        problem,
        import_price_eur_per_mwh=nothing,
        export_price_eur_per_mwh=nothing,
        position_kw=None,
        position_price_eur_per_mwh=None,
        deviation_short_eur_per_mwh=None,
        deviation_long_eur_per_mwh=None,
        co2_price_eur_per_t=1000.0,
        batteries=batteries,
        grid=replace(problem.grid, peak_price_eur_per_kw=0.0, peaks=()),
    )
    return aims(problem, solve_model(clean, solver, explain=False, caps=caps).schedule)


def front(problem: Problem, points: int = 5, solver: str = "highs") -> list[dict]:
    """Schedules of which none is better in one aim without being worse in another.

    Parameters
    ----------
    problem : what is to be scheduled.
    points : caps tried for each of CO2 and cycles.
    solver : `highs` or `cbc`.

    Returns
    -------
    A row for each, by cost: `cost_eur` [EUR], `co2_kg` [kg], `cycles`, `bent_limits`, how much
    bends as in `BENT`, and `status`, which is `feasible` where time ran out (a warning says so).

    Raises
    ------
    ConfigError : the problem has scenarios.
    """
    if problem.scenarios:
        raise ConfigError("scenarios: expected none: a front is of one way in which it may come")
    cheapest = solve_model(problem, solver, explain=False)
    rows = [_row(problem, cheapest)]
    if cheapest.soft or not problem.batteries:
        return _told(rows)
    # the least CO2 may need more cycles than the least cost
    cycles = max(rows[0]["cycles"], cleanest(problem, {}, solver)["cycles"])
    for most_cycles in np.unique(np.linspace(cycles, 0.0, points))[::-1]:
        caps = {"discharge_kwh": most_cycles * _capacity_kwh(problem)}
        capped = _row(problem, solve_model(problem, solver, explain=False, caps=caps))
        rows.append(capped)
        least_kg = cleanest(problem, caps, solver)["co2_kg"]
        for most_kg in np.linspace(capped["co2_kg"], least_kg, points)[1:]:
            # a hair above the least, which rounding would make impossible
            both = caps | {"co2_kg": most_kg + 1e-6 * max(1.0, most_kg)}
            rows.append(_row(problem, solve_model(problem, solver, explain=False, caps=both)))
    return undominated(_told(rows))


def _row(problem: Problem, found: Solution) -> dict:
    money = replay_or_raise(problem, found.schedule, "a schedule of the front")
    bent = {"bent_limits": len(money.bends)} | dict(zip(BENT, money.bent, strict=True))
    return aims(problem, found.schedule) | bent | {"status": found.status}


def _told(rows: list[dict]) -> list[dict]:
    """The same rows; warns where some are not the optimum."""
    late = sum(row["status"] != "optimal" for row in rows)
    if late:
        warning = "%d of %d schedules were cut short by time_limit_s: better ones may exist"
        logger.warning(warning, late, len(rows))
    return rows


def undominated(rows: Sequence[dict]) -> list[dict]:
    """The rows that no other row beats in one aim while being as good in all.

    Parameters
    ----------
    rows : schedules with their aims and what they bend, as `front` has them.

    Returns
    -------
    Those rows, by what they bend and then by cost; one of equal rows. A schedule that bends more is
    worse, whatever it costs.
    """
    aims_of = ("cost_eur", "co2_kg", "cycles")
    points = np.array([[row[name] for name in aims_of] for row in rows])
    bent = np.array([[row[name] for name in BENT] for row in rows])
    scale = 1e-5 * np.maximum(1.0, np.abs(bent).max(axis=0))
    # what bends counts in its order: one number says which bends less
    levels = np.unique(np.round(bent / scale), axis=0, return_inverse=True)[1].ravel()
    points = np.column_stack((levels, points))
    scale = 1e-5 * np.maximum(1.0, np.abs(points).max(axis=0))
    scale[0] = 0.0
    kept: list[int] = []
    for i in np.lexsort(points.T[::-1]).tolist():
        if not any((points[k] <= points[i] + scale).all() for k in kept):
            kept = [k for k in kept if not (points[i] <= points[k] + scale).all()] + [i]
    return [rows[i] for i in kept]


def plot_front(rows: Sequence[dict], path: Path) -> None:
    """Draw cost against cycles, coloured by CO2.

    Parameters
    ----------
    rows : schedules with their aims.
    path : the picture file; its ending says its kind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    cycles, cost, co2 = ([row[aim] for row in rows] for aim in ("cycles", "cost_eur", "co2_kg"))
    points = axes.scatter(
        cycles, cost, c=co2, cmap="viridis_r", s=55, edgecolor="black", linewidth=0.5
    )
    figure.colorbar(points, label="CO2 of imports [kg]")
    axes.set(
        xlabel="cycles of all batteries",
        ylabel="cost [EUR]",
        title="Cost, CO2 and battery cycles against each other",
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
