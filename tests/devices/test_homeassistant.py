"""A real Home Assistant on a real broker finds the plant, shows its values, and gives orders.

`make test-homeassistant` runs it. It needs mosquitto, and Home Assistant installed in a virtual
environment: VPP_TEST_HOMEASSISTANT names the folder that holds `bin/hass`. VPP_TEST_PICTURE names
the picture that is taken of its page, by a Chromium.
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
SLOW_S = 600  # a first start on a busy machine

ALL_TEXT = """
(function text(node) {
  return [...node.childNodes].map(text).join(' ') + (node.shadowRoot ? text(node.shadowRoot) : '')
    + (node.nodeType === 3 ? node.data : '')
})(document.body ?? document)"""


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
        self.eventually(lambda: self.call("/manifest.json") is not None)

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
        self.login = self.call("/auth/token", grant | {"client_id": client}, True)
        self.token = self.login["access_token"]
        flow = self.call("/api/config/config_entries/flow", {"handler": "mqtt"})["flow_id"]
        answer = {"broker": "127.0.0.1", "port": port}
        path = f"/api/config/config_entries/flow/{flow}"
        assert self.call(path, answer)["type"] == "create_entry"

    def picture(self, path):
        """The overview, as the first user sees it."""
        from chromium import Chromium

        self.stop()
        steps = self.folder / ".storage" / "onboarding"  # its own steps ask the internet
        known = json.loads(steps.read_text())
        known["data"]["done"] = ["user", "core_config", "analytics", "integration"]
        steps.write_text(json.dumps(known))
        self.start()
        client = self.url + "/"
        own = {"hassUrl": self.url, "clientId": client, "expires": 1000 * (time.time() + 1700)}
        with Chromium(SLOW_S) as browser:
            browser.open(f"{self.url}/manifest.json")  # a page of it that needs no login
            tokens = json.dumps(json.dumps(self.login | own))
            browser.run(f"localStorage.setItem('hassTokens', {tokens})")
            browser.open(f"{self.url}/lovelace/0", 1000)
            wanted = "State of charge", "Savings", "Health"
            self.eventually(lambda: all(word in browser.run(ALL_TEXT) for word in wanted))
            time.sleep(3)  # icons
            browser.screenshot(path)

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

        def is_told():  # again and again: the bridge may not have subscribed yet
            now = pd.Timestamp.now("UTC").isoformat()
            ear.say(f"{BASE}/a/state", {"time": now, "soc": 0.42, "power_kw": -3})
            time.sleep(0.5)
            return home.state(soc) == "42.0"

        home.eventually(is_told)
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
        if picture := os.environ.get("VPP_TEST_PICTURE"):
            home.picture(picture)
        home.call("/api/services/select/select_option", {"entity_id": select, "option": "hold"})
        home.eventually(lambda: home.state(select) == "hold")
        with db.session(config) as conn:
            assert read_overrides(conn, pd.Timestamp.now("UTC"))["a"].override == "hold"
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
