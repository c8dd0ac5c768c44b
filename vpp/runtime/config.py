"""Reads config.ini, once, into frozen dataclasses.

`load_config(path)` returns a `Config` with one attribute for each section of the file and the
batteries of its `[battery:NAME]` sections. Functions get values from it, never the configuration
itself. Every key has a default, so a file names only what differs. Addresses and secrets may come
from the environment instead (`ENVIRONMENT`). Relative paths are relative to the file. Whatever is
wrong ends as a `ConfigError`: one line with file, section, key, value and what is expected.

    python -c "import config; print(config.load_config().site)"
"""

import configparser
import dataclasses
import difflib
import math
import os
import re
import types
import typing
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

DEFAULT_PATH = Path(__file__).resolve().parents[2] / "config.ini"
EMBEDDED = "embedded"
SHOWN_NAMES = 8  # of those that a message offers instead of an unknown one

ENVIRONMENT = {
    "VPP_DATABASE_URL": ("database", "url"),
    "VPP_KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "VPP_KAFKA_SASL_USERNAME": ("kafka", "sasl_username"),
    "VPP_KAFKA_SASL_PASSWORD": ("kafka", "sasl_password"),
    "VPP_MLFLOW_TRACKING_URI": ("mlflow", "tracking_uri"),
}
SECRET_KEYS = {"url", "sasl_password", "tracking_uri"}
UNLIMITED_KEYS = {"import_limit_kw", "export_limit_kw"}  # these may be inf
EXPECTED = {
    float: "a finite number",
    int: "a whole number",
    date: "a date such as 2025-01-01",
    tuple: "names separated by commas",
}


# One thread each: the small models of this project run 4 to 10 times faster so on few cores, and
# sources are trained in parallel processes. It has to be set before numpy and OpenMP libraries
# load, hence here.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


class VppError(Exception):
    """An expected failure.

    Its message is one line that says what, where, what was expected and what to do.
    """

    exit_code = 1


class ConfigError(VppError):
    """The configuration or the command line cannot be used."""

    exit_code = 2


def one_of(name: object, known: Iterable[object]) -> str:
    """Which names there are, in words for a message: those nearest to the unknown `name` first."""
    names = list(dict.fromkeys(map(str, known)))
    if not names:
        return "there is none"
    likely = difflib.get_close_matches(str(name), names, n=len(names), cutoff=0.0)
    likely.sort(key=lambda known: not known.startswith(str(name)))  # one cut short comes first
    more = f", … ({len(names)} in all)" if len(names) > SHOWN_NAMES else ""
    return f"expected one of {', '.join(likely[:SHOWN_NAMES])}{more}"


def check_known(what: str, name: object, known: Iterable[object]) -> None:
    """Refuse a name that is not known.

    Raises
    ------
    ConfigError : it is not; the message names the nearest.
    """
    known = list(known)
    if name not in known:
        raise ConfigError(f"{what} {name} is unknown; {one_of(name, known)}")


class FieldError(ValueError):
    """A value that its field refuses; names the field, the value and what is expected."""

    def __init__(self, key: str, value: object, expected: str):
        super().__init__(f"{key} = {value}: expected {expected}")
        self.key, self.value, self.expected = key, value, expected


def _number(default, low=-math.inf, high=math.inf, above=-math.inf):
    return field(default=default, metadata={"low": low, "high": high, "above": above})


def _choice(default, *choices):
    return field(default=default, metadata={"choices": choices})


def _check_fields(section) -> None:
    """Refuse a value outside the bounds or the choices that its field states."""
    for item in dataclasses.fields(section):
        value, meta = getattr(section, item.name), item.metadata
        if "choices" in meta and value not in meta["choices"]:
            raise FieldError(item.name, value, "one of " + ", ".join(map(str, meta["choices"])))
        if "low" in meta and value is not None:
            low, high, above = meta["low"], meta["high"], meta["above"]
            if not (low <= value <= high and value > above):
                bounds = (
                    f"more than {above:g}"
                    if above > -math.inf
                    else f"{low:g} or more"
                    if low > -math.inf
                    else "a number"
                )
                raise FieldError(
                    item.name, value, bounds + (f" and at most {high:g}" if high < math.inf else "")
                )


