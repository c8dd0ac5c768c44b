"""Answers in their documented shapes, with numbers of our own, from a server on loopback."""

import json

import numpy as np
import pandas as pd
import pytest
from replayed_providers import NOTHING, Asked, entsoe_document, entsoe_series
from small_providers import NAMES, seconds
from werkzeug import Response

from vpp.connect import web as asking
from vpp.connect.answers import Wanted
from vpp.connect.catalogue import PROVIDERS
from vpp.connect.web import ProviderError, Web
from vpp.runtime.settings import Site

QUARTER = pd.Timedelta(minutes=15)
SITE = Site(site_id="home", name="Home")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(asking, "RETRY_S", 0.0)


def ask(provider, httpserver, start, end, area="", now="2026-01-01T00:00Z", **options):
    """All that a provider answers, by (source, kind)."""
    base = httpserver.url_for("") + ("/{host}" if provider == "open-meteo" else "")
    secrets = {"securityToken": "s3cret"} if provider == "entsoe" else {}
    wanted = Wanted(pd.Timestamp(start), pd.Timestamp(end), SITE, area, pd.Timestamp(now), options)
    found = PROVIDERS[provider].fetch(Web(provider, base, secrets=secrets), wanted)
    for item in found:
        assert item.source.parameters["licence"]
        assert item.source.parameters["attribution"]
    return {(item.source.source_id, item.kind): item for item in found}


UNIT = {"unit": "EUR / MWh"}


def json_answer(content):
    return Response(json.dumps(content), content_type="application/json")


# ---- Energy-Charts --------------------------------------------------------------------------


def serve_energy_charts(httpserver, price_times, prices, unit="EUR / MWh"):
    httpserver.expect_request("/price").respond_with_json(
        {
            "license_info": "CC BY 4.0",
            "unix_seconds": seconds(price_times),
            "price": prices,
            "unit": unit,
            "deprecated": False,
        }
    )
    times = pd.date_range("2025-10-24T22:00Z", "2025-10-27T00:00Z", freq="15min", inclusive="left")
    count = len(times)
    types = [
        {"name": "Hydro", "data": [9.0] * count},
        {"name": "Wind onshore", "data": [2.0] * count},
        {"name": "Wind offshore", "data": [None, *[1.0] * (count - 1)]},
        {"name": "Solar", "data": list(range(count))},
        {"name": "Load", "data": [50.0] * count},
    ]
    httpserver.expect_request("/public_power").respond_with_json(
        {"unix_seconds": seconds(times), "production_types": types, "deprecated": False}
    )
    httpserver.expect_request("/public_power_forecast").respond_with_json(
        {
            "unix_seconds": seconds(times),
            "forecast_values": [1.5] * count,
            "production_type": "solar",
            "forecast_type": "day-ahead",
            "deprecated": False,
        }
    )
    return times


def test_energy_charts_over_the_day_the_clock_goes_back(httpserver):
    # the local day has 25 hours: from 22:00Z to 23:00Z of the next day
    hours = pd.date_range("2025-10-25T22:00Z", periods=25, freq="h")
    serve_energy_charts(httpserver, hours, np.arange(25.0).tolist())
    found = ask("energy-charts", httpserver, "2025-10-25T22:00Z", "2025-10-26T23:00Z", area="DE-LU")
    market = found["price-de-lu", "market"]
    assert market.source.step_min == 60
    assert market.rows["price_eur_per_mwh"].tolist() == list(range(25))
    assert market.rows["time"].iloc[3] == pd.Timestamp("2025-10-26T01:00Z")
    load = found["load-de", "load"]
    assert (load.source.step_min, len(load.rows)) == (15, 100)
    assert set(load.rows["power_kw"]) == {50_000.0}
    wind = found["wind-de", "wind"].rows  # both kinds of wind together
    assert set(wind["power_kw"]) == {3000.0}
    assert ("solar-de", "solar") in found
    issued = found["wind-forecast-de", "forecast"]
    assert issued.source.parameters["quantity"] == "wind"
    assert issued.source.parameters["regressor_of"] == ["wind-de", "price-de-lu"]
    assert set(issued.rows["value"]) == {3000.0}
    # of the local day 26 October, issued on the 25th at 18:00 of summer time
    assert set(issued.rows["issue_time"]) == {pd.Timestamp("2025-10-25T16:00Z")}


