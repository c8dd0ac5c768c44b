"""The stream: CSV files -> Kafka topics -> database, every invalid message to a dead-letter topic.

    python communication.py                   produce the CSV files of the data folder, store all
    python communication.py --all             also the lines that were sent and stored before
    python communication.py produce --topic solar-topic --speed 3600
    python communication.py consume           store what arrives, until Ctrl-C or SIGTERM
    python communication.py consume --until-drained
    python communication.py status            lag of each topic, rows stored, dead letters
    python communication.py status --health   exit code 1 if the sink does not do its work
    python communication.py dlq list          messages that could not be stored, and why
    python communication.py dlq replay        store those whose cause has been mended
    python communication.py mqtt              set-points to devices, their words and readings
    python communication.py modbus            readings of devices that speak Modbus

The sources of `sources.csv` are registered first. Messages are JSON, keyed by source, which keeps
each source in order. Any of it may be killed and run again: the newest valid value of every key is
stored once (vpp/stream/sink.py), and invalid messages are dead letters (dead_letters.py beside it).
records.py says when a record is valid.
"""

import argparse
import signal
import threading
import time
from collections.abc import Sequence

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.site.kinds import KINDS
from vpp.storage.connection import session
from vpp.storage.counts import count_measurements, print_counts
from vpp.stream.data_set import refuse_another, register_sources
from vpp.stream.files import count_lines
from vpp.stream.health import health
from vpp.stream.kafka import topic_names
from vpp.stream.metrics import served
from vpp.stream.producer import produce, produce_aside
from vpp.stream.replay import list_dead_letters, replay_dead_letters
from vpp.stream.sent import Ledger
from vpp.stream.sink import Count, Sink, run_sink
from vpp.stream.status import outcome_rows, status

ALL = "also the lines of files that were sent before"
FEW_LINES = 1_000  # are sent before a process of its own has begun
__all__ = [
    "consume",
    "list_dead_letters",
    "register_sources",
    "replay_dead_letters",
    "status",
    "stream",
]


def stream(config: Config, everything: bool = False) -> list[dict]:
    """Register the sources, produce the CSV files of the data folder, and store all of it.

    Parameters
    ----------
    config : names data folder and servers.
    everything : also the lines that were sent and stored before.

    Returns
    -------
    A row for each topic with messages: topic, produced, stored (inserted or replaced), unchanged
    (as stored or older), dead_lettered, lost (dropped by the broker before they were read),
    rows_per_s, in_database (rows of its table).

    Raises
    ------
    StreamError, DatabaseError : there is no file, or a server is away.
    DataSetError : the database holds another data set.
    """
    kinds, began = list(KINDS), time.monotonic()
    ledger = _prepare(config, kinds, everything)
    starts, produced = ledger.starts, dict.fromkeys(ledger.kinds, 0)
    lines = count_lines(config, kinds, starts)

    def send() -> None:
        stop = sink.stop.is_set
        if lines <= FEW_LINES:
            produced.update(produce(config, kinds, stop=stop, starts=starts))
        else:
            produced.update(produce_aside(config, kinds, stop, starts))

    with terminal.progress("storing", lines) as advance:
        sink = Sink(config, until_drained=True, advance=advance)
        run_sink(sink, send)
    rows = summary(config, sink.counts, produced, time.monotonic() - began)
    stored = {row["topic"]: row["in_database"] for row in rows}
    whole = [kind for kind in produced if sink.counts[kind].is_whole]
    ledger.save(whole, {kind: stored[sink.topics[kind]] for kind in whole})
    return rows


def _prepare(config: Config, kinds: Sequence[str], everything: bool, force: bool = False) -> Ledger:
    """What is to be sent, once it is known to belong there; its sources are registered."""
    ledger = Ledger(config, kinds, everything)
    if not force:
        fresh = [kind for kind in ledger.kinds if kind not in ledger.starts]
        refuse_another(config, fresh, known=len(ledger.starts))
    register_sources(config)
    return ledger


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
    with served(sink):
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


def build_parser() -> argparse.ArgumentParser:
    """The command line of this script."""
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help=ALL)
    parser.read_by["--all"] = ()  # produce has its own
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
    send_files.add_argument("--all", action="store_true", help=ALL)
    about = "even where the database holds another data set"
    send_files.add_argument("--force", action="store_true", help=about)
    store = commands.add_parser("consume", help="store what arrives, until Ctrl-C or SIGTERM")
    store.add_argument("--until-drained", action="store_true", help="end when everything is stored")
    look = commands.add_parser("status", help="lag of each topic, rows stored, dead letters")
    only = look.add_mutually_exclusive_group()
    only.add_argument("--partitions", action="store_true", help="a row for each partition")
    only.add_argument(
        "--health", action="store_true", help="only tell whether the sink does its work"
    )
    dead = commands.add_parser("dlq", help="dead letters: messages that could not be stored")
    dead.add_argument(
        "action",
        choices=("list", "replay"),
        help="list them, or store those whose cause has been mended",
    )
    about = "serve MQTT: set-points go out, states, orders and readings come in, until SIGTERM"
    commands.add_parser("mqtt", help=about)
    about = "take the readings of [modbus:NAME], until Ctrl-C or SIGTERM"
    commands.add_parser("modbus", help=about)
    return parser


def serve_devices(config: Config, word: str) -> None:
    """Serve MQTT or read Modbus until SIGINT or SIGTERM.

    Parameters
    ----------
    config : names the broker, or the devices.
    word : mqtt or modbus.

    Raises
    ------
    ConfigError : there is nothing to serve, or a reading names what there is not.
    """
    from vpp.devices.bridge import Bridge
    from vpp.devices.collecting import collecting

    stop = threading.Event()
    if word == "modbus" and not config.modbus_readings:
        raise ConfigError(f"{config.path}: there is no reading; add a section [modbus:NAME]")
    run_service = Bridge(config, stop).run if word == "mqtt" else stop.wait
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with collecting(config, [word]):
        run_service()


def run(args: argparse.Namespace, config: Config) -> None:
    """Do what the command says, and print its rows."""
    if args.command in ("mqtt", "modbus"):
        serve_devices(config, args.command)
        return
    if args.command == "produce":
        if args.speed is not None and not args.speed > 0:
            raise ConfigError(f"--speed {args.speed:g}: expected more than 0")
        kinds = [kind.name for kind in KINDS.values() if not args.topic or kind.topic in args.topic]
        ledger = _prepare(config, kinds, args.all or bool(args.speed), args.force)
        starts = ledger.starts
        with terminal.progress("producing", count_lines(config, kinds, starts)) as advance:
            sent = produce(config, kinds, args.speed, advance=advance, starts=starts)
        ledger.save(sent)
        rows = [
            {"topic": topic_names(config)[kind], "produced": count} for kind, count in sent.items()
        ]
    elif args.command == "consume":
        rows = consume(config, args.until_drained)
    elif args.command == "status":
        rows = [health(config)] if args.health else status(config, args.partitions)
    elif args.command == "dlq":
        rows = list_dead_letters(config) if args.action == "list" else replay_dead_letters(config)
    else:
        rows = stream(config, args.all)
    print_counts(rows, "rows_stored", as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