@dataclass(frozen=True)
class Section:
    """Base of all sections: checks each field against the bounds it states."""

    def __post_init__(self):
        _check_fields(self)


def _check_zone(key: str, name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise FieldError(key, name, "an IANA time zone such as Europe/Brussels") from None


@dataclass(frozen=True)
class Paths(Section):
    data_dir: Path = Path("data")
    state_dir: Path = Path(".vpp")


@dataclass(frozen=True)
class Database(Section):
    url: str = EMBEDDED
    wait_s: float = _number(30.0, 0, 3600)
    compress_after_days: int = _number(7, 1)
    retention_days: int = _number(0, 0)


@dataclass(frozen=True)
class Kafka(Section):
    bootstrap_servers: str = EMBEDDED
    topic_prefix: str = ""
    group_id: str = "vpp-sink"
    security_protocol: str = _choice("PLAINTEXT", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: str = ""
    batch_rows: int = _number(20_000, 1, 1_000_000)
    batch_s: float = _number(0.5, 0, 60)
    unknown_sources: str = _choice("dead-letter", "dead-letter", "register")
    earliest_time: date = date(2000, 1, 1)
    latest_days_ahead: float = _number(7.0, 0)
    price_min_eur_per_mwh: float = -1000.0
    price_max_eur_per_mwh: float = 10000.0


@dataclass(frozen=True)
class Site(Section):
    site_id: str = "site-1"
    name: str = "Virtual power plant"
    latitude: float = _number(49.6, -90, 90)
    longitude: float = _number(6.1, -180, 180)
    time_zone: str = "Europe/Brussels"
    holidays_country: str = "LU"
    price_area: str = "DE-LU"

    def __post_init__(self):
        super().__post_init__()
        _check_zone("time_zone", self.time_zone)
        if self.holidays_country not in (
            "",
            Site.holidays_country,
        ):  # the library takes a while to import
            import holidays

            try:
                holidays.country_holidays(self.holidays_country)
            except NotImplementedError:
                raise FieldError(
                    "holidays_country",
                    self.holidays_country,
                    "a country's code such as LU, or nothing",
                ) from None


@dataclass(frozen=True)
class Generation(Section):
    start: date = date(2025, 1, 1)
    days: int = _number(90, 1, 36525)
    step_min: int = _choice(60, 5, 15, 30, 60)
    seed: int = _number(1, 0)
    sites: int = _number(1, 1)
    solar: int = _number(2, 0)
    wind: int = _number(2, 0)
    loads: int = _number(1, 0)
    solar_capacity_kw: float = _number(1000.0, above=0)
    wind_turbine: str = "E-82/2300"
    load_capacity_kw: float = _number(3000.0, above=0)


@dataclass(frozen=True)
class Forecast(Section):
    horizon_h: int = _number(48, 1, 24 * 14)
    measurement_delay_min: float = _number(0.0, 0)
    price_publication: str = "13:00"
    price_publication_zone: str = "Europe/Brussels"

    def __post_init__(self):
        super().__post_init__()
        _check_zone("price_publication_zone", self.price_publication_zone)
        found = re.fullmatch(r"(\d{1,2}):(\d{2})", self.price_publication, re.ASCII)
        if not (found and int(found[1]) < 24 and int(found[2]) < 60):
            raise FieldError(
                "price_publication", self.price_publication, "a local time HH:MM, such as 13:00"
            )


@dataclass(frozen=True)
class Training(Section):
    models: tuple[str, ...] = ("prophet", "arima", "random_forest", "nbeats")
    history_days: int = _number(365, 14)
    trials: int = _number(4, 1)
    timeout_s: float = _number(0.0, 0)
    origins: int = _number(6, 2)
    select_by: str = _choice("mae", "mae", "pinball", "value")
    jobs: int = _number(2, 1)
    seed: int = _number(1, 0)


@dataclass(frozen=True)
class Mlflow(Section):
    tracking_uri: str = EMBEDDED
    experiment: str = "vpp"


@dataclass(frozen=True)
class Grid(Section):
    import_limit_kw: float = _number(10_000.0, 0)
    export_limit_kw: float = _number(10_000.0, 0)
    import_fee_eur_per_mwh: float = 10.0
    export_fee_eur_per_mwh: float = 0.0
    peak_price_eur_per_kw: float = _number(0.0, 0)
    peak_interval_min: int = _number(60, 5)


@dataclass(frozen=True)
class Optimization(Section):
    solver: str = _choice("highs", "highs", "cbc")
    time_limit_s: float = _number(60.0, above=0)
    gap: float = _number(1e-6, 0, 1)
    horizon_h: int = _number(36, 1, 24 * 14)
    co2_price_eur_per_t: float = _number(0.0, 0)
    co2_kg_per_mwh: float = _number(0.0, 0)


@dataclass(frozen=True)
class BatteryParameters(Section):
    """A battery as its data sheet states it.

    Powers at the AC terminals [kW], capacity [kWh], efficiencies and SOC as fractions.
    """

    battery_id: str
    capacity_kwh: float = _number(2000.0, above=0)
    charge_kw: float = _number(1000.0, 0)
    discharge_kw: float = _number(1000.0, 0)
    eta_charge: float = _number(0.95, high=1, above=0)
    eta_discharge: float = _number(0.95, high=1, above=0)
    soc_min: float = _number(0.05, 0, 1)
    soc_max: float = _number(0.95, 0, 1)
    soc_initial: float = _number(0.5, 0, 1)
    self_discharge_per_h: float = _number(0.0, 0, 1)
    wear_eur_per_mwh: float = _number(0.0, 0)
    cycles_per_day_max: float | None = _number(None, above=0)

    def __post_init__(self):
        super().__post_init__()
        if self.soc_min > self.soc_max:
            raise FieldError(
                "soc_min", self.soc_min, f"a fraction not above soc_max = {self.soc_max:g}"
            )

    @property
    def round_trip_efficiency(self) -> float:
        """Delivered over charged energy at the AC terminals."""
        return self.eta_charge * self.eta_discharge


@dataclass(frozen=True)
class Config:
    path: Path
    paths: Paths
    database: Database
    kafka: Kafka
    site: Site
    generation: Generation
    forecast: Forecast
    training: Training
    mlflow: Mlflow
    grid: Grid
    optimization: Optimization
    batteries: tuple[BatteryParameters, ...]


SECTIONS = {
    item.name: item.type
    for item in dataclasses.fields(Config)
    if item.name not in ("path", "batteries")
}


def load_config(
    path: Path | str | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """Read the configuration file.

    Parameters
    ----------
    path : the file; default `config.ini` beside the scripts.
    environment : variables that override keys (`ENVIRONMENT`); default `os.environ`.

    Raises
    ------
    ConfigError : the file is missing or not an INI file, a section or key is unknown, a value has
    the wrong type or is impossible."""
    path = Path(path or DEFAULT_PATH)
    environment = os.environ if environment is None else environment
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such configuration file; name one with --config or copy config.ini "
            "from the project"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not in UTF-8"
        raise ConfigError(
            f"{path}: cannot be read: {reason}; expected a text file in UTF-8"
        ) from None
    except configparser.Error as error:
        raise ConfigError(f"{path}: not an INI file: {_parsing_problem(error)}") from None
    if parser.defaults():
        raise ConfigError(
            f"{path}: section [DEFAULT] is not used here; move its keys into the section they "
            "belong to"
        )
    for name in parser.sections():
        if name not in SECTIONS and not (name.startswith("battery:") and name[8:].strip()):
            raise ConfigError(
                f"{path}: unknown section [{name}]; {one_of(name, (*SECTIONS, 'battery:NAME'))}"
            )
    values = {name: dict(parser[name]) if name in parser else {} for name in SECTIONS}
    origin = {}
    for variable, (section, key) in ENVIRONMENT.items():
        if environment.get(variable):
            values[section][key] = environment[variable]
            origin[section, key] = f"environment variable {variable}"
    ids = [name[8:].strip() for name in parser.sections() if name.startswith("battery:")]
    for battery_id in ids:
        if ids.count(battery_id) > 1:
            raise ConfigError(
                f"{path}: two sections [battery:{battery_id}]; expected a name of its own for "
                "each battery"
            )
    folder = path.resolve().parent
    sections = {
        name: _section(cls, values[name], path, name, folder, origin)
        for name, cls in SECTIONS.items()
    }
    batteries = tuple(
        _section(
            BatteryParameters,
            dict(parser[name]),
            path,
            name,
            folder,
            origin,
            battery_id=name[8:].strip(),
        )
        for name in parser.sections()
        if name.startswith("battery:")
    )
    return Config(path=path, batteries=batteries, **sections)


def _parsing_problem(error: configparser.Error) -> str:
    """What is wrong in which line; the line itself is not shown, as it may hold a secret."""
    if isinstance(error, configparser.DuplicateOptionError):
        return (
            f"line {error.lineno}: [{error.section}] {error.option} comes twice; "
            "expected "
            "each key once"
        )
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: [{error.section}] comes twice; expected each section once"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return (
            f"line {error.lineno}: expected a section in brackets, such as [site], "
            "before "
            "the first key"
        )
    lines = ", ".join(str(number) for number, _ in getattr(error, "errors", ()))
    return f"line {lines}: expected [section] or key = value"


def _section(
    cls, raw: Mapping[str, str], path: Path, name: str, folder: Path, origin: Mapping, **given
):
    """One section as its dataclass.

    Raises ConfigError with file, section, key, value and what is expected.
    """
    fields = {item.name: item.type for item in dataclasses.fields(cls) if item.name not in given}

    def refuse(key, value, expected):
        place = origin.get((name, key), f"{path}: [{name}]")
        shown = (
            "(hidden)" if key in SECRET_KEYS else "(several lines)" if "\n" in str(value) else value
        )  # a line may be a secret
        return ConfigError(f"{place} {key} = {shown}: expected {expected}")

    values = {}
    for key, text in raw.items():
        if key not in fields:
            raise ConfigError(f"{path}: [{name}] unknown key {key}; {one_of(key, fields)}")
        try:
            values[key] = _convert(text, fields[key], folder, key in UNLIMITED_KEYS)
        except ValueError:
            expected = EXPECTED.get(
                typing.get_origin(fields[key]) or fields[key], "a number, or nothing"
            )
            raise refuse(key, text, expected) from None
    try:
        defaults = {
            key: folder / item.default
            for key, item in cls.__dataclass_fields__.items()
            if isinstance(item.default, Path)
        }
        return cls(**given, **(defaults | values))
    except FieldError as error:
        raise refuse(
            error.key, raw.get(error.key, error.value), error.expected
        ) from None  # as written: 95, not 95.0


def _convert(text: str, kind: type, folder: Path, unlimited: bool = False):
    if isinstance(kind, types.UnionType):
        return _convert(text, typing.get_args(kind)[0], folder) if text else None
    if kind is Path:
        if not text:
            raise ValueError(text)
        return folder / Path(text).expanduser()
    if kind is date:
        return date.fromisoformat(text)
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    value = kind(text)
    if kind is float and (math.isnan(value) or (math.isinf(value) and not unlimited)):
        raise ValueError(text)
    return value
