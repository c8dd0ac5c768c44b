"""The stream: CSV files -> Kafka topics -> database, with every invalid message in a dead-letter topic.

    python communication.py                   produce every CSV of the data folder and store all of it
    python communication.py produce --topic solar-topic --speed 3600
    python communication.py consume           store what arrives, until Ctrl-C or SIGTERM
    python communication.py consume --until-drained
    python communication.py status            lag of each partition, rows stored, dead letters
    python communication.py dlq list          what could not be stored, and why
    python communication.py dlq replay        store those whose cause has been mended

The sources of `sources.csv` are registered first. Messages are JSON, keyed by source, which keeps each source in order. Any of it
may be killed and run again: the newest valid value of every key is stored once (sink.py), invalid messages are dead letters
(broker.py), and what a record must be is in records.py.
"""

import argparse
import csv
import operator
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, Producer

import db
import records
import terminal
from broker import (
    MOCK_CLUSTER,
    REQUEST_S,
    TOPICS,
    StreamError,
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    read_dead_letters,
    send,
    send_dead_letter,
    topic_names,
    wait_for_topics,
)
from config import Config, ConfigError
from sink import Count, Sink, run_sink
from sources import SOURCES_FILE, Source, read_sources
from writer import Writer

# librdkafka's own broker drops the oldest of more than 5 MiB a partition. We count messages uncompressed, which is the worst case,
# and leave room for the batch that is being sent.
ROOM_BYTES = 4 * 2**20
MESSAGE_OVERHEAD_BYTES = 30
CHECK_EVERY = 1_000  # messages between looks at delivery reports and for a signal to stop


# --- producer ----------------------------------------------------------------------------------------------------------------


def csv_path(config: Config, kind: str) -> Path:
    """The file of the data folder with the messages of a kind."""
    return config.paths.data_dir / f"{kind.replace('-', '_')}.csv"


def register_sources(config: Config) -> list[Source]:
    """Write the sources of `sources.csv` to the database; none where there is no such file."""
    path = config.paths.data_dir / SOURCES_FILE
    sources = read_sources(path) if path.exists() else []
    with db.session(config) as conn:
        db.upsert_sources(conn, sources)
    return sources


def read_messages(path: Path, kind: str) -> Iterator[tuple[str, str, bytes]]:
    """The messages of a CSV file: time as written, key and value.

    A cell that is no number is sent as it is, so that the sink dead-letters it with its reason.

    Raises
    ------
    StreamError : the file lacks a column, is not UTF-8 or has a cell of more than 128 KiB.
    """
    try:
        yield from _read_messages(path, kind)
    except UnicodeDecodeError:
        with path.open("rb") as file:
            line = next((number for number, text in enumerate(file, 1) if text != text.decode(errors="ignore").encode()), 1)
        raise StreamError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None


def _read_messages(path: Path, kind: str) -> Iterator[tuple[str, str, bytes]]:
    fields = records.RECORDS[kind].__struct_fields__
    texts = sum(name == "source_id" or name.endswith("time") for name in fields)  # they come first
    encode = msgspec.json.Encoder().encode
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(_rows(rows, path), [])
        if missing := [name for name in fields if name not in header]:
            raise StreamError(f"{path}: no column {', '.join(missing)}; expected {','.join(fields)}")
        pick = operator.itemgetter(*(header.index(name) for name in fields))
        record = msgspec.defstruct("Line", [(name, object) for name in fields], gc=False)
        for row in _rows(rows, path):
            if len(row) < len(header):
                if not row:
                    continue
                row += [""] * (len(header) - len(row))
            cells = pick(row)
            try:
                value = encode(record(*cells[:texts], *map(float, cells[texts:])))
            except ValueError:
                value = encode(record(*cells))
            yield cells[1], cells[0], value


