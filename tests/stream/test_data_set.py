"""A data folder of another seed, period or site is noticed before anything is stored."""

import dataclasses
import re
from datetime import date

import pandas as pd
import pytest
from small_stream import SOURCES, iso, register, write_csvs, write_loads

import communication
import db
import generation
import pipeline
from sources import write_sources
from vpp.site.kinds import KINDS
from vpp.stream import data_set
from vpp.stream.data_set import DataSetError


def contents(config):
    """All that is stored, and when it was sent."""
    with db.session(config) as conn, conn.cursor() as cursor:
        found = {}
        for table in ("sources", "renewables", "load", "market_prices", "weather"):
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found[table] = cursor.fetchall()
        return found


def generate(config, **given):
    made = dataclasses.replace(
        config, generation=dataclasses.replace(config.generation, solar=1, wind=1, **given)
    )
    generation.generate_files(made, made.paths.data_dir)


def write_load(config, values, start=0):
    lines = [f"{iso(start + n, 60)},load-1,{value}" for n, value in enumerate(values)]
    text = "\n".join(["time,source_id,power_kw", *lines]) + "\n"
    (config.paths.data_dir / "load.csv").write_text(text)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"seed": 8}, r"[a-z]+-1 is \S+ at 2025-\S+ here and \S+ there \(and \d+ more like it\)"),
        (
            {"start": date(2024, 3, 1)},
            r"\S+-1 is from 2024-03-01\S+ to \S+ here, and from 2025-01-01",
        ),
    ],
)
def test_another_data_set_is_refused_before_anything_is_stored(make_config, given, named):
    config = make_config()
    generate(config, days=5)
    communication.stream(config)
    before = contents(config)
    generate(config, days=5, **given)
    for everything in (False, True):
        with pytest.raises(DataSetError, match="holds another data set than the") as caught:
            communication.stream(config, everything)
        assert re.search(named, str(caught.value)), str(caught.value)
        assert "nothing was stored" in str(caught.value) and "\n" not in str(caught.value)
    assert contents(config) == before


def test_the_script_says_so_in_one_line_and_may_be_forced(make_config, capsys):
    config = make_config()
    register(config)
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    write_load(config, range(1, 25))
    command = ["--config", str(config.path)]
    assert communication.main(command) == 0
    write_load(config, range(101, 125))
    capsys.readouterr()
    for words in (command, [*command, "produce"], [*command, "--all"]):
        assert communication.main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "load-1 is 101 at 2025-01-01T00:00Z here and 1 there" in line
        assert line.endswith("with python communication.py produce --force")
    assert communication.main([*command, "produce", "--force"]) == 0
    assert communication.main(command) == 0
    with db.session(config) as conn:
        assert list(db.read_series(conn, SOURCES[2])) == list(range(101, 125))


@pytest.mark.parametrize(
    "change",
    [
        lambda config: write_load(config, [*range(1, 49), 7, 8]),  # two hours more
        lambda config: write_load(config, [99, *range(2, 49)]),  # a correction
        lambda config: write_load(config, [n + (n > 30) for n in range(1, 49)]),  # many of them
        lambda config: write_load(config, range(25, 97), start=24),  # the newest days only
        lambda config: write_load(config, range(48), start=48 + 24),  # a day was not measured
        lambda config: write_load(config, range(48), start=-48),  # days before
        lambda config: write_load(config, range(101, 106)),  # few values do not tell
    ],
)
def test_the_same_data_set_goes_on(make_config, change):
    config = make_config()
    write_csvs(config, 48)
    write_load(config, range(1, 49))
    communication.stream(config)
    change(config)
    assert sum(row["produced"] for row in communication.stream(config)) > 0


def test_lines_that_are_no_rows_are_left_to_the_sink(make_config):
    config = make_config()
    register(config)
    write_load(config, range(1, 25))
    communication.stream(config)
    path = config.paths.data_dir / "load.csv"
    rows = path.read_bytes()
    strange = b"\xff\xfe,load-1,3\n,,\n2025-01-02T00:00:00,load-1,7\nnever,load-1,nan\n\n"
    for text in (rows + strange, b"", b"time,source_id\n"):
        path.write_bytes(text)
        assert data_set.refuse_another(config, ["load", "solar"]) is None
    assert data_set.refuse_rest(config) is None
    write_load(config, range(101, 125))
    path.write_bytes(path.read_bytes() + strange)  # what can be read is compared all the same
    with pytest.raises(DataSetError, match="load-1 is 101"):
        data_set.refuse_another(config, ["load"])


def test_the_main_job_refuses_a_database_that_holds_more(make_config, capsys):
    """A shorter period, or a source less, of the same seed."""
    config = make_config()
    write_csvs(config, 48)
    write_loads(config, 48)
    communication.stream(config)
    data_set.refuse_rest(config)  # the same folder again
    before = contents(config)
    write_loads(config, 24)
    with pytest.raises(DataSetError, match=r"load-1 from 2025-01-01T00:00Z to 2025-01-02T23:00Z"):
        data_set.refuse_rest(config)
    write_loads(config, 48, sources=["load-2"])
    assert pipeline.main(["--config", str(config.path), "--data", str(config.paths.data_dir)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "load-1" in line and "load.csv there is none of it" in line
    assert "nothing was stored: start anew with python db.py reset --yes" in line
    assert contents(config) == before


def test_a_file_that_grew_is_not_compared(make_config, monkeypatch):
    """One row more in 400,000 is sent within a second."""
    config = make_config()
    write_csvs(config, 48)
    communication.stream(config)
    asked = []
    monkeypatch.setattr(
        communication, "refuse_another", lambda config, kinds, known: asked.append(kinds)
    )
    with (config.paths.data_dir / "load.csv").open("a") as file:
        file.write(f"{iso(48, 60)},load-1,3\n")
    assert sum(row["produced"] for row in communication.stream(config)) == 1
    assert asked == [[]]


def test_some_rows_of_a_file_are_compared_from_its_first_to_its_last(make_config):
    config = make_config()
    write_loads(config, 5000)
    (rows,) = data_set._sample(config.paths.data_dir / "load.csv", KINDS["load"]).values()
    times = [at for _, at, _ in rows]
    assert 100 < len(rows) <= data_set.SAMPLE and times == sorted(times)
    assert times[0] == pd.Timestamp(iso(0, 60)) and times[-1] > pd.Timestamp(iso(4950, 60))
    assert all(value == (at - times[0]).total_seconds() // 3600 % 50 for _, at, value in rows)
