"""Makes synthetic weather, plants, load and day-ahead price, and writes them as CSV files into the data folder.

    python generation.py                                                what config.ini says
    python generation.py --output data --start 2025-01-01 --days 90 --step-min 60 --seed 1 --sites 1 --solar 2 --wind 2
    python generation.py --plot week.html

Writes `solar.csv`, `wind.csv`, `load.csv`, `market.csv`, `weather.csv`, `weather_forecast.csv` and `sources.csv`, all together or
not at all. Times are UTC and label the START of an interval, values are means over it; days are UTC days. Power is what a plant
delivers or a load takes [kW], never below zero. Prices run to the end of the local day in which the data end, because they are
published the day before; weather forecasts are issued until the data end. The same seed gives the same bytes, and a source's series
depends on the seed, the period and itself only: adding a plant or a site changes no other series.
"""

import argparse
import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import plants
import terminal
import weather
from config import Config, ConfigError, FieldError, Generation, VppError
from kinds import KINDS, POWER_KINDS, WEATHER
from sources import (
    ADDED,
    IMPORTED,
    SOURCES_FILE,
    Source,
    read_sources,
    replacing_files,
    time_text,
    write_sources,
)

PANELS = {  # of the picture: title, and which column of which files it shows
    "Plants and load [kW]": (POWER_KINDS, "power_kw"),
    "Day-ahead price [EUR/MWh]": (("market",), "price_eur_per_mwh"),
    "Global irradiance [W/m2]": (("weather", "weather-forecast"), "ghi"),
    "Wind at 10 m [m/s]": (("weather", "weather-forecast"), "wind_speed"),
    "Air temperature [deg C]": (("weather", "weather-forecast"), "temp_air"),
}
FIRST_YEAR, LAST_YEAR = 1950, 2100
ZONE_PLANT = {"tilt": 25, "turbine": "E-82/2300", "hub_height_m": 105}
ZONE_PLACES_KM = ((0, 0), (250, 60), (120, 280), (-130, 330), (300, 330), (430, 180))  # north and east of the market's place


class GenerationError(VppError):
    """The asked-for series cannot be made."""


# ------------------------------------------------------------------------------------------------------------ fleet


def make_fleet(config: Config) -> list[Source]:
    """The sources that the configuration asks for: one market, and for each site its weather, plants and loads.

    The first site is the one of `[site]`; others lie around it. What a source is depends on the seed and its own name only.
    """
    made, site, wanted = [], config.site, config.generation
    for number in range(1, wanted.sites + 1):
        site_id, prefix = (site.site_id, "") if number == 1 else (f"{site.site_id.removesuffix('-1')}-{number}", f"site-{number}-")
        latitude, longitude = site.latitude, site.longitude
        if number > 1:
            north, east = weather.stream(wanted.seed, "place", site_id).normal(0, 60, 2)
            latitude, longitude = moved(latitude, longitude, north, east)

        def source(kind, count, capacity_kw, parameters, number=number, site_id=site_id, prefix=prefix, place=(latitude, longitude)):
            name = f"{prefix}{kind}-{count}"
            title = f"{kind.capitalize()} {count}" if number == 1 else f"{kind.capitalize()} {count} of {site_id}"
            return Source(name, kind, title, site_id, capacity_kw, wanted.step_min, *place, site.time_zone, parameters)

        if number == 1:
            made.append(source("market", 1, None, {"price_area": site.price_area}))
        made.append(source("weather", 1, None, {}))
        for count in range(1, wanted.solar + 1):
            rng = weather.stream(wanted.seed, "solar", f"{prefix}{count}")
            facing = (180 if latitude >= 0 else 360) + int(rng.integers(-45, 46))
            parameters = {"tilt": int(rng.integers(20, 41)), "azimuth": facing % 360, "dc_ac_ratio": round(rng.uniform(1.05, 1.2), 2)}
            made.append(source("solar", count, wanted.solar_capacity_kw, parameters))
        for count in range(1, wanted.wind + 1):
            rng = weather.stream(wanted.seed, "wind", f"{prefix}{count}")
            _, curve_kw = plants.turbine_curve(wanted.wind_turbine)
            parameters = {"turbine": wanted.wind_turbine, "hub_height_m": int(rng.integers(90, 121))}
            made.append(source("wind", count, float(curve_kw.max()), parameters))
        for count in range(1, wanted.loads + 1):
            rng = weather.stream(wanted.seed, "load", f"{prefix}{count}")
            shares = rng.dirichlet(40 * np.array(plants.LOAD_SHARES)).round(2)
            made.append(source("load", count, wanted.load_capacity_kw, {"shares": [float(share) for share in shares]}))
    return made


