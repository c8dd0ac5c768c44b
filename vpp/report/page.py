"""The report's page: sections, figures and plotly in one HTML file that needs no network.

The policy in its head admits the scripts inside it and nothing else.

    python report.py --output report.html
"""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from vpp.report.content import read_content
from vpp.report.flexible import flexible_sections
from vpp.report.frames import interval_length
from vpp.report.markup import Section, paragraph
from vpp.report.sections import SECTIONS
from vpp.report.staleness import banner
from vpp.report.views import Content
from vpp.report.words import clock, escape, shown_in, zone_name
from vpp.runtime.files import replacing_file
from vpp.runtime.settings import Config

OUTPUT = Path("report.html")
TEMPLATE = Path(__file__).resolve().parent / "page.html"
COLOURS = TEMPLATE.with_name("colours.css")
ISSUED = {
    "plan": "Plan issued",
    "actual": "Plan as carried out, issued",
    "backtest": "Rolling plan from",
    "perfect": "Plan with perfect foresight, from",
}


def render(content: Content) -> str:
    """The page as one HTML text that needs nothing else."""
    with shown_in(content.currency):
        sections = [part(content) for part in SECTIONS]
        sections[2:2] = flexible_sections(content)  # after the schedule that they are a part of
    words = " ".join(filter(None, (issued_in_words(content), made_in_words(content))))
    run = f"Run {content.run['run_id']}, {content.run['status']}. " if content.run else ""
    header = paragraph(words, "quiet") + banner(content)
    return page_of(content.site, header, sections, f"{run}Made by report.py.")


def page_of(title: str, header: str, sections: Sequence[Section], footer: str) -> str:
    """Sections as one HTML text; plotly is in it where there are figures.

    Parameters
    ----------
    title : plain text.
    header : HTML below it.
    sections : in their order.
    footer : plain text."""
    drawn = {
        f"{section.identifier}-{name}": figure
        for section in sections
        for name, figure in section.figures.items()
    }
    figures = json.dumps(drawn, separators=(",", ":"), allow_nan=False)
    replacements = {
        "title": escape(title),
        "colours": COLOURS.read_text(encoding="utf-8"),
        "header": f"<h1>{escape(title)}</h1>\n{header}",
        "sections": "\n".join(section.render() for section in sections),
        "footer": escape(footer),
        "figures": figures.replace("<", "\\u003c"),
        "plotly": plotly_script() if drawn else "",
    }
    page = re.sub(
        r"\{\{(\w+)\}\}",
        lambda found: replacements.get(found[1], found[0]),
        TEMPLATE.read_text(encoding="utf-8"),
    )
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = (
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    )
    return page.replace("{{hashes}}", " ".join(f"'sha256-{digest}'" for digest in hashes), 1)


def issued_in_words(content: Content) -> str:
    """The times of the run that is shown, and the zone of all times."""
    if content.schedule is None:
        return f"All times in {content.zone}."
    times, zone = content.schedule.index, content.zone
    issue, end = content.run["issue_time"], times[-1] + interval_length(times)
    measured = ""
    if content.data_end is not None:
        measured = f"; measurements until {clock(content.data_end, zone, with_year=True)}"
    return (
        f"{ISSUED[content.run['kind']]} {clock(issue, zone, with_year=True)}, to "
        f"{clock(end, zone)}{measured}. Times in {zone_name((issue, end), zone)}."
    )


def made_in_words(content: Content) -> str:
    """When the page was made; nothing where that is not told."""
    if content.made_at is None:
        return ""
    zone = content.made_at.tz_convert(content.zone).tzname()
    return f"This page was made {clock(content.made_at, content.zone, with_year=True)} {zone}."


@functools.cache
def plotly_script() -> str:
    """The text of plotly.js."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def write_report(config: Config, run_id: str | None = None, output: Path | None = None) -> Path:
    """Write the page of a run in one step.

    Parameters
    ----------
    config : the configuration.
    run_id : the run; None takes the newest plan.
    output : the file; None takes OUTPUT in the working folder.

    Returns
    -------
    The file's path.

    Raises
    ------
    ConfigError : there is no run of that name, or the file cannot be written.
    ReportError : the run has no schedule to show.
    DatabaseError : the database cannot be reached."""
    output = Path(output or OUTPUT)
    page = render(read_content(config, run_id))
    with replacing_file(output, "--output" if output != OUTPUT else "") as partial:
        partial.write_text(page, encoding="utf-8")
    return output
