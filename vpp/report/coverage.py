"""How often the bands of forecasts held, as a table of the page.

python report.py
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from vpp.champions.past_errors import COVERAGE_DAYS
from vpp.forecast.scores import SEASONS
from vpp.report.markup import paragraph, table
from vpp.report.views import SourceView

HOURS = ((0, 6), (6, 12), (12, 18), (18, 24))


def coverage_table(views: Sequence[SourceView], names: Mapping[str, str]) -> str:
    """The HTML of how often the 80 % band of each source held, by day ahead, local hour and season.

    Parameters
    ----------
    views : the sources, in the order of the page.
    names : of the sources."""
    known = [view for view in views if view.coverage is not None and len(view.coverage)]
    if not known:
        return ""
    every = pd.concat([view.coverage for view in known])
    columns = [
        (f"Day {lead}", "lead", [lead])
        for lead in sorted(every.loc[every["by"] == "lead", "group"].unique())
    ]
    columns += [(f"{start}–{end} h", "hour", list(range(start, end))) for start, end in HOURS]
    seasons = set(every.loc[every["by"] == "season", "group"])
    columns += [(name.capitalize(), "season", [name]) for name in SEASONS if name in seasons]
    rows = [
        (
            names[view.source.source_id],
            *(coverage_in_words(view.coverage, by, groups) for _, by, groups in columns),
        )
        for view in known
    ]
    lead = (
        f"How often the 80 % band held, of forecasts issued in the last {COVERAGE_DAYS} days: "
        "by day ahead, local hour and season. Night and published prices do not count."
    )
    head = ("Source", *(f"{label}|" for label, *_ in columns))
    listed = table(head, rows, "slots named")
    return f"<h3>Do the bands hold?</h3>{paragraph(lead, 'quiet')}{listed}"


def coverage_in_words(coverage: pd.DataFrame, by: str, groups: Sequence[object]) -> str:
    """The share of some groups' rows in the band; a dash without any.

    Parameters
    ----------
    coverage : of a source.
    by, groups : the rows that count."""
    found = coverage[(coverage["by"] == by) & coverage["group"].isin(groups)]
    count = found["rows"].sum()
    return f"{(found['rows'] * found['coverage_80']).sum() / count:.0%}" if count else "–"
