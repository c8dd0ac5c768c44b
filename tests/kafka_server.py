"""Apache Kafka on loopback for the tests: fetched by Maven, one node, KRaft.

`python tests/kafka_server.py` is `make test-kafka`: the tests of the stream with auto-creation of
topics off and one partition, and again with it on and six. It says where Java or Maven is missing,
and passes.
"""

import argparse
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

POM = Path(__file__).with_name("kafka_pom.xml")
PIPELINE = "tests/test_pipeline.py"
COMPOSE = "tests/deploy/test_compose_kafka.py"
FETCH_S, ROUND_S = 300, 900  # patience with Maven, and with the tests of a round
PR_SET_PDEATHSIG = 1  # of prctl(2)
LIBS = "VPP_TEST_KAFKA_LIBS"  # names the folder of Kafka's jars
USER, PASSWORD, GUEST = "vpp", "s3cret-of-the-tests", "guest"


def fetch(folder: Path) -> Path | None:
    """The folder of Kafka's jars below `folder`; None where they cannot be had, and says why."""
    missing = [name for name in ("java", "mvn") if not shutil.which(name)]
    if missing:
        print(f"Apache Kafka is not tested: there is no {' and no '.join(missing)}", flush=True)
        return None
    libs = folder / "libs"
    command = ["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={libs}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        reason = f"no answer within {FETCH_S} s"
    else:
        if not done.returncode:
            return libs
        reason = (done.stdout.strip().splitlines() or ["no answer"])[0]
    print(f"Apache Kafka is not tested: Maven cannot fetch it: {reason}", flush=True)
    return None


def _end_with_parent() -> None:
    """Called in a new process: it is killed when the one that started it has gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def write_certificates(folder: Path) -> None:
    """An authority (`ca.pem`), the broker's key and certificate (`broker.pem`), and a client's.

    `stranger.pem` is an authority that signed none of them.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def sign(text: str, key, issuer: str, issuer_key) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name(issuer), name(text), key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1))
        builder = builder.not_valid_after(now + timedelta(days=1))
        is_authority = text == issuer
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = builder.add_extension(here, critical=False).sign(issuer_key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def written(key) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    keys = {text: ec.generate_private_key(ec.SECP256R1()) for text in ("ca", "broker", USER, "x")}
    (folder / "ca.pem").write_bytes(sign("ca", keys["ca"], "ca", keys["ca"]))
    (folder / "stranger.pem").write_bytes(sign("x", keys["x"], "x", keys["x"]))
    for text in ("broker", USER):
        key, certificate = written(keys[text]), sign(text, keys[text], "ca", keys["ca"])
        (folder / f"{text}.key").write_bytes(key)
        (folder / f"{text}.crt").write_bytes(certificate)
        (folder / f"{text}.pem").write_bytes(key + certificate)


class KafkaServer:
    """One node of Apache Kafka.

    `address` is open to everyone; `sasl` wants TLS and SASL (SCRAM, PLAIN or OAUTHBEARER), `mutual`
    a client's certificate. Only the user `vpp` may do something there: the guest has a password
    and no rights.

    Parameters
    ----------
    libs : Kafka's jars.
    folder : of its files.
    **settings : of the broker; underscores stand for dots.
    """

    def __init__(self, libs: Path, folder: Path, **settings: object):
        self.libs, self.folder = libs, folder
        plain, controller, sasl, mutual = free_ports(4)
        self.address, self.sasl = f"127.0.0.1:{plain}", f"127.0.0.1:{sasl}"
        self.mutual = f"127.0.0.1:{mutual}"
        folder.mkdir(parents=True, exist_ok=True)
        write_certificates(folder)
        users = f'user_{USER}="{PASSWORD}" user_{GUEST}="{PASSWORD}"'
        security = "org.apache.kafka.common.security"
        self.settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller},"
            f"LOGIN://{self.sasl},MUTUAL://{self.mutual}",
            "advertised.listeners": f"PLAINTEXT://{self.address},LOGIN://{self.sasl},"
            f"MUTUAL://{self.mutual}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "LOGIN:SASL_SSL,MUTUAL:SSL",
            "log.dirs": folder / "data",
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "log.retention.check.interval.ms": 500,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": folder / "broker.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": folder / "ca.pem",
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
            "listener.name.login.scram-sha-512.sasl.jaas.config": f"{security}.scram."
            "ScramLoginModule required;",
            "listener.name.login.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule "
            f"required {users};",
            "listener.name.login.oauthbearer.sasl.jaas.config": f"{security}.oauthbearer."
            'OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="vpp";',
            "listener.name.login.oauthbearer.sasl.server.callback.handler.class": f"{security}."
            "oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{USER};User:CN={USER}",
        } | {name.replace("_", "."): value for name, value in settings.items()}
        self.process: subprocess.Popen | None = None
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        (folder / "server.properties").write_text("".join(lines))

    def _java(self, *arguments: object) -> list[str]:
        options = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return ["java", *options, "-cp", f"{self.libs}/*", *map(str, arguments)]

    def format(self) -> None:
        """Make the folder of its data, with its users."""
        properties = self.folder / "server.properties"
        command = self._java("kafka.tools.StorageTool", "format", "-t", "dnBwLXRlc3RzLWthZmthMQ")
        users = [
            part
            for user in (USER, GUEST)
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={PASSWORD}]")
        ]
        done = subprocess.run([*command, "-c", properties, *users], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, wait_s: float = 90) -> "KafkaServer":
        """Start it, or start it again, and wait until it answers."""
        if not (self.folder / "data").exists():
            self.format()
        command = self._java("kafka.Kafka", self.folder / "server.properties")
        with (self.folder / "log").open("ab") as log:
            # the kernel takes the end of a thread that started a process for its parent's
            is_main = threading.current_thread() is threading.main_thread()
            guard = _end_with_parent if is_main else None
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, preexec_fn=guard
            )
        client, until = AdminClient({"bootstrap.servers": self.address, "log_level": 0}), wait_s
        until += time.monotonic()
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            try:
                if client.list_topics(timeout=1).brokers:
                    return self
            except KafkaException:
                assert time.monotonic() < until, f"Kafka does not answer within {wait_s} s"

    def kill(self) -> None:
        """As a power cut ends it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, and delete its files."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder)


def run_tests(server: KafkaServer, partitions: int, *tests: str) -> int:
    """Exit code of the tests with this broker."""
    environment = os.environ | {
        "VPP_TEST_KAFKA": server.address,
        "VPP_TEST_KAFKA_PARTITIONS": str(partitions),
        LIBS: str(server.libs),
    }
    # each file has servers of its own, and mostly waits
    command = [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadfile", *tests]
    process = subprocess.Popen(command, env=environment, cwd=POM.parents[1], process_group=0)
    try:
        return process.wait(ROUND_S)
    except subprocess.TimeoutExpired:
        print(f"the tests did not end within {ROUND_S} s", flush=True)
        return 1
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Interrupt the tests if they still run: they stop their servers then."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)


def main() -> int:
    """All rounds; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that it ends what it has started
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=2, help="of both only the first with 1")
    args = parser.parse_args()
    rounds = (
        ("false", 1, ("tests/stream", COMPOSE, f"{PIPELINE}::test_twice_on_generated_data")),
        ("true", 6, ("tests/stream", "--ignore=tests/stream/test_apache_kafka.py")),
    )
    with tempfile.TemporaryDirectory(prefix="vpp-kafka-") as name:
        folder = Path(name)
        libs = fetch(folder)
        if libs is None:
            return 0
        failed = 0
        for created, partitions, tests in rounds[: args.rounds]:
            began = time.monotonic()
            settings = {"auto_create_topics_enable": created, "num_partitions": partitions}
            server = KafkaServer(libs, folder / "server", **settings)
            try:
                failed = run_tests(server.start(), partitions, *tests) or failed
            finally:
                server.stop()
            seconds = time.monotonic() - began
            told = f"auto-creation of topics {created}, {partitions} partitions: {seconds:.0f} s"
            print(f"Apache Kafka, {told}", flush=True)
        return failed


if __name__ == "__main__":
    raise SystemExit(main())
