"""Sources and measurements are read as they were written, on a real server."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_storage import HOUR_US, START, make_source, store, us

import db
from vpp.site.kinds import WEATHER


def test_ranges_are_half_open_and_in_utc(conn):
    price = make_source("market-1", "market")
    store(conn, price, [10, 20, 30, 40])
    read = db.read_series(conn, price, START + pd.Timedelta("1h"), "2025-01-01T04:00+01:00")
    assert list(read) == [20, 30] and read.name == "market-1" and read.index.name == "time"
    assert str(read.index.tz) == "UTC" and read.index[0] == pd.Timestamp("2025-01-01T01:00Z")
    empty = db.read_series(conn, price, "2030-01-01T00:00Z")
    assert len(empty) == 0 and str(empty.index.dtype) == "datetime64[ns, UTC]"
    with pytest.raises(ValueError, match="expected a time with a time zone"):
        db.read_series(conn, price, "2025-01-01")


def test_weather_and_its_forecasts(conn):
    values = {name: np.array([place + 0.5, place + 1.5]) for place, name in enumerate(WEATHER)}
    times = us([START, START + pd.Timedelta("1h")])
    sent = np.array([1000, 1000])
    db.store_measurements(
        conn,
        "weather",
        ["w"],
        {"source": np.array([0, 0]), "time": times, **values, "sent_at": sent},
    )
    with conn.cursor() as cursor:
        cursor.execute(f"SELECT time, {', '.join(WEATHER)} FROM weather ORDER BY time")
        (first, *measured), (second, *_) = cursor.fetchall()
    assert (first, second) == (START, START + pd.Timedelta("1h"))
    assert measured == [0.5, 1.5, 2.5, 3.5, 4.5]
    for issue in range(2):  # two issues of the same hours are four rows
        key = {
            "source": np.array([0, 0]),
            "issue_time": np.full(2, times[0] - issue * HOUR_US),
            "valid_time": times,
        }
        assert (
            db.store_measurements(
                conn, "weather_forecasts", ["w"], key | values | {"sent_at": sent}
            )
            == 2
        )
    frame = db.read_weather_forecasts(conn, "w", START, START + pd.Timedelta("1h"))
    assert (
        list(frame["issue_time"]) == [START - pd.Timedelta("1h"), START]
        and list(frame["valid_time"]) == [START] * 2
    )
    assert list(frame["wind_speed"]) == [4.5, 4.5]


def test_sources_at_one_step(conn):
    quarter, hour = make_source("solar-1", "solar", 15), make_source("market-1", "market", 60)
    store(conn, quarter, [1, 2, 3, 6, 8])
    store(conn, hour, [50, 60])
    # (1+2+3+6)/4 = 3; of the second hour one quarter
    wide = db.read_resampled(conn, [quarter, hour], START, None, 60)
    assert wide.to_dict("list") == {"solar-1": [3, 8], "market-1": [50, 60]}
    # an hour's value holds in both halves
    wide = db.read_resampled(conn, [hour, quarter], START, START + pd.Timedelta("1h"), 30)
    assert wide.to_dict("list") == {"market-1": [50, 50], "solar-1": [1.5, 4.5]}
    assert db.read_resampled(conn, [hour], "2030-01-01T00:00Z", None, 30).shape == (0, 1)


def test_sources_are_read_as_they_were_written(conn):
    sources = [
        make_source("a", "market", price_area="LU"),
        make_source("b", "solar", 15, tilt=30, turbine="ü"),
    ]
    db.upsert_sources(conn, sources)
    changed = dataclasses.replace(sources[1], capacity_kw=5.0)
    db.upsert_sources(conn, [changed])
    assert db.read_sources(conn) == [sources[0], changed]
    assert db.read_sources(conn, "market") == [sources[0]]


def test_ten_sources_at_15_min_are_read_in_bulk(conn):
    sources = [make_source(f"solar-{number}", "solar", 15) for number in range(10)]
    count = 8_760
    times = np.tile(us(pd.date_range(START, periods=count, freq="15min")), 10)
    place = np.repeat(np.arange(10), count)
    columns = {
        "source": place,
        "time": times,
        "power_kw": np.arange(count * 10.0),
        "sent_at": np.full(count * 10, 1000),
    }
    assert (
        db.store_measurements(conn, "renewables", [source.source_id for source in sources], columns)
        == 87_600
    )
    frame = db.read_resampled(conn, sources, START, None, 15)
    assert frame.shape == (count, 10)
    assert frame.to_numpy().T.ravel().tolist() == list(range(count * 10))
