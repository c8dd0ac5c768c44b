"""The kinds of series: topic, file and table of each, its times and values, units and bounds.

    python -c "from vpp.site.kinds import KINDS; print(*KINDS)"

All else that depends on the kind of a series reads this table. A kind of message mostly has the
name of the kind of its sources; measured and forecast weather are both of sources of the kind
`weather`. A source of the kind `forecast` is a forecast that others issue. Times are UTC and label
the START of an interval. Nothing is read or written here, and this is not a script.
"""

import math
from dataclasses import dataclass

# Inverters draw a little at night, and panels pass their rating on a cold clear day.
_PLANT_SHARE = (-0.02, 1.2)
# A load behind which others feed in is negative, and grows beyond the largest power that was once
# stated for it; W taken for kW, or a meter's overflow, is further off.
_LOAD_SHARE = (-5.0, 5.0)


@dataclass(frozen=True)
class Column:
    """A value of a series.

    Parameters
    ----------
    name : its field in a message, and its column in the file and the table.
    unit : such as kW or EUR/MWh.
    decimals : how many of them the project's files keep.
    least, most : what is physically possible, with the error of an instrument.
    """

    name: str
    unit: str
    decimals: int
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Kind:
    """Messages of one kind.

    Parameters
    ----------
    name : such as `weather-forecast`.
    source_kind : the kind of the sources that they are of.
    topic : without the configured prefix.
    table : the database's; kinds that are stored alike share one.
    values : what a message states beside source and times.
    times : the times of a message, which make its key together with the source.
    derived : columns of the table that the sink computes.
    share : the least and the largest power as a share of the source's capacity; None where that
        bounds nothing. The bounds of prices are the operator's: `[kafka] price_min_eur_per_mwh`
        and `price_max_eur_per_mwh`.
    """

    name: str
    source_kind: str
    topic: str
    table: str
    values: tuple[Column, ...]
    times: tuple[str, ...] = ("time",)
    derived: tuple[str, ...] = ()
    share: tuple[float, float] | None = None

    @property
    def file(self) -> str:
        """Name of its CSV file in the data folder."""
        return f"{self.topic.removesuffix('-topic').replace('-', '_')}.csv"

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of its values."""
        return tuple(column.name for column in self.values)

    @property
    def value(self) -> str:
        """Name of its value; of weather the first one."""
        return self.values[0].name

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a message in their order."""
        return ("source_id", *self.times, *self.value_names)

    @property
    def file_columns(self) -> tuple[str, ...]:
        """The columns of its CSV file in the order in which they are written."""
        return (*self.times, "source_id", *self.value_names)

    @property
    def table_columns(self) -> tuple[str, ...]:
        """The columns of its table after source_id."""
        return (*self.times, *self.value_names, *self.derived, "sent_at")


_POWER = (Column("power_kw", "kW", 3),)

_PRICE = (Column("price_eur_per_mwh", "EUR/MWh", 3),)

_VALUE = (Column("value", "as its source says", 3),)

# A pyranometer shows a few W/m² below zero on a clear night, and 1,361 W/m² reach the atmosphere.
# -89 and 57 °C are the extremes on record, and 113 m/s is that of a gust.
_WEATHER = (
    Column("ghi", "W/m²", 1, -20, 1500),
    Column("dni", "W/m²", 1, -20, 1500),
    Column("dhi", "W/m²", 1, -20, 1500),
    Column("temp_air", "°C", 2, -90, 60),
    Column("wind_speed", "m/s", 2, 0, 115),
)

KINDS = {
    kind.name: kind
    for kind in (
        Kind("solar", "solar", "solar-topic", "renewables", _POWER, share=_PLANT_SHARE),
        Kind("wind", "wind", "wind-topic", "renewables", _POWER, share=_PLANT_SHARE),
        Kind("load", "load", "load-topic", "load", _POWER, share=_LOAD_SHARE),
        Kind(
            "market", "market", "market-topic", "market_prices", _PRICE, derived=("available_at",)
        ),
        Kind("weather", "weather", "weather-topic", "weather", _WEATHER),
        Kind(
            "weather-forecast",
            "weather",
            "weather-forecast-topic",
            "weather_forecasts",
            _WEATHER,
            times=("issue_time", "valid_time"),
        ),
        Kind(
            "forecast",
            "forecast",
            "external-forecast-topic",
            "external_forecasts",
            _VALUE,
            times=("issue_time", "valid_time"),
        ),
    )
}

# Messages that are no series of a source: states of batteries, whose key is the battery, and plans
# that go out to them.
BATTERY, BATTERY_TOPIC = "battery", "battery-topic"
SCHEDULE_TOPIC = "schedule-topic"

# table -> a kind that is stored in it; the others of the table have the same columns
MEASUREMENTS = {kind.table: kind for kind in KINDS.values()}

SOURCE_KINDS = tuple(dict.fromkeys(kind.source_kind for kind in KINDS.values()))

PLANT_KINDS = ("solar", "wind")

POWER_KINDS = tuple(kind.name for kind in KINDS.values() if kind.values == _POWER)

# kinds of one measured value, which forecasts are made of
SERIES_KINDS = tuple(
    kind.name for kind in KINDS.values() if len(kind.values) == len(kind.times) == 1
)

WEATHER = tuple(column.name for column in _WEATHER)
