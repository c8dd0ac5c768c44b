"""Each step of a member of the group by itself: what it tells the client, and what it keeps.

The client is given here; test_positions.py and test_pills.py have a real one.
"""

import logging
import time
from types import SimpleNamespace

import pytest
import tenacity
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from vpp.stream import kafka, unreadable
from vpp.stream import positions as module
from vpp.stream.positions import REJOIN_S, Positions

PLACE = ("solar-topic", 2)
BAD = KafkaError(KafkaError._BAD_COMPRESSION)
RESET = KafkaError(KafkaError._AUTO_OFFSET_RESET)


def places(items):
    return [(item.topic, item.partition, item.offset) for item in items]


def message(offset, error=None, place=PLACE):
    return Message(topic=place[0], partition=place[1], offset=offset, error=error)


class Client:
    """A consumer that keeps what it is told.

    `told` has each call, `held` what the group has committed and the watermarks of each partition,
    `waiting` the messages of `poll`, `fails` the errors of the next calls by name.
    """

    def __init__(self):
        self.told, self.held, self.waiting, self.fails = [], {}, [], {}

    def _note(self, name, *what):
        self.told.append((name, *what))
        if self.fails.get(name):
            raise self.fails[name].pop(0)

    def subscribe(self, topics, **ways):
        self._note("subscribe", topics)
        self.ways = ways

    def assignment(self):
        return [TopicPartition(*PLACE)]

    def assign(self, items):
        self._note("assign", places(items))

    def pause(self, items):
        self._note("pause", places(items))

    def resume(self, items):
        self._note("resume", places(items))

    def seek(self, item):
        self._note("seek", *places([item]))

    def poll(self, seconds):
        self._note("poll", seconds)
        return self.waiting.pop(0) if self.waiting else None

    def committed(self, items, timeout):
        self._note("committed", timeout)
        return [TopicPartition(i.topic, i.partition, self.held[i.partition][0]) for i in items]

    def get_watermark_offsets(self, item, timeout):
        self._note("watermarks", timeout)
        return self.held[item.partition][1:]

    def commit(self, offsets, asynchronous):
        self._note("commit", places(offsets), asynchronous)

    def close(self):
        self._note("close")


@pytest.fixture
def lost():
    return []


@pytest.fixture
def client(monkeypatch):
    found = Client()

    def new_consumer(settings, group_id, on_error):
        found.made = (settings, group_id, on_error)
        return found

    monkeypatch.setattr(module, "new_consumer", new_consumer)
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda seconds: found.told.append(seconds))
    return found


@pytest.fixture
def member(client, lost):
    """A member that has joined; what it told the client until then is forgotten."""
    found = Positions("group-7", lambda *what: lost.append(what))
    found.join({"bootstrap.servers": "here"}, ("solar-topic", "wind-topic"))
    assert client.told == [("subscribe", ["solar-topic", "wind-topic"])]
    client.told.clear()
    return found


def test_it_joins_with_its_settings_and_hears_of_its_partitions(member, client):
    settings, group_id, on_error = client.made
    assert settings["bootstrap.servers"] == "here" and settings["enable.partition.eof"] is True
    assert (group_id, on_error) == ("group-7", member.on_error)
    revoked = member._on_revoke
    ways = {"on_assign": member._on_assign, "on_revoke": revoked, "on_lost": revoked}
    assert client.ways == ways
    assert (member.settings, member.topics) == (
        {"bootstrap.servers": "here"},
        ["solar-topic", "wind-topic"],
    )
    assert member.member is client and not member.has_failed


def test_it_has_failed_when_it_waits_long_or_is_stuck(member):
    member.waits_since = time.monotonic() - REJOIN_S + 5
    assert not member.has_failed
    member.waits_since -= 10
    assert member.has_failed
    member.held = True  # then nobody reads, and nothing can be assigned
    assert not member.has_failed
    member.is_stuck = True
    assert member.has_failed
    member.join({}, [])
    assert not member.has_failed and not member.is_stuck


