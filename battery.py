"""A battery: its limits in an interval, and the solver-free check of a schedule.

`Battery.step` limits a wanted power to what is possible and says what was done. `carry_out` runs
wanted powers through it. `replay` recomputes state of charge, power balance, limits and money of a
schedule and lists every violation; a schedule with one is neither returned nor stored. As a script,
a battery of config.ini goes through a simple day; it reads and writes nothing else.

    python battery.py --battery battery-1 --plot day.png

Powers are means over an interval at the AC terminals [kW], charging and discharging both >= 0; a
wanted power is positive where it charges. SOC and energy are those at the END of the interval.
Money is positive where it is paid.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

import terminal
from config import BatteryParameters, Config, ConfigError, FieldError
from schedule_problem import Problem, Schedule, Violation

PICTURES = (".png", ".svg", ".pdf")
TOLERANCE = 1e-6  # of the largest power or capacity, below which a deviation is rounding


def energy_kwh(power_kw, hours: float):
    """Energy of a mean power.

    Parameters
    ----------
    power_kw : power [kW], a number or an array.
    hours : time [h].

    Returns
    -------
    Energy [kWh].
    """
    return power_kw * hours


def money_eur(energy_kwh, price_eur_per_mwh):
    """Value of energy.

    Parameters
    ----------
    energy_kwh : energy [kWh], a number or an array.
    price_eur_per_mwh : price [EUR/MWh], a number or an array.

    Returns
    -------
    Money [EUR].
    """
    return energy_kwh * price_eur_per_mwh / 1000


@dataclass(frozen=True)
class Step:
    """The answer of a battery in an interval.

    Parameters
    ----------
    battery : the battery afterwards.
    charge_kw, discharge_kw : powers that it carried out [kW].
    limited_by : `power`, `full`, `empty` or nothing.
    """

    battery: "Battery"
    charge_kw: float
    discharge_kw: float
    limited_by: str


@dataclass(frozen=True)
class Battery(BatteryParameters):
    """A battery and the energy in it [kWh]; by default that of `soc_initial`."""

    energy_kwh: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.energy_kwh is None:
            object.__setattr__(self, "energy_kwh", self.soc_initial * self.capacity_kwh)
        if not 0 <= self.energy_kwh <= self.capacity_kwh:
            raise FieldError("energy_kwh", self.energy_kwh, f"0 to capacity_kwh = {self.capacity_kwh:g}")

    @classmethod
    def of(cls, parameters: BatteryParameters, soc: float | None = None) -> "Battery":
        """The battery with these parameters.

        Parameters
        ----------
        parameters : its data sheet.
        soc : its state of charge, a fraction; default `soc_initial`.

        Returns
        -------
        The battery.
        """
        values = {item.name: getattr(parameters, item.name) for item in fields(BatteryParameters)}
        return cls(**values, energy_kwh=None if soc is None else soc * parameters.capacity_kwh)

    @property
    def soc(self) -> float:
        """State of charge, a fraction of the capacity."""
        return self.energy_kwh / self.capacity_kwh

    @property
    def round_trip_efficiency(self) -> float:
        """Delivered over charged energy at the AC terminals."""
        return self.eta_charge * self.eta_discharge

    def step(self, power_kw: float, hours: float) -> Step:
        """Carry out a wanted power as far as the battery can.

        The stored energy changes by `hours * (eta_charge * charge - discharge / eta_discharge)` after self-discharge, which
        compounds: a fraction `1 - (1 - self_discharge_per_h) ** hours` of what was stored at the start is lost.

        Parameters
        ----------
        power_kw : wanted mean power at the AC terminals [kW], positive where it charges.
        hours : length of the interval [h].

        Returns
        -------
        Step : the battery afterwards, the powers carried out, and what limited them. A battery outside its SOC bounds is not
            moved by itself, and not moved further outside.

        Raises
        ------
        FieldError (a ValueError) : the power is no number, or the interval has no length.
        """
        charge, discharge, limited_by = self.possible(power_kw, hours)
        energy = self.energy_kwh * keep_fraction(self, hours)
        energy += energy_kwh(self.eta_charge * charge - discharge / self.eta_discharge, hours)
        after = replace(self, energy_kwh=min(max(energy, 0.0), self.capacity_kwh))
        return Step(after, charge, discharge, limited_by)

    def possible(self, power_kw: float, hours: float) -> tuple[float, float, str]:
        """The powers that `step` carries out of a wanted one.

        Parameters
        ----------
        power_kw : wanted mean power at the AC terminals [kW], positive where it charges.
        hours : length of the interval [h].

        Returns
        -------
        Charging and discharging power [kW], and the limit that holds.

        Raises
        ------
        FieldError (a ValueError) : the power is no number, or the interval has no length.
        """
        if math.isnan(power_kw):
            raise FieldError("power_kw", power_kw, f"the power wanted of battery {self.battery_id}, a number of kW")
        if not 0 < hours < math.inf:
            raise FieldError("hours", hours, "the length of the interval, more than 0 h")
        kept, charge, discharge, limited_by = self.energy_kwh * keep_fraction(self, hours), 0.0, 0.0, ""
        if power_kw > 0:
            room = max(0.0, self.soc_max * self.capacity_kwh - kept) / (self.eta_charge * hours)
            charge = min(power_kw, self.charge_kw, room)
            limited_by = "" if charge == power_kw else "full" if charge == room else "power"
        elif power_kw < 0:
            stock = max(0.0, kept - self.soc_min * self.capacity_kwh) * self.eta_discharge / hours
            discharge = min(-power_kw, self.discharge_kw, stock)
            limited_by = "" if discharge == -power_kw else "empty" if discharge == stock else "power"
        return charge, discharge, limited_by


def keep_fraction(battery: BatteryParameters, hours: float) -> float:
    """Fraction of the stored energy that self-discharge leaves.

    Parameters
    ----------
    battery : the battery.
    hours : time that passes [h].

    Returns
    -------
    The fraction, 0 to 1.
    """
    return (1.0 - battery.self_discharge_per_h) ** hours


def stored_kwh(battery: BatteryParameters, charge_kw: np.ndarray, discharge_kw: np.ndarray, hours: float) -> np.ndarray:
    """Stored energy that follows from powers, not limited in any way.

    Parameters
    ----------
    battery : the battery, which starts at its `soc_initial`.
    charge_kw, discharge_kw : powers [kW], one an interval.
    hours : length of an interval [h].

    Returns
    -------
    Energy at the end of each interval [kWh].
    """
    change = energy_kwh(battery.eta_charge * charge_kw - discharge_kw / battery.eta_discharge, hours)
    start, keep = battery.soc_initial * battery.capacity_kwh, keep_fraction(battery, hours)
    if keep == 1.0:
        return start + np.cumsum(change)
    stored = np.empty(len(change))
    for t, delta in enumerate(change.tolist()):
        start = start * keep + delta
        stored[t] = start
    return stored


def settle(problem: Problem, charge_kw: np.ndarray, discharge_kw: np.ndarray, curtailed_kw: np.ndarray | None = None) -> Schedule:
    """The schedule in which the batteries do this and the grid connection takes the rest.

    Parameters
    ----------
    problem : what is scheduled.
    charge_kw, discharge_kw : powers of the batteries [kW] (battery, interval).
    curtailed_kw : curtailed renewables [kW]; by default each interval curtails what is cheapest at
        its own prices and grid limits.

    Returns
    -------
    The schedule; its balances hold exactly.
    """
    net = problem.load_kw + charge_kw.sum(axis=0) - discharge_kw.sum(axis=0) - problem.renewables_kw
    if curtailed_kw is None:
        curtailed_kw = np.zeros(problem.intervals)
        if problem.curtailable:
            grid = problem.grid
            bends = (-net, problem.renewables_kw, -net - grid.export_limit_kw, grid.import_limit_kw - net)
            choices = np.clip(np.stack((curtailed_kw, *bends)), 0.0, problem.renewables_kw)
            imports, exports = np.maximum(net + choices, 0.0), np.maximum(-net - choices, 0.0)
            over = np.maximum(imports - grid.import_limit_kw, 0.0) + np.maximum(exports - grid.export_limit_kw, 0.0)
            costs = imports * problem.import_cost_eur_per_mwh - exports * problem.export_price_eur_per_mwh
            best = np.argmin(costs + over * problem.penalties.grid_eur_per_mwh, axis=0)
            curtailed_kw = choices[best, np.arange(problem.intervals)]
    net = net + curtailed_kw
    socs = [
        stored_kwh(battery, c, d, problem.hours) / battery.capacity_kwh
        for battery, c, d in zip(problem.batteries, charge_kw, discharge_kw, strict=True)
    ]
    soc = np.array(socs).reshape(len(problem.batteries), problem.intervals)
    return Schedule(charge_kw, discharge_kw, curtailed_kw, np.maximum(net, 0.0), np.maximum(-net, 0.0), soc)


def within_grid(problem: Problem, t: int, wanted_kw: Sequence[float], batteries: Sequence[Battery]) -> list[float]:
    """Wanted powers, cut back where charging would import, or discharging export, too much.

    Only the powers count that `Battery.step` can carry out: an empty battery makes no room for
    another. If the load alone exceeds the import limit, or must-run renewables alone the export
    limit, batteries are cut to 0 and no further.

    Parameters
    ----------
    problem : what is scheduled.
    t : number of the interval.
    wanted_kw : power wanted of each battery [kW], positive where it charges.
    batteries : the batteries as they are.

    Returns
    -------
    Power of each battery [kW], positive where it charges.
    """
    possible = [battery.possible(power, problem.hours) for battery, power in zip(batteries, wanted_kw, strict=True)]
    charge, discharge = sum(power[0] for power in possible), sum(power[1] for power in possible)
    load, renewables = float(problem.load_kw[t]), float(problem.renewables_kw[t])
    over = max(0.0, load - renewables + charge - discharge - problem.grid.import_limit_kw)
    under = max(0.0, (0.0 if problem.curtailable else renewables) - load - charge + discharge - problem.grid.export_limit_kw)
    keep_charge = max(0.0, 1 - over / charge) if charge else 1.0
    keep_discharge = max(0.0, 1 - under / discharge) if discharge else 1.0
    return [power[0] * keep_charge - power[1] * keep_discharge for power in possible]


def carry_out(problem: Problem, wanted_kw: Callable[[int, Sequence[Battery]], Sequence[float]]) -> Schedule:
    """The schedule that results from wanted powers, interval by interval, through `Battery.step`.

    A battery is not asked for a power that would break a limit of the grid connection, nor for more
    than its cycles of the local day leave.

    Parameters
    ----------
    problem : what is scheduled.
    wanted_kw : gives the power wanted of each battery [kW], positive where it charges, from the
        number of the interval and the batteries as they are, with the discharging power that their
        cycles leave.

    Returns
    -------
    The schedule.
    """
    batteries = [Battery.of(battery) for battery in problem.batteries]
    charge, discharge = np.zeros((2, len(batteries), problem.intervals))
    days = problem.local_days.tolist()
    used = [battery.cycles_so_far * battery.capacity_kwh for battery in problem.batteries]
    for t in range(problem.intervals):
        if t and days[t] != days[t - 1]:
            used = [0.0] * len(used)
        able = tuple(map(within_cycles, batteries, used, [problem.hours] * len(used)))
        for b, power_kw in enumerate(within_grid(problem, t, wanted_kw(t, able), able)):
            done = able[b].step(power_kw, problem.hours)
            batteries[b] = replace(batteries[b], energy_kwh=done.battery.energy_kwh)
            charge[b, t], discharge[b, t] = done.charge_kw, done.discharge_kw
            used[b] += energy_kwh(done.discharge_kw, problem.hours)
    return settle(problem, charge, discharge)


def within_cycles(battery: Battery, used_kwh: float, hours: float) -> Battery:
    """The battery with no more discharging power than its cycles leave.

    Parameters
    ----------
    battery : the battery.
    used_kwh : energy that it has discharged that local day [kWh].
    hours : length of the interval [h].

    Returns
    -------
    The battery, limited for this interval.
    """
    if battery.cycles_per_day_max is None:
        return battery
    left = max(0.0, battery.cycles_per_day_max * battery.capacity_kwh - used_kwh)
    return replace(battery, discharge_kw=min(battery.discharge_kw, left / hours))


def idle(problem: Problem) -> Schedule:
    """The schedule in which no battery moves.

    Parameters
    ----------
    problem : what is scheduled.

    Returns
    -------
    The schedule.
    """
    nothing = np.zeros((len(problem.batteries), problem.intervals))
    return settle(problem, nothing, nothing)


def self_consumption(problem: Problem) -> Schedule:
    """The rule that most batteries follow: charge on surplus, discharge on deficit.

    One battery after the other is asked, within its daily cycles.

    Parameters
    ----------
    problem : what is scheduled.

    Returns
    -------
    The schedule.
    """
    deficit = (problem.load_kw - problem.renewables_kw).tolist()

    def wanted(t: int, batteries: Sequence[Battery]) -> list[float]:
        remaining, powers = deficit[t], []
        for battery in batteries:
            charge, discharge, _ = battery.possible(-remaining, problem.hours)
            remaining += charge - discharge
            powers.append(charge - discharge)
        return powers

    return carry_out(problem, wanted)


@dataclass(frozen=True)
class Replay:
    """Faults and money of a schedule.

    Parameters
    ----------
    violations : faults against physics; a schedule must not have any.
    bends : limits that gave way at a penalty.
    energy_eur, peak_eur, co2_eur : paid for energy, peak and CO2 [EUR].
    wear_eur : ageing of the batteries [EUR].
    penalty_eur : penalties of the bends, which nobody pays [EUR].
    left_eur : value of the energy left at the end [EUR].
    """

    violations: tuple[Violation, ...]
    bends: tuple[Violation, ...]
    energy_eur: float
    peak_eur: float
    co2_eur: float
    wear_eur: float
    penalty_eur: float
    left_eur: float

    @property
    def cost_eur(self) -> float:
        """Paid for energy, peak and CO2 [EUR]."""
        return self.energy_eur + self.peak_eur + self.co2_eur

    @property
    def objective_eur(self) -> float:
        """Cost, wear and penalties less the value of the energy left [EUR]."""
        return self.cost_eur + self.wear_eur + self.penalty_eur - self.left_eur


def replay(problem: Problem, schedule: Schedule) -> Replay:
    """Recompute a schedule without a solver: SOC, power balance, bounds, exclusivity and money.

    Parameters
    ----------
    problem : what is scheduled.
    schedule : powers [kW] and SOC as they are claimed.

    Returns
    -------
    Every violation by more than `TOLERANCE` of the largest power or capacity, with its interval and
    amount, and the money [EUR].
    """
    hours, grid, penalties = problem.hours, problem.grid, problem.penalties
    checks = _Checks(_tolerance(problem))
    _check_power(problem, schedule, checks)
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    over = checks.bend("grid.import_limit_kw", imports - grid.import_limit_kw, "kW")
    over += checks.bend("grid.export_limit_kw", exports - grid.export_limit_kw, "kW")
    penalty = money_eur(energy_kwh(over, hours), penalties.grid_eur_per_mwh)
    wear = left = 0.0
    for b, battery in enumerate(problem.batteries):
        stored = _check_battery(problem, schedule, b, checks)
        outside, short = _bends_of_battery(problem, b, stored, checks)
        penalty += money_eur(outside * hours, penalties.bound_eur_per_mwh_h)
        penalty += money_eur(short, penalties.target_eur_per_mwh)
        discharged = energy_kwh(float(schedule.discharge_kw[b].sum()), hours)
        wear += money_eur(discharged, battery.wear_eur_per_mwh)
        left += money_eur(float(stored[-1]), battery.terminal_value_eur_per_mwh or 0.0)

    imported, exported = energy_kwh(imports, hours), energy_kwh(exports, hours)
    energy = money_eur(imported, problem.import_price_eur_per_mwh).sum()
    energy -= money_eur(exported, problem.export_price_eur_per_mwh).sum()
    co2_price = problem.import_cost_eur_per_mwh - problem.import_price_eur_per_mwh
    peak_kw = max(0.0, peak_import_kw(problem, imports) - grid.peak_so_far_kw)
    return Replay(
        violations=tuple(checks.violations),
        bends=tuple(checks.bends),
        energy_eur=float(energy),
        peak_eur=float(grid.peak_price_eur_per_kw * peak_kw),
        co2_eur=float(money_eur(imported, co2_price).sum()),
        wear_eur=wear,
        penalty_eur=float(penalty),
        left_eur=left,
    )


@dataclass
class _Checks:
    """Limits that a schedule does not keep by more than a tolerance [kW, kWh]."""

    tolerance: float
    violations: list[Violation] = field(default_factory=list)
    bends: list[Violation] = field(default_factory=list)

    def violate(self, name: str, amount: np.ndarray, unit: str) -> None:
        """Note where an amount above what physics allow is not within the tolerance."""
        self._note(self.violations, name, amount, unit, 0)

    def bend(self, name: str, amount: np.ndarray, unit: str, first: int = 0) -> float:
        """Note where a limit bends from interval `first` on; returns the sum of the amounts."""
        return self._note(self.bends, name, amount, unit, first)

    def _note(self, found: list, name: str, amount: np.ndarray, unit: str, first: int) -> float:
        kept = amount <= self.tolerance  # NaN is not kept
        if kept.all():
            return 0.0
        places = np.flatnonzero(~kept)
        found += [Violation(name, first + int(t), float(amount[t]), unit) for t in places]
        return float(amount[places].sum())


def _tolerance(problem: Problem) -> float:
    """Deviation that is rounding: `TOLERANCE` of the largest power or capacity [kW, kWh]."""
    series = (problem.load_kw, problem.renewables_kw)
    largest = [1.0, *(np.abs(power).max(initial=0.0) for power in series)]
    for battery in problem.batteries:
        largest += [battery.capacity_kwh, battery.charge_kw, battery.discharge_kw]
    return TOLERANCE * float(max(largest))


def _check_power(problem: Problem, schedule: Schedule, checks: _Checks) -> None:
    """Power through the grid connection, curtailment, and the balance of all."""
    imports, exports = schedule.grid_import_kw, schedule.grid_export_kw
    curtailed, renewables = schedule.curtailed_kw, problem.renewables_kw
    for name in ("grid_import_kw", "grid_export_kw", "curtailed_kw"):
        checks.violate(f"{name} below 0", -getattr(schedule, name), "kW")
    at_once = np.minimum(imports, exports)
    checks.violate("grid_import_kw and grid_export_kw at once", at_once, "kW")
    most = renewables if problem.curtailable else 0.0
    checks.violate("curtailed_kw", curtailed - most, "kW")
    supply = imports - exports + renewables - curtailed
    supply = supply + schedule.discharge_kw.sum(axis=0) - schedule.charge_kw.sum(axis=0)
    checks.violate("power balance", np.abs(supply - problem.load_kw), "kW")


def _check_battery(problem: Problem, schedule: Schedule, b: int, checks: _Checks) -> np.ndarray:
    """Physics of a battery; returns its stored energy at the end of each interval [kWh]."""
    battery, path = problem.batteries[b], f"batteries[{b}]"
    charge, discharge = schedule.charge_kw[b], schedule.discharge_kw[b]
    for name, power in (("charge_kw", charge), ("discharge_kw", discharge)):
        checks.violate(f"{path}.{name} below 0", -power, "kW")
        checks.violate(f"{path}.{name}", power - getattr(battery, name), "kW")
    at_once = np.minimum(charge, discharge)
    checks.violate(f"{path} charges and discharges at once", at_once, "kW")
    stored = stored_kwh(battery, charge, discharge, problem.hours)
    claimed = schedule.soc[b] * battery.capacity_kwh
    checks.violate(f"{path}.soc", np.abs(claimed - stored), "kWh")
    checks.violate(f"{path} below empty", -stored, "kWh")
    checks.violate(f"{path} above capacity", stored - battery.capacity_kwh, "kWh")
    if battery.cycles_per_day_max is not None:
        discharged = np.bincount(problem.local_days, energy_kwh(discharge, problem.hours))
        most_kwh = battery.cycles_per_day_max * battery.capacity_kwh
        allowed = np.full(len(discharged), most_kwh)
        allowed[0] = max(0.0, allowed[0] - battery.cycles_so_far * battery.capacity_kwh)
        excess = np.zeros(problem.intervals)
        first = np.searchsorted(problem.local_days, np.arange(len(discharged)))
        excess[first] = discharged - allowed
        checks.violate(f"{path}.cycles_per_day_max", excess, "kWh")
    return stored


def _bends_of_battery(problem: Problem, b: int, stored: np.ndarray, checks: _Checks) -> tuple[float, float]:
    """Energy [kWh] outside the SOC bounds, and energy missing to targets."""
    battery, path, last = problem.batteries[b], f"batteries[{b}]", problem.intervals - 1
    capacity, end = battery.capacity_kwh, stored[last:]
    outside = checks.bend(f"{path}.soc_min", battery.soc_min * capacity - stored, "kWh")
    outside += checks.bend(f"{path}.soc_max", stored - battery.soc_max * capacity, "kWh")
    short = 0.0
    for i, target in enumerate(battery.soc_targets):
        t = target.interval
        missing = target.soc_min * capacity - stored[t : t + 1]
        short += checks.bend(f"{path}.soc_targets[{i}]", missing, "kWh", t)
    if battery.soc_final is not None:
        deviation = np.abs(battery.soc_final * capacity - end)
        short += checks.bend(f"{path}.soc_final", deviation, "kWh", last)
    if battery.soc_final_min is not None:
        missing = battery.soc_final_min * capacity - end
        short += checks.bend(f"{path}.soc_final_min", missing, "kWh", last)
    return outside, short


def peak_import_kw(problem: Problem, grid_import_kw: np.ndarray) -> float:
    """Highest mean import of a clock-aligned peak interval.

    An interval that the problem cuts counts with the part inside it.

    Parameters
    ----------
    problem : what is scheduled.
    grid_import_kw : imports [kW], one an interval.

    Returns
    -------
    The mean [kW].
    """
    blocks = problem.peak_blocks
    return float((np.bincount(blocks, grid_import_kw) / np.bincount(blocks)).max(initial=0.0))


def simulate_day(parameters: BatteryParameters, hours: float = 1.0) -> list[dict]:
    """A day of full power: charging from 10:00 to 16:00, discharging from 17:00 to 23:00.

    Parameters
    ----------
    parameters : the battery.
    hours : length of an interval [h].

    Returns
    -------
    A row an interval: hour, powers wanted and done [kW], SOC, and the limit that held.
    """
    battery, rows = Battery.of(parameters), []
    for t in range(round(24 / hours)):
        hour = t * hours
        wanted = parameters.charge_kw if 10 <= hour < 16 else -parameters.discharge_kw if 17 <= hour < 23 else 0.0
        done = battery.step(wanted, hours)
        battery = done.battery
        powers = {"wanted_kw": wanted, "charge_kw": done.charge_kw, "discharge_kw": done.discharge_kw}
        rows.append({"hour": f"{int(hour):02}:00", **powers, "soc": battery.soc, "limited_by": done.limited_by or "–"})
    return rows


def plot_day(rows: Sequence[dict], title: str, path: Path) -> None:
    """Draw power and SOC of a simulated day.

    Parameters
    ----------
    rows : the day, as `simulate_day` gives it.
    title : title of the picture.
    path : the picture file; its ending says its kind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    power_axes, soc_axes = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    hours = np.arange(len(rows) + 1) * 24 / len(rows)
    power_axes.stairs([row["charge_kw"] - row["discharge_kw"] for row in rows], hours, fill=True, color="#2a6f97", label="done")
    power_axes.stairs([row["wanted_kw"] for row in rows], hours, color="#d1495b", linestyle="--", label="wanted")
    power_axes.axhline(0, color="black", linewidth=0.8)
    power_axes.set(title=title, ylabel="power [kW], charging above 0")
    power_axes.legend(frameon=False)
    soc_axes.plot(hours[1:], [row["soc"] for row in rows], color="#2a6f97", marker=".")
    soc_axes.set(ylim=(0, 1), xlim=(0, 24), ylabel="SOC at the end", xlabel="hour of the day", xticks=range(0, 25, 3))
    figure.savefig(path, dpi=120)


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--battery", metavar="ID", help="battery of the configuration (default: its first)")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="picture to write (default: battery.png in data_dir)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def run(args: argparse.Namespace, config: Config) -> int:
    if args.plot and args.plot.suffix.lower() not in PICTURES:
        raise ConfigError(f"--plot {args.plot}: expected a file name that ends in {', '.join(PICTURES)}")
    names = [battery.battery_id for battery in config.batteries]
    if not names:
        raise ConfigError(f"{config.path}: no [battery:NAME] section; expected one to simulate")
    if args.battery not in (None, *names):
        raise ConfigError(f"--battery {args.battery}: expected one of {', '.join(names)}")
    path = args.plot or config.paths.data_dir / "battery.png"
    terminal.check_picture(path, "--plot")
    battery = config.batteries[names.index(args.battery or names[0])]
    rows = simulate_day(battery)
    with terminal.replacing_file(path, "--plot") as partial:
        plot_day(rows, f"{battery.battery_id}: a day through its limits", partial)
    terminal.print_rows(rows, f"{battery.battery_id}: {battery.capacity_kwh:g} kWh, full power from 10 to 16 and from 17 to 23", args.json)
    if not args.json:
        charged, discharged = (math.fsum(row[name] for row in rows) for name in ("charge_kw", "discharge_kw"))
        stored = (rows[-1]["soc"] - battery.soc_initial) * battery.capacity_kwh
        efficiency = battery.eta_charge * battery.eta_discharge
        print(f"charged {charged:,.0f} kWh, discharged {discharged:,.0f} kWh, stored {stored:+,.0f} kWh; round trip {efficiency:.1%}")
        print(f"picture: {terminal.shown(path)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
