"""Work in processes of their own: one function over many arguments, or a module as a command."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def parallel(work: Callable, tasks: Sequence, jobs: int) -> Iterator[Iterator]:
    """Yield an iterator of what `work` returns for each task, in the order in which they end.

    The work runs in processes of joblib where there is more than one task and job. On the way out
    no process stays.

    Parameters
    ----------
    work : a function of one task.
    tasks : its arguments.
    jobs : how many processes at most.
    """
    if min(jobs, len(tasks)) <= 1:
        yield map(work, tasks)
        return
    import joblib
    from joblib.externals.loky import get_reusable_executor

    try:
        yield joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered")(
            joblib.delayed(work_in_child)(work, task, os.getpid()) for task in tasks
        )
    finally:
        get_reusable_executor().shutdown(wait=False, kill_workers=True)


def work_in_child(work: Callable, task: object, parent: int) -> object:
    """Run `work` in a process of joblib that ends with its parent, which may be killed.

    Parameters
    ----------
    work : a function of one task.
    task : its argument.
    parent : process id of the parent.

    Returns
    -------
    The value of `work`.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return work(task)


def module_command(module: str) -> tuple[list[str], dict[str, str]]:
    """Tell how to run a module of this package as a process, whatever the working folder.

    Parameters
    ----------
    module : its dotted name, such as `vpp.stream.producer`.

    Returns
    -------
    The command, and the environment that lets it find the package.
    """
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return [sys.executable, "-m", module], os.environ | {"PYTHONPATH": path}