def test_energy_charts_from_hours_to_quarters(httpserver):
    hours = pd.date_range("2025-09-29T22:00Z", "2025-09-30T22:00Z", freq="h", inclusive="left")
    quarters = pd.date_range("2025-09-30T22:00Z", periods=96, freq="15min")
    times = hours.append(quarters)
    prices = [*range(24), *range(100, 196)]
    serve_energy_charts(httpserver, times, prices)
    with pytest.raises(ProviderError, match="no load from"):  # the powers are of other days
        ask("energy-charts", httpserver, "2025-09-29T22:00Z", "2025-10-01T22:00Z", area="DE-LU")
    from vpp.connect import energy_charts

    wanted = Wanted(
        pd.Timestamp("2025-09-29T22:00Z"),
        pd.Timestamp("2025-10-01T22:00Z"),
        SITE,
        "DE-LU",
        pd.Timestamp("2026-01-01T00:00Z"),
    )
    market = energy_charts.price(Web("energy-charts", httpserver.url_for("")), wanted)
    assert market.source.step_min == 15
    values = market.rows.set_index("time")["price_eur_per_mwh"]
    # the UTC day of the change has hours, then quarters: each holds as long as it did
    assert values["2025-09-30T21:45Z"] == 23
    assert values["2025-09-30T22:15Z"] == 101
    assert len(values) == 2 * 96


def test_a_hole_is_told_and_never_filled(httpserver):
    hours = pd.date_range("2025-10-24T22:00Z", periods=50, freq="h")
    prices = [float(n) for n in range(50)]
    prices[7] = prices[8] = None
    serve_energy_charts(httpserver, hours, prices)
    found = ask("energy-charts", httpserver, "2025-10-24T22:00Z", "2025-10-26T23:00Z", area="DE-LU")
    market = found["price-de-lu", "market"]
    assert len(market.rows) == 47
    assert market.notes == ("price: 2 of 49 intervals are missing",)


def test_energy_charts_in_another_unit_or_shape_is_refused(httpserver):
    hours = pd.date_range("2025-10-24T22:00Z", periods=24, freq="h")
    serve_energy_charts(httpserver, hours, [1.0] * 24, unit="ct / kWh")
    span = ("2025-10-24T22:00Z", "2025-10-25T22:00Z")
    with pytest.raises(ProviderError, match="ct/kWh, expected EUR/MWh"):
        ask("energy-charts", httpserver, *span, area="DE-LU")
    httpserver.clear()
    httpserver.expect_request("/price").respond_with_json(
        {"unix_secs": [], "price": [], "unit": "EUR/MWh"}
    )
    with pytest.raises(
        ProviderError, match=r"no field unix_seconds.*it has: unix_secs, price, unit"
    ):
        ask("energy-charts", httpserver, *span, area="DE-LU")
    httpserver.clear()
    serve_energy_charts(httpserver, hours, ["1"] * 24)
    with pytest.raises(ProviderError, match="price is no list of numbers"):
        ask("energy-charts", httpserver, *span, area="DE-LU")
    httpserver.clear()
    serve_energy_charts(httpserver, hours[[0, 0, 1]], [1.0, 2.0, 3.0])
    with pytest.raises(ProviderError, match="price has two values at 2025-10-24T22:00Z: 1 and 2"):
        ask("energy-charts", httpserver, *span, area="DE-LU")


# ---- SMARD ----------------------------------------------------------------------------------


