"""Embedded servers as scripts start, use and stop them, from any folder and as an ordinary user."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from conftest import PROJECT
from small_embedded import assert_rows, commit_rows, ends, execute

import embedded
from vpp.runtime.places import find_places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="embedded servers need Linux")


@pytest.fixture
def fresh_state_dir(tmp_path):
    yield tmp_path / "state"
    embedded.stop(tmp_path / "state", delete=True)


def write_config(folder: Path, state: str | Path = "state") -> Path:
    path = folder / "config.ini"
    path.write_text(f"[paths]\nstate_dir = {state}\n[database]\nwait_s = 60\n")
    return path


def test_scripts_start_use_and_stop_the_servers_from_any_folder(tmp_path, script):
    config = write_config(tmp_path)

    def call(*arguments, cwd="/"):
        done = subprocess.run(
            script("embedded.py", "--config", config, *arguments),
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        assert [row["state"] for row in json.loads(call("status", "--json"))] == [
            "stopped",
            "stopped",
        ]
        first = call("start")
        assert call("start", cwd=tmp_path) == first
        assert all(row["address"] in first for row in json.loads(call("start", "--json")))
        postgres, broker = json.loads(call("status", "--json", cwd=tmp_path))
        assert postgres["state"] == broker["state"] == "running"
        assert (
            postgres["address"] in first
            and broker["address"] in first
            and broker["address"].startswith("127.0.0.1:")
        )
        assert (
            "no message when it stops" in broker["keeps"]
            and "every committed row" in postgres["keeps"]
        )
        assert "no message when it stops" in " ".join(call("status").split())
        for folder in (
            tmp_path / "state",
            tmp_path / "state" / "embedded",
            Path(postgres["folder"]),
        ):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if os.geteuid() == 0:
            assert (
                Path(postgres["folder"]).parent == Path("/var/lib/vpp")
                and Path(postgres["folder"]).owner() == "vpp-postgres"
            )
        else:
            assert Path(postgres["folder"]) == tmp_path / "state" / "embedded"
        table = commit_rows(postgres["address"])

        assert call("stop") == "stopped\n"
        assert call("stop") == "was not running\n"
        assert "database system is shut down" in Path(postgres["log"]).read_text()
        for row in (postgres, broker):
            assert ends(row["pid"])
        call("start")
        assert_rows(json.loads(call("status", "--json"))[0]["address"], table)
    finally:
        assert "deleted" in call("stop", "--delete")
    assert not Path(postgres["folder"]).exists() and not (tmp_path / "state" / "embedded").exists()


def test_six_scripts_at_once_share_one_server(fresh_state_dir, tmp_path, script):
    config = write_config(tmp_path)
    command = script("embedded.py", "--config", config, "start")
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outputs = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 6, outputs
    assert len({output for output, _ in outputs}) == 1
    daemons = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"vpp.runtime.daemon\0{fresh_state_dir}".encode() in read_bytes(path)
    ]
    assert len(daemons) == 1


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended meanwhile
        return b""


def caller(account, python, folder, config):
    """Function that runs embedded.py as that user, in a folder of their own."""
    packages = os.path.dirname(os.path.dirname(psycopg2.__file__))

    def call(*arguments):
        return subprocess.run(
            [python, "-B", str(PROJECT / "embedded.py"), "--config", str(config), *arguments],
            env=os.environ | {"HOME": folder, "PYTHONPATH": packages},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
        )

    return call


def test_an_ordinary_user_has_servers_too_also_below_a_long_path(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as an ordinary user already")
    import pwd
    import tempfile

    account = pwd.getpwnam("nobody")
    python = python_for_all()
    if python is None:
        pytest.skip(
            f"the user nobody cannot read {PROJECT} or run a Python "
            f"{sys.version_info.major}.{sys.version_info.minor}"
        )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        state = (
            Path(folder) / ("a-long-name-" * 8) / "state"
        )  # with the socket's name more than 107 bytes
        config = write_config(Path(folder), state)
        config.chmod(0o644)

        call = caller(account, python, folder, config)

        try:
            done = call("start")
            assert done.returncode == 0, done.stderr
            postgres, _ = json.loads(call("status", "--json").stdout)
            assert postgres["state"] == "running" and postgres["folder"] == str(state / "embedded")
            assert (
                state.stat().st_uid == account.pw_uid
                and stat.S_IMODE((state / "embedded").stat().st_mode) == 0o700
            )
            assert execute(postgres["address"], "SELECT 1") == [(1,)]
            assert (
                embedded.describe(find_places(state))[0]["pid"] == postgres["pid"]
            )  # root sees them too
        finally:
            stopped = call("stop", "--delete")
        assert stopped.returncode == 0 and not (state / "embedded").exists()
    assert not list(Path("/tmp").glob(f"vpp-{account.pw_uid}-*"))


def python_for_all() -> str | None:
    """A Python of this version that any user may run, where any user may also read the project and
    its packages.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        Path(sys.executable),
        *(Path(folder) / name for folder in ("/usr/bin", "/usr/local/bin")),
    ]
    if not open_to_all(PROJECT / "embedded.py") or not open_to_all(Path(psycopg2.__file__)):
        return None
    return next(
        (
            str(path)
            for path in candidates
            if path.exists() and open_to_all(path) and open_to_all(path.resolve())
        ),
        None,
    )


def open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents) and bool(
        path.stat().st_mode & stat.S_IROTH
    )


def test_a_state_folder_that_cannot_be_made_is_one_line(tmp_path, script):
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, "file/state")
    done = subprocess.run(
        script("embedded.py", "--config", config, "start"), capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert (
        f"{tmp_path}/file/state/" in done.stderr
        and "Not a directory" in done.stderr
        and "[paths] state_dir" in done.stderr
    )
