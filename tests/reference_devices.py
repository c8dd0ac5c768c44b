"""The devices of `reference.py`: batteries, vehicles, deferrable loads, heat stores; and its clock.

Every on or off and every charge or discharge is a binary, whether or not the prices need it.
"""

import datetime
import itertools
import zoneinfo

from reference_programme import BOUND, TARGET, Expression


def clock(problem: dict) -> list:
    """Local start of each interval; their number is the length of the lists over time."""
    start = datetime.datetime.fromisoformat(problem.get("start") or "1970-01-01T00:00:00Z")
    zone = zoneinfo.ZoneInfo(problem.get("time_zone") or "UTC")
    step = datetime.timedelta(minutes=problem["step_min"])
    first = start.astimezone(datetime.UTC)
    return [(first + step * t).astimezone(zone) for t in range(_intervals(problem))]


def _intervals(problem: dict) -> int:
    """Length of the lists by interval; profiles, curves and windows have lengths of their own."""
    own = {"profile_kw", "months", "weekdays", "hours"}

    def lengths(item):
        if isinstance(item, dict):
            for name, value in item.items():
                plain = isinstance(value, list) and not any(
                    isinstance(x, (dict, list, str)) for x in value
                )
                if plain and value and name not in own:
                    yield len(value)
                elif not plain:
                    yield from lengths(value)
        elif isinstance(item, list):
            for value in item:
                if isinstance(value, dict):
                    yield from lengths(value)

    (count,) = set(lengths(problem))
    return count


def all_peaks(problem: dict) -> list:
    """Peaks with windows, and the one of the short form."""
    grid = problem.get("grid") or {}
    peaks = list(grid.get("peaks") or [])
    if grid.get("peak_price_eur_per_kw"):
        length = grid.get("peak_interval_min") or problem["step_min"]
        so_far = grid.get("peak_so_far_kw")
        short = {"price_eur_per_kw": grid["peak_price_eur_per_kw"], "so_far_kw": so_far}
        peaks.append(short | {"interval_min": length})
    return peaks


