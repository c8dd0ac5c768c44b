"""Why a schedule does what it does, in a sentence for each interval.

Reasons rest on prices, marginal values and binding limits. A battery charges where a MWh at the bus
costs less than it is worth stored, `bus < eta_charge * stored`, discharges where it brings more,
`bus > stored / eta_discharge + wear`, and holds in between. Of several batteries the one that moves
most in an interval speaks; where none moves, the one that moves most in all. Reads and writes
nothing.

    python optimization.py --json
"""

import numpy as np

from vpp.schedule.checks import in_figures, rounding
from vpp.schedule.device_reasons import device_reasons
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.limit_reasons import clipped_kw, limit_reasons
from vpp.schedule.problem import Problem, Result, Schedule

LEAST_EUR_PER_MWH = 0.005  # a difference of prices that two decimals do not show
UNPRICED = "no marginal values: time limit"


def least_kw(problem: Problem) -> float:
    """The least power that counts as a movement.

    Parameters
    ----------
    problem : what is scheduled.

    Returns
    -------
    The power [kW].
    """
    return 10 * rounding(*problem.stack.usable_kw)


def leading(problem: Problem, schedule: Schedule) -> np.ndarray:
    """The battery that speaks in each interval.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.

    Returns
    -------
    Number of the battery that moves most in each interval; where none moves, of the one that moves
    most in all, then of the largest.
    """
    if not problem.batteries:
        return np.zeros(problem.intervals, dtype=int)
    moved = schedule.charge_kw + schedule.discharge_kw
    order = np.lexsort(
        ([-battery.capacity_kwh for battery in problem.batteries], -moved.sum(axis=1))
    )
    return order[np.argmax(np.where(moved > least_kw(problem), moved, 0.0)[order], axis=0)]


