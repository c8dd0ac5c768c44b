"""A second, slow way to solve a problem file: every choice a binary, matrices straight to HiGHS.

It is written from the documented meaning of the fields alone and shares no line with
`vpp.schedule`. Violations are made as small as they can be class by class, each is then held, and
money comes last. Use it for a dozen intervals; it does not scale.

    python benchmarks/bench_reference.py --seeds 100
"""

import math
from dataclasses import dataclass, field

import reference_devices as devices
from reference_programme import GRID, Expression, Programme

# By how much a class may exceed its least value [kWh] for the solver's rounding, the first that it
# lets pass: what is left to one class the next ones turn into energy and money.
HELD = (1e-10, 1e-9, 1e-8, 1e-7)
LIMIT_NAMES = ("import_limit_kw", "export_limit_kw")


@dataclass
class Side:
    """A scenario: its series, what its devices take, what bends and what it costs."""

    problem: dict
    programme: Programme
    times: list
    bends: list = field(default_factory=lambda: [Expression() for _ in range(3)])
    money: Expression = field(default_factory=Expression)  # [EUR]
    throughput: Expression = field(default_factory=Expression)  # [kWh]
    common: list = field(default_factory=list)  # powers of devices: lists of one an interval

    def __post_init__(self) -> None:
        count = len(self.times)
        self.taken, self.served, self.from_sun, self.to_load = (
            [Expression() for _ in range(count)] for _ in range(4)
        )
        self.net = {}  # discharging less charging, by battery

    @property
    def hours(self) -> float:
        return self.problem["step_min"] / 60

    def series(self, item: dict, name: str, default=0.0) -> list:
        """One value an interval; a default may itself be a list."""
        value = default if item.get(name) is None else item[name]
        return list(value) if isinstance(value, list) else [value] * len(self.times)

    def bend(self, kind: int, excess: Expression, factor: float = 1.0) -> None:
        """An excess above 0 counts in its class."""
        over = self.programme.column()
        self.programme.most(excess, over)
        self.bends[kind].plus(over, factor)


def solve(problem: dict, calm: bool = False, held: tuple = HELD) -> dict:
    """Least violations and money of a problem file.

    Parameters
    ----------
    problem : the content of the file.
    calm : whether to look for the least throughput, too.
    held : slacks of a class that is held, tried in their order [kWh].

    Returns
    -------
    `violations` [kWh, kWh h, kWh] over grid limits, outside bounds and missing to targets,
    `objective_eur`, and where asked for the least `throughput_kwh` at that money.
    """
    programme, times = Programme(), devices.clock(problem)
    scenarios = problem.get("scenarios") or [{"probability": 1.0}]
    chosen = problem.get("common") == "position"
    position = _position(programme, problem, len(times)) if chosen else None
    sides = []
    for scenario in scenarios:
        own = {name: value for name, value in scenario.items() if value is not None}
        side = Side(problem | own, programme, times)
        devices.add_all(side)
        _grid(side)
        _peaks(side)
        sides.append(side)
    _pay_position(problem, sides, position)
    money = _risk(programme, problem, scenarios, sides)
    _share(programme, problem, sides)
    chances = [scenario["probability"] for scenario in scenarios]
    bends = [_expected(chances, [side.bends[kind] for side in sides]) for kind in range(3)]
    throughput = _expected(chances, [side.throughput for side in sides])
    return _in_order(programme, bends, money, throughput if calm else None, held)


def _expected(chances: list, expressions: list) -> Expression:
    total = Expression()
    for chance, expression in zip(chances, expressions, strict=True):
        total.plus(expression, chance)
    return total


