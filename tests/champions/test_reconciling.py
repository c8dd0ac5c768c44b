"""Stored forecasts of sites and kinds agree with those of their sources."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, fill, series

import db
from vpp.champions.reconciling import with_sums
from vpp.champions.saving import check_all_forecast, rows_without_sums
from vpp.forecast.backtest import ForecastError
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS, QUANTILES
from vpp.runtime.config import load_config
from vpp.storage.results import ForecastRun

NAMES = ("load-1", "load-2", "load-3", "load-west", "load-fine")
LOADS = [replace(LOAD, source_id=name) for name in NAMES[:3]]
LOADS += [replace(LOAD, source_id="load-west", site_id="west", capacity_kw=400.0)]
FINE = replace(LOAD, source_id="load-fine", step_min=15)
DAY = pd.Timedelta(days=1)


def run_of(source, issue_time, error, role="champion"):
    """A forecast that errs so much in each hour."""
    times = pd.date_range(issue_time, periods=24, freq=f"{source.step_min}min", name="valid_time")
    value = series(source).reindex(times).ffill().fillna(300).to_numpy() + error
    spread = 40 * (np.array(QUANTILES) - 0.5)
    frame = pd.DataFrame(value[:, None] + spread, times, list(QUANTILE_COLUMNS))
    run = ForecastRun(source.source_id, "daily_naive", "1", issue_time, issue_time, role)
    return run, frame.assign(value=value, published=False)


@pytest.mark.parametrize("way", ["none", "bottom_up", "mint"])
def test_sums_agree_and_bands_are_ordered(config_file, way):
    config = load_config(config_file(forecast={"reconcile": way}))
    fill(config, *LOADS)
    rng = np.random.default_rng(5)
    past = [
        run_of(source, END - back * DAY, common + rng.normal(0, 10, 24), "backtest")
        for back in range(1, 15)
        for common in (rng.normal(0, 30, 24),)
        for source in LOADS
    ]
    base = [run_of(source, END, 60.0) for source in LOADS]
    with db.session(config) as conn:
        db.save_forecasts(conn, past)
        found, faults = with_sums(conn, config, [*LOADS, FINE], [*base, run_of(FINE, END, 0.0)])
    frames = {run.source_id: frame for run, frame in found}
    assert not faults
    pd.testing.assert_frame_equal(frames["load-fine"], run_of(FINE, END, 0.0)[1])
    if way == "none":
        assert list(frames) == list(NAMES)
        return
    assert list(frames) == [*NAMES, "site-1/load", "all/load"]
    for name, parts in (("site-1/load", NAMES[:3]), ("all/load", NAMES[:4])):
        whole = sum(frames[part]["value"] for part in parts)
        pd.testing.assert_series_equal(frames[name]["value"], whole, rtol=1e-12)
        band = frames[name][list(QUANTILE_COLUMNS)].to_numpy()
        assert (np.diff(band) > 0).all()
        # errors go together, but not wholly: narrower than the bands added up
        added = sum(frames[part]["q95"] - frames[part]["q05"] for part in parts)
        assert (0.5 * added < band[:, -1] - band[:, 0]).all()
        assert (band[:, -1] - band[:, 0] < 0.995 * added).all()
    for source in LOADS:
        values = frames[source.source_id][list(COLUMNS)].to_numpy()
        within = (values >= 0).all() and (values <= source.capacity_kw).all()
        assert within or way == "bottom_up"
    moved = {
        run.source_id: np.abs(frames[run.source_id]["value"] - frame["value"]).max()
        for run, frame in base
    }
    assert (max(moved.values()) > 1) == (way == "mint")
    with db.session(config) as conn:
        db.save_forecasts(conn, found)
        stored = db.read_forecasts(conn, "all/load", END)
    assert stored[0].model == way
    np.testing.assert_allclose(stored[1]["value"], frames["all/load"]["value"])


def test_sums_that_fail_are_a_failure_and_the_forecasts_of_the_sources_stand(config_file):
    config = load_config(config_file(forecast={"reconcile": "bottom_up"}))
    fill(config, *LOADS)
    base = [run_of(source, END, 0.0) for source in LOADS]
    base[1] = (base[1][0], base[1][1].iloc[:12])  # as of a model that ends too early
    with db.session(config) as conn:
        found, faults = with_sums(conn, config, LOADS, base)
    assert [run.source_id for run, _ in found] == [source.source_id for source in LOADS]
    rows = [{"source_id": run.source_id, "runs": 1, "note": ""} for run, _ in found]
    with pytest.raises(ForecastError, match=r"sums of load \(.+\); the other .+ are saved"):
        check_all_forecast(rows + rows_without_sums(faults), END)
