"""MQTT over TLS on a real broker: an authority of our own, certificates of clients, and faults."""

import shutil
import subprocess
import time

import pytest
from small_bridge import BASE, bridged, save_plan
from small_broker import Ear, broker, free_port

from vpp.devices.publish import publish_plan
from vpp.devices.topics import MqttError, publish_once, site_topics
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.storage.connection import session

EXTENSIONS = "subjectAltName=IP:127.0.0.1"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities; the first signed a broker and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name, *options):
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]
        command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key"]
        subprocess.run([*command, "-out", f"{name}.crt", *options], cwd=folder, check=True,
                       capture_output=True)  # fmt: skip

    make("authority")
    make("other")
    for name in ("broker", "client"):
        signed = ("-CA", "authority.crt", "-CAkey", "authority.key", "-addext", EXTENSIONS)
        make(name, *signed, "-addext", "basicConstraints=critical,CA:FALSE")
    return folder


@pytest.fixture
def place(certificates, tmp_path):
    """A broker that listens in the open, and beside that over TLS to clients it knows."""
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", f"cafile {certificates}/authority.crt"]
    lines += [f"certfile {certificates}/broker.crt", f"keyfile {certificates}/broker.key"]
    with broker(tmp_path / "mosquitto", *lines, "require_certificate true") as found:
        yield found, port


@pytest.fixture
def site(place, certificates, config_file):
    """Function that makes a site's configuration; names of files may be given, None for none."""

    def make(ca="authority.crt", certificate="client.crt", key="client.key", port=None):
        given = {"ca": ca, "certificate": certificate, "key": key}
        mqtt = {f"ssl_{name}_location": certificates / file for name, file in given.items() if file}
        mqtt["url"] = f"mqtts://127.0.0.1:{port or place[1]}"
        battery = {"capacity_kwh": 100, "charge_kw": 50, "discharge_kw": 50}
        return load_config(config_file(mqtt=mqtt, **{"battery:a": battery}))

    return make


def test_a_plan_goes_out_over_tls_with_a_certificate_of_ours(site, place):
    config, ear = site(), Ear(place[0].url, "#")
    try:
        save_plan(config, "p1")
        with bridged(config):
            assert ear.wait(f"{BASE}/status") == "online"
            assert ear.wait(f"{BASE}/a/setpoint")["plan_id"] == "p1"
        save_plan(config, "p2")
        with session(config) as conn:
            publish_plan(conn, config, "p2")
        assert ear.wait(f"{BASE}/a/plan", lambda plan: plan["plan_id"] == "p2")
    finally:
        ear.close()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ca": "other.crt"}, "is not trusted"),
        ({"ca": None}, "name its authority in [mqtt] ssl_ca_location"),
        ({"certificate": None, "key": None}, "check [mqtt] ssl_certificate_location"),
    ],
)
def test_whom_one_side_does_not_trust_is_one_line(given, told, site, caplog):
    config = site(**given)
    with pytest.raises(MqttError) as error:
        publish_once(config, [("x", b"y")], 3)
    assert told in str(error.value) and "\n" not in str(error.value)
    with bridged(config):
        for _ in range(100):
            if told in caplog.text:
                break
            time.sleep(0.1)
    [line] = {record.getMessage() for record in caplog.records if told in record.getMessage()}
    assert line.startswith("broker")


def test_a_broker_without_tls_behind_the_port_is_one_line(site, place):
    with pytest.raises(MqttError, match=r"TLS fails|no answer"):
        publish_once(site(port=place[0].port), [("x", b"y")], 3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ca": "missing.crt"}, r"ssl_ca_location = .*missing.crt: no such file"),
        ({"ca": "client.key"}, "ssl_ca_location = .*expected a PEM file"),
        ({"certificate": "missing.crt"}, r"ssl_certificate_location = .*: no such file"),
        ({"key": "other.key"}, "expected PEM files of a certificate and key"),
        ({"certificate": None}, "expected ssl_certificate_location beside it"),
    ],
)
def test_files_that_do_not_fit_are_refused(given, told, site):
    with pytest.raises(ConfigError, match=told) as error:
        site_topics(site(**given))
    assert "\n" not in str(error.value)
