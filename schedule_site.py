"""The site as a scheduling problem: its sources' forecasts or actual values, its batteries, its grid connection and tariff.

All solar, wind and load sources are summed behind one grid connection, and one market source gives the price, without fees;
`plan_basis.with_fees` adds them where a problem is made. Reads sources, measurements, forecasts and battery states; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

import terminal
from config import Config, VppError
from plan_basis import PlanBasis, basis_json, basis_of, with_fees
from schedule_battery import energy_kwh, money_eur, stored_kwh
from schedule_dispatch import idle, self_consumption
from schedule_problem import Certificate, GridConnection, Problem, Result, Schedule, ScheduledBattery
from schedule_replay import Replay, replay

logger = logging.getLogger("schedule_site")

PLANTS = ("solar", "wind")
NO_BATTERY, RULE, PLAN, PERFECT = "no_battery", "rule", "plan", "perfect_foresight"  # ways to run a site
STATE_STEP_MIN = 5  # the shortest step of any series: what longer battery states say holds in each of its parts


class BrokenScheduleError(VppError):
    """A schedule that breaks physics, which must be neither stored nor valued; names what, where and by how much."""


# --- from forecasts and configuration to a problem ------------------------------------------------------------------------


def on_steps(series: pd.Series, source_step_min: int, index: pd.DatetimeIndex, step_min: int) -> pd.Series:
    """A mean power or price of a source on the steps of a plan: repeated inside longer intervals, averaged over shorter ones."""
    if source_step_min <= step_min:
        return series.resample(f"{step_min}min").mean().reindex(index)
    return series.reindex(index.floor(f"{source_step_min}min")).set_axis(index)


def site_frame(series: Sequence[tuple[str, pd.Series]], index: pd.DatetimeIndex) -> pd.DataFrame:
    """Load, renewables and price of the whole site from the series of its sources `(kind, series)`.

    Returns
    -------
    Columns `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh`; NaN where a source has no value.
    """
    frame = pd.DataFrame({"load_kw": 0.0, "renewables_kw": 0.0, "price_eur_per_mwh": np.nan}, index=index)
    for kind, values in series:
        if kind == "market":
            frame["price_eur_per_mwh"] = values
        elif kind in PLANTS:
            # what a plant draws at night cannot be curtailed: it is load
            frame["renewables_kw"] += values.clip(lower=0.0)
            frame["load_kw"] -= values.clip(upper=0.0)
        else:
            frame["load_kw"] += values
    return frame


def site_problem(
    basis: PlanBasis, start: pd.Timestamp, values: Mapping[str, np.ndarray] | pd.DataFrame
) -> Problem:
    """The scheduling problem of a site.

    Parameters
    ----------
    basis : the site's batteries, grid connection and tariff.
    start : start of the first interval (UTC).
    values : the columns of a `site_frame`; prices are without fees.

    Returns
    -------
    Problem : energy left at the end counts at the basis's terminal price; without one, nothing.
    """
    grid, optimization = basis.grid, basis.optimization
    names = ("load_kw", "renewables_kw", "price_eur_per_mwh")
    load, renewables, price = (np.asarray(values[name], dtype=float) for name in names)
    import_price, export_price = with_fees(price, grid)
    problem = Problem(
        step_min=basis.step_min,
        start=start.to_pydatetime(),
        time_zone=basis.time_zone,
        load_kw=load,
        renewables_kw=renewables,
        import_price_eur_per_mwh=import_price,
        export_price_eur_per_mwh=export_price,
        co2_kg_per_mwh=np.full(len(load), optimization.co2_kg_per_mwh),
        co2_price_eur_per_t=optimization.co2_price_eur_per_t,
        batteries=basis.batteries,
        grid=GridConnection(
            import_limit_kw=grid.import_limit_kw,
            export_limit_kw=grid.export_limit_kw,
            peak_price_eur_per_kw=grid.peak_price_eur_per_kw,
            peak_so_far_kw=basis.peak_so_far_kw,
            peak_interval_min=grid.peak_interval_min,
        ),
        time_limit_s=optimization.time_limit_s,
        gap=optimization.gap,
    )
    price_left = basis.terminal_price_eur_per_mwh
    return problem if price_left is None else with_terminal_value(problem, price_left)


def with_terminal_price(basis: PlanBasis, frame: pd.DataFrame) -> PlanBasis:
    """The basis with the `terminal_price` that the values of a `site_frame` give."""
    open_end = replace(basis, terminal_price_eur_per_mwh=None)
    price = terminal_price(site_problem(open_end, frame.index[0], frame))
    return replace(basis, terminal_price_eur_per_mwh=price)


def terminal_price(problem: Problem) -> float:
    """Median over the intervals of what a MWh more or less at the bus is worth without batteries [EUR/MWh]."""
    surplus = problem.renewables_kw > problem.load_kw
    floor = 0.0 if problem.curtailable else -np.inf
    return float(np.median(np.where(surplus, np.maximum(problem.export_price_eur_per_mwh, floor), problem.import_cost_eur_per_mwh)))


def with_terminal_value(problem: Problem, price_eur_per_mwh: float | None = None) -> Problem:
    """The problem in which each stored MWh left at the end is worth what it brings at this price, less wear, if that is above 0."""
    price = terminal_price(problem) if price_eur_per_mwh is None else price_eur_per_mwh
    valued = (replace(b, terminal_value_eur_per_mwh=max(0.0, b.eta_discharge * (price - b.wear_eur_per_mwh))) for b in problem.batteries)
    return replace(problem, batteries=tuple(valued))


def without_battery(problem: Problem) -> Problem:
    """The same site without batteries; limits bend at the same penalties."""
    return replace(problem, batteries=(), penalties_as=problem.penalties)


def net_cost_eur(problem: Problem, schedule: Schedule) -> float:
    """What a schedule costs [EUR]: energy, peak, CO2 and wear, less the value of the energy that it adds to the batteries.

    Penalties of limits that bend are no money and are not in it; `bent_limits` counts these limits.
    """
    start = sum(money_eur(b.soc_initial * b.capacity_kwh, b.terminal_value_eur_per_mwh or 0.0) for b in problem.batteries)
    money = replay(problem, schedule)
    return money.cost_eur + money.wear_eur - money.left_eur + start


def interval_costs_eur(problem: Problem, schedule: Schedule) -> np.ndarray:
    """Energy, CO2 and wear of each interval, less the value of the energy that it adds to the batteries [EUR].

    The sum is `net_cost_eur` but for the peak, which belongs to no interval.
    """
    costs = money_eur(energy_kwh(schedule.grid_import_kw, problem.hours), problem.import_cost_eur_per_mwh)
    costs -= money_eur(energy_kwh(schedule.grid_export_kw, problem.hours), problem.export_price_eur_per_mwh)
    for battery, charge, discharge in zip(problem.batteries, schedule.charge_kw, schedule.discharge_kw, strict=True):
        stored = stored_kwh(battery, charge, discharge, problem.hours)
        added = np.diff(stored, prepend=battery.soc_initial * battery.capacity_kwh)
        costs += money_eur(energy_kwh(discharge, problem.hours), battery.wear_eur_per_mwh)
        costs -= money_eur(added, battery.terminal_value_eur_per_mwh or 0.0)
    return costs


def replay_or_raise(problem: Problem, schedule: Schedule, name: str) -> Replay:
    """The replay of a schedule that keeps to physics; limits that bend are in it.

    Raises
    ------
    BrokenScheduleError : it does not; named as `name`.
    """
    money = replay(problem, schedule)
    if money.violations:
        worst = max(money.violations, key=lambda violation: np.nan_to_num(violation.amount, nan=np.inf))
        raise BrokenScheduleError(
            f"{name} from {terminal.shown(problem.start)} breaks physics in {len(money.violations)} places, most in interval"
            f" {worst.interval}: {worst.field} by {worst.amount:g} {worst.unit}; expected none: nothing is stored, report this defect"
        )
    return money


@dataclass(frozen=True, eq=False)
class Valuation:
    """Ways to run one site over the same intervals, and what each costs.

    `ways` has a problem and a schedule for each name: "no_battery", those that were given and,
    where it is known, "perfect_foresight". Penalties of limits that bend are in no cost.
    """

    ways: dict[str, tuple[Problem, Schedule]]

    @cached_property
    def cost_eur(self) -> dict[str, float]:
        """`net_cost_eur` of each way [EUR]."""
        return {name: net_cost_eur(*way) for name, way in self.ways.items()}

    @cached_property
    def bent_limits(self) -> dict[str, int]:
        """How many limits each way bends; each interval counts."""
        return {name: len(replay(*way).bends) for name, way in self.ways.items()}

    def captured_share(self, name: str) -> float | None:
        """Share of what perfect foresight saves that a way saves; None where that is not known."""
        if PERFECT not in self.cost_eur:
            return None
        return captured_share(*(self.cost_eur[key] for key in (NO_BATTERY, name, PERFECT)))

    def by_interval(self) -> dict[str, np.ndarray]:
        """Cost of each interval [EUR]; a peak is in the last, so that the sum is `cost_eur`."""
        costs = {name: interval_costs_eur(*way) for name, way in self.ways.items()}
        for name, values in costs.items():
            values[-1] += self.cost_eur[name] - values.sum()
        return costs

    def warn_of_bent_limits(self) -> None:
        """Log the counts where a way bends a limit."""
        if any(self.bent_limits.values()):
            logger.warning("%s", bent_in_words(self.bent_limits))


def value_ways(problem: Problem, schedules: Mapping[str, Schedule]) -> Valuation:
    """Value schedules of one problem beside the site without batteries.

    Raises
    ------
    BrokenScheduleError : a schedule breaks physics; nothing is said of its money.
    """
    alone = without_battery(problem)
    ways = {NO_BATTERY: (alone, idle(alone))}
    ways |= {name: (problem, schedule) for name, schedule in schedules.items()}
    for name, way in ways.items():
        replay_or_raise(*way, name.replace("_", " "))
    return Valuation(ways)


def bent_in_words(bent: Mapping[str, int]) -> str:
    """Counts of bent limits as a line to print."""
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in bent.items())
    return f"limits not kept (each interval counts), of which no cost is shown: {counts}"


def captured_share(no_battery_eur: float, plan_eur: float, perfect_eur: float) -> float | None:
    """Share of what perfect foresight saves that a plan saved; None where there was nothing to save.

    Of ways that bend different limits it compares what is not alike: money alone says nothing of a limit that was not kept.
    """
    possible = no_battery_eur - perfect_eur
    return (no_battery_eur - plan_eur) / possible if possible > 1e-9 * max(1.0, abs(no_battery_eur)) else None


def compare(actual: Problem, schedules: dict[str, Schedule], counted: np.ndarray | None) -> list[dict]:
    """Cost, saving and captured share [EUR, fraction] of each schedule, and how many limits it bends; penalties are no cost.

    With counted intervals, `share_without_day` leaves out what the others cost, less the value of the energy that they add to the
    batteries at the terminal price; the peak stays. It may still be above 1: perfect foresight costs least over the whole span, and
    may pay more than the terminal price, on days that count, for energy that it uses on one that does not.

    Raises
    ------
    BrokenScheduleError : a schedule breaks physics.
    """
    valued = value_ways(actual, schedules)
    valued.warn_of_bent_limits()
    money = valued.cost_eur
    rows = {
        name: {
            "way": name.replace("_", " "),
            "cost_eur": cost,
            "saved_eur": money[NO_BATTERY] - cost,
            "captured_share": valued.captured_share(name),
        }
        for name, cost in money.items()
    }
    if counted is not None:
        part = {
            name: money[name] - float(interval_costs_eur(*way)[~counted].sum())
            for name, way in valued.ways.items()
        }
        for name, row in rows.items():
            share = captured_share(part[NO_BATTERY], part[name], part[PERFECT])
            row["share_without_day"] = share
    return [row | {"bent_limits": valued.bent_limits[name]} for name, row in rows.items()]


# --- the database's part --------------------------------------------------------------------------------------------------


def site_sources(conn, config: Config) -> list:
    """All solar, wind and load sources and the market source of the site's price area."""
    import db

    sources = [source for source in db.read_sources(conn) if source.kind in (*PLANTS, "load")]
    markets = db.read_sources(conn, "market")
    if not sources or not markets:
        raise db.DataGapError(
            "the database has no plants and loads, or no market price; run python communication.py (after python generation.py)"
        )
    in_area = [market for market in markets if market.parameters.get("price_area") == config.site.price_area]
    return [*sources, (in_area or markets)[0]]


