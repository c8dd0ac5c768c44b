"""The synthetic data beside a real year, and how fast they are made.

    python benchmarks/bench_generation.py
    python benchmarks/bench_generation.py quality --seeds 5
    python benchmarks/bench_generation.py speed --sites 100

The first does both. `quality` sets a synthetic year beside Luxembourg 2024 (the folder
VPP_TEST_DATA, default ../shared/data; SMARD.de, CC BY 4.0) and states the range each figure should
have. `speed` makes a year of hours of 1,000 plants at 100 sites, weather, forecasts and CSV files
included, and times the bare pvlib and windpowerlib calls on the same arrays."""

import argparse
import dataclasses
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

import generation
from vpp.physics import plants
from vpp.physics.profiles import local_profiles
from vpp.runtime.config import load_config
from vpp.runtime.settings import Generation
from vpp.runtime.tables import print_rows
from vpp.synthetic import weather

REAL = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)

# figure: lowest and highest value of a believable year in Central Europe
WANTED = {
    "pv_kwh_per_kwp": (800, 1200),
    "pv_night_max_kw": (0, 0),
    "pv_max_over_rating": (0, 1),
    "wind_capacity_factor": (0.20, 0.40),
    "wind_corr_next_hour": (0.90, 1),
    "sun_wind_daily_corr": (-0.6, -0.05),
    "load_weekend_ratio": (0.7, 0.95),
    "load_evening_over_night": (1.2, 2.2),
    "price_corr_residual_load": (0.5, 1),
    "price_negative_pct": (1, 8),
    "price_p5_p95_width": (None, None),
    "price_mean": (None, None),
    "price_std": (None, None),
    "price_max": (None, None),
    "price_corr_next_hour": (None, None),
    "price_daily_spread": (None, None),
    "wind_rmse_24h": (1.3, 2.0),
    "wind_rmse_72h_over_6h": (1.4, 2.5),
    "temp_rmse_24h": (1.2, 2.0),
    "temp_rmse_72h_over_6h": (1.4, 2.5),
    "ghi_rmse_24h_pct": (20, 40),
    "ghi_rmse_72h_over_6h": (1.1, 1.8),
}


def lag_correlation(values, lag=1):
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


def price_and_load_figures(price, load):
    """Figures of hourly series that the real and a synthetic year share."""
    local = load.tz_convert("Europe/Brussels")
    weekend = local.index.dayofweek >= 5
    by_hour = local[~weekend].groupby(local[~weekend].index.hour).mean()
    days = price.tz_convert("Europe/Brussels").groupby(lambda time: time.date())
    return {
        "load_weekend_ratio": local[weekend].mean() / local[~weekend].mean(),
        "load_evening_over_night": by_hour[[18, 19, 20]].mean() / by_hour[[2, 3, 4]].mean(),
        "price_negative_pct": 100 * (price < 0).mean(),
        "price_p5_p95_width": price.quantile(0.95) - price.quantile(0.05),
        "price_mean": price.mean(),
        "price_std": price.std(),
        "price_max": price.max(),
        "price_corr_next_hour": lag_correlation(price.to_numpy()),
        "price_daily_spread": (days.max() - days.min()).median(),
    }


def real_figures():
    if not REAL.exists():
        return {}
    frame = pd.read_csv(REAL)
    frame.index = pd.to_datetime(frame.pop("time_utc"), utc=True)
    frame = frame.resample("h").mean()
    daily = frame.resample("D").mean()
    figures = {
        "wind_capacity_factor": frame["wind_mw"].mean() / frame["wind_mw"].max(),
        "wind_corr_next_hour": lag_correlation(frame["wind_mw"].to_numpy()),
        "sun_wind_daily_corr": daily["pv_mw"].corr(daily["wind_mw"]),
        "price_corr_residual_load": frame["price_da_eur_mwh"].corr(
            frame["residual_mw"], method="spearman"
        ),
    }
    return figures | price_and_load_figures(frame["price_da_eur_mwh"], frame["load_mw"])


