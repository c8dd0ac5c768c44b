"""From a provider's answer to the data folder, and on to a plan."""

import pandas as pd
import pytest
from replayed_providers import World, serve_energy_charts

import sources
from vpp.connect import web as asking
from vpp.runtime.config import load_config
from vpp.site.sources import read_sources

START, DAYS = pd.Timestamp("2025-05-01T00:00Z"), 24


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(asking, "RETRY_S", 0.0)


def serve(httpserver, price_unit="EUR / MWh"):
    """Energy-Charts over some days."""
    serve_energy_charts(httpserver, World(START, DAYS), price_unit)


@pytest.fixture
def path(config_file, httpserver):
    """A configuration whose providers are on loopback."""
    url = httpserver.url_for("")
    return config_file(
        connect={
            "energy_charts_url": url,
            "open_meteo_url": url + "/{host}",
            "octopus_url": url,
            "cache_h": 0,
        },
        grid={"import_limit_kw": 200_000, "export_limit_kw": 200_000},
        training={"models": "arima", "trials": 1, "origins": 2},
        **{"battery:b": {"capacity_kwh": 20_000, "charge_kw": 10_000, "discharge_kw": 10_000}},
    )


def fetch(path, provider, last=None, *more):
    last = last or f"{START + pd.Timedelta(days=DAYS - 1):%Y-%m-%d}"
    words = ["--config", str(path), "fetch", provider, "--from", f"{START:%Y-%m-%d}", "--to", last]
    return sources.main([*words, *more])


def files(folder):
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


def test_fetching_again_changes_nothing_and_more_days_are_added(path, httpserver, capsys):
    serve(httpserver)
    folder = load_config(path).paths.data_dir
    assert fetch(path, "energy-charts", "2025-05-10") == 0
    before = files(folder)
    assert fetch(path, "energy-charts", "2025-05-10", "--area", "DE-LU") == 0
    assert files(folder) == before
    capsys.readouterr()
    assert fetch(path, "energy-charts", "2025-05-11") == 0
    rows = (folder / "market.csv").read_text().splitlines()
    assert len(rows) == 1 + 11 * 24
    assert read_sources(folder / "sources.csv")[0].source_id == "price-de-lu"


@pytest.mark.parametrize("fault", ["unit", "500", "half", "field"])
def test_a_fetch_that_fails_changes_nothing(path, httpserver, capsys, fault):
    serve(httpserver)
    folder = load_config(path).paths.data_dir
    assert fetch(path, "energy-charts", "2025-05-10") == 0
    before = files(folder)
    capsys.readouterr()
    httpserver.clear()
    if fault == "unit":
        serve(httpserver, price_unit="EUR / kWh")
    elif fault == "500":
        httpserver.expect_request("/price").respond_with_data("", 500)
    elif fault == "half":
        httpserver.expect_request("/price").respond_with_data('{"unix_seconds": [17')
    else:
        httpserver.expect_request("/price").respond_with_json({"unix_seconds": [], "prices": []})
    assert fetch(path, "energy-charts", "2025-05-12") == 1
    assert files(folder) == before
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("__main__.py: energy-charts") or "energy-charts" in line


def test_values_that_cannot_be_are_refused_or_left_out(path, httpserver, capsys, caplog):
    hours = pd.date_range("2025-05-01T00:00Z", periods=240, freq="h")
    octopus = "/v1/products/A/electricity-tariffs/E-1R-A-C/standard-unit-rates/"

    def answer(values):
        results = [
            {"valid_from": f"{time:%Y-%m-%dT%H:%MZ}", "value_inc_vat": value}
            for time, value in zip(hours, values, strict=True)
        ]
        httpserver.expect_oneshot_request(octopus).respond_with_json(
            {"results": results, "next": None}
        )

    answer([20.0] * 239 + [1e9])
    assert fetch(path, "octopus", "2025-05-10", "--area", "E-1R-A-C") == 0
    folder = load_config(path).paths.data_dir
    assert len((folder / "market.csv").read_text().splitlines()) == 240
    assert "1 impossible values are left out" in caplog.text
    capsys.readouterr()
    answer([1e9] * 240)
    assert fetch(path, "octopus", "2025-05-10", "--area", "E-1R-A-C") == 1
    assert "240 of 240 values" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody", "--from", "2025-01-01", "--to", "2025-01-02"], "nobody"),
        (["smard", "--from", "yesterday", "--to", "2025-01-02"], "--from yesterday"),
        (["smard", "--from", "2025-01-02T00:00", "--to", "2025-01-03"], "--from 2025-01-02T00:00"),
        (["smard", "--from", "2025-01-03", "--to", "2025-01-02"], "a first day before the last"),
        (["smard", "--from", "2025-01-01", "--to", "2025-01-02", "--option", "tilt=3"], "tilt"),
        (["pvgis", "--from", "2020-01-01", "--to", "2020-01-02", "--option", "peak=3"], "peak_kw"),
        (["entsoe", "--from", "2025-01-01", "--to", "2025-01-02"], "entsoe_key is empty"),
        (["smard", "--from", "2025-01-01"], "--to is missing"),
        (["smard", "--follow", "--to", "2025-01-02"], "--to: has no meaning"),
        (["smard", "--follow", "--every", "1"], "--every 1: expected minutes, 5 to 1440"),
        (["smard", "--every", "9", "--from", "2025-01-01", "--to", "2025-01-02"], "--follow"),
        (["entsoe", "--follow"], "entsoe_key is empty"),
    ],
)
def test_a_wrong_request_is_one_line(path, capsys, words, said):
    try:
        code = sources.main(["--config", str(path), "fetch", *words])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
