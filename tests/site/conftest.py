"""Fixtures of the tests of imports."""

import pytest

import sources


@pytest.fixture
def run_import(tmp_path, capsys):
    """Run an import: exit code, standard output, lines of standard error.

    The output folder is tmp_path / out.
    """
    (tmp_path / "config.ini").write_text("")

    def command(path, *arguments):
        argv = [
            "--config",
            tmp_path / "config.ini",
            "import",
            path,
            "--output",
            tmp_path / "out",
            *arguments,
        ]
        code = sources.main([str(item) for item in argv])
        streams = capsys.readouterr()
        return code, streams.out, streams.err.strip().splitlines()

    return command
