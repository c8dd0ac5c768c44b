"""The state in which a plan starts: measured, or the last plan carried forward to now.

A measured state counts while it is young. Else the battery is taken to have done since its last
state what the plans in force told it, as far as `Battery.step` and the grid connection at actual
load and sun let it; these states are of the kind `simulated`. A battery that no plan moved stands
still. Without any state and any plan it starts at `soc_initial`. Reads the database; writes
nothing.

    python optimization.py

Powers are means over [time, time + step) [kW]; SOC is at the end of an interval; times are UTC.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.site_series import actual_frame, on_steps, plan_step_min, site_sources
from vpp.runtime.settings import BatteryParameters, Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import basis_of, read_basis
from vpp.schedule.battery import Battery
from vpp.schedule.dispatch import carry_out
from vpp.schedule.following import Following
from vpp.schedule.problem import Problem
from vpp.schedule.site import site_problem
from vpp.storage.followed import read_newest_states, read_planned, read_plans_made
from vpp.storage.results import read_schedule

MEASURED, SIMULATED, INITIAL = "measured", "simulated", "initial"
REACH = pd.Timedelta(days=14)  # the longest horizon of a plan
BACK = pd.Timedelta(days=7)  # no battery is carried forward over more
STILL = pd.Timedelta(hours=24)  # a measured state so young is carried forward anew


@dataclass(frozen=True)
class Start:
    """The state from which a battery or another store starts in a plan.

    Parameters
    ----------
    battery_id : its name; that of a vehicle or a heat store is its own.
    kind : measured, simulated (carried forward) or initial (of the configuration).
    soc : state of charge at the start [fraction].
    time : of the state that it stands on [UTC]; None for initial.
    age_min : how old that is [min]; None for initial.
    """

    battery_id: str
    kind: str
    soc: float
    time: pd.Timestamp | None = None
    age_min: float | None = None

    def as_json(self) -> dict:
        """The object that is stored with the plan."""
        time = None if self.time is None else self.time.isoformat()
        return vars(self) | {"time": time}


@dataclass(frozen=True)
class Starts:
    """The states from which a plan starts, and those that were simulated on the way.

    Parameters
    ----------
    batteries : one a battery, in the order of the configuration.
    simulated : rows of `battery_states` that are to be saved.
    """

    batteries: tuple[Start, ...]
    simulated: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class _Last:
    """The last state of a battery: since when it stands [UTC], and the measured one behind it."""

    battery: BatteryParameters
    time: pd.Timestamp | None = None
    measured: pd.Timestamp | None = None


def read_starts(
    conn: connection, config: Config, at: pd.Timestamp, now: pd.Timestamp | None = None
) -> Starts:
    """The states from which a plan of the batteries starts.

    Parameters
    ----------
    conn : connection to the database.
    config : the batteries, and how old a measured state may be.
    at : start of the plan [UTC].
    now : states that are measured later do not count [UTC]; default `at`.

    Returns
    -------
    The states.
    """
    now = at if now is None else now
    names = [battery.battery_id for battery in config.batteries]
    measured = read_newest_states(conn, names, MEASURED, now)
    step = plan_step_min(site_sources(conn, config), config) if names else 60
    simulated = read_newest_states(conn, names, SIMULATED, at - pd.Timedelta(minutes=step))
    limit = pd.Timedelta(minutes=config.operation.state_max_age_min)
    found: dict[str, Start] = {}
    left: list[_Last] = []
    for battery in config.batteries:
        name = battery.battery_id
        state, last = measured.get(name), simulated.get(name)
        if state is not None and now - state[0] <= limit:
            found[name] = Start(name, MEASURED, _fraction(state[1]), state[0], _min(now - state[0]))
            continue
        ended = None if last is None else last[0] + pd.Timedelta(minutes=step)
        if state is not None and (ended is None or ended < state[0] or at - state[0] <= STILL):
            left.append(_Last(_at_soc(battery, state[1]), state[0], state[0]))
        elif last is not None:
            left.append(_Last(_at_soc(battery, last[1]), ended, state and state[0]))
        else:
            left.append(_Last(battery))
    carried, rows = _carry(conn, config, left, at, step) if left else ({}, pd.DataFrame())
    ordered = tuple((found | carried)[name] for name in names)
    return Starts(ordered, rows)


def starts_in_words(states: Sequence[Mapping[str, object]], most: int = 8) -> list[str]:
    """The states that a plan starts from, as a text to print.

    Parameters
    ----------
    states : as `schedule_runs.made_from` holds them.
    most : so many are told.

    Returns
    -------
    The text; nothing where there are none.
    """
    lines = []
    for state in states[:most]:
        line = f"{state['battery_id']}: {state['soc']:.1%} {state['kind']}"
        if state["time"] is not None:
            line += (
                f", from {shown(pd.Timestamp(str(state['time'])))}, {state['age_min']:g} min old"
            )
        lines.append(line)
    if len(states) > most:
        lines.append(f"and {len(states) - most} more, which --json prints")
    return ["\n".join(["starts from", *lines])] if lines else []


def _at_soc(battery: BatteryParameters, soc: float) -> BatteryParameters:
    return replace(battery, soc_initial=_fraction(soc))


def _fraction(soc: float) -> float:
    return min(max(soc, 0.0), 1.0)


def _min(age: pd.Timedelta) -> float:
    return round(age / pd.Timedelta(minutes=1), 1)


def _carry(
    conn: connection,
    config: Config,
    left: Sequence[_Last],
    at: pd.Timestamp,
    step_min: int,
) -> tuple[dict[str, Start], pd.DataFrame]:
    """Carry batteries forward from their last states; those without one from the last plan's start.

    Returns the start of each, and the states on the way."""
    site_id, step = config.site.site_id, pd.Timedelta(minutes=step_min)
    plans = read_plans_made(conn, site_id, at - BACK - REACH, at)
    begun, initial = _start_of_last_plan(conn, plans)
    left = [
        item
        if item.time is not None
        else _Last(
            _at_soc(item.battery, initial.get(item.battery.battery_id, item.battery.soc_initial)),
            begun,
        )
        for item in left
    ]
    begins = [item.time for item in left if item.time is not None]
    first = max(min(begins, default=at), at - BACK).floor(step)
    index = pd.date_range(first, periods=math.ceil((at - first) / step), freq=step, name="time")
    powers, site = _followed(
        conn, plans, [item.battery.battery_id for item in left], index, step_min
    )
    frame = _actual(conn, config, index, site, step_min)
    parts, starts = [], {}
    for time in dict.fromkeys(item.time for item in left):
        some = [item.battery for item in left if item.time == time]
        place = len(index) if time is None else int(index.searchsorted(time))
        if time is not None and place and first < time < index[place - 1] + step:
            end = index[place - 1] + step
            some = _first_part(some, powers.iloc[place - 1], time, end)
        rest = (powers.iloc[place:], frame.iloc[place:], site["grid_kw"].iloc[place:])
        ends, rows = _carried(config, some, *rest, step_min)
        parts.append(rows)
        for item, soc in zip((item for item in left if item.time == time), ends, strict=True):
            since = item.measured or time
            kind, age = (INITIAL, None) if since is None else (SIMULATED, _min(at - since))
            name = item.battery.battery_id
            starts[name] = Start(name, kind, soc, since, age)
    return starts, pd.concat(parts, ignore_index=True)


def _start_of_last_plan(
    conn: connection, plans: pd.DataFrame
) -> tuple[pd.Timestamp | None, dict[str, float]]:
    """When the last plan began, and the SOC of its batteries then."""
    stored = read_schedule(conn, plans["run_id"].iloc[-1]) if len(plans) else None
    basis = read_basis(stored[0]) if stored else None
    if stored is None or basis is None:
        return None, {}
    initial = {battery.battery_id: battery.soc_initial for battery in basis.batteries}
    return stored[0]["issue_time"], initial


def _followed(
    conn: connection,
    plans: pd.DataFrame,
    names: Sequence[str],
    index: pd.DatetimeIndex,
    step_min: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Power of each battery, and load, renewables and imports less exports of the site, by the plan
    in force.

    Of each interval that is the newest plan issued by its start; NaN where none reaches it.
    """
    powers = pd.DataFrame(np.nan, index, list(names))
    site = pd.DataFrame(np.nan, index, ["load_kw", "renewables_kw", "grid_kw"])
    issued = pd.DatetimeIndex(plans["issue_time"])
    chosen = issued.searchsorted(index, side="right") - 1
    for number in sorted(set(chosen.tolist()) - {-1}):
        times = index[chosen == number]
        plan_step = int(plans["step_min"].iloc[number])
        longest = pd.Timedelta(minutes=max(plan_step, step_min))
        span = times[0].floor(longest), times[-1] + longest
        planned = read_planned(conn, plans["run_id"].iloc[number], *span)
        for target, found in zip((powers, site), planned, strict=True):
            for name in found.columns.intersection(target.columns):
                if name == "grid_kw" and plans["overridden"].iloc[number]:
                    continue  # a battery that someone has overridden does not follow the meter
                target.loc[times, name] = on_steps(found[name], plan_step, times, step_min)
    return powers, site


