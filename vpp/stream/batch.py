"""Batches of messages: collected from the broker, decoded, and stored by a thread of its own."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import Message

from vpp.runtime.settings import Kafka
from vpp.stream import records, states
from vpp.stream.dead_letters import DeadLetter
from vpp.stream.kafka import origin
from vpp.stream.positions import Partition, Positions
from vpp.stream.writer import Outcome

POLL_ROWS = 2_000  # asked of the client at once
# A batch is written when nothing more comes for so long: the producer may be waiting for it. The
# first message is waited for in such pieces, since the client keeps it until a wait is over.
LULL_S = 0.1
SOON_S = 0.01  # the same, where an earlier batch is stored and only waits to be completed
BATCH_BYTES = 32 * 2**20
FAR_MS = records.AHEAD_US // 1000


@dataclass(frozen=True)
class Batch:
    """Messages that are stored together.

    Parameters
    ----------
    generation : of the assignment of partitions under which they were read.
    messages : kind -> its messages in the order in which they came.
    sent_ms : kind -> the messages' times [ms since 1970 UTC].
    decoded : kind -> what the messages say.
    ahead_ms : kind -> how far their latest time was ahead of their receipt [ms], where it was far.
    """

    generation: int
    messages: dict[str, list[Message]]
    sent_ms: dict[str, list[int]]
    decoded: dict[str, records.Decoded]
    ahead_ms: dict[str, int]

    def letters(self, outcome: Mapping[str, Outcome]) -> list[DeadLetter]:
        """The dead letters of the messages that were refused.

        Parameters
        ----------
        outcome : kind -> what became of its messages.
        """
        letters = []
        for kind, item in outcome.items():
            for place, reason in item.refused:
                message = self.messages[kind][place]
                where = (*origin(message), self.sent_ms[kind][place])
                letters.append(DeadLetter(*where, reason, message.key(), message.value(), None))
        return letters

    @cached_property
    def ends(self) -> dict[Partition, int]:
        """Partition -> the offset after its last message."""
        ends: dict[Partition, int] = {}
        for messages in self.messages.values():
            last = {message.partition(): message for message in messages}
            for topic, number, offset in map(origin, last.values()):
                ends[topic, number] = offset + 1
        return ends


class Work(threading.Thread):
    """A batch in the hands of the database, in a thread of its own.

    Parameters
    ----------
    batch : the messages.
    action : stores them; kind -> what became of its messages.
    """

    def __init__(self, batch: Batch, action: Callable[[], dict[str, Outcome]]):
        super().__init__(name="database", daemon=True)
        self.batch, self.action = batch, action
        self.returned: dict[str, Outcome] = {}
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Do the action, and keep its result or error."""
        try:
            self.returned = self.action()
        except BaseException as error:
            self.error = error

    def result(self) -> dict[str, Outcome]:
        """Wait for the action, and return what it returned or raise what it raised."""
        self.join()
        if self.error is not None:
            raise self.error
        return self.returned


def collect(
    positions: Positions, kafka: Kafka, stop: threading.Event, earlier: Work | None
) -> list[Message]:
    """Read the messages of one batch: `batch_rows` of them, or as many as come in `batch_s`.

    It ends early at a lull, at an error, and when the sink is told to stop. Messages that were
    read before the partitions were shared out anew are left to their new owners.

    Parameters
    ----------
    positions : the member of the group that reads.
    kafka : the limits of a batch.
    stop : ends it early.
    earlier : a batch that waits to be completed, which is done after this one has ended: no lull
        ends it while the database works on that, and a short one does afterwards.
    """
    batch: list[Message] = []
    size, generation = 0, positions.generation
    until = time.monotonic() + kafka.batch_s
    while len(batch) < kafka.batch_rows and size < BATCH_BYTES:
        left = until - time.monotonic()
        is_away = positions.broker_error is not None or positions.has_failed
        if left <= 0 or stop.is_set() or is_away or positions.notices:
            break
        lull_s = SOON_S if earlier else LULL_S
        is_over = bool(batch) if earlier is None else not earlier.is_alive()
        rows = min(POLL_ROWS, kafka.batch_rows - len(batch))
        got = positions.member.consume(rows, min(left, lull_s))
        if positions.generation != generation:
            batch, size, generation = [], 0, positions.generation
        if is_over and not got:
            break
        for message in got:
            error = message.error()
            if error is None:
                batch.append(message)
                size += len(message)
            else:
                positions.note(message, error)
    return batch


def decode(messages: Sequence[Message], kinds: Mapping[str, str], generation: int) -> Batch:
    """Decode messages kind by kind.

    Parameters
    ----------
    messages : in the order in which they came.
    kinds : topic -> kind.
    generation : of the assignment of partitions under which they were read.
    """
    groups: dict[str, list[Message]] = defaultdict(list)
    sent_ms, decoded, ahead_ms = {}, {}, {}
    for message in messages:
        groups[kinds[message.topic()]].append(message)
    now_ms = time.time_ns() // 1_000_000
    for kind, group in groups.items():
        sent = [at if at >= 0 else now_ms for _, at in map(Message.timestamp, group)]
        sent_ms[kind] = sent  # as they are: they tell a dead letter from every other
        if max(sent) > now_ms + FAR_MS:
            ahead_ms[kind] = max(sent) - now_ms
            sent = send_times([message.partition() for message in group], sent, now_ms)
        values, keys = list(map(Message.value, group)), list(map(Message.key, group))
        decoded[kind] = states.decode(kind, values, sent, keys)
    return Batch(generation, groups, sent_ms, decoded, ahead_ms)


def send_times(numbers: Sequence[int | None], times: Sequence[int], now_ms: int) -> list[int]:
    """When messages of one topic were sent, where some are stamped far ahead of their receipt.

    Such a time is not believed. The message counts as sent when it was received, yet not after one
    that follows it in its partition: that one may correct it.

    Parameters
    ----------
    numbers : their partitions.
    times : their own times, in the order of each partition [ms since 1970 UTC].
    now_ms : when they were received [ms since 1970 UTC].
    """
    result = list(times)
    following: dict[int | None, int] = {}
    for place in range(len(times) - 1, -1, -1):
        number, at = numbers[place], times[place]
        next_ms = following.get(number, now_ms)
        if at > now_ms + FAR_MS:
            result[place] = next_ms
        elif at > now_ms - FAR_MS:
            following[number] = min(next_ms, at)
    return result
