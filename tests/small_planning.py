"""A site of a load, a solar plant, a wind turbine and a price in a database: two weeks, and
forecasts that repeat the day before.
"""

import numpy as np
import pandas as pd
from psycopg2.extras import execute_values

import db
from sources import Source
from vpp.site.times import price_available_at
from vpp.storage.schema import QUANTILES

START = pd.Timestamp("2025-01-06T00:00Z")
DAYS = 16
ISSUE = START + pd.Timedelta(days=14)
BATTERY = {
    "battery:store": {
        "capacity_kwh": 2000,
        "charge_kw": 1000,
        "discharge_kw": 1000,
        "soc_initial": 0.5,
        "wear_eur_per_mwh": 3,
    }
}


def a_source(source_id, kind, step_min=60):
    return Source(
        source_id,
        kind,
        source_id,
        "site-1",
        None if kind == "market" else 3000.0,
        step_min,
        None,
        None,
        "Europe/Brussels",
        {},
    )


def series(kind, seed, step_min=60):
    """Days that resemble each other, with noise."""
    index = pd.date_range(
        START, periods=DAYS * 1440 // step_min, freq=f"{step_min}min", name="time"
    )
    hour, noise = (
        index.hour + index.minute / 60,
        np.random.default_rng(seed).normal(0, 1, len(index)),
    )
    shapes = {
        "load": 1500 + 600 * np.sin((hour - 9) / 12 * np.pi) + 60 * noise,
        "solar": np.maximum(0, 1800 * np.sin((hour - 6) / 12 * np.pi)) * (1 + 0.1 * noise),
        "wind": np.maximum(0, 500 + 200 * noise),
        "market": 70 + 50 * np.sin((hour - 10) / 6 * np.pi) + 8 * noise,
    }
    return pd.Series(np.asarray(shapes[kind]), index)


KINDS = {
    "load-1": ("load", 60),
    "solar-1": ("solar", 15),
    "wind-1": ("wind", 60),
    "price-1": ("market", 60),
}


def store_site(conn):
    """Write the sources and their measurements."""
    sources = {name: a_source(name, *kind) for name, kind in KINDS.items()}
    db.upsert_sources(conn, sources.values())
    for seed, (name, (kind, step)) in enumerate(KINDS.items()):
        values = series(kind, seed, step)
        table = {"load": "load", "market": "market_prices"}.get(kind, "renewables")
        columns = {"time": values.index, "sent_at": pd.DatetimeIndex([START] * len(values))}
        if kind == "market":
            columns |= {
                "price_eur_per_mwh": values.to_numpy(),
                "available_at": price_available_at(values.index),
            }
        else:
            columns |= {"power_kw": values.to_numpy()}
        store(conn, table, name, columns)


def store(conn, table, name, columns):
    frame = pd.DataFrame(columns).assign(source_id=name)
    with conn.cursor() as cursor:
        rows = frame.itertuples(index=False, name=None)
        execute_values(
            cursor,
            f"INSERT INTO {table} ({', '.join(frame.columns)}) VALUES %s",
            rows,
            page_size=2000,
        )


def store_forecasts(conn, issue, role):
    runs = []
    for seed, (name, (kind, step)) in enumerate(KINDS.items()):
        steps = pd.date_range(issue, periods=48 * 60 // step, freq=f"{step}min")
        day_before = series(kind, seed, step).reindex(
            issue - pd.Timedelta(days=1) + (steps - issue) % pd.Timedelta(days=1)
        )
        frame = pd.DataFrame(
            {column: day_before.to_numpy() for column in ("value", *QUANTILES)}, steps
        )
        runs.append((db.ForecastRun(name, "daily_naive", None, issue, issue, role), frame))
    db.save_forecasts(conn, runs)


def states_of(values, **columns):
    """Simulated states of the battery, one for each time."""
    return pd.DataFrame(
        {"time": list(values), "battery_id": "store", "kind": "simulated", "soc": 0.5} | columns
    )
