"""The basis of a plan: all that its money depends on beside load, renewables and market prices.

It is stored with the run (`schedule_runs.basis`), so that a plan is valued, reported and compared
with the fees, limits, batteries and horizon it was made with, whatever config.ini says later.
Pure: reads and writes nothing.

    python optimization.py value --help

Powers are kW, prices EUR/MWh.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config, Grid, Optimization, Tariff
from vpp.schedule.device import Device
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.peaks import Peak, Window
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import read_object
from vpp.schedule.tariff import LocalTariff

# of the stored object, which migrations/0004_plan_basis.sql describes; 2 brought the tariff, 3 how
# batteries follow the plan, 4 several peaks
VERSION = 4
LIMITS = ("import_limit_kw", "export_limit_kw")  # may be infinite, which JSON has no number for


class BasisError(VppError):
    """A stored basis that this code cannot read; names the run."""


@dataclass(frozen=True)
class PlanBasis:
    """All that a plan's money depends on beside load, renewables and market prices.

    Parameters
    ----------
    step_min : length of an interval [min].
    time_zone : the zone whose days the cycles of a battery are counted by.
    grid : limits [kW], fees [EUR/MWh] and the price of the peak [EUR/kW].
    optimization : horizon [h], solver, and CO2 with its price.
    batteries : as they are at the start of the first interval.
    peak_so_far_kw : highest mean import of the month before the start [kW].
    terminal_price_eur_per_mwh : worth of energy left at the end, at the bus; None before it is set.
    source_ids : the plants, loads and market of the site.
    tariff : what a MWh costs and earns.
    holidays_country : ISO code of the country whose public holidays the tariff counts.
    peaks : prices of peaks of the tariff, as they are at the start.
    devices : flexible loads by the field of a problem, such as `vehicles`, as they are at the start
        and over the plan's intervals.
    follow : whether batteries follow the meter beside the plan.
    """

    step_min: int
    time_zone: str
    grid: Grid
    optimization: Optimization
    batteries: tuple[ScheduledBattery, ...] = ()
    peak_so_far_kw: float = 0.0
    terminal_price_eur_per_mwh: float | None = None
    source_ids: tuple[str, ...] = ()
    tariff: Tariff = field(default_factory=Tariff)
    holidays_country: str = ""
    devices: Mapping[str, tuple[Device, ...]] = field(default_factory=dict)
    follow: bool = False
    peaks: tuple[Peak, ...] = ()

    @property
    def local_tariff(self) -> LocalTariff:
        """The tariff at its place, with the fees of the grid."""
        return LocalTariff(self.tariff, self.grid, self.time_zone, self.holidays_country)


def basis_of(
    config: Config, step_min: int, batteries: Sequence[ScheduledBattery] = ()
) -> PlanBasis:
    """The basis of a plan that is made with a configuration now.

    Parameters
    ----------
    config : the site, its grid and its tariff.
    step_min : length of an interval [min].
    batteries : the batteries as they are at the start.

    Returns
    -------
    The basis, without a peak so far, a terminal price and sources.

    Raises
    ------
    ConfigError : the peak interval is no multiple of the step [min].
    """
    interval = max(config.grid.peak_interval_min, step_min)
    if interval % step_min:
        raise ConfigError(
            f"{config.path}: [grid] peak_interval_min = {config.grid.peak_interval_min}:"
            f" expected a multiple of the plan's step, {step_min} min"
        )
    grid = dataclasses.replace(config.grid, peak_interval_min=interval)
    for rule in config.tariff.peaks:
        if max(rule.interval_min, step_min) % step_min:
            raise ConfigError(
                f"{config.path}: [tariff] peaks_eur_per_kw = {config.tariff.peaks_eur_per_kw}:"
                f" expected intervals of a multiple of the plan's step, {step_min} min"
            )
    return PlanBasis(
        step_min,
        config.site.time_zone,
        grid,
        config.optimization,
        tuple(batteries),
        tariff=config.tariff,
        holidays_country=config.site.holidays_country,
        follow=config.follow,
        peaks=peaks_of(config.tariff, step_min),
    )


def peaks_of(tariff: Tariff, step_min: int) -> tuple[Peak, ...]:
    """The peaks of a tariff at the start of a month.

    Parameters
    ----------
    tariff : states them.
    step_min : of a plan; no interval of a peak is shorter [min].
    """
    return tuple(
        Peak(
            rule.price_eur_per_kw,
            max(rule.interval_min, step_min),
            window=Window(rule.months, rule.weekdays, rule.hours),
        )
        for rule in tariff.peaks
    )


def basis_json(basis: PlanBasis) -> dict:
    """The object that is stored for a basis."""
    raw = {"version": VERSION} | _plain(dataclasses.asdict(basis))
    for name in LIMITS:
        if math.isinf(raw["grid"][name]):
            raw["grid"][name] = None
    return raw


def _plain(value: Any) -> Any:
    """Dicts, lists and numbers in place of tuples and arrays."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def read_basis(run: Mapping[str, Any]) -> PlanBasis | None:
    """The basis of a stored run.

    Parameters
    ----------
    run : its row of `schedule_runs`.

    Returns
    -------
    The basis; None for a run of a version that stored none.

    Raises
    ------
    BasisError : it is of a newer version.
    """
    raw = run.get("basis")
    if raw is None:
        return None
    if raw["version"] > VERSION:
        raise BasisError(
            f"run {run['run_id']}: its basis has version {raw['version']}, this code knows"
            f" {VERSION}; update the code"
        )
    values = {name: value for name, value in raw.items() if name != "version"}
    limits = {name: math.inf for name in LIMITS if values["grid"][name] is None}
    values["grid"] = Grid(**values["grid"] | limits)
    values["optimization"] = Optimization(**values["optimization"])
    values["tariff"] = Tariff(**values.get("tariff", {}))
    values["batteries"] = tuple(read_object(ScheduledBattery, raw) for raw in values["batteries"])
    values["source_ids"] = tuple(values["source_ids"])
    values["peaks"] = tuple(read_object(Peak, item) for item in values.get("peaks", ()))
    kinds = typing.get_type_hints(Problem)
    values["devices"] = {
        kind: tuple(read_object(typing.get_args(kinds[kind])[0], item) for item in items)
        for kind, items in values.get("devices", {}).items()
    }
    return PlanBasis(**values)
