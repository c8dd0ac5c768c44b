"""Tasks on the engine of `[compute]`: processes of this machine, or workers of a Dask cluster.

A task is a dataclass with a `config`. It is all that its worker is given: the worker reads what it
needs from the servers that the configuration names, and writes its result there. So a task may run
twice, and on any machine that has this package and its own folder.

    dask scheduler --port 8786
    dask worker tcp://127.0.0.1:8786 --nthreads 1 --nworkers 2
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.parallel import parallel
from vpp.runtime.settings import EMBEDDED, Config
from vpp.runtime.words import in_words

log = logging.getLogger("vpp")

LIVES = 30  # so many workers may die with the same task before it is given up


class ComputeError(VppError):
    """The cluster cannot be used, or was lost."""


@contextmanager
def computed(
    config: Config, work: Callable[[Any], Any], tasks: Sequence[Any], jobs: int
) -> Iterator[Iterator[Any]]:
    """Yield an iterator of what `work` returns for each task, in the order in which they end.

    Parameters
    ----------
    config : names the engine.
    work : a function of one task, at the top of a module.
    tasks : dataclasses with a `config`.
    jobs : processes of this machine at most; a cluster has its own number.

    Raises
    ------
    ConfigError : the servers of the configuration are this machine's own.
    ComputeError : the scheduler cannot be reached, or is gone for longer than `[database] wait_s`.
    """
    if config.compute.engine == "local":
        with parallel(work, tasks, jobs) as found:
            yield found
        return
    check_shared(config)
    yield _on_dask(config, work, tasks)


def check_shared(config: Config) -> None:
    """Refuse a cluster whose workers could not reach what this configuration names.

    Raises
    ------
    ConfigError : a server is embedded, or the scheduler has no address.
    """
    here = [
        f"[{section}] {key} = embedded"
        for section, key, value in (
            ("database", "url", config.database.url),
            ("mlflow", "tracking_uri", config.mlflow.tracking_uri),
        )
        if value == EMBEDDED
    ]
    if here:
        raise ConfigError(
            f"[compute] engine = dask: {' and '.join(here)} is of this machine alone; expected "
            "servers that all workers reach"
        )
    if "://" not in config.compute.address:
        raise ConfigError(
            f"[compute] address = {config.compute.address or '(empty)'}: expected that of a Dask "
            "scheduler, such as tcp://10.0.0.5:8786"
        )


def _on_dask(config: Config, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    """Submit tasks, again where a worker or the scheduler died, and yield results as they come."""
    left, lives = dict(enumerate(tasks)), dict.fromkeys(range(len(tasks)), LIVES)
    lost_at: float | None = None
    while left:
        try:
            with _client(config) as client:
                for number, result in _results(client, work, left, lives):
                    lost_at = None
                    del left[number]
                    yield result
        except _lost() as error:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > config.database.wait_s:
                raise ComputeError(
                    f"the Dask scheduler at {config.compute.address} is gone: {in_words(error)}; "
                    f"{len(left)} of {len(tasks)} tasks are left; start it, and run again: what is "
                    "done stays"
                ) from None
            log.warning("the Dask scheduler is gone; waiting for it (%d tasks left)", len(left))
            time.sleep(min(1.0, config.database.wait_s))


@contextmanager
def _client(config: Config) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise ComputeError(
            "[compute] engine = dask: the package distributed is missing; run pip install "
            "distributed, or set engine = local"
        ) from None
    client = Client(
        config.compute.address, timeout=min(10.0, config.database.wait_s), set_as_default=False
    )
    try:
        yield client
    finally:
        client.close(timeout=2)


def _lost() -> tuple[type[BaseException], ...]:
    """The errors of a scheduler that cannot be reached, or is gone."""
    from distributed.comm import CommClosedError

    try:
        from distributed.client import FutureCancelledError
    except ImportError:
        from concurrent.futures import CancelledError as FutureCancelledError
    return OSError, TimeoutError, CommClosedError, FutureCancelledError


def _results(
    client: Any, work: Callable[[Any], Any], left: dict[int, Any], lives: dict[int, int]
) -> Iterator[tuple[int, Any]]:
    """Number and result of each task as it ends; a task whose worker dies is submitted again."""
    from distributed import KilledWorker, as_completed

    def submit(number: int) -> Any:
        future = client.submit(in_worker, work, left[number], pure=False, retries=LIVES)
        numbers[future.key] = number
        return future

    numbers: dict[str, int] = {}
    waiting = as_completed([submit(number) for number in left], loop=client.loop)
    for future in waiting:
        number = numbers[future.key]
        try:
            yield number, future.result()
        except KilledWorker:
            lives[number] -= 1
            if not lives[number]:
                raise ComputeError(
                    f"{LIVES} workers died with the same task; look at the log of the workers"
                ) from None
            waiting.add(submit(number))


def in_worker(work: Callable[[Any], Any], task: Any) -> Any:
    """Do a task in a worker of the cluster, which has a state folder of its own.

    Parameters
    ----------
    work : a function of one task.
    task : with a `config`.
    """
    from distributed import get_worker

    folder = Path(get_worker().local_directory) / f"vpp-{os.getpid()}"
    paths = replace(task.config.paths, state_dir=folder)
    return work(replace(task, config=replace(task.config, paths=paths)))
