"""`sites.csv` and `batteries.csv`: connections of a portfolio, and the batteries behind them.

    python generation.py --sites 3
    python sources.py import-fleet batteries.csv

A cell that is empty, or a column that is absent, has the value of the configuration: of `[site]`,
`[grid]` and `[tariff]` for a site, the default of `[battery:NAME]` for a battery. Limits are
powers at the connection [kW]. A file is taken as a whole or not at all.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp.runtime.errors import FieldError, one_of
from vpp.runtime.fields import Section, check_zone, number
from vpp.runtime.files import DataFileError
from vpp.runtime.plant_settings import MARKET, BatteryParameters, Tariff
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.runtime.words import in_one_line
from vpp.site.sources import ID_PATTERN, SourceError

if TYPE_CHECKING:
    import pandas as pd

SITES_FILE, BATTERIES_FILE = "sites.csv", "batteries.csv"
ID_EXPECTED = "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit"


@dataclass(frozen=True)
class GridSite(Section):
    """A site with its own grid connection: one row of `sites.csv`.

    Parameters
    ----------
    site_id : its name (`ID_PATTERN`).
    name : as the report calls it.
    latitude, longitude : degrees north and east.
    time_zone : IANA time zone of its local days.
    price_area : bidding zone whose price it pays.
    import_limit_kw, export_limit_kw : largest powers of its connection; infinite: no limit [kW].
    tariff : its import price (`market`, or zones as in `[tariff] import_eur_per_mwh`), or a JSON
        object of keys of `[tariff]`; the other keys are those of `[tariff]`.

    Raises
    ------
    FieldError : a value is impossible.
    """

    site_id: str
    name: str | None = None
    latitude: float | None = number(None, -90, 90)
    longitude: float | None = number(None, -180, 180)
    time_zone: str | None = None
    price_area: str | None = None
    import_limit_kw: float | None = number(None, 0)
    export_limit_kw: float | None = number(None, 0)
    tariff: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not ID_PATTERN.fullmatch(self.site_id):
            raise FieldError("site_id", self.site_id, ID_EXPECTED)
        if self.time_zone:
            check_zone("time_zone", self.time_zone)
        tariff_of(self.tariff, Tariff())


@dataclass(frozen=True)
class FleetBattery:
    """A battery of a fleet: one row of `batteries.csv`.

    Parameters
    ----------
    site_id : the site that it stands at.
    battery : its parameters.
    """

    site_id: str
    battery: BatteryParameters


def tariff_of(text: str | None, general: Tariff) -> Tariff:
    """The tariff that a cell states.

    Parameters
    ----------
    text : of the column `tariff`.
    general : of `[tariff]`, whose keys hold where the cell says nothing of them.

    Raises
    ------
    FieldError : the cell states no tariff.
    """
    told = (text or "").strip()
    if not told:
        return general
    if not told.startswith("{"):
        try:
            return replace(general, import_eur_per_mwh=told)
        except FieldError as error:
            raise FieldError("tariff", told, error.expected) from None
    names = [item.name for item in fields(Tariff)]
    try:
        stated = json.loads(told)
        unknown = [name for name in stated if name not in names]
        if unknown:
            raise FieldError("tariff", told, f"keys of [tariff]; {one_of(unknown[0], names)}")
        kinds = {item.name: item.type for item in fields(Tariff)}
        values: dict[str, Any] = {key: _of_type(kinds[key], stated[key]) for key in stated}
        return replace(general, **values)
    except FieldError as error:
        raise FieldError("tariff", told, error.expected) from None
    except (ValueError, TypeError):
        expected = f"{MARKET}, price zones, or a JSON object of keys of [tariff]"
        raise FieldError("tariff", told, expected) from None


def _of_type(kind: Any, value: object) -> object:
    """A value of JSON as a key's type."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(value)
    if kind is str:
        return str(value)
    number_told = float(value)
    if not math.isfinite(number_told):
        raise ValueError(value)
    return number_told


def read_sites(path: Path) -> list[GridSite]:
    """Read `sites.csv`.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    DataFileError, SourceError : it cannot be read, or a row is no possible site; names the line.
    """
    return list(_read(path, GridSite, ("site_id",), "site_id", lambda row: GridSite(**row)))


def read_fleet(path: Path, site_id: str = "") -> list[FleetBattery]:
    """Read `batteries.csv`.

    Parameters
    ----------
    path : the file.
    site_id : the site of batteries whose cell is empty; empty: each has to name its own.

    Raises
    ------
    DataFileError, SourceError : it cannot be read, or a row is no possible battery; names the line.
    """
    needed = ("battery_id", *(() if site_id else ("site_id",)), "capacity_kwh")

    def battery(row: dict[str, Any]) -> FleetBattery:
        own = row.pop("site_id", site_id)
        for name, value in (("battery_id", row["battery_id"]), ("site_id", own)):
            if not ID_PATTERN.fullmatch(value):
                raise FieldError(name, value, ID_EXPECTED)
        return FleetBattery(own, BatteryParameters(**row))

    needed += ("charge_kw", "discharge_kw")
    return list(_read(path, BatteryParameters, needed, "battery_id", battery, ("site_id",)))


