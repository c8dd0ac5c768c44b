"""The problem that a schedule is computed from; `vpp.schedule.result` has what comes out.

Powers are means over an interval at the AC terminals [kW], prices EUR/MWh, money EUR and positive
where it is paid; `soc` is a fraction of the capacity at the END of an interval. Arrays over time
have one value an interval, arrays of batteries are (battery, interval). A field that states what
it is `about` is a field of the problem file, which `vpp.schedule.problem_file` reads and
describes.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from vpp.runtime.errors import FieldError, VppError, one_of
from vpp.runtime.fields import Section, check_zone
from vpp.schedule.checks import Violation
from vpp.schedule.clock import local_minutes, offsets_min
from vpp.schedule.deferrable import DeferrableLoad
from vpp.schedule.device import Device, Horizon
from vpp.schedule.devices import GridConnection, ScheduledBattery, stated
from vpp.schedule.heat import HeatStore
from vpp.schedule.inverters import Inverter, check_inverters
from vpp.schedule.peaks import Billed, Peak, billed
from vpp.schedule.position import FIELDS as POSITION
from vpp.schedule.position import Settlement, settlement_of
from vpp.schedule.previous import NO_PLAN_BEFORE, Previous, PreviousBattery
from vpp.schedule.result import Certificate, Result, Schedule
from vpp.schedule.scenarios import Scenario, check_scenarios
from vpp.schedule.series import by_interval, common_length, part_of
from vpp.schedule.stack import Stack, stack_of
from vpp.schedule.vehicles import Vehicle

__all__ = ["Certificate", "InfeasibleScheduleError", "Problem", "Result", "Schedule", "Violation"]

SERIES = (
    "import_price_eur_per_mwh",
    "export_price_eur_per_mwh",
    "load_kw",
    "renewables_kw",
    "co2_kg_per_mwh",
)


class InfeasibleScheduleError(VppError):
    """No schedule keeps to physics; says why."""


@dataclass(frozen=True, eq=False)
class Problem(Section):
    """Everything that a schedule depends on.

    Each field says in the code what it is. Load, renewables, prices and CO2 that are numbers, or
    not given, become arrays.
    """

    step_min: int = stated("length of an interval [min]", low=1, high=1440)
    load_kw: np.ndarray = stated(
        "consumption that has to be served; below 0 where it feeds in; default 0", None, series=True
    )
    import_price_eur_per_mwh: np.ndarray = stated(
        "paid for each imported MWh; default 0", None, series=True
    )
    export_price_eur_per_mwh: np.ndarray = stated(
        "earned with each exported MWh; default the import price", None, series=True
    )
    renewables_kw: np.ndarray = stated(
        "what solar and wind could deliver; default 0", None, low=0, series=True
    )
    co2_kg_per_mwh: np.ndarray = stated("of imports; default 0", None, series=True)
    batteries: tuple[ScheduledBattery, ...] = stated("the batteries behind the connection", ())
    grid: GridConnection = stated("the connection, its limits and its peaks", GridConnection())
    start: datetime = stated(
        "start of the first interval, ISO-8601 with its zone", datetime(1970, 1, 1, tzinfo=UTC)
    )
    time_zone: str = stated("IANA zone of local days and of the clock of peaks", "UTC")
    curtailable: bool = stated("whether renewables may deliver less", True)
    co2_price_eur_per_t: float = stated("price of the CO2 of imports", 0.0, low=0)
    time_limit_s: float = stated("for the solver", 60.0, above=0)
    gap: float = stated("relative gap at which a mixed-integer solve may stop", 1e-6, low=0, high=1)
    import_fee_eur_per_mwh: np.ndarray | float = stated(
        "paid for each imported MWh beside its price", 0.0, series=True
    )
    inverters: tuple[Inverter, ...] = stated(
        "hybrid inverters: plants and batteries behind one AC limit", ()
    )
    vehicles: tuple[Vehicle, ...] = stated("electric vehicles at their chargers", ())
    deferrable_loads: tuple[DeferrableLoad, ...] = stated("loads that may run later", ())
    heat_stores: tuple[HeatStore, ...] = stated("heat stores with heat pump and rod", ())
    previous: Previous = stated("the plan before", NO_PLAN_BEFORE)
    change_price_eur_per_mwh: float = stated(
        "paid for each MWh by which a battery's power departs from the plan before", 0.0, low=0
    )
    position_kw: np.ndarray | float | None = stated(
        "net purchase already made, below 0 where sold; default none: imports and exports settle",
        None,
        series=True,
    )
    position_price_eur_per_mwh: np.ndarray | float | None = stated(
        "of the position; default the import price where it is bought, else the export price",
        None,
        series=True,
    )
    deviation_short_eur_per_mwh: np.ndarray | float | None = stated(
        "paid for what is taken beyond the position; default the import price", None, series=True
    )
    deviation_long_eur_per_mwh: np.ndarray | float | None = stated(
        "earned with what is left of the position, at most deviation_short_eur_per_mwh; default"
        " the export price",
        None,
        series=True,
    )

    scenarios: tuple[Scenario, ...] = stated(
        "ways in which prices, load and renewables may come; default one, as stated", ()
    )
    common: str = stated(
        "what is the same in all scenarios: first (powers of the first interval), all (of all"
        " intervals) or position (which is chosen)",
        "first",
    )
    risk_weight: float = stated(
        "of the dearest scenarios' mean in the objective, beside the expectation",
        0.0,
        low=0,
        high=1,
    )
    risk_level: float = stated(
        "the dearest 1 - risk_level of probability are the dearest scenarios",
        0.9,
        low=0,
        high=0.9999,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_zone("time_zone", self.time_zone)
        self._fill_series()
        if self.peak_interval_min % self.step_min:
            expected = f"a multiple of step_min = {self.step_min}"
            raise FieldError("grid.peak_interval_min", self.peak_interval_min, expected)
        for i, peak in enumerate(self.grid.peaks):
            path = f"grid.peaks[{i}].interval_min"
            if 60 % peak.interval_min:
                raise FieldError(path, peak.interval_min, "a number of minutes that divides 60")
            if peak.interval_min % self.step_min:
                expected = f"a multiple of step_min = {self.step_min}"
                raise FieldError(path, peak.interval_min, expected)
        self._check_batteries()
        for kind, named in self._kinds():
            _check_names(kind, [device.name for device in named], type(named[0]).NAME)
        for _, path, device in self.devices:
            _inside(path, device.check, self.horizon)
        check_inverters(self.inverters, [battery.battery_id for battery in self.batteries])
        check_scenarios(self)
        if not self.scenarios:
            self.settlement  # noqa: B018  # refuses prices that do not fit together

    def _check_batteries(self) -> None:
        names = [battery.battery_id for battery in self.batteries]
        _check_names("batteries", names, "battery_id", "battery")
        for b, battery in enumerate(self.batteries):
            path, last = f"batteries[{b}]", self.intervals - 1
            for i, target in enumerate(battery.soc_targets):
                if target.interval > last:
                    key = f"{path}.soc_targets[{i}].interval"
                    raise FieldError(key, target.interval, f"0 to {last}")
        before = [battery.battery_id for battery in self.previous.batteries]
        _check_names("previous.batteries", before, "battery_id", "battery")
        known = set(names)
        for i, name in enumerate(before):
            if name not in known:
                key = f"previous.batteries[{i}].battery_id"
                raise FieldError(key, name, one_of(name, names).removeprefix("expected "))

    def _fill_series(self) -> None:
        """Put arrays in place of series that are numbers or not given; refuse another length."""
        count = common_length(self)
        for name in SERIES:
            values = getattr(self, name)
            if values is None and name.startswith("export"):
                # the same array: `exports_at_import_price` knows by it that none was given
                object.__setattr__(self, name, self.import_price_eur_per_mwh)
                continue
            if values is None:
                values = 0.0
            if not isinstance(values, np.ndarray) or values.dtype != float:
                values = np.broadcast_to(np.asarray(values, dtype=float), (count,))
            object.__setattr__(self, name, values)

    def _kinds(self) -> Iterator[tuple[str, tuple[Device, ...]]]:
        """Each field with devices beside batteries, and the devices."""
        for name, value in vars(self).items():
            if isinstance(value, tuple) and value and isinstance(value[0], Device):
                yield name, value

    @cached_property
    def devices(self) -> list[tuple[str, str, Device]]:
        """All devices beside batteries: key of their names in the model, path in the file, device.

        The key is the field's name and the number of the device, such as `vehicles_0`.
        """
        return [
            (f"{kind}_{i}", f"{kind}[{i}]", device)
            for kind, named in self._kinds()
            for i, device in enumerate(named)
        ]

    @property
    def exports_at_import_price(self) -> bool:
        """Whether no export price was given."""
        return self.export_price_eur_per_mwh is self.import_price_eur_per_mwh

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return len(self.load_kw)

    @property
    def hours(self) -> float:
        """Length of an interval [h]."""
        return self.step_min / 60

    @property
    def horizon(self) -> Horizon:
        """The intervals, as devices see them."""
        return Horizon(self.intervals, self.step_min)

    @property
    def peak_interval_min(self) -> int:
        """Length of the intervals of the peak price in short form [min]."""
        return self.grid.peak_interval_min or self.step_min

    @cached_property
    def import_cost_eur_per_mwh(self) -> np.ndarray:
        """Import price, fee, and the price of its CO2 [EUR/MWh], one an interval."""
        co2 = self.co2_kg_per_mwh / 1000 * self.co2_price_eur_per_t
        return self.import_price_eur_per_mwh + self.import_fee_eur_per_mwh + co2

    @cached_property
    def settlement(self) -> Settlement:
        """Prices at which energy settles, and the position, if there is one."""
        prices = (self.import_price_eur_per_mwh, self.export_price_eur_per_mwh)
        fee = self.import_cost_eur_per_mwh - self.import_price_eur_per_mwh
        given = {name: getattr(self, name) for name in POSITION}
        return settlement_of(self.hours, *prices, fee, given)

    @cached_property
    def import_limit_kw(self) -> np.ndarray:
        """Most import of each interval [kW]."""
        return by_interval(self.grid.import_limit_kw, self.intervals)

    @cached_property
    def export_limit_kw(self) -> np.ndarray:
        """Most export of each interval [kW]."""
        return by_interval(self.grid.export_limit_kw, self.intervals)

    @cached_property
    def local_min(self) -> np.ndarray:
        """Local start of each interval, minutes since 1970 of the clock on the wall [min]."""
        return local_minutes(self.start, self.step_min, self.intervals, self.time_zone)

    @cached_property
    def local_days(self) -> np.ndarray:
        """Number of the local day that each interval starts on, from 0."""
        days = self.local_min // 1440
        return days - days[:1]

    @cached_property
    def peaks(self) -> tuple[Billed, ...]:
        """The clock intervals of each peak price; the short form of one comes first."""
        grid = self.grid
        peaks = list(grid.peaks)
        if grid.peak_price_eur_per_kw:
            price, so_far = grid.peak_price_eur_per_kw, grid.peak_so_far_kw
            peaks.insert(0, Peak(price, self.peak_interval_min, so_far))
        return tuple(map(self.clock_intervals, peaks))

    def clock_intervals(self, peak: Peak) -> Billed:
        """The local clock intervals of a peak price.

        Parameters
        ----------
        peak : the price.

        Returns
        -------
        The intervals.
        """
        utc = int(self.start.timestamp()) // 60 + self.step_min * np.arange(self.intervals)
        offsets = offsets_min(utc, self.time_zone)
        return billed(peak, utc + offsets, offsets, self.step_min)

    def by_interval(self, battery: ScheduledBattery, name: str) -> np.ndarray:
        """A power or SOC bound of a battery as one number an interval.

        Parameters
        ----------
        battery : the battery.
        name : `charge_kw`, `discharge_kw`, `soc_min` or `soc_max`.

        Returns
        -------
        The numbers.
        """
        return by_interval(getattr(battery, name), self.intervals)

    def usable_kw(self, battery: ScheduledBattery) -> tuple[np.ndarray, np.ndarray]:
        """The most that a battery can charge and discharge in each interval.

        Parameters
        ----------
        battery : the battery.

        Returns
        -------
        Charging and discharging power [kW]: the rating, or the power that moves all its capacity.
        """
        most_kw = battery.capacity_kwh / self.hours
        charge_kw = np.minimum(self.by_interval(battery, "charge_kw"), most_kw / battery.eta_charge)
        discharge_kw = self.by_interval(battery, "discharge_kw")
        return charge_kw, np.minimum(discharge_kw, most_kw * battery.eta_discharge)

    def before_kw(self, battery: ScheduledBattery) -> np.ndarray:
        """The power that the plan before had for a battery.

        Parameters
        ----------
        battery : the battery.

        Returns
        -------
        Charging less discharging power [kW], one an interval; NaN where it said nothing.
        """
        plan = self._plans_before.get(battery.battery_id)
        if plan is None:
            return np.full(self.intervals, np.nan)
        both = plan.charge_kw - plan.discharge_kw
        return by_interval(both, self.intervals)

    @cached_property
    def _plans_before(self) -> dict[str, PreviousBattery]:
        return {plan.battery_id: plan for plan in self.previous.batteries}

    @cached_property
    def stack(self) -> Stack:
        """The batteries as arrays."""
        return stack_of(self.batteries, self.intervals, self.hours)

    def part(self, part: slice) -> "Problem":
        """The problem of some of its intervals.

        Parameters
        ----------
        part : the intervals; `start` stays as it is.

        Returns
        -------
        The problem with these parts of all lists.
        """
        return part_of(self, part)


def _check_names(kind: str, names: list[str], field_name: str, word: str = "") -> None:
    """Refuse two devices of one name."""
    known: set[str] = set()
    for i, name in enumerate(names):
        if name in known:
            expected = f"a name that no other {word or kind.rstrip('s').replace('_', ' ')} has"
            raise FieldError(f"{kind}[{i}].{field_name}", name, expected)
        known.add(name)


def _inside(path: str, check: Callable[[Horizon], None], horizon: Horizon) -> None:
    """Put the path of a device in front of the field that its check refuses."""
    try:
        check(horizon)
    except FieldError as error:
        raise FieldError(f"{path}.{error.key}", error.value, error.expected) from None
