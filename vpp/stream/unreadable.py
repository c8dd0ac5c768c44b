"""Batches that the client cannot read, such as a compressed one that it cannot inflate.

    python -c "from vpp.stream import unreadable; print(unreadable.end_of_batch.__doc__)"

Whoever sends such a batch, the client returns the same error at the same offset again and again.
It says neither how many messages the batch has nor where the next one begins: `end_of_batch` finds
that out.
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from vpp.stream.kafka import END_IS_TOLD, REQUEST_S, close, new_consumer

# Errors that come with the offset of a batch and say that its bytes are wrong.
CODES = {
    KafkaError._BAD_COMPRESSION,
    KafkaError._BAD_MSG,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError._PARTIAL,
    KafkaError._UNDERFLOW,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
}
TRIES = 3  # the same error at the same offset, half a second apart, is one that stays


def end_of_batch(settings: dict[str, object], topic: str, number: int, offset: int) -> int:
    """The first offset after a batch that cannot be read.

    An offset within the batch brings the error of its first offset. So the distance is doubled
    until another batch is met, and then halved.

    Parameters
    ----------
    settings : as of `kafka_settings`.
    topic, number : of the partition.
    offset : at which the batch cannot be read.

    Raises
    ------
    KafkaException : the broker does not answer.
    """
    probe = new_consumer(settings | END_IS_TOLD, "vpp-probe")
    try:
        return _end_of_batch(probe, topic, number, offset)
    finally:
        close(probe)


def _end_of_batch(probe: Consumer, topic: str, number: int, offset: int) -> int:
    _, high = probe.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST_S)
    first = _error_at(probe, topic, number, offset)
    if first is None:  # it can be read by now
        return offset
    within, beyond, step = offset, high, 1
    while within + step < beyond:
        if _error_at(probe, topic, number, within + step) == first:
            within, step = within + step, 2 * step
        else:
            beyond = within + step
    while beyond - within > 1:
        middle = (within + beyond) // 2
        if _error_at(probe, topic, number, middle) == first:
            within = middle
        else:
            beyond = middle
    return beyond


def _error_at(probe: Consumer, topic: str, number: int, offset: int) -> int | None:
    """The first offset of the unreadable batch that holds this one; None where it can be read."""
    probe.assign([TopicPartition(topic, number, offset)])
    until = time.monotonic() + REQUEST_S
    # one without a value has length 0
    while (message := probe.poll(max(0.0, until - time.monotonic()))) is not None:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return None
        if error.code() in CODES:
            return message.offset()
        # any other, such as of a leader that is not known yet, says nothing of the batch
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