def _read(
    path: Path, kind: type, needed: Sequence[str], key: str, make: Any, more: Sequence[str] = ()
) -> Iterator[Any]:
    """The rows of a file as `make` makes them of their cells that are not empty."""
    kinds = {item.name: item.type for item in fields(kind)} | dict.fromkeys(more, str)
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            names = rows.fieldnames or ()
            if not {*needed} <= {*names} <= {*kinds} or len({*names}) < len(names):
                told, expected = in_one_line(",".join(names))[:200], ",".join(kinds)
                raise SourceError(
                    f"{shown(path)}, line 1: columns {told}: expected {expected}, each once; "
                    f"needed are {', '.join(needed)}"
                )
            for row in rows:
                try:
                    made = _made(row, kinds, needed, make)
                except (FieldError, SourceError) as error:
                    raise SourceError(f"{shown(path)}, line {rows.line_num}: {error}") from None
                name = str(row[key]).strip()
                if name in seen:
                    raise SourceError(
                        f"{shown(path)}, line {rows.line_num}: {key} {name} stands in line "
                        f"{seen[name]} already; expected each once"
                    )
                seen[name] = rows.line_num
                yield made
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or in_one_line(error)
        raise DataFileError(
            f"{shown(path)}: cannot be read: {reason}; expected a CSV in UTF-8"
        ) from None


def _made(
    row: Mapping[Any, Any], kinds: Mapping[str, Any], needed: Sequence[str], make: Any
) -> object:
    if None in row or None in row.values():
        raise SourceError("expected as many cells as there are columns")
    values: dict[str, Any] = {}
    for name, text in ((name, text.strip()) for name, text in row.items()):
        if not text:
            if name in needed:
                raise FieldError(name, "''", "a value")
            continue
        values[name] = text if kinds[name] in (str, str | None) else _number(name, text)
    return make(values)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or (math.isinf(value) and not name.endswith("_limit_kw")):
        limit = ", or inf for no limit" if name.endswith("_limit_kw") else ""
        raise FieldError(name, in_one_line(text), f"a finite number{limit}")
    return value


def sites_table(sites: Iterable[GridSite]) -> "pd.DataFrame":
    """Put sites into the rows and columns of `sites.csv`."""
    import pandas as pd

    names = [item.name for item in fields(GridSite)]
    return pd.DataFrame([[getattr(site, name) for name in names] for site in sites], columns=names)


def site_config(
    config: Config,
    site: GridSite,
    fleet: Sequence[BatteryParameters] = (),
    step_min: int | None = None,
) -> Config:
    """The configuration of a site, behind its own connection.

    Parameters
    ----------
    config : of the portfolio; what a site does not state is as it says.
    site : the site.
    fleet : its batteries that no section states.
    step_min : step of its plans [min].

    Returns
    -------
    The configuration: place, limits and tariff of the site; batteries and flexible loads whose
    sections name it, or that name none where it is the one of `[site]`; and the fleet's.
    """
    home, area = config.site, site.price_area or config.site.price_area
    place = {
        name: getattr(site, name)
        for name in ("name", "latitude", "longitude", "time_zone", "price_area")
        if getattr(site, name) is not None
    }
    if "name" not in place and site.site_id != home.site_id:
        place["name"] = site.site_id
    place |= {"site_id": site.site_id, "market": home.market if area == home.price_area else ""}
    limits = {
        name: getattr(site, name)
        for name in ("import_limit_kw", "export_limit_kw")
        if getattr(site, name) is not None
    }

    def own(devices: Sequence[Any], key: str) -> tuple[Any, ...]:
        sites = config.device_sites
        return tuple(
            one for one in devices if sites.get(getattr(one, key), home.site_id) == site.site_id
        )

    stated = own(config.batteries, "battery_id")
    names = {battery.battery_id for battery in config.batteries}
    return replace(
        config,
        site=replace(home, **place),
        grid=replace(config.grid, **limits),
        tariff=tariff_of(site.tariff, config.tariff),
        batteries=(*stated, *(one for one in fleet if one.battery_id not in names)),
        vehicles=own(config.vehicles, "vehicle_id"),
        deferrable_loads=own(config.deferrable_loads, "load_id"),
        heat_stores=own(config.heat_stores, "store_id"),
        portfolio_step_min=step_min,
    )
