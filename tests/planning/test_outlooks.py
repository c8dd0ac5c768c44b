"""Stored forecasts of many issue times, read in one query, beside reading them one by one."""

import numpy as np
import pandas as pd
import pytest

import db
from sources import Source
from vpp.planning.outlooks import outlook_of, stored_outlooks
from vpp.planning.site_series import on_steps, site_frame, site_sources
from vpp.runtime.config import load_config
from vpp.storage.connection import DataGapError

BEGIN = pd.Timestamp("2025-03-01T00:00Z")
SITE = {
    "load-1": ("load", 60),
    "solar-1": ("solar", 15),
    "wind-1": ("wind", 30),
    "wind-2": ("wind", 60),
    "price-1": ("market", 60),
}
INDEX = pd.date_range(BEGIN, periods=24, freq="60min", name="time")


@pytest.fixture
def config(config_file):
    loaded = load_config(config_file())
    with db.session(loaded) as conn:
        for name, (kind, step) in SITE.items():
            rated = None if kind == "market" else 900.0
            place = (rated, step, None, None, "Europe/Brussels", {})
            db.upsert_sources(conn, [Source(name, kind, name, "site-1", *place)])
    return loaded


def save(conn, issue, names=tuple(SITE), model="a", seed=0, hours=12, missing=()):
    """Forecasts of role backtest; plants also draw power, and the load feeds in now and then."""
    runs = []
    for number, name in enumerate(names):
        step = SITE[name][1]
        times = pd.date_range(issue, periods=hours * 60 // step, freq=f"{step}min")
        values = np.random.default_rng([seed, number]).normal(50, 100, len(times))
        frame = pd.DataFrame({"value": values}, times)
        frame = frame.drop(times[list(missing)] if name == names[0] else [])
        runs.append((db.ForecastRun(name, model, None, None, issue, "backtest"), frame))
    db.save_forecasts(conn, runs)


def one_by_one(conn, config, issue, step_min):
    """The outlook as its definition says: each source on the plan's steps, then all summed."""
    found = [
        (source, db.read_forecasts(conn, source.source_id, issue, ("backtest",))[1]["value"])
        for source in site_sources(conn, config)
    ]
    end = min(values.index[-1] + pd.Timedelta(minutes=s.step_min) for s, values in found)
    steps = pd.date_range(issue, end, freq=f"{step_min}min", inclusive="left")
    series = [(s.kind, on_steps(values, s.step_min, steps, step_min)) for s, values in found]
    return outlook_of(site_frame(series, steps))


@pytest.mark.parametrize("step_min", [15, 30, 60, 120])
def test_the_outlooks_are_those_of_each_source_on_the_steps_of_the_plan(config, step_min):
    index = pd.date_range(BEGIN, periods=24 * 60 // step_min, freq=f"{step_min}min")
    issues = [BEGIN - pd.Timedelta(hours=4), BEGIN, BEGIN + pd.Timedelta(hours=6)]
    with db.session(config) as conn:
        for number, issue in enumerate(issues):
            save(conn, issue, seed=number, hours=12 + 2 * number)
        # a newer run of another model replaces one; an older issue time does not count, nor one
        # that a source lacks
        save(conn, BEGIN, ["wind-1"], "b", seed=9)
        save(conn, BEGIN - pd.Timedelta(hours=12), seed=7)
        save(conn, BEGIN + pd.Timedelta(hours=2), list(SITE)[1:], seed=8)
        found = stored_outlooks(conn, config, index, step_min, BEGIN - pd.Timedelta(hours=2))
        wanted = [one_by_one(conn, config, issue, step_min) for issue in issues]
    assert [outlook.first * step_min for outlook in found] == [-240, 0, 360]
    for outlook, right in zip(found, wanted, strict=True):
        for name in ("load_kw", "renewables_kw", "price_eur_per_mwh"):
            np.testing.assert_allclose(getattr(outlook, name), getattr(right, name), atol=1e-9)
        assert len(outlook.load_kw) == len(right.load_kw)


def test_without_forecasts_there_is_no_outlook(config):
    with db.session(config) as conn:
        assert stored_outlooks(conn, config, INDEX, 60, BEGIN) == []


@pytest.mark.parametrize("missing", [(3,), (0,), range(12)])
def test_a_gap_in_a_forecast_is_refused_with_its_issue_time(config, missing):
    with db.session(config) as conn:
        save(conn, BEGIN)
        save(conn, BEGIN + pd.Timedelta(hours=1), seed=1, missing=missing)
        with pytest.raises(DataGapError, match=r"2025-03-01T01:00Z has gaps"):
            stored_outlooks(conn, config, INDEX, 60, BEGIN)


def test_an_outlook_ends_with_the_shortest_forecast(config):
    with db.session(config) as conn:
        save(conn, BEGIN, missing=range(9, 12))
        [outlook] = stored_outlooks(conn, config, INDEX, 60, BEGIN)
    assert len(outlook.load_kw) == 9
