"""Why the broker cannot be used: its own reason, and what you can do about it.

librdkafka's calls end with "transport failure" whatever is wrong. The reason, such as a wrong
password, is told to the client's `error_cb` only, which a poll serves. An `Ear` listens there.
"""

import re

from confluent_kafka import KafkaError, KafkaException

from vpp.stream.kafka import StreamError

START = "start the broker (make up, or bootstrap_servers = embedded), or correct [kafka]"
LOGIN = "correct [kafka] sasl_username, sasl_password and sasl_mechanism"
AUTHORITY = "name the authority that signed the broker's certificate in [kafka] ssl_ca_location"
CERTIFICATE = "check [kafka] ssl_certificate_location and ssl_key_location"
PROTOCOL = "correct [kafka] security_protocol, or the port in bootstrap_servers"
# of TLS that ends without one of the reasons below: a port in plain text may do that, or a broker
# that asks for a certificate, or one that goes down just then
ENDED = f"{PROTOCOL}, or {CERTIFICATE}"
HUNG_UP = "the broker hangs up without a word, as one does that expects TLS or a login"
# parts of reasons that another attempt does not mend -> what to do
REFUSALS = (
    ("PLAINTEXT broker listener", PROTOCOL),
    ("wrong version number", PROTOCOL),
    ("not valid in current SASL state", PROTOCOL),
    ("certificate verify failed", AUTHORITY),
    ("could not be verified", AUTHORITY),
    ("SSL alert", CERTIFICATE),
    ("SASL", LOGIN),
    ("uthentication", LOGIN),
)
ADVICE = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "allow the user READ, WRITE, DESCRIBE and CREATE on the "
    "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "allow the user READ on the group of [kafka] group_id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "allow the user IDEMPOTENT_WRITE on the cluster",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic, or run python communication.py consume, "
    "which does",
    KafkaError._UNKNOWN_TOPIC: "create the topic, or run python communication.py consume, which "
    "does",
    KafkaError.TOPIC_EXCEPTION: "a topic's name has letters, digits, dots, dashes and underscores; "
    "correct [kafka] topic_prefix",
}


class RefusedError(StreamError):
    """The broker answers, and refuses us: another attempt does not help."""


class Ear:
    """Listens to a client's errors, for the reason of its failure."""

    def __init__(self) -> None:
        self.reasons: list[str] = []  # from the first to the last that differs
        self.hangs_up = False

    def __call__(self, error: KafkaError) -> None:
        """Take note; this is the client's `error_cb`."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.hangs_up = not self.reasons
            return
        self.hangs_up = False
        text = _bare(error.str())
        if text not in self.reasons[-1:]:
            self.reasons.append(text)

    def refusal(self) -> str:
        """The broker's refusal and what to do; empty where it may be that it is only away."""
        if self.hangs_up:
            return f"{HUNG_UP}; {PROTOCOL}"
        for reason in reversed(self.reasons):
            for part, advice in REFUSALS:
                if part in reason:
                    return f"{reason}; {advice}"
        last = self.reasons[-1] if self.reasons else ""
        return f"{last}; {ENDED}" if "SSL" in last else ""

    def reason(self, otherwise: str) -> str:
        """The refusal, or why the broker cannot be reached, and what to do.

        Parameters
        ----------
        otherwise : the reason where nothing was heard.
        """
        last = self.reasons[-1] if self.reasons else otherwise
        return self.refusal() or f"{last}; {START}"


def _bare(text: str) -> str:
    """A reason without the address before it and librdkafka's state behind it."""
    text = re.sub(r"^\S+/\S+: ", "", text)
    return re.sub(r" \(after \d+ms in state \w+.*\)$", "", text)


def explained(error: KafkaException) -> str:
    """Why a client failed, and what you can do.

    Parameters
    ----------
    error : as a client raised it.
    """
    item: KafkaError = error.args[0]
    return f"{_bare(item.str())}; {ADVICE.get(item.code(), START)}"
