"""A second import joins the first, row by row; refusals leave the folder as it was."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import sources
from sources import SourceError, read_sources
from vpp.runtime.files import locked_folder
from vpp.site.merge import merge_rows
from vpp.site.sources import Source, write_sources

PROJECT = Path(sources.__file__).parent
HOURS = [f"2025-01-01T{hour:02}:00Z" for hour in range(24)]


@pytest.fixture
def run(tmp_path, capsys):
    """Import text of a file: exit code, output, last line of the errors."""
    (tmp_path / "config.ini").write_text("")

    def command(name, rows, *arguments):
        path = tmp_path / name
        path.write_text("time,kw\n" + "\n".join(rows) + "\n")
        argv = ["--config", tmp_path / "config.ini", "import", path, "--output", tmp_path / "out"]
        code = sources.main([str(word) for word in [*argv, *arguments]])
        streams = capsys.readouterr()
        return code, streams.out, streams.err.strip()

    return command


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_are_added_replaced_and_kept(tmp_path, run):
    rows = [f"{time},{number + 1}" for number, time in enumerate(HOURS)]
    assert run("a.csv", [*rows[:20], "nonsense,5", *rows[20:21]], "--load", "kw:kW:l")[0] == 0
    # hours 18 and 19 as before, 20 has another value, 21 to 23 are new
    later = [*rows[18:20], f"{HOURS[20]},99", "other nonsense,6", *rows[21:]]
    code, out, _ = run("b.csv", later, "--load", "kw:kW:l")
    assert code == 0
    row = [line.split("|") for line in out.splitlines() if line.strip().startswith("l  ")][-1]
    assert [int(cell) for cell in row[1:]] == [3, 1, 2, 18]
    found = pd.read_csv(tmp_path / "out" / "load.csv")
    assert found["time"].tolist() == [time.replace("Z", ":00Z") for time in HOURS]
    assert found["power_kw"].tolist() == [*range(1, 21), 99, 22, 23, 24]
    (source,) = read_sources(tmp_path / "out" / "sources.csv")
    assert source.capacity_kw == 99  # the largest value so far
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    assert rejects["time"].tolist() == ["nonsense", "other nonsense"]
    assert [Path(name).name for name in rejects["file"]] == ["a.csv", "b.csv"]
    before = content(tmp_path / "out")
    assert run("b.csv", later, "--load", "kw:kW:l")[0] == 0  # again: nothing changes
    assert content(tmp_path / "out") == before


def test_what_was_written_by_hand_stays_unless_it_is_stated_anew(tmp_path, run):
    wanted, path = ("--wind", "kw:kW:farm"), tmp_path / "out" / "sources.csv"
    at = ("--latitude", "60", "--longitude", "5", "--tz", "Europe/Oslo")
    assert run("a.csv", [f"{time},5" for time in HOURS[:9]], *wanted, *at)[0] == 0
    (first,) = read_sources(path)
    by_hand = {"valid_from": "2025-01-01T05:00Z", "turbine": "V112/3000"}
    edited = replace(first, name="Sea", capacity_kw=3000, parameters=first.parameters | by_hand)
    write_sources(path, [edited])
    assert run("b.csv", [f"{time},6" for time in HOURS[9:]], *wanted)[0] == 0
    assert read_sources(path) == [edited]
    stated = ("--wind", "kw:kW:farm:2000", "--latitude", "61")
    assert run("b.csv", [f"{time},6" for time in HOURS[9:]], *stated)[0] == 0
    assert read_sources(path) == [replace(edited, capacity_kw=2000, latitude=61)]


def test_a_second_import_of_forecasts_keeps_whom_they_help(tmp_path, run):
    path, issued = tmp_path / "out" / "sources.csv", ("--issued", "36h")
    wanted = ("--forecast", "kw:kW:tso", *issued)
    more = ("--regressor-of", "load-1", "--delay-min", "30")
    assert run("a.csv", [f"{time},5" for time in HOURS[:9]], *wanted, *more)[0] == 0
    first = path.read_bytes()
    assert run("b.csv", [f"{time},6" for time in HOURS[9:]], *wanted)[0] == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("rows", "arguments", "expected"),
    [
        ([f"{time},1" for time in HOURS], ["--solar", "kw:kW:l"], "of the kind load"),
        (
            [f"2025-01-01T00:{minute:02}Z,1" for minute in range(0, 60, 15)],
            ["--load", "kw:kW:l"],
            "--step 60",
        ),
        ([f"{time},x" for time in HOURS], ["--load", "kw:kW:l"], "is no number"),
        (["03/04/2025 00:00,1", "03/04/2025 01:00,2"], ["--load", "kw:kW:l"], "--tz"),
    ],
)
def test_a_refused_import_leaves_the_folder_as_it_was(tmp_path, run, rows, arguments, expected):
    assert run("a.csv", [f"{time},5" for time in HOURS], "--load", "kw:kW:l")[0] == 0
    before = content(tmp_path / "out")
    code, _, errors = run("b.csv", rows, *arguments)
    assert code in (1, 2) and expected in errors and "\n" not in errors
    assert content(tmp_path / "out") == before


def test_a_dry_run_writes_nothing(tmp_path, run):
    rows = [f"{time},5" for time in HOURS]
    code, out, _ = run("a.csv", rows, "--load", "kw:kW:l", "--dry-run")
    assert code == 0 and "2025-01-01T01:00Z to 02:00Z" in out and "5 kW" in out
    assert not (tmp_path / "out").exists()


def test_rows_of_any_kind_join(tmp_path):
    weather = Source("w", "weather", "w", "s", None, 60, 50.0, 6.0, "UTC", {"origin": "fetched"})

    def rows(first, temperature):
        times = [f"2025-01-01T{hour:02}:00:00Z" for hour in range(first, first + 3)]
        values = dict.fromkeys(("ghi", "dni", "dhi", "wind_speed"), 1.0)
        return pd.DataFrame({"time": times, "source_id": "w", **values, "temp_air": temperature})

    merge_rows(tmp_path, [(weather, "weather", rows(0, 3.0))])
    (told,) = merge_rows(tmp_path, [(weather, "weather", rows(2, 4.0))])
    assert told == {"source_id": "w", "new": 2, "replaced": 1, "unchanged": 0, "kept": 2}
    found = pd.read_csv(tmp_path / "weather.csv")
    assert found["temp_air"].tolist() == [3, 3, 4, 4, 4]
    with pytest.raises(SourceError, match="--step 60"):
        quarters = Source("w", "weather", "w", "s", None, 15, 50.0, 6.0, "UTC", {})
        merge_rows(tmp_path, [(quarters, "weather", rows(0, 3.0))])


def test_changes_of_a_folder_wait_for_one_another(tmp_path):
    order = []

    def second():
        with locked_folder(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked_folder(tmp_path):
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"] and not list(tmp_path.iterdir())


def test_imports_side_by_side_lose_nothing(tmp_path):
    (tmp_path / "config.ini").write_text("")
    for name in "abc":
        rows = "\n".join(f"{time},{number + 1}" for number, time in enumerate(HOURS))
        (tmp_path / f"{name}.csv").write_text(f"time,kw\n{rows}\n")
    argv = [sys.executable, "sources.py", "--config", str(tmp_path / "config.ini"), "import"]
    running = [
        subprocess.Popen(
            [*argv, str(tmp_path / f"{name}.csv"), "--load", f"kw:kW:{name}"],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        for name in "abc"
    ]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    found = pd.read_csv(tmp_path / "data" / "load.csv")
    assert found["source_id"].value_counts().to_dict() == {"a": 24, "b": 24, "c": 24}


def test_endless_and_binary_input_is_refused(tmp_path, capsys):
    (tmp_path / "config.ini").write_text("")
    for path in ("/dev/zero", tmp_path / "long.csv", tmp_path / "bad.zip", tmp_path / "cut.csv.gz"):
        if not Path(path).exists():
            start = {"long.csv": b"a" * 200_000, "bad.zip": b"PK\x03\x04xx"}
            Path(path).write_bytes(start.get(Path(path).name, b"\x1f\x8b\x08\x00cut"))
        argv = ["--config", tmp_path / "config.ini", "import", path, "--load", "kw:kW"]
        assert sources.main([str(word) for word in argv]) == 1
        errors = capsys.readouterr().err.strip()
        assert Path(path).name in errors and "\n" not in errors
    assert not (tmp_path / "data").exists()


def test_a_fetch_leaves_what_was_written_by_hand(tmp_path):
    """Also where it brings a finer step; the place, of `[site]` or the provider, is the fetch's."""

    def fetched(step_min, *values, **said):
        times = pd.date_range("2025-09-30", periods=len(values), freq=f"{step_min}min")
        parameters = {"origin": "fetched", "price_area": "X"} | said
        source = Source("p", "market", "p", "s", None, step_min, 50.0, 6.0, "UTC", parameters)
        frame = {"time": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "source_id": "p"}
        rows = pd.DataFrame(frame | {"price_eur_per_mwh": values})
        merge_rows(tmp_path, [(source, "market", rows)], finer=True)
        return read_sources(tmp_path / "sources.csv")[0]

    first = fetched(60, 10.0, 20.0)
    by_hand = {"delay_min": 90, "contract": "2025-7"}
    edited = replace(first, name="Our price", parameters=first.parameters | by_hand)
    write_sources(tmp_path / "sources.csv", [replace(edited, latitude=51.0)])
    assert fetched(60, 10.0, 25.0) == edited
    assert fetched(15, 10.0, 11.0, 12.0, 13.0) == replace(edited, step_min=15)
    said = edited.parameters | {"price_area": "Y"}
    assert fetched(15, 10.0, price_area="Y") == replace(edited, step_min=15, parameters=said)


