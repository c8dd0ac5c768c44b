"""Files are replaced whole or not at all, and never over what is read."""

import argparse
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vpp.runtime.errors import ConfigError
from vpp.runtime.files import (
    READ,
    WRITTEN,
    check_own_files,
    check_picture,
    check_writable,
    replacing_file,
    replacing_files,
)

ROOT = Path(__file__).resolve().parents[2]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "result.csv"
    with replacing_file(path, "--output") as partial:
        partial.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(RuntimeError), replacing_file(path, "--output") as partial:
        partial.write_text("half of the sec")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.csv"]


def test_two_that_write_one_file_at_once_do_not_meet_and_no_other_file_is_touched(tmp_path):
    path, own = tmp_path / "a.png", tmp_path / ".partial-a.png"
    own.write_text("of the user")
    with replacing_file(path) as one:
        with replacing_file(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"
    long = tmp_path / ("n" * 251 + ".png")  # the longest name that a folder takes
    with replacing_file(long) as partial:
        partial.write_text("long")
    assert long.read_text() == "long"
    assert own.read_text() == "of the user"
    assert sorted(tmp_path.iterdir()) == [own, path, long]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(
        ConfigError, match=r"--output .*report\.html: cannot be written: is a folder"
    ):
        check_writable(tmp_path / "report.html", "--output")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConfigError, match=r"--json .*cannot be written"):
        check_writable(tmp_path / "file" / "summary.json", "--json")
    check_writable(tmp_path / "file", "--json")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ConfigError, match=r"--plot .*day\.bmp: expected a file that ends in \.png"):
        check_picture(tmp_path / "day.bmp", "--plot")


def special(tmp_path, kind):
    """A path that is written through, and a function that gives what arrived behind it."""
    path, kept = tmp_path / "result.png", tmp_path / "kept.dat"
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return path, lambda: os.read(reader, 1000)
    if kind == "device":
        if os.geteuid():
            pytest.skip("only root makes a device")
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null
            path.open("wb").close()
        except OSError:
            pytest.skip("no device can be made or opened here")
        return path, lambda: b"new"
    if kind == "link":
        kept.write_text("old")
    path.symlink_to(kept.name)
    return path, kept.read_bytes


@pytest.mark.parametrize("kind", ["fifo", "device", "link", "link to nothing yet"])
def test_a_device_a_pipe_and_a_link_are_written_through(tmp_path, kind):
    path, arrived = special(tmp_path, kind)
    before = (path.lstat().st_ino, path.lstat().st_mode)
    check_picture(path, "--plot")
    with replacing_file(path, "--plot") as partial:
        assert partial.suffix == ".png"
        partial.write_text("new")
    assert (path.lstat().st_ino, path.lstat().st_mode) == before
    assert arrived() == b"new"
    with replacing_files(tmp_path) as folder:
        (folder / path.name).write_text("new")
    assert (path.lstat().st_ino, path.lstat().st_mode) == before
    assert arrived() == b"new"
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_a_process_has_open_keeps_what_it_printed(tmp_path):
    code = (
        "from pathlib import Path; from vpp.runtime.files import replacing_file\n"
        "print('first', flush=True)\n"
        "with replacing_file(Path('/dev/stdout')) as partial: partial.write_text('second')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "first\nsecond"


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match=r"--output .*a: cannot be written: "):
        check_writable(tmp_path / "a", "--output")
    assert (tmp_path / "a").is_symlink()


def other_name(path, kind):
    """Another name of the same file."""
    other = path.with_name("other.json")
    if kind == "hard link":
        other.hardlink_to(path)
    elif kind == "symbolic link":
        other.symlink_to(path)
    elif kind == "other spelling":
        other = path.parent / ".." / path.parent.name / path.name
    else:
        other = path
    return other


@pytest.mark.parametrize("kind", ["same name", "other spelling", "hard link", "symbolic link"])
def test_a_file_that_is_read_is_not_written_over(tmp_path, kind):
    path = tmp_path / "problem.json"
    path.write_text("kept")
    other = other_name(path, kind)
    for written in WRITTEN:
        for read in READ:
            args = argparse.Namespace(**{written: other, read: path})
            config = path if read == "config" else tmp_path / "config.ini"
            name = "FILE" if read == "file" else f"--{read.partition('_')[0]}"
            flag = written.removesuffix("_written")  # --csv of a script that also reads one
            with pytest.raises(ConfigError, match=rf"--{flag} .*: is the file that {name} names"):
                check_own_files(args, config)
    with pytest.raises(ConfigError, match=r"is the file that --(plot|output) names"):
        check_own_files(argparse.Namespace(plot=path, output=other), tmp_path / "x.ini")
    check_own_files(argparse.Namespace(output=tmp_path / "new", input=path), path)
    assert path.read_text() == "kept"
