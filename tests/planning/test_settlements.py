"""A backtest with two settlements reads two market sources of a real database."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_report import store

import db
import optimization
from sources import Source
from vpp.planning.site_series import site_sources
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError

START, DAYS = pd.Timestamp("2025-03-01T00:00Z"), 24


def a_source(name: str, kind: str, step_min: int) -> Source:
    capacity = None if kind == "market" else 500.0
    return Source(name, kind, name, "site-1", capacity, step_min, None, None, "UTC", {})


@pytest.fixture
def site(config_file):
    """A load by the hour, an hourly price, and prices of deviations in half hours."""
    path = config_file(
        **{"battery:b": {"capacity_kwh": 200, "charge_kw": 100, "discharge_kw": 100}},
    )
    rng = np.random.default_rng(5)
    hours = pd.date_range(START, periods=24 * DAYS, freq="h", name="time")
    price = 80 + 40 * np.sin((hours.hour - 12) / 24 * 4 * np.pi) + rng.normal(0, 5, len(hours))
    halves = pd.date_range(START, periods=48 * DAYS, freq="30min", name="time")
    gap = np.repeat(rng.normal(0, 80, len(halves) // 4), 4)
    series = [
        (a_source("load-1", "load", 60), pd.Series(rng.uniform(50, 90, len(hours)), hours)),
        (a_source("price", "market", 60), pd.Series(price, hours)),
        (a_source("deviations", "market", 30), pd.Series(np.repeat(price, 2) + gap, halves)),
    ]
    with db.session(load_config(path, {})) as conn:
        db.upsert_sources(conn, [source for source, _ in series])
        for source, values in series:
            store(conn, source, values)
    return path


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = optimization.main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_two_settlements_from_the_database(site, capsys):
    flags = ("--settlement", "two", "--deviation-prices", "deviations", "--json")
    code, out, _ = run(capsys, "--config", site, "backtest", "--days", 6, *flags)
    assert code == 0
    rows = {row["way"]: row for row in json.loads(out)}
    assert list(rows) == [
        "no battery",
        "day-ahead plan",
        "departing as deviations pay",
        "perfect foresight of deviations",
    ]
    # gaps that last for two hours are seen in their second half hour
    saved = [row["saved_eur"] for row in rows.values()]
    assert saved[0] == 0 < saved[1] < saved[2] < saved[3]
    assert rows["day-ahead plan"]["worst_month"] == "2025-03"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--settlement", "two"), "--deviation-prices"),
        (("--deviation-prices", "deviations"), "--settlement two"),
        (("--settlement", "two", "--deviation-prices", "load-1"), "expected a market source"),
        (("--settlement", "two", "--deviation-prices", "deviations", "--every-h", 2), "--every-h"),
    ],
)
def test_options_that_do_not_fit_are_refused(site, capsys, words, says):
    code, out, err = run(capsys, "--config", site, "backtest", "--days", 6, *words)
    assert code == 2
    assert out == ""
    assert says in err.splitlines()[-1]


def test_a_span_longer_than_the_data_says_where_it_begins(site, capsys):
    flags = ("--settlement", "two", "--deviation-prices", "deviations")
    code, _, err = run(capsys, "--config", site, "backtest", "--days", 90, *flags)
    assert code == 1
    assert "begin at 2025-03-01T00:00Z" in err.splitlines()[-1]


def test_of_several_prices_the_one_that_is_paid_is_named(site):
    """Not the first by name: that would be the price of deviations."""
    config = load_config(site, {})

    def paid(market):
        named = replace(config, site=replace(config.site, market=market))
        with db.session(config) as conn:
            return site_sources(conn, named)[-1].source_id

    assert (paid("price"), paid("deviations")) == ("price", "deviations")
    with pytest.raises(ConfigError, match=r"\[site\] market is empty.*: deviations, price$"):
        paid("")
    with pytest.raises(ConfigError, match=r"market spot is unknown; expected one of"):
        paid("spot")