def synthetic_figures(seed, year=2024, latitude=49.6, longitude=6.1):
    """Figures of a year of one plant of each kind; the PV plant faces south at 30 degrees."""
    settings = Generation(start=pd.Timestamp(year, 1, 1).date(), days=366, seed=seed)
    world = generation.make_world(settings, "LU")
    place = generation.make_place(world, "site-1", latitude, longitude)
    common = {
        "site_id": "site-1",
        "step_min": 60,
        "latitude": latitude,
        "longitude": longitude,
        "time_zone": "Europe/Brussels",
    }
    solar = generation.Source(
        "solar-1",
        "solar",
        "",
        capacity_kw=1000.0,
        parameters={"tilt": 30, "azimuth": 180, "dc_ac_ratio": 1.2},
        **common,
    )
    turbine = {"turbine": "E-82/2300", "hub_height_m": 100}
    wind = generation.Source("wind-1", "wind", "", capacity_kw=2300.0, parameters=turbine, **common)
    load = generation.Source("load-1", "load", "", capacity_kw=3000.0, parameters={}, **common)
    market = generation.Source("market-1", "market", "", capacity_kw=None, parameters={}, **common)
    profiles = local_profiles(world.times, 60, "Europe/Brussels", "LU")
    rows, times = world.rows, world.times[: world.rows]
    pv = generation.plant_series(world, solar, place, None)
    blown = generation.plant_series(world, wind, place, None)
    demand = generation.plant_series(world, load, place, profiles)
    price, residual = (values[:rows] for values in generation.market_series(world, market))
    daily = pd.DataFrame({"pv": pv, "wind": blown}, index=times).resample("D").mean()
    dark = ~place.sky.day[:rows]
    figures = {
        "pv_kwh_per_kwp": pv.sum() / 1200 * 365 / 366,
        "pv_night_max_kw": pv[dark].max(),
        "pv_max_over_rating": pv.max() / 1000,
        "wind_capacity_factor": blown.mean() / 2300,
        "wind_corr_next_hour": lag_correlation(blown),
        "sun_wind_daily_corr": daily["pv"].corr(daily["wind"]),
        "price_corr_residual_load": pd.Series(price).corr(pd.Series(residual), method="spearman"),
    }
    figures |= price_and_load_figures(pd.Series(price, times), pd.Series(demand, times))
    return figures | forecast_figures(world, place)


def forecast_figures(world, place):
    """Errors of the weather forecasts at 6, 24 and the last hours before 72 h of lead.

    GHI over daylight hours.
    """
    made = weather.forecasts_at(
        world.seed, "site-1", place.systems, place.sky, place.weather, world.end
    )
    lead = made["valid"] - made["issue"]
    day = place.sky.day[made["valid"]]
    truth = {name: place.weather[name].to_numpy() for name in ("wind_speed", "temp_air", "ghi")}
    mean_ghi = truth["ghi"][place.sky.day].mean()

    def rmse(name, at, width=0):
        chosen = (np.abs(lead - at) <= width) & (day if name == "ghi" else True)
        return np.sqrt(np.mean((made[name] - truth[name][made["valid"]])[chosen] ** 2))

    return {
        "wind_rmse_24h": rmse("wind_speed", 24),
        "wind_rmse_72h_over_6h": rmse("wind_speed", 71) / rmse("wind_speed", 6),
        "temp_rmse_24h": rmse("temp_air", 24),
        "temp_rmse_72h_over_6h": rmse("temp_air", 71) / rmse("temp_air", 6),
        "ghi_rmse_24h_pct": 100 * rmse("ghi", 24) / mean_ghi,
        "ghi_rmse_72h_over_6h": rmse("ghi", 70, 1) / rmse("ghi", 6, 1),
    }


def quality(seeds):
    real = real_figures()
    years = pd.DataFrame([synthetic_figures(seed) for seed in range(1, seeds + 1)])
    rows = []
    for name, (low, high) in WANTED.items():
        if name == "price_p5_p95_width" and real:
            low, high = real[name] / 1.5, real[name] * 1.5
        wanted = f"{low:.4g} to {high:.4g}" if low is not None else None
        values = years[name]
        held = None if low is None else bool(values.between(low, high).all())
        rows.append(
            {
                "figure": name,
                "wanted": wanted,
                "real": real.get(name),
                "synthetic": values.mean(),
                "lowest": values.min(),
                "highest": values.max(),
                "held": held,
            }
        )
    print_rows(
        rows,
        f"A synthetic year (mean, lowest and highest of {seeds} seeds) beside Luxembourg and "
        "DE-LU 2024, hourly",
    )


