"""The intervals of the ledger, computed from plans, measurements and battery states.

A battery did what its states say, measured before simulated; where it has none, the planned power
is carried out on actual load and renewables, from where the battery was. Flexible loads do what was
planned, with and without batteries. Reads the database; writes nothing.

    python report.py --period day

Powers are means over an interval [kW], times UTC; money is positive where it is paid.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.ledger_plans import (
    basis_today,
    parts,
    planned_batteries,
    plans_in_force,
    read_bases,
)
from vpp.planning.ledger_positions import (
    is_known,
    position_columns,
    settled,
    with_positions,
)
from vpp.planning.site_series import actual_frame
from vpp.runtime.settings import Config
from vpp.schedule.bank import Bank
from vpp.schedule.basis import PlanBasis
from vpp.schedule.battery import energy_kwh, money_eur
from vpp.schedule.dispatch import idle, kept_shares, settle
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.site import site_problem, without_battery
from vpp.schedule.value import interval_costs_eur
from vpp.site.sources import Source
from vpp.storage import ledger as stored
from vpp.storage.measurements import read_sources
from vpp.storage.rows import select_frame

KINDS = ("measured", "simulated")  # of states, in the order in which they count


@dataclass(frozen=True, eq=False)
class States:
    """Batteries by their states, in the intervals of a part (battery, interval).

    Parameters
    ----------
    kind : measured, simulated, or "" where a battery has no state.
    charge_kw, discharge_kw : mean powers [kW]; NaN where a state has none.
    soc : state of charge at the end of the interval [fraction]; NaN without a state.
    """

    kind: np.ndarray
    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    soc: np.ndarray


def intervals(
    conn: connection, config: Config, start: pd.Timestamp, end: pd.Timestamp
) -> pd.DataFrame:
    """The rows of the ledger in a range, as far as all values are known.

    Parameters
    ----------
    conn : connection to the database.
    config : the site.
    start : a local midnight, or the issue time of the first plan [UTC].
    end : end of the last interval [UTC].

    Returns
    -------
    The columns of `vpp.storage.ledger.COLUMNS` but those of peaks and sums, with
    import_no_battery_kw, peak_price_eur_per_kw and peaks, those of the tariff, by time [UTC].
    """
    plans = plans_in_force(conn, config, start, end)
    if plans.empty:
        return pd.DataFrame()
    bases = read_bases(conn, config, plans["run_id"].dropna().unique())
    today = basis_today(conn, config)
    names = {
        battery.battery_id for basis in (*bases.values(), today) for battery in basis.batteries
    }
    planned, states = planned_batteries(conn, plans), _read_states(conn, names, start, end)
    sources = {source.source_id: source for source in read_sources(conn)}
    plans = with_positions(conn, config, plans, sources)
    soc = _soc_before(conn, config.site.site_id, start)
    used: dict[str, float] = {}  # cycles of the local day so far
    found, day = [], None
    for basis, part in parts(plans, bases, today, config.site.time_zone):
        times = pd.DatetimeIndex(part.index)
        if (begins := times[0].tz_convert(config.site.time_zone).date()) != day:
            used, day = {}, begins
        actual = _actual(conn, basis, times, sources)
        basis = replace(basis, batteries=_at(basis, soc, used))
        powers = {name: frame.loc[times] for name, frame in planned.items()}
        done = _on_parts(states, basis, times)
        by_source = bool(config.site.deviation_prices)
        found.append(_rows(basis, part, actual, powers, done, by_source))
        for battery in basis.batteries:
            own = found[-1]["batteries"].map(lambda row, name=battery.battery_id: row[name])
            soc[battery.battery_id] = own.iloc[-1]["soc"]
            used[battery.battery_id] = (
                battery.cycles_so_far
                + sum(energy_kwh(state["discharge_kw"], basis.step_min / 60) for state in own)
                / battery.capacity_kwh
            )
    rows = pd.concat(found)
    return rows[rows[["load_kw", "renewables_kw", "energy_eur"]].notna().all(axis=1)]


def _soc_before(conn: connection, site_id: str, start: pd.Timestamp) -> dict[str, float]:
    """The state of charge of each battery at a time, where the ledger reaches up to it."""
    rows = stored.read_newest(conn, site_id, start - pd.Timedelta(hours=2), start)
    if rows.empty or rows.index[-1] + pd.Timedelta(minutes=int(rows["step_min"].iloc[-1])) != start:
        return {}
    return {name: state["soc"] for name, state in rows["batteries"].iloc[-1].items()}


def _at(basis: PlanBasis, soc: Mapping[str, float], used: Mapping[str, float]) -> tuple:
    """The batteries at these states of charge, with these cycles of the day."""
    return tuple(
        replace(
            battery,
            soc_initial=min(1.0, max(0.0, soc.get(battery.battery_id, battery.soc_initial))),
            cycles_so_far=used.get(battery.battery_id, 0.0),
        )
        for battery in basis.batteries
    )


def _actual(
    conn: connection, basis: PlanBasis, times: pd.DatetimeIndex, sources: Mapping[str, Source]
) -> pd.DataFrame:
    """A `site_frame` of the actual values; all NaN where a source is registered no more."""
    known = [sources[name] for name in basis.source_ids if name in sources]
    actual = actual_frame(conn, known, times, basis.step_min)
    return actual if len(known) == len(basis.source_ids) else actual * np.nan


def _read_states(
    conn: connection, battery_ids: Iterable[str], start: pd.Timestamp, end: pd.Timestamp
) -> pd.DataFrame:
    """The batteries' states that are not planned, in the order of time."""
    query = """
        SELECT battery_id, time, kind, soc, charge_kw, discharge_kw FROM battery_states
        WHERE battery_id = ANY(%s) AND kind IN ('measured', 'simulated')
            AND time >= %s AND time <= %s
        ORDER BY time, run_id"""
    span = start.to_pydatetime(), end.to_pydatetime()
    return select_frame(conn, query, (sorted(battery_ids), *span))


