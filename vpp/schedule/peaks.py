"""Peak prices: on the highest mean import of local clock intervals, also of some months, weekdays
and hours only.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section
from vpp.schedule.draft import LE, MONEY_SCALE, Model
from vpp.schedule.stated import stated


@dataclass(frozen=True)
class Window(Section):
    """The local times at which a peak counts: those that are in all lists that there are."""

    months: tuple[int, ...] | None = stated("1 to 12; default all", None)
    weekdays: tuple[int, ...] | None = stated("1 to 7, Monday is 1; default all", None)
    hours: tuple[int, ...] | None = stated("0 to 23; default all", None)

    def __post_init__(self) -> None:
        for name, low, high in (("months", 1, 12), ("weekdays", 1, 7), ("hours", 0, 23)):
            for i, value in enumerate(getattr(self, name) or ()):
                if not low <= value <= high:
                    raise FieldError(f"{name}[{i}]", value, f"{low} to {high}")

    def has(self, local_min: np.ndarray) -> np.ndarray:
        """Whether local times are in the window.

        Parameters
        ----------
        local_min : minutes since 1970 of the local clock [min].

        Returns
        -------
        One truth a time.
        """
        inside = np.ones(len(local_min), dtype=bool)
        if self.months is not None:
            months = local_min.astype("datetime64[m]").astype("datetime64[M]").astype(int)
            inside &= np.isin(months % 12 + 1, self.months)
        if self.weekdays is not None:  # the first day of 1970 was a Thursday
            inside &= np.isin((local_min // 1440 + 3) % 7 + 1, self.weekdays)
        if self.hours is not None:
            inside &= np.isin(local_min // 60 % 24, self.hours)
        return inside


ALWAYS = Window()
ALL_MONTHS = tuple(range(1, 13))


@dataclass(frozen=True)
class Peak(Section):
    """The price of the highest mean import of a billing period."""

    price_eur_per_kw: float = stated("on what the highest mean exceeds so_far_kw by", low=0)
    interval_min: int = stated(
        "length of the local clock intervals; divides 60, a multiple of step_min", low=1
    )
    so_far_kw: float = stated("highest mean import of the billing period so far", 0.0, low=0)
    running_interval_kwh: float = stated(
        "imported already in the interval that has begun before start", 0.0, low=0
    )
    window: Window = stated("local times at which it counts; default all", ALWAYS)


def by_month(peaks: Sequence[Peak], months: Sequence[int]) -> tuple[Peak, ...]:
    """Peaks of which each month is billed on its own.

    Parameters
    ----------
    peaks : as they are at the start, in the first of these months.
    months : numbers of the local months that a problem reaches into, in their order.

    Returns
    -------
    A peak for each of them and each month in its window; only the first month has begun.
    """
    return tuple(
        replace(
            peak,
            so_far_kw=peak.so_far_kw if month == months[0] else 0.0,
            running_interval_kwh=peak.running_interval_kwh if month == months[0] else 0.0,
            window=replace(peak.window, months=(month,)),
        )
        for peak in peaks
        for month in dict.fromkeys(months)
        if month in (peak.window.months or ALL_MONTHS)
    )


@dataclass(frozen=True, eq=False)
class Billed:
    """The clock intervals of a peak price.

    Parameters
    ----------
    peak : the price.
    block : number of the clock interval that each interval begins in; -1 outside the window.
    hours : time that each clock interval's energy is spread over [h].
    before_kwh : imported in each clock interval before the start [kWh].
    later : number of the clock interval that each interval ends in, where that is the next one.
    share : part of each interval that lies in the clock interval in which it begins.
    """

    peak: Peak
    block: np.ndarray
    hours: np.ndarray
    before_kwh: np.ndarray
    later: np.ndarray
    share: np.ndarray

    def parts(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The parts of intervals that lie in clock intervals of the window.

        Parameters
        ----------
        count : of how many intervals from the first on; default all.

        Returns
        -------
        Number of the interval, of the clock interval, and the share of the interval, of each.
        """
        firsts = np.flatnonzero(self.block[:count] >= 0)
        lasts = np.flatnonzero((self.later[:count] >= 0) & (self.share[:count] < 1))
        blocks = np.concatenate((self.block[firsts], self.later[lasts]))
        shares = np.concatenate((self.share[firsts], 1.0 - self.share[lasts]))
        return np.concatenate((firsts, lasts)), blocks, shares

    def means_kw(self, grid_import_kw: np.ndarray, step_hours: float) -> np.ndarray:
        """Mean import of each clock interval.

        Parameters
        ----------
        grid_import_kw : imports [kW], one an interval.
        step_hours : length of an interval [h].

        Returns
        -------
        The means [kW].
        """
        places, blocks, shares = self.parts()
        energies = grid_import_kw[places] * step_hours * shares
        return (np.bincount(blocks, energies, len(self.hours)) + self.before_kwh) / self.hours

    def state(self, grid_import_kw: np.ndarray, step_hours: float) -> Peak:
        """The peak after these intervals.

        Parameters
        ----------
        grid_import_kw : imports [kW] of the first intervals, one each.
        step_hours : length of an interval [h].

        Returns
        -------
        The peak with the highest mean so far of complete clock intervals, and the energy of one
        that goes on.
        """
        done = len(grid_import_kw)
        if not done:
            return self.peak
        ends_in = self.later if self.share[done - 1] < 1 else self.block
        last, (places, blocks, shares) = int(ends_in[done - 1]), self.parts(done)
        count = np.bincount(blocks, minlength=len(self.hours))
        energies = grid_import_kw[places] * step_hours * shares
        energy = np.bincount(blocks, energies, len(self.hours)) + self.before_kwh * (count > 0)
        begun = last if last >= 0 and self._goes_on(last, done) else -1
        whole = (count > 0) & (np.arange(len(self.hours)) != begun)
        highest = float((energy[whole] / self.hours[whole]).max(initial=0.0))
        return replace(
            self.peak,
            so_far_kw=max(self.peak.so_far_kw, highest),
            running_interval_kwh=float(energy[begun]) if begun >= 0 else 0.0,
        )

    def _goes_on(self, block: int, done: int) -> bool:
        """Whether a clock interval goes on after so many intervals, or after the end."""
        cut = self.hours[block] < self.peak.interval_min / 60 - 1e-9
        return bool((self.block[done:] == block).any() or cut)

    def excess_kw(self, grid_import_kw: np.ndarray, step_hours: float) -> float:
        """The peak to pay for: the highest mean less `so_far_kw`.

        Parameters
        ----------
        grid_import_kw : imports [kW], one an interval.
        step_hours : length of an interval [h].

        Returns
        -------
        The excess [kW].
        """
        means = self.means_kw(grid_import_kw, step_hours)
        return max(0.0, float(means.max(initial=0.0)) - self.peak.so_far_kw)


