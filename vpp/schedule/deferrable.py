"""Loads that may run at another time: an energy within a window, or a profile that runs once.

An energy without a least power is a linear programme. With one, a binary for each interval of the
window says whether the load is on; a profile has a binary for each start. Pure: reads and writes
nothing.

    python optimization.py solve --input examples/home.json --output result.json
"""

import math
from dataclasses import dataclass

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.schedule.checks import Arrays, Checks, Read, rounding
from vpp.schedule.device import Device, Horizon
from vpp.schedule.draft import EQ, GE, INFINITE, LE, TARGETS, Model
from vpp.schedule.stated import stated

MOST_TERMS = 1_000_000  # of constraints that only save branching
WHOLE = 1e-9  # relative: a quotient that is so close to a whole number is meant to be one


@dataclass(frozen=True, eq=False)
class DeferrableLoad(Device):
    """A load that runs within a window, by its energy or by its profile."""

    NAME = "load_id"
    TAKES = ("power_kw",)

    load_id: str = stated("a name of its own", least_length=1)
    earliest: int = stated("first interval in which it may run", 0, low=0)
    latest: int | None = stated("interval before which it has ended; default the last", None, low=1)
    energy_kwh: float | None = stated("energy that it needs [kWh]", None, low=0)
    power_kw: float | None = stated("largest power while it is on [kW]", None, above=0)
    min_power_kw: float = stated("least power while it is on [kW]", 0.0, low=0)
    contiguous: bool = stated("whether it runs without a break; needs min_power_kw", False)
    profile_kw: tuple[float, ...] | None = stated(
        "its powers from the start on [kW], in place of energy_kwh and power_kw", None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile_kw is not None:
            self._check_profile()
        else:
            self._check_energy()
        if self.latest is not None and self.latest <= self.earliest:
            raise FieldError("latest", self.latest, f"more than earliest = {self.earliest}")

    def _check_profile(self) -> None:
        for name in ("energy_kwh", "power_kw"):
            if getattr(self, name) is not None:
                raise FieldError(name, getattr(self, name), "nothing beside profile_kw")
        if self.min_power_kw or self.contiguous:
            name = "min_power_kw" if self.min_power_kw else "contiguous"
            raise FieldError(name, getattr(self, name), "nothing beside profile_kw")
        if not self.profile_kw or not max(self.profile_kw) > 0:
            raise FieldError("profile_kw", self.profile_kw, "a power above 0")
        if min(self.profile_kw) < 0:
            raise FieldError("profile_kw", min(self.profile_kw), "powers of 0 or more")

    def _check_energy(self) -> None:
        for name in ("energy_kwh", "power_kw"):
            if getattr(self, name) is None:
                raise FieldError(name, "(missing)", "a value, or profile_kw")
        if self.min_power_kw > self.rating_kw:
            expected = f"at most power_kw = {self.rating_kw:g}"
            raise FieldError("min_power_kw", self.min_power_kw, expected)
        if self.contiguous and not self.min_power_kw:
            raise FieldError("min_power_kw", 0, "more than 0, as contiguous needs it")

    @property
    def rating_kw(self) -> float:
        """The largest power [kW]."""
        return max(self.profile_kw) if self.profile_kw else float(self.power_kw or 0.0)

    def wanted_kwh(self, hours: float) -> float:
        """The energy of a whole run [kWh], of intervals of this length [h]."""
        return hours * sum(self.profile_kw) if self.profile_kw else float(self.energy_kwh or 0.0)

    def check(self, horizon: Horizon) -> None:
        """Refuse a window outside the horizon, and an energy that no run makes."""
        last = horizon.intervals
        if self.latest is not None and self.latest > last:
            raise FieldError("latest", self.latest, f"at most {last}, the number of intervals")
        if self.earliest >= last:
            raise FieldError("earliest", self.earliest, f"0 to {last - 1}")
        fewest, most = self.runs(horizon.hours)
        if fewest > most:
            low, high = (horizon.hours * kw for kw in (self.min_power_kw, self.rating_kw))
            expected = (
                f"a whole number of intervals of {low:g} to {high:g} kWh each, by min_power_kw"
                " and power_kw"
            )
            raise FieldError("energy_kwh", self.energy_kwh, expected)

    def runs(self, hours: float) -> tuple[int, int]:
        """Fewest and most intervals that make its energy; of a profile both are its length."""
        if self.profile_kw:
            return (len(self.profile_kw),) * 2
        wanted = self.wanted_kwh(hours)
        fewest = math.ceil(wanted / (hours * self.rating_kw) * (1 - WHOLE))
        if not self.min_power_kw:
            return fewest, 10**9
        return fewest, math.floor(wanted / (hours * self.min_power_kw) * (1 + WHOLE))

    def window(self, intervals: int) -> range:
        """The intervals in which it may run."""
        return range(self.earliest, intervals if self.latest is None else self.latest)

    def most_kw(self, horizon: Horizon) -> tuple[float, float]:
        """The largest power; see `Device.most_kw`."""
        return self.rating_kw, 0.0

    def draft(self, model: Model, key: str) -> None:
        """Add the load to a model; see `Device.draft`."""
        inside = np.zeros(model.intervals)
        window = self.window(model.intervals)
        inside[window.start : window.stop] = 1.0
        power = f"power_kw_{key}"
        model.add(power, 0.0, self.rating_kw * inside, balance=-1.0, serves=True, power=True)
        high = INFINITE if model.soft else 0.0
        model.add(f"short_kwh_{key}", 0.0, high, count=1, bends=TARGETS, weight=1.0)
        wanted = self.wanted_kwh(model.hours)
        if self.profile_kw:
            self._start_once(model, key, window)
        else:
            every = np.zeros(len(window), dtype=int)
            terms = (power, model.hours, every, np.array(window)), (f"short_kwh_{key}", 1.0)
            model.constrain(f"energy_{key}", EQ, wanted, *terms, count=1)
            if self.min_power_kw and wanted:
                self._least_power(model, key, window)

    def _start_once(self, model: Model, key: str, window: range) -> None:
        """One of the starts, or none and all its energy is missing; powers follow."""
        profile = np.array(self.profile_kw)
        starts = np.array(range(window.start, window.stop - len(profile) + 1), dtype=int)
        wanted, count = self.wanted_kwh(model.hours), len(starts)
        terms: list[tuple] = [(f"short_kwh_{key}", 1.0 / wanted)]
        run: list[tuple] = [(f"power_kw_{key}", 1.0)]
        if count:
            model.add(f"starts_{key}", 0.0, 1.0, count=count, integral=count > 1 or model.soft)
            numbers = np.arange(count)
            terms.append((f"starts_{key}", 1.0, np.zeros(count, dtype=int), numbers))
            at = (starts[:, None] + np.arange(len(profile))).ravel()
            which = np.repeat(numbers, len(profile))
            run.append((f"starts_{key}", -np.tile(profile, count), at, which))
        model.constrain(f"once_{key}", EQ, 1.0, *terms, count=1)
        model.constrain(f"profile_{key}", EQ, 0.0, *run)

    def _least_power(self, model: Model, key: str, window: range) -> None:
        """A binary says in which intervals it is on, at the least power or more."""
        count, places = len(window), np.array(window)
        rows, on, power = np.arange(count), f"runs_{key}", f"power_kw_{key}"
        model.add(on, 0.0, 1.0, count=count, integral=True)
        for name, sense, kw in (
            ("most_power", LE, self.rating_kw),
            ("least_power", GE, self.min_power_kw),
        ):
            terms = (power, 1.0, rows, places), (on, -kw)
            model.constrain(f"{name}_{key}", sense, 0.0, *terms, count=count)
        fewest, most = self.runs(model.hours)
        every = np.zeros(count, dtype=int)
        total = (on, 1.0, every, rows)
        model.constrain(f"most_intervals_{key}", LE, most, total, count=1)
        if not model.soft:
            model.constrain(f"fewest_intervals_{key}", GE, fewest, total, count=1)
        if self.contiguous:
            self._in_one_run(model, key, count, 1 if model.soft else fewest, most)

    def _in_one_run(self, model: Model, key: str, count: int, fewest: int, most: int) -> None:
        """One start; on from it for the fewest intervals at least, and for the most at most.

        With the two bounds the fractions of a relaxed start say much about the run (Rajan and
        Takriti, IBM Research Report RC23628, 2005).
        """
        on, starts, rows = f"runs_{key}", f"starts_{key}", np.arange(count)
        model.add(starts, 0.0, 1.0, count=count)
        terms = [(on, 1.0, rows, rows), (on, -1.0, rows[1:], rows[:-1]), (starts, -1.0)]
        model.constrain(f"begins_{key}", LE, 0.0, *terms, count=count)
        once = (starts, 1.0, np.zeros(count, dtype=int), rows)
        model.constrain(f"one_run_{key}", LE, 1.0, once, count=1)
        for name, sense, length in (("shortest", LE, fewest), ("longest", GE, most)):
            span = min(length, count)
            if span * count > MOST_TERMS:
                continue  # it only helps the solver
            at = np.repeat(rows, span)
            which = at - np.tile(np.arange(span), count)
            kept = which >= 0
            recent = (starts, 1.0, at[kept], which[kept])
            model.constrain(f"{name}_run_{key}", sense, 0.0, recent, (on, -1.0), count=count)

    def read(self, read: Read, hours: float) -> Arrays:
        """The load's powers in a solution; see `Device.read`."""
        power = read("power_kw")
        if self.profile_kw:
            run = np.zeros(len(power))
            starts = read("starts")
            if len(starts) and starts.max() > 0.5:
                start = self.earliest + int(starts.argmax())
                run[start : start + len(self.profile_kw)] = self.profile_kw
            return {"power_kw": run}
        if self.min_power_kw:
            on = power >= self.min_power_kw / 2
            power = np.where(on, np.clip(power, self.min_power_kw, self.rating_kw), 0.0)
        return {"power_kw": power}

    def idle(self, horizon: Horizon) -> Arrays:
        """The load without a plan: it runs as early as it may."""
        power, window = np.zeros(horizon.intervals), self.window(horizon.intervals)
        if self.profile_kw:
            if len(self.profile_kw) <= len(window):
                power[window.start : window.start + len(self.profile_kw)] = self.profile_kw
            return {"power_kw": power}
        fewest, _ = self.runs(horizon.hours)
        left = self.wanted_kwh(horizon.hours) / horizon.hours
        for i, t in enumerate(window[:fewest]):
            later = self.min_power_kw * (fewest - i - 1)
            power[t] = min(self.rating_kw, left - later)
            left -= power[t]
        return {"power_kw": power}

    def replay(self, arrays: Arrays, checks: Checks, path: str) -> float:
        """Check the load's powers without a solver; see `Device.replay`."""
        power, kw = arrays["power_kw"], rounding(self.rating_kw)
        window, wanted = self.window(len(power)), self.wanted_kwh(checks.hours)
        inside = np.zeros(len(power), dtype=bool)
        inside[window.start : window.stop] = True
        most = np.where(inside, self.rating_kw, 0.0)
        checks.violate(f"{path}.power_kw below 0", -power, "kW", kw)
        checks.violate(f"{path}.power_kw", power - most, "kW", kw)
        used, kwh = checks.hours * float(power.sum()), rounding(wanted)
        if self.profile_kw:
            checks.violate(f"{path}.profile_kw", self._off_profile(power, window), "kW", kw)
        else:
            on = power > kw
            less = np.where(on, self.min_power_kw - power, 0.0)
            checks.violate(f"{path}.min_power_kw", less, "kW", kw)
            begins = on & ~np.append(False, on[:-1])
            if self.contiguous and begins.sum() > 1:
                second = np.cumsum(begins) > 1
                checks.violate(f"{path}.contiguous", np.where(begins & second, power, 0), "kW", kw)
            checks.violate(f"{path}.energy_kwh over", np.array([used - wanted]), "kWh", kwh)
        missing = np.array([wanted - used])
        checks.bend(TARGETS, f"{path}.energy_kwh", missing, "kWh", kwh, window.stop - 1)
        return 0.0

    def _off_profile(self, power: np.ndarray, window: range) -> np.ndarray:
        """How far powers are from no run, or from the nearest whole run in the window."""
        profile, nearest = np.array(self.profile_kw), np.abs(power)
        for start in range(window.start, window.stop - len(profile) + 1):
            run = np.zeros(len(power))
            run[start : start + len(profile)] = profile
            off = np.abs(power - run)
            nearest = off if off.max() < nearest.max() else nearest
        return nearest
