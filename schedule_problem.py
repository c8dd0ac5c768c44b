"""What a schedule is computed from and what comes out: the problem and the schedule.

Powers are means over an interval at the AC terminals [kW], prices EUR/MWh, money EUR and positive
where it is paid; `soc` is a fraction of the capacity at the END of an interval. Arrays over time
have one value an interval, arrays of batteries are (battery, interval). A field that states what
it is `about` is a field of the problem file, which `schedule_problem_file` reads and describes.

    python optimization.py solve --input problem.json --output result.json
"""

import math
import zoneinfo
from dataclasses import MISSING, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np

from config import BatteryParameters, FieldError, Section, _check_zone

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


def _stated(about: str, default=MISSING, **bounds):
    """A field of the problem file: `about` it, its default, and its bounds.

    Bounds are `low`, `high` and `above` of a number, `least` of each value of a series, and
    `least_length` of a text or a list.
    """
    if bounds.keys() & {"low", "high", "above"}:
        bounds = {"low": -math.inf, "high": math.inf, "above": -math.inf} | bounds
    return field(default=default, metadata={"about": about} | bounds)


def _of_battery(name: str, about: str, default=MISSING):
    """A field of `BatteryParameters` with its bounds, and the default that it has in a file."""
    bounds = BatteryParameters.__dataclass_fields__[name].metadata
    return field(default=default, metadata={"about": about, **bounds})


@dataclass(frozen=True)
class SocTarget(Section):
    """The least SOC wanted at the end of an interval."""

    interval: int = _stated("number of the interval, from 0", low=0)
    soc_min: float = _stated("SOC at its end", low=0, high=1)


@dataclass(frozen=True)
class ScheduledBattery(BatteryParameters):
    """A battery and what is asked of it; its defaults are those of the problem file."""

    battery_id: str = _stated("a name of its own", least_length=1)
    capacity_kwh: float = _of_battery("capacity_kwh", "energy between SOC 0 and 1 [kWh]")
    charge_kw: float = _of_battery("charge_kw", "largest charging power at the AC terminals [kW]")
    discharge_kw: float = _of_battery(
        "discharge_kw", "largest discharging power at the AC terminals [kW]"
    )
    eta_charge: float = _of_battery("eta_charge", "stored over charged energy", 1.0)
    eta_discharge: float = _of_battery("eta_discharge", "delivered over taken energy", 1.0)
    soc_min: float = _of_battery("soc_min", "lower bound of SOC; bends at a penalty", 0.0)
    soc_max: float = _of_battery("soc_max", "upper bound of SOC; bends at a penalty", 1.0)
    soc_initial: float = _of_battery(
        "soc_initial", "SOC at the start, also outside the bounds; default soc_min", None
    )
    self_discharge_per_h: float = _of_battery(
        "self_discharge_per_h", "fraction of the stored energy lost in an hour", 0.0
    )
    wear_eur_per_mwh: float = _of_battery(
        "wear_eur_per_mwh", "cost of ageing for each MWh discharged", 0.0
    )
    cycles_per_day_max: float | None = _of_battery(
        "cycles_per_day_max", "capacity_kwh discharged so many times a local day at most", None
    )
    cycles_so_far: float = _stated("cycles already made on the first local day", 0.0, low=0)
    soc_final: float | None = _stated("SOC wanted at the end, exactly", None, low=0, high=1)
    soc_final_min: float | None = _stated("least SOC wanted at the end", None, low=0, high=1)
    terminal_value_eur_per_mwh: float | None = _stated("value of each MWh stored at the end", None)
    soc_targets: tuple[SocTarget, ...] = _stated(
        "least SOC wanted at the end of single intervals", ()
    )

    def __post_init__(self):
        if self.soc_initial is None:
            object.__setattr__(self, "soc_initial", self.soc_min)
        super().__post_init__()


@dataclass(frozen=True)
class GridConnection(Section):
    """Limits of the connection, and the price of its highest mean import of a billing period."""

    import_limit_kw: float = _stated("bends at a penalty; none: unlimited", math.inf, low=0)
    export_limit_kw: float = _stated("bends at a penalty; none: unlimited", math.inf, low=0)
    peak_price_eur_per_kw: float = _stated(
        "on the highest mean import of an interval of the billing period", 0.0, low=0
    )
    peak_so_far_kw: float = _stated("highest mean import of the billing period so far", 0.0, low=0)
    peak_interval_min: int | None = _stated(
        "length of the intervals of the peak price, aligned to the clock; a multiple of step_min;"
        " default step_min",
        None,
        low=1,
    )


@dataclass(frozen=True)
class Penalties:
    """Price of bending a limit in this problem, so that it pays only where it cannot be met."""

    target_eur_per_mwh: float
    bound_eur_per_mwh_h: float
    grid_eur_per_mwh: float


