"""How a sink begins and ends, step by step: membership, drained, standstill, threads, words.

The neighbours are given here; test_sink.py and test_drained.py have the real ones.
"""

import dataclasses
import logging
import threading
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from vpp.runtime.config import load_config
from vpp.stream import sink
from vpp.stream.batch import POLL_ROWS, Batch
from vpp.stream.kafka import StreamError
from vpp.stream.retry import Stopped
from vpp.stream.sink import Sink
from vpp.stream.writer import Outcome

PLACE = ("solar-topic", 2)
LETTERS = ".dlq"
AWAY = KafkaError(KafkaError._ALL_BROKERS_DOWN)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.ini"
    path.write_text(
        "[database]\nwait_s = 40\n[kafka]\nbootstrap_servers = 127.0.0.1:9\ngroup_id = g\n"
    )
    return load_config(path, {})


@pytest.fixture
def did(monkeypatch):
    """What the sink did, and the neighbours that note it."""
    found = []
    monkeypatch.setattr(
        sink,
        "ensure_topics",
        lambda kafka, settings, names, ask_s: found.append(("topics", settings, names, ask_s)),
    )
    monkeypatch.setattr(
        sink,
        "DeadLetterQueue",
        lambda settings, told: found.append(("letters", settings, told)) or SimpleNamespace(),
    )
    return found


def test_a_bounded_sink_is_patient_for_wait_s_and_a_service_for_ever(config):
    service, bounded = Sink(config), Sink(config, until_drained=True)
    assert (service.ask_s, service.store.wait_s, service.retry.give_up_s) == (1, 0, None)
    assert (bounded.ask_s, bounded.store.wait_s, bounded.retry.give_up_s) == (40, 40, 40)
    for member in (service, bounded):
        assert member.positions.group_id == "g" and member.retry.stop is member.stop
        assert (member.retry.hold, member.retry.resume) == (
            member.positions.hold,
            member.positions.resume,
        )
        assert member.pending is None and not member.imported and member.waiting == 0
        assert abs(time.monotonic() - member.moved_at) < 60
        assert member.kinds["solar-topic"] == "solar" and member.topics["load"] == "load-topic"


class Group:
    """Positions that note what they are told."""

    def __init__(self, did, settings, is_member=True):
        self.did, self.settings, self.has_failed = did, settings, False
        self.consumer = object() if is_member else None
        self.broker_error = AWAY
        self.member = SimpleNamespace(list_topics=lambda timeout: did.append(("list", timeout)))

    def leave(self):
        self.did.append("leave")

    def join(self, settings, topics):
        self.did.append(("join", settings, topics))

    def on_error(self, error):
        pass


@pytest.mark.parametrize("until_drained", [False, True])
@pytest.mark.parametrize("why", ["new", "failed", "moved"])
def test_it_joins_where_it_is_no_member_or_the_broker_has_moved(config, did, why, until_drained):
    member, settings = Sink(config, until_drained), sink.kafka_settings(config)
    group = member.positions = Group(did, settings, why != "new")
    group.has_failed = why == "failed"
    if why == "moved":
        group.settings = settings | {"bootstrap.servers": "elsewhere"}
    member.reach_broker()
    topics = list(member.topics.values())
    names = [*topics, *(topic + LETTERS for topic in topics), "schedule-topic"]
    assert did == [
        "leave",
        ("topics", settings, names, 40 if until_drained else 1),
        ("letters", settings, group.on_error),
        ("join", settings, topics),
    ]
    assert group.broker_error is None


def test_a_member_asks_whether_the_broker_is_back(config, did):
    member = Sink(config)
    group = member.positions = Group(did, sink.kafka_settings(config))
    member.reach_broker()
    assert did == [("list", 1)] and group.broker_error is None


class Drained:
    """A sink whose group is asked whether all is stored; `unread` are the answers, in order."""

    def __init__(self, config, *unread, commits=True, until_drained=True):
        self.did, self.member = [], Sink(config, until_drained)
        self.member.produced.set()
        self.member.complete = lambda: self.did.append("complete")
        positions, answers = self.member.positions, list(unread)
        positions.keep_ends = lambda: self.did.append("ends")
        positions.commit = lambda: self.did.append("commit") or commits
        positions.unread = lambda: self.did.append("unread") or answers.pop(0)
        self.member.moved_at -= 30  # seconds without a message


