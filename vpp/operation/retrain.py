"""Training in a process of its own, which ends with the plant's.

The process takes its task from its standard input, and ends when that is closed, however its parent
ends. It trains at low priority, so that plans come first.

    python pipeline.py operate
"""

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pandas as pd

from vpp.runtime.errors import VppError
from vpp.runtime.parallel import module_command
from vpp.runtime.settings import Config


class RetrainError(VppError):
    """Training failed, or took longer than its deadline; says why."""


def retrain_aside(
    config: Config,
    issue_time: pd.Timestamp,
    only_missing: bool,
    deadline_s: float,
    stop: Callable[[], bool],
) -> None:
    """Train the models of every source in a process of its own.

    Parameters
    ----------
    config : the configuration.
    issue_time : nothing known later is used [UTC].
    only_missing : do nothing where a source has a champion already.
    deadline_s : it is ended after so long [s].
    stop : asked now and then; True ends it.

    Raises
    ------
    RetrainError : it failed or took too long.
    """
    command, environment = module_command("vpp.operation.retrain")
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    began = time.monotonic()
    try:
        with suppress(BrokenPipeError):
            pickle.dump((config, issue_time, only_missing), process.stdin)
            process.stdin.flush()
        while process.poll() is None:
            if stop():
                return
            if time.monotonic() - began > deadline_s:
                raise RetrainError(f"training took longer than its deadline of {deadline_s:.0f} s")
            time.sleep(0.2)
        answer = process.stdout.read()
        error = pickle.loads(answer) if answer else f"its process ended with {process.returncode}"
        if error:
            raise RetrainError(f"training failed: {error}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _train(config: Config, issue_time: pd.Timestamp, only_missing: bool) -> str:
    """Train; returns why it failed."""
    from vpp.champions import registry
    from vpp.champions.training import train
    from vpp.storage.connection import session
    from vpp.storage.freshness import newest_ends

    try:
        if only_missing:
            client = registry.open_store(config)
            with session(config) as conn:
                names = newest_ends(conn, issue_time)
            if any(registry.read_champion(client, name) is not None for name in names):
                return ""
        train(config, issue_time=issue_time)
    except VppError as error:
        return str(error)
    return ""


def main() -> int:
    """The process of `retrain_aside`; returns its exit code."""
    logging.basicConfig(level=logging.WARNING)
    with suppress(OSError):
        os.nice(5)
    try:
        task = pickle.load(sys.stdin.buffer)
    except EOFError:
        return 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    error = _train(*task)
    pickle.dump(error, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