@dataclass(frozen=True, eq=False)
class Problem(Section):
    """Everything a schedule depends on. Arrays have one value an interval."""

    step_min: int = _stated("length of an interval [min]", low=1, high=1440)
    load_kw: np.ndarray = _stated(
        "consumption that has to be served; below 0 where it feeds in", least_length=1
    )
    import_price_eur_per_mwh: np.ndarray = _stated("paid for each imported MWh; default 0", None)
    export_price_eur_per_mwh: np.ndarray = _stated(
        "earned with each exported MWh; default the import price", None
    )
    renewables_kw: np.ndarray = _stated(
        "what solar and wind could deliver; default 0", None, least=0
    )
    co2_kg_per_mwh: np.ndarray = _stated("of imports; default 0", None)
    batteries: tuple[ScheduledBattery, ...] = _stated("the batteries behind the connection", ())
    grid: GridConnection = _stated("the connection, its limits and its peak", GridConnection())
    start: datetime = _stated(
        "start of the first interval, ISO-8601 with its zone", datetime(1970, 1, 1, tzinfo=UTC)
    )
    time_zone: str = _stated("IANA zone of the local days of cycles_per_day_max", "UTC")
    curtailable: bool = _stated("whether renewables may deliver less", True)
    co2_price_eur_per_t: float = _stated("price of the CO2 of imports", 0.0, low=0)
    time_limit_s: float = _stated("for the solver", 60.0, above=0)
    gap: float = _stated(
        "relative gap at which a mixed-integer solve may stop", 1e-6, low=0, high=1
    )
    penalties_as: Penalties | None = field(default=None, repr=False)

    def __post_init__(self):
        super().__post_init__()
        _check_zone("time_zone", self.time_zone)
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
        return len(self.load_kw)

    @property
    def hours(self) -> float:
        """Length of an interval [h]."""
        return self.step_min / 60

    @property
    def peak_interval_min(self) -> int:
        return self.grid.peak_interval_min or self.step_min

    @cached_property
    def import_cost_eur_per_mwh(self) -> np.ndarray:
        """Import price and the price of its CO2."""
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
        """Penalties that grow with every money coefficient, so that scaling all money scales the schedule's cost alone."""
        if self.penalties_as is not None:
            return self.penalties_as
        prices = np.abs(
            np.concatenate((self.import_cost_eur_per_mwh, self.export_price_eur_per_mwh))
        )
        value = float(prices.max(initial=0.0)) + 1000 * self.grid.peak_price_eur_per_kw / (
            self.peak_interval_min / 60
        )
        value += max(
            (b.wear_eur_per_mwh + abs(b.terminal_value_eur_per_mwh or 0) for b in self.batteries),
            default=0.0,
        )
        value /= min((b.eta_charge * b.eta_discharge for b in self.batteries), default=1.0)
        value = value or 1.0
        # a MWh exported over the limit takes up to 1 / eta out of a battery
        all_the_time = (
            2
            * self.intervals
            * self.hours
            / min((b.eta_discharge for b in self.batteries), default=1.0)
        )
        bound = max(
            2 * TARGET_PENALTY / self.hours,
            min(BOUND_PENALTY, GRID_PENALTY / max(all_the_time, 1.0)),
        )
        return Penalties(
            TARGET_PENALTY * value, bound * value, max(GRID_PENALTY, bound * all_the_time) * value
        )

    def usable_kw(self, battery: BatteryParameters) -> tuple[float, float]:
        """What a battery can charge and discharge at most in an interval [kW]: its rating, or all its capacity at once."""
        eta, most = battery.eta_discharge, battery.capacity_kwh / self.hours
        return min(battery.charge_kw, most / battery.eta_charge), min(
            battery.discharge_kw, most * eta
        )


@dataclass(frozen=True, eq=False)
class Schedule:
    """What the batteries and the plants do; the grid connection takes the rest. All powers >= 0."""

    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    curtailed_kw: np.ndarray
    grid_import_kw: np.ndarray
    grid_export_kw: np.ndarray
    soc: np.ndarray


@dataclass(frozen=True)
class Violation:
    """A limit that a schedule does not keep: which, in which interval, by how much."""

    field: str
    interval: int
    amount: float
    unit: str


@dataclass(frozen=True)
class Certificate:
    """How the schedule was found and how far it can be from the best: `lp-exact`, or `milp`, of gap 1 where nothing is proven."""

    kind: str
    binaries: int
    gap: float | None
    bound_eur: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Result:
    """A schedule, its money, and what can be said for it. Marginal values are NaN where time ran out before they were known.

    `battery_value_eur_per_mwh` is the value of a MWh more in each battery (battery, interval), `stored_value_eur_per_mwh` what the
    energy is worth in the battery that moves most.
    """

    status: str
    certificate: Certificate
    schedule: Schedule | None = None
    cost_eur: float | None = None
    objective_eur: float | None = None
    violations: tuple[Violation, ...] = ()
    stored_value_eur_per_mwh: np.ndarray | None = None
    battery_value_eur_per_mwh: np.ndarray | None = None
    bus_price_eur_per_mwh: np.ndarray | None = None
    reason: tuple[str, ...] = ()
    cause: str | None = None
