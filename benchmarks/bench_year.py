"""The worth of forecasts to a battery of 50 MW and 100 MWh over ten months of the real Luxembourg
year, from the CSV file on.

    python benchmarks/bench_year.py

It takes about 6 minutes on 2 cores. Reads lu_2024_15min_utc.csv of the folder VPP_TEST_DATA
(default ../shared/data; SMARD.de, CC BY 4.0) and runs the scripts with examples/luxembourg.ini on
embedded servers in a temporary folder: import, stream, champions from January and February only,
stored forecasts for 10:00 UTC of every day from March on, and two backtests in hourly steps. In the
first each local day is planned as a whole at 12:00 of the day before, when its prices are not yet
published; in the second a plan is made every hour, with the prices published by then. `rolling
plan` plans with the champions' forecasts, the others with last week's values (seasonal naive) and
with what really happened. Prints money [EUR] at actual values, captured shares with and without
2024-06-26, and seconds of optimisation."""

import configparser
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
COLUMNS = {"load": "load_mw:MW:load-lu", "wind": "wind_mw:MW:wind-lu", "solar": "pv_mw:MW:solar-lu"}
COLUMNS["price"] = "price_da_eur_mwh:EUR/MWh:price-de-lu"
BEGIN, END, DAYS = "2024-03-01T10:00Z", "2024-12-31T10:00Z", "305"


def configuration(folder: Path) -> Path:
    """examples/luxembourg.ini with data and state in this folder."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "examples" / "luxembourg.ini")
    parser["paths"] = {"data_dir": str(folder / "data"), "state_dir": str(folder / "state")}
    path = folder / "luxembourg.ini"
    with path.open("w") as file:
        parser.write(file)
    return path


def main() -> None:
    if not FILE.exists():
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(Path(folder))

        def run(script: str, *arguments: str, shown: bool = False) -> None:
            began = time.perf_counter()
            command = [sys.executable, str(ROOT / script), "--config", str(config), *arguments]
            subprocess.run(command, check=True, stdout=None if shown else subprocess.DEVNULL)
            print(
                f"{script} {' '.join(arguments[:1])}: {time.perf_counter() - began:.0f} s by "
                "the clock\n",
                flush=True,
            )

        columns = [part for kind, column in COLUMNS.items() for part in (f"--{kind}", column)]
        backtest = ("backtest", "--days", DAYS, "--step-min", "60", "--without-day", "2024-06-26")
        try:
            run(
                "sources.py",
                "import",
                str(FILE),
                "--time-column",
                "time_utc",
                "--tz",
                "UTC",
                *columns,
            )
            run("communication.py")
            run("train_forecast.py", "--issue-time", BEGIN, shown=True)
            run(
                "forecast_and_save.py",
                "--issue-time",
                END,
                "--backfill-days",
                DAYS,
                "--every-h",
                "24",
                shown=True,
            )
            run("optimization.py", *backtest, "--issue-local", "12:00", shown=True)
            run("optimization.py", *backtest, "--every-h", "1", shown=True)
        finally:
            subprocess.run(
                [
                    sys.executable,
                    str(ROOT / "embedded.py"),
                    "--config",
                    str(config),
                    "stop",
                    "--delete",
                ],
                check=True,
            )


if __name__ == "__main__":
    main()
