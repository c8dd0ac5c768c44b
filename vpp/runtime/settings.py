"""The sections of the configuration as frozen dataclasses: each field's meaning, default, bounds.

The comments of config.ini say the same of each key. Names end in the unit. `vpp.runtime.config`
reads the file.
"""

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from vpp.runtime.alert_settings import Alerts
from vpp.runtime.compute_settings import Compute
from vpp.runtime.device_settings import Mqtt, Webhook
from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, check_country, check_zone, choice, number
from vpp.runtime.flexible_settings import (
    DeferrableParameters,
    HeatParameters,
    VehicleParameters,
)
from vpp.runtime.operation_settings import Operation
from vpp.runtime.plant_settings import BatteryParameters, Grid, Optimization, Tariff
from vpp.runtime.portfolio_settings import Portfolio
from vpp.runtime.serve_settings import Serve
from vpp.runtime.telemetry_settings import ModbusReading, MqttReading

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Paths(Section):
    """`[paths]`: where files lie.

    Parameters
    ----------
    data_dir : folder of the CSV files of generation.py and sources.py.
    state_dir : folder of the embedded servers, the MLflow store and the tuning studies.
    """

    data_dir: Path = Path("data")
    state_dir: Path = Path(".vpp")


@dataclass(frozen=True)
class Database(Section):
    """`[database]`: address and housekeeping of PostgreSQL.

    Parameters
    ----------
    url : "embedded": a PostgreSQL that the scripts start themselves; else
        postgresql://user:password@host:port/database.
    wait_s : how long a command waits for a server before it gives up.
    compress_after_days : TimescaleDB (Community build) only: chunks older than so many days are
        compressed.
    retention_days : TimescaleDB (Community build) only: chunks of measurements older than so many
        days are dropped; 0: none.
    results_retention_days : forecasts, plans and battery states that are older than so many days
        are deleted; 0: none.
    """

    url: str = EMBEDDED
    wait_s: float = number(30.0, 0, 3600)
    compress_after_days: int = number(7, 1)
    retention_days: int = number(0, 0)
    results_retention_days: int = number(0, 0, 36525)


