"""Fixtures of the tests of devices: a broker, and bridges on it."""

import subprocess

import pytest
from small_broker import Ear, broker

from vpp.runtime.config import load_config


@pytest.fixture
def mosquitto(tmp_path):
    """A running broker."""
    with broker(tmp_path / "mosquitto") as found:
        yield found


@pytest.fixture
def make_site(config_file, mosquitto):
    """Function that makes the configuration of a site with two batteries on the broker."""

    def make(**sections):
        battery = {"capacity_kwh": 100, "charge_kw": 50, "discharge_kw": 50}
        sections = {"mqtt": {"url": mosquitto.url}} | sections
        return load_config(config_file(**{"battery:a": battery, "battery:b": battery}, **sections))

    return make


@pytest.fixture
def ear(mosquitto):
    """A client that hears all."""
    found = Ear(mosquitto.url, "#")
    yield found
    found.close()


@pytest.fixture
def start_bridge(script, config_file):
    """Function that starts `communication.py mqtt`; all are killed in the end."""
    processes = []

    def start(config):
        command = script("communication.py", "mqtt", "--config", config.path)
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
