"""The site as a scheduling problem: its sources' forecasts or actual values, its batteries, its grid connection and tariff.

All solar, wind and load sources are summed behind one grid connection, and one market source gives the price; fees are added
to it for imports and kept back from exports. Reads sources, measurements, forecasts and battery states; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

import terminal
from config import Config, ConfigError, VppError
from schedule_battery import energy_kwh, money_eur, stored_kwh
from schedule_dispatch import idle, self_consumption
from schedule_problem import Certificate, GridConnection, Problem, Result, Schedule, ScheduledBattery
from schedule_replay import Replay, replay

logger = logging.getLogger("schedule_site")

PLANTS = ("solar", "wind")
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
    config: Config,
    start: pd.Timestamp,
    values: Mapping[str, np.ndarray] | pd.DataFrame,
    step_min: int,
    batteries: Sequence[ScheduledBattery],
    peak_so_far_kw: float = 0.0,
) -> Problem:
    """The scheduling problem of the configured site for the columns of a `site_frame` from a start on.

    Raises
    ------
    ConfigError : the peak interval is no multiple of the step.
    """
    grid, optimization = config.grid, config.optimization
    peak_interval_min = max(grid.peak_interval_min, step_min)
    if peak_interval_min % step_min:
        raise ConfigError(
            f"{config.path}: [grid] peak_interval_min = {grid.peak_interval_min}: expected a multiple of the plan's step, {step_min} min"
        )
    load, renewables, price = (np.asarray(values[name], dtype=float) for name in ("load_kw", "renewables_kw", "price_eur_per_mwh"))
    return Problem(
        step_min=step_min,
        start=start.to_pydatetime(),
        time_zone=config.site.time_zone,
        load_kw=load,
        renewables_kw=renewables,
        import_price_eur_per_mwh=price + grid.import_fee_eur_per_mwh,
        export_price_eur_per_mwh=price - grid.export_fee_eur_per_mwh,
        co2_kg_per_mwh=np.full(len(load), optimization.co2_kg_per_mwh),
        co2_price_eur_per_t=optimization.co2_price_eur_per_t,
        batteries=tuple(batteries),
        grid=GridConnection(
            import_limit_kw=grid.import_limit_kw,
            export_limit_kw=grid.export_limit_kw,
            peak_price_eur_per_kw=grid.peak_price_eur_per_kw,
            peak_so_far_kw=peak_so_far_kw,
            peak_interval_min=peak_interval_min,
        ),
        time_limit_s=optimization.time_limit_s,
        gap=optimization.gap,
    )


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


def checked(problem: Problem, schedule: Schedule, name: str) -> Replay:
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


def alternatives(problem: Problem) -> dict[str, tuple[Problem, Schedule]]:
    """The site without batteries, and with batteries that follow the rule."""
    alone = without_battery(problem)
    return {"no_battery": (alone, idle(alone)), "rule": (problem, self_consumption(problem))}


def bent_limits(ways: Mapping[str, tuple[Problem, Schedule]]) -> dict[str, int]:
    """How many limits each way to run the site bends, each interval counted; warns where one does."""
    bent = {name: len(replay(*way).bends) for name, way in ways.items()}
    if any(bent.values()):
        logger.warning("%s", bent_in_words(bent))
    return bent


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
    alone = without_battery(actual)
    ways = {"no battery": (alone, idle(alone))} | {name: (actual, schedule) for name, schedule in schedules.items()}
    for name, way in ways.items():
        checked(*way, name)
    bent = bent_limits(ways)
    money = {name: net_cost_eur(*way) for name, way in ways.items()}
    rows = [{"way": name, "cost_eur": cost, "saved_eur": money["no battery"] - cost} for name, cost in money.items()]
    for row in rows:
        row["captured_share"] = captured_share(money["no battery"], row["cost_eur"], money["perfect foresight"])
    if counted is not None:
        part = {name: money[name] - float(interval_costs_eur(*way)[~counted].sum()) for name, way in ways.items()}
        for row in rows:
            row["share_without_day"] = captured_share(part["no battery"], part[row["way"]], part["perfect foresight"])
    return [row | {"bent_limits": bent[row["way"]]} for row in rows]


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


def actual_frame(conn, config: Config, index: pd.DatetimeIndex, step_min: int) -> pd.DataFrame:
    """What the site's load, renewables and price turned out to be; NaN where that is not known."""
    import db

    series = []
    for source in site_sources(conn, config):
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


def starting_batteries(conn, config: Config, at: pd.Timestamp, battery_ids: Iterable[str] | None = None) -> list[ScheduledBattery]:
    """The batteries (default: all) as their last state that is not planned says, else at `soc_initial`; with their cycles of the day."""
    import db

    midnight = at.tz_convert(config.site.time_zone).normalize().tz_convert("UTC")
    batteries = []
    for battery in config.batteries:
        if battery_ids is None or battery.battery_id in battery_ids:
            state = db.read_last_state(conn, battery.battery_id, at)
            soc = battery.soc_initial if state is None else min(max(state[1], 0.0), 1.0)
            discharged = battery_powers(conn, battery.battery_id, midnight, at)["discharge_kw"].sum()
            cycles = energy_kwh(float(discharged), STATE_STEP_MIN / 60) / battery.capacity_kwh
            batteries.append(ScheduledBattery(**asdict(replace(battery, soc_initial=soc)), cycles_so_far=cycles))
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


def schedule_frames(problem: Problem, result: Result, index: pd.DatetimeIndex) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A schedule as rows of the tables `schedules` and `battery_states`."""
    schedule = result.schedule
    rows = pd.DataFrame(
        {
            "grid_import_kw": schedule.grid_import_kw,
            "grid_export_kw": schedule.grid_export_kw,
            "load_kw": problem.load_kw,
            "renewables_kw": problem.renewables_kw,
            "curtailed_kw": schedule.curtailed_kw,
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
    money = checked(problem, schedule, "what was carried out")
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


def run_id_of(config: Config, kind: str, issue_time: pd.Timestamp) -> str:
    """The run_id of a schedule: it says which site and configuration were planned, for when."""
    import db

    return db.run_id(kind, config.site.site_id, issue_time, config.site, config.grid, config.optimization, config.batteries)


def config_of(config: Config, run: Mapping[str, object], hours: float) -> Config | None:
    """The configuration that a stored run of this length [h] was made with; None where the present one is another.

    The horizon alone may differ: the pipeline plans all that it holds back.
    """
    for horizon_h in (config.optimization.horizon_h, run["kind"] != "backtest" and round(hours)):
        made = replace(config, optimization=replace(config.optimization, horizon_h=horizon_h)) if horizon_h else config
        if run_id_of(made, run["kind"], run["issue_time"]) == run["run_id"]:
            return made
    return None


def run_row(config: Config, kind: str, issue_time: pd.Timestamp, problem: Problem, result: Result) -> dict:
    """A row of the table `schedule_runs`; planning again replaces it."""
    import db

    costs = {name: net_cost_eur(*way) for name, way in alternatives(problem).items()}

    return {
        "run_id": run_id_of(config, kind, issue_time),
        "site_id": config.site.site_id,
        "issue_time": issue_time,
        "kind": kind,
        "status": result.status,
        "certificate": result.certificate.kind,
        "gap": result.certificate.gap,
        "objective_eur": result.objective_eur,
        "cost_eur": net_cost_eur(problem, result.schedule),
        "cost_no_battery_eur": costs["no_battery"],
        "cost_rule_eur": costs["rule"],
        "seconds": result.certificate.seconds,
        "input_hash": db.run_id(problem),
    }
