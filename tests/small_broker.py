"""A real MQTT broker, mosquitto, on loopback, which tests may kill and start again."""

import json
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

PLACES = (None, "/usr/sbin:/usr/local/sbin")


def mosquitto() -> str:
    """The broker's program; a test that needs it is skipped where it is missing."""
    found = next(
        (path for place in PLACES if (path := shutil.which("mosquitto", path=place))), None
    )
    if found is None:
        pytest.skip("needs the MQTT broker mosquitto: apt-get install mosquitto")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """mosquitto with a folder that keeps what is retained, also over a kill.

    It writes to its folder every second; a kill loses what came since.
    """

    def __init__(self, folder: Path, *lines: str):
        self.program, self.folder, self.port = mosquitto(), folder, free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.process = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "m.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\n"
            "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nuser root\n"
            + "".join(f"{line}\n" for line in lines)
        )

    def start(self):
        log = (self.folder / "m.log").open("ab")
        command = [self.program, "-c", str(self.folder / "m.conf")]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self.process.poll() is None, (self.folder / "m.log").read_text()
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def broker(folder: Path, *lines: str):
    """A broker for a block, with more lines of its configuration."""
    found = Broker(folder, *lines)
    try:
        yield found.start()
    finally:
        found.kill()


class Ear:
    """A client that keeps what it hears: topic -> (payload, whether it was retained), in order."""

    def __init__(self, url: str, *topics: str):
        self.heard, self.lock = [], threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe([(t, 1) for t in topics])
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(0.1, 1)
        self.client.connect("127.0.0.1", int(url.rpartition(":")[2]))
        self.client.loop_start()

    def _on_message(self, _, __, message):
        with self.lock:
            self.heard.append((message.topic, message.payload, message.retain))
            self.lock.notify_all()

    def say(self, topic, value, retain=False):
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.client.publish(topic, payload, 1, retain=retain).wait_for_publish(20)

    def last(self, topic):
        """The newest message of a topic, decoded; None where there is none."""
        with self.lock:
            found = [payload for name, payload, _ in self.heard if name == topic]
        return None if not found else decoded(found[-1])

    def forget(self):
        """Begin to hear anew."""
        with self.lock:
            self.heard = []

    def wait(self, topic, condition=lambda value: True, seconds=20):
        """Wait for a message of a topic that meets a condition; returns the newest that does."""
        until = time.monotonic() + seconds
        with self.lock:
            while True:
                for name, payload, _ in reversed(self.heard):
                    if name == topic and condition(decoded(payload)):
                        return decoded(payload)
                left = until - time.monotonic()
                assert left > 0, (topic, [(n, p[:120]) for n, p, _ in self.heard[-20:]])
                self.lock.wait(left)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def decoded(payload):
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode()
