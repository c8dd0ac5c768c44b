"""Means over steps of a value that comes now and then, weighted by time.

    python -c "from vpp.devices.means import Held; help(Held)"

A value holds until the next one, and at most so long; where none holds there is a gap.
"""

COVERED = 0.9  # share of a step in which a value must hold; else the step is a gap


class Held:
    """A value that holds until the next one, summed up by step.

    Parameters
    ----------
    step_s : length of a step [s].
    hold_s : longest time that a value holds [s].
    """

    def __init__(self, step_s: int, hold_s: float) -> None:
        self.step_s, self.hold_s = step_s, hold_s
        self.last: tuple[float, float] | None = None  # time [s] and value
        self.upto = 0.0  # all before is in the sums [s]
        self.ended = 0  # steps that begin before are told [s]
        self.sums: dict[int, tuple[float, float]] = {}  # start of a step -> value x s, and s

    def take(self, at_s: float, value: float) -> bool:
        """Take a value.

        Parameters
        ----------
        at_s : its time [s since 1970].
        value : the value.

        Returns
        -------
        Whether it is newer than the one before, and so was taken.
        """
        if self.last is not None and at_s <= self.last[0]:
            return False
        self.hold(at_s)
        self.last, self.upto = (at_s, value), max(at_s, self.upto)
        return True

    def lose(self, at_s: float) -> None:
        """Let the last value hold no longer than to a time.

        Parameters
        ----------
        at_s : the time [s since 1970].
        """
        self.hold(at_s)
        self.last = None

    def hold(self, until_s: float) -> None:
        """Add the last value to the sums, up to a time.

        Parameters
        ----------
        until_s : the time [s since 1970].
        """
        if self.last is None:
            return
        at_s, value = self.last
        end = min(until_s, at_s + self.hold_s)
        begin = max(self.upto, at_s, self.ended)
        while begin < end:
            start = int(begin // self.step_s) * self.step_s
            stop = min(end, start + self.step_s)
            area, covered = self.sums.get(start, (0.0, 0.0))
            self.sums[start] = (area + value * (stop - begin), covered + stop - begin)
            begin = stop
        self.upto = max(self.upto, end)

    def means(self, before_s: float) -> dict[int, float]:
        """The means of the steps that have ended; they are told once.

        Parameters
        ----------
        before_s : steps that end at or before it have ended [s since 1970].

        Returns
        -------
        Start of the step [s since 1970] -> mean. A step with too little of it covered is missing.
        """
        self.hold(before_s)
        end = int(before_s // self.step_s) * self.step_s
        over = sorted(start for start in self.sums if start < end)
        found = {}
        for start in over:
            area, covered = self.sums.pop(start)
            if covered >= COVERED * self.step_s:
                found[start] = area / covered
        self.ended = max(self.ended, end)
        return found
