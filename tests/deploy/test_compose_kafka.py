"""Listeners and login of docker-compose.yml's Kafka, on Apache Kafka itself in place of its image.

`make test-kafka` fetches it and names its jars in VPP_TEST_KAFKA_LIBS; else these are skipped. The
variables of the service become the broker's settings as the image's start does it.
"""

import os
import re
import socket
import subprocess
import sys
import time

import pytest
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from conftest import PROJECT
from kafka_server import LIBS, free_ports

sys.path.insert(0, str(PROJECT / "deploy" / "docker"))
from write_secrets import files, read

PASSWORD = "s3cret-of_the-tests"
OF_THE_SCRIPTS = {"OPTS", "HEAP_OPTS"}  # not settings of the broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """Ports by listener of the broker that Compose would start."""
    if not os.environ.get(LIBS):
        pytest.skip("needs Apache Kafka; run make test-kafka")
    folder = tmp_path_factory.mktemp("compose-kafka")
    service = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["kafka"]
    given = {name.removeprefix("KAFKA_"): text for name, text in service["environment"].items()}
    ports = dict(zip(("9093", "9094", "29092", "9092"), free_ports(4), strict=True))
    lines = []
    for name, text in given.items():
        if name in OF_THE_SCRIPTS:
            continue
        text = re.sub(r":(\d{4,5})\b", lambda found: f":{ports[found[1]]}", text)
        text = text.replace("://kafka:", "://127.0.0.1:").replace("://:", "://127.0.0.1:")
        text = text.replace("/var/lib/kafka/data", str(folder / "data"))
        lines.append(f"{name.lower().replace('_', '.')}={text}\n")
    (folder / "server.properties").write_text("".join(lines))
    env = read(PROJECT / ".env.example") | {"VPP_KAFKA_SASL_PASSWORD": PASSWORD}
    (folder / "kafka_jaas").write_text(files(env)["kafka_jaas"])
    assert "/run/secrets/kafka_jaas" in given["OPTS"]
    options = given["OPTS"].replace("/run/secrets", str(folder)).split()
    java = ["java", "-Xmx256m", *options, "-cp", f"{os.environ[LIBS]}/*"]
    properties = folder / "server.properties"
    form = ["kafka.tools.StorageTool", "format", "-t", "dnBwLXRlc3RzLWthZmthMQ", "-c", properties]
    done = subprocess.run([*java, *form], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*java, "kafka.Kafka", properties], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 90
        while not answers(ports["9094"]):
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
        yield ports
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        time.sleep(0.2)
        return False
    return True


def topics(port: int, told: list, **login) -> set[str]:
    """Topics that a client sees; its complaints go to `told`."""
    settings = {"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0, "error_cb": told.append}
    client = AdminClient(settings | login)
    try:
        return set(client.list_topics(timeout=10).topics)
    finally:
        client.poll(0.1)


def login(password: str) -> dict[str, str]:
    """As the services of Compose log in."""
    service = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["sink"]
    environment = service["environment"]
    return {
        "security.protocol": environment["VPP_KAFKA_SECURITY_PROTOCOL"],
        "sasl.mechanism": environment["VPP_KAFKA_SASL_MECHANISM"],
        "sasl.username": environment["VPP_KAFKA_SASL_USERNAME"],
        "sasl.password": password,
    }


@pytest.mark.parametrize("listener", ["29092", "9092"])
def test_who_knows_the_password_gets_in_and_nobody_else(broker, listener):
    port, told = broker[listener], []
    assert topics(port, told, **login(PASSWORD)) is not None and not told
    with pytest.raises(KafkaException):
        topics(port, told, **login("wrong"))
    assert any("uthentication" in str(error) for error in told), told
    with pytest.raises(KafkaException):
        topics(port, [])


def test_its_health_check_needs_no_password_and_stays_inside(broker):
    text = (PROJECT / "docker-compose.yml").read_text()
    assert '"--bootstrap-server", "localhost:9094"' in text
    assert topics(broker["9094"], []) is not None
    assert "LOCAL://localhost:9094" in text  # no other machine and no other container reaches it