def _rows(reader, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise StreamError(f"{path}, line {reader.line_num}: {error}; expected a CSV file") from None


def count_lines(config: Config, kinds: Sequence[str]) -> int:
    """Lines of the files of these kinds after their headers, for a progress bar."""
    total = 0
    for path in (csv_path(config, kind) for kind in kinds):
        if path.exists():
            with path.open("rb") as file:
                total += max(0, sum(block.count(b"\n") for block in iter(lambda file=file: file.read(1 << 20), b"")) - 1)
    return total


class Room:
    """Keeps what is unread in a topic of librdkafka's own broker below what that can hold; a real Kafka has room enough."""

    def __init__(self, config: Config, settings: dict[str, object], producer: Producer, topic: str):
        self.wait_s, self.producer, self.topic = config.database.wait_s, producer, topic
        self.largest = self.left = 0
        self.consumer = new_consumer(settings, config.kafka.group_id)

    def wait(self, size: int, stop: Callable[[], bool]) -> None:
        """Wait until there is room for a message of `size` [bytes], and set `left`.

        Raises
        ------
        StreamError : there is none, and nothing was read for `wait_s`.
        """
        self.largest = max(self.largest, size)
        least, since = None, time.monotonic()
        while not stop():
            unread = self.unread()
            self.left = ROOM_BYTES - (unread + len(self.producer)) * self.largest
            if self.left >= size or not unread:
                break
            if least is None or unread < least:
                least, since = unread, time.monotonic()
            if time.monotonic() - since > self.wait_s:
                raise StreamError(
                    f"topic {self.topic} is full: the embedded broker keeps 5 MiB a partition and {unread:,} messages wait to be stored; "
                    "run python communication.py consume beside, or python communication.py, which stores while it produces"
                )
            self.producer.poll(0.02)

    def unread(self) -> int:
        """Messages that the group has not stored, in the fullest partition."""
        return max(item.unread for item in lags(self.consumer, wait_for_topics(self.consumer, [self.topic], REQUEST_S)))


def produce(
    config: Config,
    kinds: Sequence[str],
    speed: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[float], None] = lambda amount: None,
) -> dict[str, int]:
    """Send the CSV files of these kinds to their topics; a kind without a file is left out.

    Parameters
    ----------
    speed : times real time, by the messages' times; None for as fast as possible.
    stop : asked now and then; True ends it early.
    advance : told how many more were sent.

    Returns
    -------
    Kind -> number of messages, all acknowledged by the broker.

    Raises
    ------
    StreamError : there is no file, the broker is away, or messages were not delivered; says how many.
    """
    kinds = [kind for kind in kinds if csv_path(config, kind).exists()]
    if not kinds:
        raise StreamError(f"no CSV files in {terminal.shown(config.paths.data_dir)}; run python generation.py or python sources.py import")
    settings, topics, wait_s = kafka_settings(config), topic_names(config), config.database.wait_s
    failures, sent, rooms = Counter(), Counter(dict.fromkeys(kinds, 0)), {}
    producer = new_producer(settings, wait_s, failures)
    wait_for_topics(producer, [topics[kind] for kind in kinds], wait_s)
    number = 0
    try:
        with ExitStack() as stack:
            if (producer.list_topics(timeout=REQUEST_S).cluster_id or "").startswith(MOCK_CLUSTER):
                rooms = {kind: Room(config, settings, producer, topics[kind]) for kind in kinds}
                for room in rooms.values():
                    stack.callback(room.consumer.close)
            for kind, key, value in _messages(config, kinds, speed, stop):
                if rooms:
                    room, size = rooms[kind], len(key) + len(value) + MESSAGE_OVERHEAD_BYTES
                    if room.left < size or room.largest < size:
                        room.wait(size, stop)
                    room.left -= size
                send(producer, topics[kind], value, key)
                sent[kind] += 1
                number += 1
                if number % CHECK_EVERY == 0 or speed:
                    producer.poll(0)
                    advance(1 if speed else CHECK_EVERY)
                    if failures or stop():
                        break
    except KafkaException as error:
        raise StreamError(f"Kafka: {error.args[0].str()}; {number} messages sent; produce again") from None
    finally:
        left = producer.flush(wait_s + 1)
    if failures or left:
        causes = ", ".join(f"{count} × {cause}" for cause, count in failures.items()) or "no answer"
        raise StreamError(f"Kafka did not acknowledge {failures.total() + left} of {number} messages ({causes}); produce again")
    return dict(sent)


