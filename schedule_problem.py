"""What a schedule is computed from and what comes out: the problem and the schedule, and their JSON files.

`read_problem` reads the problem file of `optimization.py solve`, described by `problem.schema.json`, into a `Problem`.
Powers are means over an interval at the AC terminals [kW], prices EUR/MWh, money EUR and positive where it is paid; `soc` is
a fraction of the capacity at the END of an interval. Arrays over time have one value an interval, arrays of batteries are
(battery, interval).

    python optimization.py solve --input problem.json --output result.json
"""

import dataclasses
import json
import math
import zoneinfo
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from config import BatteryParameters, ConfigError, FieldError, _check_zone, _number

SCHEMA_PATH = Path(__file__).resolve().parent / "problem.schema.json"
LARGEST = 1e15  # beyond this a number is a mistake, and no solver's tolerances mean anything
SERIES = (
    "import_price_eur_per_mwh",
    "export_price_eur_per_mwh",
    "load_kw",
    "renewables_kw",
    "co2_kg_per_mwh",
)

# A limit bends only where it cannot be met. What it then costs, as multiples of the largest value a MWh can have in the
# problem: more than any trade can earn, and in the order in which limits should give way: targets, SOC bounds, grid limits.
TARGET_PENALTY = 20.0  # for each MWh short of a target
BOUND_PENALTY = 300.0  # for each MWh outside the SOC bounds and each hour, at most; in one interval always two targets' worth
GRID_PENALTY = 10_000.0  # for each MWh over a grid limit, at least; always twice a MWh outside the bounds all the time


class ProblemError(ConfigError):
    """A problem that cannot be used; names the path of the field, its value and what is expected."""


@dataclass(frozen=True)
class ScheduledBattery(BatteryParameters):
    """A battery and what is asked of it: SOC at start and end, targets `(interval, soc_min)`, value of energy left [EUR/MWh stored]."""

    cycles_so_far: float = _number(0.0, 0)
    soc_final: float | None = _number(None, 0, 1)
    soc_final_min: float | None = _number(None, 0, 1)
    terminal_value_eur_per_mwh: float | None = None
    soc_targets: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class GridConnection:
    """Limits [kW] and the price of the highest mean import of a billing period [EUR/kW] above the peak so far [kW]."""

    import_limit_kw: float = math.inf
    export_limit_kw: float = math.inf
    peak_price_eur_per_kw: float = 0.0
    peak_so_far_kw: float = 0.0
    peak_interval_min: int | None = None