def bare_calls(world, place, sources, latitude, longitude):
    """The library calls that a site and its plants need, and nothing else.

    The results are thrown away.
    """
    import pvlib
    import windpowerlib as wpl

    middle = world.times + pd.Timedelta(minutes=world.step_min) / 2
    sun = pvlib.solarposition.get_solarposition(middle, latitude, longitude)
    zenith, azimuth = sun["apparent_zenith"].to_numpy(), sun["azimuth"].to_numpy()
    extra = pvlib.irradiance.get_extra_radiation(middle).to_numpy()
    airmass = pvlib.atmosphere.get_relative_airmass(zenith)
    with np.errstate(divide="ignore", invalid="ignore"):
        pvlib.clearsky.ineichen(zenith, airmass, 3.0, dni_extra=extra)
    found = {
        name: place.weather[name].to_numpy()
        for name in ("ghi", "dni", "dhi", "temp_air", "wind_speed")
    }
    pvlib.irradiance.erbs_driesse(found["ghi"], zenith, dni_extra=extra)
    for source in sources:
        if source.kind == "solar":
            tilt, facing, kw = (
                source.parameters["tilt"],
                source.parameters["azimuth"],
                source.capacity_kw,
            )
            beam = (found["dni"], found["ghi"], found["dhi"])
            plane = (tilt, facing, zenith, azimuth)
            total = pvlib.irradiance.get_total_irradiance(
                *plane, *beam, dni_extra=extra, airmass=airmass, model="perez"
            )
            pvlib.iam.physical(pvlib.irradiance.aoi(*plane))
            cell = pvlib.temperature.faiman(
                total["poa_global"], found["temp_air"], found["wind_speed"]
            )
            dc = pvlib.pvsystem.pvwatts_dc(total["poa_global"], cell, kw, -0.0047)
            pvlib.inverter.pvwatts(dc, kw, 0.96)
        elif source.kind == "wind":
            speeds, powers = plants.turbine_curve(source.parameters["turbine"])
            blown = wpl.wind_speed.hellman(
                found["wind_speed"], 10, source.parameters["hub_height_m"], hellman_exponent=0.2
            )
            wpl.density.barometric(
                101_325.0, 0.0, source.parameters["hub_height_m"], found["temp_air"] + 273.15
            )
            wpl.power_output.power_curve(blown, speeds, powers)


def shares_of(settings, fleet, sites):
    """CPU seconds of the libraries' bare calls and of our own, by a tenth of the sites."""
    import pvlib

    world = generation.make_world(settings, "LU")
    bare = own = 0.0
    for site_id in list(dict.fromkeys(source.site_id for source in fleet))[: max(1, sites // 10)]:
        sources = [
            source
            for source in fleet
            if source.site_id == site_id and source.kind in ("solar", "wind")
        ]
        position = (sources[0].latitude, sources[0].longitude)
        place = generation.make_place(world, site_id, *position)
        made = weather.forecasts_at(1, site_id, place.systems, place.sky, place.weather, world.end)
        began = time.process_time()
        bare_calls(world, place, sources, *position)
        pvlib.irradiance.erbs_driesse(
            made["ghi"],
            place.sky.zenith[made["valid"]],
            dni_extra=place.sky.dni_extra[made["valid"]],
        )
        bare += time.process_time() - began
        began = time.process_time()
        place = generation.make_place(world, site_id, *position)
        for source in sources:
            generation.plant_series(world, source, place, None)
        weather.forecasts_at(1, site_id, place.systems, place.sky, place.weather, world.end)
        own += time.process_time() - began
    parts = sites / max(1, sites // 10)
    return bare * parts, own * parts


def speed(sites):
    settings = Generation(days=365, sites=sites, solar=5, wind=5, loads=0)
    whole = dataclasses.replace(load_config(ROOT / "config.ini", {}), generation=settings)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        generation.generate_files(whole, Path(folder))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        size = sum(path.stat().st_size for path in Path(folder).glob("*.csv"))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    plant_rows, weather_rows = sites * 10 * 8760, sites * 8760
    forecast_rows = sites * (365 * 4 + 1) * 72
    made_rows = plant_rows + weather_rows + forecast_rows
    rows = made_rows + 8783

    bare, own = shares_of(settings, generation.make_fleet(whole), sites)
    print_rows(
        [
            {
                "part": part,
                "seconds": seconds,
                "rows_per_s": of / seconds,
                "of_bare": seconds / bare,
            }
            for part, seconds, of in (
                ("bare pvlib and windpowerlib calls", bare, made_rows),
                ("weather, forecasts and plants", own, made_rows),
                ("everything, CPU", cpu, rows),
                ("everything, by the clock", wall, rows),
            )
        ],
        f"A year of hours, {10 * sites:,} plants at {sites} sites: {plant_rows:,} rows of "
        f"plants, {weather_rows:,} of weather, "
        f"{forecast_rows:,} of forecasts, {size / 1e6:,.0f} MB of CSV, peak memory "
        f"{peak_gb:.2f} GB",
    )
    print(
        "The first two: CPU seconds of a tenth of the sites, times ten. Everything: with market "
        "and CSV files."
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("part", nargs="?", choices=("quality", "speed"), help="default: both")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sites", type=int, default=100)
    args = parser.parse_args()
    if args.part != "speed":
        quality(args.seeds)
    if args.part != "quality":
        speed(args.sites)


if __name__ == "__main__":
    main()
