"""The plant in a browser and over HTTP: how it is now, its plan, forecasts, history and health.

Reads the database; writes measured states and orders that people or devices send. Solves problem
files in processes of their own. Listens on this machine only, unless [serve] host says otherwise,
and wants the token that is made at the first start.

    python serve.py                 serve until Ctrl-C or SIGTERM; prints the link of the page
    python serve.py --show-token    the token, for Authorization: Bearer

Powers are means over an interval [kW], SOC is a fraction at its end, times are UTC.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from vpp.runtime import terminal
from vpp.runtime.settings import Config
from vpp.serve.token import read_token
from vpp.storage.connection import connect

log = logging.getLogger("serve")
LOOPBACK = ("127.", "::1", "localhost")


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--show-token", action="store_true", help="print the token, and end")
    return parser


def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    config : the configuration.

    Raises
    ------
    ConfigError : the port cannot be had, or the token not be read.
    DatabaseError : the database does not answer at the start.
    """
    from vpp.serve.application import application
    from vpp.serve.server import listen, run

    token = read_token(config)
    with listen(config.serve) as own:
        connect(config).close()  # starts the embedded server, and makes the schema
        app, plant = application(config, token)
        port = own.getsockname()[1]
        host = f"[{config.serve.host}]" if ":" in config.serve.host else config.serve.host
        # a log keeps what is printed: the token is for a person's terminal only
        secret = f"?token={token}" if sys.stdout.isatty() else ""
        print(f"http://{host}:{port}/{secret}", flush=True)
        if not config.serve.host.startswith(LOOPBACK):
            log.warning("[serve] host = %s: what passes is not encrypted", config.serve.host)
        run(app, own, plant.events.close)


def run(args: argparse.Namespace, config: Config) -> None:
    if args.show_token:
        print(read_token(config))
    else:
        serve(config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