def billed(peak: Peak, local_min: np.ndarray, offset_min: np.ndarray, step_min: int) -> Billed:
    """The clock intervals of a peak price over the intervals of a problem.

    An hour that comes twice is two. The mean of an interval that the end of the problem cuts is
    that from its beginning to there. An interval of the problem that lies in two of them, as hours
    of a market do where the local clock is half an hour off, counts in each by its share of time.

    Parameters
    ----------
    peak : the price.
    local_min : local start of each interval, minutes since 1970 [min].
    offset_min : local time less UTC there [min].
    step_min : length of an interval [min].

    Returns
    -------
    The clock intervals that are in the window.
    """
    length = peak.interval_min
    if not len(local_min):
        none = np.zeros(0, dtype=int)
        return Billed(peak, none, np.zeros(0), np.zeros(0), none, np.zeros(0))
    # the day is divided from its midnight on, also where length does not divide it
    into, day = local_min % 1440 // length, local_min // 1440
    new = (np.diff(into, prepend=-1) != 0) | (np.diff(day, prepend=-1) != 0)
    new |= np.diff(offset_min, prepend=offset_min[:1]) != 0
    begin = day * 1440 + into * length
    until = np.minimum(begin + length, (day + 1) * 1440)
    over = np.clip(local_min + step_min - until, 0, step_min)
    begins, end = begin[new], local_min[-1] + step_min
    if over[-1]:
        begins = np.append(begins, until[-1])
    hours = np.full(len(begins), length / 60)
    hours[-1] = min(length, end - begins[-1]) / 60  # as far as the problem goes
    before = np.zeros(len(begins))
    before[0] = peak.running_interval_kwh if local_min[0] > begins[0] else 0.0
    kept, block = peak.window.has(begins), np.cumsum(new) - 1
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)
    share = 1.0 - over / step_min
    return Billed(peak, numbers[block], hours[kept], before[kept], numbers[block + 1], share)


def measure_peaks(peaks: Sequence[Billed], step_hours: float, model: Model) -> None:
    """The peak to pay for is the excess of the highest mean import over the peak so far.

    Parameters
    ----------
    peaks : of the problem.
    step_hours : length of an interval [h].
    model : a model with the connection's powers.
    """
    for i, one in enumerate(peaks):
        (inside, blocks, shares), count = one.parts(), len(one.hours)
        name = f"peak_kw_{i}"
        model.add(name, cost=MONEY_SCALE * one.peak.price_eur_per_kw, count=1)
        share = step_hours * shares / one.hours[blocks]
        every, peak = np.arange(count), np.zeros(count, dtype=int)
        imports = ("grid_import_kw", share, blocks, inside)
        right = one.peak.so_far_kw - one.before_kwh / one.hours
        terms = (imports, (name, -1.0, every, peak))
        model.constrain(f"measure_peak_{i}", LE, right, *terms, count=count)