def _on_parts(states: pd.DataFrame, basis: PlanBasis, times: pd.DatetimeIndex) -> States:
    """The states on the intervals of a part: means of powers, and the SOC at the end of each.

    The SOC of a measured state is that of its own time, of a simulated one that of the end of the
    interval that begins then.
    """
    shape = len(basis.batteries), len(times)
    numbers = {name: np.full(shape, np.nan) for name in ("charge_kw", "discharge_kw", "soc")}
    kinds = np.full(shape, "", dtype=object)
    steps = (states["time"] - times[0]) / pd.Timedelta(minutes=basis.step_min)
    begun = np.floor(steps).astype(int)
    ended = begun.where(states["kind"] == "simulated", np.ceil(steps).astype(int) - 1)
    complete = states[["charge_kw", "discharge_kw"]].notna().all(axis=1)
    for b, battery in enumerate(basis.batteries):
        for kind in reversed(KINDS):  # a measured state goes over a simulated one
            own = (states["battery_id"] == battery.battery_id) & (states["kind"] == kind)
            means = _grouped(states[own & complete], begun, len(times)).mean(numeric_only=True)
            ends = _grouped(states[own], ended, len(times)).last()
            kinds[b, known := means.index.union(ends.index)] = kind
            for values in numbers.values():
                values[b, known] = np.nan
            numbers["soc"][b, ends.index] = ends["soc"]
            for name in ("charge_kw", "discharge_kw"):
                numbers[name][b, means.index] = means[name]
    return States(kinds, numbers["charge_kw"], numbers["discharge_kw"], numbers["soc"])


def _grouped(
    states: pd.DataFrame, place: pd.Series, count: int
) -> "pd.api.typing.DataFrameGroupBy":
    """States by the numbers of the intervals that they lie in."""
    own = place[states.index]
    inside = (own >= 0) & (own < count)
    return states[inside].groupby(own[inside])


