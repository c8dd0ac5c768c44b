"""Topics of MQTT, and a client of its broker.

    python -c "from vpp.devices.topics import Topics; print(Topics('vpp', 'site-1').status)"

Everything is sent with QoS 1.
"""

import socket
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config

QOS = 1
KEEPALIVE_S = 10
RECONNECT_S = (0.2, 5.0)  # pause before the first and, at most, any later attempt
PROBE_S = 3.0  # to find out why a broker does not answer
INFLIGHT = 1_000  # messages of ours that the broker has not acknowledged


class MqttError(VppError):
    """The MQTT broker cannot be reached, or does not take what is sent."""


@dataclass(frozen=True)
class Topics:
    """The topics of a site.

    Parameters
    ----------
    base : stands before all of them.
    site_id : the site.
    """

    base: str
    site_id: str

    @property
    def status(self) -> str:
        """Says whether somebody answers for the site: online or offline."""
        return f"{self.base}/{self.site_id}/status"

    @property
    def alert(self) -> str:
        """Tells each alert as it fires and as it resolves."""
        return f"{self.base}/{self.site_id}/alert"

    @property
    def now(self) -> str:
        """Holds the site's savings and health."""
        return f"{self.base}/{self.site_id}/now"

    def of(self, battery_id: str, name: str) -> str:
        """A topic of a battery.

        Parameters
        ----------
        battery_id : the battery, or + for any.
        name : setpoint, plan, state, ack, override, override/set or now.
        """
        return f"{self.base}/{self.site_id}/{battery_id}/{name}"

    def read(self, topic: str) -> tuple[str, str] | None:
        """Battery and name of a battery's topic; None where it is no such topic."""
        start = f"{self.base}/{self.site_id}/"
        battery_id, _, name = topic.removeprefix(start).partition("/")
        return (battery_id, name) if topic.startswith(start) and name else None


def site_topics(config: Config) -> Topics:
    """The topics of the configured site.

    Raises
    ------
    ConfigError : there is no broker, a file of its TLS cannot be used, or a name cannot be part of
        a topic.
    """
    if not config.mqtt.url:
        raise ConfigError(
            f"{config.path}: [mqtt] url is empty; expected mqtt://user:password@host:port, there "
            "or in VPP_MQTT_URL"
        )
    check_names(config.site.site_id, (battery.battery_id for battery in config.batteries))
    if config.mqtt.address.is_encrypted:
        tls_context(config)
    return Topics(config.mqtt.base_topic.rstrip("/"), config.site.site_id)


def check_names(site_id: str, battery_ids: Iterable[str]) -> None:
    """Refuse names that cannot be a level of a topic.

    Parameters
    ----------
    site_id, battery_ids : the names.

    Raises
    ------
    ConfigError : one has a slash, a plus or a number sign.
    """
    for name in (site_id, *battery_ids):
        if not name or any(mark in name for mark in "/+#\0"):
            raise ConfigError(f"name {name!r} cannot be part of an MQTT topic: leave out / + #")


def new_client(config: Config, client_id: str, is_kept: bool) -> mqtt.Client:
    """A client that is not connected yet.

    Parameters
    ----------
    config : names the broker.
    client_id : its name there; empty: the broker chooses.
    is_kept : the broker keeps for it what comes while it is away, and each message is acknowledged
        by hand.

    Raises
    ------
    ConfigError : a file of `[mqtt]` cannot be used.
    """
    address = config.mqtt.address
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=not is_kept,
        protocol=mqtt.MQTTv311,
        manual_ack=is_kept,
    )
    if address.is_encrypted:
        client.tls_set_context(tls_context(config))
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    client.reconnect_delay_set(*RECONNECT_S)  # type: ignore[arg-type]
    client.max_inflight_messages_set(INFLIGHT)
    client.connect_async(address.host, address.port, keepalive=KEEPALIVE_S)
    return client


def tls_context(config: Config) -> ssl.SSLContext:
    """The authorities that a connection to the broker trusts, and our own certificate.

    Parameters
    ----------
    config : names the files; without them the authorities are the system's, or those of the file
        that SSL_CERT_FILE names.

    Raises
    ------
    ConfigError : a file is missing, or is not what it should be.
    """
    context, known, key = ssl.create_default_context(), config.mqtt, "ssl_ca_location"
    try:
        if known.ssl_ca_location is not None:
            context = ssl.create_default_context(cafile=known.ssl_ca_location)
        key = "ssl_certificate_location"
        if known.ssl_certificate_location is not None:
            # a key behind a password would be asked for on the terminal
            files = known.ssl_certificate_location, known.ssl_key_location
            context.load_cert_chain(*files, password=lambda: "")
        elif known.ssl_key_location is not None:
            raise ConfigError(f"{config.path}: [mqtt] ssl_key_location: expected {key} beside it")
    except OSError as error:  # ssl.SSLError is one, too
        told = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        path = getattr(known, key)
        expected = (
            "a PEM file" if key == "ssl_ca_location" else "PEM files of a certificate and key"
        )
        raise ConfigError(
            f"{config.path}: [mqtt] {key} = {path}: {told}; expected {expected} without a password"
        ) from None
    return context


def why_silent(config: Config) -> str:
    """Why the broker does not answer, for a line of the log; asks it once.

    Parameters
    ----------
    config : names the broker.
    """
    address = config.mqtt.address
    try:
        with socket.create_connection((address.host, address.port), PROBE_S) as plain:
            if address.is_encrypted:
                context = tls_context(config)
                with context.wrap_socket(plain, server_hostname=address.host) as own:
                    own.settimeout(0.5)
                    own.recv(1)  # in TLS 1.3 a certificate of ours is refused only now
    except ssl.SSLCertVerificationError as error:
        told = error.verify_message
        return (
            f"its certificate is not trusted: {told}; name its authority in [mqtt] ssl_ca_location"
        )
    except TimeoutError:
        pass
    except ssl.SSLError as error:
        word = (error.reason or str(error)).replace("_", " ").lower()
        return (
            f"TLS fails: {word}; check [mqtt] ssl_certificate_location, and that the port has TLS"
        )
    except OSError:
        pass
    return "no answer"


def publish_once(
    config: Config, messages: Iterable[tuple[str, bytes]], wait_s: float, retain: bool = True
) -> int:
    """Connect, publish messages, and leave.

    Parameters
    ----------
    config : names the broker.
    messages : topics and payloads.
    wait_s : patience [s].
    retain : whether the broker keeps them for those that come later.

    Returns
    -------
    Number of messages that the broker has acknowledged.

    Raises
    ------
    MqttError : it cannot be reached, refuses the login, or does not acknowledge all in time.
    """
    client, connected, told = new_client(config, "", is_kept=False), threading.Event(), [""]

    def on_connect(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        told[0] = "" if not reason.is_failure else str(reason)
        connected.set()

    client.on_connect = on_connect
    client.loop_start()
    where = f"MQTT broker {config.mqtt.address.host}:{config.mqtt.address.port}"
    try:
        if not connected.wait(wait_s) or told[0]:
            raise MqttError(f"{where}: {told[0] or why_silent(config)}; check [mqtt] url")
        sent = [client.publish(topic, value, QOS, retain) for topic, value in messages]
        for item in sent:
            item.wait_for_publish(wait_s)
        if not all(item.is_published() for item in sent):
            raise MqttError(f"{where}: did not acknowledge all messages in {wait_s:g} s")
        return len(sent)
    finally:
        client.disconnect()
        client.loop_stop()