def test_it_reads_on_where_the_group_is(member, client, lost, caplog):
    # committed, low, high: read on; nothing committed; dropped by the broker; made anew
    client.held = {0: (5, 2, 9), 1: (-1001, 0, 4), 2: (3, 7, 9), 3: (50, 1, 4)}
    items = [TopicPartition("solar-topic", number) for number in client.held]
    with caplog.at_level(logging.WARNING):
        member._on_assign(client, items)
    starts = [("solar-topic", number, offset) for number, offset in enumerate((5, 0, 7, 1))]
    asked = [("committed", kafka.REQUEST_S)] + [("watermarks", kafka.REQUEST_S)] * 4
    assert client.told == [*asked, ("assign", starts), ("resume", starts)]
    assert member.offsets == {("solar-topic", n): at for n, at in enumerate((5, 0, 7, 1))}
    assert lost == [("solar-topic", 4)]
    assert [record.message for record in caplog.records] == [
        "solar-topic [2]: the broker dropped 4 messages before they were read",
        "solar-topic [3] was made anew (it ends at 4): reading it from its beginning",
    ]
    assert member.waits_since is None and not member.has_failed


def test_what_is_assigned_to_a_member_that_is_held_is_paused(member, client):
    client.held = {2: (5, 2, 9)}
    member.held = True
    member._on_assign(client, [TopicPartition(*PLACE)])
    assert client.told[-2:] == [("assign", [(*PLACE, 5)]), ("pause", [(*PLACE, 5)])]


def test_no_partitions_are_assigned_without_asking(member, client):
    member._on_assign(client, [])
    assert client.told == [("assign", []), ("resume", [])]
    assert member.offsets == {} and not member.is_stuck


NEW = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
)


@pytest.mark.parametrize("code", NEW)
def test_a_topic_that_is_new_to_the_broker_is_asked_for_again(member, client, code):
    client.held = {2: (5, 2, 9)}
    client.fails["watermarks"] = [KafkaException(KafkaError(code))] * 9
    member._on_assign(client, [TopicPartition(*PLACE)])
    assert [what for what in client.told if isinstance(what, float)] == [0.2] * 9
    assert member.offsets == {PLACE: 5} and not member.is_stuck


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (KafkaException(KafkaError(NEW[0])), 10),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), 1),
        (ValueError("whatever"), 1),
    ],
)
def test_a_member_that_cannot_take_its_partitions_is_stuck(member, client, error, times):
    client.fails = {"committed": [error] * 20, "assign": [RuntimeError("closed")]}
    member._on_assign(client, [TopicPartition(*PLACE)])  # no error leaves it
    assert client.told.count(("committed", kafka.REQUEST_S)) == times
    assert client.told[-1] == ("assign", [])
    assert member.is_stuck and member.has_failed


def test_what_was_read_counts_no_more_when_the_partitions_are_gone(member, client):
    began = time.monotonic()
    member.offsets[PLACE], member.reached[PLACE] = 5, 9
    member.read_to[PLACE], member.unreadable[PLACE] = 6, (6, 1)
    member.notices.append(message(3, RESET))
    client.ways["on_lost"](client, [])
    assert member.generation == 1 and member.waits_since >= began
    kept = (member.offsets, member.reached, member.read_to, member.unreadable, member.notices)
    assert not any(kept)
    member.leave()
    assert client.told == [("close",)] and member.consumer is None and member.generation == 2
    member.leave()
    assert client.told == [("close",)] and member.generation == 3


def test_a_member_that_is_held_pauses_and_puts_back_what_it_gets(member, client):
    client.waiting = [message(4), message(8, KafkaError(KafkaError._PARTITION_EOF)), None]
    for _ in range(3):
        member.hold()
    assert member.held
    polls = [("pause", [(*PLACE, -1001)]), ("poll", 0)]
    assert client.told == [*polls, ("seek", (*PLACE, 4)), *polls, *polls]
    assert member.reached == {PLACE: 8}
    client.told.clear()
    member.resume()
    assert not member.held and client.told == [("resume", [(*PLACE, -1001)])]


def test_a_batch_is_given_up_when_it_fails_three_times_at_one_offset(member):
    for offset in (4, 4, 5, 5):
        member.note(message(offset, BAD), BAD)
    assert member.notices == [] and member.unreadable == {PLACE: (5, 2)}
    member.note(message(5, BAD), BAD)
    assert [notice.offset() for notice in member.notices] == [5]
    assert member.broker_error is None


