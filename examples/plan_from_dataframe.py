"""Plan a battery from a pandas DataFrame: no database, no configuration file.

    python examples/plan_from_dataframe.py --plot plan.png

Put your own frame in place of `two_days`: UTC starts of intervals, kW and EUR/MWh.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # not needed where vpp is installed

import numpy as np
import pandas as pd

from vpp.runtime.files import replacing_file
from vpp.runtime.settings import Grid
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import self_consumption
from vpp.schedule.frames import plot_schedule, problem_from_frame, schedule_frame
from vpp.schedule.solver import solve
from vpp.schedule.value import value_ways


def two_days() -> pd.DataFrame:
    """Two spring days of a small site: sun at noon, a peak of price in the evening."""
    time = pd.date_range("2025-04-01", periods=192, freq="15min", tz="UTC", name="time")
    hour = time.hour + time.minute / 60
    sun = np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None)
    evening = np.exp(-((hour - 19) ** 2) / 6)
    columns = {"load_kw": 300 + 250 * evening, "renewables_kw": 900 * sun}
    return pd.DataFrame(columns | {"price_eur_per_mwh": 80 - 70 * sun + 90 * evening}, index=time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--plot", metavar="PICTURE", type=Path, default=Path("plan.png"))
    args = parser.parse_args()

    battery = ScheduledBattery("store", 2000, 800, 800, 0.95, 0.95, 0.05, 0.95, soc_initial=0.2)
    grid = Grid(import_limit_kw=1000, export_limit_kw=1000, import_fee_eur_per_mwh=10)
    problem = problem_from_frame(two_days(), [battery], grid)
    result = solve(problem)

    schedule = schedule_frame(problem, result)
    shown = ["import_price_eur_per_mwh", "charge_kw", "discharge_kw", "soc", "reason"]
    print(schedule[shown][::8].round(2).to_string())
    # replays each schedule without the solver; refuses one that breaks physics
    ways = value_ways(problem, {"rule": self_consumption(problem), "plan": result.found})
    for name, cost in ways.cost_eur.items():
        print(f"{name.replace('_', ' ')}: {cost:.2f} EUR")
    with replacing_file(args.plot, "--plot") as partial:
        plot_schedule(schedule, partial)
    print(f"picture: {args.plot}")


if __name__ == "__main__":
    main()
