"""The HTTP API: reads of the plant, solves of problem files, states and orders of batteries.

    curl -H "Authorization: Bearer $(python serve.py --show-token)" http://127.0.0.1:8080/api/now

Rows have the names and units of the tables; times are ISO-8601 in UTC. Errors are
`{"detail": one line}`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from psycopg2.extensions import connection

from vpp.runtime.errors import check_known
from vpp.runtime.settings import Config
from vpp.serve.answers import answer, json_bytes, refused
from vpp.serve.database import Database
from vpp.serve.events import MOST_PAGES, Events, read_marks
from vpp.serve.forecasts import read_forecast
from vpp.serve.history import read_history
from vpp.serve.metrics import metrics_text
from vpp.serve.now import read_now
from vpp.serve.plan import read_plan
from vpp.serve.schemas import ANSWERS, body_of
from vpp.serve.sites import read_of_site, read_sites
from vpp.serve.solves import Solves
from vpp.site.battery_messages import BatteryState, by_name, read_override, read_state
from vpp.storage.battery_states import record_states
from vpp.storage.jobs import read_clock
from vpp.storage.overrides import Override, record_override

T = TypeVar("T")
DATABASE_THREADS = 4  # more connections would not answer sooner on a small machine
RUN_ID = r"^[0-9A-Za-z_-]{1,64}$"
SITE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
SITES = r"^[A-Za-z0-9_.*?, -]{1,400}$"
SiteId = Annotated[str | None, Query(pattern=SITE, description="site_id; [site] if left out")]
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


@dataclass
class Plant:
    """The plant that the routes work on.

    Parameters
    ----------
    config : the configuration.
    database : its connections.
    solves : processes that solve.
    threads : limits the threads that read the database at the same time.
    """

    config: Config
    database: Database
    solves: Solves
    threads: anyio.CapacityLimiter

    def __post_init__(self) -> None:
        self.events = Events(lambda: self.ask(read_marks))
        self.lookout = anyio.CapacityLimiter(1)  # so that /health does not wait for the others
        self.waiting: dict[tuple, asyncio.Task[bytes]] = {}

    async def ask(self, read: Callable[..., T], *args: object) -> T:
        """Call a function with a connection, the configuration and further arguments, in a thread.

        Parameters
        ----------
        read : the function.
        *args : its arguments after the configuration.
        """
        return await anyio.to_thread.run_sync(
            self.database.ask, read, self.config, *args, limiter=self.threads
        )

    async def answer(self, read: Callable[..., object], *args: object) -> Response:
        """A response with what `ask` gives, as JSON.

        Requests that wait for the same read share it: it begins after all of them, so that each
        sees all that was stored before it was asked.

        Parameters
        ----------
        read, *args : as of `ask`; the arguments are hashable.
        """
        key = (read, *args)
        task = self.waiting.get(key)
        if task is None:
            task = self.waiting[key] = asyncio.create_task(self._read(key))
        return Response(await asyncio.shield(task), media_type="application/json")

    async def _read(self, key: tuple) -> bytes:
        async with self.threads:
            self.waiting.pop(key)
            read, *args = key
            return await anyio.to_thread.run_sync(
                self._encoded, read, *args, limiter=anyio.CapacityLimiter(1)
            )

    def _encoded(self, read: Callable[..., object], *args: object) -> bytes:
        return json_bytes(self.database.ask(read, self.config, *args))


def plant_of(request: Request) -> Plant:
    """The plant that a request is about."""
    return request.app.state.plant


ThePlant = Annotated[Plant, Depends(plant_of)]


def only(*names: str) -> Any:
    """A dependency that refuses query parameters of other names, and those that come twice."""

    def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in names:
                expected = f"one of {', '.join(names)}" if names else "none"
                _refuse(f"unknown parameter {name[:80]!r}; expected {expected}")
            if given.count(name) > 1:
                _refuse(f"parameter {name} comes twice; expected it once")

    return Depends(check)


def _refuse(why: str) -> None:
    raise RequestValidationError([{"msg": why, "loc": (), "type": "value_error"}])


router = APIRouter()


def _get(path: str, name: str, *query: str) -> Callable[[Callable], Callable]:
    """A route that reads, and the query parameters that it takes."""
    return router.get(path, name=name, responses=ANSWERS[name], dependencies=[only(*query)])


def _post(path: str, name: str, body: str) -> Callable[[Callable], Callable]:
    """A route that takes a body."""
    known, extra = ANSWERS[name], body_of(body)
    return router.post(path, name=name, responses=known, openapi_extra=extra, dependencies=[only()])


@_get("/health", "health")
async def _health(plant: ThePlant) -> Response:
    """Whether server and database answer; it needs no token."""
    await anyio.to_thread.run_sync(plant.database.ask, lambda conn: None, limiter=plant.lookout)
    return answer({"status": "ok"})


@_get("/metrics", "metrics")
async def _metrics(plant: ThePlant) -> Response:
    """The plant's health as metrics for Prometheus."""
    text = metrics_text(await plant.ask(read_now))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@_get("/api/sites", "sites", "site")
