"""Each step of the sink by itself: what it asks of its neighbours, and when.

The neighbours are given here; test_sink.py has the real ones.
"""

import logging
from collections import Counter
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from small_stream import encoded, iso, power

from vpp.runtime.config import load_config
from vpp.stream import sink
from vpp.stream.batch import POLL_ROWS
from vpp.stream.dead_letters import DeadLetter
from vpp.stream.refusals import explained
from vpp.stream.sink import Count, Sink
from vpp.stream.writer import Outcome

TOPIC, ROWS = "solar-topic", 3
AWAY = KafkaError(KafkaError._ALL_BROKERS_DOWN)


def message(offset, value=None, sent_ms=1000):
    """A message as a consumer returns it, valid where no value is given."""
    value = encoded(power(iso(offset, 15), 1)) if value is None else value
    place = {"topic": TOPIC, "partition": 0, "offset": offset}
    return Message(**place, key=b"solar-1", value=value, timestamp=(1, sent_ms))


class Steps:
    """A sink whose messages are given, and a record of what it did.

    `asked` has the arguments of each `collect`, `written` the number of records of each
    transaction, of which `unchanged` are stored already, `did` its other calls and each commit,
    `waited` the servers that it waited for, `sent` the dead letters.
    """

    def __init__(self, config, monkeypatch):
        self.lots, self.asked, self.written, self.did, self.waited = [], [], [], [], []
        self.sent, self.advanced, self.unchanged = [], [], 0
        self.member = member = Sink(config, advance=self.advanced.append)
        monkeypatch.setattr(sink, "collect", self._collect)
        member.store = SimpleNamespace(
            write=self._write,
            **{
                name: lambda name=name: self.did.append(name)
                for name in ("reach", "beat", "end_import", "cancel", "close")
            },
        )
        member.dead_letters = SimpleNamespace(send=lambda letters: self.sent.append(letters) or [])
        positions = member.positions
        positions.restart = lambda: self.did.append("restart")
        positions.keep_ends = lambda: False
        positions.commit = lambda: self.did.append(dict(positions.offsets)) or True
        member.retry = self._retry

    def assign(self):
        """Let it be a member of the group, with the first partition."""
        positions = self.member.positions
        positions.consumer = SimpleNamespace(close=lambda: None)
        positions.offsets[TOPIC, 0] = 0

    def take(self, *messages):
        """One step with these messages; returns their number as the step tells it."""
        self.lots.append(list(messages))
        return self.member.take_batch()

    def _collect(self, *arguments):
        self.asked.append(arguments)
        return self.lots.pop(0)

    def _write(self, decoded):
        self.written.append({kind: len(item.names) for kind, item in decoded.items()})
        return {
            kind: Outcome(max(0, len(item.names) - self.unchanged), item.refused)
            for kind, item in decoded.items()
        }

    def _retry(self, server, action):
        self.waited.append((server, action.__name__))
        return action()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.ini"
    path.write_text(f"[kafka]\nbatch_rows = {ROWS}\n[battery:battery-1]\n")
    return load_config(path, {})


@pytest.fixture
def steps(config, monkeypatch):
    made = Steps(config, monkeypatch)
    made.assign()
    return made


def test_a_batch_is_asked_for_with_the_limits_and_the_one_that_waits(steps):
    member = steps.member
    first = (member.positions, member.config.kafka, member.stop)
    assert steps.take() == 0 and member.pending is None
    assert steps.take(*map(message, range(ROWS))) == ROWS
    earlier = member.pending
    assert steps.take(message(3)) == 1
    assert steps.asked == [(*first, None), (*first, None), (*first, earlier)]


def test_a_full_batch_stays_with_the_database_and_a_short_one_is_completed(steps):
    steps.member.moved_at = 0.0
    steps.take(*map(message, range(ROWS)))
    assert steps.member.pending is not None  # the next one is read meanwhile
    assert steps.did == []  # and nothing is committed, nor read anew
    assert steps.member.positions.read_to == {(TOPIC, 0): 3} and steps.member.moved_at > 0
    steps.take(message(3), message(4))
    assert steps.member.pending is None and steps.written == [{"solar": 3}, {"solar": 2}]
    assert steps.did == [{(TOPIC, 0): 3}, {(TOPIC, 0): 5}, "restart"]


def test_a_full_batch_before_a_notice_is_completed(steps):
    """The notice says where to read on, and all that was read before must be stored."""
    steps.member.positions.notices.append(message(3))
    steps.take(*map(message, range(ROWS)))
    assert steps.member.pending is None and steps.did == [{(TOPIC, 0): 3}, "restart"]


def test_nothing_is_handed_over_where_nothing_came(steps):
    assert steps.take() == 0
    assert steps.written == [] and steps.member.pending is None and steps.did == ["restart"]


