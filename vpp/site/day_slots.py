"""The slots of a day that a column counts: hours 1 to 24, settlement periods 1 to 48, 50 or 46.

    python sources.py import nesodemand.csv --time-column SETTLEMENT_DATE --tz Europe/London \\
        --load ND:MW
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.runtime.files import DataFileError
from vpp.site.time_shapes import FOLDS, INVALID

SLOT = re.compile(
    r"(?:[A-Za-z]{1,8}[ _.]?)?(\d{1,3})(?:[.,]0)?([AaBbXx*])?(?: ?[-–] ?\d{1,2}[AaBb]?)?"
)
USUAL = {24: 60, 48: 30, 96: 15, 288: 5}  # slots of a day -> minutes of a slot
CHANGED = {23: 60, 25: 60, 46: 30, 50: 30, 92: 15, 100: 15, 276: 5, 300: 5}  # of one with a change
COUNTS = USUAL | CHANGED
_HOURS = re.compile(r"(?i)hour|stund|hora|heure|uur|\bhe\b|\bhr?\b")
_COUNTING = re.compile(r"(?i)ending|period|block|\bhe\b|interval|\bsp\b")


@dataclass
class Slots:
    """Numbers that count the slots of a day, and what they mean.

    Parameters
    ----------
    name : of the column.
    lowest, highest : number.
    counts : day -> how often each number comes.
    """

    name: str
    lowest: int = 10**6
    highest: int = 0
    counts: dict[int, Counter] = field(default_factory=dict)

    def read(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Read numbers and letters of slots.

        Parameters
        ----------
        cells : such as 1, 2A, H24.

        Returns
        -------
        Number of each (`INVALID`: none), and which of an hour that comes twice it is (-1: unsaid).
        """
        known: dict[str, tuple[int, int]] = {}
        for cell in set(cells):
            match = SLOT.fullmatch(cell)
            fold = -1 if match is None or not match[2] else FOLDS[match[2].lower()]
            known[cell] = (INVALID, -1) if match is None else (int(match[1]), fold)
        pairs = np.array([known[cell] for cell in cells], np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1].astype(np.int8)

    def see(self, days: np.ndarray, cells: Sequence[str]) -> None:
        """Look at a part of the column.

        Parameters
        ----------
        days : since 1970 (`INVALID`: none).
        cells : of the column.
        """
        numbers, _ = self.read(cells)
        there = (days != INVALID) & (numbers != INVALID)
        if there.any():
            self.lowest = min(self.lowest, int(numbers[there].min()))
            self.highest = max(self.highest, int(numbers[there].max()))
            pairs = zip(days[there].tolist(), numbers[there].tolist(), strict=True)
            for (day, number), count in Counter(pairs).items():
                self.counts.setdefault(day, Counter())[number] += count

    def step_min(self) -> int:
        """Find how long a slot is [min].

        Raises
        ------
        DataFileError : the highest number is that of no known division of a day.
        """
        count = self.highest + (1 if self.lowest == 0 else 0)
        if count in COUNTS:
            return COUNTS[count]
        if count <= 25 and _HOURS.search(self.name):
            return 60
        raise DataFileError(
            f"column {self.name}: its highest number is {self.highest}; expected 24 hours, or 48, "
            "96 or 288 periods of a day"
        )

    def base(self, stamp: str) -> int:
        """Find the number of the slot that begins at midnight.

        Parameters
        ----------
        stamp : what the file's stamps are, where it was said; a number may be the end of its hour.

        Raises
        ------
        DataFileError : hours of a part of the day may count from 0 or from 1, or numbers of
            intervals were called their ends.
        """
        if self.lowest == 0:
            return 1 if stamp == "end" else 0
        if self.lowest == 1 or self.step_min() < 60 or self.highest in (24, 25):
            if stamp in ("middle", "end") and not (stamp == "end" and _HOURS.search(self.name)):
                raise DataFileError(
                    f"column {self.name}: its numbers count intervals from 1, so that --stamp "
                    f"{stamp} has no meaning; leave it out"
                )
            return 1
        if stamp or _COUNTING.search(self.name.replace("_", " ")):
            return 0 if stamp == "start" else 1
        raise DataFileError(
            f"column {self.name}: its numbers {self.lowest} to {self.highest} may be starts or "
            f"ends of hours; say --stamp start if {self.lowest} begins at {self.lowest}:00, or "
            "--stamp end"
        )

    def check_end(self, lengths: dict[int, int]) -> None:
        """Refuse numbers that end inside the file's last day, where they tell no division of it.

        Parameters
        ----------
        lengths : as of `counted`.

        Raises
        ------
        DataFileError : 92 may be the end of 23 hours, or of the morning in steps of 5 minutes.
        """
        count = self.highest + (1 if self.lowest == 0 else 0)
        days = [day for day, numbers in self.counts.items() if self.highest in numbers]
        is_named = count not in COUNTS  # hours by the column's name
        if is_named or count in USUAL or min(days) < max(self.counts):
            return
        if lengths.get(days[0]) != count:
            raise DataFileError(
                f"column {self.name}: its numbers end with {self.highest} inside the only day that "
                "has it, so that nothing tells how long a slot is; import the whole day, or more"
            )

    def counted(self, lengths: dict[int, int]) -> tuple[bool, set[int]]:
        """Tell whether slots are counted through from midnight, also when the clock changes.

        Else a slot is a time on the clock.

        Parameters
        ----------
        lengths : day -> how many slots long it is, of the days on which the clock changes.

        Returns
        -------
        The answer, and the days of which it cannot be told.

        Raises
        ------
        DataFileError : one day says so, another the opposite.
        """
        says: dict[bool, list[int]] = {True: [], False: []}
        unknown = set()
        for day, length in lengths.items():
            answer = self._counted_on(day, length)
            if answer is None:
                unknown.add(day)
            else:
                says[answer].append(day)
        if says[True] and says[False]:
            raise DataFileError(
                f"column {self.name}: on {np.datetime64(says[True][0], 'D')} its numbers count on "
                f"when the clock changes, on {np.datetime64(says[False][0], 'D')} they do not"
            )
        return bool(says[True]), set() if any(says.values()) else unknown

    def _counted_on(self, day: int, length: int) -> bool | None:
        there = self.counts.get(day, Counter())
        usual, base = 24 * 60 // self.step_min(), 0 if self.lowest == 0 else 1
        numbers = {number - base + 1 for number in there}
        if length > usual:
            if max(numbers, default=0) > usual:
                return True
            both = max(there.values(), default=0) > 1
            is_whole = len(numbers) == usual and day < max(self.counts)  # the file goes on after it
            return False if both or is_whole else None
        if max(numbers, default=0) > length:
            return False
        return True if len(numbers) == length else None
