"""Where the embedded servers keep their files, and which process has such a file open.

python embedded.py status
"""

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vpp.runtime.errors import VppError

ROOT_STATE = Path("/var/lib/vpp")
ROOT_RUNS_AS = "vpp-postgres"  # a user of its own: others run as nobody, too
# By one of these an existing folder is known to be a state folder, which may be closed to others.
STATE_NAMES = {"embedded", "mlflow.db", "mlartifacts", "optuna.journal", "sent.json", "fetched"}
STATE_NAMES |= {"pareto.csv", "pareto.png", "serve.token", "operate.beat"}


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
        """The file whose lock the daemon holds."""
        return self.control / "lock"

    @property
    def runtime(self) -> Path:
        """The file with the addresses, there while both servers answer."""
        return self.control / "servers.json"

    @property
    def log(self) -> Path:
        """The log of the daemon."""
        return self.control / "servers.log"

    @property
    def postgres_log(self) -> Path:
        """The log of PostgreSQL."""
        return self.postgres / "postgres.log"


def find_places(state_dir: Path) -> Places:
    """Tell where the servers of a state folder keep their files, for the calling user."""
    state_dir = state_dir.resolve()
    control = state_dir / "embedded"
    if os.geteuid() != 0:
        return Places(control, control, None)
    return Places(control, ROOT_STATE / hash_of(state_dir), ROOT_RUNS_AS)


def make_private(folder: Path) -> None:
    """Make a state folder that only its owner may enter; one that others may is closed to them.

    Raises
    ------
    EmbeddedError : others may enter it, and it is not ours to close.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o077:
        return
    names = set(os.listdir(folder))
    is_ours = not names or names & STATE_NAMES
    if not is_ours or os.geteuid() not in (0, found.st_uid):
        raise EmbeddedError(
            f"{folder}: others may enter it (mode {mode:04o}), and models and the database lie in "
            f"it; chmod 700 {folder}, or set [paths] state_dir to a folder of its own"
        )
    folder.chmod(0o700)


def hash_of(path: Path) -> str:
    """Make 16 letters of a path, to name a folder elsewhere."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def is_file(descriptor: int, path: Path) -> bool:
    """Tell whether a descriptor is still the file at a path.

    Parameters
    ----------
    descriptor : of an open file.
    path : where that file was.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def has_open(number: int, descriptor: int) -> bool:
    """Tell whether a process has the file of our descriptor open.

    Parameters
    ----------
    number : process id; a pidfd of it, taken before, makes sure it stays that process.
    descriptor : of our open file.
    """
    with suppress(OSError):
        return any(
            is_file(descriptor, Path(f"/proc/{number}/fd/{name}"))
            for name in os.listdir(f"/proc/{number}/fd")
        )
    return False


def last_line(path: Path) -> str:
    """Read the last line of a log that is not empty, for a message."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return "no log yet"
    return next((line.strip() for line in reversed(lines) if line.strip()), "the log is empty")
