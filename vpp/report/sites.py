"""The report of one site of several, or of many sites together: a row for each, and their sum.

python report.py --site all
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vpp.planning.portfolio import Planned
from vpp.planning.site_configs import newest_plans, plan_of_site, read_configs
from vpp.report.markup import Section, card, paragraph, table
from vpp.report.page import OUTPUT, page_of, write_report
from vpp.report.words import shown_in
from vpp.runtime.files import replacing_file
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.storage.connection import session
from vpp.storage.rows import select_rows
from vpp.storage.sites import read_site_plans

HEAD = (
    *("Site", "Plan issued", "Status", "No battery|", "Rule|", "Plan|", "Saved|"),
    *("Import kW|", "Limit kW|", "Export kW|", "Limit kW|"),
)


def write_site_report(config: Config, wanted: str, output: Path | None = None) -> Path:
    """Write the page of a site, or of several sites together, in one step.

    Parameters
    ----------
    config : of all sites.
    wanted : the sites, as of `vpp.site.selection.chosen`.
    output : the file; None takes OUTPUT in the working folder.

    Returns
    -------
    The file's path.

    Raises
    ------
    ConfigError : a site is not known, or the file cannot be written.
    ReportError, DataGapError : there is no plan to show.
    """
    with session(config) as conn:
        configs = read_configs(conn, config, wanted)
        if len(configs) == 1:
            name, own = next(iter(configs.items()))
            run_id = plan_of_site(conn, config, name)
            conn.commit()
            return write_report(own, run_id, output)
        rows = read_site_plans(conn, list(newest_plans(conn, config, wanted).values()))
        common = select_rows(conn, COMMON)
    missing = sorted(set(configs) - {row["site_id"] for row in rows})
    page = overview(config, rows, missing, common[0] if common else None)
    output = Path(output or OUTPUT)
    with replacing_file(output, "--output" if output != OUTPUT else "") as partial:
        partial.write_text(page, encoding="utf-8")
    return output


COMMON = """
    SELECT * FROM schedule_runs WHERE kind = 'portfolio' ORDER BY created_at DESC LIMIT 1"""


def overview(
    config: Config, rows: Sequence[dict], missing: Sequence[str], common: dict | None
) -> str:
    """The page of several sites.

    Parameters
    ----------
    config : of all sites.
    rows : as of `vpp.storage.sites.read_site_plans`.
    missing : sites without a plan.
    common : the newest run of the portfolio, if there is one.
    """
    ways = ("cost_no_battery_eur", "cost_rule_eur", "cost_eur")
    sums = [sum(row[way] or 0.0 for row in rows) for way in ways]
    cells = [_cells(row["site_id"], row, [row[way] or 0.0 for way in ways]) for row in rows]
    cells.append([f"All {len(rows)}", "", "", *_money(sums), "", "", "", ""])
    with shown_in(config.tariff.currency):
        cards = [card("Plans save", f"{sums[0] - sums[2]:,.2f}", "beside no battery, at forecasts")]
        cards.append(card("Sites", str(len(rows)), f"{len(missing)} without a plan"))
        if common is not None:
            gap, made = common["gap"] or 0.0, common["made_from"] or {}
            note = f"bound {made.get('bound_eur', 0.0):,.2f}"
            cards.append(card("Portfolio", f"{gap:.3%}", f"above the bound at most; {note}"))
        body = f'<div class="cards">{"".join(cards)}</div>' + table(HEAD, cells)
        if missing:
            body = paragraph(f"No plan yet: {', '.join(missing)}.", "stale") + body
        section = Section("sites", f"Sites ({config.tariff.currency})", body)
        made_at = shown(pd.Timestamp.now("UTC").floor("s"))
        header = paragraph(f"The newest plan of each site. This page was made {made_at}.", "quiet")
        return page_of(f"{config.site.name}: sites", header, [section], "Made by report.py.")


def _money(costs: Sequence[float]) -> list[str]:
    """Costs of the ways, and what the plan saves."""
    return [f"{cost:,.2f}" for cost in (*costs, costs[0] - costs[2])]


def _cells(name: str, row: dict, costs: Sequence[float]) -> list[str]:
    """A site's row of the table."""
    issued = shown(pd.Timestamp(row["issue_time"]))
    powers = []
    for way in ("import", "export"):
        limit = row[f"{way}_limit_kw"]
        powers += [f"{row[f'{way}_kw'] or 0.0:,.0f}"]
        powers += ["none" if limit is None else f"{float(limit):,.0f}"]
    return [name, issued, str(row["status"]), *_money(costs), *powers]


def write_planned(config: Config, planned: Planned) -> Path:
    """Write the page of plans that have just been made.

    Parameters
    ----------
    config : of all sites.
    planned : the plans.

    Returns
    -------
    The file's path.
    """
    first = planned.runs[0]
    if len(planned.runs) > 1:
        return write_site_report(config, "all")
    if planned.faults:
        return write_site_report(config, first["site_id"])
    return write_report(config, run_id=first["run_id"])
