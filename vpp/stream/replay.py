"""Dead letters as a person sees them, and stored once their cause is mended.

python communication.py dlq list
python communication.py dlq replay
"""

from collections import Counter
from datetime import UTC, datetime

from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.stream import records, states
from vpp.stream.data_set import register_sources
from vpp.stream.dead_letters import read_dead_letters, send_dead_letter
from vpp.stream.kafka import StreamError, kafka_settings, new_producer, topic_names
from vpp.stream.writer import Writer


def list_dead_letters(config: Config) -> list[dict]:
    """One row for each dead letter: where it came from, why it was not stored, how it begins.

    Returns
    -------
    topic, partition, offset, sent_at, error, key, value (its first 60 bytes) and bytes (its size).
    """
    return [
        {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "sent_at": datetime.fromtimestamp(min(letter.sent_ms, records.FAR_MS) / 1000, UTC),
            "error": letter.error,
            "key": letter.key and letter.key.decode("utf-8", "replace"),
            "value": letter.value and letter.value[:60].decode("utf-8", "replace"),
            "bytes": letter.truncated or len(letter.value or b""),
        }
        for letter in read_dead_letters(config, kafka_settings(config))
    ]


def replay_dead_letters(config: Config) -> list[dict]:
    """Store the dead letters whose cause has been mended.

    Each counts as sent when it was sent: a value that came later is not overwritten.

    Returns
    -------
    A row for each topic: topic, stored, unchanged (overtaken by a newer message), still_invalid.

    Raises
    ------
    StreamError : the broker does not answer, or does not take the notice that they are stored.
    """
    settings, topics = kafka_settings(config), topic_names(config)
    register_sources(config)
    letters = read_dead_letters(config, settings)
    failures: Counter[str] = Counter()
    producer = new_producer(settings, config.database.wait_s, failures)
    rows = []
    with session(config) as conn:
        writer = Writer(config, conn)
        for kind, topic in topics.items():
            mine = [letter for letter in letters if letter.topic == topic]
            if not mine:
                continue
            whole = [letter for letter in mine if letter.truncated is None]
            values, sent_ms = [item.value for item in whole], [item.sent_ms for item in whole]
            keys = [item.key for item in whole]
            outcome = writer.write({kind: states.decode(kind, values, sent_ms, keys)})[kind]
            refused = {place for place, _ in outcome.refused}
            for place, letter in enumerate(whole):
                if place not in refused:
                    send_dead_letter(producer, letter, resolved=True)
            good = len(whole) - len(refused)
            rows.append(
                {
                    "topic": topic,
                    "stored": outcome.stored,
                    "unchanged": good - outcome.stored,
                    "still_invalid": len(mine) - good,
                }
            )
    left = producer.flush(config.database.wait_s + 1) + failures.total()
    if left:
        raise StreamError(
            f"the dead letters are stored, but {left} could not be marked so in Kafka; run dlq "
            "replay again"
        )
    return rows
