"""Forecasts from many origins in one table are those of one origin after the other, to the byte."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
from small_series import BRUSSELS, at, hourly, source

from vpp.forecast.backtest import backtest, walk
from vpp.forecast.external import External
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.together import Later
from vpp.site.times import day_ahead_origins

FIRST, DAYS = "2025-03-01T00:00", 50  # with the change to summer time on the 30th
ORIGINS = pd.date_range("2025-04-07T09:00", periods=14, freq="11h", tz="UTC")
SMALL = {
    "lightgbm": {"trees": 6, "most_rows": 1500},
    "random_forest": {"trees": 4, "most_rows": 800},
    "combination": {
        "members": ("hourly_ridge", "lightgbm"),
        "of": {"lightgbm": {"trees": 6, "most_rows": 1500}},
    },
}
USUAL = ("seasonal_naive", "mixed_naive", "hourly_ridge")


def sample(kind: str) -> SourceData:
    """A noisy series with gaps, weather that overlaps and is silent for two days, others, and what
    a grid operator forecasts."""
    draw, hours = np.random.default_rng(4), 24 * DAYS
    hour = np.arange(hours) % 24
    values = 500 + 300 * np.sin(2 * np.pi * (hour - 6) / 24) + draw.normal(scale=60, size=hours)
    if kind == "solar":
        values = np.where((hour > 4) & (hour < 20), values.clip(0), 0.0)
    series = hourly(FIRST, hours, values)
    for start, length in (("2025-04-08T18:00", 2), ("2025-04-10T02:00", 9), (FIRST, 3)):
        series[at(start) : at(start) + pd.Timedelta(hours=length)] = np.nan
    issues = pd.date_range(FIRST, periods=4 * DAYS, freq="6h", tz="UTC")
    issues = issues[(issues < at("2025-04-10T00:00")) | (issues > at("2025-04-12T00:00"))]
    weather = pd.concat(
        pd.DataFrame(
            {
                "issue_time": issue,
                "valid_time": pd.date_range(issue, periods=54, freq="h"),
                "ghi": draw.normal(200, 50, 54),
                "wind_speed": draw.normal(7, 2, 54),
                "temp_air": draw.normal(9, 4, 54),
            }
        )
        for issue in issues
    )
    ahead = pd.DataFrame({"valid_time": series.index, "value": draw.normal(900, 90, hours)})
    ahead.insert(0, "issue_time", series.index.floor("D") - pd.Timedelta(hours=6))
    external = tuple(
        External(f"tso-{name}", name, 60, ahead.assign(value=ahead["value"] * part))
        for name, part in (("load", 1.0), ("wind", 0.3))
    )
    others = pd.DataFrame({"neighbour": draw.normal(5, 1, hours)}, series.index)
    return SourceData(
        source(kind),
        series,
        weather.reset_index(drop=True),
        others if kind == "market" else None,
        zone=BRUSSELS,
        external=external,
        weather_stale_after_h=20.0,
    )


def rows_of(data, model, steps=36, **more) -> pd.DataFrame:
    factory = partial(MODELS[model], **SMALL.get(model, {}))
    return backtest(factory, data, more.pop("origins", ORIGINS), steps, **more)


@pytest.mark.parametrize(
    ("kind", "model"),
    [(kind, model) for kind in ("load", "solar", "wind", "market") for model in USUAL]
    + [("load", "lightgbm"), ("solar", "random_forest"), ("market", "combination")],
)
def test_the_figures_are_those_of_one_origin_after_the_other(kind, model, monkeypatch):
    data = sample(kind)
    together = rows_of(data, model, refit_days=4)
    monkeypatch.setattr(Later, "may_follow", lambda *_: False)
    alone = rows_of(data, model, refit_days=4)
    pd.testing.assert_frame_equal(together, alone, check_exact=True)
    assert together["issue_time"].nunique() == len(ORIGINS)


@pytest.mark.parametrize("kind", ["load", "solar", "market"])
@pytest.mark.parametrize("model", ["seasonal_naive", "hourly_ridge", "lightgbm"])
def test_what_an_origin_does_not_know_changes_no_byte_of_it(kind, model):
    data = sample(kind)
    before = rows_of(data, model, origins=ORIGINS[:8])
    for origin in ORIGINS[1:8:3]:
        series, weather = data.series.copy(), data.weather_forecasts.copy()
        series[data.grid.index[data.available_at > origin]] = 777.0
        later = weather["issue_time"] > origin
        weather.loc[later, ["ghi", "wind_speed", "temp_air"]] = 55.5
        external = tuple(
            dataclasses.replace(
                item,
                frame=item.frame.assign(
                    value=item.frame["value"].where(item.frame["issue_time"] <= origin, 3.0)
                ),
            )
            for item in data.external
        )
        changed = dataclasses.replace(
            data, series=series, weather_forecasts=weather, external=external
        )
        after = rows_of(changed, model, origins=ORIGINS[:8])
        one, two = (
            frame[frame["issue_time"] <= origin].drop(columns="actual") for frame in (before, after)
        )
        assert one.to_numpy().tolist() == two.to_numpy().tolist()
        assert not before.equals(after)


def test_origins_between_two_fits_are_one_table(monkeypatch):
    tables = []

    class Counting(MODELS["seasonal_naive"]):
        def forecast_pairs(self, known, origins, times):
            tables.append(origins.nunique())
            return super().forecast_pairs(known, origins, times)

    backtest(Counting, sample("load"), ORIGINS, 36, refit_days=2)
    assert tables == [5, 5, 4]
    tables.clear()
    revised = pd.DataFrame(
        {
            "time": [at("2025-04-05T00:00")],
            "value": [1.0],
            "known_from": [at("2025-04-05T01:00")],
            "known_to": [ORIGINS[3]],
        }
    )
    data = dataclasses.replace(sample("load"), revisions=revised)
    backtest(Counting, data, ORIGINS, 36, refit_days=np.inf)
    assert tables == [1, 1, 1, 11]  # until the last value was replaced each sees its own
    tables.clear()
    backtest(Counting, sample("load"), ORIGINS, 36, history_days=20)
    assert tables == [1] * len(ORIGINS)  # features would look back beyond its history


def test_a_long_history_is_cut_as_at_each_origin(monkeypatch):
    data = sample("wind")
    parts = [data.series.shift(-days, freq="D") for days in (3 * DAYS, 2 * DAYS, DAYS, 0)]
    data = dataclasses.replace(data, series=pd.concat(parts))
    together = rows_of(data, "hourly_ridge", history_days=130)
    monkeypatch.setattr(Later, "may_follow", lambda *_: False)
    alone = rows_of(data, "hourly_ridge", history_days=130)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-9)  # running sums begin elsewhere


def test_walk_gives_one_origin_at_a_time():
    data, days = sample("load"), (pd.Timestamp("2025-03-28").date(), at("2025-04-02").date())
    origins = day_ahead_origins(*days, "11:00", BRUSSELS)
    found = list(walk(MODELS["seasonal_naive"], data, origins))
    assert [len(frame) for frame in found] == [24, 24, 23, 24, 24, 24]
    assert [frame["issue_time"].unique().tolist() for frame in found] == [[one] for one in origins]
    pd.testing.assert_frame_equal(
        pd.concat(found, ignore_index=True), backtest(MODELS["seasonal_naive"], data, origins)
    )
