"""The one table of kinds.

It says what the contracts say, and the database, the files and the dashboards follow it.
"""

import ast

import pytest
from conftest import PROJECT

import db
from vpp.site.kinds import (
    KINDS,
    MEASUREMENTS,
    PLANT_KINDS,
    POWER_KINDS,
    SERIES_KINDS,
    SOURCE_KINDS,
    WEATHER,
)
from vpp.storage.schema import HYPERTABLES
from vpp.stream import records

CONTRACTS = {  # kind -> topic, file, table, fields of a message: others send, write and read them
    "solar": ("solar-topic", "solar.csv", "renewables", "source_id time power_kw"),
    "wind": ("wind-topic", "wind.csv", "renewables", "source_id time power_kw"),
    "load": ("load-topic", "load.csv", "load", "source_id time power_kw"),
    "market": ("market-topic", "market.csv", "market_prices", "source_id time price_eur_per_mwh"),
    "weather": (
        "weather-topic",
        "weather.csv",
        "weather",
        "source_id time ghi dni dhi temp_air wind_speed",
    ),
    "weather-forecast": (
        *("weather-forecast-topic", "weather_forecast.csv", "weather_forecasts"),
        "source_id issue_time valid_time ghi dni dhi temp_air wind_speed",
    ),
    "forecast": (
        *("external-forecast-topic", "external_forecast.csv", "external_forecasts"),
        "source_id issue_time valid_time value",
    ),
}


def test_the_kinds_are_those_of_the_contracts():
    assert {
        kind.name: (kind.topic, kind.file, kind.table, " ".join(kind.fields))
        for kind in KINDS.values()
    } == CONTRACTS
    assert SOURCE_KINDS == ("solar", "wind", "load", "market", "weather", "forecast")
    assert (PLANT_KINDS, POWER_KINDS) == (("solar", "wind"), ("solar", "wind", "load"))
    assert SERIES_KINDS == ("solar", "wind", "load", "market")


@pytest.mark.parametrize("name", KINDS)
def test_a_message_and_a_line_have_the_same_columns(name):
    kind = KINDS[name]
    assert (
        sorted(kind.file_columns)
        == sorted(kind.fields)
        == sorted(records.RECORDS[name].__struct_fields__)
    )
    assert set(kind.table_columns) == {*kind.times, *kind.value_names, *kind.derived, "sent_at"}
    assert all(column.decimals > 0 and column.unit for column in kind.values)


def test_kinds_of_one_table_are_stored_alike():
    assert set(MEASUREMENTS) == {kind.table for kind in KINDS.values()}
    for kind in KINDS.values():
        assert (
            kind.table_columns == MEASUREMENTS[kind.table].table_columns
            and kind.times == MEASUREMENTS[kind.table].times
        )


def test_the_tables_of_the_database_are_those_of_the_kinds(database_url):
    conn = db.connect_url(database_url, 20)
    try:
        with conn.cursor() as cursor:
            for table, kind in MEASUREMENTS.items():
                cursor.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = %s",
                    (table,),
                )
                assert {name for (name,) in cursor} == {"source_id", *kind.table_columns}, table
                cursor.execute(
                    "SELECT array_agg(attname::text ORDER BY place) FROM pg_index, "
                    "unnest(indkey) WITH ORDINALITY AS key(number, place), "
                    "pg_attribute WHERE indrelid = %s::regclass AND indisprimary AND attrelid = "
                    "indrelid AND attnum = number",
                    (table,),
                )
                assert cursor.fetchone()[0] == ["source_id", *kind.times], table
                assert HYPERTABLES[table] == kind.times[-1]
    finally:
        conn.close()


def test_nobody_else_tells_topics_files_or_columns_of_weather():
    """A second table of kinds would hold such constants."""
    told = {text for kind in KINDS.values() for text in (kind.topic, kind.file)}
    for path in (
        *PROJECT.glob("*.py"),
        *PROJECT.glob("vpp/**/*.py"),
        *PROJECT.glob("deploy/grafana/**/*.py"),
    ):
        if path.stem == "kinds":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not found & told, path.name
        tuples = {
            tuple(getattr(item, "value", None) for item in node.elts)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Tuple, ast.List))
        }
        assert WEATHER not in tuples, path.name
