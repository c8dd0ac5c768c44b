"""The problem that a schedule is computed from, and the schedule that comes out.

Powers are means over an interval at the AC terminals [kW], prices EUR/MWh, money EUR and positive
where it is paid; `soc` is a fraction of the capacity at the END of an interval. Arrays over time
have one value an interval, arrays of batteries are (battery, interval). A field that states what
it is `about` is a field of the problem file, which `vpp.schedule.problem_file` reads and
describes.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import zoneinfo
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np

from vpp.runtime.errors import FieldError, VppError
from vpp.runtime.fields import Section, check_zone
from vpp.runtime.settings import BatteryParameters
from vpp.schedule.devices import GridConnection, ScheduledBattery, stated

SERIES = (
    "import_price_eur_per_mwh",
    "export_price_eur_per_mwh",
    "load_kw",
    "renewables_kw",
    "co2_kg_per_mwh",
)

# A limit bends only where it cannot be met. Its penalty is a multiple of the largest value that a
# MWh can have in the problem: more than any trade can earn, and in the order in which limits give
# way: targets, SOC bounds, grid limits.
TARGET_PENALTY = 20.0  # for each MWh short of a target
# For each MWh outside the SOC bounds and each hour, at most; in one interval always two targets'
# worth.
BOUND_PENALTY = 300.0
# For each MWh over a grid limit, at least; always twice a MWh outside the bounds all the time.
GRID_PENALTY = 10_000.0


class InfeasibleScheduleError(VppError):
    """No schedule keeps to physics; says why."""


@dataclass(frozen=True)
class Penalties:
    """Prices of bending limits in this problem; bending pays only where a limit cannot be met.

    Parameters
    ----------
    target_eur_per_mwh : for a MWh short of a target.
    bound_eur_per_mwh_h : for a MWh outside the SOC bounds for an hour.
    grid_eur_per_mwh : for a MWh over a grid limit.
    """

    target_eur_per_mwh: float
    bound_eur_per_mwh_h: float
    grid_eur_per_mwh: float


@dataclass(frozen=True, eq=False)
class Problem(Section):
    """Everything that a schedule depends on.

    Each field says in the code what it is; `penalties_as` puts the penalties of another problem in
    place of its own. Series that are not given are filled in.
    """

    step_min: int = stated("length of an interval [min]", low=1, high=1440)
    load_kw: np.ndarray = stated(
        "consumption that has to be served; below 0 where it feeds in", least_length=1
    )
    import_price_eur_per_mwh: np.ndarray = stated("paid for each imported MWh; default 0", None)
    export_price_eur_per_mwh: np.ndarray = stated(
        "earned with each exported MWh; default the import price", None
    )
    renewables_kw: np.ndarray = stated(
        "what solar and wind could deliver; default 0", None, least=0
    )
    co2_kg_per_mwh: np.ndarray = stated("of imports; default 0", None)
    batteries: tuple[ScheduledBattery, ...] = stated("the batteries behind the connection", ())
    grid: GridConnection = stated("the connection, its limits and its peak", GridConnection())
    start: datetime = stated(
        "start of the first interval, ISO-8601 with its zone", datetime(1970, 1, 1, tzinfo=UTC)
    )
    time_zone: str = stated("IANA zone of the local days of cycles_per_day_max", "UTC")
    curtailable: bool = stated("whether renewables may deliver less", True)
    co2_price_eur_per_t: float = stated("price of the CO2 of imports", 0.0, low=0)
    time_limit_s: float = stated("for the solver", 60.0, above=0)
    gap: float = stated("relative gap at which a mixed-integer solve may stop", 1e-6, low=0, high=1)
    penalties_as: Penalties | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_zone("time_zone", self.time_zone)
        self._fill_series()
        if self.peak_interval_min % self.step_min:
            expected = f"a multiple of step_min = {self.step_min}"
            raise FieldError("grid.peak_interval_min", self.peak_interval_min, expected)
        names = [battery.battery_id for battery in self.batteries]
        for b, battery in enumerate(self.batteries):
            path, last = f"batteries[{b}]", self.intervals - 1
            if battery.battery_id in names[:b]:
                expected = "a name that no other battery has"
                raise FieldError(f"{path}.battery_id", battery.battery_id, expected)
            for i, target in enumerate(battery.soc_targets):
                if target.interval > last:
                    key = f"{path}.soc_targets[{i}].interval"
                    raise FieldError(key, target.interval, f"0 to {last}")

    def _fill_series(self) -> None:
        """Put defaults in place of series that were not given; refuse one of another length."""
        for name in SERIES:
            values = getattr(self, name)
            if values is None and name == "export_price_eur_per_mwh":
                values = self.import_price_eur_per_mwh
            elif values is None:
                values = np.zeros(self.intervals)
            if len(values) != self.intervals:
                expected = f"{self.intervals} values, as many as load_kw"
                raise FieldError(name, f"{len(values)} values", expected)
            object.__setattr__(self, name, np.asarray(values, dtype=float))

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return len(self.load_kw)

    @property
    def hours(self) -> float:
        """Length of an interval [h]."""
        return self.step_min / 60

    @property
    def peak_interval_min(self) -> int:
        """Length of the intervals of the peak price [min]."""
        return self.grid.peak_interval_min or self.step_min

    @cached_property
    def import_cost_eur_per_mwh(self) -> np.ndarray:
        """Import price and the price of its CO2 [EUR/MWh], one an interval."""
        return self.import_price_eur_per_mwh + self.co2_kg_per_mwh / 1000 * self.co2_price_eur_per_t

    @cached_property
    def peak_blocks(self) -> np.ndarray:
        """Number of the clock-aligned peak interval that each interval lies in, from 0."""
        first = int(self.start.timestamp()) // 60
        blocks = (first + self.step_min * np.arange(self.intervals)) // self.peak_interval_min
        return blocks - blocks[0] if self.intervals else blocks

    @cached_property
    def local_days(self) -> np.ndarray:
        """Number of the local day that each interval starts on, from 0."""
        if self.time_zone == "UTC":
            first = int(self.start.timestamp()) // 60
            days = (first + self.step_min * np.arange(self.intervals)) // 1440
        else:
            zone = zoneinfo.ZoneInfo(self.time_zone)
            step, start = timedelta(minutes=self.step_min), self.start.astimezone(UTC)
            days = np.array(
                [(start + k * step).astimezone(zone).toordinal() for k in range(self.intervals)],
                dtype=int,
            )
        return days - days[0] if self.intervals else days

    @cached_property
    def penalties(self) -> Penalties:
        """Penalties of this problem.

        They grow with every money coefficient, so that scaling all money scales the cost alone.
        """
        if self.penalties_as is not None:
            return self.penalties_as
        batteries, value = self.batteries, self._largest_value_eur_per_mwh
        # a MWh exported over the limit takes up to 1 / eta out of a battery
        least_eta = min((b.eta_discharge for b in batteries), default=1.0)
        all_the_time = 2 * self.intervals * self.hours / least_eta
        bound = min(BOUND_PENALTY, GRID_PENALTY / max(all_the_time, 1.0))
        bound = max(2 * TARGET_PENALTY / self.hours, bound)
        grid = max(GRID_PENALTY, bound * all_the_time)
        return Penalties(TARGET_PENALTY * value, bound * value, grid * value)

    @property
    def _largest_value_eur_per_mwh(self) -> float:
        """The most that a MWh can be worth; 1 where nothing has a price."""
        batteries, peak_h = self.batteries, self.peak_interval_min / 60
        imports, exports = self.import_cost_eur_per_mwh, self.export_price_eur_per_mwh
        value = float(np.abs(np.concatenate((imports, exports))).max(initial=0.0))
        value += 1000 * self.grid.peak_price_eur_per_kw / peak_h
        of_batteries = (
            b.wear_eur_per_mwh + abs(b.terminal_value_eur_per_mwh or 0) for b in batteries
        )
        value += max(of_batteries, default=0.0)
        value /= min((b.eta_charge * b.eta_discharge for b in batteries), default=1.0)
        return value or 1.0

    def usable_kw(self, battery: BatteryParameters) -> tuple[float, float]:
        """The most that a battery can charge and discharge in an interval.

        Parameters
        ----------
        battery : the battery.

        Returns
        -------
        Charging and discharging power [kW]: the rating, or the power that moves all its capacity.
        """
        most_kw = battery.capacity_kwh / self.hours
        charge_kw = min(battery.charge_kw, most_kw / battery.eta_charge)
        return charge_kw, min(battery.discharge_kw, most_kw * battery.eta_discharge)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Powers of batteries, plants and grid connection, all >= 0, and the SOC.

    Parameters
    ----------
    charge_kw, discharge_kw : powers of the batteries [kW] (battery, interval).
    curtailed_kw : renewables that are not used [kW], one an interval.
    grid_import_kw, grid_export_kw : powers of the connection [kW], one an interval.
    soc : state of charge at the end of each interval (battery, interval).
    """

    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    curtailed_kw: np.ndarray
    grid_import_kw: np.ndarray
    grid_export_kw: np.ndarray
    soc: np.ndarray


