"""Batteries behind a grid connection, and the connection, field by field as a problem file has it.

A field that states what it is `about` is a field of the file; reader and schema in
`vpp.schedule.problem_file` follow its type, default and bounds. A new field is written down here
once.

    python -m vpp.schedule.problem_file
"""

import math
from dataclasses import MISSING, dataclass, field
from typing import Any

from vpp.runtime.fields import Section
from vpp.runtime.settings import BatteryParameters


def stated(about: str, default: Any = MISSING, **bounds: float) -> Any:
    """A field of the problem file.

    Parameters
    ----------
    about : its meaning, with the unit.
    default : its value where the file has none; without it the file must have one.
    bounds : `low`, `high` and `above` (more than) of a number, `least` of each value of a series,
        and `least_length` of a text or a list.

    Returns
    -------
    The field of a dataclass.
    """
    if bounds.keys() & {"low", "high", "above"}:
        bounds = {"low": -math.inf, "high": math.inf, "above": -math.inf} | bounds
    return field(default=default, metadata={"about": about} | bounds)


def _of_battery(name: str, about: str, default: Any = MISSING) -> Any:
    """A field of `BatteryParameters` with its bounds, and the default that it has in a file."""
    bounds = BatteryParameters.__dataclass_fields__[name].metadata
    return field(default=default, metadata={"about": about, **bounds})


@dataclass(frozen=True)
class SocTarget(Section):
    """The least SOC wanted at the end of an interval."""

    interval: int = stated("number of the interval, from 0", low=0)
    soc_min: float = stated("SOC at its end", low=0, high=1)


@dataclass(frozen=True)
class ScheduledBattery(BatteryParameters):
    """A battery and what is asked of it; its defaults are those of the problem file."""

    battery_id: str = stated("a name of its own", least_length=1)
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
    cycles_so_far: float = stated("cycles already made on the first local day", 0.0, low=0)
    soc_final: float | None = stated("SOC wanted at the end, exactly", None, low=0, high=1)
    soc_final_min: float | None = stated("least SOC wanted at the end", None, low=0, high=1)
    terminal_value_eur_per_mwh: float | None = stated("value of each MWh stored at the end", None)
    soc_targets: tuple[SocTarget, ...] = stated(
        "least SOC wanted at the end of single intervals", ()
    )

    def __post_init__(self) -> None:
        if vars(self)["soc_initial"] is None:  # a number from here on
            object.__setattr__(self, "soc_initial", self.soc_min)
        super().__post_init__()


@dataclass(frozen=True)
class GridConnection(Section):
    """Limits of the connection, and the price of its highest mean import of a billing period."""

    import_limit_kw: float = stated("bends at a penalty; none: unlimited", math.inf, low=0)
    export_limit_kw: float = stated("bends at a penalty; none: unlimited", math.inf, low=0)
    peak_price_eur_per_kw: float = stated(
        "on the highest mean import of an interval of the billing period", 0.0, low=0
    )
    peak_so_far_kw: float = stated("highest mean import of the billing period so far", 0.0, low=0)
    peak_interval_min: int | None = stated(
        "length of the intervals of the peak price, aligned to the clock; a multiple of step_min;"
        " default step_min",
        None,
        low=1,
    )