def _rows(
    basis: PlanBasis,
    plans: pd.DataFrame,
    actual: pd.DataFrame,
    planned: Mapping[str, pd.DataFrame],
    states: States,
    by_source: bool,
) -> pd.DataFrame:
    """The rows of one part; deviations have prices of a source of their own, or the tariff's."""
    times, device_kw = pd.DatetimeIndex(plans.index), plans["device_kw"].to_numpy(float)
    # what is not known yet only carries the batteries on: its rows are left out
    thought = plans.rename(columns={"market_price_eur_per_mwh": "price_eur_per_mwh"})
    filled = actual.fillna(thought[actual.columns].astype(float)).fillna(0.0)
    tariff = site_problem(basis, times[0], filled.assign(load_kw=filled["load_kw"] + device_kw))
    fee = basis.grid.import_fee_eur_per_mwh
    problem = settled(tariff, plans, filled["price_eur_per_mwh"], fee, by_source)
    charge, discharge, soc = _carried(problem, planned, states)
    done, alone = settle(problem, charge, discharge), without_battery(problem)
    done = replace(done, soc=soc)
    nothing = idle(alone)
    energy = problem.settlement.energy_eur(done.grid_import_kw, done.grid_export_kw)
    has_plan = plans["run_id"].notna().to_numpy()
    plan_kw = [
        sum((f[name].to_numpy() for f in planned.values()), np.zeros(len(times)))
        for name in ("charge_kw", "discharge_kw")
    ]
    rows = pd.DataFrame(
        {
            "step_min": basis.step_min,
            "plan_id": plans["run_id"],
            "done": _labels(states, has_plan),
            "currency": basis.tariff.currency,
            "load_kw": actual["load_kw"],
            "renewables_kw": actual["renewables_kw"],
            "device_kw": device_kw,
            "curtailed_kw": done.curtailed_kw,
            "charge_kw": charge.sum(axis=0),
            "discharge_kw": discharge.sum(axis=0),
            "grid_import_kw": done.grid_import_kw,
            "grid_export_kw": done.grid_export_kw,
            "soc": _fleet_soc(problem, done),
            "import_price_eur_per_mwh": tariff.import_price_eur_per_mwh,
            "export_price_eur_per_mwh": tariff.export_price_eur_per_mwh,
            **position_columns(problem, plans, done),
            "planned_charge_kw": np.where(has_plan, plan_kw[0], np.nan),
            "planned_discharge_kw": np.where(has_plan, plan_kw[1], np.nan),
            "planned_import_kw": plans["grid_import_kw"],
            "planned_export_kw": plans["grid_export_kw"],
            "planned_cost_eur": _planned_eur(basis, plans, planned),
            "energy_eur": np.where(is_known(actual, plans, by_source), energy, np.nan),
            "wear_eur": interval_costs_eur(problem, done) - energy,
            "no_battery_eur": interval_costs_eur(alone, nothing),
            "import_no_battery_kw": nothing.grid_import_kw,
            "peak_price_eur_per_kw": basis.grid.peak_price_eur_per_kw,
        },
        index=times,
    )
    return rows.assign(batteries=_by_name(problem, done), peaks=[basis.peaks] * len(rows))


def _fleet_soc(problem: Problem, done: Schedule) -> np.ndarray:
    """State of charge of all batteries together at the end of each interval; NaN without any."""
    capacity = np.array([battery.capacity_kwh for battery in problem.batteries])
    return (
        capacity @ done.soc / capacity.sum()
        if len(capacity)
        else np.full(problem.intervals, np.nan)
    )


def _by_name(problem: Problem, done: Schedule) -> list[dict]:
    """The doings of each battery, one object an interval."""
    names = [battery.battery_id for battery in problem.batteries]
    parts_of = {"soc": done.soc, "charge_kw": done.charge_kw, "discharge_kw": done.discharge_kw}
    values = {key: np.round(value, stored.DIGITS + 3) for key, value in parts_of.items()}
    return [
        {name: {key: float(v[b, t]) for key, v in values.items()} for b, name in enumerate(names)}
        for t in range(problem.intervals)
    ]