def moved(latitude: float, longitude: float, north_km: float, east_km: float) -> tuple[float, float]:
    """A place so far away [degrees], rounded to 0.0001 degrees."""
    new = float(np.clip(latitude + north_km / 111.2, -89.9, 89.9))
    east = longitude + east_km / (111.2 * max(0.05, math.cos(math.radians(new))))
    return round(new, 4), round((east + 180) % 360 - 180, 4)


# ------------------------------------------------------------------------------------------------------------ series


@dataclass(frozen=True)
class World:
    """What all series of a run share: seed, holidays' country, the period, and the weather fields."""

    seed: int
    country: str
    step_min: int
    rows: int  # intervals of the period
    sun: weather.Sun  # over the period and what forecasts and published prices need after it
    fields: dict[str, weather.Field]

    @property
    def times(self) -> pd.DatetimeIndex:
        return self.sun.times

    @property
    def end(self) -> pd.Timestamp:
        return self.times[self.rows]


def make_world(wanted: Generation, country: str) -> World:
    if not FIRST_YEAR <= wanted.start.year <= wanted.start.year + wanted.days // 365 <= LAST_YEAR:
        raise ConfigError(f"--start {wanted.start}, --days {wanted.days}: expected days of the years {FIRST_YEAR} to {LAST_YEAR}")
    start = pd.Timestamp(wanted.start, tz="UTC")
    rows = wanted.days * 24 * 60 // wanted.step_min
    more = (weather.FORECAST_FOR_H + 2) * 60 // wanted.step_min
    times = pd.date_range(start, periods=rows + more, freq=pd.Timedelta(minutes=wanted.step_min), name="time")
    fields = weather.make_fields(wanted.seed, wanted.days * 24 + weather.FORECAST_FOR_H + 2)
    return World(wanted.seed, country, wanted.step_min, rows, weather.sun_of(times, wanted.step_min), fields)


@dataclass(frozen=True)
class Place:
    """Sky and weather of a place over all of the world's times."""

    sky: weather.Sky
    systems: weather.Systems
    weather: pd.DataFrame


def make_place(world: World, name: str, latitude: float, longitude: float) -> Place:
    sky = weather.clear_sky(world.sun, latitude, longitude)
    systems = weather.systems_at(world.fields, latitude, longitude, sky)
    return Place(sky, systems, weather.weather_at(world.seed, name, systems, sky))


def plant_series(world: World, source: Source, place: Place, profiles: pd.DataFrame | None) -> np.ndarray:
    """Power [kW] of a solar, wind or load source over the period."""
    rng = weather.stream(world.seed, "series", source.source_id)
    step_h = world.step_min / 60
    if source.kind == "solar":
        noise = np.exp(0.03 * weather.persistent_noise(rng, len(world.times), step_h, 2.0))  # soiling, snow, own clouds
        power = plants.solar_power(place.weather, place.sky, source.parameters, source.capacity_kw, noise)
    elif source.kind == "wind":
        noise = np.exp(0.05 * weather.persistent_noise(rng, len(world.times), step_h, 4.0))  # terrain
        power = plants.wind_power(place.weather, place.sky, source.parameters, source.capacity_kw, noise)
    else:
        temp_air = place.weather["temp_air"].to_numpy()
        shares = source.parameters.get("shares", plants.LOAD_SHARES)
        power = plants.load_power(profiles, temp_air, source.capacity_kw, shares, step_h, rng)
    return power[: world.rows]


