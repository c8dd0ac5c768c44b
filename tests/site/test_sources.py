"""sources.py.

A source, its file, the commands, and the life of an added plant up to the database.
"""

import dataclasses
import json
import os

import pytest

import db
import generation
import sources
from sources import DataFileError, Source, SourceError, read_sources, replacing_files, write_sources
from vpp.runtime.config import load_config

ROOF = Source(
    "roof",
    "solar",
    'Roof, "east"',
    "site-1",
    250.0,
    60,
    49.6,
    6.1,
    "Europe/Brussels",
    {"tilt": 30.0},
)


def test_sources_survive_their_file(tmp_path):
    market = Source(
        "np", "market", "Nord Pool", "site-1", None, 15, None, None, "UTC", {"price_area": "NO1"}
    )
    write_sources(tmp_path / "sources.csv", [ROOF, market])
    assert read_sources(tmp_path / "sources.csv") == [ROOF, market]
    header = (
        "source_id,kind,name,site_id,capacity_kw,step_min,latitude,longitude,time_zone,parameters\n"
    )
    assert (tmp_path / "sources.csv").read_text().startswith(header)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("source_id", "", "1 to 63"),
        ("source_id", "a b", "1 to 63"),
        ("kind", "nuclear", "one of solar, wind, load, market, weather"),
        ("capacity_kw", 0.0, "more than 0 kW"),
        ("capacity_kw", -5.0, "more than 0 kW"),
        ("capacity_kw", None, "more than 0 kW"),
        ("capacity_kw", float("nan"), "more than 0 kW"),
        ("capacity_kw", float("inf"), "more than 0 kW"),
        ("step_min", 7, "one of 5, 15, 30, 60"),
        ("latitude", 95.0, "from -90 to 90"),
        ("latitude", float("nan"), "from -90 to 90"),
        ("longitude", -181.0, "from -180 to 180"),
        ("time_zone", "Mars/Base", "an IANA time zone"),
        ("site_id", "", "the name of a site"),
        ("parameters", "tilt", "a JSON object"),
        *(
            (
                "parameters",
                {"delay_min": value},
                "delay_min = .*: expected a number from 0 to 527040",
            )
            for value in (-1, True, "60", None, [60], float("nan"), float("inf"), 1e12)
        ),
        *(
            ("parameters", {"regressor_of": value}, "regressor_of = .*: expected source_ids")
            for value in (5, {"load-1": 1}, [["load-1"]], ["load-1", None])
        ),
    ],
)
def test_impossible_sources_are_refused(field, value, expected):
    with pytest.raises(SourceError, match=expected) as error:
        dataclasses.replace(ROOF, **{field: value})
    assert field == "parameters" or field in str(error.value)


def test_a_market_has_no_capacity():
    with pytest.raises(SourceError, match="capacity_kw = 5"):
        Source("m", "market", "", "site-1", 5.0, 60, None, None, "UTC")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "python generation.py"),
        ("", "expected the columns"),
        ("source_id,kind\nroof,solar\n", "column name is missing"),
        (
            "source_id,kind,name,site_id,capacity_kw,step_min,latitude,longitude,time_zone,parameters\nroof,solar,x,s,much,60,,,UTC,{}\n",
            "line 2",
        ),
        (
            "source_id,kind,name,site_id,capacity_kw,step_min,latitude,longitude,time_zone,parameters\nroof,solar,x,s,5,60,,,UTC,{broken\n",
            "line 2",
        ),
        (
            "source_id,kind,name,site_id,capacity_kw,step_min,latitude,longitude,time_zone,parameters\n"
            + "roof,solar,x,s,5,60,,,UTC,{}\n" * 2,
            "roof comes twice",
        ),
    ],
)
def test_unusable_registry_files(tmp_path, content, expected):
    path = tmp_path / "sources.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises((DataFileError, SourceError), match=expected):
        read_sources(path)


def test_files_are_replaced_together_or_not_at_all(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with (
        pytest.raises(DataFileError, match="No space left on device"),
        replacing_files(tmp_path) as folder,
    ):
        (folder / "a.csv").write_text("new")
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyboardInterrupt), replacing_files(tmp_path) as folder:
        (folder / "a.csv").write_text("new")
        raise KeyboardInterrupt
    (tmp_path / ".writing-old").mkdir()  # of a process that was killed a day ago
    os.utime(tmp_path / ".writing-old", (0, 0))
    (tmp_path / "b.csv").mkdir()
    with (
        pytest.raises(DataFileError, match=r"b\.csv is a folder"),
        replacing_files(tmp_path) as folder,
    ):
        (folder / "a.csv").write_text("new")
        (folder / "b.csv").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


@pytest.fixture
def run(tmp_path, capsys):
    """Run a command of sources.py on a data folder of its own.

    Exit code, standard output, lines of standard error.
    """
    (tmp_path / "config.ini").write_text("[generation]\ndays = 2\n")

    def command(*arguments):
        code = sources.main(["--config", str(tmp_path / "config.ini"), *map(str, arguments)])
        streams = capsys.readouterr()
        return code, streams.out, streams.err.strip().splitlines()

    return command


