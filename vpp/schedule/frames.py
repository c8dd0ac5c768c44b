"""Problems from a DataFrame and schedules as DataFrames, without database and configuration file.

A frame has the columns of `COLUMNS` and the start of each interval, with its zone, as index.
`plot_schedule` writes a picture; all else reads and writes nothing.

    python examples/plan_from_dataframe.py

Powers are means over an interval [kW], prices EUR/MWh, times UTC; SOC is at the END of an interval.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Grid, Optimization
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.problem import Problem, Result
from vpp.schedule.site import site_problem, with_terminal_price

COLUMNS = ("load_kw", "renewables_kw", "price_eur_per_mwh")
BATTERY_COLUMNS = ("battery_id", "soc", "energy_kwh", "charge_kw", "discharge_kw")
FREE = Grid(math.inf, math.inf, import_fee_eur_per_mwh=0.0)  # a connection without limits and fees


class FrameError(VppError):
    """A frame that no problem can be made of; names the place and what is expected."""


def problem_from_frame(
    frame: pd.DataFrame,
    batteries: Sequence[ScheduledBattery],
    grid: Grid = FREE,
    optimization: Optimization | None = None,
    time_zone: str = "UTC",
) -> Problem:
    """The scheduling problem of a site.

    Parameters
    ----------
    frame : columns `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh` [EUR/MWh], without fees;
        the index has the start of each interval, in steps of whole minutes without gaps.
    batteries : the batteries as they are at the start.
    grid : limits [kW], fees [EUR/MWh] and peak price [EUR/kW]; default no limits and no fees.
    optimization : time limit, gap and CO2; default those of a new configuration.
    time_zone : IANA name of the zone of the local days that count a battery's cycles.

    Returns
    -------
    The problem. Energy left at its end is worth the median value of a MWh at the bus.

    Raises
    ------
    FrameError : the frame lacks a column or a value, or its times have no zone or gaps.
    """
    start, step_min = _steps(frame.index)
    checked = pd.DataFrame({name: _column(frame, name) for name in COLUMNS}, index=frame.index)
    grid = replace(grid, peak_interval_min=max(grid.peak_interval_min, step_min))
    basis = PlanBasis(step_min, time_zone, grid, optimization or Optimization(), tuple(batteries))
    return site_problem(with_terminal_price(basis, checked), start, checked)


def _steps(index: pd.Index) -> tuple[pd.Timestamp, int]:
    """Start [UTC] and step [min] of the intervals."""
    if not isinstance(index, pd.DatetimeIndex):
        raise FrameError(f"index: {index.dtype}; expected the start of each interval as its time")
    if index.tz is None:
        raise FrameError(
            "index: times without a zone; expected UTC, such as frame.tz_localize('UTC') makes"
        )
    if len(index) < 2:
        raise FrameError(f"index: {len(index)} times; expected at least 2, which give the step")
    apart = np.diff(index.tz_convert("UTC").tz_localize(None).to_numpy()) / np.timedelta64(1, "m")
    step_min = float(np.median(apart))
    if step_min % 1 or not 1 <= step_min <= 1440:
        raise FrameError(f"index: steps of {step_min:g} min; expected whole minutes from 1 to 1440")
    wrong = np.flatnonzero(apart != step_min)
    if len(wrong):
        first = int(wrong[0])
        raise FrameError(
            f"index: {shown(index[first])} is followed by {shown(index[first + 1])}; expected"
            f" steps of {step_min:g} min without gaps"
        )
    return index[0].tz_convert("UTC"), int(step_min)


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """The values of a column, which must all be finite numbers."""
    if name not in frame:
        has = ", ".join(map(str, frame.columns)) or "no column"
        raise FrameError(f"{name}: missing; expected {', '.join(COLUMNS)}; the frame has {has}")
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(float)
    least = 0.0 if name == "renewables_kw" else -math.inf
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= least)))
    if len(wrong):
        first = int(wrong[0])
        expected = "a number" if least < 0 else "a number of 0 or more; what plants draw is load_kw"
        value = frame[name].iloc[first]
        raise FrameError(f"{name}: {value!s} at {shown(frame.index[first])}; expected {expected}")
    return values


def problem_index(problem: Problem) -> pd.DatetimeIndex:
    """The start of each interval of a problem [UTC]."""
    step = f"{problem.step_min}min"
    return pd.date_range(problem.start, periods=problem.intervals, freq=step, name="time")


def schedule_frame(problem: Problem, result: Result) -> pd.DataFrame:
    """A schedule, one row an interval.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.

    Returns
    -------
    Powers of the connection, the site and all batteries together [kW], prices, the worth of stored
    energy and of a MWh at the bus [EUR/MWh], the SOC of all batteries together and the reason, by
    the start of the intervals [UTC].

    Raises
    ------
    ValueError : the result has no schedule.
    """
    schedule = result.found
    capacity_kwh = np.array([battery.capacity_kwh for battery in problem.batteries])
    full_kwh = capacity_kwh.sum() or math.nan  # without a battery there is no SOC
    return pd.DataFrame(
        {
            "grid_import_kw": schedule.grid_import_kw,
            "grid_export_kw": schedule.grid_export_kw,
            "load_kw": problem.load_kw,
            "renewables_kw": problem.renewables_kw,
            "curtailed_kw": schedule.curtailed_kw,
            "charge_kw": schedule.charge_kw.sum(axis=0),
            "discharge_kw": schedule.discharge_kw.sum(axis=0),
            "soc": capacity_kwh @ schedule.soc / full_kwh,
            "import_price_eur_per_mwh": problem.import_price_eur_per_mwh,
            "export_price_eur_per_mwh": problem.export_price_eur_per_mwh,
            "stored_value_eur_per_mwh": result.stored_value_eur_per_mwh,
            "bus_price_eur_per_mwh": result.bus_price_eur_per_mwh,
            "reason": result.reason,
        },
        index=problem_index(problem),
    )


def battery_frame(problem: Problem, result: Result) -> pd.DataFrame:
    """The schedule of each battery, one row an interval of each.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.

    Returns
    -------
    Columns `battery_id`, `soc`, `energy_kwh` [kWh], `charge_kw` and `discharge_kw` [kW], by the
    start of the intervals [UTC].

    Raises
    ------
    ValueError : the result has no schedule.
    """
    schedule, index = result.found, problem_index(problem)
    names = np.array([battery.battery_id for battery in problem.batteries], dtype=object)
    capacity_kwh = np.array([[battery.capacity_kwh] for battery in problem.batteries])
    energy_kwh = schedule.soc * capacity_kwh.reshape(-1, 1)
    values = (schedule.soc, energy_kwh, schedule.charge_kw, schedule.discharge_kw)
    columns = (np.repeat(names, problem.intervals), *(value.ravel() for value in values))
    frame = pd.DataFrame(dict(zip(BATTERY_COLUMNS, columns, strict=True)))
    return frame.set_axis(index.take(np.tile(np.arange(len(index)), len(names))))


def plot_schedule(schedule: pd.DataFrame, path: Path | str) -> None:
    """Draw powers, price and SOC of a schedule.

    Parameters
    ----------
    schedule : at least two intervals, as `schedule_frame` gives them.
    path : the picture file; its ending says its kind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    power, price, soc = figure.subplots(3, sharex=True, height_ratios=(4, 2, 2))
    times = schedule.index
    edges = times.append(times[-1:] + (times[1] - times[0]))
    battery_kw = schedule["charge_kw"] - schedule["discharge_kw"]
    grid_kw = schedule["grid_import_kw"] - schedule["grid_export_kw"]
    power.stairs(battery_kw, edges, fill=True, color="#2a6f97", label="batteries, charging above 0")
    power.stairs(grid_kw, edges, color="black", label="grid, importing above 0")
    power.stairs(schedule["load_kw"], edges, color="#d1495b", label="load")
    power.stairs(schedule["renewables_kw"], edges, color="#66a182", label="renewables")
    power.axhline(0, color="black", linewidth=0.8)
    power.set_ylabel("power [kW]")
    power.legend(frameon=False, ncols=4, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1))
    price.stairs(schedule["import_price_eur_per_mwh"], edges, color="#7b6d8d", baseline=None)
    price.set_ylabel("import price\n[EUR/MWh]")
    soc.plot(edges[1:], schedule["soc"], color="#2a6f97")
    soc.set(ylabel="SOC at the end", ylim=(0, 1), xlabel="time [UTC]")
    figure.savefig(path, dpi=120)
