"""The report's page: sections, figures and plotly in one HTML file that needs no network."""

import base64
import functools
import hashlib
import json
import re
from pathlib import Path

from vpp.report.content import Content, read_content
from vpp.report.figures import interval_length
from vpp.report.sections import SECTIONS, paragraph
from vpp.report.words import clock, escape, zone_name
from vpp.runtime.config import Config
from vpp.runtime.files import replacing_file

OUTPUT = Path("report.html")
TEMPLATE = Path(__file__).resolve().parent / "page.html"
ISSUED = {
    "plan": "Plan issued",
    "actual": "Plan as carried out, issued",
    "backtest": "Rolling plan from",
    "perfect": "Plan with perfect foresight, from",
}


def render(content: Content) -> str:
    """The page as one HTML text that needs nothing else."""
    sections = [part(content) for part in SECTIONS]
    drawn = {
        f"{section.identifier}-{name}": figure
        for section in sections
        for name, figure in section.figures.items()
    }
    line = f"All times in {content.zone}."
    if content.run is not None:
        issue, end = (
            content.run["issue_time"],
            content.schedule.index[-1] + interval_length(content.schedule.index),
        )
        line = (
            f"{ISSUED[content.run['kind']]} {clock(issue, content.zone, with_year=True)}, to "
            f"{clock(end, content.zone)}; "
            f"measurements until {clock(content.data_end, content.zone, with_year=True)}. "
            f"Times in {zone_name((issue, end), content.zone)}."
        )
    replacements = {
        "title": escape(content.site),
        "header": f"<h1>{escape(content.site)}</h1>\n{paragraph(line, 'quiet')}",
        "sections": "\n".join(section.render() for section in sections),
        "footer": escape(
            f"Run {content.run['run_id']}, {content.run['status']}. " if content.run else ""
        )
        + "Made by report.py.",
        "figures": json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace(
            "<", "\\u003c"
        ),
        "plotly": plotly_script(),
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


@functools.cache
def plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def write_report(config: Config, run_id: str | None = None, output: Path | None = None) -> Path:
    """Write the page of a run, or of the newest plan, in one step; returns its path."""
    output = Path(output or OUTPUT)
    page = render(read_content(config, run_id))
    with replacing_file(output, "--output" if output != OUTPUT else "") as partial:
        partial.write_text(page, encoding="utf-8")
    return output