def market_series(world: World, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Price [EUR/MWh] of a market to the end of its published day, and the residual load of its zone [GW]."""
    shares = {"solar": [], "wind": [], "temp_air": []}
    for number, (north, east) in enumerate(ZONE_PLACES_KM):
        name = f"zone {source.source_id} {number}"
        place = make_place(world, name, *moved(source.latitude, source.longitude, north, east))
        shares["solar"].append(plants.solar_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["wind"].append(plants.wind_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["temp_air"].append(place.weather["temp_air"].to_numpy())
    mean = {name: np.mean(values, axis=0) for name, values in shares.items()}
    rng = weather.stream(world.seed, "series", source.source_id)
    step_h = world.step_min / 60
    profiles = plants.local_profiles(world.times, world.step_min, source.time_zone, world.country)
    residual = plants.zone_residual_load(profiles, mean["temp_air"], mean["wind"], mean["solar"], step_h, rng)
    unit_h = max(world.step_min, 15) / 60
    price = plants.day_ahead_price(residual, step_h, unit_h, rng)
    published_until = world.end.tz_convert(source.time_zone).normalize() + pd.DateOffset(days=1)
    rows = int(world.times.searchsorted(published_until.tz_convert("UTC")))
    return price[:rows], residual[:rows]


def generate(world: World, sources: Sequence[Source]) -> Iterator[tuple[str, Source, dict[str, np.ndarray], dict]]:
    """Make the series of sources, site by site.

    Yields
    ------
    file kind, source, its columns as arrays (times as positions in `world.times`), and figures for the table.
    """
    profiles = functools.cache(lambda zone: plants.local_profiles(world.times, world.step_min, zone, world.country))
    for source in sources:
        if source.kind == "market":
            price, residual = market_series(world, source)
            correlation = pd.Series(price).corr(pd.Series(residual), method="spearman")
            columns = {"time": np.arange(len(price)), "price_eur_per_mwh": price}
            yield "market", source, columns, {"corr_residual_load": correlation}
    for site_id in dict.fromkeys(source.site_id for source in sources if source.kind != "market"):
        places = {}
        for source in (source for source in sources if source.site_id == site_id and source.kind != "market"):
            position = (source.latitude, source.longitude)
            if None in position:
                raise GenerationError(f"source {source.source_id} has no latitude and longitude; put them into {SOURCES_FILE}")
            if position not in places:
                places[position] = make_place(world, site_id, *position)
            place = places[position]
            if source.kind != "weather":
                local = profiles(source.time_zone) if source.kind == "load" else None
                yield source.kind, source, {"time": np.arange(world.rows), "power_kw": plant_series(world, source, place, local)}, {}
                continue
            columns = {name: place.weather[name].to_numpy()[: world.rows] for name in WEATHER}
            yield "weather", source, {"time": np.arange(world.rows)} | columns, {}
            made = weather.forecasts_at(world.seed, site_id, place.systems, place.sky, place.weather, world.end)
            columns = {"issue_time": made["issue"], "valid_time": made["valid"]} | {name: made[name] for name in WEATHER}
            yield "weather-forecast", source, columns, {}


# ------------------------------------------------------------------------------------------------------------ files


def write_files(folder: Path, sources: Sequence[Source], world: World) -> tuple[list[dict], dict[str, dict[str, pd.Series]]]:
    """Write the series and `sources.csv` into a folder, one source in memory at a time.

    Returns
    -------
    The row of each series for the table, and a week of the first site's series to look at: panel -> name -> series.
    """
    import pyarrow as pa
    from pyarrow import csv

    text = pa.array(time_text(world.times))
    writing = None
    options = csv.WriteOptions(include_header=False, quoting_style="none")  # a header it would quote
    rows, writers, week = [], {}, {}
    first_site = next((source.site_id for source in sources if source.kind != "market"), None)
    schemas = {
        kind.name: pa.schema([(name, pa.float64() if name in kind.value_names else pa.string()) for name in kind.file_columns])
        for kind in KINDS.values()
    }
    with contextlib.ExitStack() as files:
        for kind, schema in schemas.items():
            file = files.enter_context((folder / KINDS[kind].file).open("wb"))
            file.write(",".join(schema.names).encode() + b"\n")
            writers[kind] = files.enter_context(csv.CSVWriter(file, schema, write_options=options))
        pool = files.enter_context(ThreadPoolExecutor(1))  # writes one table while the next is made
        with terminal.progress("Generating", len(sources)) as advance:
            for kind, source, columns, figures in generate(world, sources):
                arrays = [text.take(pa.array(columns[name])) for name in KINDS[kind].times]
                arrays.append(pa.array([source.source_id]).take(pa.array(np.zeros(len(arrays[0]), np.int8))))
                arrays += [pa.array(columns[column.name].round(column.decimals) + 0.0) for column in KINDS[kind].values]
                if writing:
                    writing.result()
                writing = pool.submit(writers[kind].write_table, pa.Table.from_arrays(arrays, schema=schemas[kind]))
                if kind != "weather-forecast":
                    rows.append(table_row(kind, source, columns, figures))
                    advance(1)
                if source.kind == "market" or source.site_id == first_site:
                    add_week(week, kind, source, columns, world)
            writing.result()
    write_sources(folder / SOURCES_FILE, sources)
    return rows, week


def add_week(week: dict[str, dict[str, pd.Series]], kind: str, source: Source, columns: dict[str, np.ndarray], world: World) -> None:
    """Put the week in the middle of a series into its panel of the picture; of the forecasts the one issued at its start."""
    per_day = 24 * 60 // world.step_min
    first = max(0, world.rows // per_day - 7) // 2 * per_day
    if kind == "weather-forecast":
        chosen = np.flatnonzero(columns["issue_time"] == first)
        times, ending = world.times[columns["valid_time"][chosen]], " forecast"
    else:
        chosen = np.arange(first, min(first + 7 * per_day, world.rows))
        times, ending = world.times[chosen], ""
    for panel, (kinds, name) in PANELS.items():
        if kind in kinds:
            week.setdefault(panel, {})[source.source_id + ending] = pd.Series(columns[name][chosen], times)


def save_plot(week: dict[str, dict[str, pd.Series]], path: Path) -> None:
    """Draw a week: an interactive page (.html) or a picture (.png)."""
    panels = [panel for panel in PANELS if panel in week]
    with terminal.replacing_file(path, "--plot") as partial:
        if path.suffix == ".html":
            from plotly.subplots import make_subplots

            page = make_subplots(len(panels), 1, shared_xaxes=True, subplot_titles=panels, vertical_spacing=0.05)
            for row, panel in enumerate(panels, start=1):
                for name, series in week[panel].items():
                    dash = "dot" if name.endswith("forecast") else "solid"
                    page.add_scatter(x=series.index, y=series.round(2), name=name, line={"dash": dash, "shape": "hv"}, row=row, col=1)
            page.update_layout(height=230 * len(panels), title="A week of the generated series (UTC)", template="plotly_white")
            page.write_html(partial)
        else:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(14, 2.4 * len(panels)), layout="constrained")
            for axis, panel in zip(np.atleast_1d(figure.subplots(len(panels), 1, sharex=True)), panels, strict=True):
                for name, series in week[panel].items():
                    style = ":" if name.endswith("forecast") else "-"
                    axis.plot(series.index, series, style, drawstyle="steps-post", linewidth=1.2, label=name)
                axis.set_title(panel, loc="left", fontsize=10)
                axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
                axis.grid(alpha=0.3)
            figure.suptitle("A week of the generated series (UTC)")
            figure.savefig(partial, format="png", dpi=90)


def table_row(kind: str, source: Source, columns: dict[str, np.ndarray], figures: dict) -> dict:
    """What a series is like: capacity factor, extremes, correlation of an hour with the next, share of negative prices."""
    name = "temp_air" if kind == "weather" else KINDS[kind].value
    values = columns[name]
    per_h = 60 // source.step_min
    return {
        "source_id": source.source_id,
        "value": name,
        "rows": len(values),
        "capacity_kw": source.capacity_kw,
        "capacity_factor": float(values.mean() / source.capacity_kw) if source.capacity_kw else None,
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        "corr_next_hour": float(np.corrcoef(values[per_h:], values[:-per_h])[0, 1]) if np.ptp(values) > 0 else None,
        "negative": float((values < 0).mean()) if kind == "market" else None,
        "corr_residual_load": figures.get("corr_residual_load"),
    }


def fleet_of(config: Config, folder: Path) -> list[Source]:
    """The configured fleet and the sources that `sources.py add` put into the folder.

    Raises
    ------
    GenerationError : the folder holds imported data.
    """
    path = folder / SOURCES_FILE
    there = read_sources(path) if path.exists() else []
    imported = [source.source_id for source in there if source.parameters.get("origin") == IMPORTED]
    if imported:
        raise GenerationError(
            f"{terminal.shown(folder)} holds imported data ({', '.join(imported)}), which would be lost; "
            "name another folder with --output, or run python pipeline.py --data on this one"
        )
    added = {source.source_id: source for source in there if source.parameters.get("origin") == ADDED}
    fleet = [source for source in make_fleet(config) if source.source_id not in added]
    return fleet + [dataclasses.replace(source, step_min=config.generation.step_min) for source in added.values()]


def generate_files(config: Config, folder: Path, plot: Path | None = None) -> list[dict]:
    """Generate what the configuration asks for into a folder; returns the rows of the table."""
    if plot and plot.suffix not in (".html", ".png"):
        raise ConfigError(f"--plot {plot}: expected a file that ends in .html or .png")
    if plot:
        terminal.check_writable(plot, "--plot")
    sources = fleet_of(config, folder)
    world = make_world(config.generation, config.site.holidays_country)
    with replacing_files(folder) as temporary:
        rows, week = write_files(temporary, sources, world)
    if plot:
        save_plot(week, plot)
    return rows


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--output", metavar="DIR", help="the folder to write to (default: data_dir of the configuration)")
    parser.add_argument("--start", metavar="DATE", help="first day, in UTC, such as 2025-01-01")
    parser.add_argument("--days", type=int, metavar="N")
    parser.add_argument("--step-min", type=int, metavar="MIN", help="5, 15, 30 or 60")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--sites", type=int, metavar="N")
    parser.add_argument("--solar", type=int, metavar="N", help="solar plants at each site")
    parser.add_argument("--wind", type=int, metavar="N", help="wind plants at each site")
    parser.add_argument("--loads", type=int, metavar="N", help="loads at each site")
    parser.add_argument("--plot", metavar="FILE", help="also draw a week: FILE.html or FILE.png")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, config: Config) -> int | None:
    names = ("start", "days", "step_min", "seed", "sites", "solar", "wind", "loads")
    changed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        if "start" in changed:
            changed["start"] = date.fromisoformat(changed["start"])
        config = dataclasses.replace(config, generation=dataclasses.replace(config.generation, **changed))
    except FieldError as error:
        raise ConfigError(f"--{error.key.replace('_', '-')} {error.value}: expected {error.expected}") from None
    except ValueError:
        raise ConfigError(f"--start {args.start}: expected a date such as 2025-01-01") from None
    folder = Path(args.output) if args.output else config.paths.data_dir
    rows = generate_files(config, folder, Path(args.plot) if args.plot else None)
    terminal.print_rows(rows, f"Generated into {terminal.shown(folder)}", as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
