"""Files that change whole or not at all: written beside and renamed, alone or several together.

Also the checks that no command writes over what it reads, and a lock between processes.

    python generation.py --plot week.html
"""

import argparse
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.tables import shown

PICTURES = (".png", ".svg", ".pdf")
OPEN_FILES = re.compile("/dev/(fd/|std(in|out|err)$)|/proc/")
# options that name a file to write, and those that name one to read
# battery.py reads a --csv, report.py writes one
WRITTEN = ("output", "plot", "json", "csv_written")
READ = ("config", "input", "file", "csv", "sites_file")
LEFT_BEHIND_S = 24 * 3600


def writes_through(path: Path) -> bool:
    """Tell whether a path is a device, a pipe, a socket or a file that a process has open.

    Such a path is written to; it is never replaced. One that cannot be looked at is none.
    """
    if OPEN_FILES.match(os.path.abspath(path)):
        return True
    # unlike Path.exists, these raise nothing where a folder on the way may not be entered
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def target_of(path: Path) -> Path:
    """Find the file that a path names, behind all its symbolic links.

    Raises
    ------
    OSError : the links go in a circle.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def put_in_place(written: Path, path: Path) -> None:
    """Give `path` the content of the file `written`, which is gone then.

    A file is replaced at once; a symbolic link stays and the file that it names is replaced; a
    device or a pipe gets the content written to it.

    Parameters
    ----------
    written : the file with the new content, on the same disk as `path` if possible.
    path : the place to put it.
    """
    if writes_through(path):
        with written.open("rb") as content, path.open("wb", buffering=0) as device:
            shutil.copyfileobj(content, device)
        written.unlink()
        return
    target = target_of(path)
    try:
        written.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = _beside(target, target.suffix)  # the link leads to another disk
        try:
            shutil.move(written, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def _beside(target: Path, suffix: str) -> Path:
    """A new name in the folder of a file: another process may write the same file now."""
    return target.with_name(f".partial-{secrets.token_hex(8)}{suffix}")


@contextmanager
def _partial(path: Path, option: str) -> Iterator[Path]:
    with ExitStack() as cleaning:
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder")
            if writes_through(path):
                if not os.access(path, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                partial = Path(cleaning.enter_context(tempfile.TemporaryDirectory())) / path.name
            else:
                target = target_of(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                # the ending is the one that the user gave: it tells a picture's format
                partial = _beside(target, path.suffix)
                cleaning.callback(_remove, partial)
            yield partial
        except OSError as error:
            where = f"{option} {shown(path)}".strip()
            raise ConfigError(
                f"{where}: cannot be written: {error.strerror or error}; name a file in a "
                "folder you may write"
            ) from None


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@contextmanager
def replacing_file(path: Path, option: str = "") -> Iterator[Path]:
    """Yield a file to write to, whose content replaces that of `path` when the block ends well.

    Else `path` is as it was. A device, a pipe or a symbolic link is written through and stays what
    it is (`put_in_place`).

    Parameters
    ----------
    path : the file to replace.
    option : of the command line, by which the user chose `path`; for the message.

    Raises
    ------
    ConfigError : it cannot be written there.
    """
    with _partial(path, option) as partial:
        yield partial
        put_in_place(partial, path)


def check_writable(path: Path, option: str = "") -> None:
    """Refuse a file that cannot be written before the long work whose result it is to hold.

    Parameters and errors as `replacing_file`.

    Parameters
    ----------
    path : the file that will be replaced.
    option : by which the user chose it.
    """
    with _partial(path, option) as partial:
        partial.touch()


def check_not_read(path: Path, option: str, read: Path, read_option: str) -> None:
    """Refuse to write over a file that is read, by whatever name or link both are given.

    Parameters
    ----------
    path, option : the file to write, and the option that names it.
    read, read_option : the file that is read, and its option.

    Raises
    ------
    ConfigError : both are the same file.
    """
    if writes_through(path):
        return
    same = os.path.exists(path) and os.path.exists(read) and path.samefile(read)
    if same or os.path.realpath(path) == os.path.realpath(read):
        raise ConfigError(
            f"{option} {shown(path)}: is the file that {read_option} names; name another file "
            "to write"
        )


def check_own_files(args: argparse.Namespace, config_path: Path) -> None:
    """Refuse options that would write over the configuration or the input, or twice to one file.

    Parameters
    ----------
    args : the parsed command line; `WRITTEN` and `READ` are its options that name files.
    config_path : the configuration file.

    Raises
    ------
    ConfigError : two of them are the same file.
    """
    files = {
        name: Path(value)
        for name, value in vars(args).items()
        if name in (*WRITTEN, *READ) and isinstance(value, (str, Path)) and str(value)
    }
    files["config"] = config_path
    for name in [name for name in WRITTEN if name in files]:
        for other in files:
            if other != name and not os.path.isdir(files[other]):
                other_option = "FILE" if other == "file" else f"--{other.partition('_')[0]}"
                option = f"--{name.partition('_')[0]}"
                check_not_read(files[name], option, files[other], other_option)


def check_picture(path: Path, option: str) -> None:
    """Refuse a picture that cannot be written (`check_writable`), or whose ending is no format.

    Parameters
    ----------
    path : the file that will be replaced.
    option : by which the user chose it.

    Raises
    ------
    ConfigError : it cannot be written there, or ends in none of `PICTURES`.
    """
    if path.suffix.lower() not in PICTURES:
        raise ConfigError(f"{option} {path}: expected a file that ends in {', '.join(PICTURES)}")
    check_writable(path, option)


class DataFileError(VppError):
    """A data file cannot be read or written."""


@contextmanager
def replacing_files(folder: Path | str) -> Iterator[Path]:
    """Yield a temporary folder, whose files replace those of `folder` when the block ends well.

    Else `folder` is as before.

    Raises
    ------
    DataFileError : the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".writing-*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            if (folder / path.name).is_dir():
                raise IsADirectoryError(f"{path.name} is a folder")
        for path in written:
            put_in_place(path, folder / path.name)
    except OSError as error:
        reason = error.strerror or error
        raise DataFileError(
            f"{shown(folder)}: cannot be written: {reason}; nothing was changed, choose another "
            "folder"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked_folder(folder: Path | str) -> Iterator[None]:
    """Hold the lock of a folder while its files are changed; wait for it if another has it.

    The kernel frees it when its holder dies. It leaves no file behind. A folder that is not there
    is made.

    Parameters
    ----------
    folder : to lock.

    Raises
    ------
    DataFileError : it cannot be made or opened.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DataFileError(
            f"{shown(Path(folder))}: cannot be written: {error.strerror or error}; nothing was "
            "changed, choose another folder"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class FileLock:
    """A lock that the kernel frees when its holder dies, so that none is left behind by a kill.

    Optuna's journal takes it as its lock object, too.

    Parameters
    ----------
    path : the file that is locked; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Wait for the lock and take it; always true."""
        self.file = self.path.open("ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self.file is not None:
            self.file.close()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()
