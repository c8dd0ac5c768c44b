"""Runs the application on a port until a signal: slow clients are cut off, all streams end.

python serve.py
"""

import asyncio
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Serve

CONNECTIONS_MAX = 2500
HEAD_S = 15.0  # a request's head comes within this time
UNREAD_MS = 30_000  # a client that takes nothing of its answer for so long is cut off
STOP_S = 5
FILES = 8192  # that may be open: each connection is one


class Patient(H11Protocol):
    """HTTP/1.1 that does not wait for ever, and does not take any number of connections."""

    def connection_made(self, transport: Any) -> None:
        """Begin a connection.

        Parameters
        ----------
        transport : of the connection.
        """
        super().connection_made(transport)
        self.patience: asyncio.TimerHandle | None = None
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        with suppress(OSError, AttributeError):
            own = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self.patience = self.loop.call_later(HEAD_S, self._look, None)

    def _look(self, seen: object) -> None:
        """Cut a connection off on which no request has begun or ended since the last look."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and (seen is self.cycle):
            self.transport.abort()
            return
        self.patience = self.loop.call_later(HEAD_S, self._look, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection.

        Parameters
        ----------
        exc : why.
        """
        if self.patience is not None:
            self.patience.cancel()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """A server that ends well on SIGINT and SIGTERM.

    Parameters
    ----------
    config : of uvicorn.
    on_stop : is called when it is to end.
    """

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_stop = on_stop

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes.

        Parameters
        ----------
        sockets : to listen on.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        await self._serve(sockets)

    def stop(self) -> None:
        """End; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self.on_stop()


def listen(serve: Serve) -> socket.socket:
    """The socket that the server listens on.

    Parameters
    ----------
    serve : host and port.

    Raises
    ------
    ConfigError : it cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            serve.host, serve.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"[serve] port = {serve.port} of {serve.host} cannot be had: "
            f"{getattr(error, 'strerror', None) or error}; choose another host or port"
        ) from None
    return found


def run(application: Any, own: socket.socket, on_stop: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    application : as ASGI has them.
    own : the socket to listen on.
    on_stop : is called when the server is to end.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    settings = uvicorn.Config(
        application,
        http=Patient,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_graceful_shutdown=STOP_S,
    )
    Server(settings, on_stop).run(sockets=[own])