@dataclass(frozen=True)
class Penalties:
    """What bending a limit costs in this problem, so that it pays only where the limit cannot be met."""

    target_eur_per_mwh: float
    bound_eur_per_mwh_h: float
    grid_eur_per_mwh: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything a schedule depends on. Arrays have one value an interval."""

    step_min: int
    load_kw: np.ndarray
    import_price_eur_per_mwh: np.ndarray
    export_price_eur_per_mwh: np.ndarray
    renewables_kw: np.ndarray
    co2_kg_per_mwh: np.ndarray
    batteries: tuple[ScheduledBattery, ...] = ()
    grid: GridConnection = GridConnection()
    start: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    time_zone: str = "UTC"
    curtailable: bool = True
    co2_price_eur_per_t: float = 0.0
    time_limit_s: float = 60.0
    gap: float = 1e-6
    penalties_as: Penalties | None = field(default=None, repr=False)

    def __post_init__(self):
        _check_zone("time_zone", self.time_zone)
        for name in SERIES:
            if len(getattr(self, name)) != self.intervals:
                raise FieldError(
                    name,
                    f"{len(getattr(self, name))} values",
                    f"{self.intervals} values, as many as load_kw",
                )
        if self.peak_interval_min % self.step_min:
            raise FieldError(
                "grid.peak_interval_min",
                self.peak_interval_min,
                f"a multiple of step_min = {self.step_min}",
            )
        for b, battery in enumerate(self.batteries):
            if battery.battery_id in {other.battery_id for other in self.batteries[:b]}:
                raise FieldError(
                    f"batteries[{b}].battery_id",
                    battery.battery_id,
                    "a name that no other battery has",
                )
            for i, (interval, _) in enumerate(battery.soc_targets):
                if not 0 <= interval < self.intervals:
                    raise FieldError(
                        f"batteries[{b}].soc_targets[{i}].interval",
                        interval,
                        f"0 to {self.intervals - 1}",
                    )

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


def read_problem(path: Path | str) -> Problem:
    """Read a problem file.

    Raises
    ------
    ProblemError : it is missing, not JSON, or a field is not as `problem.schema.json` and the other fields demand; names the field.
    """
    try:
        raw = json.loads(
            Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repeats
        )
    except FileNotFoundError:
        raise ProblemError(
            f"{path}: no such file; expected a problem as described by {SCHEMA_PATH.name}"
        ) from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProblemError(f"{path}: not a JSON file: {error}") from None
    try:
        return parse_problem(raw)
    except FieldError as error:
        raise ProblemError(f"{path}: {error}") from None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"field {max(names, key=names.count)!r} is given twice")
    return dict(pairs)


def parse_problem(raw: object) -> Problem:
    """The problem that parsed JSON describes; raises FieldError with the path of the field and what is expected."""
    _check_schema(raw)
    values = {name: value for name, value in raw.items() if value is not None}
    intervals = len(values["load_kw"])
    series = {
        name: np.array(values[name], dtype=float) if name in values else np.zeros(intervals)
        for name in SERIES
    }
    if "export_price_eur_per_mwh" not in values:
        series["export_price_eur_per_mwh"] = series["import_price_eur_per_mwh"]
    values |= series
    values["step_min"] = int(values["step_min"])  # JSON takes 60.0 for an integer
    if "start" in values:
        values["start"] = _utc(values["start"])
    grid = {name: value for name, value in values.get("grid", {}).items() if value is not None}
    if "peak_interval_min" in grid:
        grid["peak_interval_min"] = int(grid["peak_interval_min"])
    values["grid"] = GridConnection(**grid)
    values["batteries"] = tuple(
        _battery(item, f"batteries[{i}]") for i, item in enumerate(values.get("batteries", ()))
    )
    return Problem(**values)


def _utc(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not 1900 <= time.year <= 2200:
        raise FieldError(
            "start",
            text,
            "an ISO-8601 time with its zone in the years 1900 to 2200, such as 2025-01-01T00:00:00Z",
        )
    return time.astimezone(UTC)


def _battery(raw: dict, path: str) -> ScheduledBattery:
    defaults = {"eta_charge": 1.0, "eta_discharge": 1.0, "soc_min": 0.0, "soc_max": 1.0}
    values = defaults | {name: value for name, value in raw.items() if value is not None}
    values.setdefault("soc_initial", values["soc_min"])
    values["soc_targets"] = tuple(
        (int(target["interval"]), target["soc_min"]) for target in values.get("soc_targets", ())
    )
    try:
        return ScheduledBattery(**values)
    except FieldError as error:
        raise FieldError(f"{path}.{error.key}", error.value, error.expected) from None


def _check_schema(raw: object) -> None:
    """Raise FieldError for the first thing in which parsed JSON is not as the schema says, or not a finite number."""
    import jsonschema

    base = jsonschema.Draft202012Validator

    def items(validator, schema, values, parent):
        # a year of quarter-hours is checked in one go instead of number by number
        plain = isinstance(values, list) and set(map(type, values)) <= {int, float}
        if not (
            plain
            and set(schema) <= {"type", "minimum"}
            and min(values, default=0) >= schema.get("minimum", -math.inf)
        ):
            yield from base.VALIDATORS["items"](validator, schema, values, parent)

    validator = jsonschema.validators.extend(base, {"items": items})(
        json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    )
    error = min(
        validator.iter_errors(raw),
        key=lambda error: (len(error.absolute_path), str(error.absolute_path)),
        default=None,
    )
    if error is not None:
        raise _as_field_error(error)
    _check_finite(raw, "")


def _check_finite(value: object, path: str) -> None:
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise FieldError(
            path,
            value if isinstance(value, float) else f"a number of {len(str(value))} digits",
            f"a finite number of at most {LARGEST:g} in size",
        )
    if isinstance(value, list):
        for i, item in enumerate(value):
            _check_finite(item, f"{path}[{i}]")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_finite(item, f"{path}.{name}" if path else name)


def _as_field_error(error) -> FieldError:
    """A jsonschema error as field, value and what is expected."""
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return FieldError(
            f"{path}.{missing}".lstrip("."), "(missing)", "a value; it has no default"
        )
    if error.validator == "additionalProperties":
        unknown = next(name for name in error.instance if name not in error.schema["properties"])
        return FieldError(
            f"{path}.{unknown}".lstrip("."),
            "(unknown field)",
            "one of " + ", ".join(error.schema["properties"]),
        )
    expected = {
        "minimum": "{} or more",
        "exclusiveMinimum": "more than {}",
        "maximum": "at most {}",
        "minItems": "at least {} value",
        "minLength": "at least {} character",
        "type": "{}",
    }[error.validator]
    wanted = error.validator_value
    if error.validator == "type":
        wanted = " or ".join(
            {"null": "nothing (null)"}.get(kind, f"{'an' if kind[0] in 'aio' else 'a'} {kind}")
            for kind in np.atleast_1d(wanted)
        )
    shown = json.dumps(error.instance)
    return FieldError(
        path or "the problem",
        shown if len(shown) <= 60 else shown[:57] + "...",
        expected.format(wanted),
    )


def result_json(problem: Problem, result: Result) -> dict:
    """The result file's content."""
    raw = {
        "status": result.status,
        "cost_eur": result.cost_eur,
        "objective_eur": result.objective_eur,
        "certificate": dataclasses.asdict(result.certificate),
        "violations": [dataclasses.asdict(violation) for violation in result.violations],
        "penalties": dataclasses.asdict(problem.penalties),
    }
    if result.schedule is None:
        return raw | {"cause": result.cause}
    schedule = result.schedule
    return raw | {
        "grid_import_kw": schedule.grid_import_kw.tolist(),
        "grid_export_kw": schedule.grid_export_kw.tolist(),
        "curtailed_kw": schedule.curtailed_kw.tolist(),
        "stored_value_eur_per_mwh": [
            None if math.isnan(value) else value
            for value in result.stored_value_eur_per_mwh.tolist()
        ],
        "reason": list(result.reason),
        "batteries": [
            {
                "battery_id": battery.battery_id,
                "charge_kw": c.tolist(),
                "discharge_kw": d.tolist(),
                "soc": s.tolist(),
            }
            for battery, c, d, s in zip(
                problem.batteries,
                schedule.charge_kw,
                schedule.discharge_kw,
                schedule.soc,
                strict=True,
            )
        ],
    }