@dataclass(frozen=True)
class Violation:
    """A limit that a schedule does not keep.

    Parameters
    ----------
    field : path of the limit in the problem file.
    interval : number of the interval, from 0.
    amount, unit : by how much.
    """

    field: str
    interval: int
    amount: float
    unit: str


@dataclass(frozen=True)
class Certificate:
    """How the schedule was found, and how far it can be from the best.

    Parameters
    ----------
    kind : `lp-exact` for a linear programme, or `milp`.
    binaries : number of binary variables of the last model.
    gap : distance of objective and bound as a fraction; 1 where nothing is proven.
    bound_eur : cost that no schedule can fall below [EUR].
    seconds : time of the search [s].
    """

    kind: str
    binaries: int
    gap: float | None
    bound_eur: float | None
    seconds: float


def _nothing() -> np.ndarray:
    """No values: of a result without a schedule."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class Result:
    """A schedule, its money and its reasons.

    Parameters
    ----------
    status : `optimal`, `feasible` (time ran out) or `infeasible`.
    certificate : how far the schedule can be from the best.
    schedule : the schedule, if there is one.
    cost_eur : energy, peak and CO2 [EUR].
    objective_eur : cost with wear, less the value of the energy left [EUR].
    violations : limits that bent.
    stored_value_eur_per_mwh : worth of a MWh in the battery that moves most, one an interval.
    battery_value_eur_per_mwh : value of a MWh more in each battery (battery, interval).
    bus_price_eur_per_mwh : value of a MWh more at the bus, one an interval. These three are NaN
        where time ran out before they were known.
    reason : a sentence for each interval.
    cause : why there is no schedule.
    """

    status: str
    certificate: Certificate
    schedule: Schedule | None = None
    cost_eur: float | None = None
    objective_eur: float | None = None
    violations: tuple[Violation, ...] = ()
    stored_value_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    battery_value_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    bus_price_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    reason: tuple[str, ...] = ()
    cause: str | None = None

    @property
    def found(self) -> Schedule:
        """The schedule of a result that has one.

        Raises
        ------
        ValueError : there is none; says the cause.
        """
        if self.schedule is None:
            raise ValueError(f"{self.status}: {self.cause}")
        return self.schedule