def test_a_batch_is_left_to_the_new_owner_of_its_partitions(steps):
    """They are taken away while the batch before is completed."""
    complete = steps.member.complete

    def complete_and_lose():
        complete()
        steps.member.positions.generation += 1

    steps.member.complete = complete_and_lose
    assert steps.take(message(0)) == 1
    assert steps.written == [] and steps.member.pending is None


def test_a_sink_that_is_told_to_stop_stores_and_reads_no_more(steps):
    steps.member.stop.set()
    assert steps.take(message(0)) == 1
    assert steps.written == [] and steps.member.pending is None and steps.did == []


def test_it_reads_on_only_while_nothing_is_with_the_database(steps):
    """A full batch lies there: neither with a stop nor without one."""
    steps.take(*map(message, range(ROWS)))
    assert steps.did == []
    steps.member.complete = lambda: None
    steps.member.stop.set()
    steps.take()
    assert steps.did == []


@pytest.mark.parametrize(
    ("error", "is_member", "is_reached_first"),
    [(None, True, False), (AWAY, True, True), (None, False, True), (AWAY, False, True)],
)
def test_letters_go_once_the_broker_is_reached(steps, error, is_member, is_reached_first):
    member, letters = steps.member, [object()]
    member.positions.broker_error = error
    if not is_member:
        member.positions.consumer = None
    member.reach_broker = lambda: steps.did.append("reached")
    assert member.send(letters) == []
    assert steps.sent == [letters]
    assert steps.did == (["reached"] if is_reached_first else [])


def test_a_wait_names_the_server_that_is_waited_for(steps):
    """The log and the error of a bounded sink have this name."""
    steps.take(message(0, b"broken"))
    assert [server for server, _ in steps.waited] == ["database", "Kafka"]
    assert len(steps.sent) == 1 and steps.sent[0][0].origin == (TOPIC, 0, 0, 1000)


def test_a_service_names_the_server_at_each_of_its_steps(config, monkeypatch, caplog):
    """It joins, stores, meets a broker that is away, an error, the end of an import, a stop."""
    steps = Steps(config, monkeypatch)
    member, turns = steps.member, iter(range(5))

    def reach_broker():
        steps.assign()
        member.positions.broker_error = None

    def take_batch():
        turn = next(turns)
        if turn == 1:
            member.positions.broker_error = AWAY
        elif turn == 2:
            raise KafkaException(AWAY)
        elif turn == 4:
            member.stop.set()
        return 0 if turn == 3 else POLL_ROWS

    member.reach_broker, member.take_batch = reach_broker, take_batch
    member._is_imported = lambda: True
    member.run()
    joined, beat = ("Kafka", "reach_broker"), ("database", "<lambda>")
    assert steps.waited == [
        *[("database", "<lambda>"), joined],  # a service begins
        beat,  # turn 0
        *[joined, joined],  # turns 1 and 2
        *[beat, ("database", "<lambda>")],  # turn 3 ends an import
        beat,  # turn 4
    ]
    assert steps.did == ["reach", "beat", "beat", "end_import", "beat", "close"]
    assert member.imported is True and list(member.say.again_at) == ["Kafka"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"Kafka, trying again: {explained(KafkaException(AWAY))}"


def test_what_is_lost_adds_up(config):
    member = Sink(config)
    member.positions.on_lost(TOPIC, 3)
    member.positions.on_lost(TOPIC, 4)
    member.positions.on_lost("load-topic", 1)
    assert {kind: count.lost for kind, count in member.counts.items()} == {"solar": 7, "load": 1}


def test_messages_whose_letters_are_refused_are_lost(config, caplog):
    member = Sink(config)
    member.counts["solar"] = Count(stored=1, dead_lettered=5, lost=1)
    letters = [
        DeadLetter(TOPIC, 2, offset, 1000, "not JSON", b"k", b"v", None) for offset in (7, 8)
    ]
    with caplog.at_level(logging.ERROR):
        member._drop([(letter, "no such topic") for letter in letters])
    assert member.counts["solar"] == Count(stored=1, dead_lettered=3, lost=3)
    assert [record.getMessage() for record in caplog.records] == [
        f"solar-topic [2], offset {offset}: refused (not JSON), and so is its dead letter (no such "
        "topic): see that the topic solar-topic.dlq is there and takes messages"
        for offset in (7, 8)
    ]


def test_counts_of_batches_add_up(steps):
    steps.take(message(0), message(1, b"broken"))
    steps.unchanged = 1
    for offset in (2, 4):
        steps.take(message(offset, sent_ms=3000), message(offset + 1, sent_ms=2000))
    steps.take(message(6, b"broken"))
    assert steps.member.counts == {"solar": Count(stored=3, unchanged=2, dead_lettered=2, lost=0)}
    assert steps.member.counts["solar"].reasons == Counter({"not JSON": 2})
    assert steps.member.newest_ms == {"solar": 3000} and steps.advanced == [2, 2, 2, 1]
