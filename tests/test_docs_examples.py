"""Every example of README and docs runs, in the order of reading, in one small world.

The world is a folder with the project's config.ini and examples/, made small (`SMALL`), servers of
its own, and files that a reader brings along. Commands run in it as they stand, but for
`SHORTER`.
"""

import configparser
import importlib
import io
import re
import shlex
import shutil
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import BLOCKS, ROOT, Block

import db
import embedded
from vpp.runtime import config, terminal

# Commands that no test can run, and why; of a block with Docker no command runs.
NOT_RUN = {
    r"make run": "installs packages; its other half, pipeline.py, runs instead",
    r"make (test|lint|docs)|\.venv/bin/python -m pytest .*": "is this very test, or runs beside it",
    r"\.venv/bin/mlflow server .*": "serves until Ctrl-C",
    r"python pipeline.py .*(--watch|operate).*": "until Ctrl-C; tests/operation runs it",
    r"python serve.py": "serves until Ctrl-C; tests/serve runs it",
    r"psql .*": "is a client that not every machine has",
    r"python benchmarks/.*": "takes minutes to hours; make bench runs them",
    r"python sources.py fetch .*": "asks over the network; tests/connect replays it",
    r"unset .*": "only undoes what Docker's block has set",
}
DOCKER = re.compile(r"^(make (up|down)|docker compose )", re.MULTILINE)
SMALL = {
    "generation": {"solar": "1", "wind": "1"},
    "training": {
        "models": "hourly_ridge",
        "trials": "1",
        "origins": "2",
        "jobs": "1",
        "history_days": "35",
    },
}
# It takes long and leaves the same state when it is run again, so it runs once, at its first place.
ONCE = re.compile(r"python (pipeline|train_forecast)\.py.*|.* --backfill-days .*")
SHORTER = {"--trials": "1", "--jobs": "1"}  # values of flags that only take longer


def make_small(text: str) -> str:
    """A configuration with the sections of `SMALL`."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    parser.read_dict(SMALL)
    written = io.StringIO()
    parser.write(written)
    return written.getvalue()


def bring_files(folder) -> None:
    """The CSV files that the pages read: meters, a forecast, a country's quarter-hours."""
    hours = pd.date_range("2025-01-01", periods=60 * 24, freq="h", tz="Europe/Berlin")
    rng, hour = np.random.default_rng(1), hours.hour.to_numpy()
    columns = {
        "time": hours.tz_localize(None).strftime("%Y-%m-%d %H:%M"),
        "load_mw": 0.2 + 0.1 * np.sin(hour / 24 * 2 * np.pi) + rng.normal(0, 0.01, len(hours)),
        "pv_kw": 150
        * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
        * rng.uniform(0.3, 1, len(hours)),
        "price": 60 + 30 * np.cos((hour - 19) / 12 * np.pi) + rng.normal(0, 5, len(hours)),
    }
    pd.DataFrame(columns).round(3).to_csv(folder / "meter.csv", index=False)
    # up to the end of the demo's data, so that it is not too old
    days = pd.DataFrame(
        {"time": pd.date_range("2025-01-01", "2025-04-03", freq="h", inclusive="left")}
    )
    days.assign(wind_mw=40.0).to_csv(
        folder / "tso.csv", index=False
    )  # what a grid operator forecasts
    times = pd.date_range("2024-01-01", periods=35 * 96, freq="15min")
    hour, noise = (
        times.hour.to_numpy() + times.minute.to_numpy() / 60,
        rng.uniform(0.8, 1.2, len(times)),
    )
    columns = {
        "time_utc": times.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "load_mw": (500 + 150 * np.sin((hour - 8) / 24 * 2 * np.pi)) * noise,
        "wind_mw": 60 * noise,
        "pv_mw": 90 * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None) * noise,
        "price_da_eur_mwh": 60 + 30 * np.cos((hour - 19) / 12 * np.pi) * noise,
    }
    pd.DataFrame(columns).round(3).to_csv(folder / "lu_2024_15min_utc.csv", index=False)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The folder that stands for the project's, as a reader finds it after the installation."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(ROOT / "config.ini", tmp_path)
    for path in (tmp_path / "config.ini", *tmp_path.glob("examples/*.ini")):
        path.write_text(make_small(path.read_text()))
    bring_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for module in (config, terminal):  # the one reads it, the other imports it by name
        monkeypatch.setattr(module, "DEFAULT_PATH", tmp_path / "config.ini")
    monkeypatch.setattr(webbrowser, "open", lambda address: True)
    for variable in config.ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    yield tmp_path
    for folder in {path.parent.parent for path in tmp_path.glob(".vpp/**/embedded/lock")}:
        embedded.stop(folder, delete=True)


def newest_plan() -> str:
    with db.session(config.load_config()) as connection:
        return db.read_schedule(connection, kind="plan")[0]["run_id"]


def run_command(command: str) -> int:
    """Run `python SCRIPT.py ...` in this process, as a shell would in another one."""
    words = shlex.split(command)
    assert words[0] == "python" and words[1].endswith(".py"), f"{command}: what is this?"
    for flag in set(SHORTER) & set(words):
        words[words.index(flag) + 1] = SHORTER[flag]
    words = [newest_plan() if word == "RUN" else word for word in words]
    main = importlib.import_module(words[1].removesuffix(".py")).main
    try:
        return main(words[2:])
    except SystemExit as ended:
        return ended.code


def commands_of(block: Block):
    """The commands of a block that can run."""
    if DOCKER.search(block.text):
        return
    for command in block.commands():
        if command == "make run":
            yield "python pipeline.py"
        elif not any(re.fullmatch(pattern, command) for pattern in NOT_RUN):
            yield command


class Reader:
    """Does with each block what a reader does: writes its file, runs its commands or its Python."""

    def __init__(self):
        self.seen: set[str] = set()
        self.names: dict[str, dict] = {}  # of each page's Python

    def follow(self, block: Block) -> Iterator[tuple[str, int]]:
        """The commands of a block that run, each with its exit code."""
        if block.title:
            text = make_small(block.text) if block.language == "ini" else block.text
            Path(block.title).write_text(text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, block.page, "exec"), self.names.setdefault(block.page, {}))
        elif block.language == "sh":
            for command in commands_of(block):
                if command not in self.seen or not ONCE.fullmatch(command):
                    self.seen.add(command)
                    yield command, run_command(command)


def test_examples_run_in_the_order_of_reading(world, capsys):
    reader, failures = Reader(), []
    for block in BLOCKS:
        for command, code in reader.follow(block):
            said = capsys.readouterr()
            if code:
                failures.append(
                    f"{block.page}: {command}\nexit code {code}\n{said.out}\n{said.err}"
                )
    assert not failures, "\n\n".join(failures)
    assert len(reader.seen) > 50


def test_each_exception_is_needed():
    commands = [
        command for block in BLOCKS if block.language == "sh" for command in block.commands()
    ]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in commands), f"{pattern}: on no page"