def _in_order(programme, bends, money, throughput, slacks) -> dict:
    """Violations class by class, then money, then throughput; each held for the next."""
    rows = len(programme.rows)
    for bend in bends:
        programme.most(bend, 0.0)
    found = programme.least(money)
    if found is not None:
        values = [0.0, 0.0, 0.0, found[0]]
    else:
        for slack in slacks:
            del programme.rows[rows:]
            values = _held(programme, (*bends, money), slack)
            if values is not None:
                break
        else:
            raise ArithmeticError(f"classes cannot be held within {slacks}")
    result = {"violations": [max(0.0, x) for x in values[:3]], "objective_eur": values[3]}
    if throughput is not None:
        programme.most(money, values[3] + 1e-7 * max(1.0, abs(values[3])))
        result["throughput_kwh"], _ = programme.least(throughput)
    return result


def _held(programme, goals, slack: float) -> list | None:
    """The least of each goal with those before it held; None where rounding lets nothing fit."""
    values = []
    for goal in goals:
        found = programme.least(goal)
        if found is None:
            return None
        values.append(found[0])
        programme.most(goal, found[0] + slack)
    programme.rows.pop()  # money is held with a slack of its own
    return values


def _position(programme, problem: dict, count: int) -> list:
    """A net purchase for each interval, split into bought and sold."""
    grid, limits = problem.get("grid") or {}, []
    for name in LIMIT_NAMES:
        value = grid.get(name)
        value = devices.most_kw(problem) if value is None else value
        limits.append(value if isinstance(value, list) else [value] * count)
    position = []
    for most_bought, most_sold in zip(*limits, strict=True):
        bought, sold = programme.column(0, most_bought), programme.column(0, most_sold)
        programme.only_one(bought, most_bought, sold, most_sold)
        position.append((bought, sold))
    return position


def _grid(side: Side) -> None:
    """Balance, limits that bend, curtailment, inverters, and batteries without the grid."""
    programme, count, grid = side.programme, len(side.times), side.problem.get("grid") or {}
    load, sun = (side.series(side.problem, name) for name in ("load_kw", "renewables_kw"))
    most = devices.most_kw(side.problem)
    side.bought, side.sold = programme.columns(count), programme.columns(count)
    limits = [side.series(grid, name, None) for name in LIMIT_NAMES]
    for t in range(count):
        cut = _curtailed(side, t, sun[t], most)
        programme.only_one(side.bought[t], most, side.sold[t], most)
        flow = Expression(side.bought[t]).plus(side.sold[t], -1.0).plus(sun[t]).plus(cut, -1.0)
        programme.equal(flow, Expression(side.taken[t]).plus(load[t]))
        for power, limit in zip((side.bought[t], side.sold[t]), limits, strict=True):
            if limit[t] is not None:
                side.bend(GRID, Expression(power).plus(-limit[t]), side.hours)
        if side.from_sun[t]:
            programme.most(side.from_sun[t], Expression({None: sun[t]}).plus(cut, -1.0))
        if side.to_load[t]:
            programme.most(side.to_load[t], Expression(side.served[t]).plus(max(0.0, load[t])))


def _curtailed(side: Side, t: int, sun: float, most: float) -> Expression:
    """Renewables that are not used, behind inverters and beside them [kW]."""
    programme, may = side.programme, side.problem.get("curtailable") is not False
    total, rest = Expression(), sun
    for inverter in side.problem.get("inverters") or []:
        behind = (inverter.get("renewables_share") or 0.0) * sun
        cut, limit = programme.column(0, behind), inverter["ac_kw"]
        through = Expression({None: behind})
        for name in inverter.get("batteries") or []:
            through.plus(side.net[name][t])
        after = Expression(through).plus(cut, -1.0)
        programme.most(after, limit)
        programme.most(Expression().plus(after, -1.0), limit)
        if not may:  # no more than exceeds the limit
            clips, large = programme.binary(), most + limit + behind
            programme.most(cut, Expression().plus(clips, behind))
            excess = Expression(through).plus(-limit + large).plus(clips, -large)
            programme.most(cut, excess)
        total.plus(cut)
        rest -= behind
    return total.plus(programme.column(0, max(0.0, rest))) if may else total


