"""One model for all sources of a kind: the rule of who gets one, leaks, new sources, the store."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_fleet import generate, put
from small_world import make_store

import db
import train_forecast
from vpp.champions import registry
from vpp.champions.forecasts import forecast_all
from vpp.champions.pooling import is_pooled, make_pools
from vpp.forecast.known import known_at
from vpp.forecast.model import ModelError
from vpp.forecast.models import pooled
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.pooled import Global, Member
from vpp.runtime.config import load_config
from vpp.site.sources import Source

DAY = pd.Timedelta(days=1)
NOW = pd.Timestamp("2025-02-20T00:00Z")
ALL_SUN = "all/solar"
SMALL = {"trees": 20, "learning_rate": 0.1, "leaves": 15, "min_leaf": 40}


@pytest.fixture
def fleet(config_file, tmp_path, tmp_path_factory, monkeypatch):
    """Two sites with two solar plants each, and a model of few trees."""
    smaller = Global.defaults | SMALL | {"most_rows": 6000, "source_rows": 900}
    monkeypatch.setattr(Global, "defaults", smaller)
    path = config_file(
        generation={"days": 50, "sites": 2, "solar": 2, "wind": 0, "loads": 0},
        training={"models": "daily_naive", "trials": 1, "jobs": 1, "origins": 4, "own_models": 1},
        forecast={"horizon_h": 24},
    )
    config = load_config(path)
    generate(config, tmp_path / "data")
    put(config, tmp_path / "data")
    make_store(config, tmp_path_factory)
    return config


def test_the_largest_have_models_of_their_own_and_the_others_share_one(fleet):
    rows = train_forecast.train(fleet)
    names = {row["source_id"] for row in rows}
    shared = {row["source_id"] for row in rows if row["model"] == "global"}
    with db.session(fleet) as conn:
        sources = [item for item in db.read_sources(conn) if item.source_id in names]
    for kind, own in (("solar", 1), ("market", len(sources))):
        of_kind = sorted(
            (item for item in sources if item.kind == kind),
            key=lambda item: (-(item.capacity_kw or 0), item.source_id),
        )
        assert {item.source_id for item in of_kind[own:]} == {
            item.source_id for item in of_kind if item.source_id in shared
        }
    champions = {row["source_id"]: row for row in rows if row["champion"]}
    assert set(champions) == names
    ratios = [row["mae_ratio_naive"] for row in rows if row["model"] == "global"]
    assert np.median(ratios) < 0.85
    client = registry.open_store(fleet)
    assert registry.read_champion(client, "global~solar").trained_until == NOW
    assert len(client.search_registered_models()) == 1 + len(names - shared)

    told = {row["source_id"]: row for row in forecast_all(fleet)}
    for name in shared:
        assert told[name]["role"] == "champion"
        assert told[name]["model"] == champions[name]["model"]
        assert not told[name]["note"]
    assert forecast_all(fleet) == list(told.values())  # again: the same, and nothing is doubled
    with db.session(fleet) as conn, conn.cursor() as cur:
        cur.execute("SELECT count(*), count(DISTINCT source_id) FROM forecast_runs")
        assert cur.fetchone() == (len(names), len(names))

    # sums of sites and kinds agree with them
    forecast_all(replace(fleet, forecast=replace(fleet.forecast, reconcile="bottom_up")))
    with db.session(fleet) as conn:
        made = {name: db.read_forecasts(conn, name, NOW)[1]["value"] for name in (*names, ALL_SUN)}
    parts = [made[item.source_id] for item in sources if item.kind == "solar"]
    pd.testing.assert_series_equal(made[ALL_SUN], sum(parts), rtol=1e-9)

    # a plant that came later is forecast by the model of its kind
    with db.session(fleet) as conn:
        old = next(item for item in db.read_sources(conn) if item.kind == "solar")
        db.upsert_sources(conn, [replace(old, source_id="solar-new", name="New")])
        with conn.cursor() as cur:
            cur.execute(
                """
                INSERT INTO renewables (source_id, time, power_kw, sent_at)
                SELECT 'solar-new', time, power_kw, sent_at FROM renewables WHERE source_id = %s""",
                (old.source_id,),
            )
        conn.commit()
    (row,) = forecast_all(fleet, source="solar-new")
    assert (row["model"], row["role"], row["note"]) == ("global", "champion", "")

    # a source that is named gets models of its own, and they count
    name = sorted(shared)[0]
    rows = train_forecast.train(fleet, source=name)
    assert {row["model"] for row in rows} == {"seasonal_naive", "daily_naive"}
    (row,) = forecast_all(fleet, source=name)
    assert row["model"] == next(row["model"] for row in rows if row["champion"])


def test_a_new_fleet_is_told_what_forecasts_it(fleet):
    with db.session(fleet) as conn, conn.cursor() as cur:
        cur.execute("DELETE FROM renewables WHERE time < %s", (NOW - 10 * DAY,))
        conn.commit()
    rows = [row for row in train_forecast.train(fleet) if "solar" in row["source_id"]]
    assert {(row["model"], row["champion"]) for row in rows} == {("first_day", True)}
    assert all("days of history, 14 needed" in row["note"] for row in rows)
    told = [row for row in forecast_all(fleet) if "solar" in row["source_id"]]
    assert {(row["model"], row["role"]) for row in told} == {("first_day", "fallback")}


def test_it_competes_with_other_models_and_pools_of_then_forecast_then(fleet):
    config = replace(fleet, training=replace(fleet.training, own_models=10))
    rows = train_forecast.train(config, models=["global", "daily_naive"])
    mae = {(row["source_id"], row["model"]): row["mae"] for row in rows}
    plants = {row["source_id"] for row in rows if row["champion"] and "solar" in row["source_id"]}
    assert len(plants) == 4
    assert all(mae[name, "global"] < mae[name, "daily_naive"] for name in plants)
    assert {row["role"] for row in forecast_all(config)} == {"champion"}


def test_nothing_known_after_a_cut_changes_a_pool(fleet):
    def pools():
        with db.session(fleet) as conn:
            sources = db.read_sources(conn, "solar")
        found, reasons = make_pools(fleet, sources, NOW, fleet.training, False)
        assert not reasons
        return found

    before = pools()
    cut = before[0].trained_until
    assert [pool.trained_until for pool in before] == [NOW - 21 * DAY, NOW]
    with db.session(fleet) as conn, conn.cursor() as cur:
        cur.execute("UPDATE renewables SET power_kw = power_kw * 0.3 + 1 WHERE time >= %s", (cut,))
        cur.execute("UPDATE weather_forecasts SET ghi = ghi * 2 WHERE issue_time > %s", (cut,))
        conn.commit()
    after = pools()
    texts = [
        [booster.model_to_string() for booster in pool.boosters] for pool in (before[0], after[0])
    ]
    assert texts[0] == texts[1]
    assert before[0].columns == after[0].columns
    assert [b.model_to_string() for b in after[1].boosters] != [
        b.model_to_string() for b in before[1].boosters
    ]


def test_a_pool_does_not_forecast_what_it_has_seen(fleet):
    with db.session(fleet) as conn:
        source = db.read_sources(conn, "solar")[0]
    from small_world import load_data

    data = load_data(fleet, source)
    model = Global(24.0, **SMALL).fit(known_at(data, NOW - 10 * DAY))
    with pytest.raises(ModelError, match="a later time"):
        model.backtest(known_at(data, NOW), [NOW - 12 * DAY])
    # at once, or one issue time after the other: the same rows
    at_once = model.backtest(known_at(data, NOW), [NOW - 3 * DAY, NOW - 2 * DAY])
    for at in (NOW - 3 * DAY, NOW - 2 * DAY):
        alone = model.predict(known_at(data, at), 24)
        rows = at_once[at_once["issue_time"] == at]
        np.testing.assert_allclose(rows["q50"], alone["q50"], atol=1e-9)
        np.testing.assert_allclose(rows["q95"], alone["q95"], atol=1e-9)


def test_the_rule_is_by_capacity_and_name():
    def plant(name, capacity, kind="wind"):
        return Source(name, kind, name, "s", capacity, 60, None, None, "UTC", {})

    training = replace(load_config(None).training, own_models=2)
    fleet = [plant("a", 5.0), plant("b", 9.0), plant("c", 5.0), plant("d", 1.0)]
    assert [is_pooled(item, fleet, training) for item in fleet] == [False, False, True, True]
    assert not is_pooled(plant("m", None, "market"), fleet, replace(training, own_models=0))


def test_last_weeks_hour_forecasts_where_it_is_better():
    assert "global" in MODELS
    made = Global(24.0)
    made.members = {"x": Member(is_better=False)}
    assert pooled.SeasonalNaive.name == "seasonal_naive"
    from small_history import NOW as THEN
    from small_history import data_of, sine

    known = known_at(data_of(sine), THEN)
    made.members = {known.source.source_id: Member(is_better=False)}
    assert made.of(known).name == "seasonal_naive"