def _actual(
    conn: connection, config: Config, index: pd.DatetimeIndex, site: pd.DataFrame, step_min: int
) -> pd.DataFrame:
    """Load and renewables as measured; where that is not known yet, as planned, else 0."""
    if not len(index):
        return site[["load_kw", "renewables_kw"]].assign(price_eur_per_mwh=0.0)
    sources = [item for item in site_sources(conn, config) if item.kind != "market"]
    actual = actual_frame(conn, sources, index, step_min)[["load_kw", "renewables_kw"]]
    return actual.fillna(site[actual.columns]).fillna(0.0).assign(price_eur_per_mwh=0.0)


def _first_part(
    batteries: Sequence[BatteryParameters],
    powers: pd.Series,
    start: pd.Timestamp,
    end: pd.Timestamp,
) -> list[BatteryParameters]:
    """The batteries at the end of the interval in which they were measured."""
    hours = (end - start) / pd.Timedelta(hours=1)
    return [
        replace(
            battery,
            soc_initial=Battery.of(battery)
            .step(float(np.nan_to_num(powers[battery.battery_id])), hours)
            .battery.soc,
        )
        for battery in batteries
    ]


def _carried(
    config: Config,
    batteries: Sequence[BatteryParameters],
    powers: pd.DataFrame,
    frame: pd.DataFrame,
    grid_kw: pd.Series,
    step_min: int,
) -> tuple[list[float], pd.DataFrame]:
    """SOC of batteries at the end of the intervals, and their states where a plan moved them."""
    if not len(frame):
        return [_fraction(battery.soc_initial) for battery in batteries], pd.DataFrame()
    names = [battery.battery_id for battery in batteries]
    wanted = powers[names].fillna(0.0).to_numpy().T
    problem = _problem(config, batteries, frame, step_min)
    net_kw = problem.load_kw - problem.renewables_kw
    # some of the batteries cannot be told apart from the others at the meter
    whole = config.follow and len(batteries) == len(config.batteries)
    meter = grid_kw if whole else grid_kw * np.nan
    followed = Following.at_zero(problem, wanted, meter.to_numpy(float))
    done = carry_out(problem, lambda t, _: followed.wanted_kw(t, float(net_kw[t])))
    moved = powers[names].notna().any(axis=1).to_numpy()
    rows = [
        pd.DataFrame(
            {
                "battery_id": battery.battery_id,
                "kind": SIMULATED,
                "time": frame.index[moved],
                "soc": done.soc[b, moved].clip(0.0, 1.0),
                "energy_kwh": done.soc[b, moved].clip(0.0, 1.0) * battery.capacity_kwh,
                "charge_kw": done.charge_kw[b, moved],
                "discharge_kw": done.discharge_kw[b, moved],
            }
        )
        for b, battery in enumerate(batteries)
    ]
    return [_fraction(float(soc)) for soc in done.soc[:, -1]], pd.concat(rows, ignore_index=True)


def _problem(
    config: Config, batteries: Sequence[BatteryParameters], frame: pd.DataFrame, step_min: int
) -> Problem:
    """The span with the batteries as they began; a plan has kept their cycles already."""
    from vpp.schedule.devices import ScheduledBattery

    scheduled = [
        ScheduledBattery(**vars(replace(battery, cycles_per_day_max=None))) for battery in batteries
    ]
    return site_problem(basis_of(config, step_min, scheduled), frame.index[0], frame)
