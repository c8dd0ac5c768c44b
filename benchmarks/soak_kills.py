"""The kills of the soak: which processes die, and how they are begun again.

    python benchmarks/bench_soak.py --days 3 --kills 8 [--kafka]

Either process of `pipeline.py operate`, mosquitto, the PostgreSQL of the embedded servers (which
start it again) and Apache Kafka, where that is the broker. The embedded broker keeps its messages
in memory, so that its kill is a loss and no fault to go on from.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import embedded


def kill_one(soak: Any) -> None:
    """Kill one of the processes of a `Soak` with -9, at random, and see that it begins again."""
    names = ["a plant's process", "a plant's process", "mosquitto"]
    names += [] if "database" in soak.servers else ["PostgreSQL"]
    names += [] if soak.kafka is None else ["Apache Kafka"]
    name = soak.random.choice(names)
    if name == "mosquitto":
        soak.broker.kill()
        soak.broker.start()
    elif name == "PostgreSQL":
        data = embedded.find_places(soak.config.paths.state_dir).postgres / "data"
        os.kill(int((data / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
    elif name == "Apache Kafka":
        soak.kafka.kill()
        soak.kafka.start()
    else:
        place = soak.random.randrange(2)
        soak.processes[place].kill()
        soak.processes[place].wait()
        soak.processes[place] = soak.begin_process()
    soak.killed[name] += 1


def end_others(config: Path) -> None:
    """End the plant's processes of a run that was killed, by the configuration they read."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"operate" in words and str(config).encode() in words:
                os.kill(int(path.parent.name), signal.SIGKILL)
