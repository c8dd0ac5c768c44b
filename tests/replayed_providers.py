"""Providers' answers in their documented shapes over one world of some weeks, on loopback.

Powers of a country in MW, a price, and the weather that made them: numbers of our own."""

import re

import numpy as np
import pandas as pd
from pytest_httpserver.httpserver import QueryMatcher
from small_providers import NAMES, seconds

QUARTERS_A_DAY = 96


class Asked(QueryMatcher):
    """Requests whose query holds a pattern."""

    def __init__(self, pattern):
        self.pattern = pattern

    def match(self, request_query_string):
        return bool(re.search(self.pattern, request_query_string.decode()))

    def get_comparing_values(self, request_query_string):
        return request_query_string, self.pattern


def sun(times):
    """A sun that rises at 5 and sets at 19 UTC, between 0 and 1, with clouds by day."""
    hour = (times.hour + times.minute / 60).to_numpy()
    cloud = 0.6 + 0.4 * np.sin(times.dayofyear.to_numpy() * 1.7)
    return np.clip(np.sin((hour - 5) / 14 * np.pi), 0, None) * cloud


class World:
    """Series [MW] of quarter-hours and hourly prices [EUR/MWh], from `start` on."""

    def __init__(self, start, days):
        rng = np.random.default_rng(1)
        self.start, self.days = pd.Timestamp(start), days
        self.times = pd.date_range(start, periods=QUARTERS_A_DAY * days, freq="15min")
        self.hours = pd.date_range(start, periods=24 * (days + 2), freq="h")
        count, hour = len(self.times), self.times.hour.to_numpy()
        self.powers = {
            "load": 60 + 15 * np.sin((hour - 8) / 24 * 2 * np.pi),
            "solar": 30 * sun(self.times),
            "wind": 40 + 20 * np.sin(np.arange(count) / 200) + rng.normal(0, 1, count),
        }
        self.powers = {kind: values.round(3) for kind, values in self.powers.items()}
        self.price = (80 - 60 * sun(self.hours) + rng.normal(0, 3, len(self.hours))).round(2)


def serve_open_meteo(httpserver, world):
    stamps = pd.date_range(world.start, periods=24 * (world.days + 6), freq="h")
    middle = stamps - pd.Timedelta(minutes=30)  # a stamp ends its hour of radiation
    values = {
        "shortwave_radiation": 900 * sun(middle),
        "direct_normal_irradiance": 700 * sun(middle),
        "diffuse_radiation": 200 * sun(middle),
        "temperature_2m": 12 + 6 * sun(stamps),
        "wind_speed_10m": 5 + np.sin(np.arange(len(stamps)) / 50),
    }
    for path, leads in (("archive-api/v1/archive", [""]), ("previous-runs-api/v1/forecast", "123")):
        named = {
            name + (f"_previous_day{lead}" if lead else ""): (values[name], unit)
            for lead in leads
            for name, unit in NAMES.items()
        }
        httpserver.expect_request(f"/{path}").respond_with_json(
            {
                "hourly_units": {name: unit for name, (_, unit) in named.items()},
                "hourly": {"time": seconds(stamps)}
                | {name: found.round(2).tolist() for name, (found, _) in named.items()},
            }
        )


def serve_energy_charts(httpserver, world, unit="EUR / MWh"):
    answer = {"unix_seconds": seconds(world.hours), "price": world.price.tolist(), "unit": unit}
    httpserver.expect_request("/price").respond_with_json(answer)
    names = {"load": "Load", "solar": "Solar", "wind": "Wind onshore"}
    types = [{"name": names[k], "data": v.tolist()} for k, v in world.powers.items()]
    httpserver.expect_request("/public_power").respond_with_json(
        {"unix_seconds": seconds(world.times), "production_types": types}
    )
    forecast = {
        "unix_seconds": seconds(world.times),
        "forecast_values": world.powers["solar"].tolist(),
    }
    httpserver.expect_request("/public_power_forecast").respond_with_json(forecast)