def peak_intervals(problem: dict, peak: dict, times: list) -> list:
    """(share of the energy of each interval, energy before the start [kWh], hours of its mean).

    Minute by minute: an interval of the problem may lie in two clock intervals.
    """
    step, length, window = problem["step_min"], peak["interval_min"], peak.get("window") or {}
    zone, first = times[0].tzinfo, times[0].astimezone(datetime.UTC)
    found: dict = {}
    for minute in range(step * len(times)):
        at = (first + datetime.timedelta(minutes=minute)).astimezone(zone)
        into = (at.hour * 60 + at.minute) % length
        begins = at.replace(tzinfo=None) - datetime.timedelta(minutes=into)
        shares, _ = found.setdefault((begins, at.utcoffset()), ({}, into))
        shares[minute // step] = shares.get(minute // step, 0.0) + 1 / step
    intervals = []
    for number, ((begins, _), (shares, before)) in enumerate(found.items()):
        parts = (begins.month, begins.isoweekday(), begins.hour)
        allowed = [window.get(name) for name in ("months", "weekdays", "hours")]
        if any(a is not None and part not in a for a, part in zip(allowed, parts, strict=True)):
            continue
        ran = (peak.get("running_interval_kwh") or 0.0) if not number and before else 0.0
        inside = before + round(step * sum(shares.values()))
        cut = number == len(found) - 1
        intervals.append((shares, ran, min(inside, length) / 60 if cut else length / 60))
    return intervals


KINDS = ("batteries", "vehicles", "deferrable_loads", "heat_stores")


def most_kw(problem: dict) -> float:
    """No less than the power of the connection in any interval of any scenario."""
    total = sum(rating_kw(device) for kind in KINDS for device in problem.get(kind) or [])
    for name in ("load_kw", "renewables_kw"):
        values = [item.get(name) or 0.0 for item in (problem, *(problem.get("scenarios") or []))]
        flat = [x for value in values for x in (value if isinstance(value, list) else [value])]
        total += max(map(abs, flat))
    return total


def rating_kw(device: dict) -> float:
    """No less than the largest power of a device."""
    names = ("charge_kw", "discharge_kw", "power_kw", "heat_pump_kw", "rod_kw", "profile_kw")
    values = [device.get(name) or 0.0 for name in names]
    return sum(max(value) if isinstance(value, list) else value for value in values)


def add_all(side) -> None:
    """Columns and rows of all devices of a scenario."""
    problem = side.problem
    for battery in problem.get("batteries") or []:
        _battery(side, battery)
    for vehicle in problem.get("vehicles") or []:
        _vehicle(side, vehicle)
    for load in problem.get("deferrable_loads") or []:
        _profile(side, load) if load.get("profile_kw") is not None else _deferrable(side, load)
    for store in problem.get("heat_stores") or []:
        _heat(side, store)


def _powers(side, device: dict, connected) -> tuple[list, list]:
    """Charging and discharging powers that exclude each other, and the least power of charging."""
    programme, count = side.programme, len(side.times)
    most = [side.series(device, name) for name in ("charge_kw", "discharge_kw")]
    most = [[x if t in connected else 0.0 for t, x in enumerate(values)] for values in most]
    charge, discharge = (programme.columns(count, 0.0, values) for values in most)
    for t in range(count):
        charges = programme.only_one(charge[t], most[0][t], discharge[t], most[1][t])
        least = device.get("charge_min_kw") or 0.0
        if least:
            on = programme.binary()
            programme.most(charge[t], Expression().plus(on, most[0][t]))
            programme.most(Expression().plus(on, least), charge[t])
            programme.most(on, charges)
        side.taken[t].plus(charge[t]).plus(discharge[t], -1.0)
        side.throughput.plus(charge[t], side.hours).plus(discharge[t], side.hours)
    side.common += [charge, discharge]
    return charge, discharge


def _flow(side, device: dict, charge, discharge) -> Expression:
    """Energy that a power brings into a store [kWh]."""
    gain = side.hours * (device.get("eta_charge") or 1.0)
    loss = side.hours / (device.get("eta_discharge") or 1.0)
    return Expression().plus(charge, gain).plus(discharge, -loss)


def _keep(side, device: dict, name: str) -> float:
    return (1 - (device.get(name) or 0.0)) ** side.hours


def _taper(side, device: dict, name: str, power, energy) -> None:
    """Power below every line of a concave curve, by the energy at the start of the interval."""
    for (s0, y0), (s1, y1) in itertools.pairwise(device.get(name) or []):
        slope = (y1 - y0) / (s1 - s0)
        limit = Expression({None: y0 - slope * s0})
        side.programme.most(power, limit.plus(energy, slope / device["capacity_kwh"]))


def _outside(side, energy, low_kwh: float, high_kwh: float) -> None:
    """Energy below its lower or above its upper bound bends, for the length of an interval."""
    minus = Expression({None: low_kwh}).plus(energy, -1.0)
    side.bend(BOUND, minus, side.hours)
    side.bend(BOUND, Expression(energy).plus(-high_kwh), side.hours)


def _short(side, energy, wanted_kwh: float) -> None:
    """Energy missing to a target bends."""
    missing = Expression({None: wanted_kwh}).plus(energy, -1.0)
    side.bend(TARGET, missing)


def _battery(side, battery: dict) -> None:
    programme, count, capacity = side.programme, len(side.times), battery["capacity_kwh"]
    charge, discharge = _powers(side, battery, range(count))
    low, high = side.series(battery, "soc_min"), side.series(battery, "soc_max", 1.0)
    initial = low[0] if battery.get("soc_initial") is None else battery["soc_initial"]
    keep = _keep(side, battery, "self_discharge_per_h")
    energy, before = programme.columns(count, 0.0, capacity), initial * capacity
    for t in range(count):
        _taper(side, battery, "charge_curve", charge[t], before)
        _taper(side, battery, "discharge_curve", discharge[t], before)
        after = Expression().plus(before, keep)
        programme.equal(energy[t], after.plus(_flow(side, battery, charge[t], discharge[t])))
        _outside(side, energy[t], low[t] * capacity, high[t] * capacity)
        if battery.get("grid_charging") is False:
            side.from_sun[t].plus(charge[t])
        if battery.get("grid_discharging") is False:
            side.to_load[t].plus(discharge[t])
        wear = battery.get("wear_eur_per_mwh") or 0.0
        side.money.plus(discharge[t], side.hours * wear / 1000)
        before = energy[t]
    worth = battery.get("terminal_value_eur_per_mwh") or 0.0
    side.money.plus(energy[-1], -worth / 1000)
    pairs = zip(discharge, charge, strict=True)
    side.net[battery["battery_id"]] = [Expression(d).plus(c, -1.0) for d, c in pairs]
    _goals(side, battery, energy)
    _cycles(side, battery, discharge)
    _bands(side, battery, charge, discharge, initial * capacity)
    _change(side, battery, charge, discharge)


def _goals(side, battery: dict, energy: list) -> None:
    capacity = battery["capacity_kwh"]
    for target in battery.get("soc_targets") or []:
        _short(side, energy[target["interval"]], target["soc_min"] * capacity)
    if battery.get("soc_final_min") is not None:
        _short(side, energy[-1], battery["soc_final_min"] * capacity)
    if battery.get("soc_final") is not None:
        _short(side, energy[-1], battery["soc_final"] * capacity)
        minus = Expression().plus(energy[-1], -1.0)
        _short(side, minus, -battery["soc_final"] * capacity)


def _cycles(side, battery: dict, discharge: list) -> None:
    most, days = battery.get("cycles_per_day_max"), [time.date() for time in side.times]
    for day in sorted(set(days)) if most is not None else ():
        so_far = (battery.get("cycles_so_far") or 0.0) if day == days[0] else 0.0
        total = Expression()
        for t, other in enumerate(days):
            if other == day:
                total.plus(discharge[t], side.hours)
        side.programme.most(total, max(0.0, most - so_far) * battery["capacity_kwh"])


def _bands(side, battery: dict, charge, discharge, initial_kwh: float) -> None:
    """Wear by depth: the capacity in bands, each with its price."""
    programme, depth, count = side.programme, 0.0, len(side.times)
    keep = _keep(side, battery, "self_discharge_per_h")
    into, out_of = ([Expression() for _ in range(count)] for _ in range(2))
    for to, price in battery.get("wear_curve") or []:
        width = (to - depth) * battery["capacity_kwh"]
        before = min(width, max(0.0, initial_kwh - depth * battery["capacity_kwh"]))
        for t in range(count):
            put, take, after = programme.column(), programme.column(), programme.column(0, width)
            flow = _flow(side, battery, put, take).plus(before, keep)
            programme.equal(after, flow)
            into[t].plus(put)
            out_of[t].plus(take)
            side.money.plus(take, side.hours * price / 1000)
            before = after
        depth = to
    if battery.get("wear_curve"):
        for t in range(count):
            programme.equal(into[t], charge[t])
            programme.equal(out_of[t], discharge[t])


def _change(side, battery: dict, charge, discharge) -> None:
    """The price of another power than that of the plan before."""
    price = side.problem.get("change_price_eur_per_mwh") or 0.0
    plans = (side.problem.get("previous") or {}).get("batteries") or []
    for plan in plans if price else ():
        if plan["battery_id"] != battery["battery_id"]:
            continue
        for t, (c, d) in enumerate(zip(plan["charge_kw"], plan["discharge_kw"], strict=True)):
            if c is None or d is None:
                continue
            change = side.programme.column()
            moved = Expression(charge[t]).plus(discharge[t], -1.0).plus(d - c)
            side.programme.most(moved, change)
            side.programme.most(Expression().plus(moved, -1.0), change)
            side.money.plus(change, side.hours * price / 1000)


def _vehicle(side, vehicle: dict) -> None:
    programme, count, capacity = side.programme, len(side.times), vehicle["capacity_kwh"]
    stays = [s | {"end": min(s["departure"], count)} for s in vehicle["sessions"]]
    connected = {t for s in stays for t in range(s["arrival"], s["end"])}
    charge, discharge = _powers(side, vehicle, connected)
    low = (vehicle.get("soc_min") or 0.0) * capacity
    high = capacity * (1.0 if vehicle.get("soc_max") is None else vehicle["soc_max"])
    for t in range(count):
        side.served[t].plus(charge[t])
        wear = vehicle.get("wear_eur_per_mwh") or 0.0
        side.money.plus(discharge[t], side.hours * wear / 1000)
    for stay in stays:
        before = stay["soc_arrival"] * capacity
        for t in range(stay["arrival"], stay["end"]):
            _taper(side, vehicle, "charge_curve", charge[t], before)
            energy = programme.column(0.0, capacity)
            flow = _flow(side, vehicle, charge[t], discharge[t]).plus(before)
            programme.equal(energy, flow)
            _outside(side, energy, low, high)
            before = energy
        later_h = max(0, stay["departure"] - count) * side.hours
        later = later_h * (vehicle.get("eta_charge") or 1.0) * vehicle["charge_kw"]
        if stay["arrival"] < count:
            _short(side, before, (stay.get("soc_departure_min") or 0.0) * capacity - later)


def _window(side, load: dict) -> range:
    latest = len(side.times) if load.get("latest") is None else load["latest"]
    return range(load.get("earliest") or 0, latest)


def _deferrable(side, load: dict) -> None:
    programme, inside = side.programme, _window(side, load)
    power, total, starts = [], Expression(), Expression()
    was_on = 0.0
    for t in range(len(side.times)):
        power.append(programme.column(0.0, load["power_kw"] if t in inside else 0.0))
        on = programme.binary()
        programme.most(power[t], Expression().plus(on, load["power_kw"]))
        programme.most(Expression().plus(on, load.get("min_power_kw") or 0.0), power[t])
        total.plus(power[t], side.hours)
        if load.get("contiguous"):
            start = programme.column(0.0, 1.0)
            programme.most(Expression(on).plus(was_on, -1.0), start)
            starts.plus(start)
            was_on = on
    if load.get("contiguous"):
        programme.most(starts, 1.0)
    programme.most(total, load["energy_kwh"])
    _short(side, total, load["energy_kwh"])
    _runs(side, power)


def _profile(side, load: dict) -> None:
    profile, inside, count = load["profile_kw"], _window(side, load), len(side.times)
    power, starts = [Expression() for _ in range(count)], Expression()
    for t in inside:
        if t + len(profile) <= inside.stop:
            start = side.programme.binary()
            starts.plus(start)
            for u, kw in enumerate(profile):
                power[t + u].plus(start, kw)
    side.programme.most(starts, 1.0)
    whole = side.hours * sum(profile)
    _short(side, Expression().plus(starts, whole), whole)
    _runs(side, power)


def _runs(side, power: list) -> None:
    for t, kw in enumerate(power):
        side.taken[t].plus(kw)
        side.served[t].plus(kw)
    side.common.append(power)


def _heat(side, store: dict) -> None:
    programme, count = side.programme, len(side.times)
    cop, demand = side.series(store, "cop"), side.series(store, "demand_kw")
    pump = programme.columns(count, 0.0, store["heat_pump_kw"])
    rod = programme.columns(count, 0.0, store.get("rod_kw") or 0.0)
    keep, before = _keep(side, store, "loss_per_h"), store["energy_initial_kwh"]
    for t in range(count):
        energy, unmet = programme.column(0.0, store["capacity_kwh"]), programme.column(0.0)
        side.programme.most(unmet, side.hours * demand[t])
        after = Expression({None: -side.hours * demand[t]}).plus(before, keep)
        after.plus(pump[t], side.hours * cop[t]).plus(rod[t], side.hours).plus(unmet)
        programme.equal(energy, after)
        side.bends[TARGET].plus(unmet)
        _outside(side, energy, store.get("energy_min_kwh") or 0.0, store["capacity_kwh"])
        side.taken[t].plus(pump[t]).plus(rod[t])
        side.served[t].plus(pump[t]).plus(rod[t])
        before = energy
    last = store.get("energy_final_min_kwh")
    _short(side, before, store["energy_initial_kwh"] if last is None else last)
    side.common += [pump, rod]
