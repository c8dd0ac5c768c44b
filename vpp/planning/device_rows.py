"""Flexible loads of a plan as rows of the table `device_states`, and back.

Pure: reads and writes nothing.

    python optimization.py --json

Powers are electric [kW], energies kWh.
"""

import numpy as np
import pandas as pd

from vpp.schedule.checks import Arrays
from vpp.schedule.deferrable import DeferrableLoad
from vpp.schedule.device import Device
from vpp.schedule.device_reasons import device_reasons
from vpp.schedule.frames import problem_index
from vpp.schedule.heat import HeatStore
from vpp.schedule.problem import Problem, Result
from vpp.schedule.vehicles import Vehicle

KINDS = {Vehicle: "vehicle", DeferrableLoad: "deferrable", HeatStore: "heat"}
VALUES = ("power_kw", "heat_pump_kw", "rod_kw", "soc", "energy_kwh")


def device_id(device: Device) -> str:
    """The name of a device's section; a load's name in a plan ends with the day of its window."""
    return device.name.rpartition(" ")[0] if isinstance(device, DeferrableLoad) else device.name


def device_rows(problem: Problem, result: Result) -> pd.DataFrame:
    """The flexible loads of a schedule, one row an interval of each.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.

    Returns
    -------
    Columns of `device_states` but run_id, by the start of the intervals [UTC]; the runs of a load
    on several days are one device.
    """
    frames: dict[str, pd.DataFrame] = {}
    index, why = problem_index(problem), device_reasons(problem, result)
    for key, _, device in problem.devices:
        name = device_id(device)
        frame = _rows(device, result.found.devices[key], index)
        frame.insert(0, "kind", KINDS[type(device)])
        frame.insert(0, "device_id", name)
        frame["reason"] = [text or None for text in why[key]]
        if name in frames:  # another day of the same load
            known = frames[name]
            known["power_kw"] += frame["power_kw"]
            known["reason"] = known["reason"].where(known["reason"].notna(), frame["reason"])
        else:
            frames[name] = frame
    if not frames:
        return pd.DataFrame(columns=["device_id", "kind", *VALUES, "reason"], index=index[:0])
    return pd.concat(frames.values())


def _rows(device: Device, arrays: Arrays, index: pd.DatetimeIndex) -> pd.DataFrame:
    values = {name: np.full(len(index), np.nan) for name in VALUES}
    values |= {name: array for name, array in arrays.items() if name in VALUES}
    values["power_kw"] = np.broadcast_to(device.net_kw(arrays), len(index))
    if isinstance(device, Vehicle):
        values["energy_kwh"] = arrays["soc"] * device.capacity_kwh
    return pd.DataFrame(values, index=index)


def stored_devices(problem: Problem, rows: pd.DataFrame) -> dict[str, Arrays]:
    """The flexible loads of a schedule as they were before `device_rows` made rows of them.

    Parameters
    ----------
    problem : the problem of the run.
    rows : its rows of `device_states`.

    Returns
    -------
    Arrays by the keys of the problem's devices.
    """
    found = {}
    for key, _, device in problem.devices:
        own = rows[rows["device_id"] == device_id(device)]
        power = own["power_kw"].to_numpy(float)
        if isinstance(device, DeferrableLoad):
            inside = np.zeros(len(power), dtype=bool)
            window = device.window(problem.intervals)
            inside[window.start : window.stop] = True
            found[key] = {"power_kw": np.where(inside, power, 0.0)}
        elif isinstance(device, Vehicle):
            flows = (np.maximum(power, 0.0), np.maximum(-power, 0.0), own["soc"].to_numpy(float))
            found[key] = dict(zip(("charge_kw", "discharge_kw", "soc"), flows, strict=True))
        else:
            names = ("heat_pump_kw", "rod_kw", "energy_kwh")
            found[key] = {name: own[name].to_numpy(float) for name in names}
    return found
