"""When a batch is full enough: what the sink waits for, and for how long."""

import gc
import threading
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import Message

from vpp.runtime.config import load_config
from vpp.runtime.settings import Kafka
from vpp.stream.batch import LULL_S, POLL_ROWS, SOON_S, Work, collect
from vpp.stream.sink import Sink, run_sink

BATCH_S, ROWS = 60.0, 5  # so long that no test waits for it


def messages(number):
    return [Message(topic="load-topic", partition=0, offset=n, value=b"1") for n in range(number)]


class Client:
    """A consumer whose answers are given; an answer may be a call. `asked` has (rows, seconds)."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def consume(self, rows, timeout):
        self.asked.append((rows, timeout))
        answer = self.answers.pop(0)
        return answer if isinstance(answer, list) else answer() or []


def positions_of(client):
    return SimpleNamespace(
        generation=1, broker_error=None, has_failed=False, notices=[], member=client
    )


def collected(client, earlier=None, batch_rows=ROWS, batch_s=BATCH_S):
    positions = positions_of(client)
    kafka = Kafka(batch_rows=batch_rows, batch_s=batch_s)
    return collect(positions, kafka, threading.Event(), earlier)


@pytest.fixture
def work():
    """A batch in the hands of a database that works until told; told at the end of the test."""
    done = threading.Event()
    work = Work(None, done.wait)

    def finish():
        done.set()
        work.join()

    work.finish = finish
    yield work
    finish()


def test_the_first_message_is_waited_for_and_the_first_lull_ends_the_batch():
    client = Client([], [], messages(2), messages(1), [])
    assert len(collected(client)) == 3
    # in short waits, since the client keeps what came until its wait is over
    assert client.asked == [(rows, LULL_S) for rows in (ROWS, ROWS, ROWS, ROWS - 2, ROWS - 3)]


@pytest.mark.parametrize("after", [0, 2])
def test_what_was_read_before_partitions_were_shared_out_anew_is_left_to_their_owners(after):
    """Also where they are taken away in the lull that ends a batch."""

    def taken_away():
        positions.generation += 1
        return messages(after)

    client = Client(messages(2), taken_away, [], [])
    positions = positions_of(client)
    kafka = Kafka(batch_rows=ROWS, batch_s=BATCH_S)
    assert len(collect(positions, kafka, threading.Event(), None)) == after


def test_no_message_is_waited_for_longer_than_a_batch_may_take():
    waits = []

    class Silent:
        def consume(self, rows, timeout):
            waits.append(timeout)
            time.sleep(timeout)
            return []

    assert collected(Silent(), batch_s=2.5 * LULL_S) == []
    assert sum(waits) <= 2.5 * LULL_S and max(waits) <= LULL_S


def test_no_lull_ends_a_batch_while_the_database_works_on_the_one_before(work):
    client = Client([], messages(2), [], work.finish, messages(1), [])
    assert len(collected(client, work)) == 3
    # a lull that had begun before the work was done does not count
    assert not client.answers and {wait_s for _, wait_s in client.asked} == {SOON_S}


def test_a_stored_batch_waits_for_no_more_than_is_there(work):
    work.finish()
    client = Client([], messages(1))
    assert collected(client, work) == [] and client.asked == [(ROWS, SOON_S)]


def test_a_batch_ends_when_it_is_full_whatever_the_database_does(work):
    client = Client(messages(POLL_ROWS), messages(7))
    assert len(collected(client, work, batch_rows=POLL_ROWS + 7)) == POLL_ROWS + 7
    assert [rows for rows, _ in client.asked] == [POLL_ROWS, 7]


def test_a_sink_spares_the_collector_what_was_there_before_it_and_only_while_it_runs(
    tmp_path, monkeypatch
):
    path = tmp_path / "config.ini"
    path.write_text("")
    member, frozen = Sink(load_config(path, {})), []
    monkeypatch.setattr(member, "run", member.produced.wait)
    before = gc.get_freeze_count()
    run_sink(member, lambda: frozen.append(gc.get_freeze_count()))
    assert frozen[0] > before + 10_000 and gc.get_freeze_count() == 0

    other = Sink(load_config(path, {}))
    monkeypatch.setattr(other, "run", other.stop.wait)
    with pytest.raises(ZeroDivisionError):
        run_sink(other, lambda: 1 / 0)
    assert gc.get_freeze_count() == 0