def _labels(states: States, has_plan: np.ndarray) -> np.ndarray:
    """How it is known what was done; a site without batteries is measured."""
    every = [(states.kind == kind).all(axis=0) for kind in KINDS]
    stated = (states.kind != "").all(axis=0)
    return np.select(
        [every[0], stated, has_plan], ["measured", "simulated", "plan"], default="none"
    )


def _carried(
    problem: Problem, planned: Mapping[str, pd.DataFrame], states: States
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charging and discharging power of each battery [kW], and its SOC at the end of each interval.

    Arrays are (battery, interval).

    A state says it by its powers, or by what its SOC has changed; else the planned power is carried
    out as far as the battery and the grid connection allow.
    """
    bank = Bank(problem)
    wanted = np.zeros((len(bank), problem.intervals))
    for b, battery in enumerate(problem.batteries):
        if battery.battery_id in planned:
            own = planned[battery.battery_id]
            wanted[b] = (own["charge_kw"] - own["discharge_kw"]).to_numpy(float)
    done = np.zeros((3, *wanted.shape))
    for t in range(problem.intervals):
        charge, discharge = bank.possible_kw(wanted[:, t])
        shares = kept_shares(problem, t, float(charge.sum()), float(discharge.sum()))
        charge, discharge = bank.at_least(charge * shares[0]), discharge * shares[1]
        soc = states.soc[:, t]
        stored_kwh = soc * bank.capacity_kwh
        moved = np.nan_to_num(stored_kwh - bank.energy_kwh * bank.keep)
        by_soc = (  # a store that is measured anew may jump: it did no more than it can
            np.minimum(np.maximum(moved, 0.0) / bank.gain, bank.charge_kw[:, t]),
            np.minimum(np.maximum(-moved, 0.0) / bank.spend, bank.discharge_kw[:, t]),
        )
        given = states.charge_kw[:, t], states.discharge_kw[:, t]
        powered, moves = ~np.isnan(given[0]), ~np.isnan(soc)
        charge, discharge = (
            np.where(powered, power, np.where(moves, change, carried))
            for change, power, carried in zip(by_soc, given, (charge, discharge), strict=True)
        )
        bank.move(charge, discharge)
        bank.energy_kwh = np.where(np.isnan(soc), bank.energy_kwh, stored_kwh)
        done[:, :, t] = charge, discharge, bank.soc
    return done[0], done[1], done[2]


def _planned_eur(
    basis: PlanBasis, plans: pd.DataFrame, planned: Mapping[str, pd.DataFrame]
) -> np.ndarray:
    """Cost of the planned powers at the planned prices [EUR]; NaN without a plan."""
    names = ["load_kw", "renewables_kw", "grid_import_kw", "grid_export_kw"]
    price = plans["market_price_eur_per_mwh"].astype(float)
    # an older version stored the price with its fee alone
    fee = basis.grid.import_fee_eur_per_mwh
    price = price.fillna(plans["import_price_eur_per_mwh"].astype(float) - fee)
    values = plans[names].astype(float).assign(price_eur_per_mwh=price)
    problem = site_problem(basis, plans.index[0], values.fillna(0.0))
    problem = settled(problem, plans, price.fillna(0.0), fee, by_source=False)
    costs = problem.settlement.energy_eur(
        values["grid_import_kw"].to_numpy(), values["grid_export_kw"].to_numpy()
    )
    for battery in basis.batteries:
        if battery.battery_id in planned:
            given = planned[battery.battery_id]["discharge_kw"].to_numpy(float)
            costs = costs + money_eur(energy_kwh(given, problem.hours), battery.wear_eur_per_mwh)
    return np.where(values.notna().all(axis=1), costs, np.nan)
