"""Data that go on to come: rounds against a provider on loopback that publishes more and more."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from small_providers import seconds
from werkzeug import Response

from vpp.connect import web as asking
from vpp.connect.following import fetch_followed, fetch_new, follow
from vpp.connect.web import ProviderError
from vpp.operation.clock import Clock
from vpp.operation.plant import Plant
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
DAY = pd.Timedelta(days=1)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(asking, "RETRY_S", 0.0)


class EnergyCharts:
    """Prices, load and nothing else of a country, up to a time that moves on.

    The value of an hour is its number since 1970, modulo 100, plus what was corrected.
    """

    def __init__(self, httpserver):
        self.today = pd.Timestamp.now("UTC").floor("D")
        self.until = self.today - DAY
        self.corrected, self.broken, self.asked = {}, False, []
        for path in ("price", "public_power", "public_power_forecast"):
            httpserver.expect_request(f"/{path}").respond_with_handler(self.answer)

    def answer(self, request):
        start, end = (pd.Timestamp(request.args[key], tz="UTC") for key in ("start", "end"))
        path = request.path.strip("/")
        if path == "price":
            self.asked.append(start)
        if self.broken and path != "price":
            return Response("", 500, headers={"Retry-After": "0"})
        end = min(end + DAY, self.until)
        hours = pd.date_range(start, end, freq="h", inclusive="left")
        values = [int(t.timestamp()) // 3600 % 100 + self.corrected.get(t, 0) for t in hours]
        answer = {"unix_seconds": seconds(hours)}
        if path == "price":
            answer |= {"price": values, "unit": "EUR / MWh"}
        elif path == "public_power":
            answer |= {"production_types": [{"name": "Load", "data": values}]}
        else:
            answer |= {"forecast_values": values}
        return Response(pd.io.json.ujson_dumps(answer), mimetype="application/json")


@pytest.fixture
def provider(httpserver):
    return EnergyCharts(httpserver)


@pytest.fixture
def config(config_file, httpserver):
    url = httpserver.url_for("")
    follow = "open-meteo, energy-charts:DE-LU"
    return load_config(
        config_file(connect={"energy_charts_url": url, "open_meteo_url": url, "follow": follow})
    )


def prices(config):
    table = pd.read_csv(config.paths.data_dir / "market.csv", parse_dates=["time"])
    return table.set_index("time")["price_eur_per_mwh"]


def files(folder):
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


def test_each_round_brings_what_is_new_and_what_was_corrected(config, provider):
    fetch_new(config, "energy-charts", "DE-LU")
    first = prices(config)
    assert first.index[-1] == provider.until - pd.Timedelta(hours=1)
    provider.until += DAY
    hour = provider.until - 2 * DAY + pd.Timedelta(hours=3)  # within the day that is asked again
    provider.corrected[hour] = 500
    told = fetch_new(config, "energy-charts", "DE-LU")
    [row] = [row for row in told if row["source_id"] == "price-de-lu"]
    # a day of new hours, one hour replaced; the series began the day before yesterday or earlier
    assert (row["new"], row["replaced"]) == (24, 1)
    after = prices(config)
    assert len(after) == len(first) + 24
    assert after.index.is_unique
    assert after[hour] == first[hour] + 500
    # the folder ended a day ago: two days are asked, and one more that the clock's zone may need
    assert provider.asked[-1] >= provider.until - 4 * DAY
    assert provider.asked[0] <= provider.today - 7 * DAY


def test_a_round_that_fails_half_way_changes_nothing_and_the_next_one_makes_up(
    config, provider, caplog
):
    fetch_new(config, "energy-charts", "DE-LU")
    before, rounds, stop = files(config.paths.data_dir), [], threading.Event()
    provider.until, provider.broken = provider.until + DAY, True

    def once(start):
        rounds.append(start)
        if len(rounds) == 2:
            assert files(config.paths.data_dir) == before
            provider.broken = False
        if len(rounds) == 3:
            stop.set()
        fetch_new(config, "energy-charts", "DE-LU", first=start)

    began = provider.today - 3 * DAY
    follow(once, 0.01, stop, began)
    # where the first round should begin counts until one has succeeded
    assert rounds == [began, began, None]
    assert "answers 500" in caplog.text
    assert prices(config).index[-1] == provider.until - pd.Timedelta(hours=1)


def test_a_request_that_is_wrong_is_not_repeated(config):
    def once(_):
        raise ConfigError("no key")

    with pytest.raises(ConfigError):
        follow(once, 3600, threading.Event())


def test_a_plant_follows_its_providers_and_one_that_fails_stops_no_other(
    config, provider, monkeypatch
):
    with pytest.raises(ProviderError, match=r"^open-meteo"):  # the server has none
        fetch_followed(config)
    assert len(prices(config)) > 0
    plant = Plant(config, Clock())
    monkeypatch.setattr(plant.jobs, "start", lambda: None)
    monkeypatch.setattr(plant.ingest, "start", lambda: None)
    plant.start()
    assert plant.jobs.jobs["fetch"].every_min == 60


def test_the_command_goes_on_until_it_is_told_to_end(config, provider):
    words = ["fetch", "energy-charts", "--area", "DE-LU", "--follow", "--every", "5"]
    process = subprocess.Popen(
        [sys.executable, "sources.py", "--config", str(config.path), *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while not (config.paths.data_dir / "market.csv").exists():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "price-de-lu" in out
