"""Forecast a load from a pandas Series: no database, no configuration file.

    python examples/forecast_from_dataframe.py --plot load.png

Put your own Series in place of `some_load`: kW by the UTC starts of intervals.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # not needed where vpp is installed

from vpp.forecast.backtest import backtest, fit_calibrated, rolling_calibration
from vpp.forecast.frames import source_data
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.picture import plot_forecast
from vpp.forecast.scores import scores
from vpp.runtime.files import replacing_file


def some_load() -> pd.Series:
    """Half a year of hourly power [kW]; your own Series goes here."""
    times = pd.date_range("2025-01-01", "2025-07-01", freq="h", tz="UTC", inclusive="left")
    local = times.tz_convert("Europe/Brussels")
    shape = np.sin((local.hour - 9) / 24 * 2 * np.pi) - 0.5 * (local.dayofweek >= 5)
    noise = np.random.default_rng(1).normal(scale=12, size=len(times)).cumsum() * 0.2
    return pd.Series(300 + 80 * shape + noise, times, name="power_kw")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Forecast a load from a pandas Series.", allow_abbrev=False
    )
    parser.add_argument("--plot", metavar="PICTURE", type=Path, default=Path("load.png"))
    args = parser.parse_args()

    data = source_data(some_load(), "load", zone="Europe/Brussels", holidays_country="LU")
    issue_time = pd.Timestamp("2025-06-28T00:00Z")

    known = known_at(data, issue_time)
    model = fit_calibrated(MODELS["hourly_ridge"], data, known, steps=48)
    forecast = model.predict(known, steps=48)
    print(forecast[["value", "q10", "q90"]].resample("6h").mean().round(1).to_string())

    origins = pd.date_range(end=issue_time - pd.Timedelta("2D"), periods=30)
    for name in ("seasonal_naive", "hourly_ridge"):
        raw = backtest(MODELS[name], data, origins, steps=48)
        rows = rolling_calibration(raw, data, moves=MODELS[name].value_moves)
        result = scores(rows, data.source)
        print(f"{name:15} MAE {result['mae']:5.1f} kW, 80 % band: {result['coverage_80']:.0%}")

    with replacing_file(args.plot, "--plot") as partial:
        plot_forecast(forecast, data.series, f"Load by {model.name}", "kW", partial)
    print(f"{args.plot}: the forecast and its bands")


if __name__ == "__main__":
    main()
