"""A statement of a day, week, month or year from the ledger, as a page and as CSV.

    python report.py --period month

Sums are exact: each is the sum of the intervals, rounded once when it is shown. Money is in the
site's currency, positive where it is paid.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.ledger import read_ledger, summed, update_ledger
from vpp.report.markup import Section, card, paragraph, table
from vpp.report.page import page_of
from vpp.report.words import (
    clock,
    currency,
    even,
    even_energies,
    joined,
    money_text,
    shown_in,
    span,
)
from vpp.runtime.files import replacing_file
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.times import from_local, local_days
from vpp.storage.connection import DataGapError, session
from vpp.storage.ledger import DIGITS, read_ends

OUTPUT = Path("statement.html")
PARTS = {"day": "interval", "week": "day", "month": "day", "year": "month"}  # rows of a statement
DONE = {
    "measured": "were measured",
    "simulated": "follow from simulated states",
    "plan": "are the plan carried out on actual values",
    "none": "had no plan",
}

SHORT = {"measured": "measured", "simulated": "simulated", "plan": "as planned", "none": "no plan"}


@dataclass(frozen=True)
class Statement:
    """The ledger of a period.

    Parameters
    ----------
    config : the site.
    period : day, week, month or year.
    start, end : of the period [UTC].
    rows : its intervals, as `read_ledger` gives them.
    parts : the rows of the statement: intervals of a day, days of a week or month, months of a
        year.
    total : the sums of the period.
    expected_h : hours of the period that the ledger could have, since it began and up to its end.
    """

    config: Config
    period: str
    start: pd.Timestamp
    end: pd.Timestamp
    rows: pd.DataFrame
    parts: pd.DataFrame
    total: pd.Series
    expected_h: float


def bounds(day: date, period: str, zone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end of the period that a local day is in [UTC].

    Parameters
    ----------
    day : the local day.
    period : day, week (from Monday on), month or year.
    zone : IANA time zone of the days."""
    first = pd.Timestamp(day)
    if period == "week":
        first -= pd.Timedelta(days=first.dayofweek)
    elif period == "month":
        first = first.replace(day=1)
    elif period == "year":
        first = first.replace(month=1, day=1)
    step = {"day": {"days": 1}, "week": {"days": 7}, "month": {"months": 1}, "year": {"years": 1}}
    ends = pd.DatetimeIndex([first, first + pd.DateOffset(**step[period])])
    start, end = from_local(ends, zone)
    return start, end


def read_statement(
    conn: connection, config: Config, period: str, day: date | None = None
) -> Statement:
    """Bring the ledger up to date, and read a period of it.

    Parameters
    ----------
    conn : connection to the database; its transactions are committed.
    config : the site.
    period : day, week, month or year.
    day : a local day in it; None: the newest of the ledger.

    Raises
    ------
    DataGapError : the ledger is empty, or has nothing in that period.
    """
    site = config.site
    update_ledger(conn, config)
    ends = read_ends(conn, site.site_id)
    if ends is None:
        raise DataGapError(
            "the ledger is empty: there is no plan whose time has passed; run python"
            " optimization.py, and python communication.py with what came"
        )
    if day is None:
        day = local_days(pd.DatetimeIndex([ends[1]]), site.time_zone)[0].date()
    start, end = bounds(day, period, site.time_zone)
    update_ledger(conn, config, start)  # what has been corrected in it counts
    rows = read_ledger(conn, site, start, end)
    if rows.empty:
        raise DataGapError(
            f"the ledger has nothing of the {period} of {day}; it reaches from {shown(ends[0])} to"
            f" {shown(ends[1])}"
        )
    total = summed(rows, site.time_zone, period).iloc[0]
    by = PARTS[period]
    parts = rows if by == "interval" else summed(rows, site.time_zone, by)
    begin, until = max(start, ends[0]), min(end, ends[1])
    step = pd.Timedelta(minutes=int(rows["step_min"].iloc[-1]))
    expected = (min(end, until + step) - begin) / pd.Timedelta(hours=1)
    return Statement(config, period, start, end, rows, parts, total, expected)


