"""Which past issue times tune, select, calibrate and test a model."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.forecast.known import MIN_HISTORY_DAYS, Known
from vpp.runtime.errors import VppError
from vpp.site.times import DAY

TUNING_ORIGINS_MAX = 4  # each is a fit where they are a month or more apart
# shares of the days that can be forecast, and the most days, of the phases that end the history
SELECTION, CALIBRATION, TEST = (0.3, 56), (0.25, 28), (0.15, 14)


class SelectionError(VppError):
    """A model cannot be compared."""


@dataclass(frozen=True)
class Origins:
    """Issue times of the backtests; the windows they forecast are disjoint between the phases.

    Parameters
    ----------
    tuning, selection, calibration, test : origins of each phase [UTC].
    """

    tuning: pd.DatetimeIndex
    selection: pd.DatetimeIndex
    calibration: pd.DatetimeIndex
    test: pd.DatetimeIndex


def split_origins(
    first: pd.Timestamp, issue_time: pd.Timestamp, horizon_h: float, count: int
) -> Origins | None:
    """Lay tuning, selection, calibration and test origins between the first value and the issue
    time.

    Parameters
    ----------
    first : time of the first value [UTC].
    issue_time : all windows end by then [UTC]; origins are whole days before it.
    horizon_h : length of a window [h].
    count : origins of the selection; calibration and test take one a day.

    Returns
    -------
    None where the history is too short. Models are fitted to at least 14 days and a third of the
    history before the first origin.
    """
    window = int(np.ceil(horizon_h / 24))
    history = (issue_time - first) / DAY
    days = int(history - max(MIN_HISTORY_DAYS, history / 3))
    selection, calibration, test = (
        max(window, min(int(share * days), most)) for share, most in (SELECTION, CALIBRATION, TEST)
    )
    tuning = days - selection - calibration - test
    if tuning < window:
        return None

    def phase(length: int, ends_before: int, number: int) -> pd.DatetimeIndex:
        """At most `number` origins spread over `length` days that end `ends_before` days before the
        issue time.
        """
        room = length - window
        spacing = max(1, room // max(1, number - 1))
        if spacing % 7 == 0:  # else every window would start on the same weekday
            spacing -= 1
        days_back = [
            ends_before + window + step * spacing
            for step in range(min(number, room // spacing + 1))
        ]
        return pd.DatetimeIndex(
            [issue_time - back * DAY for back in reversed(days_back)], name="issue_time"
        )

    return Origins(
        tuning=phase(tuning, selection + calibration + test, min(count, TUNING_ORIGINS_MAX)),
        selection=phase(selection, calibration + test, count),
        calibration=phase(calibration, test, calibration),
        test=phase(test, 0, test),
    )


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
