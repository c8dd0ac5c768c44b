"""Every request passes it: token, limits of size, time and number, security headers.

It stands around the application. Whatever goes wrong inside it becomes one line of an answer and of
the log.

python -c "from vpp.serve.guard import Guard; print(Guard.__doc__)"
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from vpp.runtime.words import in_words
from vpp.serve.answers import refused
from vpp.serve.token import cookie_of, is_same

log = logging.getLogger("serve")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX = 8_000_000
# of a body that is refused so much is read and forgotten, so that its sender reads the answer
DRAINED_BYTES_MAX = 64_000_000
BODY_S = 30.0  # a body comes within this time
BODIES_BYTES_MAX = 256_000_000  # all bodies in memory
REQUESTS_MAX = 2000  # at the same time
OPEN_PATHS = {"/health", "/", "/login", "/openapi.json"}
ASSETS = "/assets/"  # of the page; they hold no data
READS = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
BUSY = "too many requests at once; try again in a moment"
NO_TOKEN = "the token is missing or wrong; python serve.py --show-token shows it"


class BodyError(Exception):
    """A body that is refused.

    Parameters
    ----------
    status : of HTTP.
    why : what is wrong.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Guard:
    """Lets requests through to an application.

    Parameters
    ----------
    application : takes the requests.
    token : that opens it.
    """

    def __init__(self, application: Application, token: str) -> None:
        self.application, self.token = application, token
        self.requests = self.bytes_held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request.

        Parameters
        ----------
        scope, receive, send : as ASGI has them.
        """
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.application(scope, receive, send)
            return
        self.requests += 1
        held = [0]
        answered = [False]
        try:
            await self._answer(scope, receive, _with_headers(send, answered), held)
        except (ClientDisconnect, ConnectionError):
            pass  # nobody waits for the answer
        except Exception as error:
            if not answered[0]:  # else the application has said it
                log.warning("%s %s failed: %s", scope["method"], scope["path"], in_words(error))
                wrong = refused(503, f"this did not work: {in_words(error)}")
                await wrong(scope, receive, _with_headers(send, answered))
        finally:
            self.requests -= 1
            self.bytes_held -= held[0]

    async def _answer(self, scope: Message, receive: Receive, send: Send, held: list[int]) -> None:
        headers = Headers(scope=scope)
        try:
            if self.requests > REQUESTS_MAX:
                raise BodyError(503, BUSY)
            wrong = self._refusal(scope, headers)
            body = await self._read_body(receive, headers, held, keep=wrong is None)
            if wrong is None:
                await self.application(scope, _replayed(body, receive), send)
                return
        except BodyError as error:
            wrong = refused(error.status, error.why)
        await wrong(scope, receive, send)

    def _refusal(self, scope: Message, headers: Headers) -> Response | None:
        """The answer to a request that may not pass."""
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(ASSETS):
            return None
        if has_token(headers, self.token):
            return None
        if "authorization" in headers or not has_cookie(headers, self.token):
            return refused(401, NO_TOKEN, {"WWW-Authenticate": "Bearer"})
        if scope["method"] not in READS and not is_same_origin(headers):
            return refused(403, "a page of another origin may not write")
        return None

    async def _read_body(
        self, receive: Receive, headers: Headers, held: list[int], keep: bool
    ) -> bytes:
        """The whole body of a request, or nothing of one that is only read to its end."""
        announced = headers.get("content-length", "0")
        too_large = announced.isdecimal() and int(announced) > BODY_BYTES_MAX
        if keep and "content-length" not in headers and "transfer-encoding" not in headers:
            return b""
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    part = message.get("body", b"")
                    size += len(part)
                    too_large |= size > BODY_BYTES_MAX
                    if keep and not too_large:
                        if self.bytes_held + len(part) > BODIES_BYTES_MAX:
                            raise BodyError(503, BUSY)
                        parts.append(part)
                        held[0] += len(part)
                        self.bytes_held += len(part)
                    if not message.get("more_body") or size > DRAINED_BYTES_MAX:
                        break
        except TimeoutError:
            raise BodyError(408, f"the body did not come within {BODY_S:g} s") from None
        if too_large and keep:
            raise BodyError(413, f"the body is larger than {BODY_BYTES_MAX:,} bytes")
        return b"".join(parts)


def _with_headers(send: Send, answered: list[bool]) -> Send:
    """The sender of a response with the security headers."""

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered[0] = True
            own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            names = {name for name, _ in own}
            given = [pair for pair in message.get("headers", ()) if pair[0] not in names]
            message = {**message, "headers": [*given, *own]}
        await send(message)

    return send_with


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A receiver of a body that was read already."""
    given = False

    async def receive_body() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def has_token(headers: Headers, token: str) -> bool:
    """Tell whether a request has the token.

    Parameters
    ----------
    headers : of the request.
    token : of the server.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and is_same(given.strip(), token)


def has_cookie(headers: Headers, token: str) -> bool:
    """Tell whether a request has the cookie that a browser gets for the token.

    Parameters
    ----------
    headers : of the request.
    token : of the server.
    """
    name, value = cookie_of(token)
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return False
    return found is not None and is_same(found.value, value)


def is_same_origin(headers: Headers) -> bool:
    """Tell whether a request comes from a page of this server, as the browser says."""
    origin, host = headers.get("origin"), headers.get("host")
    return bool(host) and origin in (f"http://{host}", f"https://{host}")
