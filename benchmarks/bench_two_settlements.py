"""Money of two settlements with real Belgian prices: a battery of 1 MW and 2 MWh, one cycle a day.

    python benchmarks/bench_two_settlements.py

It takes about 10 minutes on 2 cores. Reads be_day_ahead_imbalance_15min_utc.csv of the folder
VPP_TEST_DATA (default ../shared/data) and takes 365 local days from 2024-05-22 on; missing
day-ahead prices lie on a line. The position is the plan of each local day at its day-ahead prices,
within 1 MW. The prices of deviations are the imbalance prices, short and long alike; that of a
quarter-hour is known when the next one begins. Ways: the plan as it was made; departing from it as
deviations pay, with everything learned from the past alone; a plain policy (the last known gap
fades by half in each quarter-hour, one linear programme a quarter-hour, its first step carried
out); and perfect foresight of deviations. Prints money in kEUR a year, over all days and over those
from the 93rd on, shares, and the worst whole month.
The settings are those of about a dozen variants that earned most on the first 92 days; the other
days were looked at, too. A replay without a solver checks every schedule."""

import os
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vpp.forecast.gaps import forecast_gaps
from vpp.runtime.tables import print_rows
from vpp.schedule.bank import Bank
from vpp.schedule.deviations import Gaps
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.dispatch import carry_out
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.rolling import Rolling
from vpp.schedule.two_settlements import (
    DAY_AHEAD,
    FORESEEN,
    NO_BATTERY,
    REPLANNED,
    Span,
    run_span,
)
from vpp.schedule.value import interval_costs_eur, replay_or_raise

FOLDER = Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data"))
FILE = FOLDER / "be_day_ahead_imbalance_15min_utc.csv"
START, DAYS, CHOSEN_ON, ZONE = "2024-05-22T00:00", 365, 92, "Europe/Brussels"
PLAIN = "plain policy"
BATTERY = ScheduledBattery(
    battery_id="battery",
    capacity_kwh=2000,
    charge_kw=1000,
    discharge_kw=1000,
    eta_charge=0.95,
    eta_discharge=0.95,
    cycles_per_day_max=1,
)


def read_span(days: int) -> Span:
    """The prices as a span without load, plants and fees; a gap is known from the first day on."""
    frame = pd.read_csv(FILE, parse_dates=["time"], index_col="time").interpolate()
    begin = pd.Timestamp(START, tz=ZONE).tz_convert("UTC")
    end = (pd.Timestamp(START, tz=ZONE) + pd.DateOffset(days=days)).tz_convert("UTC")
    frame = frame[(frame.index >= begin) & (frame.index < end)]
    price, deviation = (frame[name].to_numpy() for name in frame.columns)
    nothing = np.zeros(len(frame))
    problem = Problem(
        step_min=15,
        start=frame.index[0].to_pydatetime(),
        time_zone=ZONE,
        load_kw=nothing,
        import_price_eur_per_mwh=price,
        batteries=(BATTERY,),
        grid=GridConnection(import_limit_kw=1000.0, export_limit_kw=1000.0),
    )
    gap, first_min = deviation - price, frame.index[0].hour * 60
    gaps = Gaps(0, 96, gap, forecast_gaps(price, gap, 15, first_min))
    return Span(problem, nothing, nothing, deviation, gaps)


def plain(span: Span, settled: Problem) -> Schedule:
    """The plain policy: the last known gap fades, one linear programme a quarter-hour."""
    rolling, days, gap = Rolling(), settled.local_days, span.gaps.actual
    price = span.actual.import_price_eur_per_mwh
    ends = np.searchsorted(days, days, side="right").tolist()
    unsettled = replace(span.actual, grid=GridConnection())

    def wanted(t: int, bank: Bank) -> list[float]:
        part = unsettled.part(slice(t, ends[t]))
        known = gap[t - 1] if t else 0.0
        seen = price[t : ends[t]] + known * 0.5 ** np.arange(ends[t] - t)
        soc = float(np.clip(bank.soc[0], 0.0, 1.0))
        so_far = 1.0 - float(bank.left_kwh[0]) / BATTERY.capacity_kwh
        now = replace(BATTERY, soc_initial=soc, cycles_so_far=min(max(so_far, 0.0), 1.0))
        seen_problem = replace(
            part,
            start=unsettled.start + timedelta(minutes=15 * t),
            batteries=(now,),
            import_price_eur_per_mwh=seen,
            export_price_eur_per_mwh=seen,
        )
        plan = rolling.solve(seen_problem)
        return [float(plan.charge_kw[0, 0] - plan.discharge_kw[0, 0])]

    return carry_out(settled, wanted)


def rows_of(ways: dict, chosen_on: int) -> list[dict]:
    """Money of each way in kEUR a year, over all days and after those that settings come from."""
    rows = []
    settled = ways[DAY_AHEAD][0]
    days, months = settled.local_days, settled.local_min.astype("M8[m]").astype("M8[M]")
    each, at = np.unique(months, return_inverse=True)
    count = int(days[-1]) + 1
    whole = np.bincount(at) > 27 * 96
    earned = {name: -interval_costs_eur(*way[:2]) for name, way in ways.items()}
    best = earned[FORESEEN].sum()
    for name, money in earned.items():
        by_day, by_month = np.bincount(days, money), np.bincount(at, money)
        worst = int(np.argmin(np.where(whole, by_month, np.inf)))
        rows.append(
            {
                "way": name,
                "kEUR a year": by_day.mean() * 0.365,
                f"day {chosen_on + 1} to {count}": by_day[chosen_on:].mean() * 0.365,
                "of day-ahead plan": money.sum() / earned[DAY_AHEAD].sum(),
                "of perfect foresight": money.sum() / best,
                "worst month": str(each[worst]),
                "kEUR in it": by_month[worst] / 1000,
                "seconds": ways[name][2],
            }
        )
    return rows


def main() -> int:
    if not FILE.exists():
        print(f"skipped: {FILE.name} is not in {FOLDER}; VPP_TEST_DATA names another folder")
        return 0
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    span = read_span(days)
    ways = run_span(span)
    del ways[NO_BATTERY]  # without load it is nothing
    started, settled = time.perf_counter(), ways[REPLANNED][0]
    schedule = plain(span, settled)
    replay_or_raise(settled, schedule, PLAIN)
    ways[PLAIN] = (settled, schedule, time.perf_counter() - started)
    print_rows(rows_of(ways, min(CHOSEN_ON, days - 1)), "two settlements, 1 MW and 2 MWh")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