def test_a_broken_batch_at_the_first_offset_counts_and_one_without_place_does_not(member):
    for _ in range(unreadable.TRIES):
        member.note(message(0, BAD), BAD)
        member.note(message(-1001, BAD), BAD)
    assert [notice.offset() for notice in member.notices] == [0]


@pytest.mark.parametrize("code", sorted(module.PASSING))
def test_what_passes_is_not_told(member, code, caplog):
    member.note(message(3), KafkaError(code))
    assert not caplog.records
    assert (member.broker_error is not None) == (code == KafkaError._ALL_BROKERS_DOWN)


def test_what_stays_is_told_once(member, caplog):
    for _ in range(2):
        member.note(message(3), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    (record,) = caplog.records
    assert record.message.startswith("Kafka: ") and "AUTHORIZATION" in record.message.upper()


def test_offsets_are_committed_and_a_refusal_is_told_to_the_caller(member, client):
    assert member.commit() and client.told == []
    member.offsets = {PLACE: 7, ("wind-topic", 0): 3}
    client.fails["commit"] = [KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))]
    assert not member.commit()
    assert member.commit()
    assert client.told == [("commit", [(*PLACE, 7), ("wind-topic", 0, 3)], False)] * 2


def test_it_reads_on_where_messages_are(member, client, lost, caplog):
    """Of three notices, one is of what is stored already, one of a partition that is not ours."""
    client.held = {2: (0, 7, 9)}
    ours, other = ("solar-topic", 1), ("wind-topic", 0)
    member.offsets = {PLACE: 4, ours: 6}
    member.reached[PLACE] = member.read_to[PLACE] = 9
    member.unreadable[PLACE] = (4, 1)
    member.notices = [message(5, RESET, ours), message(4, RESET), message(3, RESET, other)]
    with caplog.at_level(logging.ERROR):
        member.restart()
    assert client.told == [("watermarks", kafka.REQUEST_S), ("seek", (*PLACE, 7))]
    assert member.offsets == {PLACE: 7, ours: 6} and lost == [("solar-topic", 3)]
    assert member.notices == [] and not (member.reached or member.read_to or member.unreadable)
    assert "dropped 3 messages" in caplog.text


@pytest.mark.parametrize(("stored", "begin"), [(4, 5), (None, 5), (6, 6)])
def test_a_batch_that_cannot_be_read_is_skipped_and_counted_once(
    member, client, lost, caplog, monkeypatch, stored, begin
):
    asked = []
    monkeypatch.setattr(unreadable, "end_of_batch", lambda *given: asked.append(given) or 9)
    if stored is not None:
        member.offsets[PLACE] = stored
    with caplog.at_level(logging.ERROR):
        for _ in range(2):  # the second time it is known
            member.notices = [message(5, BAD)]
            member.restart()
            member.offsets[PLACE] = begin
    assert asked == [(member.settings, *PLACE, begin)] * 2
    assert client.told == [("seek", (*PLACE, 9))] * 2
    assert lost == [("solar-topic", 9 - begin)]
    (record,) = caplog.records
    words = f"solar-topic [2]: the messages {begin} to 8 cannot be read and are skipped: "
    assert record.message.startswith(words) and "compressed" in record.message


def test_offsets_move_on_only_within_their_assignment():
    positions, place = Positions("group", lambda topic, number: None), ("solar-topic", 1)
    positions.offsets[place] = 5
    positions.keep(0, {place: 9})
    positions.keep(0, {place: 7})
    assert positions.offsets == {place: 9}
    positions.keep(1, {place: 20})
    positions.leave()
    assert (positions.generation, positions.offsets) == (1, {})
    positions.keep(0, {place: 20})  # of a batch that was read before
    assert positions.offsets == {}


def test_only_a_member_has_a_consumer():
    positions = Positions("group-7", lambda topic, number: None)
    with pytest.raises(kafka.StreamError, match="no member of the group group-7"):
        positions.member.poll(0)
    positions.hold()
    positions.resume()  # neither needs one
    assert not positions.held


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (KafkaError(KafkaError._ALL_BROKERS_DOWN), True),
        (KafkaError(KafkaError._FATAL, "fenced", fatal=True), True),
        (KafkaError(KafkaError._TRANSPORT), False),  # librdkafka tries again by itself
    ],
)
def test_the_broker_is_away_when_none_of_it_answers(error, is_away):
    positions = Positions("group", lambda topic, number: None)
    positions.note(None, error)
    assert positions.broker_error is (error if is_away else None)
    assert positions.notices == []


