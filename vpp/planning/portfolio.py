"""The plans of all sites, each behind its own connection, or together where they share limits.

    python optimization.py
    python optimization.py --site site-2,north-*

A fault of one site, such as a forecast that is missing, stops no other; it is named at the end.
Reads forecasts and states, stores a plan for each site, and one of the portfolio where its sites
have limits or a position in common. Powers are kW, money is positive where it is paid.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning import plans
from vpp.planning.plans import Forecaster, Prepared, prepare, store
from vpp.planning.site_configs import read_configs
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.storage.connection import session
from vpp.storage.freshness import data_end, read_freshness
from vpp.storage.results import run_id, save_schedule

if TYPE_CHECKING:
    from vpp.schedule.coupling import Coupling
    from vpp.schedule.portfolio_plan import PortfolioPlan

logger = logging.getLogger("optimization")

Made = TypeVar("Made")
PORTFOLIO = "portfolio"  # kind, and site_id, of the run of all sites together


class SiteFaultError(VppError):
    """Sites that have no plan, or could not be rolled; all others have theirs."""

    @classmethod
    def raise_of(cls, faults: Mapping[str, str], lacking: str = "no plan") -> None:
        """Complain of sites that lack something, once all else is done; of none do nothing.

        Parameters
        ----------
        faults : cause by site.
        lacking : words for what they lack.
        """
        if faults:
            told = "; ".join(f"{name}: {cause}" for name, cause in list(faults.items())[:8])
            more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
            raise cls(f"{lacking} of {told}{more}; all else is done and saved")


@dataclass(frozen=True, eq=False)
class Planned:
    """The plans of sites.

    Parameters
    ----------
    runs : row of `schedule_runs` of each site that has a plan, as of `plans.plan`.
    total : row of the portfolio's run; None where its sites have nothing in common.
    faults : cause by the site that has no plan.
    """

    runs: list[dict]
    total: dict | None = None
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class _Once:
    """Makes the forecasts of all sources at most once; a failure is told, and stops no site."""

    forecaster: Forecaster | None
    config: Config
    done: bool = False

    def __call__(self, _: Config, issue_time: pd.Timestamp) -> None:
        if self.done or self.forecaster is None:
            return
        self.done = True
        try:
            self.forecaster(self.config, issue_time)
        except VppError as error:
            logger.warning("%s", error)


def plan_sites(
    config: Config,
    issue_time: pd.Timestamp | None = None,
    forecaster: Forecaster | None = None,
    wanted: str | None = None,
    now: pd.Timestamp | None = None,
) -> Planned:
    """Plan sites, each behind its own connection; together where they have something in common.

    Parameters
    ----------
    config : of all sites.
    issue_time, forecaster, now : as of `plans.plan`.
    wanted : only these sites, as of `chosen`; what all have in common then does not count.

    Returns
    -------
    The plans, and the sites without one.

    Raises
    ------
    VppError : no site has a plan.
    """
    with session(config) as conn:
        configs = read_configs(conn, config, wanted)
        only = next(iter(configs.values()))
        if only.portfolio_step_min is None:  # one connection takes all
            conn.commit()
            return Planned([plans.plan(only, issue_time, forecaster, now)])
        if issue_time is None:
            issue_time = data_end(conn, config.forecast.stale_after_h)
        issue_time = issue_time.tz_convert("UTC")
        freshness = read_freshness(conn, config.forecast.stale_after_h, issue_time, now)
        often = (issue_time, _Once(forecaster, config), now, freshness)
        faults, prepared = dict[str, str](), dict[str, Prepared]()
        for name, own in configs.items():
            made = attempted(conn, faults, name, partial(prepare, conn, own, *often))
            if made is not None:
                prepared[name] = made
        together = members(config, configs) & prepared.keys() if wanted in (None, "all") else set()
        total, runs = None, dict[str, dict]()
        if config.portfolio.couples and together:
            found = _together(
                config, {name: prepared[name] for name in configs if name in together}
            )
            total, runs, more = _stored(conn, config, found, prepared)
            faults |= more
        for name, ready in prepared.items():
            if total is None or name not in together:
                run = attempted(conn, faults, name, partial(_alone, conn, ready))
                runs |= {} if run is None else {name: run}
    if not runs:
        first, cause = next(iter(faults.items()))
        others = f", and {len(faults) - 1} sites more" if len(faults) > 1 else ""
        raise SiteFaultError(f"no site has a plan; {first}: {cause}{others}")
    return Planned([runs[name] for name in configs if name in runs], total, faults)


def attempted(
    conn: connection, faults: dict[str, str], name: str, work: Callable[[], Made]
) -> Made | None:
    """Do a site's work; where it fails, roll back and note why.

    Parameters
    ----------
    conn : connection to the database.
    faults : cause by site, which grows.
    name : of the site.
    work : what is done for it.

    Returns
    -------
    The result of the work; None where it failed.
    """
    try:
        done = work()
        conn.commit()
    except VppError as error:
        conn.rollback()
        faults[name] = str(error)
        logger.warning("%s: %s", name, error)
        return None
    return done


def members(config: Config, configs: Mapping[str, Config]) -> set[str]:
    """The sites that have the portfolio's limits and position in common.

    Parameters
    ----------
    config : names the price area.
    configs : of each site.
    """
    area = config.portfolio.price_area
    return {name for name, own in configs.items() if area in ("", own.site.price_area)}


def _alone(conn: connection, made: Prepared) -> dict:
    return store(conn, made, made.solved())


def coupling_of(config: Config, index: pd.DatetimeIndex, step_min: int) -> "Coupling":
    """Limits and position that `[portfolio]` states for a plan's intervals.

    Parameters
    ----------
    config : of all sites; the hours of a position are local ones of `[site]`.
    index : starts of the intervals [UTC].
    step_min : length of each [min].
    """
    from vpp.schedule.coupling import Coupling

    common, count = config.portfolio, len(index)
    hours = index.tz_convert(config.site.time_zone).hour
    by_hour = common.position_by_hour
    return Coupling(
        hours=step_min / 60,
        import_limit_kw=np.full(count, common.import_limit_kw),
        export_limit_kw=np.full(count, common.export_limit_kw),
        position_kw=np.array(by_hour)[hours] if by_hour else None,
        short_eur_per_mwh=common.short_surcharge_eur_per_mwh,
        long_eur_per_mwh=common.long_discount_eur_per_mwh,
    )


def _together(config: Config, prepared: Mapping[str, Prepared]) -> "PortfolioPlan":
    """The plan of sites that have something in common, over the intervals that all have."""
    from vpp.schedule.portfolio import plan_portfolio
    from vpp.schedule.solver import solve_model

    count = min(made.problem.intervals for made in prepared.values())
    problems = {
        name: made.problem
        if made.problem.intervals == count
        else made.problem.part(slice(0, count))
        for name, made in prepared.items()
    }
    first = next(iter(prepared.values()))
    coupling = coupling_of(config, first.frame.index[:count], first.problem.step_min)
    solver, limit_s = config.optimization.solver, config.optimization.time_limit_s
    return plan_portfolio(
        problems, coupling, lambda one: solve_model(one, solver), time_limit_s=limit_s
    )


def _stored(
    conn: connection, config: Config, plan: "PortfolioPlan", prepared: Mapping[str, Prepared]
) -> tuple[dict, dict[str, dict], dict[str, str]]:
    """Store the plans of the sites and the run of all together; returns its row, theirs, faults."""
    runs, faults = dict[str, dict](), dict(plan.faults)
    for name, one in plan.sites.items():
        made = replace(prepared[name], problem=one.problem)
        made = replace(made, frame=made.frame[: one.problem.intervals])
        result = one.result(plan.certificate)
        run = attempted(conn, faults, name, partial(store, conn, made, result))
        runs |= {} if run is None else {name: run}
    first = next(iter(prepared.values()))
    index = first.frame.index[: len(plan.exchange_kw)]
    row = {
        "run_id": run_id(PORTFOLIO, first.key["issue_time"], config.portfolio, sorted(runs)),
        "site_id": PORTFOLIO,
        "issue_time": first.key["issue_time"],
        "kind": PORTFOLIO,
        "status": "optimal" if plan.certificate.proven else "feasible",
        "certificate": plan.certificate.kind,
        "gap": plan.certificate.gap,
        "objective_eur": plan.objective_eur,
        "cost_eur": sum(run["cost_eur"] for run in runs.values()) + plan.deviation_eur,
        "cost_no_battery_eur": sum(run["cost_no_battery_eur"] for run in runs.values()),
        "cost_rule_eur": sum(run["cost_rule_eur"] for run in runs.values()),
        "seconds": plan.certificate.seconds,
        "input_hash": run_id(*(run["input_hash"] for run in runs.values())),
        "made_from": {
            "runs": {name: run["run_id"] for name, run in runs.items()},
            "bound_eur": plan.certificate.bound_eur,
            "deviation_eur": plan.deviation_eur,
            "excess_kwh": plan.excess_kwh,
        },
    }
    schedule = portfolio_frame(plan, index)
    with session(config) as own:
        save_schedule(own, row, schedule, pd.DataFrame({"battery_id": [], "time": []}))
    if plan.excess_kwh > 1e-6:
        what = "the common limits of [portfolio] cannot be kept: exceeded by %.1f kWh from %s on"
        logger.warning(what, plan.excess_kwh, shown(index[0]))
    return row, runs, faults


def portfolio_frame(plan: "PortfolioPlan", index: pd.DatetimeIndex) -> pd.DataFrame:
    """The sums of all sites, as rows of the table `schedules`; import and export are net.

    Parameters
    ----------
    plan : of all sites.
    index : starts of the intervals [UTC].
    """
    net, each = plan.exchange_kw, plan.sites.values()
    sums = {
        "load_kw": sum(one.problem.load_kw for one in each),
        "renewables_kw": sum(one.problem.renewables_kw for one in each),
        "curtailed_kw": sum(one.schedule.curtailed_kw for one in each),
        "bus_price_eur_per_mwh": plan.price_eur_per_mwh,
    }
    powers = {"grid_import_kw": np.maximum(net, 0.0), "grid_export_kw": np.maximum(-net, 0.0)}
    return pd.DataFrame(powers | sums, index=index.rename("time"))
