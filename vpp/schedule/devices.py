"""Batteries behind a grid connection, and the connection, field by field as a problem file has it.

A field that states what it is `about` is a field of the file; reader and schema in
`vpp.schedule.problem_file` follow its type, default and bounds. A new field is written down here
once.

    python -m vpp.schedule.problem_file
"""

import math
from copy import copy
from dataclasses import MISSING, dataclass, field, replace
from typing import Any

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section
from vpp.runtime.settings import BatteryParameters
from vpp.schedule.curves import check_curve
from vpp.schedule.peaks import Peak
from vpp.schedule.stated import stated

__all__ = ["GridConnection", "ScheduledBattery", "SocTarget", "stated"]


def _of_battery(name: str, about: str, default: Any = MISSING, **more: Any) -> Any:
    """A field of `BatteryParameters` with its bounds, and the default that it has in a file."""
    bounds = BatteryParameters.__dataclass_fields__[name].metadata
    return field(default=default, metadata={"about": about, **bounds, **more})


@dataclass(frozen=True)
class SocTarget(Section):
    """The least SOC wanted at the end of an interval."""

    interval: int = stated("number of the interval, from 0", low=0)
    soc_min: float = stated("SOC at its end", low=0, high=1)


@dataclass(frozen=True)
class ScheduledBattery(BatteryParameters):
    """A battery and what is asked of it; its defaults are those of the problem file.

    Powers and SOC bounds are numbers, or arrays of one an interval: `Problem.by_interval` gives
    them as arrays, and `at` the battery of one interval.
    """

    battery_id: str = stated("a name of its own", least_length=1)
    capacity_kwh: float = _of_battery("capacity_kwh", "energy between SOC 0 and 1 [kWh]")
    charge_kw: float = _of_battery(
        "charge_kw", "largest charging power at the AC terminals [kW]", series=True
    )
    discharge_kw: float = _of_battery(
        "discharge_kw", "largest discharging power at the AC terminals [kW]", series=True
    )
    eta_charge: float = _of_battery("eta_charge", "stored over charged energy", 1.0)
    eta_discharge: float = _of_battery("eta_discharge", "delivered over taken energy", 1.0)
    soc_min: float = _of_battery(
        "soc_min", "lower bound of SOC at the end of an interval; bends", 0.0, series=True
    )
    soc_max: float = _of_battery(
        "soc_max", "upper bound of SOC at the end of an interval; bends", 1.0, series=True
    )
    soc_initial: float = _of_battery(
        "soc_initial", "SOC at the start, also outside the bounds; default the first soc_min", None
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
    cycles_so_far: float = stated("cycles already made on the first local day", 0.0, low=0)
    soc_final: float | None = stated("SOC wanted at the end, exactly", None, low=0, high=1)
    soc_final_min: float | None = stated("least SOC wanted at the end", None, low=0, high=1)
    terminal_value_eur_per_mwh: float | None = stated("value of each MWh stored at the end", None)
    soc_targets: tuple[SocTarget, ...] = stated(
        "least SOC wanted at the end of single intervals", ()
    )

    charge_min_kw: float = stated("charges at 0 or at least at this power", 0.0, low=0)
    charge_curve: tuple[tuple[float, ...], ...] = stated(
        "[soc, kW]: charging power by SOC at the start of the interval; linear between, concave", ()
    )
    discharge_curve: tuple[tuple[float, ...], ...] = stated("the same of discharging power", ())
    grid_charging: bool = stated(
        "false: such batteries together charge no more than the renewables that are used", True
    )
    grid_discharging: bool = stated(
        "false: such batteries together discharge no more than is consumed", True
    )
    wear_curve: tuple[tuple[float, ...], ...] = stated(
        "[depth, EUR/MWh]: bands of the capacity up to these depths, the last 1, and the wear of"
        " each MWh discharged from each, which rises with depth; beside wear_eur_per_mwh",
        (),
    )

    def __post_init__(self) -> None:
        if vars(self)["soc_initial"] is None:  # a number from here on
            object.__setattr__(self, "soc_initial", float(np.ravel(self.soc_min)[0]))
        super().__post_init__()
        check_curve("charge_curve", self.charge_curve)
        check_curve("discharge_curve", self.discharge_curve)
        self._check_wear_curve()

    def _check_wear_curve(self) -> None:
        if not self.wear_curve:
            return
        shown = str([list(point) for point in self.wear_curve])
        if any(len(point) != 2 for point in self.wear_curve):
            raise FieldError("wear_curve", shown, "a list of [depth, EUR/MWh]")
        depths, prices = zip(*self.wear_curve, strict=True)
        if min(np.diff(depths, prepend=0.0)) <= 0 or depths[-1] != 1:
            raise FieldError("wear_curve", shown, "depths that ascend to 1")
        if min(np.diff(prices, prepend=0.0)) < 0:
            raise FieldError("wear_curve", shown, "prices of 0 or more that rise with depth")

    @staticmethod
    def _check_soc_bounds(low: float, high: float, place: str = "") -> None:
        lows, highs = np.ravel(low), np.ravel(high)
        if len({1, len(lows), len(highs)}) > 2:
            return  # the problem says which list is too short
        wrong = np.flatnonzero(lows > highs)
        if len(wrong):
            t = int(wrong[0])
            place = f"[{t}]" if max(len(lows), len(highs)) > 1 else ""
            low_then, high_then = (float(x[t] if len(x) > 1 else x[0]) for x in (lows, highs))
            BatteryParameters._check_soc_bounds(low_then, high_then, place)

    def going_on(self, soc: float, cycles: float) -> "ScheduledBattery":
        """The battery later on, without looking at its other fields again.

        Parameters
        ----------
        soc : its state of charge, a fraction.
        cycles : those already made on the first local day.

        Returns
        -------
        The battery.
        """
        later = copy(self)
        vars(later).update(soc_initial=soc, cycles_so_far=cycles)
        return later

    def at(self, t: int) -> "ScheduledBattery":
        """The battery with the powers and SOC bounds of an interval.

        Parameters
        ----------
        t : number of the interval.

        Returns
        -------
        The battery, with numbers in place of arrays.
        """
        given = {name: vars(self)[name] for name in BY_INTERVAL}
        numbers: dict[str, Any] = {
            name: float(value[t]) for name, value in given.items() if isinstance(value, np.ndarray)
        }
        return replace(self, **numbers) if numbers else self


BY_INTERVAL = ("charge_kw", "discharge_kw", "soc_min", "soc_max")


@dataclass(frozen=True)
class GridConnection(Section):
    """Limits of the connection, and the price of its highest mean import of a billing period."""

    import_limit_kw: float = stated(
        "bends; none: unlimited", math.inf, low=0, series=True, null=math.inf
    )
    export_limit_kw: float = stated(
        "bends; none: unlimited", math.inf, low=0, series=True, null=math.inf
    )
    peak_price_eur_per_kw: float = stated(
        "on the highest mean import of an interval of the billing period", 0.0, low=0
    )
    peak_so_far_kw: float = stated("highest mean import of the billing period so far", 0.0, low=0)
    peak_interval_min: int | None = stated(
        "length of the intervals of the peak price, aligned to the local clock; a multiple of"
        " step_min; default step_min",
        None,
        low=1,
    )
    peaks: tuple[Peak, ...] = stated("prices of peaks, of which each may have its own window", ())