async def _sites(
    plant: ThePlant,
    site: Annotated[
        str | None, Query(pattern=SITES, description="names and patterns; all if left out")
    ] = None,
) -> Response:
    """The sites, each with its connection and its newest plan."""
    return await plant.answer(read_sites, site)


@_get("/api/now", "now", "site")
async def _now(plant: ThePlant, site: SiteId = None) -> Response:
    """How the plant is now: power, batteries, next actions, price and health."""
    return await plant.answer(read_of_site, read_now, site)


@_get("/api/plan", "plan", "run_id", "site")
async def _plan(
    plant: ThePlant,
    run_id: Annotated[
        str | None, Query(pattern=RUN_ID, description="the run; the newest plan if left out")
    ] = None,
    site: SiteId = None,
) -> Response:
    """A plan: its run, its schedule, and the states of each battery."""
    return await plant.answer(read_of_site, read_plan, site, run_id)


@_get("/api/forecasts", "forecasts", "source_id")
async def _forecasts(
    plant: ThePlant,
    source_id: Annotated[
        str, Query(min_length=1, max_length=200, description="a plant, load or market")
    ],
) -> Response:
    """A source's newest forecast, as plans read it, and what came of it."""
    return await plant.answer(read_forecast, source_id)


@_get("/api/history", "history", "period", "date", "site")
async def _history(
    plant: ThePlant,
    period: Annotated[Literal["day", "week", "month", "year"], Query()] = "day",
    date: Annotated[
        str | None, Query(pattern=DAY, description="a local day in it; today if left out")
    ] = None,
    site: SiteId = None,
) -> Response:
    """Energy, money and key figures of a local day, week, month or year, and its parts."""
    return await plant.answer(read_of_site, read_history, site, period, _day(date))


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 1900 <= found.year <= 2200:
        _refuse(f"date {text}: expected a day from 1900 to 2200, such as 2025-03-01")
    return found


@_post("/api/solve", "solve", "problem")
async def _solve(request: Request, plant: ThePlant) -> Response:
    """Solve a problem file; the answer is a result file, also where there is no schedule.

    The time limit is that of the problem, but at most `[serve] solve_limit_s`.
    """
    solving = asyncio.create_task(plant.solves.solve(await request.body()))
    leaving = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({solving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not solving.done():
            return refused(503, "the client has gone")  # nobody reads this
        status, text = solving.result()
        return Response(text, status, media_type="application/json")
    finally:
        solving.cancel()
        leaving.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@_post("/api/state", "state", "state")
async def _state(request: Request, plant: ThePlant) -> Response:
    """Store a measured state of a battery; it counts for the next plan once this is answered."""
    return answer(await plant.ask(_store_state, await request.body()))


def _store_state(conn: connection, config: Config, body: bytes) -> dict:
    clock = read_clock(conn, config.site.site_id).to_pydatetime()
    found: BatteryState = read_state(body, by_name(config.batteries), now=clock)
    record_states(conn, [found])
    return {"kind": "measured", **asdict(found)}


@_post("/api/override", "override", "override")
async def _override(request: Request, plant: ThePlant) -> Response:
    """Give an order to a battery; it is a constraint of the next plan."""
    return answer(await plant.ask(_store_override, await request.body()))


def _store_override(conn: connection, config: Config, body: bytes) -> dict:
    fields = read_override(body)
    check_known("battery_id", fields["battery_id"], by_name(config.batteries))
    order = Override(**fields, made_at=read_clock(conn, config.site.site_id))
    number = record_override(conn, order)
    return {"override_id": number, **asdict(order)}


@_get("/api/events", "events")
async def _events(plant: ThePlant) -> Response:
    """Server-sent events that name the parts that have changed: states, plan, overrides, …"""
    if len(plant.events.pages) >= MOST_PAGES:
        return refused(503, f"{MOST_PAGES} pages are open already; close one")
    return StreamingResponse(plant.events.stream(), media_type="text/event-stream")
