"""Why a schedule does what it does, in a sentence for each interval, from prices, marginal values and binding limits.

A battery charges where a MWh at the bus costs less than what it is worth stored, `bus < eta_charge * stored`, discharges where
it brings more than that, `bus > stored / eta_discharge + wear`, and holds in between. Reads and writes nothing.

    python optimization.py --json
"""

import numpy as np

from battery import TOLERANCE
from schedule_problem import Problem, Result

LEAST_EUR_PER_MWH = 0.005  # a difference of prices that two decimals do not show


def reasons(problem: Problem, result: Result) -> tuple[str, ...]:
    """One reason for each interval: what the batteries do and why, then curtailment, peak and limits that bent."""
    schedule, grid = result.schedule, problem.grid
    scale = max([1.0, *(max(battery.charge_kw, battery.discharge_kw) for battery in problem.batteries)])
    least = 10 * TOLERANCE * scale
    charge, discharge = schedule.charge_kw.sum(axis=0), schedule.discharge_kw.sum(axis=0)
    surplus = problem.renewables_kw - problem.load_kw
    peak = schedule.grid_import_kw.max(initial=0.0) if grid.peak_price_eur_per_kw else np.inf
    bent = {}
    for violation in result.violations:
        bent.setdefault(violation.interval, []).append(f"{violation.field} bent by {violation.amount:,.1f} {violation.unit}")
    said = []
    for t in range(problem.intervals):
        if not problem.batteries:
            parts = []
        elif charge[t] > least and discharge[t] > least:
            parts = ["shift: one battery charges another"]
        elif charge[t] > least:
            parts = [_charging(problem, result, t, surplus[t])]
        elif discharge[t] > least:
            parts = [_discharging(problem, result, t, surplus[t])]
        else:
            parts = [_holding(problem, result, t)]
        if schedule.curtailed_kw[t] > least:
            parts.append(_curtailing(problem, result, t, least))
        if schedule.grid_import_kw[t] >= peak - least and peak > grid.peak_so_far_kw + least:
            parts.append(f"peak held at {peak:,.0f} kW")
        elif schedule.grid_import_kw[t] >= grid.import_limit_kw - least:
            parts.append("import at its limit")
        parts += bent.get(t, ())
        said.append("; ".join(parts) or ("export surplus" if surplus[t] > 0 else "import deficit"))
    return tuple(said)


def _charging(problem: Problem, result: Result, t: int, surplus_kw: float) -> str:
    bus, stored = result.bus_price_eur_per_mwh[t], result.stored_value_eur_per_mwh[t]
    if any(battery.soc_initial < battery.soc_min for battery in problem.batteries) and not _inside(problem, result, t - 1, "low"):
        return "charge: back to soc_min"
    source = "surplus worth" if surplus_kw > 0 and result.schedule.grid_import_kw[t] <= 0 else "price"
    return f"charge: {source} {_against(bus, stored)}"


def _discharging(problem: Problem, result: Result, t: int, surplus_kw: float) -> str:
    bus, stored = result.bus_price_eur_per_mwh[t], result.stored_value_eur_per_mwh[t]
    if any(battery.soc_initial > battery.soc_max for battery in problem.batteries) and not _inside(problem, result, t - 1, "high"):
        return "discharge: back to soc_max"
    use = (
        "make room for energy that is paid for taking," if stored < 0 else "sell" if result.schedule.grid_export_kw[t] > 0 else "serve load"
    )
    return f"discharge: {use} at {_against(bus, stored)}"


def _price(price: float) -> str:
    """A price with two decimals, and never -0.00."""
    return f"{round(float(price), 2) + 0.0:.2f}"


def _against(bus: float, stored: float) -> str:
    """The price at the bus beside the stored value, in words."""
    bus, stored = round(float(bus), 2) + 0.0, round(float(stored), 2) + 0.0
    word = "below" if bus < stored else "above" if bus > stored else "equal to"
    return f"{bus:.2f} {word} stored value {stored:.2f}"


def _inside(problem: Problem, result: Result, t: int, side: str) -> bool:
    """Whether all batteries are inside their lower or upper SOC bound at the end of interval t (-1: at the start)."""
    for b, battery in enumerate(problem.batteries):
        soc = battery.soc_initial if t < 0 else result.schedule.soc[b, t]
        if (soc < battery.soc_min - 1e-6) if side == "low" else (soc > battery.soc_max + 1e-6):
            return False
    return True


def _holding(problem: Problem, result: Result, t: int) -> str:
    bus, stored = result.bus_price_eur_per_mwh[t], result.stored_value_eur_per_mwh[t]
    soc, batteries, against = result.schedule.soc[:, t], problem.batteries, _against(bus, stored)
    if all(s <= battery.soc_min + 1e-6 for s, battery in zip(soc, batteries, strict=True)):
        return "hold: empty"
    limited = [battery for battery in batteries if battery.cycles_per_day_max is not None]
    if any(bus - battery.wear_eur_per_mwh - stored / battery.eta_discharge > LEAST_EUR_PER_MWH for battery in limited):
        return f"hold: the day's cycles bring more at another time, {against}"
    if all(s >= battery.soc_max - 1e-6 for s, battery in zip(soc, batteries, strict=True)):
        return "hold: full"
    if bus > stored:
        return f"hold: losses and wear exceed the spread, {against}"
    if any(battery.charge_kw and battery.eta_charge * stored <= bus + LEAST_EUR_PER_MWH < stored for battery in batteries):
        return f"hold: losses of charging exceed the spread, {against}"
    return f"hold: kept for a higher price, {against}"


def _curtailing(problem: Problem, result: Result, t: int, least: float) -> str:
    if result.schedule.grid_export_kw[t] >= problem.grid.export_limit_kw - least:
        return "curtail: export limit"
    if problem.import_cost_eur_per_mwh[t] < 0:
        return f"curtail: importing is paid {_price(-problem.import_cost_eur_per_mwh[t])}"
    return f"curtail: export price {_price(problem.export_price_eur_per_mwh[t])}"
