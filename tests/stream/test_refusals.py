"""What a client hears of its broker: which of it is a refusal, and what to do."""

import pytest
from confluent_kafka import KafkaError

from vpp.stream.refusals import AUTHORITY, CERTIFICATE, ENDED, HUNG_UP, LOGIN, PROTOCOL, Ear

PLAIN = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
CLOSED = "Disconnected: SSL connection closed by peer"
RESET = "SSL transport error: Connection reset by peer"
AWAY = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
WRONG = "SASL authentication error: Authentication failed: invalid credentials"
STRANGER = "SSL handshake failed: certificate verify failed: broker certificate"
ALERT = "SSL handshake failed: ssl/record/rec_layer_s3.c:1605: SSL alert number 116"


def heard(*reasons):
    """An ear that has heard this; "" is that all brokers are down."""
    ear = Ear()
    for reason in reasons:
        code = KafkaError._SSL if reason else KafkaError._ALL_BROKERS_DOWN
        ear(KafkaError(code, f"sasl_ssl://127.0.0.1:9092/bootstrap: {reason}"))
    return ear


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([PLAIN], f"{PLAIN}; {PROTOCOL}"),
        ([CLOSED], f"{CLOSED}; {ENDED}"),
        ([RESET, ""], f"{RESET}; {ENDED}"),
        # the one that tells most counts, whichever came last
        ([CLOSED, PLAIN], f"{PLAIN}; {PROTOCOL}"),
        ([PLAIN, CLOSED], f"{PLAIN}; {PROTOCOL}"),
        ([ALERT, CLOSED], f"{ALERT}; {CERTIFICATE}"),
        ([CLOSED, STRANGER, CLOSED], f"{STRANGER}; {AUTHORITY}"),
        ([WRONG, CLOSED, ""], f"{WRONG}; {LOGIN}"),
        ([""], f"{HUNG_UP}; {PROTOCOL}"),
        # it may be that the broker is only away, or went just then
        ([], ""),
        ([AWAY], ""),
        ([AWAY, ""], ""),
        ([CLOSED, AWAY], ""),
    ],
)
def test_a_refusal_is_what_another_attempt_does_not_mend(reasons, told):
    ear = heard(*reasons)
    assert ear.refusal() == told
    line = ear.reason("it does not answer")
    assert line == told or (not told and "start the broker" in line and "SSL" not in line)
