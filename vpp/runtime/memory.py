"""Memory of a process that lives long or works in threads, as glibc manages it."""

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8  # of mallopt(3)


def one_heap() -> None:
    """Let all threads that begin from now on share one heap, here and in processes begun from here.

    glibc gives each thread a heap of its own, which keeps what its largest job has freed; a process
    that leads anew, or trains a kind after another, begins new threads each time.
    """
    _of_glibc("mallopt", M_ARENA_MAX, 1)
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")


def give_back() -> None:
    """Give memory that is free back to the system."""
    _of_glibc("malloc_trim", 0)


def _of_glibc(function: str, *given: int) -> None:
    """Call a function that other C libraries do without."""
    with suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*given)