def basis_sources(conn, basis: PlanBasis) -> list:
    """The sources that a plan was made for, whatever has been registered since.

    Raises
    ------
    DataGapError : one of them is registered no more.
    """
    import db

    registered = {source.source_id: source for source in db.read_sources(conn)}
    gone = [name for name in basis.source_ids if name not in registered]
    if gone:
        raise db.DataGapError(
            f"source {gone[0]}, which the plan was made for, is registered no more; register it again"
            " with python sources.py add"
        )
    return [registered[name] for name in basis.source_ids]


def site_basis(conn, config: Config, at: pd.Timestamp, step_min: int | None = None) -> PlanBasis:
    """The basis of a plan made now, from a time on [UTC]; its step [min] is by default the finest of the sources."""
    sources = site_sources(conn, config)
    basis = basis_of(config, step_min or plan_step_min(sources), starting_batteries(conn, config, at))
    return replace(
        basis,
        peak_so_far_kw=peak_so_far(conn, config, at),
        source_ids=tuple(source.source_id for source in sources),
    )


def plan_step_min(sources: Sequence) -> int:
    """The finest step of any source [min]."""
    return min(source.step_min for source in sources)


def forecast_frame(conn, config: Config, issue_time: pd.Timestamp) -> tuple[pd.DataFrame, int] | None:
    """Forecasts of the site from the issue time on, and their step [min]; None where a source has no forecast for it."""
    import db

    sources = site_sources(conn, config)
    step = plan_step_min(sources)
    found = [(source, db.read_forecasts(conn, source.source_id, issue_time)) for source in sources]
    if any(forecast is None for _, forecast in found):
        return None
    index = pd.date_range(issue_time, periods=config.optimization.horizon_h * 60 // step, freq=f"{step}min", name="time")
    series = [(source.kind, on_steps(forecast[1]["value"], source.step_min, index, step)) for source, forecast in found]
    frame = site_frame(series, index)
    known = frame.notna().all(axis=1).to_numpy()
    if not known[0]:
        raise db.DataGapError(
            f"the forecasts for issue time {terminal.shown(issue_time)} do not begin there; run python forecast_and_save.py"
        )
    if known.all():
        return frame, step
    count = int(np.argmin(known))
    ends = [source.source_id for (source, _), (_, values) in zip(found, series, strict=True) if np.isnan(values.iloc[count])]
    hours = [intervals * step / 60 for intervals in (count, len(known))]
    logger.warning("the forecasts cover %g of the %g h to plan: that of %s ends first", *hours, ends[0])
    return frame[:count], step


def actual_frame(
    conn, sources: Sequence, index: pd.DatetimeIndex, step_min: int
) -> pd.DataFrame:
    """What load, renewables and price of these sources turned out to be; NaN where that is not known."""
    import db

    series = []
    for source in sources:
        # an interval of a source may begin before the first of the plan
        first = index[0].floor(f"{max(source.step_min, step_min)}min")
        values = db.read_series(conn, source, first, index[-1] + pd.Timedelta(minutes=step_min))
        series.append((source.kind, on_steps(values, source.step_min, index, step_min)))
    return site_frame(series, index)


def battery_powers(conn, battery_id: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Mean `charge_kw` and `discharge_kw` of a battery in steps of `STATE_STEP_MIN` [kW], by its states that are not planned.

    A state holds as long as its like usually do: the median time to the next, at most an hour. 0 where there is none.
    """
    import db

    step = pd.Timedelta(minutes=STATE_STEP_MIN)
    states = db.read_states(conn, battery_id, start, end)
    steps = pd.date_range(start, end, freq=step, inclusive="left", name="time")
    usual = pd.Series(states.index).diff().median() if len(states) > 1 else pd.Timedelta(hours=1)
    parts = max(round(min(usual, pd.Timedelta(hours=1)) / step), 1)
    means = states.resample(step, origin=start).mean().reindex(steps)
    return (means.ffill(limit=parts - 1) if parts > 1 else means).fillna(0.0)


def starting_batteries(conn, config: Config, at: pd.Timestamp) -> list[ScheduledBattery]:
    """The batteries as their last state that is not planned says, else at `soc_initial`; with their cycles of the day."""
    import db

    midnight = at.tz_convert(config.site.time_zone).normalize().tz_convert("UTC")
    batteries = []
    for battery in config.batteries:
        state = db.read_last_state(conn, battery.battery_id, at)
        soc = battery.soc_initial if state is None else min(max(state[1], 0.0), 1.0)
        discharged = battery_powers(conn, battery.battery_id, midnight, at)["discharge_kw"].sum()
        cycles = energy_kwh(float(discharged), STATE_STEP_MIN / 60) / battery.capacity_kwh
        values = asdict(replace(battery, soc_initial=soc))
        batteries.append(ScheduledBattery(**values, cycles_so_far=cycles))
    return batteries


def peak_so_far(conn, config: Config, issue_time: pd.Timestamp) -> float:
    """Highest mean import over a peak interval since the local month began [kW]; 0 without a peak price.

    The import is load less renewables, and what the batteries charge less what they discharge by their states that are not planned.
    """
    import db

    if not config.grid.peak_price_eur_per_kw:
        return 0.0
    month = issue_time.tz_convert(config.site.time_zone).normalize().replace(day=1).tz_convert("UTC")
    sources = [source for source in site_sources(conn, config) if source.kind != "market"]
    powers = db.read_resampled(conn, sources, month, issue_time, STATE_STEP_MIN)
    signs = [-1.0 if source.kind in PLANTS else 1.0 for source in sources]
    net = powers[[source.source_id for source in sources]].mul(signs).sum(axis=1, skipna=False)
    for battery in config.batteries:
        states = battery_powers(conn, battery.battery_id, month, issue_time)
        net += (states["charge_kw"] - states["discharge_kw"]).reindex(net.index, fill_value=0.0)
    means = net.resample(f"{config.grid.peak_interval_min}min", origin="epoch").mean()
    return max(0.0, float(means.max())) if means.notna().any() else 0.0


def schedule_frames(
    problem: Problem, result: Result, frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A schedule as rows of the tables `schedules` and `battery_states`.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.
    frame : the `site_frame` that the problem was made of; it has the prices without fees.
    """
    schedule, index = result.schedule, frame.index
    rows = pd.DataFrame(
        {
            "grid_import_kw": schedule.grid_import_kw,
            "grid_export_kw": schedule.grid_export_kw,
            "load_kw": problem.load_kw,
            "renewables_kw": problem.renewables_kw,
            "curtailed_kw": schedule.curtailed_kw,
            "market_price_eur_per_mwh": frame["price_eur_per_mwh"],
            "import_price_eur_per_mwh": problem.import_price_eur_per_mwh,
            "export_price_eur_per_mwh": problem.export_price_eur_per_mwh,
            "stored_value_eur_per_mwh": result.stored_value_eur_per_mwh,
            "reason": result.reason,
        },
        index=index,
    )
    columns = ["battery_id", "soc", "energy_kwh", "charge_kw", "discharge_kw"]
    states = [pd.DataFrame(columns=columns, index=index[:0])]
    for b, battery in enumerate(problem.batteries):
        values = (schedule.soc[b], schedule.soc[b] * battery.capacity_kwh, schedule.charge_kw[b], schedule.discharge_kw[b])
        states.append(pd.DataFrame(dict(zip(columns, (battery.battery_id, *values), strict=True)), index=index))
    return rows, pd.concat(states[1:] or states)


def carried_out(problem: Problem, schedule: Schedule, seconds: float = 0.0) -> Result:
    """What was carried out, as a result that can be stored; `seconds` is how long its plans took [s].

    Raises
    ------
    BrokenScheduleError : it breaks physics.
    """
    money = replay_or_raise(problem, schedule, "what was carried out")
    return Result(
        status="feasible",
        certificate=Certificate("rolling", 0, None, None, seconds),
        schedule=schedule,
        cost_eur=money.cost_eur,
        objective_eur=money.objective_eur,
        violations=money.bends,
        stored_value_eur_per_mwh=np.full(problem.intervals, np.nan),
        reason=("carried out",) * problem.intervals,
    )


def stored_frame(schedule: pd.DataFrame) -> pd.DataFrame:
    """The `site_frame` that a stored schedule was made of."""
    names = {"market_price_eur_per_mwh": "price_eur_per_mwh"}
    return schedule.rename(columns=names)[["load_kw", "renewables_kw", "price_eur_per_mwh"]].astype(float)


def stored_schedule(problem: Problem, rows: pd.DataFrame, states: pd.DataFrame) -> Schedule:
    """A schedule as it was before `schedule_frames` made rows of it."""
    names = ("charge_kw", "discharge_kw", "soc")
    charge, discharge, soc = (by_battery(states, problem, name) for name in names)
    names = ("curtailed_kw", "grid_import_kw", "grid_export_kw")
    return Schedule(charge, discharge, *(rows[name].to_numpy(float) for name in names), soc)


def by_battery(states: pd.DataFrame, problem: Problem, column: str) -> np.ndarray:
    """A column of stored battery states, one row for each battery of the problem."""
    names = [battery.battery_id for battery in problem.batteries]
    own = (states.loc[states["battery_id"] == name, column] for name in names)
    return np.array([part.to_numpy(float) for part in own]).reshape(len(names), problem.intervals)


def run_key(config: Config, kind: str, issue_time: pd.Timestamp) -> dict:
    """The first columns of a row of `schedule_runs`; the run_id says what was planned with which configuration, for when."""
    import db

    name = db.run_id(kind, config.site.site_id, issue_time, config.site, config.grid, config.optimization, config.batteries)
    return {"run_id": name, "site_id": config.site.site_id, "issue_time": issue_time, "kind": kind}


def run_row(key: Mapping[str, object], basis: PlanBasis, problem: Problem, result: Result) -> dict:
    """A row of the table `schedule_runs`; a run with the same key replaces it."""
    import db

    valued = value_ways(problem, {RULE: self_consumption(problem), PLAN: result.schedule})
    return dict(key) | {
        "status": result.status,
        "certificate": result.certificate.kind,
        "gap": result.certificate.gap,
        "objective_eur": result.objective_eur,
        "cost_eur": valued.cost_eur[PLAN],
        "cost_no_battery_eur": valued.cost_eur[NO_BATTERY],
        "cost_rule_eur": valued.cost_eur[RULE],
        "seconds": result.certificate.seconds,
        "input_hash": db.run_id(problem),
        "basis": basis_json(basis),
    }
