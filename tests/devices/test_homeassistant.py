"""A real Home Assistant on a real broker finds the plant, shows its values, and gives orders.

`make test-homeassistant` runs it. It needs mosquitto, and Home Assistant installed in a virtual
environment: VPP_TEST_HOMEASSISTANT names the folder that holds `bin/hass`.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from small_bridge import BASE, bridged, eventually, save_plan
from small_broker import free_port

import db
from vpp.storage.overrides import read_overrides

FOLDER = os.environ.get("VPP_TEST_HOMEASSISTANT", "")
pytestmark = pytest.mark.skipif(
    not (Path(FOLDER) / "bin" / "hass").exists(),
    reason="needs Home Assistant: VPP_TEST_HOMEASSISTANT names a virtual environment with it",
)
SLOW_S = 180  # a first start on a busy machine


class HomeAssistant:
    """A server of its own folder, with its first user."""

    def __init__(self, folder):
        self.folder, self.port, self.token = folder, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        (folder / "configuration.yaml").write_text(
            "homeassistant: {name: Test, unit_system: metric, time_zone: Europe/Brussels}\n"
            f"http: {{server_host: 127.0.0.1, server_port: {self.port}}}\nfrontend:\napi:\n"
        )
        self.process = None

    def start(self):
        hass = Path(FOLDER) / "bin" / "hass"
        with (self.folder / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                [hass, "-c", self.folder, "--skip-pip"], stdout=log, stderr=log
            )
        self.eventually(lambda: self.call("/api/onboarding") is not None)

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)

    def call(self, path, data=None, form=False):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = None
        if data is not None:
            body = (urllib.parse.urlencode(data) if form else json.dumps(data)).encode()
            headers["Content-Type"] = (
                "application/x-www-form-urlencoded" if form else "application/json"
            )
        try:
            request = urllib.request.Request(self.url + path, body, headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return None

    def eventually(self, condition):
        return eventually(condition, SLOW_S)

    def connect(self, port):
        """Make the first user, and connect to the broker."""
        client = self.url + "/"
        user = {"client_id": client, "name": "Test", "username": "test", "language": "en"}
        made = self.call("/api/onboarding/users", user | {"password": "a-test-password"})
        grant = {"grant_type": "authorization_code", "code": made["auth_code"]}
        self.token = self.call("/auth/token", grant | {"client_id": client}, True)["access_token"]
        for step in ("core_config", "analytics"):
            self.call(f"/api/onboarding/{step}", {})
        place = {"client_id": client, "redirect_uri": client}
        self.call("/api/onboarding/integration", place)
        flow = self.call("/api/config/config_entries/flow", {"handler": "mqtt"})["flow_id"]
        answer = {"broker": "127.0.0.1", "port": port}
        path = f"/api/config/config_entries/flow/{flow}"
        assert self.call(path, answer)["type"] == "create_entry"

    def state(self, entity):
        found = self.call(f"/api/states/{entity}")
        return found and found["state"]

    def entity(self, entity):
        return self.call(f"/api/states/{entity}")


@pytest.fixture
def home(tmp_path, mosquitto):
    found = HomeAssistant(tmp_path / "home")
    try:
        found.start()
        found.connect(mosquitto.port)
        yield found
    finally:
        found.stop(signal.SIGKILL)


def test_home_assistant_shows_the_plant_and_gives_orders(make_site, ear, home, mosquitto):
    config = make_site()
    save_plan(config, "p1", first=3.0)
    soc, select = "sensor.vpp_site_1_a_soc", "select.vpp_site_1_a_override"
    with bridged(config):
        told = {"time": pd.Timestamp.now("UTC").isoformat(), "soc": 0.42, "power_kw": -3}
        ear.say(f"{BASE}/a/state", told)
        home.eventually(lambda: home.state(soc) == "42.0")
        assert home.entity(soc)["attributes"]["unit_of_measurement"] == "%"
        assert home.state("sensor.vpp_site_1_a_power") == "-3.0"
        assert home.entity("sensor.vpp_site_1_a_power")["attributes"]["unit_of_measurement"] == "kW"
        assert home.state("sensor.vpp_site_1_b_power") == "3.0"  # planned
        assert home.state("sensor.vpp_site_1_a_next_action") == "charge to the end of the plan"
        savings = home.entity("sensor.vpp_site_1_savings")
        assert savings["state"] == "1.5"
        assert savings["attributes"]["unit_of_measurement"] == "EUR"
        assert home.state("sensor.vpp_site_1_health") == "ok"
        options = home.entity(select)["attributes"]["options"]
        assert options == ["auto", "hold", "charge", "discharge", "off"]
        assert home.state(select) == "auto"
        home.call("/api/services/select/select_option", {"entity_id": select, "option": "hold"})
        home.eventually(lambda: home.state(select) == "hold")
        with db.session(config) as conn:
            assert read_overrides(conn, pd.Timestamp.now("UTC"))["a"].override == "hold"
        if folder := os.environ.get("VPP_TEST_HOMEASSISTANT_HOLD"):  # for a person to look at it
            Path(folder).write_text(json.dumps({"url": home.url, "token": home.token}))
            while Path(folder).exists():
                time.sleep(0.5)
        home.stop()
        home.start()  # it knows all again
        home.eventually(lambda: home.state(soc) == "42.0" and home.state(select) == "hold")
    home.eventually(lambda: home.state(soc) == "unavailable")  # nobody answers for the site
    with bridged(config):
        home.eventually(lambda: home.state(soc) == "42.0")
        mosquitto.kill()
        home.eventually(lambda: home.state(soc) == "unavailable")
        mosquitto.start()
        home.eventually(lambda: home.state(soc) == "42.0")
