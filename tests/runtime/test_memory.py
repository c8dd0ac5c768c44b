import os
import platform
import subprocess
import sys

import pytest

GROWS = """
import sys, threading
import psutil
from vpp.runtime.memory import one_heap

def mb():
    return psutil.Process().memory_info().rss / 2**20

def work(turn, last):  # blocks below the size that glibc maps by itself, freed but for the end
    turn.wait()
    held = [b"x" * size for size in range(60_000, 61_000)]
    kept.append(b"x" * len(held[0]))
    del held
    done.release()
    last.wait()

if sys.argv[1] == "one":
    one_heap()
kept, done, last, before = [], threading.Semaphore(0), threading.Event(), mb()
turns = [threading.Event() for _ in range(6)]
for turn in turns:
    threading.Thread(target=work, args=[turn, last], daemon=True).start()
for turn in turns:  # all are there, and work one after the other
    turn.set()
    done.acquire()
print(mb() - before)
last.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap")
def test_threads_use_again_what_others_of_them_have_freed():
    env = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    grown = {
        how: float(subprocess.check_output([sys.executable, "-c", GROWS, how], text=True, env=env))
        for how in ("one", "own")
    }
    assert grown["own"] > 2 * grown["one"], grown
