"""Fixtures of the tests of the stream."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer
from small_stream import patient, register

from vpp.runtime.config import load_config
from vpp.stream import kafka, topics

ROOT = Path(__file__).resolve().parents[2]
BROKER = """
import sys
from vpp.runtime.daemon import start_broker
held, address = start_broker()
print(address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def make_config(config_file):
    """Function that makes the configuration of this test's servers, with a data folder.

    `make_config(wait_s=20.0, kafka={"batch_rows": 10})`; keywords are sections.
    """

    def make(wait_s=20.0, **sections):
        config = patient(load_config(config_file(**sections)), wait_s)
        config.paths.data_dir.mkdir(exist_ok=True)
        return config

    return make


@pytest.fixture
def sink_config(make_config):
    """Function that makes a configuration whose sources are registered.

    `sink_config(batch_rows=10)`; keywords are keys of `[kafka]`.
    """

    def make(wait_s=20.0, **kafka):
        config = make_config(wait_s, kafka=kafka)
        register(config)
        return config

    return make


@pytest.fixture
def little_room(make_config):
    """The broker is the embedded one, whose topics have little room."""
    probe = Producer(kafka.kafka_settings(make_config()))
    if not topics.has_little_room(probe):
        pytest.skip(
            "needs the embedded broker, which keeps 5 MiB a partition; leave VPP_TEST_KAFKA unset"
        )


@pytest.fixture
def frozen_broker():
    """Address of a broker of this test's own, and functions that silence it and wake it again."""
    command, pipes = [sys.executable, "-c", BROKER], {"stdin": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, **pipes)
    try:
        yield (
            process.stdout.readline().strip(),
            lambda: process.send_signal(signal.SIGSTOP),
            lambda: process.send_signal(signal.SIGCONT),
        )
    finally:
        process.kill()
        process.communicate()
