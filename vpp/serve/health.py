"""The plant's health: age of each source, lag and dead letters, jobs, alerts, the last plan.

    curl -H "Authorization: Bearer $(python serve.py --show-token)" http://127.0.0.1:8080/metrics

`healthy` is false where a person has to do something; `problems` says what, a sentence each.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.serve.answers import records
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.storage.alerts import read_alerts
from vpp.storage.freshness import read_freshness
from vpp.storage.jobs import read_jobs
from vpp.storage.measurements import read_sources
from vpp.storage.overview import server_name
from vpp.storage.rows import select_rows

HOUR_S = 3600.0


def read_health(
    conn: connection,
    config: Config,
    now: datetime,
    clock: str,
    run: Mapping | None,
    plan_end: datetime | None,
) -> dict:
    """The plant's health: what works and what does not.

    Parameters
    ----------
    conn : the connection.
    config : the site.
    now : time of the plant's clock [UTC].
    clock : whose it is, plant, wall or data.
    run : the newest plan; None where there is none.
    plan_end : end of its last interval [UTC].

    Returns
    -------
    healthy, problems, data_end, sources, stream, jobs, alerts, plan_age_s and database.
    """
    freshness = read_freshness(conn, config.forecast.stale_after_h, now)
    sources = _sources(conn, config, now, freshness.behind, clock)
    stream = select_rows(
        conn, "SELECT DISTINCT ON (topic) * FROM stream_status ORDER BY topic, time DESC"
    )
    jobs = records(read_jobs(conn, config.site.site_id))
    alerts = read_alerts(conn)
    problems = [f"{row['subject']}: {row['message']}; {row['what_to_do']}" for row in alerts]
    problems += [f"{s['source_id']}: {s['why']}" for s in sources if s["why"]]
    problems += [
        f"{row['topic']}: {row['dead_letters']:,} dead letters; python communication.py dlq list"
        " shows why"
        for row in stream
        if row["dead_letters"]
    ]
    problems += [f"job {j['job']} {j['state']}: {j['last_error']}" for j in jobs if j["last_error"]]
    if run is None:
        problems.append("there is no plan yet; run python optimization.py")
    elif plan_end is not None and plan_end <= now:
        problems.append(f"the newest plan ended at {shown(plan_end)}; run python optimization.py")
    return {
        "healthy": not problems,
        "problems": problems,
        "data_end": None if freshness.data_end is None else freshness.data_end.to_pydatetime(),
        "sources": sources,
        "stream": stream,
        "jobs": jobs,
        "alerts": alerts,
        "plan_age_s": None if run is None else (now - run["issue_time"]).total_seconds(),
        "database": server_name(conn),
    }


def _sources(
    conn: connection, config: Config, now: datetime, behind: Mapping[str, str], clock: str
) -> list[dict]:
    """Each plant and load of the site, and each market: newest value as of now, newest forecast,
    and why it is not current."""
    stale_after_h = config.forecast.stale_after_h
    found = []
    newest, forecasts = _newest(conn, now), _forecasts(conn)
    for source in read_sources(conn):
        is_own = source.kind == "market" or source.site_id == config.site.site_id
        if source.kind not in SERIES_KINDS or not is_own:
            continue
        row = newest.get(source.source_id, {"time": None, "value": None})
        age_s = why = None
        if row["time"] is not None:
            end = row["time"] + timedelta(minutes=source.step_min)
            age_s = max(0.0, (now - end).total_seconds())
        why = behind.get(source.source_id)
        if why is None and clock != "data" and age_s is not None and age_s > stale_after_h * HOUR_S:
            why = f"its newest value is {age_s / HOUR_S:,.0f} h old; look after its meter"
        found.append(
            {
                "source_id": source.source_id,
                "kind": source.kind,
                "name": source.name,
                "time": row["time"],
                KINDS[source.kind].value: row["value"],
                "age_s": age_s,
                "forecast_issue_time": forecasts.get(source.source_id),
                "current": why is None,
                "why": why,
            }
        )
    return found


def _newest(conn: connection, now: datetime) -> dict[str, dict]:
    """The newest interval of each source that has ended; of a market, that has begun."""
    found: dict[str, dict] = {}
    for table in dict.fromkeys(KINDS[kind].table for kind in SERIES_KINDS):
        value = next(KINDS[k].value for k in SERIES_KINDS if KINDS[k].table == table)
        query = sql.SQL("""
            SELECT source_id, latest.* FROM sources, LATERAL (
                SELECT time, {value} AS value FROM {table} AS stored
                WHERE stored.source_id = sources.source_id AND time <= %s
                    - make_interval(mins => CASE kind WHEN 'market' THEN 0 ELSE step_min END)
                ORDER BY time DESC LIMIT 1) AS latest
            WHERE kind = ANY(%s)""").format(
            value=sql.Identifier(value), table=sql.Identifier(table)
        )
        kinds = [kind for kind in SERIES_KINDS if KINDS[kind].table == table]
        for row in select_rows(conn, query, (now, kinds)):
            found[row.pop("source_id")] = row
    return found


def _forecasts(conn: connection) -> dict[str, datetime]:
    """The issue time of each source's newest forecast that plans read."""
    query = """
        SELECT source_id, newest.issue_time FROM sources, LATERAL (
            SELECT issue_time FROM forecast_runs AS run
            WHERE run.source_id = sources.source_id AND role IN ('champion', 'fallback')
            ORDER BY issue_time DESC LIMIT 1) AS newest"""
    return {row["source_id"]: row["issue_time"] for row in select_rows(conn, query)}