def test_smard_joins_the_files_of_two_weeks(httpserver):
    weeks = [pd.Timestamp("2025-03-23T23:00Z"), pd.Timestamp("2025-03-30T22:00Z")]
    stamps = [week.value // 10**6 for week in weeks]
    for number in (4169, 410, 4068, 4067, 1225, 125, 123, 3791):
        folder = f"/{number}/DE"
        httpserver.expect_request(f"{folder}/index_quarterhour.json").respond_with_json(
            {"timestamps": [stamps[0] - 7 * 86_400_000, *stamps]}
        )
        for week, stamp in zip(weeks, stamps, strict=True):
            times = pd.date_range(
                week, periods=7 * 96 - (4 if week is weeks[0] else 0), freq="15min"
            )
            pairs = [[time.value // 10**6, float(number)] for time in times]
            if number == 410:
                pairs[5][1] = None
            name = f"{folder}/{number}_DE_quarterhour_{stamp}.json"
            httpserver.expect_request(name).respond_with_json({"meta_data": {}, "series": pairs})
    # Sunday 30 March has 23 hours
    found = ask("smard", httpserver, "2025-03-29T23:00Z", "2025-03-31T22:00Z", area="DE-LU")
    price = found["price-de-lu", "market"].rows
    assert len(price) == (23 + 24) * 4
    assert set(price["price_eur_per_mwh"]) == {4169.0}
    # MWh of a quarter-hour become kW
    assert set(found["load-de", "load"].rows["power_kw"]) == {410 * 4000.0}
    assert set(found["wind-de", "wind"].rows["power_kw"]) == {(4067 + 1225) * 4000.0}
    assert set(found["wind-forecast-de", "forecast"].rows["value"]) == {(123 + 3791) * 4000.0}
    assert found["wind-forecast-de", "forecast"].rows["issue_time"].nunique() == 2
    with pytest.raises(ProviderError, match="no area ATLANTIS; expected one of DE-LU, AT"):
        ask("smard", httpserver, "2025-03-29T23:00Z", "2025-03-31T22:00Z", area="ATLANTIS")


# ---- Octopus --------------------------------------------------------------------------------


def test_octopus_is_paged_and_newest_first(httpserver):
    tariff = "E-1R-AGILE-24-10-01-C"
    path = f"/v1/products/AGILE-24-10-01/electricity-tariffs/{tariff}/standard-unit-rates/"
    times = pd.date_range("2025-03-29T23:00Z", periods=46, freq="30min")[::-1]
    results = [
        {
            "value_exc_vat": 20.0,
            "value_inc_vat": float(n),
            "valid_from": f"{time:%Y-%m-%dT%H:%M:%SZ}",
            "valid_to": f"{time + 2 * QUARTER:%Y-%m-%dT%H:%M:%SZ}",
            "payment_method": None,
        }
        for n, time in enumerate(times)
    ]
    for page, part in ((1, results[:30]), (2, results[30:])):
        more = None if page == 2 else httpserver.url_for(path) + "?page=2"
        answer = {"count": 46, "next": more, "previous": None, "results": part}
        httpserver.expect_request(path, query_string=Asked(f"page={page}$")).respond_with_json(
            answer
        )
    found = ask("octopus", httpserver, "2025-03-29T23:00Z", "2025-03-30T22:00Z", area=tariff)
    [market] = found.values()
    assert market.source.step_min == 30
    values = market.rows["price_eur_per_mwh"]
    assert (len(values), values.iloc[0], values.iloc[-1]) == (
        46,
        450.0,
        0.0,
    )  # pence a kWh times 10
    with pytest.raises(ProviderError, match="no tariff AGILE; expected one such as"):
        ask("octopus", httpserver, "2025-03-29T23:00Z", "2025-03-30T22:00Z", area="AGILE")


# ---- PVGIS ----------------------------------------------------------------------------------


def test_pvgis_stamps_inside_the_hour(httpserver):
    times = pd.date_range("2020-01-01T00:10Z", periods=8784, freq="h")
    rows = [
        {"time": f"{time:%Y%m%d:%H%M}", "P": float(n), "G(i)": 1.0, "H_sun": 2.0, "T2m": 3.0}
        for n, time in enumerate(times)
    ]
    answer = {"inputs": {}, "outputs": {"hourly": rows}, "meta": {}}
    httpserver.expect_request(
        "/seriescalc",
        query_string=Asked("startyear=2020&endyear=2020.*peakpower=8.0.*aspect=-90.0"),
    ).respond_with_json(answer)
    span = ("2020-01-01T00:00Z", "2021-01-01T00:00Z")
    [found] = ask("pvgis", httpserver, *span, peak_kw="8", azimuth="90").values()
    assert found.source.capacity_kw == 8
    assert found.rows["time"].iloc[1] == pd.Timestamp("2020-01-01T01:00Z")
    assert found.rows["power_kw"].iloc[-1] == 8.783  # W become kW
    with pytest.raises(ProviderError, match="option peak_kw = large: expected a number"):
        ask("pvgis", httpserver, *span, peak_kw="large")


# ---- Open-Meteo -----------------------------------------------------------------------------


def serve_open_meteo(httpserver, path, start, days, leads=(None,), missing=()):
    times = pd.date_range(start, periods=24 * days, freq="h")
    units, hourly = {"time": "unixtime"}, {"time": seconds(times)}
    for lead in leads:
        for place, (name, unit) in enumerate(NAMES.items()):
            key = name if lead is None else f"{name}_previous_day{lead}"
            # the hour of the stamp since the start, the field, and the lead can be read off
            values = [float(n + 1000 * place + 10_000 * (lead or 0)) for n in range(len(times))]
            units[key] = unit
            hourly[key] = [None if n in missing else value for n, value in enumerate(values)]
    answer = {
        "latitude": 49.6,
        "longitude": 6.1,
        "utc_offset_seconds": 0,
        "hourly_units": units,
        "hourly": hourly,
    }
    httpserver.expect_request(path).respond_with_json(answer)


def test_open_meteo_means_and_moments(httpserver):
    serve_open_meteo(httpserver, "/archive-api/v1/archive", "2025-06-01", 4, missing=(30,))
    serve_open_meteo(httpserver, "/previous-runs-api/v1/forecast", "2025-06-01", 6, leads=(1, 2, 3))
    found = ask("open-meteo", httpserver, "2025-06-01T00:00Z", "2025-06-03T00:00Z")
    weather = found["weather-home", "weather"]
    rows = weather.rows.set_index("time")
    first = rows.loc["2025-06-01T00:00Z"]
    assert first["ghi"] == 1  # stamped 01:00: the mean of the hour from 0 to 1
    assert first["temp_air"] == 3000.5  # the mean of the moments 0:00 and 1:00
    assert first["wind_speed"] == 4000.5
    # the stamp that is missing, 30, takes the hours that need it: 29 and 30
    assert weather.notes == ("weather: 2 of 48 hours are missing",)
    forecasts = found["weather-home", "weather-forecast"].rows
    assert forecasts["issue_time"].unique().tolist() == [
        pd.Timestamp("2025-06-01T00:00Z"),
        pd.Timestamp("2025-06-02T00:00Z"),
    ]
    one = forecasts[forecasts["issue_time"] == pd.Timestamp("2025-06-02T00:00Z")]
    by_time = one.set_index("valid_time")["ghi"]
    # its first day is what was forecast one day before, the next ones two and three days before
    assert by_time["2025-06-02T00:00Z"] == 25 + 10_000
    assert by_time["2025-06-03T00:00Z"] == 49 + 20_000
    assert by_time["2025-06-04T00:00Z"] == 73 + 30_000
    assert len(by_time) == 72


def test_open_meteo_live(httpserver):
    serve_open_meteo(httpserver, "/api/v1/forecast", "2025-06-03", 4)
    span = ("2025-06-03T00:00Z", "2025-06-05T00:00Z")
    found = ask("open-meteo", httpserver, *span, now="2025-06-03T09:40Z")
    [(_, kind)] = found
    assert kind == "weather-forecast"
    rows = found["weather-home", kind].rows
    assert set(rows["issue_time"]) == {pd.Timestamp("2025-06-03T09:00Z")}
    assert rows["valid_time"].iloc[0] == pd.Timestamp("2025-06-03T09:00Z")


def test_open_meteo_in_another_unit_is_refused(httpserver, monkeypatch):
    monkeypatch.setitem(NAMES, "wind_speed_10m", "km/h")
    serve_open_meteo(httpserver, "/archive-api/v1/archive", "2025-06-01", 4)
    with pytest.raises(ProviderError, match="wind_speed_10m is in km/h, expected m/s"):
        ask("open-meteo", httpserver, "2025-06-01T00:00Z", "2025-06-03T00:00Z")


# ---- ENTSO-E --------------------------------------------------------------------------------


DAY = ("2025-03-29T23:00Z", "2025-03-30T22:00Z")  # 23 hours


def test_entsoe_holds_values_and_takes_the_first_sequence(httpserver):
    def of(document, **more):
        query = "&".join(
            f"{key}={value}" for key, value in {"documentType": document, **more}.items()
        )
        return httpserver.expect_request("/", query_string=Asked(query))

    prices = entsoe_document(
        entsoe_series([(1, 10), (2, 20), (20, -5)], *DAY, sequence=1),
        entsoe_series([(1, 99)], *DAY, sequence=2),
    )
    of("A44").respond_with_data(prices)
    load = [entsoe_series([(1, 7), (3, 8)], *DAY, "PT15M", value="quantity")]
    of("A65").respond_with_data(entsoe_document(*load))
    of("A75").respond_with_data(NOTHING)
    of("A69").respond_with_data(NOTHING)
    found = ask("entsoe", httpserver, *DAY, area="DE_LU")
    assert set(found) == {
        ("price-de-lu", "market"),
        ("load-de-lu", "load"),
        ("load-forecast-de-lu", "forecast"),
    }
    price = found["price-de-lu", "market"].rows["price_eur_per_mwh"].tolist()
    assert price == [10, *[20] * 18, *[-5] * 4]
    power = found["load-de-lu", "load"].rows["power_kw"].tolist()
    assert power == [7000, 7000, *[8000] * 90]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (NOTHING, "no prices of DE_LU"),
        ("<a", "no XML"),
        ("<!DOCTYPE a><a/>", "document type"),
        ("<a/>", "no time series"),
        (entsoe_document(entsoe_series([(1, 1)], *DAY, "P1Y")), "a resolution of P1Y"),
        (entsoe_document(entsoe_series([(99, 1)], *DAY)), "cannot be read"),
        (entsoe_document(entsoe_series([("x", 1)], *DAY)), "cannot be read"),
    ],
)
def test_entsoe_of_another_shape_is_refused(httpserver, answer, said):
    httpserver.expect_request("/").respond_with_data(answer)
    with pytest.raises(ProviderError, match=said) as caught:
        ask("entsoe", httpserver, *DAY, area="DE_LU")
    assert "s3cret" not in str(caught.value)


def test_an_unknown_area_of_entsoe(httpserver):
    with pytest.raises(ProviderError, match="no area ATLANTIS"):
        ask("entsoe", httpserver, *DAY, area="ATLANTIS")


def test_a_country_without_wind_and_a_year_in_pieces(httpserver, monkeypatch):
    """Pieces overlap by a day; what they share counts once."""
    from vpp.connect import energy_charts

    monkeypatch.setattr(energy_charts, "DAYS_AT_ONCE", 2)
    hours = pd.date_range("2025-06-01T00:00Z", periods=24 * 6, freq="h")

    def between(request):
        first = pd.Timestamp(request.args["start"], tz="UTC")
        last = pd.Timestamp(request.args["end"], tz="UTC") + pd.Timedelta(days=1)
        return hours[(hours >= first) & (hours < last)]

    def price(request):
        times = between(request)
        return json_answer({"unix_seconds": seconds(times), "price": [1.0] * len(times)} | UNIT)

    def powers(request):
        times = between(request)
        data = [{"name": name, "data": [2.0] * len(times)} for name in ("Load", "Solar")]
        return json_answer({"unix_seconds": seconds(times), "production_types": data})

    def forecast(request):
        assert request.args["production_type"] in ("load", "solar")
        times = between(request)
        return json_answer({"unix_seconds": seconds(times), "forecast_values": [3.0] * len(times)})

    httpserver.expect_request("/price").respond_with_handler(price)
    httpserver.expect_request("/public_power").respond_with_handler(powers)
    httpserver.expect_request("/public_power_forecast").respond_with_handler(forecast)
    found = ask("energy-charts", httpserver, "2025-06-01T00:00Z", "2025-06-07T00:00Z", area="LU")
    assert {kind for _, kind in found} == {"market", "load", "solar", "forecast"}
    assert len(found) == 5
    assert {len(item.rows) for item in found.values()} == {24 * 6}
