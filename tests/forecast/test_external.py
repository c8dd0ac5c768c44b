"""Forecasts that others issue as regressors: known from their issue, by hand and by scrambling."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_midnights import MIDNIGHTS, dates, hours_around
from small_series import at, hourly, source

from vpp.forecast.external import External, external_features, residual_load
from vpp.forecast.features import design, pseudo_origins, regressors
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.models.dnn import Dnn
from vpp.forecast.models.lear import Lear, _hourly
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.ridge import HourlyRidge

DAY = pd.Timedelta(days=1)
NOW = at("2025-03-01T10:00")


def day_ahead(name, quantity, values, issued_h=-6, step_min=60, noise=None):
    """A forecast of each day issued so many hours after its start."""
    series = values if noise is None else values + noise
    day = series.index.floor("D") + pd.Timedelta(hours=issued_h)
    frame = pd.DataFrame({"issue_time": day, "valid_time": series.index, "value": series.values})
    return External(name, quantity, step_min, frame)


def pair(external, origin, time, kind="market"):
    """Features of one pair, and when each was known."""
    found = external_features(
        external, kind, "UTC", pd.DatetimeIndex([at(origin)]), pd.DatetimeIndex([at(time)])
    )
    return {name: values[0] for name, (values, _) in found.items()}


def test_the_newest_value_that_was_issued_by_the_origin_counts():
    """Two issues of one hour, at 06:00 and 09:00; and one at 08:00 of another hour alone."""
    frame = pd.DataFrame(
        {
            "issue_time": [at("2025-01-01T06:00"), at("2025-01-01T09:00"), at("2025-01-01T08:00")],
            "valid_time": [at("2025-01-01T12:00"), at("2025-01-01T12:00"), at("2025-01-01T13:00")],
            "value": [1.0, 3.0, 7.0],
        }
    )
    external = (External("x", "wind", 60, frame),)
    for origin, time, value, mean in (
        ("2025-01-01T05:59", "2025-01-01T12:00", np.nan, np.nan),
        ("2025-01-01T06:00", "2025-01-01T12:00", 1.0, 1.0),
        ("2025-01-01T08:59", "2025-01-01T12:45", 1.0, 1.0),  # a quarter of the hour
        ("2025-01-01T09:00", "2025-01-01T12:00", 3.0, 2.0),
        ("2025-01-01T11:00", "2025-01-01T13:00", 7.0, 7.0),
        ("2025-01-01T11:00", "2025-01-01T14:00", np.nan, np.nan),
        ("2025-01-01T11:00", "2025-01-01T11:00", np.nan, np.nan),
    ):
        found = pair(external, origin, time)
        np.testing.assert_equal(found, {"forecast_x": value, "forecast_x_mean": mean})


def test_finer_values_become_means():
    quarters = hourly("2025-01-01", 8, step_min=15)  # 0, 1, 2, 3 and 4, 5, 6, 7
    frame = pd.DataFrame(
        {"issue_time": at("2024-12-31"), "valid_time": quarters.index, "value": quarters.values}
    )
    made = External("x", "wind", 15, frame).with_step(60)
    assert made.frame["value"].tolist() == [1.5, 5.5]
    assert (made.step_min, made.with_step(15).step_min) == (60, 60)


def test_the_residual_load_and_its_extremes_of_the_local_day():
    """Load 100 + hour, wind 2 × hour, in two parts: 100 − hour; 100 at 00:00, 77 at 23:00."""
    hours = hourly("2025-01-01", 24)
    external = (
        day_ahead("load", "load", 100 + hours),
        day_ahead("north", "wind", 1.5 * hours),
        day_ahead("south", "wind", 0.5 * hours),
    )
    found = pair(external, "2024-12-31T18:00", "2025-01-01T10:00")
    assert found["residual_load"] == 90
    assert (found["residual_load_max"], found["residual_load_min"]) == (100, 77)
    assert found["residual_load_mean"] == pytest.approx(88.5)
    early = pair(external, "2024-12-31T17:59", "2025-01-01T10:00")
    assert np.isnan(list(early.values())).all()
    assert "residual_load" not in pair(external, "2024-12-31T18:00", "2025-01-01T10:00", "load")
    value, when = residual_load(
        external, nanoseconds([at("2025-01-01")]), nanoseconds([at("2025-01-01T23:00")])
    )
    assert (value[0], when[0]) == (77, at("2024-12-31T18:00").value)


@pytest.mark.parametrize(
    ("load_min", "wind_min", "taken_min"), [(60, 60, 60), (15, 15, 15), (15, 60, 15), (60, 30, 30)]
)
@pytest.mark.parametrize(
    ("day", "hours"), [("2025-03-30", 23), ("2025-07-01", 24), ("2025-10-26", 25)]
)
def test_the_extremes_are_of_each_interval_of_the_finest_feed(
    load_min, wind_min, taken_min, day, hours
):
    """A value of a longer interval holds for each shorter one in it."""
    rng, zone = np.random.default_rng(2), "Europe/Brussels"
    start = pd.Timestamp(day, tz=zone).tz_convert("UTC")
    feeds, issued, day_h = [], start - DAY, pd.Timedelta(hours=hours)
    residual = 0.0
    for name, step_min, sign in (("load", load_min, 1), ("wind", wind_min, -1)):
        step = pd.Timedelta(minutes=step_min)
        times = pd.date_range(start - 5 * step, start + day_h + 5 * step, freq=step)
        values = pd.Series(rng.normal(0, 9, len(times)), times)
        frame = pd.DataFrame({"issue_time": issued, "valid_time": times, "value": values.values})
        feeds.append(External(name, name, step_min, frame))
        finest = pd.date_range(start, start + day_h, freq=f"{taken_min}min", inclusive="left")
        residual = residual + sign * values.reindex(finest, method="ffill")
    assert len(residual) == hours * 60 // taken_min
    one = pd.DatetimeIndex([start])
    found = external_features(tuple(feeds), "market", zone, one - DAY, one)
    for name in ("min", "mean", "max"):
        value = found[f"residual_load_{name}"][0][0]
        assert value == pytest.approx(getattr(residual, name)())


def test_lear_takes_the_mean_of_the_quarters_of_an_hour():
    """Quarters 0, 1, 2, 3 of the first hour are known, and only 4 and 6 of the second."""
    quarters = hourly("2025-01-01", 8, step_min=15).drop(
        [at("2025-01-01T01:15"), at("2025-01-01T01:45")]
    )
    item = day_ahead("x", "load", quarters, step_min=15)
    hours = nanoseconds([at(f"2025-01-01T0{hour}:00") for hour in range(3)])
    found = _hourly(item, np.repeat(at("2025-01-01").value, 3), hours)
    np.testing.assert_equal(found, [1.5, 5.0, np.nan])


@pytest.mark.parametrize(("zone", "change"), [*MIDNIGHTS, ("Europe/Brussels", "2025-03-30T01:00Z")])
def test_the_extremes_are_those_of_the_local_day_where_clocks_change(zone, change):
    hours = hours_around(change, days=4)
    values = pd.Series(np.random.default_rng(1).normal(0, 9, len(hours)), hours)
    frame = pd.DataFrame({"issue_time": hours[0], "valid_time": hours, "value": values.values})
    wind = External("wind", "wind", 60, frame.assign(value=0.0))
    external, asked = (External("load", "load", 60, frame), wind), hours_around(change)
    origins = pd.DatetimeIndex([hours[0]] * len(asked))
    found = external_features(external, "market", zone, origins, asked)
    by_day = values.groupby(dates(hours, zone))
    for name in ("min", "mean", "max"):
        expected = by_day.transform(name)[asked]
        np.testing.assert_allclose(found[f"residual_load_{name}"][0], expected)


def sample(kind, step_min=60, days=60) -> SourceData:
    rng = np.random.default_rng(3)
    start = NOW.floor("D") - pd.Timedelta(days=days)
    times = pd.date_range(start, NOW + pd.Timedelta(days=3), freq="h")
    wind = pd.Series(500 + 20 * rng.normal(0, 1, len(times)).cumsum())
    wind.index = times
    series = (900 - wind).resample(f"{step_min}min").ffill()
    series = series + rng.normal(0, 1, len(series))
    external = (
        day_ahead("tso-load", "load", wind * 0 + 900.0 + rng.normal(0, 1, len(wind)), -16),
        day_ahead("tso-wind", "wind", wind, -16, noise=rng.normal(0, 10, len(wind))),
        day_ahead("late", "wind", wind, issued_h=9),
    )
    return SourceData(source(kind, step_min), series, external=external)


def scrambled(data: SourceData) -> SourceData:
    """The data with others for all that is not at hand now."""

    def other(item: External) -> External:
        late = item.frame["issue_time"] > NOW
        assert late.any()
        value = item.frame["value"].where(~late, -12345.0)
        return dataclasses.replace(item, frame=item.frame.assign(value=value))

    return dataclasses.replace(data, external=tuple(other(item) for item in data.external))


@pytest.mark.parametrize("kind", ["load", "wind", "solar", "market"])
def test_what_is_not_issued_yet_changes_no_feature(kind):
    tables = []
    for data in (sample(kind), scrambled(sample(kind))):
        known = known_at(data, NOW, history_days=30)
        origins, times = pseudo_origins(known, 48)
        table, known_from = design(known, origins, times)
        now = pd.DatetimeIndex([NOW] * 48)
        ahead, _ = design(known, now, known.valid_times(48))
        linear = regressors(known, known.valid_times(48))
        assert "forecast_tso-wind" in table and "forecast_tso-wind" in linear
        for name in table:
            told = known_from[name].to_numpy() > origins.to_numpy()
            assert not (told & table[name].notna().to_numpy()).any(), name
        tables.append([each.to_numpy().tobytes() for each in (table, ahead, linear)])
    assert tables[0] == tables[1]


@pytest.mark.parametrize("model", [HourlyRidge, LightGbm, Lear, Dnn])
@pytest.mark.parametrize("step_min", [60, 15])
def test_what_is_not_issued_yet_changes_no_forecast_and_the_rest_helps(model, step_min):
    """A price of 900 − wind; the wind of the next day is forecast to 10."""
    if model.kinds == ("market",) and step_min == 15:
        pytest.skip("one step of LEAR is enough")
    parameters = {"trees": 40, "learning_rate": 0.2} if model is LightGbm else {}
    frames, data = [], sample("market", step_min)
    for each in (data, scrambled(data), dataclasses.replace(data, external=())):
        known = known_at(each, NOW)
        made = model(horizon_h=38, **parameters).fit(known)
        frames.append(made.predict(known, 38 * 60 // step_min))
    assert frames[0].equals(frames[1])
    # the wind of tomorrow was forecast at 08:00 of today
    tomorrow = (frames[0].index >= NOW.ceil("D")) & (frames[0].index < NOW.ceil("D") + DAY)
    actual = data.series.reindex(frames[0].index).to_numpy()
    mae = [np.abs(frame["value"].to_numpy() - actual)[tomorrow].mean() for frame in frames]
    assert mae[0] < 0.8 * mae[2]
    assert np.isfinite(frames[0].drop(columns=["published", "dark"]).to_numpy(float)).all()


def test_hourly_series_are_used_beside_quarters():
    """Of an hour of 15-min steps nothing is known before its end."""
    load = hourly("2025-01-01", 24 * 9).resample("15min").ffill().to_frame("load-1")
    data = SourceData(
        source("market", 15), hourly("2025-01-01", 96 * 9, step_min=15), others=load,
        others_step_min=60,
    )  # fmt: skip
    known = known_at(data, at("2025-01-09T10:59"))
    assert known.others.index[-1] == at("2025-01-09T09:45")
    known = known_at(data, at("2025-01-09T11:00"))
    assert known.others.index[-1] == at("2025-01-09T10:45")
    origins = pd.DatetimeIndex([at("2025-01-09T11:00")])
    table, _ = design(known, origins, pd.DatetimeIndex([at("2025-01-10T10:30")]))
    assert table["load-1_recent"][0] == 24 * 8 + 10
