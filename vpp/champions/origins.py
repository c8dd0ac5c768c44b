"""Which past issue times tune and compare models: the newest days compare, those before tune."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.forecast.known import MIN_HISTORY_DAYS, Known
from vpp.runtime.errors import VppError
from vpp.site.times import DAY

TUNING_ORIGINS_MAX = 4
SELECTION_SHARE = 0.7  # of the days that can be forecast, at most


class SelectionError(VppError):
    """A model cannot be compared."""


@dataclass(frozen=True)
class Origins:
    """Issue times of the backtests. The windows that tune end before the first that compares.

    Parameters
    ----------
    tuning, selection : origins of each phase [UTC].
    """

    tuning: pd.DatetimeIndex
    selection: pd.DatetimeIndex


def split_origins(
    first: pd.Timestamp, issue_time: pd.Timestamp, horizon_h: float, count: int
) -> Origins | None:
    """Lay tuning and selection origins between the first value and the issue time.

    The selection has one a day up to the day before the issue time: the newest days say best which
    model is good now. Of the last windows only that part counts that is measured.

    Parameters
    ----------
    first : time of the first value [UTC].
    issue_time : now [UTC]; origins are whole days before it.
    horizon_h : length of a window [h].
    count : origins of the selection, at most.

    Returns
    -------
    None where the history is too short. Models are fitted to at least 14 days and a third of the
    history before the first origin.
    """
    window = int(np.ceil(horizon_h / 24))
    history = (issue_time - first) / DAY
    days = int(history - max(MIN_HISTORY_DAYS, history / 3))
    selection = min(count, int(SELECTION_SHARE * days))
    room = days - selection - window  # between the first and the last tuning origin
    if selection < 2 or room < 0:
        return None
    number = min(count, TUNING_ORIGINS_MAX)
    spacing = max(1, room // max(1, number - 1))
    if spacing % 7 == 0:  # else every window would start on the same weekday
        spacing -= 1
    back = [selection + window + step * spacing for step in range(min(number, room // spacing + 1))]

    def at(days_back: list[int]) -> pd.DatetimeIndex:
        times = [issue_time - number * DAY for number in sorted(days_back, reverse=True)]
        return pd.DatetimeIndex(times, name="issue_time")

    return Origins(tuning=at(back), selection=at(list(range(1, selection + 1))))


def too_few(known: Known) -> str:
    """Why no origins can be laid in a history, in words.

    Parameters
    ----------
    known : the source.
    """
    days = len(known.targets) * known.step / DAY
    return f"{days:.1f} days of history are too few to tune and compare models"


def measured_origins(origins: Origins, known: Known, horizon_h: float) -> Origins:
    """Those origins of each phase in whose window something was measured that was not known at the
    origin.

    Parameters
    ----------
    origins : of all phases.
    known : the source.
    horizon_h : length of a window [h].
    """
    measured = ~known.filled & known.series.notna().to_numpy()
    times, when = known.series.index[measured], known.available_at[measured]
    window = pd.Timedelta(hours=horizon_h)

    def kept(phase: pd.DatetimeIndex) -> pd.DatetimeIndex:
        return phase[
            [bool(((times >= at) & (times < at + window) & (when > at)).any()) for at in phase]
        ]

    return Origins(**{name: kept(phase) for name, phase in vars(origins).items()})