def _messages(config: Config, kinds: Sequence[str], speed: float | None, stop: Callable[[], bool]) -> Iterator[tuple[str, str, bytes]]:
    """Kind, key and value of all messages: file by file, or at `speed` in the order of their times, each when it is due."""
    if not speed:
        for kind in kinds:
            for _, key, value in read_messages(csv_path(config, kind), kind):
                yield kind, key, value
        return
    timed = []
    for kind in kinds:
        for text, key, value in read_messages(csv_path(config, kind), kind):
            try:
                timed.append((datetime.fromisoformat(text).timestamp(), kind, key, value))
            except ValueError:  # the sink says what is wrong with it
                timed.append((timed[-1][0] if timed else 0.0, kind, key, value))
    timed.sort(key=lambda item: item[0])
    began = time.monotonic()
    for at, kind, key, value in timed:
        due = began + (at - timed[0][0]) / speed
        while (wait := due - time.monotonic()) > 0 and not stop():
            time.sleep(min(wait, 0.2))
        yield kind, key, value


# --- both, and reports -------------------------------------------------------------------------------------------------------


def stream(config: Config) -> list[dict]:
    """Register the sources, produce every CSV of the data folder, and store all of it.

    Returns
    -------
    A row for each topic with messages: topic, produced, stored (inserted or replaced), unchanged (as stored or older), dead_lettered,
    lost (dropped by the broker before they were read), rows_per_s, in_database (rows of its table).
    """
    register_sources(config)
    began, produced = time.monotonic(), {}
    with terminal.progress("storing", count_lines(config, list(TOPICS))) as advance:
        sink = Sink(config, until_drained=True, advance=advance)
        run_sink(sink, lambda: produced.update(produce(config, list(TOPICS), stop=sink.stop.is_set)))
    seconds = time.monotonic() - began
    return summary(config, sink.counts, produced, seconds)


def consume(config: Config, until_drained: bool) -> list[dict]:
    """Store what arrives until SIGINT or SIGTERM, or until all of it is stored; rows as of `stream`."""
    sink = Sink(config, until_drained=until_drained)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sink.stop.set())
    began = time.monotonic()
    run_sink(sink)
    if not until_drained:
        return count_rows(config, sink.counts, {}, time.monotonic() - began)
    return summary(config, sink.counts, {}, time.monotonic() - began)


def count_rows(config: Config, counts: dict[str, Count], produced: dict[str, int], seconds: float) -> list[dict]:
    """What became of the messages of each topic that had some."""
    rows = []
    for kind, topic in topic_names(config).items():
        count = counts.get(kind, Count())
        done = count.stored + count.unchanged + count.dead_lettered
        if done or count.lost or produced.get(kind):
            row = {"topic": topic, "produced": produced.get(kind), "stored": count.stored, "unchanged": count.unchanged}
            rows.append(row | {"dead_lettered": count.dead_lettered, "lost": count.lost, "rows_per_s": done / seconds})
    return rows


def summary(config: Config, counts: dict[str, Count], produced: dict[str, int], seconds: float) -> list[dict]:
    """The rows of `count_rows` beside the rows that the database holds now."""
    kinds = {topic: kind for kind, topic in topic_names(config).items()}
    with db.session(config) as conn:
        stored = db.count_measurements(conn)
    return [row | {"in_database": stored[kinds[row["topic"]]]} for row in count_rows(config, counts, produced, seconds)]


def status(config: Config) -> list[dict]:
    """One row a partition: what the broker has and the group has not stored; with the topic's rows and dead letters on its first.

    Each topic's lag and dead letters are also written to the table stream_status, for Grafana.
    """
    settings, topics = kafka_settings(config), topic_names(config)
    consumer = new_consumer(settings, config.kafka.group_id)
    try:
        known = consumer.list_topics(timeout=REQUEST_S).topics
        found = lags(consumer, {topic: sorted(known[topic].partitions) for topic in topics.values() if topic in known})
    except KafkaException as error:
        raise StreamError(f"Kafka: {error.args[0].str()}; start the broker (make up, or bootstrap_servers = embedded)") from None
    finally:
        consumer.close()
    letters = Counter(letter.topic for letter in read_dead_letters(config, settings))
    with db.session(config) as conn:
        stored = db.count_measurements(conn)
        waiting = {topic: [item.unread for item in found if item.topic == topic] for topic in topics.values()}
        db.save_stream_status(conn, {topic: (sum(unread) if unread else None, letters[topic]) for topic, unread in waiting.items()})
    rows = []
    for kind, topic in topics.items():
        of_topic = [item for item in found if item.topic == topic]
        for item in of_topic or [None]:
            first = not of_topic or item is of_topic[0]
            row = {"topic": topic, "partition": item and item.partition, "end": item and item.high, "committed": item and item.committed}
            row |= {"lag": item and item.unread, "rows_stored": stored[kind] if first else None}
            rows.append(row | {"dead_letters": letters[topic] if first else None})
    return rows


