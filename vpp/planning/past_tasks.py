"""The past of each site as a task: claimed once, on whatever machine, and not done again.

    python optimization.py backtest --days 30 --site all

Whoever rolls a site stores its schedule and keeps its rows with the claim. A command that was
interrupted goes on with the sites that are left: those with the same data and rules are not rolled
again. Money is positive where it is paid.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.past import Past, read_past
from vpp.planning.rolling_past import check_reach, key_of, rolled, ways_of
from vpp.planning.site_configs import read_configs
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config
from vpp.schedule import problem
from vpp.schedule.basis import basis_json
from vpp.schedule.value import NO_BATTERY, PERFECT, captured_share
from vpp.storage.claims import claimed, server_time
from vpp.storage.connection import session
from vpp.storage.rows import select_rows
from vpp.storage.sharing import Outcome, Steps, shared_out

logger = logging.getLogger("optimization")

# what a backtest does not depend on
ELSEWHERE = ("path", "paths", "database", "mlflow", "kafka", "kafka_client", "compute", "training")


@dataclass(frozen=True)
class Rolls:
    """How the past is rolled over.

    Parameters
    ----------
    days, every_h, horizon_h, step_min, issue_local, scenarios : as of `read_past`.
    without_day : a local day that a second captured share leaves out.
    """

    days: int
    every_h: int = 1
    horizon_h: int = 36
    step_min: int | None = None
    issue_local: str | None = None
    scenarios: int = 0
    without_day: date | None = None

    def read(self, conn: connection, config: Config) -> Past:
        """The past of a site.

        Parameters
        ----------
        conn : connection to the database.
        config : of the site.
        """
        often = (self.days, self.every_h, self.horizon_h, self.step_min)
        return read_past(conn, config, *often, self.issue_local, self.scenarios)


@dataclass(frozen=True)
class PastTask:
    """A site whose past is rolled over.

    Parameters
    ----------
    config : of the site.
    rolls : the rules.
    since : when the command began [UTC of the database].
    alone : whether it is the only site: its fault is then raised, else told with the rows.
    wait : whether to wait for another command that rolls the site.
    """

    config: Config
    rolls: Rolls
    since: pd.Timestamp
    alone: bool = True
    wait: bool = False

    @property
    def name(self) -> str:
        """By which it is claimed."""
        own = [
            getattr(self.config, item.name)
            for item in fields(self.config)
            if item.name not in ELSEWHERE
        ]
        digest = hashlib.sha256(code() + repr((self.rolls, own)).encode()).hexdigest()[:16]
        return f"past/{self.config.site.site_id}/{digest}"


@cache
def code() -> bytes:
    """Hash of the code that the rows of a backtest depend on: that of plans and schedules."""
    rooms = Path(__file__).parent, Path(problem.__file__).parent
    files = sorted(file for room in rooms for file in room.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


def roll_site(task: PastTask) -> Outcome:
    """Roll over the past of a site, unless that is done.

    Parameters
    ----------
    task : the site, and the rules.

    Returns
    -------
    Its rows, or its fault; None where another command is at it.
    """
    config, rolls = task.config, task.rolls
    with claimed(config, task.name, task.since, task.wait) as claim:
        if claim is None or claim.done:
            return Outcome(task.name, claim and claim.result)
        try:
            with session(config) as conn:
                past = rolls.read(conn, config)
                state, stored = digest_of(past), _stored_at(conn, config, past)
            earlier = claim.earlier or {}
            if stored and (earlier.get("data"), earlier.get("stored")) == (state, stored):
                logger.info("%s: rolled before with the same data", config.site.site_id)
                claim.finish(earlier)
                return Outcome(task.name, earlier)
            steps = Steps(config, task.name, len(ways_of(past)))
            try:
                rows = rolled(config, past, rolls.without_day, steps)
            finally:
                steps.close()
        except VppError as error:
            if task.alone:
                raise
            return Outcome(task.name, {"fault": str(error)})
        with session(config) as conn:
            stored = _stored_at(conn, config, past)
        claim.finish({"data": state, "stored": stored, "rows": rows})
    return Outcome(task.name, claim.result)


def _stored_at(conn: connection, config: Config, past: Past) -> str | None:
    """When the run of a past was stored; other rules replace it."""
    query = "SELECT created_at FROM schedule_runs WHERE run_id = %s"
    rows = select_rows(conn, query, (key_of(config, past)["run_id"],))
    return str(rows[0]["created_at"]) if rows else None


def digest_of(past: Past) -> str:
    """Hash of all that the rows of a past depend on.

    Parameters
    ----------
    past : of a site.
    """
    found = hashlib.sha256(repr((basis_json(past.basis), len(past.index))).encode())
    arrays = [past.starts, past.made, past.published, past.index.asi8, past.frame.to_numpy(float)]
    for outlook in (*past.outlooks, *(() if past.naive is None else (past.naive,))):
        arrays += [np.array(outlook.first), outlook.load_kw, outlook.renewables_kw]
        arrays.append(outlook.price_eur_per_mwh)
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def roll_sites(
    config: Config, rolls: Rolls, wanted: str | None = None
) -> tuple[list[dict], dict[str, str]]:
    """Roll over the past of sites, each alone behind its own connection.

    Parameters
    ----------
    config : of all sites.
    rolls : the rules.
    wanted : only these sites, as of `chosen`.

    Returns
    -------
    The rows of `past.rolled`, of several sites with `site_id` and the sums of all; and the cause by
    each site that could not be rolled.

    Raises
    ------
    ConfigError : more hours carried out than planned, or a site is not known.
    VppError : the only site cannot be rolled.
    """
    check_reach(rolls.every_h, rolls.horizon_h)
    with session(config) as conn:
        configs, since = read_configs(conn, config, wanted), server_time(conn)
    alone = len(configs) == 1
    if config.portfolio.couples and not alone:
        logger.warning("[portfolio]: what sites have in common does not count in a backtest")
    tasks = {name: PastTask(own, rolls, since, alone) for name, own in configs.items()}
    results = {
        outcome.task: outcome.result
        for outcome in shared_out(
            config, roll_site, list(tasks.values()), config.training.jobs, "optimization"
        )
    }
    done = {name: results[task.name] for name, task in tasks.items()}
    faults = {name: result["fault"] for name, result in done.items() if "fault" in result}
    rows = {name: result["rows"] for name, result in done.items() if "rows" in result}
    if alone:
        return next(iter(rows.values())), faults
    told = [{"site_id": name} | row for name, of_site in rows.items() for row in of_site]
    return [*told, *sums_of(rows)], faults


def sums_of(rows: Mapping[str, Sequence[dict]]) -> list[dict]:
    """The money of all sites for each way that all have, and the share that it captured.

    Parameters
    ----------
    rows : of each site.
    """
    if not rows:
        return []
    by_way = {
        name: [row for of_site in rows.values() for row in of_site if row["way"] == name]
        for name in (row["way"] for row in next(iter(rows.values())))
    }
    by_way = {name: found for name, found in by_way.items() if len(found) == len(rows)}
    cost = {name: sum(row["cost_eur"] for row in found) for name, found in by_way.items()}
    ends = [cost[name.replace("_", " ")] for name in (NO_BATTERY, PERFECT)]
    return [
        dict.fromkeys(found[0])
        | {"site_id": f"all {len(rows)}", "way": name, "cost_eur": cost[name]}
        | {key: sum(row[key] for row in found) for key in ("saved_eur", "bent_limits")}
        | {"captured_share": captured_share(ends[0], cost[name], ends[1])}
        for name, found in by_way.items()
    ]


def config_of_one(config: Config, wanted: str | None) -> Config:
    """The configuration of the only site that is asked for.

    Parameters
    ----------
    config : of all sites.
    wanted : the site, as of `chosen`.

    Raises
    ------
    ConfigError : there are several.
    """
    with session(config) as conn:
        configs = read_configs(conn, config, wanted)
    if len(configs) > 1:
        raise ConfigError(f"--settlement two: name one of {len(configs)} sites with --site")
    return next(iter(configs.values()))