def test_a_series_whose_step_changes_goes_on_on_the_finer_one(tmp_path):
    # hours 0 and 1, then quarters of hours 1 and 2, then hours 2 and 3 again
    def rows(step_min, first, *values):
        times = pd.date_range(
            f"2025-09-30T{first:02}:00", periods=len(values), freq=f"{step_min}min"
        )
        source = Source("p", "market", "p", "s", None, step_min, 50.0, 6.0, "UTC", parameters)
        frame = {"time": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "source_id": "p"}
        return [(source, "market", pd.DataFrame(frame | {"price_eur_per_mwh": values}))]

    parameters = {"origin": "fetched", "price_area": "X"}
    merge_rows(tmp_path, rows(60, 0, 10.0, 20.0), finer=True)
    quarters = (20.0, 20.0, 21.0, 22.0, 30.0, 30.0, 31.0, 33.0)
    (told,) = merge_rows(tmp_path, rows(15, 1, *quarters), finer=True)
    assert told == {"source_id": "p", "new": 4, "replaced": 2, "unchanged": 2, "kept": 4}
    found = pd.read_csv(tmp_path / "market.csv")
    assert found["price_eur_per_mwh"].tolist() == [10.0] * 4 + list(quarters)
    assert found["time"].tolist()[:2] == ["2025-09-30T00:00:00Z", "2025-09-30T00:15:00Z"]
    (source,) = read_sources(tmp_path / "sources.csv")
    assert source.step_min == 15
    before = content(tmp_path)
    with pytest.raises(SourceError, match=r"02:00:00Z .40. than .*31 on average"):
        merge_rows(tmp_path, rows(60, 2, 40.0, 50.0), finer=True)
    with pytest.raises(SourceError, match="--step 15"):  # a file's step is for its owner to say
        merge_rows(tmp_path, rows(60, 3, 50.0))
    assert content(tmp_path) == before
    (told,) = merge_rows(tmp_path, rows(60, 3, 50.0), finer=True)
    assert (told["new"], told["kept"]) == (4, 12)
