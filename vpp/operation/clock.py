"""The clock of a plant in operation: that of the wall, or one that runs through data at a speed.

One on data stands while a plan is made, which takes seconds: else it took hours of a fast clock.

python pipeline.py operate --clock data --speed 3600

Pure but for the time that it reads; times are UTC.
"""

import threading
import time
from dataclasses import dataclass, field

import pandas as pd

DAY_MIN, EPOCH = 24 * 60, pd.Timestamp(0, tz="UTC")


@dataclass
class Clock:
    """A clock.

    Parameters
    ----------
    start : the time at which it begins [UTC]; None for the clock on the wall.
    speed : how many seconds it goes on in a second.
    began : when it began, by the machine's monotonic clock [s].
    """

    start: pd.Timestamp | None = None
    speed: float = 1.0
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.stands_since: float | None = None  # monotonic [s]
        self.lock = threading.Lock()  # of those who record it

    @property
    def on_data(self) -> bool:
        """Whether it runs through data."""
        return self.start is not None

    def now(self) -> pd.Timestamp:
        """The time that it shows [UTC]."""
        if self.start is None:
            return pd.Timestamp.now("UTC").floor("ms")
        until = time.monotonic() if self.stands_since is None else self.stands_since
        gone_ms = (until - self.began) * self.speed * 1000
        return self.start + pd.Timedelta(milliseconds=int(gone_ms))

    @property
    def pace(self) -> float:
        """How many seconds it goes on in a second just now."""
        return self.speed if self.stands_since is None else 0.0

    def stand(self) -> None:
        """Stand from now on; of the wall's clock do nothing."""
        if self.on_data and self.stands_since is None:
            self.stands_since = time.monotonic()

    def go_on(self) -> None:
        """Go on from where it stands."""
        if self.stands_since is not None:
            self.began += time.monotonic() - self.stands_since
            self.stands_since = None

    def wait_s(self, until: pd.Timestamp) -> float:
        """How long it takes until it shows a time [s]; 0 where that is past.

        Parameters
        ----------
        until : the time [UTC].
        """
        return max(0.0, (until - self.now()).total_seconds() / self.speed)

    def last(self, every_min: float) -> pd.Timestamp:
        """The last multiple of a period, counted from midnight UTC; one of days from 1970 on.

        Parameters
        ----------
        every_min : the period [min].
        """
        now, step = self.now(), pd.Timedelta(minutes=every_min)
        first = now.normalize() if every_min < DAY_MIN else EPOCH
        return first + (now - first) // step * step

    def next(self, every_min: float) -> pd.Timestamp:
        """The next multiple of a period; the first of a day is midnight UTC.

        Parameters
        ----------
        every_min : the period [min].
        """
        found = self.last(every_min) + pd.Timedelta(minutes=every_min)
        if every_min >= DAY_MIN:
            return found
        return min(found, self.now().normalize() + pd.Timedelta(days=1))
