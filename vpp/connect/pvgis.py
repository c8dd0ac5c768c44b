"""PVGIS (European Commission): hourly PV power and weather of past years at a place.

The plant is stated by `--option peak_kw=8 --option tilt=30 --option azimuth=180` (180 is south)
and `losses=14`. PVGIS stamps each hour with the minute of the satellite's picture; the value
stands for the hour that holds it.

    python sources.py fetch pvgis --from 2020-01-01 --to 2020-12-31 --option peak_kw=8
"""

import pandas as pd

from vpp.connect.answers import Fetched, Wanted, numbers, one_value, series, source, take
from vpp.connect.web import Web

TERMS = {"licence": "free reuse, source named", "attribution": "PVGIS, European Commission JRC"}
DEFAULTS = {"peak_kw": 1.0, "tilt": 30.0, "azimuth": 180.0, "losses": 14.0}


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """The power of a PV plant.

    Parameters
    ----------
    web : the provider.
    wanted : span, site and options.

    Returns
    -------
    One solar source.

    Raises
    ------
    ProviderError : an option is no number, an answer is missing or of another shape.
    """
    plant = _plant(web, wanted)
    place = {"lat": wanted.site.latitude, "lon": wanted.site.longitude}
    asked = {
        "startyear": wanted.start.year,
        "endyear": (wanted.end - pd.Timedelta(1, "s")).year,
        "pvcalculation": 1,
        "peakpower": plant["peak_kw"],
        "loss": plant["losses"],
        "angle": plant["tilt"],
        "aspect": plant["azimuth"] - 180.0,  # PVGIS counts from south
        "outputformat": "json",
    }
    hourly = take(web, web.json("seriescalc", place | asked), "outputs", "hourly")
    try:
        stamps = [take(web, row, "time") for row in hourly]
        times = pd.to_datetime(stamps, format="%Y%m%d:%H%M", utc=True).floor("h")
    except (ValueError, TypeError):
        raise web.refusal("the answer's time is none like 20200101:0010") from None
    watts = numbers(web, [take(web, row, "P") for row in hourly], "P")
    power = series(web, pd.DatetimeIndex(times), watts / 1000.0, wanted, "PV power")
    made = source(
        wanted,
        "solar",
        f"pvgis-{wanted.site.site_id}",
        f"PVGIS, {plant['peak_kw']:g} kW",
        60,
        capacity_kw=plant["peak_kw"],
        tilt_deg=plant["tilt"],
        azimuth_deg=plant["azimuth"],
        **TERMS,
    )
    return [one_value(made, power)]


def _plant(web: Web, wanted: Wanted) -> dict[str, float]:
    plant = dict(DEFAULTS)
    for name, text in wanted.options.items():
        try:
            plant[name] = float(text)
        except ValueError:
            raise web.refusal(f"option {name} = {text}: expected a number") from None
    return plant