def worth(problem: Problem, schedule: Schedule, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The worth of stored energy.

    A marginal value is that of a MWh more within the interval: of no use where the battery is full,
    and used up where it is emptied.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : its schedule.
    value : marginal value of a MWh in each battery (battery, interval) [EUR/MWh].

    Returns
    -------
    Worth of a MWh stored at the end of each interval, and in the next one (battery, interval)
    [EUR/MWh].
    """
    stack, least = problem.stack, least_kw(problem)
    after = np.column_stack((stack.keep * value[:, 1:], stack.terminal_value_eur_per_mwh))
    empty, full = _at_bounds(problem, schedule)
    empty, full = empty & (schedule.charge_kw <= least), full & (schedule.discharge_kw <= least)
    worth_now = np.where(full, np.maximum(value, after), value)
    return np.where(empty, np.minimum(value, after), worth_now), after


def _column(problem: Problem, name: str) -> np.ndarray:
    """A parameter of all batteries, one row a battery; 0 where it is not given."""
    return np.array([[getattr(battery, name) or 0.0] for battery in problem.batteries])


def _at_bounds(problem: Problem, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Where each battery ends an interval at its lower and at its upper SOC bound, or outside."""
    low, high = problem.stack.soc_min, problem.stack.soc_max
    return schedule.soc <= low + 1e-6, schedule.soc >= high - 1e-6


def reasons(problem: Problem, result: Result) -> tuple[str, ...]:
    """One reason for each interval.

    Parameters
    ----------
    problem : what is scheduled.
    result : its schedule, with marginal values.

    Returns
    -------
    Texts that name the movement of the batteries and its cause, that of other devices, then
    curtailment, peak and limits that bent.
    """
    schedule, least = result.found, least_kw(problem)
    surplus, imports = problem.renewables_kw - problem.load_kw, schedule.grid_import_kw
    at_peak = _at_peak(problem, imports, least)
    at_limit = (imports >= problem.import_limit_kw - least).tolist()
    curtails = (schedule.curtailed_kw > least).tolist()
    clipped = clipped_kw(problem, schedule)[1].sum(axis=0)
    clips = (schedule.curtailed_kw <= clipped + least).tolist()  # and nothing beside it
    bent: dict[int, list[str]] = {}
    for violation in result.violations:
        text = f"{violation.field} bent by {in_figures(violation.amount)} {violation.unit}"
        bent.setdefault(violation.interval, []).append(text)
    said: list[list[str]] = [[] for _ in range(problem.intervals)]
    if problem.batteries:
        said = _moves(problem, result, least)
    for texts in device_reasons(problem, result).values():
        for t, text in enumerate(texts):
            said[t] += [text] if text else []
    for places, text in limit_reasons(problem, schedule):
        for t in places.tolist():
            said[t].append(text)
    for t, parts in enumerate(said):
        if curtails[t]:
            why = "more than inverters pass"
            parts.append(f"curtail: {why}" if clips[t] else _curtailing(problem, result, t, least))
        if not np.isnan(at_peak[t]):
            peak = f"{at_peak[t]:,.0f}" if at_peak[t] >= 100 else f"{at_peak[t]:.3g}"
            parts.append(f"peak held at {peak} kW")
        elif at_limit[t]:
            parts.append("import at its limit")
        parts += bent.get(t, ())
    return tuple(
        "; ".join(parts) or ("export surplus" if surplus[t] > 0 else "import deficit")
        for t, parts in enumerate(said)
    )


def _at_peak(problem: Problem, imports: np.ndarray, least: float) -> list[float]:
    """The paid peak [kW] that each interval makes; NaN where it makes none."""
    found = np.full(problem.intervals, np.nan)
    for one in problem.peaks:
        means = one.means_kw(imports, problem.hours)
        peak = means.max(initial=0.0)
        if one.peak.price_eur_per_kw and peak > one.peak.so_far_kw + least:
            places, blocks, _ = one.parts()
            makes = (imports[places] > least) & (means[blocks] >= peak - least)
            found[places[makes]] = peak
    return found.tolist()


def _moves(problem: Problem, result: Result, least: float) -> list[list[str]]:
    """Movements and their causes: of the leading battery, then of those back in their bounds."""
    schedule, batteries = result.found, problem.batteries
    charges: np.ndarray = schedule.charge_kw > least
    discharges: np.ndarray = schedule.discharge_kw > least
    before = np.column_stack(([battery.soc_initial for battery in batteries], schedule.soc[:, :-1]))
    low, high = problem.stack.soc_min, problem.stack.soc_max
    back_up: np.ndarray = charges & (before < low - 1e-6)
    back_down: np.ndarray = discharges & (before > high + 1e-6)
    lead, every = leading(problem, schedule), np.arange(problem.intervals)
    figures = _figures(problem, result, charges, discharges)
    led = {name: rows[lead, every].tolist() for name, rows in figures.items()}
    surplus = ((problem.renewables_kw > problem.load_kw) & (schedule.grid_import_kw <= 0)).tolist()
    sells = (schedule.grid_export_kw > 0).tolist()
    charging: list[bool] = np.asarray(charges.any(axis=0)).tolist()
    discharging: list[bool] = np.asarray(discharges.any(axis=0)).tolist()
    # a price that does not explain it is outweighed by a limit, such as that of an inverter
    limit = "brings a limit that bends nearer" if result.violations else "keeps a limit"
    said = []
    for t, b in enumerate(lead.tolist()):
        battery, at = batteries[b], {name: values[t] for name, values in led.items()}
        if charging[t] and discharging[t]:
            part = "shift: one battery charges another"
        elif charging[t] and back_up[b, t]:
            part = "charge: back to soc_min"
        elif charging[t]:
            part = _charging(at, surplus[t], battery, limit)
        elif discharging[t] and back_down[b, t]:
            part = "discharge: back to soc_max"
        elif discharging[t]:
            part = _discharging(at, sells[t], battery, limit)
        else:
            part = f"hold: {_holding(at, battery)}"
        said.append([part])
    for back, name in ((back_up, "soc_min"), (back_down, "soc_max")):
        for b, t in np.argwhere(back & (lead != np.arange(len(batteries))[:, None])).tolist():
            said[t].append(f"{batteries[b].battery_id} back to {name}")
    return said


def _figures(
    problem: Problem, result: Result, charges: np.ndarray, discharges: np.ndarray
) -> dict[str, np.ndarray]:
    """The figures that reasons rest on, one row a battery.

    Prices and worth of energy now and later [EUR/MWh], and states at the end of intervals.
    """
    value, after = worth(problem, result.found, result.battery_value_eur_per_mwh)
    eta_charge, eta_discharge = _column(problem, "eta_charge"), _column(problem, "eta_discharge")
    wear = _column(problem, "wear_eur_per_mwh")
    end = _column(problem, "terminal_value_eur_per_mwh")
    bus, price = (
        np.broadcast_to(x, value.shape)
        for x in (result.bus_price_eur_per_mwh, problem.settlement.taking[0])
    )
    spends, sold = value / eta_discharge + wear, _later(np.where(discharges, bus, -np.inf))
    empty, full = _at_bounds(problem, result.found)
    return {
        "bus": bus,
        "price": price,
        "value": value,
        "after": after,
        "stores": eta_charge * value,
        "spends": spends,
        # its worth if wear were nothing
        "unworn": np.fmax(value, eta_discharge * np.minimum(_later(bus), spends)),
        "sold_later": sold,
        "used_later": np.where(np.isfinite(sold), sold, end),
        "bought_later": -_later(np.where(charges, -bus, -np.inf)),
        "next": _next(charges.astype(int) - discharges),
        "empty": empty,
        "full": full,
    }


def _later(values: np.ndarray) -> np.ndarray:
    """The most of all later intervals, for each row; minus infinity at the end."""
    later = np.maximum.accumulate(values[:, :0:-1], axis=1)[:, ::-1]
    return np.column_stack((later, np.full(len(values), -np.inf)))


def _next(moves: np.ndarray) -> np.ndarray:
    """The next movement in or after each interval: 1 charging, -1 discharging, 0 none."""
    count = moves.shape[1]
    places = np.where(moves != 0, np.arange(count), count)
    places = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
    moves = np.column_stack((moves, np.zeros(len(moves), dtype=int)))
    return np.take_along_axis(moves, places, axis=1)


def _charging(at: dict, surplus: bool, battery: ScheduledBattery, limit: str) -> str:
    if np.isnan(at["value"]):
        return f"charge: {UNPRICED}"
    if at["bus"] > at["stores"] + LEAST_EUR_PER_MWH:
        return f"charge: {limit}, at {_price(at['bus'])}"
    said = f"charge: {'surplus worth' if surplus else 'price'} {_stores(at, battery)}"
    # another MWh would only take the place of one that is charged at this price: say its use
    tie = abs(at["bus"] - at["stores"]) < LEAST_EUR_PER_MWH < at["used_later"] - at["bus"]
    return said + (f", worth up to {_price(at['used_later'])} later" if tie else "")


def _discharging(at: dict, sells: bool, battery: ScheduledBattery, limit: str) -> str:
    if np.isnan(at["value"]):
        return f"discharge: {UNPRICED}"
    if at["bus"] < at["spends"] - LEAST_EUR_PER_MWH:
        return f"discharge: {limit}, at {_price(at['bus'])}"
    use = "sell" if sells else "serve load"
    if at["value"] < 0:
        use = "make room for energy that is paid for taking,"
    return f"discharge: {use} at {_spends(at, battery)}"


def _holding(at: dict, battery: ScheduledBattery) -> str:
    """Why a battery stays still.

    The first of these that applies: a hindrance, the wait for its next movement, a movement that
    does not pay.
    """
    bus, gain = at["bus"], LEAST_EUR_PER_MWH
    if np.isnan(at["value"]):
        return UNPRICED
    wants = np.any(battery.charge_kw) and not at["full"] and (at["empty"] or at["next"] > 0)
    if wants and at["price"] + gain < min(bus, at["stores"]):
        against = _against(at["price"], at["stores"])
        return f"no room to import below the limit or the peak, {against}"
    if at["empty"] and bus - battery.wear_eur_per_mwh > at["after"] / battery.eta_discharge + gain:
        return "empty"
    if battery.cycles_per_day_max is not None and not at["empty"] and bus > at["spends"] + gain:
        return f"the day's cycles bring more at another time, {_spends(at, battery)}"
    if at["full"] and bus + gain < battery.eta_charge * at["after"]:
        return "full"
    kept = _kept_still(at, battery)
    if kept:
        return kept
    if at["next"] > 0 and at["stores"] <= bus + gain < at["value"]:
        return f"losses of charging exceed the spread, {_against(bus, at['value'])}"
    if at["next"] > 0 and at["bought_later"] <= bus + gain:
        lower = at["bought_later"] < bus - gain
        wait = "waits for a lower price" if lower else "charging later costs the same"
        return f"{wait}, {_stores(at, battery)}"
    charger = "no charger; " if not np.any(battery.charge_kw) and bus + gain < at["stores"] else ""
    if not at["empty"]:
        if at["next"] < 0 and at["sold_later"] >= bus - gain:
            higher = at["sold_later"] > bus + gain
            wait = "kept for a higher price" if higher else "discharging later brings the same"
            return f"{charger}{wait}, {_spends(at, battery)}"
        if bus > at["spends"] - battery.wear_eur_per_mwh + gain:
            return f"{charger}wear exceeds the price, {_spends(at, battery)}"
        return f"{charger}kept for what it is worth later, {_spends(at, battery)}"
    if charger:
        return f"empty, no charger, {_stores(at, battery)}"
    if bus + gain < battery.eta_charge * at["unworn"]:
        return f"wear exceeds the spread, {_stores(at, battery)}"
    if bus + gain < at["unworn"] / battery.eta_discharge:
        losses = "losses and wear" if battery.wear_eur_per_mwh else "losses"
        return f"{losses} exceed the spread, {_stores(at, battery)}"
    return "empty"


def _kept_still(at: dict, battery: ScheduledBattery) -> str:
    """The limit that keeps a battery still where a movement would pay; empty where none would."""
    gain, charges, gives = LEAST_EUR_PER_MWH, not at["full"], not at["empty"]
    if charges and np.any(battery.charge_kw) and at["bus"] + gain < at["stores"]:
        limit = "a limit keeps it from charging"
        if not battery.grid_charging:
            limit = "no renewables left to charge from"
        return f"{limit}, {_stores(at, battery)}"
    if gives and np.any(battery.discharge_kw) and at["bus"] > at["spends"] + gain:
        limit = "a limit keeps it from discharging"
        if not battery.grid_discharging:
            limit = "no consumption left to serve"
        return f"{limit}, {_spends(at, battery)}"
    return ""


def _stores(at: dict, battery: ScheduledBattery) -> str:
    """The price at the bus beside the worth of a MWh that is charged."""
    return _against(at["bus"], at["stores"], " after losses" if battery.eta_charge < 1 else "")


def _spends(at: dict, battery: ScheduledBattery) -> str:
    """The price at the bus beside the return that a MWh must bring if it is discharged."""
    costs = ["losses"] if battery.eta_discharge < 1 else []
    costs += ["wear"] if battery.wear_eur_per_mwh else []
    return _against(at["bus"], at["spends"], f" with {' and '.join(costs)}" if costs else "")


def _price(price: float) -> str:
    """A price with two decimals, and never -0.00."""
    return f"{round(float(price), 2) + 0.0:.2f}"


def _against(bus: float, worth: float, how: str = "") -> str:
    """The price at the bus beside the stored value, in words."""
    bus, worth = round(float(bus), 2) + 0.0, round(float(worth), 2) + 0.0
    word = "below" if bus < worth else "above" if bus > worth else "equal to"
    return f"{bus:.2f} {word} stored value {worth:.2f}{how}"


def _curtailing(problem: Problem, result: Result, t: int, least: float) -> str:
    if result.found.grid_export_kw[t] >= problem.export_limit_kw[t] - least:
        return "curtail: export limit"
    imports, exports = (prices[t] for prices in problem.settlement.taking)
    if imports < 0:
        return f"curtail: importing is paid {_price(-imports)}"
    return f"curtail: export price {_price(exports)}"
