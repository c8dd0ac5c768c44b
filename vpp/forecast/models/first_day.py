"""A forecast from the first day: physics or a profile, which the days that come correct."""

import numpy as np
import pandas as pd

from vpp.forecast.features import weather_ensemble
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.quantiles import QUANTILES
from vpp.physics.expected import clear_power, expected_power
from vpp.site.kinds import POWER_KINDS
from vpp.site.times import DAY, calendar

# of each kind: days that the level of the physics counts, and that a course of its own counts
LEVEL_DAYS = {"solar": 2.0, "wind": 4.0, "load": 0.3}
COURSE_DAYS = {"solar": 12.0, "load": 2.0}
# standard deviation of the errors: of a solar plant per power of a clear sky, of a wind farm per
# capacity, of a load per power; without any measurement a load's level is unknown
ERROR = {"solar": 0.14, "wind": 0.17, "load": 0.08}
UNKNOWN_LEVEL = 0.35
ERROR_DAYS = {"solar": 3.0, "wind": 3.0, "load": 0.5}  # that these count beside what is measured
# measured errors are too small by what the course of two kinds of days took from them: as if their
# variance were that of so many days more
SPENT_DAYS = {"load": 4.0}
WIDENING = 0.15  # of the variance, for each day ahead
LEARNED_DAYS = 60.0  # after so many the learned model counts half
# of the capacity, in the mean: less than that says little of the level, a night or a calm nothing
LEAST_POWER = 0.01
MOST_DAYS = 60.0  # of history that it looks at


class FirstDay(ForecastModel):
    """Physics (PV by pvlib, wind by the turbine's curve) of the weather forecast, or the profile of
    a load; corrected by what is measured, and blended into `hourly_ridge` as days come.

    It needs no measurement, but a capacity, and a solar plant its place. Level and daily course
    move from the physics to the measured ones (shrinkage: James and Stein, 1961), and so does the
    width of the band, which grows with the days ahead. Prices have no physics.
    """

    name = "first_day"
    kinds = POWER_KINDS
    needs_history = False

    def _fit(self, known: Known) -> None:
        source = known.source
        if source.kind not in POWER_KINDS:
            raise ModelError(f"{self.name}: {source.source_id} is a price; it needs a history")
        if source.kind == "solar" and (source.latitude is None or source.longitude is None):
            raise ModelError(
                f"{self.name}: {source.source_id} has no place; set latitude and longitude in "
                "sources.csv"
            )
        targets = known.targets[known.targets.index >= known.issue_time - MOST_DAYS * DAY]
        self.days = len(targets) * known.step / DAY
        self.level, self.course, self.width = 1.0, np.zeros((2, 24)), 1.0
        if source.kind == "load" and not self.days:
            self.width = UNKNOWN_LEVEL / ERROR["load"]
        self.learned = None
        if targets.empty:
            return
        times, actual = pd.DatetimeIndex(targets.index), targets.to_numpy()
        expected = self._expected(known, times)
        counts = LEVEL_DAYS[source.kind] / max(self.days, 1e-9)
        least = len(expected) * (LEAST_POWER * float(source.capacity_kw or 0.0)) ** 2
        prior = counts * max((expected**2).sum(), least)
        self.level = float((actual @ expected + prior) / max((expected**2).sum() + prior, 1e-9))
        error = actual - self.level * expected
        if source.kind in COURSE_DAYS:
            self.course = self._course_of(known, times, error)
            error = error - self._shift(known, times)
        size = self._size(known, times, self.level * expected)
        counted = size > 0.02 * float(source.capacity_kw or 1.0)
        if counted.any():
            squares = float(np.mean((error[counted] / size[counted]) ** 2))
            squares *= self.days + SPENT_DAYS.get(source.kind, 0.0)
            usual = ERROR_DAYS[source.kind]
            self.width = float(np.sqrt((usual + squares) / (usual + self.days)))
        if self.days >= LEARNED_DAYS / 3:
            try:
                self.learned = HourlyRidge(self.horizon_h, self.seed).fit(known)
            except ModelError:  # gaps may leave it too little
                self.learned = None

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        from scipy.stats import norm

        expected = self.level * self._expected(known, times)
        value = expected + self._shift(known, times)
        ahead = np.asarray((times - known.issue_time) / DAY, float)
        size = self._size(known, times, expected) * self.width * np.sqrt(1 + WIDENING * ahead)
        result = np.column_stack([value, value[:, None] + size[:, None] * norm.ppf(QUANTILES)])
        if self.learned is None:
            return result
        share = self.days / (self.days + LEARNED_DAYS)
        return (1 - share) * result + share * self.learned._forecast(known, times)

    def _expected(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """Physics of the weather as it was forecast a day before, or at the issue time."""
        origins = pd.DatetimeIndex(
            np.minimum((times - DAY).as_unit("ns").asi8, known.issue_time.as_unit("ns").value),
            tz="UTC",
        )
        weather = None
        if known.weather_forecasts is not None:
            table, _ = weather_ensemble(known, origins, times)
            names = [name for name in table if not str(name).endswith("_mean")]
            weather = pd.DataFrame(
                {n: (table[n] + table.get(f"{n}_mean", table[n])) / 2 for n in names}
            )
        return expected_power(known.source, times, weather, known.holidays_country)

    def _size(self, known: Known, times: pd.DatetimeIndex, expected: np.ndarray) -> np.ndarray:
        """The usual error at each time [kW]."""
        source = known.source
        if source.kind == "solar":
            return ERROR["solar"] * np.maximum(clear_power(source, times), expected)
        if source.kind == "load":
            return ERROR["load"] * np.maximum(expected, 1e-6)
        share = np.clip(expected / float(source.capacity_kw or 1.0), 0.0, 1.0)
        # the curve is steep in its middle
        steep = 0.25 + 0.75 * np.sqrt(share * (1 - share)) * 2
        return ERROR["wind"] * steep * float(source.capacity_kw or 1.0)

    def _groups(self, known: Known, times: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """Free or working day, and local hour; plants know no working day."""
        days = calendar(times, known.zone, known.holidays_country)
        hour = np.floor(days["hour"].to_numpy()).astype(int)
        if known.source.kind != "load":
            return np.zeros(len(hour), int), hour
        return days["working_day"].to_numpy().astype(int), hour

    def _course_of(self, known: Known, times: pd.DatetimeIndex, error: np.ndarray) -> np.ndarray:
        """The mean error of each local hour, drawn to that of all days and to none."""
        kind, hour = self._groups(known, times)
        per_hour = pd.Timedelta(hours=1) / known.step
        course, most = np.zeros((2, 24)), COURSE_DAYS[known.source.kind]
        for h in range(24):
            at_hour = hour == h
            number = at_hour.sum() / per_hour
            mean = error[at_hour].sum() / per_hour / (number + most) if number else 0.0
            for k in range(2):
                rows = at_hour & (kind == k)
                n = rows.sum() / per_hour
                course[k, h] = (error[rows].sum() / per_hour + most * mean) / (n + most)
        return course

    def _shift(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """The part of the power that only measurements tell [kW]."""
        if not self.course.any():
            return np.zeros(len(times))
        return self.course[self._groups(known, times)]
