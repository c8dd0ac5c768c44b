"""The stream: CSV files -> Kafka topics -> database, every invalid message to a dead-letter topic.

    python communication.py                   produce every CSV of the data folder, and store all
    python communication.py produce --topic solar-topic --speed 3600
    python communication.py consume           store what arrives, until Ctrl-C or SIGTERM
    python communication.py consume --until-drained
    python communication.py status            lag of each partition, rows stored, dead letters
    python communication.py dlq list          messages that could not be stored, and why
    python communication.py dlq replay        store those whose cause has been mended

The sources of `sources.csv` are registered first. Messages are JSON, keyed by source, which keeps
each source in order. Any of it may be killed and run again: the newest valid value of every key is
stored once (vpp/stream/sink.py), and invalid messages are dead letters (dead_letters.py beside it).
records.py says when a record is valid.
"""

import argparse
import signal
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.site.kinds import KINDS
from vpp.site.sources import SOURCES_FILE, Source, read_sources
from vpp.storage.connection import session
from vpp.storage.measurements import count_measurements, upsert_sources
from vpp.stream import records
from vpp.stream.dead_letters import read_dead_letters, send_dead_letter
from vpp.stream.files import count_lines
from vpp.stream.kafka import StreamError, kafka_settings, new_producer, topic_names
from vpp.stream.producer import produce, produce_aside
from vpp.stream.sink import Count, Sink, run_sink
from vpp.stream.status import outcome_rows, status
from vpp.stream.writer import Writer

__all__ = [
    "consume",
    "list_dead_letters",
    "register_sources",
    "replay_dead_letters",
    "status",
    "stream",
]


def register_sources(config: Config) -> list[Source]:
    """Write the sources of `sources.csv` to the database; none where there is no such file."""
    path = config.paths.data_dir / SOURCES_FILE
    sources = read_sources(path) if path.exists() else []
    with session(config) as conn:
        upsert_sources(conn, sources)
    return sources


def stream(config: Config) -> list[dict]:
    """Register the sources, produce every CSV of the data folder, and store all of it.

    Returns
    -------
    A row for each topic with messages: topic, produced, stored (inserted or replaced), unchanged
    (as stored or older), dead_lettered, lost (dropped by the broker before they were read),
    rows_per_s, in_database (rows of its table).

    Raises
    ------
    StreamError, DatabaseError : there is no file, or a server is away.
    """
    register_sources(config)
    kinds, produced = list(KINDS), {}
    began = time.monotonic()
    with terminal.progress("storing", count_lines(config, kinds)) as advance:
        sink = Sink(config, until_drained=True, advance=advance)
        run_sink(sink, lambda: produced.update(produce_aside(config, kinds, sink.stop.is_set)))
    return summary(config, sink.counts, produced, time.monotonic() - began)


def consume(config: Config, until_drained: bool) -> list[dict]:
    """Store the messages that arrive, until SIGINT or SIGTERM.

    Parameters
    ----------
    config : names the servers.
    until_drained : end when everything is stored.

    Returns
    -------
    Rows as of `stream`; a service does not look for those in the database.
    """
    sink = Sink(config, until_drained=until_drained)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sink.stop.set())
    began = time.monotonic()
    run_sink(sink)
    rows_of = summary if until_drained else outcome_rows
    return rows_of(config, sink.counts, {}, time.monotonic() - began)


def summary(
    config: Config, counts: dict[str, Count], produced: dict[str, int], seconds: float
) -> list[dict]:
    """The rows of `outcome_rows` beside the rows that the database holds now.

    Parameters
    ----------
    config, counts, produced, seconds : as of `outcome_rows`.
    """
    kinds = {topic: kind for kind, topic in topic_names(config).items()}
    with session(config) as conn:
        stored = count_measurements(conn)
    return [
        row | {"in_database": stored[kinds[row["topic"]]]}
        for row in outcome_rows(config, counts, produced, seconds)
    ]


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
            "sent_at": datetime.fromtimestamp(letter.sent_ms / 1000, UTC),
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
            outcome = writer.write({kind: records.decode(kind, values, sent_ms)})[kind]
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


def build_parser() -> argparse.ArgumentParser:
    """The command line of this script."""
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    send_files = commands.add_parser("produce", help="send CSV files to their topics")
    send_files.add_argument(
        "--topic",
        action="append",
        choices=[kind.topic for kind in KINDS.values()],
        metavar="TOPIC",
        help="only this one; may be repeated",
    )
    send_files.add_argument(
        "--speed", type=float, metavar="X", help="X times real time (default: as fast as possible)"
    )
    store = commands.add_parser("consume", help="store what arrives, until Ctrl-C or SIGTERM")
    store.add_argument("--until-drained", action="store_true", help="end when everything is stored")
    commands.add_parser("status", help="lag of each partition, rows stored, dead letters")
    dead = commands.add_parser("dlq", help="dead letters: messages that could not be stored")
    dead.add_argument(
        "action",
        choices=("list", "replay"),
        help="list them, or store those whose cause has been mended",
    )
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    """Do what the command says, and print its rows."""
    if args.command == "produce":
        if args.speed is not None and not args.speed > 0:
            raise ConfigError(f"--speed {args.speed:g}: expected more than 0")
        register_sources(config)
        kinds = [kind.name for kind in KINDS.values() if not args.topic or kind.topic in args.topic]
        with terminal.progress("producing", count_lines(config, kinds)) as advance:
            sent = produce(config, kinds, args.speed, advance=advance)
        rows = [
            {"topic": topic_names(config)[kind], "produced": count} for kind, count in sent.items()
        ]
    elif args.command == "consume":
        rows = consume(config, args.until_drained)
    elif args.command == "status":
        rows = status(config)
    elif args.command == "dlq":
        rows = list_dead_letters(config) if args.action == "list" else replay_dead_letters(config)
    else:
        rows = stream(config)
    print_rows(rows, as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
