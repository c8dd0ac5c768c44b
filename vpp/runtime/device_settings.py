"""Ways to the devices in the configuration: the MQTT broker and a webhook.

python -c "from vpp.runtime.device_settings import Mqtt; print(Mqtt('mqtt://127.0.0.1').address)"
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, number

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Address:
    """Where an MQTT broker is, and who we are there.

    Parameters
    ----------
    host, port : of the broker.
    is_encrypted : whether it is reached over TLS.
    user, password : to log in with; None: without.
    """

    host: str
    port: int
    is_encrypted: bool = False
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class Mqtt(Section):
    """`[mqtt]`: the broker on which set-points go out and the words of devices come in.

    Parameters
    ----------
    url : mqtt://user:password@host:port, mqtts for TLS; empty: no MQTT.
    base_topic : stands before all topics of ours.
    discovery_prefix : where Home Assistant looks for new devices; empty: it is told of none.
    ssl_ca_location : file of the authority that signed the broker's certificate; empty: those of
        the system.
    ssl_certificate_location : file of our own certificate, where the broker asks for one.
    ssl_key_location : file of its key; empty: it is in the certificate's.
    """

    url: str = ""
    base_topic: str = "vpp"
    discovery_prefix: str = "homeassistant"
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.url:
            _ = self.address
        for key in ("base_topic", "discovery_prefix"):
            topic = getattr(self, key)
            is_needed = key == "base_topic" and not topic
            if is_needed or any(mark in topic for mark in "+#\0") or topic.startswith(("$", "/")):
                raise FieldError(key, topic, "a topic such as vpp, without + and #")

    @property
    def address(self) -> Address:
        """The broker of the url.

        Raises
        ------
        FieldError : it is no such url.
        """
        expected = "mqtt://user:password@host:port, or mqtts for TLS"
        try:
            parts = urlsplit(self.url)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise FieldError("url", self.url, expected) from None
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise FieldError("url", self.url, expected)
        user, password = (
            None if text is None else unquote(text) for text in (parts.username, parts.password)
        )
        return Address(parts.hostname, port, parts.scheme == "mqtts", user, password)


@dataclass(frozen=True)
class Webhook(Section):
    """`[webhook]`: a server of yours that each accepted plan is posted to.

    Parameters
    ----------
    url : http:// or https:// address; empty: none.
    timeout_s : it has so long to answer.
    """

    url: str = ""
    timeout_s: float = number(10.0, high=600, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parts = urlsplit(self.url)
            is_good = not self.url or (parts.scheme in ("http", "https") and bool(parts.hostname))
        except ValueError:
            is_good = False
        if not is_good:
            raise FieldError("url", self.url, "an address that begins with http:// or https://")
