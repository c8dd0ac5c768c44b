"""The banner of everything on the page that is older than it should be.

Nothing is said of a page whose parts are all current.

    python report.py --open
"""

import pandas as pd

from vpp.report.frames import interval_length
from vpp.report.markup import stale_list
from vpp.report.views import Content
from vpp.report.words import clock


def banner(content: Content) -> str:
    """All that is stale, as HTML; nothing where all is current."""
    found = stale_parts(content)
    return stale_list("Not all on this page is current", found) if found else ""


def stale_parts(content: Content) -> list[str]:
    """A sentence for each part of the page that is older than it should be.

    Sources that are not current, measurements that end long before the page was made, a plan whose
    time is over or that is older than the measurements, stand-in forecasts, and a broker that does
    not answer."""
    names = content.names
    found = [f"{names.get(source, source)}: {why}." for source, why in content.behind.items()]
    found += _of_data(content)
    if content.schedule is not None and content.run.get("kind") == "plan":
        found += _of_plan(content)
    fallbacks = [view for view in content.views if view.role == "fallback"]
    noted = [v for v in fallbacks if v.note and v.source.source_id not in content.behind]
    found += [f"{names[view.source.source_id]}: {view.note}." for view in noted]
    stood_in = [names[view.source.source_id] for view in fallbacks if not view.note]
    if stood_in:
        found.append(
            f"A stand-in forecasts {', '.join(stood_in)}: no champion could be used. Run python "
            "train_forecast.py."
        )
    waiting = [row["topic"] for row in content.stream if row.get("lag")]
    if waiting:
        found.append(
            f"Messages wait in {', '.join(waiting)}; they are not on this page. Run python "
            "communication.py consume."
        )
    return found


def _of_data(content: Content) -> list[str]:
    """Measurements that end long before the page was made."""
    if content.made_at is None or content.data_end is None:
        return []
    age_h = (content.made_at - content.data_end) / pd.Timedelta(hours=1)
    if age_h <= content.stale_after_h:
        return []
    end = clock(content.data_end, content.zone, with_year=True)
    return [f"The measurements end {end}, {_long(age_h)} before this page was made."]


def _of_plan(content: Content) -> list[str]:
    """A plan whose time is over, or that measurements have overtaken."""
    assert content.schedule is not None  # the caller has asked
    times = pd.DatetimeIndex(content.schedule.index)
    end, issue = times[-1] + interval_length(times), content.run["issue_time"]
    words = "Run python forecast_and_save.py and python optimization.py."
    if content.made_at is not None and content.made_at >= end:
        return [f"The plan ended {clock(end, content.zone, with_year=True)}. {words}"]
    if content.data_end is not None and content.data_end > issue:
        later_h = (content.data_end - issue) / pd.Timedelta(hours=1)
        return [f"There are measurements of {_long(later_h)} after the plan was issued. {words}"]
    return []


def _long(hours: float) -> str:
    """A length of time in the unit that suits it."""
    return f"{hours:,.0f} h" if hours < 48 else f"{hours / 24:,.0f} days"
