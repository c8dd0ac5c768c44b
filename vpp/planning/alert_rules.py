"""The rules of alerts: each says what it found wrong now, and what a person can do about it.

A rule reads the database and writes nothing. Of each subject it has one finding at most, so that an
alert fires once and resolves when its rule finds nothing more of it.

    python -c "from vpp.planning.alert_rules import RULES; print(*RULES)"

Times are UTC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.storage.alert_evidence import (
    band_shares,
    dead_letters_since,
    highest_price,
    intervals_bent,
    newest_plan,
    states_beside_plan,
)
from vpp.storage.freshness import newest_ends, read_freshness
from vpp.storage.measurements import read_sources
from vpp.storage.sites import read_sites

HOUR, MINUTE = pd.Timedelta(hours=1), pd.Timedelta(minutes=1)
BAND = 0.8  # of outcomes lie between q10 and q90 of an honest forecast
AHEAD = pd.Timedelta(hours=48)  # in which a price is looked for
FEWEST = 48  # values that a coverage is told of


@dataclass(frozen=True)
class Finding:
    """The fault that a rule found of a subject.

    Parameters
    ----------
    subject : the source, battery, topic or site that it is about.
    value : the measure that is beyond its limit.
    message : one sentence that says what is wrong.
    what_to_do : one sentence that says what helps.
    """

    subject: str
    value: float
    message: str
    what_to_do: str


def source_stale(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """Sources whose newest value ends long before now.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    ends, found = newest_ends(conn, None), []
    for source in read_sources(conn):
        end = ends.get(source.source_id)
        if source.kind not in SERIES_KINDS or end is None:
            continue
        age_h = (now - end) / HOUR
        if age_h > config.alerts.source_stale_h:
            found.append(
                Finding(
                    source.source_id,
                    age_h,
                    f"{source.name or source.source_id}: the newest value ends {shown(end)},"
                    f" {age_h:.1f} h ago",
                    "look at the meter and its connection, then at python communication.py status;"
                    f" forget a source that is gone with python sources.py remove"
                    f" {source.source_id}",
                )
            )
    return found


def data_end_behind(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """The data end is long before now.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    end = read_freshness(conn, config.forecast.stale_after_h, now).data_end
    if end is None:
        return []
    age_h = (now - end) / HOUR
    if age_h <= config.alerts.data_end_behind_h:
        return []
    message = f"measurements of all sources end {shown(end)}, {age_h:.1f} h ago"
    todo = "look whether the sink runs and what waits for it: python communication.py status"
    return [Finding(config.site.site_id, age_h, message, todo)]


def plan_late(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """The newest plan was issued long ago.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    found = []
    for site_id, where in _sites(conn, config):
        plan = newest_plan(conn, site_id, now)
        age_min = 0.0 if plan is None else (now - plan["issue_time"]) / MINUTE
        if plan is None or age_min <= config.alerts.plan_late_min:
            continue
        issued = shown(plan["issue_time"])
        message = f"{where}the newest plan was issued {issued}, {age_min:.0f} min ago"
        todo = "run python optimization.py and read what it says; look whether python pipeline.py"
        found.append(Finding(site_id, age_min, message, f"{todo} runs"))
    return found


def _sites(conn: connection, config: Config) -> list[tuple[str, str]]:
    """Each site, and the words that name it in a message: none where it is the only one."""
    names = [site.site_id for site in read_sites(conn)]
    return [(name, f"{name}: ") for name in names] or [(config.site.site_id, "")]


def limits_bent(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """The newest plan does not keep a limit.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    found = []
    for site_id, where in _sites(conn, config):
        plan = newest_plan(conn, site_id, now)
        if plan is None:
            continue
        count, first, reason = intervals_bent(conn, plan["run_id"], now)
        if first is None or count < config.alerts.limits_bent:
            continue
        at = f"{count} intervals, first {shown(first)}: {reason}"
        message = f"{where}the plan bends a limit in {at}"
        todo = "lower the load then, or check the limits of [grid] and of the batteries"
        found.append(Finding(site_id, count, message, todo))
    return found


def soc_off_plan(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """Batteries whose measured state of charge is far from the plan's.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    found, sites = [], _sites(conn, config)
    at = [(one, where) for name, where in sites for one in states_beside_plan(conn, name, now)]
    for state, where in at:
        low, high = sorted((state["planned_before"], state["planned"]))
        off = max(low - state["soc"], state["soc"] - high, 0.0)
        if off > config.alerts.soc_off_plan:
            found.append(
                Finding(
                    state["battery_id"],
                    off,
                    f"{where}{state['battery_id']}: SOC is {state['soc']:.0%} at"
                    f" {shown(state['time'])}, the plan has {state['planned']:.0%}",
                    "look whether the battery obeys its set-points, and whether an override of its"
                    " own is on; the next plan starts from the measured state",
                )
            )
    return found


def price_spike(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """Markets with a very high price in the hours to come.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    found = []
    for source in read_sources(conn):
        if source.kind != "market":
            continue
        highest = highest_price(conn, source.source_id, now - source.step_min * MINUTE, now + AHEAD)
        if highest and highest[1] >= config.alerts.price_spike_eur_per_mwh:
            time, price = highest
            message = f"{source.name or source.source_id}: a price of {price:,.2f} per MWh at"
            todo = "move what can run at another time; look at the plan for that hour"
            found.append(Finding(source.source_id, price, f"{message} {shown(time)}", todo))
    return found


def dead_letters(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """Topics of which messages were dead-lettered lately.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    since = now - config.alerts.dead_letters_h * HOUR
    return [
        Finding(
            topic,
            count,
            f"{topic}: {count} messages could not be stored since {shown(since)}",
            "read why with python communication.py dlq, mend the sender, and send them again",
        )
        for topic, count in dead_letters_since(conn, since, now).items()
        if count >= config.alerts.dead_letters
    ]


def coverage_off(conn: connection, now: pd.Timestamp, config: Config) -> list[Finding]:
    """Sources whose bands held far more or fewer outcomes than they promise.

    Parameters
    ----------
    conn : connection to the database.
    now : the time [UTC].
    config : the limit.
    """
    found, days = [], config.alerts.coverage_days
    tables = {source.source_id: KINDS[source.kind] for source in _series(conn)}
    for source_id, kind in tables.items():
        start = now - days * 24 * HOUR
        share, count = band_shares(conn, source_id, kind.table, kind.value, start, now)
        if count < FEWEST or share is None:
            continue
        if abs(share - BAND) > config.alerts.coverage_off:
            found.append(
                Finding(
                    source_id,
                    share,
                    f"{source_id}: {share:.0%} of {count} values of the last {days} days lie in the"
                    f" band that {BAND:.0%} are expected in",
                    "train anew with python train_forecast.py; look for a change of the plant or"
                    " of its meter",
                )
            )
    return found


def _series(conn: connection) -> list:
    return [source for source in read_sources(conn) if source.kind in SERIES_KINDS]


Rule = Callable[[connection, pd.Timestamp, Config], Sequence[Finding]]
RULES: dict[str, Rule] = {
    "source_stale": source_stale,
    "data_end_behind": data_end_behind,
    "plan_late": plan_late,
    "limits_bent": limits_bent,
    "soc_off_plan": soc_off_plan,
    "price_spike": price_spike,
    "dead_letters": dead_letters,
    "coverage_off": coverage_off,
}
LIMITS = {  # of each rule the key of `[alerts]`; 0 switches it off
    "source_stale": "source_stale_h",
    "data_end_behind": "data_end_behind_h",
    "plan_late": "plan_late_min",
    "price_spike": "price_spike_eur_per_mwh",
}
