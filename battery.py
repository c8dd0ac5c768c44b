"""A battery: what it can do in an interval, and the solver-free check of a schedule.

`Battery.step` limits a wanted power to what is possible and says what was done. `carry_out` runs wanted powers through it,
`replay` recomputes state of charge, power balance, limits and money of a schedule and lists every violation; a schedule with one
is neither returned nor stored. Run as a script, a battery of config.ini goes through a simple day; reads and writes nothing else.

    python battery.py --battery battery-1 --plot day.png

Powers are means over an interval at the AC terminals [kW], charging and discharging both >= 0; a wanted power is positive
where it charges. SOC and energy are those at the END of the interval. Money is positive where it is paid.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

import terminal
from config import BatteryParameters, Config, ConfigError, FieldError
from schedule_problem import Problem, Schedule, Violation

PICTURES = (".png", ".svg", ".pdf")
TOLERANCE = 1e-6  # of the largest power or capacity, below which a deviation is rounding


def energy_kwh(power_kw, hours: float):
    """Energy [kWh] of a mean power [kW] over some hours [h]."""
    return power_kw * hours


def money_eur(energy_kwh, price_eur_per_mwh):
    """Value [EUR] of energy [kWh] at a price [EUR/MWh]."""
    return energy_kwh * price_eur_per_mwh / 1000


@dataclass(frozen=True)
class Step:
    """What a battery did in an interval: powers [kW], and what limited it (`power`, `full`, `empty` or nothing)."""

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
        """The battery with these parameters, at this SOC (default `soc_initial`)."""
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
        """Charging and discharging power that `step` carries out of a wanted one [kW], and what limits it; raises as `step` does."""
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
    """Fraction of the stored energy that self-discharge leaves after some hours [h]."""
    return (1.0 - battery.self_discharge_per_h) ** hours


def stored_kwh(battery: BatteryParameters, charge_kw: np.ndarray, discharge_kw: np.ndarray, hours: float) -> np.ndarray:
    """Stored energy at the end of each interval [kWh] for powers [kW], not limited in any way."""
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

    Without given curtailment [kW], each interval curtails what is cheapest at its own prices and grid limits.
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
    """The powers wanted of the batteries in an interval [kW], cut back where charging would import, or discharging export, too much.

    Counted are the powers that `Battery.step` can carry out: one that is empty makes no room for another. What load or must-run
    renewables exceed a limit by themselves, no battery is cut back for beyond 0.
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
    """The schedule that results where each battery is asked, interval by interval, for a power through `Battery.step`.

    A battery is not asked for what would break a limit of the grid connection, nor for more than its cycles of the local day leave.

    Parameters
    ----------
    wanted_kw : from the interval's number and the batteries as they are, with the discharging power that their cycles leave, the
        power wanted of each [kW], positive where it charges.
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
    """The battery with no more discharging power over these hours [h] than its cycles leave after what it discharged that day [kWh]."""
    if battery.cycles_per_day_max is None:
        return battery
    left = max(0.0, battery.cycles_per_day_max * battery.capacity_kwh - used_kwh)
    return replace(battery, discharge_kw=min(battery.discharge_kw, left / hours))


def idle(problem: Problem) -> Schedule:
    """The schedule in which no battery moves."""
    nothing = np.zeros((len(problem.batteries), problem.intervals))
    return settle(problem, nothing, nothing)


def self_consumption(problem: Problem) -> Schedule:
    """The rule most batteries follow: charge on surplus, discharge on deficit, one after the other, within the daily cycles."""
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
    """What a schedule comes to. `violations` break physics and must not be; `bends` are limits that gave way at a penalty."""

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

    Returns
    -------
    Replay : every violation by more than `TOLERANCE` of the largest power or capacity, with its interval and amount, and the money.
    """
    hours, grid, penalties = problem.hours, problem.grid, problem.penalties
    largest = [1.0, *(np.abs(power).max(initial=0.0) for power in (problem.load_kw, problem.renewables_kw))]
    largest += [max(battery.capacity_kwh, battery.charge_kw, battery.discharge_kw) for battery in problem.batteries]
    tolerance = TOLERANCE * float(max(largest))
    violations, bends = [], []

    def check(found: list, field: str, amount: np.ndarray, unit: str, first: int = 0) -> float:
        """Note where an amount is above the tolerance, or no number; returns the sum of these."""
        kept = amount <= tolerance
        if kept.all():
            return 0.0
        places = np.flatnonzero(~kept)
        found += [Violation(field, first + int(t), float(amount[t]), unit) for t in places]
        return float(amount[places].sum())

    imports, exports, curtailed = schedule.grid_import_kw, schedule.grid_export_kw, schedule.curtailed_kw
    for name, power in (("grid_import_kw", imports), ("grid_export_kw", exports), ("curtailed_kw", curtailed)):
        check(violations, f"{name} below 0", -power, "kW")
    check(violations, "grid_import_kw and grid_export_kw at once", np.minimum(imports, exports), "kW")
    check(violations, "curtailed_kw", curtailed - (problem.renewables_kw if problem.curtailable else 0.0), "kW")
    supply = imports - exports + problem.renewables_kw - curtailed + schedule.discharge_kw.sum(axis=0) - schedule.charge_kw.sum(axis=0)
    check(violations, "power balance", np.abs(supply - problem.load_kw), "kW")

    over = check(bends, "grid.import_limit_kw", imports - grid.import_limit_kw, "kW")
    over += check(bends, "grid.export_limit_kw", exports - grid.export_limit_kw, "kW")
    penalty, wear, left = money_eur(energy_kwh(over, hours), penalties.grid_eur_per_mwh), 0.0, 0.0
    for b, battery in enumerate(problem.batteries):
        path, capacity = f"batteries[{b}]", battery.capacity_kwh
        charge, discharge = schedule.charge_kw[b], schedule.discharge_kw[b]
        for name, power, rating in (("charge_kw", charge, battery.charge_kw), ("discharge_kw", discharge, battery.discharge_kw)):
            check(violations, f"{path}.{name} below 0", -power, "kW")
            check(violations, f"{path}.{name}", power - rating, "kW")
        check(violations, f"{path} charges and discharges at once", np.minimum(charge, discharge), "kW")
        stored = stored_kwh(battery, charge, discharge, hours)
        check(violations, f"{path}.soc", np.abs(schedule.soc[b] * capacity - stored), "kWh")
        check(violations, f"{path} below empty", -stored, "kWh")
        check(violations, f"{path} above capacity", stored - capacity, "kWh")
        if battery.cycles_per_day_max is not None:
            discharged = np.bincount(problem.local_days, energy_kwh(discharge, hours))
            allowed = np.full(len(discharged), battery.cycles_per_day_max * capacity)
            allowed[0] = max(0.0, allowed[0] - battery.cycles_so_far * capacity)
            excess = np.zeros(problem.intervals)
            excess[np.searchsorted(problem.local_days, np.arange(len(discharged)))] = discharged - allowed
            check(violations, f"{path}.cycles_per_day_max", excess, "kWh")
        outside = check(bends, f"{path}.soc_min", battery.soc_min * capacity - stored, "kWh")
        outside += check(bends, f"{path}.soc_max", stored - battery.soc_max * capacity, "kWh")
        penalty += money_eur(outside * hours, penalties.bound_eur_per_mwh_h)
        short = 0.0
        for i, target in enumerate(battery.soc_targets):
            missing = target.soc_min * capacity - stored[target.interval : target.interval + 1]
            short += check(bends, f"{path}.soc_targets[{i}]", missing, "kWh", target.interval)
        last = problem.intervals - 1
        if battery.soc_final is not None:
            short += check(bends, f"{path}.soc_final", np.abs(battery.soc_final * capacity - stored[last:]), "kWh", last)
        if battery.soc_final_min is not None:
            short += check(bends, f"{path}.soc_final_min", battery.soc_final_min * capacity - stored[last:], "kWh", last)
        penalty += money_eur(short, penalties.target_eur_per_mwh)
        wear += money_eur(energy_kwh(float(discharge.sum()), hours), battery.wear_eur_per_mwh)
        left += money_eur(float(stored[last]), battery.terminal_value_eur_per_mwh or 0.0)

    energy = money_eur(energy_kwh(imports, hours), problem.import_price_eur_per_mwh).sum()
    energy -= money_eur(energy_kwh(exports, hours), problem.export_price_eur_per_mwh).sum()
    co2 = (money_eur(energy_kwh(imports, hours), problem.import_cost_eur_per_mwh - problem.import_price_eur_per_mwh)).sum()
    peak_kw = peak_import_kw(problem, imports)
    peak = grid.peak_price_eur_per_kw * max(0.0, peak_kw - grid.peak_so_far_kw)
    return Replay(tuple(violations), tuple(bends), float(energy), float(peak), float(co2), wear, float(penalty), left)


def peak_import_kw(problem: Problem, grid_import_kw: np.ndarray) -> float:
    """Highest mean import [kW] of a clock-aligned peak interval; one that the problem cuts counts with the part inside it."""
    blocks = problem.peak_blocks
    return float((np.bincount(blocks, grid_import_kw) / np.bincount(blocks)).max(initial=0.0))


def simulate_day(parameters: BatteryParameters, hours: float = 1.0) -> list[dict]:
    """Rows of a day in which the battery charges at full power from 10:00 to 16:00 and discharges from 17:00 to 23:00."""
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
    """Draw power and SOC of a simulated day to a picture file."""
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
