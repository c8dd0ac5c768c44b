"""The application: routes, errors in one line, and what runs beside them.

python -c "from vpp.serve.application import application; help(application)"
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError

from vpp.runtime.errors import FieldError, VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.serve import api, page
from vpp.serve.answers import NotFoundError, refused
from vpp.serve.api import DATABASE_THREADS, Plant
from vpp.serve.database import Database
from vpp.serve.forecasts import UnknownSourceError
from vpp.serve.guard import OPEN_PATHS, Guard
from vpp.serve.solves import Solves
from vpp.site.battery_messages import MessageError
from vpp.storage.errors import DatabaseError

log = logging.getLogger("serve")
ABOUT = """Reads of a virtual power plant, solves of problem files, states and orders of batteries.

Every route but /health needs `Authorization: Bearer TOKEN`; `python serve.py --show-token` shows
the token. Rows have the names and units of the tables, times are ISO-8601 in UTC. Errors are
`{"detail": one line}`."""


def application(config: Config, token: str) -> tuple[Guard, Plant]:
    """The server's application.

    Parameters
    ----------
    config : the configuration.
    token : that opens it.

    Returns
    -------
    The application, as ASGI has them, and what its routes work with.
    """
    serve = config.serve
    plant = Plant(
        config,
        Database(config),
        Solves(serve.solve_jobs, serve.solve_limit_s, config.optimization.solver),
        anyio.CapacityLimiter(DATABASE_THREADS),
    )

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with plant.solves.running():
            try:
                yield
            finally:
                plant.database.close()

    app = FastAPI(
        title="Virtual power plant",
        description=ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=running,
    )
    app.state.plant, app.state.token = plant, token
    app.include_router(api.router)
    app.include_router(page.router)
    describe_token(app)
    for kind in (VppError, FieldError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, failed)
    return Guard(app, token), plant


def describe_token(app: FastAPI) -> None:
    """Say in the description of the API that the token is asked for.

    Parameters
    ----------
    app : with all its routes.
    """
    found = app.openapi()
    bearer = {"type": "http", "scheme": "bearer", "description": "python serve.py --show-token"}
    found.setdefault("components", {})["securitySchemes"] = {"token": bearer}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path in OPEN_PATHS else [{"token": []}]


async def failed(request: Request, error: Exception) -> Response:
    """The answer to a request that failed: one line.

    Parameters
    ----------
    request : the request.
    error : what was raised.
    """
    if isinstance(error, NotFoundError):
        return refused(404, error)
    if isinstance(error, (MessageError, UnknownSourceError, FieldError)):
        return refused(422, error)
    if isinstance(error, RequestValidationError):
        return refused(422, _first(error))
    if isinstance(error, DatabaseError):
        log.warning("%s %s: %s", request.method, request.url.path, error)
        return refused(503, error)
    if isinstance(error, HTTPException):
        return refused(error.status_code, error.detail, error.headers)
    if isinstance(error, VppError):
        return refused(422, error)
    log.warning("%s %s failed: %s", request.method, request.url.path, in_words(error))
    return refused(503, f"this did not work: {in_words(error)}")


def _first(error: RequestValidationError) -> str:
    """The first of the faults of a request's parameters."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"][1:])
    given = fault.get("input")
    shown = f" = {str(given)[:80]!r}" if given is not None else ""
    return f"{place}{shown}: {fault['msg']}" if place else fault["msg"]