def test_add_list_and_show(run, tmp_path):
    def add(kind, name, options):
        return run("add", "--kind", kind, "--name", name, *options.split())

    code, out, _ = add("solar", "Roof east", "--capacity-kw 250 --tilt 30 --azimuth 90")
    assert code == 0 and "roof-east added" in out and "connect roof-east" in out
    hill = "--capacity-kw 4600 --turbine E-82/2300 --hub-height 108 --id hill-1"
    assert add("wind", "Hill", hill)[0] == 0
    assert add("market", "DE-LU", "")[0] == 0
    assert add("load", "Mill", "--capacity-kw 90 --latitude 50.1 --longitude 6.5")[0] == 0
    found = {source.source_id: source for source in read_sources(tmp_path / "data" / "sources.csv")}
    assert list(found) == ["roof-east", "hill-1", "de-lu", "mill"]
    assert found["roof-east"].parameters == {"origin": "added", "tilt": 30.0, "azimuth": 90.0}
    assert found["hill-1"].parameters == {
        "origin": "added",
        "turbine": "E-82/2300",
        "hub_height_m": 108.0,
    }
    assert (found["mill"].latitude, found["roof-east"].latitude) == (50.1, 49.6)
    for arguments in ((), ("list",)):
        code, out, _ = run(*arguments)
        assert code == 0 and all(name in out for name in found)
    code, out, _ = run("show", "mill", "--json")
    assert json.loads(out)[0]["capacity_kw"] == 90 and json.loads(out)[0]["rows"] == 0
    assert "E-82/2300" in run("show", "hill-1")[1]


def test_times_are_shown_as_in_every_table(run, tmp_path):
    run("add", "--kind", "load", "--name", "Mill", "--capacity-kw", 90)
    lines = [
        "time,source_id,power_kw",
        "2025-01-01T00:00:00Z,mill,1",
        "2025-01-01T01:00:00Z,mill,2",
    ]
    (tmp_path / "data" / "load.csv").write_text("\n".join(lines))
    (shown,) = json.loads(run("show", "mill", "--json")[1])
    assert (shown["first"], shown["last"]) == ("2025-01-01T00:00Z", "2025-01-01T01:00Z")
    assert "2025-01-01T01:00Z\n" in run("show", "mill")[1]


BAD = (
    (["show", "roof-west"], 2, "expected one of roof-east"),
    (["add", "--kind", "solar", "--name", "Roof east", "--capacity-kw", "5"], 1, "exists already"),
    (["add", "--kind", "weather", "--name", "x"], 1, "expected solar, wind, load or market"),
    (["add", "--kind", "solar", "--name", "x", "--capacity-kw", "0"], 1, "more than 0 kW"),
    (["add", "--kind", "solar", "--name", "x"], 1, "more than 0 kW"),
    (
        ["add", "--kind", "market", "--name", "x", "--capacity-kw", "5"],
        1,
        "nothing for the kind market",
    ),
    (
        ["add", "--kind", "solar", "--name", "x", "--capacity-kw", "5", "--latitude", "95"],
        1,
        "from -90 to 90",
    ),
    (
        ["add", "--kind", "wind", "--name", "x", "--capacity-kw", "5", "--turbine", "E-82/2301"],
        2,
        "E-82/2300",
    ),
    (
        ["add", "--kind", "load", "--name", "x", "--capacity-kw", "5", "--tilt", "30"],
        2,
        "does not belong to the kind load",
    ),
    (
        ["add", "--kind", "solar", "--name", "x", "--capacity-kw", "5", "--tilt", "95"],
        2,
        "expected 0 to 90 degrees",
    ),
    (["add", "--kind", "solar", "--name", "--", "--capacity-kw", "5"], 1, "1 to 63 letters"),
    (["connect", "nothing"], 2, "source nothing is unknown"),
)


@pytest.mark.parametrize(("arguments", "code", "message"), BAD)
def test_bad_input_ends_in_one_line_and_changes_nothing(run, tmp_path, arguments, code, message):
    run("add", "--kind", "solar", "--name", "Roof east", "--capacity-kw", 250)
    before = (tmp_path / "data" / "sources.csv").read_bytes()
    if "--" in arguments:
        arguments = [item if item != "--" else "?!" for item in arguments]
    found, _, lines = run(*arguments)
    assert found == code and len(lines) == 1 and message in lines[0]
    assert (tmp_path / "data" / "sources.csv").read_bytes() == before


def test_no_data_folder_yet(run):
    code, _, lines = run()
    assert code == 1 and len(lines) == 1 and "python generation.py" in lines[0]


def test_an_added_plant_is_generated_streamed_stored_and_removed(config_file, capsys):
    path = config_file(generation={"days": 2, "solar": 1, "wind": 0})
    config = load_config(path, {})
    generation.generate_files(config, config.paths.data_dir)

    def command(*arguments):
        code = sources.main(["--config", str(path), *map(str, arguments)])
        return code, capsys.readouterr()

    code, streams = command(
        "add", "--kind", "solar", "--name", "Roof", "--capacity-kw", 250, "--connect", "--json"
    )
    assert code == 0 and [(row["produced"], row["stored"]) for row in json.loads(streams.out)] == [
        (48, 48)
    ]
    assert command("connect", "roof", "--json")[0] == 0
    with db.session(config) as connection:
        (roof,) = (source for source in db.read_sources(connection) if source.source_id == "roof")
        stored = db.read_series(connection, roof)
        assert len(stored) == 48 and 0 < stored.max() <= 250
    code, streams = command("remove", "roof")
    assert code == 1 and "48 rows" in streams.err and "--with-data" in streams.err
    assert command("remove", "roof", "--with-data")[0] == 0
    with db.session(config) as connection:
        assert "roof" not in {source.source_id for source in db.read_sources(connection)}
        assert db.read_series(connection, roof).empty
    assert "roof" not in (config.paths.data_dir / "solar.csv").read_text()
    assert "solar-1" in (config.paths.data_dir / "solar.csv").read_text()
    code, streams = command("connect", "weather-1")
    assert code == 1 and "weather" in streams.err
