"""When the values of an imported forecast were issued, where a rule says it.

    python sources.py import tso.csv --tz Europe/Berlin --forecast wind_mw:MW:tso-wind \\
        --issued "D-1 10:00"
"""

import re
from dataclasses import dataclass, replace

import pandas as pd

from vpp.runtime.errors import ConfigError
from vpp.site.import_checks import Series
from vpp.site.times import day_before, local_days

_DAY = re.compile(r"D-(\d) (\d\d?:\d\d)")
_LEAD = re.compile(r"(\d+(?:\.\d+)?) ?h")


@dataclass(frozen=True)
class IssueRule:
    """When values are issued.

    Parameters
    ----------
    days, clock : so many local days before that of the value, at this local time [HH:MM].
    lead_h : or so long before the start of its interval [h].
    column : or the column that holds the time of issue.
    is_lead : whether that column holds leads [h] in place of times.
    """

    days: int = 0
    clock: str = ""
    lead_h: float | None = None
    column: str = ""
    is_lead: bool = False


def issue_rule(text: str) -> IssueRule:
    """Read `--issued`: `D-1 10:00`, `36h`, the name of a column, or `COLUMN:h` for one of leads.

    Raises
    ------
    ConfigError : it names no time of day.
    """
    day, lead = _DAY.fullmatch(text.strip()), _LEAD.fullmatch(text.strip())
    if lead:
        return IssueRule(lead_h=float(lead[1]))
    if not day:
        return IssueRule(column=text.removesuffix(":h"), is_lead=text.endswith(":h"))
    hours, minutes = (int(part) for part in day[2].split(":"))
    if hours > 23 or minutes > 59:
        raise ConfigError(f"--issued {text}: expected a time of day such as D-1 10:00")
    return IssueRule(days=int(day[1]), clock=f"{hours:02}:{minutes:02}")


def with_issues(series: Series, rule: IssueRule, zone: str) -> Series:
    """A series whose values are issued by a rule.

    Parameters
    ----------
    series : by valid time [UTC].
    rule : a time of day, or a lead.
    zone : of local days.
    """
    valid = pd.DatetimeIndex(series.values.index)
    if rule.lead_h is not None:
        issued = valid - pd.Timedelta(hours=rule.lead_h)
    else:
        later = pd.Timedelta(days=1 - rule.days)
        issued = day_before(local_days(valid, zone) + later, rule.clock, zone)
        late = issued > valid
        if late.any():
            raise ConfigError(
                f"--issued D-{rule.days} {rule.clock}: is after {valid[late][0]:%Y-%m-%dT%H:%MZ} "
                "of the same day, so that it is no forecast; say an earlier day"
            )
    return replace(series, issued=issued)