def serve_smard(httpserver, world):
    """Files of a week; energies are MWh of a quarter-hour, offshore wind is nothing."""
    energy = {kind: values / 4 for kind, values in world.powers.items()}
    prices = np.repeat(world.price, 4)[: len(world.times)]
    nothing = np.zeros(len(world.times))
    given = {4169: prices, 410: energy["load"], 4068: energy["solar"], 4067: energy["wind"]}
    given |= {1225: nothing, 125: energy["solar"], 123: energy["wind"], 3791: nothing}
    begins = range(0, len(world.times), 7 * QUARTERS_A_DAY)
    stamps = (world.times.asi8 // 10**6).tolist()
    for number, values in given.items():
        folder = f"/{number}/DE"
        httpserver.expect_request(f"{folder}/index_quarterhour.json").respond_with_json(
            {"timestamps": [stamps[first] for first in begins]}
        )
        for first in begins:
            part = slice(first, first + 7 * QUARTERS_A_DAY)
            pairs = [
                list(pair)
                for pair in zip(stamps[part], values[part].round(4).tolist(), strict=True)
            ]
            name = f"{folder}/{number}_DE_quarterhour_{stamps[first]}.json"
            httpserver.expect_request(name).respond_with_json({"meta_data": {}, "series": pairs})


NOTHING = (
    "<Acknowledgement_MarketDocument><Reason><code>999</code>"
    "<text>No matching data found for Data item</text></Reason></Acknowledgement_MarketDocument>"
)


def entsoe_series(points, start, end, resolution="PT60M", sequence=None, value="price.amount"):
    order = "classificationSequence_AttributeInstanceComponent.position"
    return (
        "<TimeSeries><curveType>A03</curveType>"
        + (f"<{order}>{sequence}</{order}>" if sequence else "")
        + f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>"
        + "".join(
            f"<Point><position>{position}</position><{value}>{number}</{value}></Point>"
            for position, number in points
        )
        + "</Period></TimeSeries>"
    )


def entsoe_document(*parts):
    name = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
    root = "Publication_MarketDocument"
    return f'<?xml version="1.0"?><{root} xmlns="{name}">{"".join(parts)}</{root}>'


def serve_entsoe(httpserver, world):
    """Curves that leave out repeated values, and prices of a second auction."""

    def answer(query, times, values, step, **more):
        kept = np.flatnonzero(np.diff(values, prepend=np.inf))
        points = [(int(n) + 1, values[n]) for n in kept]
        span = [f"{time:%Y-%m-%dT%H:%MZ}" for time in (times[0], times[-1] + (times[1] - times[0]))]
        other = [entsoe_series([(1, 999)], *span, step, 2, **more)] if "A44" in query else []
        document = entsoe_document(entsoe_series(points, *span, step, 1, **more), *other)
        httpserver.expect_request("/", query_string=Asked(query)).respond_with_data(document)

    answer("documentType=A44", world.hours, world.price, "PT60M")
    powers = world.powers
    for query, kind in (
        ("documentType=A65&processType=A16", "load"),
        ("documentType=A65&processType=A01", "load"),
        ("documentType=A75&.*psrType=B16", "solar"),
        ("documentType=A69&.*psrType=B16", "solar"),
        ("documentType=A75&.*psrType=B19", "wind"),
        ("documentType=A69&.*psrType=B19", "wind"),
    ):
        pattern = query.replace("&.*", "&.*?").replace("&processType", ".*processType")
        answer(pattern, world.times, powers[kind], "PT15M", value="quantity")
    none = httpserver.expect_request("/", query_string=Asked("psrType=B18"))
    none.respond_with_data(NOTHING)


def serve_octopus(httpserver, world, tariff):
    """Half-hourly rates in pence a kWh, with tax, newest first."""
    product = re.sub(r"^.-\dR-|-[A-P]$", "", tariff)
    path = f"/v1/products/{product}/electricity-tariffs/{tariff}/standard-unit-rates/"
    halves = pd.date_range(world.start, periods=2 * len(world.hours), freq="30min")
    results = [
        {"valid_from": f"{time:%Y-%m-%dT%H:%M:%SZ}", "value_inc_vat": value}
        for time, value in zip(halves, np.repeat(world.price, 2).tolist(), strict=True)
    ]
    answer = {"count": len(results), "next": None, "results": results[::-1]}
    httpserver.expect_request(path).respond_with_json(answer)


def serve_pvgis(httpserver, world):
    """Watts of each hour of the year, stamped at ten past."""
    year = world.start.year
    times = pd.date_range(f"{year}-01-01T00:10Z", f"{year}-12-31T23:10Z", freq="h")
    rows = [
        {"time": f"{time:%Y%m%d:%H%M}", "P": value}
        for time, value in zip(times, (6000 * sun(times)).round(1).tolist(), strict=True)
    ]
    httpserver.expect_request("/seriescalc").respond_with_json({"outputs": {"hourly": rows}})