def list_dead_letters(config: Config) -> list[dict]:
    """One row a dead letter: where it came from, why it was not stored, how it begins."""
    return [
        {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "sent_at": datetime.fromtimestamp(letter.sent_ms / 1000, UTC),
            "error": letter.error,
            "key": letter.key and letter.key.decode("utf-8", "replace"),
            "value": letter.value and letter.value[:60].decode("utf-8", "replace"),
            "bytes": letter.truncated or len(letter.value or b""),
        }
        for letter in read_dead_letters(config, kafka_settings(config))
    ]


def replay_dead_letters(config: Config) -> list[dict]:
    """Store the dead letters whose cause has been mended, at the time they were sent: what came later is not overwritten.

    Returns
    -------
    A row for each topic: topic, stored, unchanged (overtaken by a newer message), still_invalid.
    """
    settings, topics = kafka_settings(config), topic_names(config)
    register_sources(config)
    letters = read_dead_letters(config, settings)
    failures, rows = Counter(), []
    producer = new_producer(settings, config.database.wait_s, failures)
    with db.session(config) as conn:
        writer = Writer(config, conn)
        for kind, topic in topics.items():
            mine = [letter for letter in letters if letter.topic == topic]
            whole = [letter for letter in mine if letter.truncated is None]
            if not mine:
                continue
            decoded = records.decode(kind, [letter.value for letter in whole], [letter.sent_ms for letter in whole])
            outcome = writer.write({kind: decoded})[kind]
            refused = {place for place, _ in outcome.refused}
            for place, letter in enumerate(whole):
                if place not in refused:
                    send_dead_letter(producer, letter, resolved=True)
            good = len(whole) - len(refused)
            rows.append({"topic": topic, "stored": outcome.stored, "unchanged": good - outcome.stored, "still_invalid": len(mine) - good})
    left = producer.flush(config.database.wait_s + 1) + failures.total()
    if left:
        raise StreamError(f"the dead letters are stored, but {left} could not be marked so in Kafka; run dlq replay again")
    return rows


# --- command -----------------------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    send_files = commands.add_parser("produce", help="send CSV files to their topics")
    send_files.add_argument(
        "--topic", action="append", choices=list(TOPICS.values()), metavar="TOPIC", help="only this one; may be repeated"
    )
    send_files.add_argument("--speed", type=float, metavar="X", help="X times real time (default: as fast as possible)")
    store = commands.add_parser("consume", help="store what arrives, until Ctrl-C or SIGTERM")
    store.add_argument("--until-drained", action="store_true", help="end when everything is stored")
    commands.add_parser("status", help="lag of each partition, rows stored, dead letters")
    dead = commands.add_parser("dlq", help="dead letters: what could not be stored")
    dead.add_argument("action", choices=("list", "replay"), help="list them, or store those whose cause has been mended")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    if args.command == "produce":
        if args.speed is not None and not args.speed > 0:
            raise ConfigError(f"--speed {args.speed:g}: expected more than 0")
        register_sources(config)
        kinds = [kind for kind, topic in TOPICS.items() if not args.topic or topic in args.topic]
        with terminal.progress("producing", count_lines(config, kinds)) as advance:
            sent = produce(config, kinds, args.speed, advance=advance)
        rows = [{"topic": topic_names(config)[kind], "produced": count} for kind, count in sent.items()]
    elif args.command == "consume":
        rows = consume(config, args.until_drained)
    elif args.command == "status":
        rows = status(config)
    elif args.command == "dlq":
        rows = list_dead_letters(config) if args.action == "list" else replay_dead_letters(config)
    else:
        rows = stream(config)
    terminal.print_rows(rows, as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
