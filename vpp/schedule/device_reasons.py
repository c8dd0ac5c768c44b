"""Why vehicles, loads that may run later and heat stores do what they do, a sentence an interval.

Reasons rest on the price at the bus, which is what a MWh more costs the site in an interval. Pure:
reads and writes nothing.

    python optimization.py solve --input examples/vehicle.json --output result.json
"""

import numpy as np

from vpp.schedule.checks import Arrays, in_figures, rounding
from vpp.schedule.deferrable import DeferrableLoad
from vpp.schedule.heat import HeatStore
from vpp.schedule.problem import Problem, Result
from vpp.schedule.vehicles import Vehicle

LEAST_EUR_PER_MWH = 0.005  # a difference of prices that two decimals do not show
Texts = list[str]  # one an interval, empty where there is nothing to say


def device_reasons(problem: Problem, result: Result) -> dict[str, Texts]:
    """A reason for each interval in which a device moves.

    Parameters
    ----------
    problem : what is scheduled.
    result : its schedule, with the price at the bus.

    Returns
    -------
    Texts, one an interval, by the key of the device; empty where it does nothing.
    """
    bus, found = result.bus_price_eur_per_mwh, {}
    if len(bus) != problem.intervals or np.isnan(bus).any():
        bus = problem.import_cost_eur_per_mwh
    for key, _, device in problem.devices:
        arrays = result.found.devices[key]
        if isinstance(device, Vehicle):
            found[key] = _of_vehicle(device, arrays, bus, problem.hours)
        elif isinstance(device, DeferrableLoad):
            found[key] = _of_load(problem, device, arrays, bus)
        elif isinstance(device, HeatStore):
            found[key] = _of_store(device, arrays, bus)
    return found


def _price(value: float) -> str:
    """A price with two decimals, and never -0.00."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def _of_vehicle(vehicle: Vehicle, arrays: Arrays, bus: np.ndarray, hours: float) -> Texts:
    charge, discharge, soc = arrays["charge_kw"], arrays["discharge_kw"], arrays["soc"]
    least, texts = 10 * rounding(vehicle.charge_kw, vehicle.discharge_kw), [""] * len(bus)
    for _, session, end in vehicle.stays(len(bus)):
        stay = np.arange(session.arrival, end)
        wanted = vehicle.wanted_kwh(session, end, hours)
        missing = wanted - float(soc[end - 1]) * vehicle.capacity_kwh
        spare = stay[charge[stay] < vehicle.charge_kw - least]
        cheapest = float(bus[spare].min()) if len(spare) else np.inf
        charged = charge[stay] > least
        paid = float(bus[stay[charged]].mean()) if charged.any() else np.nan
        for t in stay.tolist():
            at, name = _price(bus[t]), vehicle.vehicle_id
            if discharge[t] > least:
                source = "that it came with" if np.isnan(paid) else f"charged at {_price(paid)}"
                texts[t] = f"{name} gives at {at}, energy {source}"
            elif charge[t] > least and missing > rounding(vehicle.capacity_kwh):
                short = in_figures(missing)
                texts[t] = f"{name} charges: {short} kWh will be missing when it leaves"
            elif charge[t] > least and cheapest == np.inf:
                texts[t] = f"{name} charges: it needs all of its stay"
            elif charge[t] > least and bus[t] <= cheapest + LEAST_EUR_PER_MWH:
                texts[t] = f"{name} charges at {at}, other times of its stay cost as much or more"
            elif charge[t] > least:
                texts[t] = f"{name} charges at {at}, limits leave no more for cheaper times"
    return texts


def _of_load(problem: Problem, load: DeferrableLoad, arrays: Arrays, bus: np.ndarray) -> Texts:
    power, least = arrays["power_kw"], 10 * rounding(load.rating_kw)
    texts, on = [""] * len(bus), np.flatnonzero(power > least)
    if not len(on):
        return texts
    costs = problem.hours / 1000 * bus
    early, wanted = load.idle(problem.horizon)["power_kw"], load.wanted_kwh(problem.hours)
    now, at_once = (float(costs @ powers) for powers in (power, early))
    missing, never = (wanted - problem.hours * float(x.sum()) for x in (power, early))
    why = f"for {now:.2f}, {at_once:.2f} as early as possible"
    if missing > rounding(wanted):
        why = f"{in_figures(missing)} kWh do not fit into its window"
        if missing > never + rounding(wanted):  # of an early run less would be missing
            why += " below a limit"
    elif abs(at_once - now) < 0.005:
        why = f"for {now:.2f}, waiting brings nothing"
    for t in on.tolist():
        texts[t] = f"{load.load_id} runs: {why}"
    return texts


def _of_store(store: HeatStore, arrays: Arrays, bus: np.ndarray) -> Texts:
    pump, rod, stored = (arrays[name] for name in ("heat_pump_kw", "rod_kw", "energy_kwh"))
    least = 10 * rounding(store.heat_pump_kw, store.rod_kw)
    cop, texts = np.broadcast_to(store.cop, len(bus)), [""] * len(bus)
    heat = bus / np.maximum(cop, 1e-9)
    for t in range(len(bus)):
        if pump[t] > least:
            texts[t] = f"{store.store_id} heats at {_price(heat[t])} per MWh of heat"
            later = heat[t + 1 :]
            if len(later) and later.max() > heat[t] + LEAST_EUR_PER_MWH:
                texts[t] += f", up to {_price(later.max())} later"
            elif stored[t] <= store.energy_min_kwh + rounding(store.capacity_kwh):
                texts[t] += ", which is needed now"
        if rod[t] > least:
            rest = f" beside the heat pump, at {_price(bus[t])}" if pump[t] > least else ""
            texts[t] = "; ".join(filter(None, (texts[t], f"{store.store_id}: rod heats{rest}")))
    return texts