def test_all_is_stored_when_the_group_has_stored_it(config):
    found = Drained(config, {PLACE: (3, 9)}, {})
    assert not found.member._is_imported() and found.member.waiting == 6
    assert found.member._is_imported()
    assert found.did == ["complete", "ends", "commit", "unread"] * 2


@pytest.mark.parametrize("why", ["imported", "not produced", "stopped", "not committed"])
def test_nobody_is_asked_before_the_end(config, why):
    found = Drained(config, commits=why != "not committed")
    if why == "imported":
        found.member.imported = True
    elif why == "not produced":
        found.member.produced.clear()
    elif why == "stopped":
        found.member.stop.set()
    assert not found.member._is_imported()
    assert "unread" not in found.did and (found.did == []) == (why != "not committed")


def test_a_group_that_comes_nearer_to_its_end_is_waited_for(config):
    one, more = {PLACE: (3, 9), ("wind-topic", 0): (0, 1)}, {PLACE: (3, 9)}
    found = Drained(config, one, one, more, more)
    member = found.member
    began = member.moved_at
    assert not member._is_imported() and member.moved_at > began and member.waiting == 7
    member.moved_at = began
    assert not member._is_imported() and member.moved_at == began  # 30 s of 40
    assert not member._is_imported() and member.moved_at > began and member.waiting == 6
    member.moved_at = began - 15
    with pytest.raises(StreamError) as caught:
        member._is_imported()
    assert str(caught.value) == (
        "Kafka: no message came for 40 s; solar-topic [2] is stored up to offset 3 and ends at 9; "
        "see python communication.py status --partitions, and whether another sink of the group "
        "hangs"
    )


def test_a_standstill_ends_a_bounded_sink_only_and_after_joining(config):
    service, bounded = Sink(config), Sink(config, until_drained=True)
    for member in (service, bounded):
        member.moved_at -= 39
        member._refuse_standstill()
        member.moved_at -= 2
    service._refuse_standstill()
    with pytest.raises(StreamError, match=r"for 40 s; no partition was assigned; see"):
        bounded._refuse_standstill()
    database = dataclasses.replace(config.database, wait_s=1.0)
    # a group takes some seconds to share out its work
    member = Sink(dataclasses.replace(config, database=database), until_drained=True)
    member.moved_at -= sink.JOIN_S - 2
    member._refuse_standstill()
    member.moved_at -= 4
    with pytest.raises(StreamError, match=r"for 15 s; no partition"):
        member._refuse_standstill()


class Turns:
    """A sink at work, whose turns are given; `did` has what it called."""

    def __init__(self, config, *turns, until_drained=True):
        self.did, self.member = [], Sink(config, until_drained=until_drained)
        member, given = self.member, iter(turns)
        for name in ("reach", "beat", "end_import", "cancel", "close"):
            setattr(member.store, name, lambda name=name: self.did.append(name))
        member.reach_broker = lambda: self.did.append("broker")
        member.complete = lambda: self.did.append("complete")
        member._is_imported = lambda: self.did.append("asked") or True
        member._refuse_standstill = lambda: self.did.append("standstill")
        member.positions.leave = lambda: self.did.append("leave")
        member.retry = lambda server, action: action()

        def take_batch():
            turn = next(given)
            return turn() if callable(turn) else turn

        member.take_batch = take_batch


ENDS = ["complete", "leave", "close"]


def test_a_bounded_sink_ends_when_all_is_imported(config):
    turns = Turns(config, POLL_ROWS, POLL_ROWS - 1)
    turns.member.run()
    assert turns.did == ["reach", "broker", "beat", "beat", "asked", "end_import", *ENDS]
    assert turns.member.imported


def test_a_service_goes_on_after_its_import(config):
    turns = Turns(config, 0, until_drained=False)
    with pytest.raises(StopIteration):  # of the given turns, which have ended
        turns.member.run()
    assert turns.did == ["reach", "broker", "beat", "asked", "end_import", "leave", "close"]


def test_no_beat_while_the_database_is_at_work(config):
    turns = Turns(config, 0)
    turns.member.pending = SimpleNamespace(join=lambda: turns.did.append("join"))
    turns.member.run()
    assert turns.did == [
        *("reach", "broker", "asked", "end_import", "complete"),
        *("cancel", "join", "leave", "close"),
    ]


