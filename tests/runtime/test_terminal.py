"""Arguments, log and errors of every script."""

import argparse
import logging
from datetime import UTC, datetime

import pytest

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.tables import print_rows


@pytest.mark.parametrize(
    "text", ["12:00Z", "2025-03-01", "2025-03-01T00:00", "0001-01-01T00:00+05:00", "now"]
)
def test_an_issue_time_is_a_date_and_a_time_with_its_zone(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected an ISO-8601 time with its zone"):
        terminal.utc_time(text)
    assert terminal.utc_time("2025-03-01T01:00+01:00") == datetime(2025, 3, 1, tzinfo=UTC)


CONTROLS = ["\x1b[2J", "\x07", "\r", "\x9b31m", "\x00", "\x7f", "\u202e", "\u2066", "\u2028", "\b"]


@pytest.mark.parametrize("mark", CONTROLS, ids=ascii)
def test_control_characters_of_data_never_reach_the_terminal(mark, tmp_path, capfd):
    text, config = f"Roof{mark}east", tmp_path / "config.ini"
    config.write_text("")

    def run(args, config):
        print_rows([{f"column{mark}": text, "lines": "a\nb"}], title=text)
        print_rows([{"name": text}], as_json=True)
        logging.getLogger("sink").warning("refused: %s", text)
        raise ConfigError(f"{text} is unknown")

    root = logging.getLogger()
    before, root.handlers = root.handlers, []  # as in a process of its own
    try:
        code = terminal.run_script(terminal.new_parser("x"), run, ["--config", str(config)])
    finally:
        root.handlers = before
    assert code == 2
    found = capfd.readouterr()
    for out in found:
        assert mark not in out
        assert "Roof" in out and "east" in out
    assert "a\\nb" in found.out
    with pytest.raises(SystemExit):
        terminal.new_parser("x").parse_args([f"--x{mark}"])
    assert mark not in capfd.readouterr().err