@dataclass(frozen=True)
class Kafka(Section):
    """`[kafka]`: address of the broker, and which records the sink takes.

    Parameters
    ----------
    bootstrap_servers : "embedded": the broker inside librdkafka; else host:port[,host:port].
    topic_prefix : stands before every topic name.
    group_id : consumer group of the sink; sinks of one group share the partitions.
    security_protocol : how to reach the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
    sasl_mechanism : how to log in with SASL: SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or OAUTHBEARER.
    sasl_username : name to log in with.
    sasl_password : password to log in with.
    ssl_ca_location : file of the authority that signed the brokers' certificate; empty: those of
        the system.
    ssl_certificate_location : file of our own certificate, where the brokers ask for one.
    ssl_key_location : file of its key.
    ssl_key_password : password of the key's file.
    partitions : number of partitions of a topic that is made here.
    replication_factor : copies of it that the brokers hold; 0: as many as they usually do.
    retention_h : hours for which it keeps messages; 0: for ever.
    batch_rows : the sink writes a batch when it holds so many rows.
    batch_s : or when it is so many seconds old.
    unknown_sources : a record of a source that is not registered: dead-letter it, or register the
        source.
    max_new_sources : so many sources are registered from the stream at most; records of others are
        dead-lettered.
    wrong_keys : a message whose key is not its source_id, and so keeps it in no order: dead-letter
        it, or store it.
    earliest_time : an earlier record is dead-lettered.
    latest_days_ahead : a record more days ahead of the clock is dead-lettered.
    price_min_eur_per_mwh : a lower price is dead-lettered.
    price_max_eur_per_mwh : a higher price is dead-lettered.
    metrics_port : a sink serves metrics for Prometheus on this port; 0: none.
    metrics_host : address of that port; 0.0.0.0 opens it to other machines.
    """

    bootstrap_servers: str = EMBEDDED
    topic_prefix: str = ""
    group_id: str = "vpp-sink"
    security_protocol: str = choice("PLAINTEXT", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: str = ""
    partitions: int = number(6, 1, 10_000)
    replication_factor: int = number(0, 0, 100)
    retention_h: float = number(168.0, 0)
    batch_rows: int = number(20_000, 1, 1_000_000)
    batch_s: float = number(0.5, 0, 60)
    unknown_sources: str = choice("dead-letter", "dead-letter", "register")
    max_new_sources: int = number(100, 0)
    wrong_keys: str = choice("dead-letter", "dead-letter", "store")
    earliest_time: date = date(2000, 1, 1)
    latest_days_ahead: float = number(7.0, 0, 36525)
    price_min_eur_per_mwh: float = -1000.0
    price_max_eur_per_mwh: float = 10000.0
    metrics_port: int = number(0, 0, 65535)
    metrics_host: str = "127.0.0.1"


@dataclass(frozen=True)
class Site(Section):
    """`[site]`: name, place and calendar of the grid connection.

    Parameters
    ----------
    site_id : the grid connection; plants and loads name it.
    name : how the report calls the site.
    latitude : north of the equator [degrees]; also the default of a source.
    longitude : east of Greenwich [degrees]; also the default of a source.
    time_zone : local days of the tariff, of cycles and of the report; also the default of a source.
    holidays_country : ISO code of the country whose public holidays count; empty: no holidays.
    price_area : bidding zone of a new market source.
    market : source_id of the price that the site pays; empty: the only market of price_area.
    deviation_prices : source_id of the price of deviations from a day-ahead position; empty: the
        tariff's.
    """

    site_id: str = "site-1"
    name: str = "Virtual power plant"
    latitude: float = number(49.6, -90, 90)
    longitude: float = number(6.1, -180, 180)
    time_zone: str = "Europe/Brussels"
    holidays_country: str = "LU"
    price_area: str = "DE-LU"
    market: str = ""
    deviation_prices: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_zone("time_zone", self.time_zone)
        check_country("holidays_country", self.holidays_country)


@dataclass(frozen=True)
class Generation(Section):
    """`[generation]`: period and fleet of the synthetic data.

    Parameters
    ----------
    start : first day, in UTC.
    days : number of UTC days.
    step_min : length of an interval [min]: 5, 15, 30 or 60.
    seed : the same seed gives the same bytes.
    sites : number of sites, each with its weather and, where there are several, its grid
        connection.
    solar : solar plants of a site.
    wind : wind plants of a site.
    loads : loads of a site.
    batteries : batteries of a site, in batteries.csv.
    solar_capacity_kw : AC rating of a solar plant.
    wind_turbine : a turbine type of windpowerlib; the plant's capacity is the turbine's.
    load_capacity_kw : largest power of a load.
    """

    start: date = date(2025, 1, 1)
    days: int = number(90, 1, 36525)
    step_min: int = choice(60, 5, 15, 30, 60)
    seed: int = number(1, 0)
    sites: int = number(1, 1)
    solar: int = number(2, 0)
    wind: int = number(2, 0)
    loads: int = number(1, 0)
    batteries: int = number(0, 0)
    solar_capacity_kw: float = number(1000.0, above=0)
    wind_turbine: str = "E-82/2300"
    load_capacity_kw: float = number(3000.0, above=0)


@dataclass(frozen=True)
class Forecast(Section):
    """`[forecast]`: reach of forecasts, and when measurements and prices are known.

    Parameters
    ----------
    horizon_h : a forecast covers so many hours.
    stale_after_h : a source whose newest value is so many hours older than the newest of the others
        is not current: a stand-in forecasts it, and the others do not wait for it.
    weather_stale_after_h : forecasts are made without those of the weather, or of others, whose
        newest issue is more hours old.
    measurement_delay_min : a measurement is known so long after its interval's end.
    price_publication : day-ahead prices of a local day are known from this local time of the day
        before.
    price_publication_zone : the zone of that local time.
    reconcile : forecasts of sites and of all plants of a kind as well: none; bottom_up, sums of the
        sources' forecasts; mint, which forecasts the sums, too, and changes all by their errors.
    """

    horizon_h: int = number(48, 1, 24 * 14)
    stale_after_h: float = number(6.0, above=0)
    weather_stale_after_h: float = number(36.0, above=0)
    measurement_delay_min: float = number(0.0, 0)
    price_publication: str = "13:00"
    price_publication_zone: str = "Europe/Brussels"
    reconcile: str = choice("none", "none", "bottom_up", "mint")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_zone("price_publication_zone", self.price_publication_zone)
        found = re.fullmatch(r"(\d{1,2}):(\d{2})", self.price_publication, re.ASCII)
        if not (found and int(found[1]) < 24 and int(found[2]) < 60):
            expected = "a local time HH:MM, such as 13:00"
            raise FieldError("price_publication", self.price_publication, expected)


@dataclass(frozen=True)
class Training(Section):
    """`[training]`: which models compete, and how they are tuned and compared.

    Parameters
    ----------
    models : models to tune and compare; seasonal naive always takes part, first_day in the first
        four weeks of a plant or load, lear and dnn for prices only.
    history_days : a model is fitted to so many days before the issue time.
    trials : Optuna trials for each model.
    timeout_s : tuning of a source ends after so many seconds; 0: no limit.
    origins : days of the selection, the newest ones, with an origin each.
    select_by : score that picks the champion: mae, pinball, or value (of a price to a small
        battery).
    own_models : so many plants or loads of each kind, the largest, get models of their own; one
        model of their kind, global, forecasts the others.
    jobs : sources trained at the same time.
    seed : the same seed gives the same models.
    """

    models: tuple[str, ...] = (
        *("prophet", "arima", "random_forest", "nbeats"),
        *("hourly_ridge", "lightgbm", "lear", "dnn", "combination"),
    )
    history_days: int = number(365, 14)
    trials: int = number(4, 1)
    timeout_s: float = number(0.0, 0)
    origins: int = number(56, 2)
    select_by: str = choice("mae", "mae", "pinball", "value")
    own_models: int = number(10, 0)
    jobs: int = number(2, 1)
    seed: int = number(1, 0)


@dataclass(frozen=True)
class Mlflow(Section):
    """`[mlflow]`: where models and their runs are kept.

    Parameters
    ----------
    tracking_uri : "embedded": a SQLite store in state_dir; else a server such as
        http://127.0.0.1:5000.
    experiment : MLflow experiment of the training runs.
    """

    tracking_uri: str = EMBEDDED
    experiment: str = "vpp"


@dataclass(frozen=True)
class Connect(Section):
    """`[connect]`: where `sources.py fetch` finds its providers.

    Parameters
    ----------
    cache_h : a raw answer in the state folder is used again for so many hours; 0: never.
    follow : providers that a plant in operation keeps asking, such as open-meteo,
        energy-charts:DE-LU.
    follow_every_min : so often.
    open_meteo_url : base URL; {host} stands for archive-api, previous-runs-api and api.
    energy_charts_url : base URL.
    smard_url : base URL.
    entsoe_url : base URL.
    entsoe_key : key of one's own for ENTSO-E.
    octopus_url : base URL.
    pvgis_url : base URL.
    """

    cache_h: float = number(1.0, 0)
    follow: tuple[str, ...] = ()
    follow_every_min: int = number(60, 5, 24 * 60)
    open_meteo_url: str = "https://{host}.open-meteo.com"
    energy_charts_url: str = "https://api.energy-charts.info"
    smard_url: str = "https://www.smard.de/app/chart_data"
    entsoe_url: str = "https://web-api.tp.entsoe.eu/api"
    entsoe_key: str = ""
    octopus_url: str = "https://api.octopus.energy"
    pvgis_url: str = "https://re.jrc.ec.europa.eu/api/v5_3"


@dataclass(frozen=True)
class Config:
    """The whole configuration: one attribute for each section, and the batteries.

    Parameters
    ----------
    path : the file that was read, or the one that would have been.
    paths, database, kafka, site, generation, forecast, training : sections of these names.
    compute, mlflow, grid, tariff, portfolio, connect, alerts, optimization : likewise.
    operation, mqtt, webhook, serve : likewise.
    batteries : of the `[battery:NAME]` sections, in their order.
    vehicles, deferrable_loads, heat_stores : of the `[vehicle:NAME]`, `[deferrable:NAME]` and
        `[heat:NAME]` sections.
    mqtt_readings, modbus_readings : of the `[mqtt:NAME]` and `[modbus:NAME]` sections.
    kafka_client : names and values of `[kafka.client]`, which are settings of librdkafka.
    device_sites : name of a device -> the site that its section names.
    portfolio_step_min : step of plans of a site that is one of several [min]; None where one
        connection takes all plants and loads, whatever site they name.
    """

    path: Path
    paths: Paths
    database: Database
    kafka: Kafka
    site: Site
    generation: Generation
    forecast: Forecast
    training: Training
    compute: Compute
    mlflow: Mlflow
    grid: Grid
    tariff: Tariff
    portfolio: Portfolio
    connect: Connect
    alerts: Alerts
    optimization: Optimization
    mqtt: Mqtt
    webhook: Webhook
    operation: Operation
    serve: Serve
    batteries: tuple[BatteryParameters, ...]
    vehicles: tuple[VehicleParameters, ...] = ()
    deferrable_loads: tuple[DeferrableParameters, ...] = ()
    heat_stores: tuple[HeatParameters, ...] = ()
    mqtt_readings: tuple[MqttReading, ...] = ()
    modbus_readings: tuple[ModbusReading, ...] = ()
    kafka_client: tuple[tuple[str, str], ...] = ()
    device_sites: Mapping[str, str] = field(default_factory=dict)
    portfolio_step_min: int | None = None

    @property
    def follow(self) -> bool:
        """Whether batteries follow the meter beside a plan."""
        told = self.operation.follow
        return told == "yes" or (told == "auto" and not self.tariff.needs_market)


# Sections that have a name of their own: `[battery:NAME]`; word, attribute of `Config`, class, and
# the field of the name.
NAMED: dict[str, tuple[str, type[Section], str]] = {
    "battery": ("batteries", BatteryParameters, "battery_id"),
    "vehicle": ("vehicles", VehicleParameters, "vehicle_id"),
    "deferrable": ("deferrable_loads", DeferrableParameters, "load_id"),
    "heat": ("heat_stores", HeatParameters, "store_id"),
    "mqtt": ("mqtt_readings", MqttReading, "reading_id"),
    "modbus": ("modbus_readings", ModbusReading, "reading_id"),
}
READINGS = ("mqtt", "modbus")  # of these words
SECTIONS: dict[str, type[Section]] = {
    name: cls
    for name, cls in typing.get_type_hints(Config).items()
    if name not in ("path", "kafka_client", "device_sites", "portfolio_step_min")
    and name not in [attribute for attribute, *_ in NAMED.values()]
}
