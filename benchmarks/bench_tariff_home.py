"""What a plan is worth to a home with a time-of-use tariff, PV and a battery.

    python benchmarks/bench_tariff_home.py --days 60

Makes synthetic data of a home in a folder of its own, trains load and PV on what came before the
newest days, forecasts from each day's midnight and plans again every hour of those days. 32.5 ct
from 07 to 20 h, else 21.0 ct, 8 ct for what is fed in; no market, and no model of a price.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vpp.runtime.tables import print_rows

CONFIG = """
[paths]
data_dir = data
state_dir = state
[generation]
days = {days}
step_min = {step_min}
wind = 0
solar = 1
loads = 1
solar_capacity_kw = 8
load_capacity_kw = 5
[training]
models = {models}
origins = 14
trials = 1
jobs = 1
[grid]
import_limit_kw = 25
export_limit_kw = 10
import_fee_eur_per_mwh = 0
[operation]
follow = {follow}
[tariff]
import_eur_per_mwh = 325 07:00-20:00; 210
export_eur_per_mwh = 80
[battery:cellar]
capacity_kwh = 10
charge_kw = 5
discharge_kw = 5
eta_charge = 0.95
eta_discharge = 0.95
soc_min = 0.05
soc_max = 0.95
wear_eur_per_mwh = 0
"""


def run(folder: Path, *words: str) -> str:
    """Run a script of the project with the home's configuration; returns what it prints."""
    script, *rest = words
    command = [sys.executable, str(ROOT / script), "--config", str(folder / "home.ini"), *rest]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def without_market(folder: Path) -> None:
    """Take the synthetic market away: a home has a contract."""
    data = folder / "data"
    (data / "market.csv").unlink()
    listed = data / "sources.csv"
    lines = listed.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if ",market," not in line)
    listed.write_text(kept, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--days", type=int, default=60, help="newest days that are planned")
    parser.add_argument("--before", type=int, default=45, help="days of data before them")
    parser.add_argument("--every-h", type=int, default=1, help="hours between two plans")
    parser.add_argument("--step-min", type=int, default=60, help="step of the data")
    parser.add_argument("--models", default="hourly_ridge", help="models that compete")
    args = parser.parse_args(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = CONFIG.format(
            days=args.days + args.before, models=args.models, step_min=args.step_min, follow="no"
        )
        (folder / "home.ini").write_text(text, encoding="utf-8")
        try:
            run(folder, "generation.py")
            without_market(folder)
            run(folder, "communication.py")
            trained = json.loads(run(folder, "train_forecast.py", "--json"))
            run(folder, "forecast_and_save.py", "--backfill-days", str(args.days), "--json")
            words = ["backtest", "--days", str(args.days), "--every-h", str(args.every_h)]
            rows = {}
            for follow in ("no", "yes"):
                written = text.replace("follow = no", f"follow = {follow}")
                (folder / "home.ini").write_text(written, encoding="utf-8")
                rows[follow] = json.loads(run(folder, "optimization.py", *words, "--json"))
        finally:
            subprocess.run(
                [
                    sys.executable,
                    str(ROOT / "embedded.py"),
                    "--config",
                    str(folder / "home.ini"),
                    "stop",
                ],
                check=False,
                stdout=subprocess.DEVNULL,
            )
    for follow, found in rows.items():
        title = f"{args.days} days, planned every {args.every_h} h, follow = {follow}"
        print_rows(found, title)
    print_rows(trained, "Trained")
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