@pytest.mark.parametrize("why", ["away", "failed"])
def test_what_was_read_is_stored_before_the_broker_is_reached_anew(config, why):
    turns = Turns(config, 0, 0)
    positions, reach = turns.member.positions, turns.member.reach_broker

    def reach_broker():
        reach()
        lost = turns.did.count("broker") == 1
        positions.broker_error = AWAY if lost and why == "away" else None
        positions.is_stuck = lost and why == "failed"

    turns.member.reach_broker = reach_broker
    turns.member.run()
    again = ["complete", "broker"]
    assert turns.did == ["reach", "broker", *again, "beat", "asked", "end_import", *ENDS]


def test_an_error_of_the_client_makes_it_join_anew(config, caplog):
    def fail():
        raise KafkaException(AWAY)

    turns = Turns(config, fail, 0)
    turns.member.run()
    again = ["complete", "standstill", "leave", "broker"]
    assert turns.did == ["reach", "broker", *again, "beat", "asked", "end_import", *ENDS]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [Stopped, StreamError("whatever")])
def test_whatever_ends_it_it_leaves_and_closes(config, error):
    def fail():
        raise error

    turns = Turns(config, fail)
    if error is Stopped:
        turns.member.run()
    else:
        with pytest.raises(StreamError, match="whatever"):
            turns.member.run()
    assert turns.did == ["reach", "broker", "leave", "close"]


def test_a_sink_that_is_told_to_stop_stores_what_it_has(config):
    turns = Turns(config)
    turns.member.stop.set()
    turns.member.run()
    assert turns.did == ["reach", "broker", *ENDS]


def threaded(config, run):
    """A sink whose `run` is given, and what its store is told."""
    member = Sink(config, until_drained=True)
    member.run = lambda: run(member)
    cancelled = threading.Event()
    member.store.cancel = cancelled.set
    return member, cancelled


def test_it_runs_in_a_thread_and_hears_that_no_more_messages_come(config):
    names, order = [], []

    def run(member):
        names.append(threading.current_thread().name)
        assert member.produced.wait(20)
        order.append("run")

    member, cancelled = threaded(config, run)
    sink.run_sink(member, lambda: order.append(("meanwhile", member.produced.is_set())))
    assert names == ["sink"] and order == [("meanwhile", False), "run"]
    assert member.stop.is_set() and not cancelled.is_set()


def test_its_error_is_the_caller_s(config):
    def run(member):
        raise StreamError("full")

    member, _ = threaded(config, run)
    with pytest.raises(StreamError, match="full"):
        sink.run_sink(member)
    assert member.stop.is_set()


def test_an_error_meanwhile_stops_it(config):
    member, cancelled = threaded(config, lambda member: member.stop.wait(20))

    def fail():
        raise ValueError("no file")

    with pytest.raises(ValueError, match="no file"):
        sink.run_sink(member, fail)
    assert member.stop.is_set() and not member.produced.is_set() and not cancelled.is_set()


def test_a_statement_that_outlives_the_stop_is_cancelled(config, monkeypatch):
    monkeypatch.setattr(sink, "STOP_S", 0.01)
    go = threading.Event()
    member, cancelled = threaded(config, lambda member: go.wait(20))
    member.stop.set()
    try:
        sink.run_sink(member)
        assert cancelled.is_set()
    finally:
        go.set()


def told(config, refused, total, ahead_ms=None):
    """The lines about a batch with so many messages, some refused for these reasons."""
    found = Sink(config)
    batch = Batch(0, {"solar": [object()] * total}, {}, {}, ahead_ms or {})
    reasons = list(enumerate(refused))
    found._tell(batch, {"solar": Outcome(total - len(refused), reasons)})
    return found


def test_a_batch_that_is_refused_for_one_reason_is_one_warning(config, caplog):
    reason = "source 'a' is unknown"
    for refused, total in (([], 1), ([reason], 1), ([reason] * 2, 3), ([reason, "not JSON: x"], 2)):
        told(config, refused, total)
    assert not caplog.records
    found = told(config, [reason, "source 'b' is unknown"], 2)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "solar-topic: all 2 messages of a batch were refused, each for a reason like: "
        "source 'a' is unknown"
    )
    assert caplog.records[0].levelno == logging.WARNING and len(found.say.again_at) == 1


def test_messages_stamped_ahead_are_told_with_minutes(config, caplog):
    told(config, [], 1, {"solar": 90 * 60_000})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "solar-topic: messages are stamped up to 90 min ahead of this machine's clock and count as "
        "sent when received; set the clock of their producer, or of this machine"
    )
