"""A small plant in the test's database and a MLflow store for it.

50 days of a load and of a price, hourly.
"""

import shutil
from functools import partial

import numpy as np
import pandas as pd

import db
import forecasting
from sources import Source
from vpp.champions import registry
from vpp.champions.training import keep_digest
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.site.kinds import KINDS
from vpp.site.times import price_available_at

START, DAYS = pd.Timestamp("2025-01-06T00:00Z"), 50
END = START + pd.Timedelta(days=DAYS)
LOAD = Source("load-1", "load", "Works", "site-1", 1000.0, 60, 49.6, 6.1, "Europe/Brussels", {})
MARKET = Source(
    "market-1",
    "market",
    "DE-LU",
    "site-1",
    None,
    60,
    None,
    None,
    "Europe/Brussels",
    {"price_area": "DE-LU"},
)
_template = {}


def series(source: Source) -> pd.Series:
    """A course of the day with noise, and a level that wanders from day to day, so that yesterday
    tells more than last week.
    """
    rng = np.random.default_rng(len(source.source_id))
    hours = DAYS * 24 + (23 if source is MARKET else 0)  # prices run ahead
    times = pd.date_range(START, periods=hours, freq="h", name="time")
    level = np.repeat(np.cumsum(rng.normal(0, 20, DAYS + 1)), 24)[:hours]
    daily = 80 * np.sin(2 * np.pi * (np.arange(hours) % 24 - 8) / 24)
    return pd.Series(300 + level + daily + rng.normal(0, 4, hours), times).clip(lower=1.0)


def store(conn, source: Source, values: pd.Series) -> None:
    """Write a source and its series as the stream would; later calls replace values."""
    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    times = values.index.as_unit("us").asi8
    sent = np.full(len(times), pd.Timestamp.now("UTC").value // 1000)  # ns, whatever its unit
    columns = {
        "source": np.zeros(len(times), int),
        "time": times,
        column: values.to_numpy(),
        "sent_at": sent,
    }
    if source.kind == "market":
        columns["available_at"] = price_available_at(values.index).as_unit("us").asi8
    db.upsert_sources(conn, [source])
    db.store_measurements(conn, table, [source.source_id], columns)
    conn.commit()


def fill(config, *sources: Source) -> None:
    with db.session(config) as conn:
        for source in sources:
            store(conn, source, series(source))


def make_store(config, tmp_path_factory) -> None:
    """An empty MLflow store in the state folder."""
    config.paths.state_dir.mkdir(parents=True)
    copy_store(config.paths.state_dir / "mlflow.db", tmp_path_factory)


def copy_store(path, tmp_path_factory) -> None:
    """An empty MLflow store; its tables are made once for all tests, which takes seconds."""
    if not _template:
        folder = tmp_path_factory.mktemp("mlflow")
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        mlflow.MlflowClient().search_experiments()
        _template["path"] = folder / "mlflow.db"
    shutil.copy(_template["path"], path)


def load_data(config, source: Source):
    with db.session(config) as conn:
        return forecasting.load_source_data(conn, config, source)


def crown(config, source: Source, model: str, issue_time=END, **parameters):
    """Fit a model and register it as the champion, without training; returns it."""
    import mlflow

    client, data = registry.open_store(config), load_data(config, source)
    fitted = MODELS[model](horizon_h=config.forecast.horizon_h, **parameters).fit(
        known_at(data, issue_time)
    )
    with mlflow.start_run():
        keep = partial(keep_digest, config, source.source_id)
        registry.register(client, data, fitted, {}, keep)
    return fitted
