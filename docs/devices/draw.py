"""Draws the days of the pages on devices: a problem of examples/ is solved and drawn.

    python docs/devices/draw.py

Writes the pictures beside itself.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from vpp.schedule.frames import problem_index  # noqa: E402
from vpp.schedule.problem import Problem, Result  # noqa: E402
from vpp.schedule.problem_file import read_problem  # noqa: E402
from vpp.schedule.solver import solve  # noqa: E402

COLOURS = ("#2a6f97", "#d1495b", "#edae49", "#66a182")


def draw(problem: Problem, result: Result, title: str, path: Path) -> None:
    """Draw price, powers of the devices and what they store.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.
    title : of the picture.
    path : the file to write.
    """
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    price, power, store = figure.subplots(3, sharex=True, height_ratios=(2, 3, 2))
    times = problem_index(problem).tz_convert(problem.time_zone)
    edges = times.append(times[-1:] + (times[1] - times[0]))
    line = {"baseline": None}  # no line down to 0 at both ends
    price.stairs(problem.import_price_eur_per_mwh, edges, color="#333333", **line)
    price.set(title=title, ylabel="import price\n[EUR/MWh]")
    power.axhline(0.0, color="#cccccc", linewidth=0.8)
    power.stairs(problem.load_kw, edges, color="#999999", label="load", **line)
    net_load = problem.load_kw - problem.renewables_kw
    if problem.renewables_kw.any():
        power.stairs(net_load, edges, color="#66a182", label="load less renewables", **line)
    stored, bars = bool(problem.batteries), []
    moved, soc = result.found.charge_kw - result.found.discharge_kw, result.found.soc
    for battery, kw, level in zip(problem.batteries, moved, soc, strict=True):
        bars.append((battery.battery_id, COLOURS[0], kw))
        store.plot(edges[1:], level, color=COLOURS[0], marker=".")
        store.set(ylabel="SOC at the end", ylim=(-0.05, 1.05))
    for colour, (key, _, device) in zip(COLOURS, problem.devices, strict=False):
        arrays = result.found.devices[key]
        bars.append((device.name, colour, device.net_kw(arrays)))
        for name, unit in (("soc", "SOC at the end"), ("energy_kwh", "heat [kWh]")):
            if name in arrays:
                store.plot(edges[1:], arrays[name], color=colour, marker=".")
                store.set(ylabel=unit, ylim=(0, 1.1 * np.nanmax(arrays[name])))
                stored = True
    above, below = np.zeros((2, problem.intervals))
    for name, colour, kw in bars:  # on top of each other
        base = np.where(kw >= 0, above, below)
        shape = {"baseline": base, "fill": True, "alpha": 0.6, "color": colour}
        power.stairs(base + kw, edges, label=name, **shape)
        above, below = above + np.maximum(kw, 0.0), below + np.minimum(kw, 0.0)
    grid = result.found.grid_import_kw - result.found.grid_export_kw
    (power if stored else store).stairs(
        grid, edges, color="#333333", linestyle=":", linewidth=1.5, label="from the grid", **line
    )
    power.set(ylabel="power [kW]")
    power.legend(frameon=False, ncols=5, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    if not stored:
        store.set(ylabel="from the grid [kW]")
    store.set_xlim(edges[0], edges[-1])
    store.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=times.tz))
    figure.savefig(path, dpi=110)


def main() -> int:
    """Write the pictures."""
    for name, title in (
        ("problem", "A battery on a sunny Sunday with negative prices"),
        ("vehicle", "A car that comes at 18:00 and leaves at 07:00"),
        ("deferrable", "A dishwasher, a pump in one run and a pool"),
        ("heat", "A tank with heat pump and rod on a winter's day"),
        ("inverter", "Sun and a battery behind a hybrid inverter of 5 kW"),
        ("peak", "A battery against a price of the highest hour"),
    ):
        problem = read_problem(ROOT / "examples" / f"{name}.json")
        file = "battery.png" if name == "problem" else f"{name}.png"
        draw(problem, solve(problem), title, HERE / file)
        print(f"{file} written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
