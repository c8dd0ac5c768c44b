"""A price that is the same each day or week, as a tariff is.

Forecast without an error and with a band without width.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, crown, fill, make_store, series, store

import db
import report
from forecast_and_save import forecast_all
from optimization import plan
from train_forecast import train
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.report.content import read_content
from vpp.runtime.config import load_config
from vpp.site.times import DAY


def constant(times: pd.DatetimeIndex) -> np.ndarray:
    return np.full(len(times), 85.0)


def time_of_use(times: pd.DatetimeIndex) -> np.ndarray:
    """Dear by day from Monday to Friday; yesterday tells less of it than last week does."""
    local = times.tz_convert("Europe/Brussels")
    return np.where((local.hour >= 7) & (local.hour < 20) & (local.dayofweek < 5), 120.0, 70.0)


@pytest.mark.parametrize("prices", [constant, time_of_use])
@pytest.mark.parametrize("select_by", ["mae", "value", "pinball"])
def test_a_certain_price_is_trained_forecast_scored_planned_with_and_shown(
    config_file, tmp_path_factory, prices, select_by
):
    training = {"models": "daily_naive,arima", "trials": 1, "jobs": 1, "select_by": select_by}
    config = load_config(config_file(training=training, optimization={"horizon_h": 24}))
    make_store(config, tmp_path_factory)
    fill(config, LOAD)
    times = series(MARKET).index
    with db.session(config) as conn:
        store(conn, MARKET, pd.Series(prices(times), times))

    rows = {row["model"]: row for row in train(config, source="market-1")}
    assert rows["seasonal_naive"]["champion"] and "fallback" not in rows["seasonal_naive"]["note"]
    assert (rows["seasonal_naive"]["mae"], rows["seasonal_naive"]["width_80"]) == (0.0, 0.0)
    assert rows["seasonal_naive"]["coverage_80"] == 1.0
    if prices is time_of_use:
        assert rows["daily_naive"]["mae"] > 1
        assert rows["seasonal_naive"]["captured_share"] == pytest.approx(1.0)
    else:  # there is nothing to earn
        assert rows["seasonal_naive"]["captured_share"] is None

    forecast_all(config, END - 2 * DAY, source="market-1")
    crown(config, LOAD, "daily_naive")
    found = {row["source_id"]: row for row in forecast_all(config)}["market-1"]
    assert (found["role"], found["yesterday_mae"], found["note"]) == ("champion", 0.0, "")
    with db.session(config) as conn:
        frame = db.read_forecasts(conn, "market-1", END)[1]
    assert frame["published"].sum() == 23
    expected = np.tile(prices(frame.index)[:, None], len(QUANTILE_COLUMNS))
    np.testing.assert_allclose(frame[list(QUANTILE_COLUMNS)], expected, atol=1e-9)

    assert plan(config)["status"] == "optimal"
    content = read_content(config)
    [view] = [view for view in content.views if view.source.kind == "market"]
    assert view.model == "seasonal_naive" and len(view.forecast) == 48
    assert MARKET.name in report.render(  # by which the leaderboard calls it
        dataclasses.replace(content, leaderboard=list(rows.values()))
    )
