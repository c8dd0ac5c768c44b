"""Named formats: what their exports mean, so that nobody has to say it; a table without code.

    python sources.py import prices.csv --profile entsoe --tz Europe/Brussels \\
        --price "Day-ahead Price (EUR/MWh):EUR/MWh:be"

A format that has `known_by` is found by the names of its columns; the import says so. An option of
the command line replaces that of the profile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Profile:
    """Options of a format.

    Parameters
    ----------
    about : whose export it is.
    known_by : columns of which each must be there for the format to be found by itself.
    time_column : of `--time-column`.
    zone : clock of times without an offset.
    stamp : `start`, `middle` or `end`.
    decimal : mark before decimals.
    time_format : of strptime.
    scaled : whether a unit counts as said whose size is not that in the column's name; it is told.
    where : kind of source, or empty for all, -> column -> values; those there are summed, but of
        values in one tuple only the first that the file has counts.
    """

    about: str
    known_by: tuple[str, ...] = ()
    time_column: str = ""
    zone: str = ""
    stamp: str = ""
    decimal: str = ""
    time_format: str = ""
    scaled: bool = False
    where: Mapping[str, Mapping[str, Sequence[str | tuple[str, ...]]]] = field(default_factory=dict)


PROFILES = {
    "smard": Profile(
        "Bundesnetzagentur, SMARD: downloads since 2022",
        known_by=("Datum von", "Datum bis"),
        zone="Europe/Berlin",
        decimal=",",
        scaled=True,
    ),
    "smard-english": Profile(
        "Bundesnetzagentur, SMARD: downloads in English",
        known_by=("Start date", "End date"),
        zone="Europe/Berlin",
        scaled=True,
    ),
    "smard-old": Profile(
        "Bundesnetzagentur, SMARD: downloads until 2022",
        known_by=("Datum", "Uhrzeit", "Anfang"),
        zone="Europe/Berlin",
        decimal=",",
        scaled=True,
    ),
    "entsoe": Profile(
        "ENTSO-E transparency platform: day-ahead prices, sequence 1 (the coupled auction)",
        known_by=("Sequence", "Day-ahead Price (EUR/MWh)"),
        where={"": {"Sequence": [("Sequence Sequence 1", "Sequence 1", "1", "Without Sequence")]}},
    ),
    "aemo": Profile(
        "AEMO NEM tables: stamps are ends, market time without summer time",
        known_by=("SETTLEMENTDATE",),
        time_column="SETTLEMENTDATE",
        zone="Etc/GMT-10",
        stamp="end",
    ),
    "neso": Profile(
        "NESO and Elexon: settlement date and period",
        known_by=("SETTLEMENT_DATE", "SETTLEMENT_PERIOD"),
        time_column="SETTLEMENT_DATE",
        zone="Europe/London",
    ),
    "octopus": Profile(
        "Octopus Energy: consumption",
        known_by=("Consumption (kwh)", "Start", "End"),
        time_column="Start",
    ),
    "fluvius": Profile(
        "Fluvius: consumption history, day and night registers summed",
        known_by=("Van (datum)", "Van (tijdstip)", "Register"),
        time_column="Van (datum)",
        zone="Europe/Brussels",
        where={"load": {"Register": ["Afname Dag", "Afname Nacht"]}},
    ),
    "ausgrid": Profile(
        "Ausgrid solar home: general and controlled load summed, or gross generation",
        known_by=("Consumption Category", "date"),
        time_column="date",
        zone="Australia/Sydney",
        where={
            "load": {"Consumption Category": ["GC", "CL"]},
            "solar": {"Consumption Category": ["GG"]},
        },
    ),
    "pvgis": Profile(
        "PVGIS hourly: stamps lie within their hour",
        known_by=("time", "H_sun", "T2m"),
        time_column="time",
        zone="UTC",
        stamp="middle",
    ),
    "nsrdb": Profile(
        "NSRDB PSM: stamps lie within their interval",
        known_by=("Year", "Month", "Day", "Hour", "Minute", "GHI"),
        time_column="Year",
        stamp="middle",
    ),
    "scada": Profile(
        "wind turbine SCADA of Kaggle: 31 12 2018 23:50",
        known_by=("Date/Time", "LV ActivePower (kW)"),
        time_column="Date/Time",
        time_format="%d %m %Y %H:%M",
    ),
    "datadis": Profile(
        "Datadis: hours 01:00 to 24:00 are ends",
        known_by=("cups", "consumptionKWh"),
        time_column="date,time",
        zone="Europe/Madrid",
        stamp="end",
    ),
    "home-assistant": Profile(
        "Home Assistant: history of entities",
        known_by=("entity_id", "state", "last_changed"),
        time_column="last_changed",
    ),
    "energinet": Profile(
        "Energi Data Service: HourUTC or TimeUTC",
        known_by=("HourUTC", "HourDK"),
        time_column="HourUTC",
        zone="UTC",
    ),
    "eloverblik": Profile(
        "Eloverblik: consumption of a meter",
        known_by=("Fra_dato", "Til_dato"),
        time_column="Fra_dato",
        zone="Europe/Copenhagen",
        decimal=",",
    ),
    "influxdb": Profile(
        "InfluxDB: annotated CSV", known_by=("_time", "_value"), time_column="_time"
    ),
    "nem12": Profile("AEMO meter data, NEM12: the file itself says its times", zone="Etc/GMT-10"),
    "green-button": Profile("Green Button ESPI XML: the file itself says its times"),
}


def find_profile(names: Sequence[str]) -> str | None:
    """Find the one format that a table's columns are known by.

    Parameters
    ----------
    names : of the columns.
    """
    there = set(names)
    found = [
        name
        for name, profile in PROFILES.items()
        if profile.known_by and there.issuperset(profile.known_by)
    ]
    return max(found, key=lambda name: len(PROFILES[name].known_by), default=None)