def _peaks(side: Side) -> None:
    """What peaks, energy without a position, fees and CO2 cost."""
    programme, problem, hours = side.programme, side.problem, side.hours
    for peak in devices.all_peaks(problem):
        above = programme.column()
        for shares, ran_kwh, length_h in devices.peak_intervals(problem, peak, side.times):
            mean = Expression({None: ran_kwh / length_h - (peak.get("so_far_kw") or 0.0)})
            for t, share in shares.items():
                mean.plus(side.bought[t], share * hours / length_h)
            programme.most(mean, above)
        side.money.plus(above, peak["price_eur_per_kw"])
    imports = side.series(problem, "import_price_eur_per_mwh")
    exports = side.series(problem, "export_price_eur_per_mwh", imports)
    fee, co2 = (side.series(problem, x) for x in ("import_fee_eur_per_mwh", "co2_kg_per_mwh"))
    alone = problem.get("position_kw") is None and problem.get("common") != "position"
    for t in range(len(side.times)):
        more = fee[t] + co2[t] / 1000 * (problem.get("co2_price_eur_per_t") or 0.0)
        side.money.plus(side.bought[t], hours / 1000 * (more + alone * imports[t]))
        side.money.plus(side.sold[t], -hours / 1000 * alone * exports[t])


def _pay_position(problem: dict, sides: list, chosen: list | None) -> None:
    """The position at its price, and what deviates from it at its own."""
    given = problem.get("position_kw")
    if given is None and chosen is None:
        return
    for side in sides:
        own, programme, hours = side.problem, side.programme, side.hours
        imports = side.series(own, "import_price_eur_per_mwh")
        exports = side.series(own, "export_price_eur_per_mwh", imports)
        short = side.series(own, "deviation_short_eur_per_mwh", imports)
        long = side.series(own, "deviation_long_eur_per_mwh", exports)
        price = side.series(own, "position_price_eur_per_mwh", None)
        for t in range(len(side.times)):
            if chosen is None:
                x = side.series(own, "position_kw")[t]
                bought, sold = Expression({None: max(0.0, x)}), Expression({None: max(0.0, -x)})
            else:
                bought, sold = chosen[t]
            buys, sells = (price[t],) * 2 if price[t] is not None else (imports[t], exports[t])
            side.money.plus(bought, hours * buys / 1000).plus(sold, -hours * sells / 1000)
            more, less = programme.column(), programme.column()
            beside = Expression(side.bought[t]).plus(side.sold[t], -1.0)
            beside.plus(bought, -1.0).plus(sold)
            programme.equal(beside, Expression(more).plus(less, -1.0))
            side.money.plus(more, hours * short[t] / 1000).plus(less, -hours * long[t] / 1000)


def _risk(programme, problem: dict, scenarios: list, sides: list) -> Expression:
    """Expected money, and the mean of the dearest share of it."""
    chances = [scenario["probability"] for scenario in scenarios]
    weight, level = problem.get("risk_weight") or 0.0, problem.get("risk_level")
    money = Expression().plus(_expected(chances, [side.money for side in sides]), 1 - weight)
    if weight:
        tail = 1 - (0.9 if level is None else level)
        quantile = programme.column(-math.inf)
        money.plus(quantile, weight)
        for chance, side in zip(chances, sides, strict=True):
            above = programme.column()
            programme.most(Expression(side.money).plus(quantile, -1.0), above)
            money.plus(above, weight * chance / tail)
    return money


def _share(programme, problem: dict, sides: list) -> None:
    """Powers of devices that are the same in all scenarios."""
    count = len(sides[0].times)
    shared = {"all": count, "position": 0}.get(problem.get("common") or "first", 1)
    for side in sides[1:]:
        for powers, first in zip(side.common, sides[0].common, strict=True):
            for t in range(shared):
                programme.equal(powers[t], first[t])
