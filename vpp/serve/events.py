"""Server-sent events: tells pages which of their parts have changed, as soon as the database has.

A cheap query is asked once a second for all pages together, and only while there is one.

python -c "from vpp.serve.events import Events; print(Events.__doc__)"
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from psycopg2.extensions import connection

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.storage.rows import select_rows

log = logging.getLogger("serve")
POLL_S = 1.0
ALIVE_S = 15.0  # a comment is sent so often, so that a dead connection is noticed
MOST_PAGES = 100
# part of the page -> a query whose answer changes with it
CHANGES = {
    "states": """
        SELECT array_agg(ROW(battery.battery_id, state.time, state.soc, state.charge_kw,
            state.discharge_kw)::text) AS seen
        FROM unnest(%(batteries)s::text[]) AS battery (battery_id)
        CROSS JOIN LATERAL (
            SELECT * FROM battery_states AS one
            WHERE one.battery_id = battery.battery_id AND kind IN ('measured', 'simulated')
            ORDER BY time DESC, kind LIMIT 1) AS state""",
    "plan": "SELECT max(created_at) AS seen FROM schedule_runs WHERE kind = 'plan'",
    "forecasts": """
        SELECT count(*) AS runs, max(created_at) AS seen FROM forecast_runs
        WHERE issue_time = (SELECT max(issue_time) FROM forecast_runs)""",
    "overrides": "SELECT max(override_id) AS seen FROM overrides",
    "jobs": """
        SELECT array_agg(ROW(job, state, last_error, ok_at)::text ORDER BY job) AS seen
        FROM jobs WHERE site_id = %(site_id)s""",
    "alerts": """
        SELECT array_agg(alert_id ORDER BY alert_id) AS seen FROM alerts
        WHERE resolved_at IS NULL""",
    "ledger": """
        SELECT time, version FROM ledger WHERE site_id = %(site_id)s
        ORDER BY time DESC, version DESC LIMIT 1""",
}


def read_marks(conn: connection, config: Config) -> dict[str, str]:
    """A mark of each part of the page, which changes when the part does.

    Parameters
    ----------
    conn : the connection.
    config : the site and its batteries.
    """
    names = [battery.battery_id for battery in config.batteries]
    wanted = {"batteries": names, "site_id": config.site.site_id}
    return {part: str(select_rows(conn, query, wanted)) for part, query in CHANGES.items()}


class Events:
    """Tells pages what has changed.

    Parameters
    ----------
    read : gives the marks of the parts; raises VppError where the database is away.
    """

    def __init__(self, read: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self.read = read
        self.marks: dict[str, str] | None = None
        self.pages: set[asyncio.Queue[str]] = set()
        self.task: asyncio.Task | None = None
        self.is_closing = False

    async def stream(self) -> AsyncIterator[str]:
        """The events of one page, from now on."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
        self.pages.add(queue)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._watch())
        try:
            yield event("hello")
            while not self.is_closing:
                try:
                    text = await asyncio.wait_for(queue.get(), ALIVE_S)
                except TimeoutError:
                    text = ": alive\n\n"
                if text:
                    yield text
        finally:
            self.pages.discard(queue)

    async def _watch(self) -> None:
        """Ask for marks while there are pages, and tell those that changed."""
        self.marks = None
        while self.pages and not self.is_closing:
            try:
                marks = await self.read()
                before: dict[str, str] | None = self.marks
                if before is None:
                    self._tell(event("states"))  # may have changed since the page read them
                else:
                    for part in marks:
                        if marks[part] != before.get(part):
                            self._tell(event(part))
                self.marks = marks
            except VppError as error:
                if self.marks != {}:
                    log.warning("%s", error)
                    self._tell(event("away"))
                self.marks = {}
            await asyncio.sleep(POLL_S)

    def _tell(self, text: str) -> None:
        for queue in self.pages:
            if not queue.full():  # a page that does not read misses what it will ask for anyway
                queue.put_nowait(text)

    def close(self) -> None:
        """End all streams."""
        self.is_closing = True
        self._tell("")


def event(part: str) -> str:
    """The text of an event: the part of the page that has changed."""
    return f"event: {part}\ndata: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n\n"
