"""Topics: reaches the broker, and makes the topics that it lacks.

Time in them is the broker's (LogAppendTime): a device whose clock says 1970 is not deleted unread
by retention, and cannot keep a later value out. The broker inside librdkafka makes a topic when it
is first asked for, and knows no other way.
"""

import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic

from vpp.runtime.settings import Kafka
from vpp.stream.kafka import MOCK_CLUSTER, StreamError, cause, make
from vpp.stream.refusals import Ear, RefusedError

PATIENCE_S = 3.0  # a broker that has just started may not know its users and neighbours yet
ASK_S = 1.0
PAUSE_S = 0.1
MADE_BY_ANOTHER = (KafkaError.TOPIC_ALREADY_EXISTS,)
TRANSIENT = (
    KafkaError.NOT_CONTROLLER,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
)


def is_embedded(metadata: ClusterMetadata) -> bool:
    """Whether the broker is librdkafka's own."""
    return (metadata.cluster_id or "").startswith(MOCK_CLUSTER)


def has_little_room(client: Producer | Consumer) -> bool:
    """Whether the broker is librdkafka's own, which drops what is too much for it."""
    return is_embedded(client.list_topics(timeout=ASK_S))


def ensure_topics(
    kafka: Kafka, settings: dict[str, object], names: Sequence[str], wait_s: float
) -> dict[str, list[int]]:
    """Wait until the broker answers, make the topics that it lacks, and wait until it has them.

    Parameters
    ----------
    kafka : says what a new topic is like.
    settings : as of `kafka_settings`.
    names : of the topics.
    wait_s : patience [s]; a broker that refuses us gets 3 s of it.

    Returns
    -------
    Topic -> numbers of its partitions.

    Raises
    ------
    RefusedError : the broker does not let us in, or a topic is missing and cannot be made.
    StreamError : no broker answers in time.
    """
    ear = Ear()
    client: AdminClient = make(AdminClient, settings | {"error_cb": ear})
    began = time.monotonic()
    while True:
        left = wait_s - (time.monotonic() - began)
        is_last = left <= PAUSE_S
        is_patient = not is_last and time.monotonic() - began < PATIENCE_S
        try:
            known = client.list_topics(timeout=max(1.0, min(ASK_S, left)))
            missing = [name for name in names if not _is_there(known, name)]
            if not missing:
                return {name: sorted(known.topics[name].partitions) for name in names}
            problem = _make(client, kafka, missing, is_embedded(known), is_patient)
        except KafkaException as error:
            client.poll(0)  # what the ear has not heard yet
            problem = f"Kafka at {settings['bootstrap.servers']}: {ear.reason(cause(error))}"
            if ear.refusal() and not is_patient:
                raise RefusedError(problem) from None
        if is_last:
            raise StreamError(problem)
        time.sleep(PAUSE_S)


def _is_there(known: ClusterMetadata, name: str) -> bool:
    found = known.topics.get(name)
    return found is not None and found.error is None and bool(found.partitions)


def _make(
    client: AdminClient, kafka: Kafka, names: Sequence[str], embedded: bool, patient: bool
) -> str:
    """Make topics; returns why they may not be there yet.

    Raises
    ------
    RefusedError : it will not make one.
    """
    if embedded:
        for name in names:
            client.list_topics(name, timeout=ASK_S)
        return f"Kafka has not made {', '.join(names)}"
    retention_ms = round(kafka.retention_h * 3_600_000) or -1
    settings = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(retention_ms)}
    size = (kafka.partitions, kafka.replication_factor or -1)
    new = [NewTopic(name, *size, config=settings) for name in names]
    refused, reasons = [], []
    for name, future in client.create_topics(new, request_timeout=10).items():
        try:
            future.result()
        except KafkaException as error:
            code = error.args[0].code()
            if code not in MADE_BY_ANOTHER:
                reasons.append(error)
            if code not in (*MADE_BY_ANOTHER, *TRANSIENT):
                refused.append(name)
    if not reasons:
        return f"Kafka has not made {', '.join(names)} yet"
    told = f"Kafka: {cause(reasons[0])}"
    if not refused:
        return f"{told}; missing: {', '.join(names)}"
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    factor = kafka.replication_factor or "the broker's default"
    problem = (
        f"{told.rstrip('.')}: {len(refused)} topics are missing and cannot be made here; allow the "
        f"user CREATE, correct [kafka] partitions and replication_factor, or create each with "
        f"partitions={kafka.partitions}, replication_factor={factor}, {listed}: "
        + ", ".join(sorted(refused))
    )
    if patient and reasons[0].args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return problem  # of brokers that have just started some do not count yet
    raise RefusedError(problem)