def test_a_loss_is_kept_in_mind_and_does_not_look_like_an_outage():
    positions = Positions("group", lambda topic, number: None)
    message = object()  # of which only the place is read, later
    positions.note(message, KafkaError(KafkaError._AUTO_OFFSET_RESET))
    assert positions.notices == [message] and positions.broker_error is None


def test_unread_is_what_lies_before_an_end_or_was_dropped(monkeypatch):
    """Of six partitions, three of which are ours: where each is, and where the broker begins."""
    ours = {0: 5, 1: 5, 2: 9}
    known = {  # number -> committed, low, high
        0: (2, 0, 5),  # ours counts, and is at the end
        1: (5, 9, 9),  # the broker dropped 5 to 8 since we read
        2: (9, 3, 12),  # 9 to 11 wait
        3: (7, 9, 9),  # its owner will count what it lost
        4: (None, 0, 4),  # nobody has read it
        5: (8, 0, 3),  # made anew, as its owner will find out
    }
    asked = []
    monkeypatch.setattr(module, "new_consumer", lambda *given: asked.append(given) or observer)
    monkeypatch.setattr(
        "vpp.stream.positions.lags",
        lambda observer, partitions: [
            kafka.Lag(topic, number, *known[number])
            for topic, numbers in partitions.items()
            for number in numbers
        ],
    )
    there = SimpleNamespace(partitions=dict.fromkeys(known))
    observer = SimpleNamespace(
        list_topics=lambda timeout: asked.append(timeout) or SimpleNamespace(topics={"a": there}),
        close=lambda: asked.append("closed"),
    )
    positions = Positions("group", lambda topic, number: None)
    positions.topics, positions.settings = ["a", "b"], {"bootstrap.servers": "here"}
    positions.offsets = {("a", number): offset for number, offset in ours.items()}
    assert positions.unread() == {
        ("a", 1): (5, 9),
        ("a", 2): (9, 12),
        ("a", 4): (0, 4),
        ("a", 5): (8, 3),
    }
    assert asked == [(positions.settings, "group"), kafka.REQUEST_S, "closed"]


def test_a_loss_is_counted_once_however_often_it_is_met():
    """A member that joins anew before its next commit meets it again."""
    told = []
    positions, place = Positions("group", lambda *given: told.append(given)), ("a", 1)
    assert positions._start(place, 3, 7, 9) == 7
    assert positions._start(place, 3, 7, 9) == 7  # the same
    assert positions._start(place, 3, 10, 12) == 10  # and three more
    assert positions._start(place, 8, 8, 12) == 8  # none
    assert positions._start(("a", 2), 0, 2, 2) == 2
    assert positions._start(place, 50, 0, 4) == 0  # made anew
    assert positions._start(place, 0, 1, 4) == 1
    assert told == [("a", 4), ("a", 3), ("a", 2), ("a", 1)]


def test_positions_move_on_to_an_end_behind_marks():
    """Not to the end of a partition that was given away, nor back."""
    positions = Positions("group", lambda topic, number: None)
    place, error = ("solar-topic", 1), KafkaError(KafkaError._PARTITION_EOF)
    positions.note(message(7, place=place), error)
    assert not positions.keep_ends() and positions.offsets == {}
    positions.offsets[place] = 5
    assert positions.keep_ends() and positions.offsets == {place: 7}
    assert not positions.keep_ends()
    positions.note(message(6, place=place), error)
    assert not positions.keep_ends() and positions.offsets == {place: 7}
    # A sink that is told to stop has read these and stores them no more.
    positions.take(0, {place: 9})
    positions.note(message(9, place=place), error)
    assert not positions.keep_ends() and positions.offsets == {place: 7}
    positions.keep(0, {place: 9})
    positions.note(message(10, place=place), error)
    assert positions.keep_ends() and positions.offsets == {place: 10}
    positions.leave()
    assert positions.reached == {} == positions.read_to
