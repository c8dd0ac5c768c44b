"""What others forecast goes from its CSV file over its topic into its table."""

import pandas as pd

import communication
import db
from vpp.champions.history import load_source_data
from vpp.runtime.config import load_config
from vpp.site.sources import Source, write_sources

TSO = Source(
    *("tso-wind", "forecast", "Day-ahead wind", "site-1", None, 60, None, None, "Europe/Brussels"),
    {"quantity": "wind", "unit": "MW", "regressor_of": ["market-1"], "delay_min": 30},
)
MARKET = Source(
    *("market-1", "market", "Price", "site-1", None, 60, None, None, "Europe/Brussels"), {}
)
LINES = """issue_time,valid_time,source_id,value
2025-01-01T09:00:00Z,2025-01-02T00:00:00Z,tso-wind,1200.5
2025-01-01T09:00:00Z,2025-01-02T01:00:00Z,tso-wind,-3
2025-01-01T15:00:00Z,2025-01-02T00:00:00Z,tso-wind,1100
2025-01-01T15:00:00Z,2025-01-02T00:30:00Z,tso-wind,1
2025-01-01T15:00:00Z,2025-01-02T01:00:00Z,tso-sun,1
2025-01-01T15:00:00Z,2025-01-02T02:00:00Z,tso-wind,nan
"""


def test_external_forecasts_are_streamed_and_read(config_file):
    """Three rows are good; one is off the step, one of nobody, one no number."""
    config = load_config(config_file())
    folder = config.paths.data_dir
    write_sources(folder / "sources.csv", [TSO, MARKET])
    (folder / "external_forecast.csv").write_text(LINES)
    (row,) = communication.stream(config)
    assert row["topic"] == config.kafka.topic_prefix + "external-forecast-topic"
    assert [row[name] for name in ("produced", "stored", "dead_lettered", "in_database")] == [
        *(6, 3, 3, 3)
    ]
    with db.session(config) as conn:
        assert {source.source_id for source in db.read_sources(conn)} == {"tso-wind", "market-1"}
        (external,) = load_source_data(conn, config, MARKET).external
        frame = db.read_external_forecasts(conn, "tso-wind")
        later = db.read_external_forecasts(conn, "tso-wind", pd.Timestamp("2025-01-02T01:00:00Z"))
    assert list(frame.columns) == ["issue_time", "valid_time", "value"]
    assert list(frame["value"]) == [1200.5, -3, 1100]
    assert list(frame["issue_time"].dt.hour) == [9, 9, 15]
    assert list(later["value"]) == [-3]
    # a regressor of the price, at hand half an hour after its issue
    assert (external.name, external.quantity, external.step_min) == ("tso-wind", "wind", 60)
    assert (external.frame["issue_time"] - frame["issue_time"] == pd.Timedelta("30min")).all()
