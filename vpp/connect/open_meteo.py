"""Open-Meteo: measured weather of a place, and weather forecasts as they were issued.

Radiation is the mean of the hour before its stamp, so an hour's value has the stamp of its end.
Temperature and wind are those of the moment: an hour's value is the mean of both its ends. The
forecast of a past day is the one of the evening before, and for the days after it those of as many
days before: all were known when they count as issued, at midnight UTC.

    python sources.py fetch open-meteo --from 2025-01-01 --to 2025-01-31
"""

from collections.abc import Sequence

import pandas as pd

from vpp.connect.answers import Fetched, Wanted, as_times, numbers, source, take
from vpp.connect.web import Web
from vpp.site.kinds import WEATHER

TERMS = {"licence": "CC BY 4.0", "attribution": "Weather data by Open-Meteo.com"}
FIELDS = {
    "ghi": "shortwave_radiation",
    "dni": "direct_normal_irradiance",
    "dhi": "diffuse_radiation",
    "temp_air": "temperature_2m",
    "wind_speed": "wind_speed_10m",
}
UNITS = {
    "shortwave_radiation": "W/m²",
    "direct_normal_irradiance": "W/m²",
    "diffuse_radiation": "W/m²",
    "temperature_2m": "°C",
    "wind_speed_10m": "m/s",
}
MEANS = ("ghi", "dni", "dhi")  # of the hour before the stamp; the others are of the moment
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
LEADS_DAYS = (1, 2, 3)  # of a past forecast: its first day, and the days after it


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """Weather of the site's place, and the forecasts of it.

    Parameters
    ----------
    web : the provider.
    wanted : span and site. Of a span that goes beyond now there is a forecast issued now, too.

    Returns
    -------
    One weather source with its weather, and with its forecasts.

    Raises
    ------
    ProviderError : an answer is missing or of another shape.
    """
    name, site_id = f"Weather of {wanted.site.name}", wanted.site.site_id
    made = source(wanted, "weather", f"weather-{site_id}", name, 60, **TERMS)
    today, names = wanted.now.floor("D"), list(FIELDS.values())
    end = min(wanted.end, today)
    found = []
    if wanted.start < end:
        weather = _hours(_answer(web, wanted, "archive-api/v1/archive", names, end), FIELDS)
        inside = weather[(weather.index >= wanted.start) & (weather.index < end)].dropna()
        whole = len(pd.date_range(wanted.start, end, freq="h", inclusive="left"))
        if len(inside):
            missing = whole - len(inside)
            note = (f"weather: {missing} of {whole} hours are missing",) if missing else ()
            rows = inside.rename_axis("time").reset_index()
            found.append(Fetched(made, "weather", rows, note))
        forecasts = _past_forecasts(web, wanted, end)
        if len(forecasts):
            found.append(Fetched(made, "weather-forecast", forecasts))
    if wanted.end > today:
        answer = _answer(web, wanted, "api/v1/forecast", names, wanted.end + DAY, today)
        hours = _hours(answer, FIELDS).dropna()
        issue = wanted.now.floor("h")
        rows = hours[hours.index >= issue].rename_axis("valid_time").reset_index()
        rows.insert(0, "issue_time", issue)
        found.append(Fetched(made, "weather-forecast", rows))
    if not found:
        raise web.refusal("no weather in this span; the archive is some days behind")
    return found


def _past_forecasts(web: Web, wanted: Wanted, end: pd.Timestamp) -> pd.DataFrame:
    """The forecasts of each past day and the days after it, issued at its midnight [UTC]."""
    names = [f"{name}_previous_day{lead}" for lead in LEADS_DAYS for name in FIELDS.values()]
    last = min(end + DAY * len(LEADS_DAYS), wanted.now.floor("D"))
    answer = _answer(web, wanted, "previous-runs-api/v1/forecast", names, last)
    parts = []
    for lead in LEADS_DAYS:
        fields = {key: f"{name}_previous_day{lead}" for key, name in FIELDS.items()}
        hours = _hours(answer, fields).dropna()
        # a value that was forecast n days before was known at midnight n - 1 days before its day
        issue = pd.DatetimeIndex(hours.index).floor("D") - DAY * (lead - 1)
        parts.append(hours.rename_axis("valid_time").reset_index().assign(issue_time=issue))
    every = pd.concat(parts).sort_values(["issue_time", "valid_time"])
    right = (every["issue_time"] >= wanted.start) & (every["issue_time"] < end)
    return every.loc[right, ["issue_time", "valid_time", *WEATHER]].reset_index(drop=True)


def _answer(
    web: Web,
    wanted: Wanted,
    path: str,
    names: Sequence[str],
    end: pd.Timestamp,
    start: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """The fields of an answer by their stamps, from the start to the end, whose day is included."""
    asked = {
        "latitude": wanted.site.latitude,
        "longitude": wanted.site.longitude,
        "start_date": f"{wanted.start if start is None else start:%Y-%m-%d}",
        "end_date": f"{end:%Y-%m-%d}",
        "hourly": ",".join(names),
        "wind_speed_unit": "ms",
        "timeformat": "unixtime",
        "timezone": "UTC",
    }
    answer = web.json(path, asked)
    units, hourly = take(web, answer, "hourly_units"), take(web, answer, "hourly")
    times = as_times(web, take(web, hourly, "time"), "hourly.time")
    found = {}
    for name in names:
        unit, expected = take(web, units, name), UNITS[name.split("_previous_day")[0]]
        if unit != expected:
            raise web.refusal(f"{name} is in {unit}, expected {expected}")
        values = numbers(web, take(web, hourly, name), name)
        if len(values) != len(times):
            raise web.refusal(f"{len(times)} times but {len(values)} values of {name}")
        found[name] = values
    return pd.DataFrame(found, index=times)


def _hours(answer: pd.DataFrame, fields: dict[str, str]) -> pd.DataFrame:
    """Weather by the start of its hours; NaN where an hour lacks one of its ends."""
    stamps = answer.reindex(pd.date_range(answer.index[0], answer.index[-1], freq="h"))
    after = stamps.shift(-1)
    found = {
        key: after[name] if key in MEANS else (stamps[name] + after[name]) / 2
        for key, name in fields.items()
    }
    return pd.DataFrame(found)[list(WEATHER)]
