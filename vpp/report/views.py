"""The content of a page: a run with its money, its sources with their forecasts, and the rest.

All amounts of money are costs, positive when paid.

    python -c "from vpp.report.views import Content; print(Content('Home', 'UTC'))"
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from vpp.report.colours import WAYS
from vpp.runtime.settings import BatteryParameters
from vpp.site.sources import Source
from vpp.storage.counts import RowCount

MOST_FANS = 12  # sources beyond these have a line in a table


@dataclass(frozen=True)
class Money:
    """Cost of a run's horizon for each way of running the site, positive when paid.

    Parameters
    ----------
    by_interval : cost by interval [EUR], with the columns no_battery, rule, plan and
        perfect_foresight as far as they are known; None where it is not known.
    total_eur : cost of the horizon by the same names [EUR].
    note : says at which values.
    captured_share : of the saving with perfect foresight [fraction]; None where it is not known.
    label : the name of the run that is shown.
    """

    by_interval: pd.DataFrame | None
    total_eur: dict[str, float]
    note: str
    captured_share: float | None = None
    label: str = "The plan"

    @property
    def ways(self) -> list[tuple[str, str, str, str]]:
        """Column, label, colour and dash of each way that is known, except no battery."""
        return [
            (name, self.label if name == "plan" else label, tint, dash)
            for name, label, tint, dash in WAYS
            if self.total_eur.get(name) is not None
        ]


@dataclass(frozen=True)
class SourceView:
    """A source with its newest measurements and the forecast of the plan's issue time.

    Parameters
    ----------
    source : the source.
    actual : its measurements around the issue time.
    newest : end of its newest interval.
    model, role, forecast : of the forecast; None where there is none.
    error : of the last 24 h with measurements, as `day_error` gives it.
    note : why it is not a champion's forecast with all inputs; empty where it is.
    coverage : how often its 80 % band held, as `issued_coverage` gives it; None where it is not
        shown.
    """

    source: Source
    actual: pd.Series
    newest: pd.Timestamp | None = None
    model: str | None = None
    role: str | None = None
    forecast: pd.DataFrame | None = None
    error: dict | None = None
    note: str = ""
    coverage: pd.DataFrame | None = None


@dataclass(frozen=True)
class Content:
    """All that the page shows; a part that is not there yet is empty or None.

    Parameters
    ----------
    site, zone : name and time zone of the site.
    data_end : end of the measurements.
    behind : sources that are not current, each with its reason.
    run, schedule, states : the run that is shown, empty without one.
    devices : its rows of `device_states`, of vehicles and other flexible loads.
    batteries : as the run was made with them.
    money : the run's.
    views : one of each source.
    leaderboard : models of each source with their errors.
    stream : state of each topic.
    rows : number of rows stored of each kind of message.
    currency : label of all money.
    made_at : when the page was made; None where that is not told.
    costs : cost of each interval of the run at its own values [EUR]; None where it is not known.
    stale_after_h : measurements that end so long before the page was made are stale [h].
    """

    site: str
    zone: str
    data_end: pd.Timestamp | None = None
    behind: Mapping[str, str] = field(default_factory=dict)
    run: dict = field(default_factory=dict)
    schedule: pd.DataFrame | None = None
    states: pd.DataFrame = field(default_factory=pd.DataFrame)
    devices: pd.DataFrame = field(default_factory=pd.DataFrame)
    batteries: tuple[BatteryParameters, ...] = ()
    money: Money | None = None
    views: tuple[SourceView, ...] = ()
    leaderboard: Sequence[dict] = ()
    stream: Sequence[dict] = ()
    rows: dict[str, RowCount] = field(default_factory=dict)
    currency: str = "EUR"
    made_at: pd.Timestamp | None = None
    costs: pd.Series | None = None
    stale_after_h: float = 6.0

    @property
    def names(self) -> dict[str, str]:
        """The one name of each source: its own, with the source_id where two have the same."""
        own = {view.source.source_id: view.source.name.strip() for view in self.views}
        count = Counter(own.values())
        return {
            source_id: f"{name} ({source_id})" if name and count[name] > 1 else name or source_id
            for source_id, name in own.items()
        }
