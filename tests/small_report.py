"""A small site with forecasts, a plan and its actual values, for the tests of the report."""

import numpy as np
import pandas as pd

import db
from db import ForecastRun
from sources import Source
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.planning import plans, valuation
from vpp.site.kinds import KINDS

START = pd.Timestamp("2025-03-01T00:00Z")


ISSUE = pd.Timestamp("2025-03-12T23:00Z")


def store(conn, source, actual):
    """Measurements as the stream would store them; a price is known a day ahead."""
    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    times = actual.index.as_unit("us").asi8
    columns = {
        "source": np.zeros(len(times), int),
        "time": times,
        column: actual.to_numpy(),
        "sent_at": times,
    }
    if source.kind == "market":
        columns["available_at"] = times - 86_400_000_000
    db.store_measurements(conn, table, [source.source_id], columns)
    conn.commit()


def somewhat_off(actual, spread):
    """A forecast of these values, whose bands widen."""
    count = len(actual)
    value = actual * (1 + 0.12 * np.sin(np.arange(count) / 5))
    width = spread * np.linspace(0.5, 1.5, count) * (actual != 0)
    forecast = pd.DataFrame({"value": value})
    for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True):
        forecast[column] = value + width * 2 * (level - 0.5)
    return forecast


def fill(config, step_min=60, days=14, name="South field", plan=True):
    """A fortnight of a small site.

    Shapes of a day with noise, forecasts that are somewhat off, a plan and its value.
    """
    rng = np.random.default_rng(1)
    times = pd.date_range(
        START, periods=days * 1440 // step_min, freq=f"{step_min}min", name="time"
    )
    hour = (times.hour + times.minute / 60).to_numpy()
    weather = np.repeat(rng.uniform(0.3, 1.0, days), len(times) // days)
    shapes = {
        "load": 900
        + 500 * np.exp(-(((hour - 8) / 2) ** 2))
        + 700 * np.exp(-(((hour - 18) / 2.5) ** 2)),
        "solar": 1000 * weather * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None),
        "wind": 600 + 500 * np.sin(np.arange(len(times)) * step_min / 60 / 17),
        "market": 80
        - 55 * np.exp(-(((hour - 13) / 3) ** 2)) * weather * 1.6
        + 60 * np.exp(-(((hour - 19) / 2) ** 2)),
    }
    sources, runs = [], []
    with db.session(config) as conn:
        for kind, shape in shapes.items():
            capacity = None if kind == "market" else 2500.0
            source = Source(
                f"{kind}-1",
                kind,
                name if kind == "solar" else kind.title(),
                "site-1",
                capacity,
                step_min,
                49.6,
                6.1,
                "UTC",
                {},
            )
            sources.append(source)
            actual = pd.Series(
                shape + rng.normal(0, 0.04 * shape.max(), len(times)) * (shape != 0), times
            )
            least = None if kind == "market" else 0.0
            actual = actual.clip(lower=least)
            store(conn, source, actual)
            for issue in (ISSUE - pd.Timedelta(days=1), ISSUE):
                run = ForecastRun(source.source_id, "prophet", "1", issue, issue, "champion")
                valid = times[times >= issue][: 48 * 60 // step_min]
                forecast = somewhat_off(actual[valid], 0.1 * shape.max()).clip(lower=least)
                runs.append((run, forecast))
        db.upsert_sources(conn, sources)
        db.save_forecasts(conn, runs)
    if plan:
        valuation.value_plan(config, plans.plan(config, ISSUE)["run_id"])


def schedule_of(charge, discharge, price, start="2025-03-13T00:00Z", freq="h"):
    """A schedule of a 10 kW load and one battery that charges and discharges so."""
    times = pd.date_range(start, periods=len(charge), freq=freq, name="time")
    charge, discharge = np.array(charge, float), np.array(discharge, float)
    net = 10 + charge - discharge
    powers = {"load_kw": 10.0, "renewables_kw": 0.0, "curtailed_kw": 0.0}
    powers |= {"charge_kw": charge, "discharge_kw": discharge}
    powers |= {"grid_import_kw": np.clip(net, 0, None), "grid_export_kw": np.clip(-net, 0, None)}
    prices = {"import_price_eur_per_mwh": price, "export_price_eur_per_mwh": price}
    reasons = [f"reason {i}" for i in range(len(times))]
    schedule = pd.DataFrame({**powers, **prices, "reason": reasons}, index=times)
    soc = (50 + np.cumsum(charge - discharge)) / 100
    return schedule, pd.DataFrame(
        {"battery_id": "b", "soc": soc, "charge_kw": charge, "discharge_kw": discharge}, index=times
    )
