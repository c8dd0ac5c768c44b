"""From a provider's answers to the data folder, and on to a plan that knows the weather ahead."""

import json

import pandas as pd
import pytest
from replayed_providers import (
    World,
    serve_energy_charts,
    serve_entsoe,
    serve_octopus,
    serve_open_meteo,
    serve_pvgis,
    serve_smard,
)
from small_world import make_store

import db
import pipeline
import sources
from vpp.champions.history import load_source_data
from vpp.connect import web as asking
from vpp.forecast.known import known_at
from vpp.forecast.stale import WEATHER, inputs_of
from vpp.runtime.config import load_config

WORLD = World("2023-05-01T00:00Z", 24)
TARIFF = "E-1R-AGILE-22-07-22-A"
COUNTRY = {"load", "solar", "wind"}
CASES = {  # providers with their areas, and the sources that are forecast
    "energy-charts": ([("energy-charts", "DE-LU")], {f"{kind}-de" for kind in COUNTRY}),
    "smard": ([("smard", "DE-LU")], {f"{kind}-de" for kind in COUNTRY}),
    "entsoe": ([("entsoe", "DE_LU")], {f"{kind}-de-lu" for kind in COUNTRY}),
    "octopus and pvgis": ([("octopus", TARIFF), ("pvgis", "")], {"pvgis-site-1"}),
}


@pytest.fixture
def providers(httpserver, monkeypatch):
    """Every provider on loopback; its base URLs by their keys."""
    monkeypatch.setattr(asking, "RETRY_S", 0.0)
    monkeypatch.setenv("VPP_ENTSOE_KEY", "s3cret")
    serve_open_meteo(httpserver, WORLD)
    serve_energy_charts(httpserver, WORLD)
    serve_smard(httpserver, WORLD)
    serve_entsoe(httpserver, WORLD)
    serve_octopus(httpserver, WORLD, TARIFF)
    serve_pvgis(httpserver, WORLD)
    url = httpserver.url_for("").rstrip("/")
    names = ("energy_charts", "smard", "entsoe", "octopus", "pvgis")
    return {f"{name}_url": url for name in names} | {"open_meteo_url": url + "/{host}"}


@pytest.mark.parametrize("case", CASES)
def test_each_provider_leads_to_a_plan(
    config_file, providers, elsewhere, tmp_path_factory, capsys, case
):
    asked, forecast = CASES[case]
    [(_, area), *_] = asked
    path = config_file(
        connect=providers | {"cache_h": 0},
        site={"price_area": area},
        grid={"import_limit_kw": 200_000, "export_limit_kw": 200_000},
        training={"models": "hourly_ridge", "trials": 1, "origins": 2, "jobs": 1},
        **{"battery:b": {"capacity_kwh": 20_000, "charge_kw": 10_000, "discharge_kw": 10_000}},
    )
    config = load_config(path)
    make_store(config, tmp_path_factory)
    first, last = (
        f"{WORLD.start + n * (WORLD.times[96] - WORLD.times[0]):%Y-%m-%d}"
        for n in (0, WORLD.days - 1)
    )
    for provider, area in [*asked, ("open-meteo", "")]:
        words = ["fetch", provider, "--from", first, "--to", last]
        words += ["--area", area] if area else []
        words += ["--option", "peak_kw=8"] if provider == "pvgis" else []
        assert sources.main(["--config", str(path), *words]) == 0, capsys.readouterr().err
    told = path.parent / "summary.json"
    words = ["--data", str(config.paths.data_dir), "--json", str(told)]
    assert pipeline.main(["--config", str(path), *words]) == 0, capsys.readouterr().err
    summary = json.loads(told.read_text())
    assert {row["source_id"] for row in summary["champions"]} >= forecast
    assert summary["cost_eur"]["plan"] is not None
    # each of them was forecast by a model, at a time when the weather ahead was known
    at = pd.Timestamp(summary["issue_time"])
    with db.session(config) as conn:
        for source in db.read_sources(conn):
            if source.source_id in forecast:
                known = known_at(load_source_data(conn, config, source), at)
                assert WEATHER in inputs_of(known)
                assert known.weather_forecasts["valid_time"].max() > at + pd.Timedelta(hours=48)
                runs = db.read_forecast_runs(conn, source.source_id)
                assert runs["role"].tolist() == ["champion"]
