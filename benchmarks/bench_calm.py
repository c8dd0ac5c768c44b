"""How calm plans are that are made anew every hour of the real Luxembourg year.

    python benchmarks/bench_calm.py --days 110

Reads lu_2024_15min_utc.csv of the folder VPP_TEST_DATA (default ../shared/data; SMARD.de,
CC BY 4.0). A battery of 50 MW and 100 MWh is planned 36 h ahead from every hour on, with the prices
published by then and last week's values beyond, and the first hour is carried out. Counts how often
the power of the next hour has another sign in the next plan: with any optimum, with the calm one
that knows the plan before, and with a price of changes. Then it re-plans 79 times with unchanged
information, and counts how often the rest of the plan changes."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

from vpp.runtime.tables import print_rows
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import settle
from vpp.schedule.previous import Previous, PreviousBattery
from vpp.schedule.problem import Problem
from vpp.schedule.rolling import Rolling, moved_on
from vpp.schedule.solver import solve_model
from vpp.schedule.value import net_cost_eur

FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
HORIZON_H, WEEK_H, REPLANS = 36, 168, 79
BATTERY = ScheduledBattery(
    *("battery", 100_000.0, 50_000.0, 50_000.0, 0.95, 0.95, 0.05, 0.95, 0.5),
    terminal_value_eur_per_mwh=60.0,
)


def read_hours() -> pd.DataFrame:
    """Load, renewables [kW] and price [EUR/MWh] of each hour."""
    data = pd.read_csv(FILE, index_col=0, parse_dates=True)
    index = pd.DatetimeIndex(data.index)
    data.index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    hours = data.resample("60min").mean(numeric_only=True).ffill()
    renewables = hours["pv_mw"] + hours["wind_mw"]
    columns = {"load": hours["load_mw"], "sun": renewables, "price": hours["price_da_eur_mwh"]}
    return pd.DataFrame(columns) * [1000.0, 1000.0, 1.0]


def window(hours: pd.DataFrame, t: int, soc: float) -> Problem:
    """The problem seen from an hour on."""
    span = hours.index[t : t + HORIZON_H]
    naive, actual = hours.iloc[t - WEEK_H : t - WEEK_H + HORIZON_H], hours.iloc[t : t + HORIZON_H]
    local = span[0].tz_convert("Europe/Brussels")
    days_known = 2 if local.hour >= 13 else 1
    end = (local.normalize() + pd.DateOffset(days=days_known)).tz_convert("UTC")
    price = np.where(span < end, actual["price"], naive["price"])
    return a_problem(naive["load"].to_numpy(), naive["sun"].to_numpy(), price, span[0], soc)


def a_problem(
    load: np.ndarray, sun: np.ndarray, price: np.ndarray, start: pd.Timestamp, soc: float
) -> Problem:
    """The site over some hours, with the battery at a state of charge."""
    return Problem(
        60,
        load,
        import_price_eur_per_mwh=price + 10,
        export_price_eur_per_mwh=price,
        renewables_kw=sun,
        batteries=(replace(BATTERY, soc_initial=min(max(soc, 0.0), 1.0)),),
        start=start.to_pydatetime(),
    )


def rolled(hours: pd.DataFrame, first: int, count: int, calm: bool, change_price: float) -> dict:
    """A row: sign changes between consecutive plans, money, seconds."""
    rolling, soc, flips, before = Rolling(calm=calm), 0.5, 0, None
    started = time.process_time()
    charge, discharge = np.zeros((2, 1, count))
    for k in range(count):
        problem = window(hours, first + k, soc)
        if calm:
            known = {"previous": moved_on(before, problem, 1)} if before is not None else {}
            problem = replace(problem, change_price_eur_per_mwh=change_price, **known)
        plan = rolling.solve(problem, k)
        net = plan.charge_kw[0] - plan.discharge_kw[0]
        if before is not None:
            said = before.charge_kw[0, 1] - before.discharge_kw[0, 1]
            flips += sign(said) != sign(net[0])
        charge[0, k], discharge[0, k] = plan.charge_kw[0, 0], plan.discharge_kw[0, 0]
        before, soc = plan, float(plan.soc[0, 0])
    part = hours.iloc[first : first + count]
    actual = a_problem(*(part[name].to_numpy() for name in part), part.index[0], 0.5)
    nothing = np.zeros((1, count))
    cost = net_cost_eur(actual, settle(actual, charge, discharge))
    saved = net_cost_eur(actual, settle(actual, nothing, nothing)) - cost
    seconds = time.process_time() - started
    row = {"sign_changes": int(flips), "saved_eur": saved, "cpu_s": seconds}
    return row | {"built_anew": rolling.rebuilt}


def sign(power_kw: float) -> int:
    """Direction of a power; 0 below a kilowatt."""
    return int(np.sign(power_kw)) if abs(power_kw) > 1.0 else 0


def unchanged(hours: pd.DataFrame, first: int) -> dict:
    """How many of 79 re-plans with unchanged information change the rest of the plan."""
    part = hours.iloc[first : first + REPLANS + 2]
    problem = a_problem(*(part[name].to_numpy() for name in part), part.index[0], 0.5)
    plan, changed = solve_model(problem, explain=False).schedule, 0
    for _ in range(REPLANS):
        soc, rest = float(plan.soc[0, 0]), slice(1, None)
        problem = replace(
            problem.part(rest),
            start=problem.start + pd.Timedelta(hours=1),
            batteries=(replace(BATTERY, soc_initial=soc),),
            previous=Previous(
                (PreviousBattery("battery", plan.charge_kw[0, 1:], plan.discharge_kw[0, 1:]),)
            ),
        )
        again = solve_model(problem, explain=False).schedule
        gap = np.abs(again.charge_kw - plan.charge_kw[:, 1:])
        gap = gap + np.abs(again.discharge_kw - plan.discharge_kw[:, 1:])
        changed, plan = changed + bool(gap.max() > 1.0), again
    return {"re-plans": REPLANS, "changed": changed}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--days", type=int, default=357, metavar="N", help="days from 8 January on")
    about = "price of changes [EUR/MWh] of the last way (default 1)"
    parser.add_argument("--change-price", type=float, default=1.0, metavar="P", help=about)
    args = parser.parse_args(argv)
    hours = read_hours()
    count = min(args.days * 24, len(hours) - WEEK_H - HORIZON_H)
    ways = {"any optimum": (False, 0.0), "calm": (True, 0.0)}
    ways[f"calm, {args.change_price:g} EUR/MWh a change"] = (True, args.change_price)
    rows = [{"way": name} | rolled(hours, WEEK_H, count, *way) for name, way in ways.items()]
    for row in rows:
        row["fewer"] = 1 - row["sign_changes"] / max(rows[0]["sign_changes"], 1)
        row["of_saving"] = row["saved_eur"] / rows[0]["saved_eur"]
    print_rows(rows, f"{count} plans, one an hour")
    print_rows([unchanged(hours, WEEK_H)], "unchanged information")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
