"""A battery goes through a simple day, as table and picture; or a state of it is recorded.

The battery is one of config.ini. The names of the stage can be imported from here: `Battery`,
`carry_out` for wanted powers, and `replay`, the solver-free check of a schedule.

    python battery.py --battery battery-1 --plot day.png
    python battery.py record --battery battery-1 --soc 0.42    # a state that was measured

Powers are means over an interval at the AC terminals [kW], charging and discharging both >= 0; a
wanted power is positive where it charges. SOC and energy are those at the END of the interval.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.files import check_picture, replacing_file
from vpp.runtime.settings import BatteryParameters, Config
from vpp.runtime.tables import print_rows, shown
from vpp.schedule.battery import Battery, Step, energy_kwh, keep_fraction, money_eur, stored_kwh
from vpp.schedule.dispatch import (
    carry_out,
    idle,
    self_consumption,
    settle,
    within_cycles,
    within_grid,
)
from vpp.schedule.replay import Replay, peak_import_kw, replay
from vpp.site.battery_files import read_states_file
from vpp.site.battery_messages import MessageError, by_name, read_state
from vpp.storage.battery_states import record_states
from vpp.storage.connection import session

__all__ = [
    "Battery",
    "Replay",
    "Step",
    "carry_out",
    "energy_kwh",
    "idle",
    "keep_fraction",
    "money_eur",
    "peak_import_kw",
    "replay",
    "self_consumption",
    "settle",
    "simulate_day",
    "stored_kwh",
    "within_cycles",
    "within_grid",
]


def simulate_day(parameters: BatteryParameters, hours: float = 1.0) -> list[dict]:
    """A day of full power: charging from 10:00 to 16:00, discharging from 17:00 to 23:00.

    Parameters
    ----------
    parameters : the battery.
    hours : length of an interval [h].

    Returns
    -------
    A row an interval: hour, powers wanted and done [kW], SOC, and the limit that held.
    """
    battery, rows = Battery.of(parameters), []
    for t in range(round(24 / hours)):
        hour, wanted_kw = t * hours, 0.0
        if 10 <= hour < 16:
            wanted_kw = parameters.charge_kw
        elif 17 <= hour < 23:
            wanted_kw = -parameters.discharge_kw
        done = battery.step(wanted_kw, hours)
        battery = done.battery
        rows.append(
            {
                "hour": f"{int(hour):02}:00",
                "wanted_kw": wanted_kw,
                "charge_kw": done.charge_kw,
                "discharge_kw": done.discharge_kw,
                "soc": battery.soc,
                "limited_by": done.limited_by or "–",
            }
        )
    return rows


def plot_day(rows: Sequence[dict], title: str, path: Path) -> None:
    """Draw power and SOC of a simulated day.

    Parameters
    ----------
    rows : the day, as `simulate_day` gives it.
    title : title of the picture.
    path : the picture file; its ending says its kind.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    power_axes, soc_axes = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    hours = np.arange(len(rows) + 1) * 24 / len(rows)
    done_kw = [row["charge_kw"] - row["discharge_kw"] for row in rows]
    wanted_kw = [row["wanted_kw"] for row in rows]
    power_axes.stairs(done_kw, hours, fill=True, color="#2a6f97", label="done")
    power_axes.stairs(wanted_kw, hours, color="#d1495b", linestyle="--", label="wanted")
    power_axes.axhline(0, color="black", linewidth=0.8)
    power_axes.set(title=title, ylabel="power [kW], charging above 0")
    power_axes.legend(frameon=False)
    soc_axes.plot(hours[1:], [row["soc"] for row in rows], color="#2a6f97", marker=".")
    soc_axes.set(ylim=(0, 1), ylabel="SOC at the end")
    soc_axes.set(xlim=(0, 24), xlabel="hour of the day", xticks=range(0, 25, 3))
    figure.savefig(path, dpi=120)


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    about = "battery of the configuration (default: its first)"
    parser.add_argument("--battery", metavar="ID", help=about)
    about = "picture to write (default: battery.png in data_dir)"
    parser.add_argument("--plot", metavar="FILE", type=Path, help=about)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.read_by = {"--battery": (), "--plot": ()}
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    about = "write a measured state to the database; the next plan starts from it"
    state = commands.add_parser("record", help=about)
    told = state.add_mutually_exclusive_group()
    told.add_argument("--battery", metavar="ID", help="battery of the configuration")
    told.add_argument("--csv", type=Path, metavar="FILE", help="states of a file, all or none")
    about = "when it was measured (default: now)"
    state.add_argument("--time", type=terminal.utc_time, metavar="TIME", help=about)
    state.add_argument("--soc", type=float, metavar="X", help="state of charge, 0 to 1")
    state.add_argument("--energy-kwh", type=float, metavar="E", help="stored energy [kWh]")
    about = "power [kW], above 0 where it charges"
    state.add_argument("--power-kw", type=float, metavar="P", help=about)
    return parser


def record(args: argparse.Namespace, config: Config) -> None:
    """Write one measured state, or those of a file, and print them."""
    now, batteries = datetime.now(UTC), by_name(config.batteries)
    given = {"soc": args.soc, "energy_kwh": args.energy_kwh, "power_kw": args.power_kw}
    if args.csv:
        for name, value in (given | {"time": args.time}).items():
            if value is not None:
                raise ConfigError(f"--{name.replace('_', '-')}: stands in the file of --csv")
        states = read_states_file(args.csv, batteries, now)
    else:
        if args.battery is None:
            raise ConfigError("record: expected --battery ID, or --csv FILE")
        check_known("battery", args.battery, batteries)
        time = (args.time or now).isoformat()
        try:
            states = [read_state(given | {"time": time}, batteries, args.battery, now)]
        except MessageError as error:
            raise ConfigError(str(error)) from None
    with session(config) as conn:
        record_states(conn, states)
    print_rows([asdict(state) for state in states], "recorded as measured", args.json)


def run(args: argparse.Namespace, config: Config) -> int:
    if args.command == "record":
        record(args, config)
        return 0
    names = [battery.battery_id for battery in config.batteries]
    if not names:
        raise ConfigError(f"{config.path}: no [battery:NAME] section; expected one to simulate")
    if args.battery is not None:
        check_known("battery", args.battery, names)
    path = args.plot or config.paths.data_dir / "battery.png"
    check_picture(path, "--plot")
    battery = config.batteries[names.index(args.battery or names[0])]
    rows = simulate_day(battery)
    with replacing_file(path, "--plot") as partial:
        plot_day(rows, f"{battery.battery_id}: a day through its limits", partial)
    size = f"{battery.battery_id}: {battery.capacity_kwh:g} kWh"
    print_rows(rows, f"{size}, full power from 10 to 16 and from 17 to 23", args.json)
    if not args.json:
        charged = math.fsum(row["charge_kw"] for row in rows)
        discharged = math.fsum(row["discharge_kw"] for row in rows)
        stored = (rows[-1]["soc"] - battery.soc_initial) * battery.capacity_kwh
        print(
            f"charged {charged:,.0f} kWh, discharged {discharged:,.0f} kWh,"
            f" stored {stored:+,.0f} kWh; round trip {battery.round_trip_efficiency:.1%}"
        )
        print(f"picture: {shown(path)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