def write_statement(
    config: Config,
    period: str,
    day: date | None = None,
    output: Path | None = None,
    csv: Path | None = None,
) -> list[Path]:
    """Write the statement of a period as a page, and as CSV where a file is named.

    Parameters
    ----------
    config : the site.
    period : day, week, month or year.
    day : a local day in it; None: the newest of the ledger.
    output : the page; None takes OUTPUT in the working folder.
    csv : the CSV file; None: none.

    Returns
    -------
    The paths of the files.

    Raises
    ------
    DataGapError : the ledger has nothing of that period.
    ConfigError : a file cannot be written.
    """
    output = Path(output or OUTPUT)
    with session(config) as conn:
        statement = read_statement(conn, config, period, day)
    with replacing_file(output, "--output" if output != OUTPUT else "") as partial:
        partial.write_text(page(statement, pd.Timestamp.now("UTC")), encoding="utf-8")
    if csv is None:
        return [output]
    with replacing_file(csv, "--csv") as partial:
        table_of(statement).to_csv(partial, index=False, lineterminator="\n")
    return [output, csv]


def table_of(statement: Statement) -> pd.DataFrame:
    """The rows of the statement with all columns, as CSV has them.

    Parameters
    ----------
    statement : the ledger of a period.

    Returns
    -------
    time (start, UTC, ISO 8601) and local (the same on the site's clock with its offset), then the
    columns of the ledger or of its sums.
    """
    parts = statement.parts.drop(columns=["site_id", "batteries"], errors="ignore")
    times = pd.DatetimeIndex(parts.index)
    local = times.tz_convert(statement.config.site.time_zone)
    found = parts.reset_index(drop=True).round(DIGITS)
    found.insert(0, "local", [time.isoformat() for time in local])
    found.insert(0, "time", times.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if "currency" not in found:
        found["currency"] = ", ".join(statement.rows["currency"].unique())
    if "recorded_at" in found:
        found["recorded_at"] = pd.DatetimeIndex(found["recorded_at"]).strftime("%Y-%m-%dT%H:%M:%SZ")
    return found


def page(statement: Statement, made_at: pd.Timestamp) -> str:
    """The statement as a page that needs nothing else.

    Parameters
    ----------
    statement : the ledger of a period.
    made_at : now [UTC]."""
    zone, site = statement.config.site.time_zone, statement.config.site
    title = f"{site.name}: {title_of(statement)}"
    with shown_in(statement.rows["currency"].iloc[-1]):
        sections = [totals_section(statement), rows_section(statement)]
    made = f"Made {clock(made_at, zone, with_year=True)}. Times in {zone}."
    return page_of(title, paragraph(made, "quiet"), sections, "Made by report.py --period.")


def title_of(statement: Statement) -> str:
    """The period in words, such as "March 2025"."""
    first = statement.start.tz_convert(statement.config.site.time_zone)
    if statement.period == "day":
        return f"{first:%A} {first.day} {first:%B %Y}"
    if statement.period == "week":
        return f"week from {first:%A} {first.day} {first:%B %Y}"
    return f"{first:%B %Y}" if statement.period == "month" else f"{first:%Y}"


def totals_section(statement: Statement) -> Section:
    """Money and energy of the whole period, and how it is known."""
    total = statement.total
    cards = [
        card("Cost", money_text(total["cost_eur"]), "energy, wear and peak", "plan"),
        card("Without battery", money_text(total["cost_no_battery_eur"]), "the same site"),
        card("Saved", money_text(total["saved_eur"]), "by the batteries"),
    ]
    for name, label in (
        ("self_consumption", "of what is made"),
        ("self_sufficiency", "of what is used"),
    ):
        if total[name] == total[name]:
            cards.append(card(name.replace("_", "-").capitalize(), f"{total[name]:.0%}", label))
    money = [(name, money_text(value)) for name, value in money_parts(statement)]
    money.append(("Sum", money_text(total["cost_eur"])))
    names = {
        "load": "Load",
        "device": "Flexible loads",
        "renewables": "Sun and wind",
        "curtailed": "Curtailed",
        "charge": "Charged",
        "discharge": "Discharged",
        "grid_import": "Import",
        "grid_export": "Export",
    }
    shown_names = [n for n in names if total[f"{n}_kwh"] or n in ("grid_import", "grid_export")]
    energies = even_energies([total[f"{name}_kwh"] for name in shown_names])
    listed = [(names[name], told) for name, told in zip(shown_names, energies, strict=True)]
    body = f'<div class="cards">{"".join(cards)}</div>' + paragraph(known(statement), "quiet")
    both = table(("Money", "Cost|"), money) + table(("Energy", "Sum|"), listed)
    body += f'<div class="two">{both}</div>'
    return Section("totals", "The sums", body)


def money_parts(statement: Statement) -> list[tuple[str, float]]:
    """The parts of the cost; of energy with a position what each of the two settlements costs."""
    total = statement.total
    energy, wear, peak = (total[f"{name}_eur"] for name in ("energy", "wear", "peak"))
    parts = [("Energy", energy)]
    if statement.rows["position_kw"].notna().any():
        both = total["position_eur"], total["deviation_eur"]
        parts = [("Position", both[0]), ("Deviation from it", both[1])]
        parts.append(("Other energy and fees", energy - sum(both)))
    return parts + [(name, value) for name, value in (("Wear", wear), ("Peak", peak)) if value]


def known(statement: Statement) -> str:
    """How the numbers are known: measured or not, planned at what cost, gaps and corrections."""
    rows, total = statement.rows, statement.total
    count = rows["done"].value_counts()
    parts = [f"{count[done]:,} {words}" for done, words in DONE.items() if done in count]
    text = f"Of {len(rows):,} intervals {joined(parts)}. Positive amounts are paid."
    if rows["planned_cost_eur"].notna().any():
        planned = money_text(total["planned_cost_eur"])
        done = money_text(total["done_as_planned_eur"])
        text += f" Of those with a plan {planned} of energy and wear was planned, {done} it cost."
    missing_h = statement.expected_h - total["hours"]
    if missing_h > 1e-6:
        text += f" Values of {missing_h:,.4g} h are missing: they are in no sum."
    corrected = int((rows["version"] > 1).sum())
    if corrected:
        text += f" {corrected:,} intervals were corrected; the ledger keeps their earlier versions."
    if rows["currency"].nunique() > 1:
        text += f" Amounts in {joined(list(rows['currency'].unique()))} are added up as they are."
    return text


def rows_section(statement: Statement) -> Section:
    """A row an interval, day or month, with the sum at the end."""
    parts, period = statement.parts, statement.period
    hours = parts["step_min"] / 60 if PARTS[period] == "interval" else 1.0
    columns = {"When": when(statement)}
    for name, label in (
        ("load", "Load"),
        ("renewables", "Sun and wind"),
        ("charge", "Charged"),
        ("discharge", "Discharged"),
        ("grid_import", "Import"),
        ("grid_export", "Export"),
    ):
        suffix = "kw" if PARTS[period] == "interval" else "kwh"
        values = [*(parts[f"{name}_{suffix}"] * hours), statement.total[f"{name}_kwh"]]
        columns[f"{label} [kWh]|"] = even(values, 1)
    saved = parts["cost_no_battery_eur"] - parts["cost_eur"]
    for label, own, whole in (
        ("Planned", parts["planned_cost_eur"], statement.total["planned_cost_eur"]),
        ("Cost", parts["cost_eur"], statement.total["cost_eur"]),
        ("Without battery", parts["cost_no_battery_eur"], statement.total["cost_no_battery_eur"]),
        ("Saved", saved, statement.total["saved_eur"]),
    ):
        columns[f"{label} [{currency()}]|"] = even([*own, whole], 2)
    if PARTS[period] == "interval":
        columns["Known"] = [*(SHORT[done] for done in parts["done"]), ""]
    listed = table(list(columns), zip(*columns.values(), strict=True), "slots")
    title = {"interval": "Interval by interval", "day": "Day by day", "month": "Month by month"}
    return Section("rows", title[PARTS[period]], listed)


def when(statement: Statement) -> list[str]:
    """The name of each row, and "Sum" for the last."""
    zone, times = statement.config.site.time_zone, pd.DatetimeIndex(statement.parts.index)
    local = times.tz_convert(zone)
    if statement.period == "year":
        return [*(f"{time:%B}" for time in local), "Sum"]
    if statement.period != "day":
        return [*(f"{time:%a} {time.day} {time:%b}" for time in local), "Sum"]
    steps = pd.to_timedelta(statement.parts["step_min"], unit="min")
    ends = zip(times, times + pd.TimedeltaIndex(steps), strict=True)
    return [*(span(start, end, zone, False) for start, end in ends), "Sum"]
