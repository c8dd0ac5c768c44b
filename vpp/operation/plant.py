"""The jobs of a plant: ingest, stream, forecast, plan, publish, value, retrain, ledger and alerts.

A tick of the plant's clock forecasts, and the plan follows when that is done, has failed, or has
taken too long: then older forecasts stand in. An order of a person, or a measured state, asks for a
plan of the interval that is now.

    python pipeline.py operate
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vpp.champions.forecasts import forecast_all
from vpp.champions.kept import KeptChampions
from vpp.connect.following import fetch_followed
from vpp.devices.publish import PublishError, alert_channels, publish_plan
from vpp.operation.clock import Clock
from vpp.operation.ingest import Ingest
from vpp.operation.jobs import Job, Jobs
from vpp.operation.past_plans import value_next
from vpp.operation.retrain import retrain_aside
from vpp.planning.alerts import evaluate
from vpp.planning.ledger import update_ledger
from vpp.planning.portfolio import plan_sites
from vpp.planning.site_configs import newest_plans
from vpp.planning.site_series import plan_step_min, site_sources
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.storage.connection import DataGapError, session
from vpp.storage.overrides import newest_override
from vpp.storage.rows import select_rows
from vpp.stream.feed import Feed
from vpp.stream.status import record_status

log = logging.getLogger("operate")

LOOK_S = 2.0  # orders and measured states are looked for so often
CALM_S = 50.0  # measured states ask for a plan no more often than that
AGAIN_S = 30.0  # a plan that failed is tried again after so long
STREAM_S = 30.0  # what waits in Kafka and what could not be stored is recorded so often
BOOKS_S = 10.0  # what is past is booked no more often than that
FETCH_S = 600.0  # the deadline of asking all providers
TRAINING_S = 6 * 3600.0  # the deadline of training


@dataclass
class Plant:
    """The plant that this process leads.

    Parameters
    ----------
    config : the configuration.
    clock : its clock.
    feed : the rows of the data folder, for a clock on data; else None.
    after_plan : called after each plan of a clock on the wall, such as to draw the report.
    """

    config: Config
    clock: Clock
    feed: Feed | None = None
    after_plan: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self.jobs = Jobs(self.config, self.clock)
        self.ingest = Ingest(self.config, self.stop, self.feed)
        self.every_min = self.config.operation.plan_every_min
        self.period_s = self.every_min * 60 / self.clock.speed
        self.wait_s = min(self.period_s / 2, 300.0)  # a plan waits so long for its forecasts
        self.tick: pd.Timestamp | None = None  # the last one that was planned for
        self.asked = self.failed = False
        self.order, self.states = 0, dict[str, pd.Timestamp]()
        self.planned_at = -CALM_S  # monotonic [s]
        self.first_training = True
        self.champions = KeptChampions()
        self.published: dict[str, str] = {}  # by site the plan whose set-points are out

    def start(self) -> None:
        """Begin all jobs."""
        operation, every = self.config.operation, self.every_min
        wait_s = self.wait_s
        ingest_s = 0.1 if self.clock.on_data else LOOK_S
        add = self.jobs.add
        add(Job("ingest", self._ingest, 60.0, every_s=ingest_s, is_told=False))
        add(Job("forecast", self._forecast, max(wait_s, 30.0), every_min=every))
        plan_s = max(self.period_s / 2, self.config.optimization.time_limit_s + 60)
        add(Job("plan", self._plan, plan_s, every_min=every, offset_s=wait_s))
        add(Job("orders", self._look, 30.0, every_s=LOOK_S, is_told=False))
        add(Job("stream", self._look_at_stream, 60.0, every_s=STREAM_S, is_told=False))
        for name, work in self._others().items():
            add(Job(name, work, 60.0, every_min=every, offset_s=wait_s, at_start=False))
        add(Job("ledger", self._book, 60.0, **self._calmly(every), at_start=False))
        connect = self.config.connect
        if connect.follow and not self.clock.on_data:
            fetch_min = float(connect.follow_every_min)
            add(Job("fetch", lambda: fetch_followed(self.config), FETCH_S, every_min=fetch_min))
        if operation.value_every_min:
            value_min = self._calmly(operation.value_every_min)
            add(Job("value", self._value, 600.0, **value_min, at_start=False))
        if operation.retrain_every_h:
            retrain_min = operation.retrain_every_h * 60
            add(Job("retrain", self._retrain, TRAINING_S, every_min=retrain_min))
        self.ingest.start()
        self.jobs.start()

    def _calmly(self, every_min: float) -> dict[str, Any]:
        """The period of a job that books what is past: on a fast clock, of so long on the wall."""
        is_fast = every_min * 60 / self.clock.speed < BOOKS_S
        return (
            {"every_s": BOOKS_S} if is_fast else {"every_min": every_min, "offset_s": self.wait_s}
        )

    def end(self, patience_s: float) -> bool:
        """Begin nothing more, and wait for what runs.

        Parameters
        ----------
        patience_s : for so long [s].

        Returns
        -------
        Whether all has ended.
        """
        self.stop.set()
        self.jobs.stop()
        until = time.monotonic() + patience_s
        while time.monotonic() < until and (self.jobs.running or self.ingest.is_alive()):
            time.sleep(0.05)
        return not self.jobs.running and not self.ingest.is_alive()

    def _ingest(self) -> None:
        self.ingest.send(self.clock.now())

    def _forecast(self) -> None:
        with self.jobs.standing():
            try:
                self._forecast_now()
            finally:  # a plan is made of older forecasts where they failed
                if self.clock.on_data and not self.stop.is_set():
                    self.jobs.run("plan")
                    self.jobs.run("publish")

    def _forecast_now(self) -> None:
        try:
            with session(self.config) as conn:
                step = max(source.step_min for source in site_sources(conn, self.config))
            now = max(self._this_tick(), self.clock.start or self._this_tick())
            issue_time = (now if self.clock.on_data else self.clock.now()).floor(f"{step}min")
            forecast_all(self.config, issue_time=issue_time, clock=now, kept=self.champions)
        finally:
            # a plan that was made meanwhile, on older forecasts, is made anew
            self.asked = self.asked or self.tick == self._this_tick()
            if not self.stop.is_set() and not self.clock.on_data:
                self.jobs.call("plan")

    def _look_at_stream(self) -> None:
        record_status(self.config)

    def _this_tick(self) -> pd.Timestamp:
        return self.clock.last(self.every_min)

    def _plan(self) -> None:
        tick = self._this_tick()
        if tick == self.tick and not self.asked:
            return  # its forecasts came in time, and it was made then
        is_scheduled, self.asked = tick != self.tick, False
        now = self.clock.now()
        if is_scheduled and self.clock.start is not None:
            now = max(tick, self.clock.start)  # a plan takes seconds, in which such a clock runs on
        self.planned_at = time.monotonic()
        self.failed = True
        with session(self.config) as conn:
            self.order, self.states = newest_override(conn), self._measured(conn)
            step = plan_step_min(site_sources(conn, self.config))
        try:
            planned = plan_sites(self.config, now.floor(f"{step}min"), now=now)
        except DataGapError:
            if "forecast" not in self.jobs.running:
                raise
            return  # the first forecasts of all take long; the plan follows them
        self.tick, self.failed = tick, False
        for row in planned.runs:
            self._tell(row)
        if self.clock.pace:  # else it follows at once
            self.jobs.call("publish")
        if self.after_plan is not None and not self.clock.on_data:
            self.after_plan()

    def _tell(self, row: dict) -> None:
        money, costs = self.config.tariff.currency, (row["cost_eur"], row["cost_no_battery_eur"])
        states = [
            f"{state['battery_id']} {state['soc']:.1%} {state['kind']}"
            for state in row["made_from"]["states"][:4]
        ]
        told = "planned from %s: %.2f %s, without battery %.2f %s; starts from %s"
        at = shown(row["issue_time"])
        log.info(told, at, costs[0], money, costs[1], money, ", ".join(states) or "no battery")
        for source_id, why in row["made_from"]["not_current"].items():
            log.warning("%s: %s", source_id, why)

    def _measured(self, conn: Any) -> dict[str, pd.Timestamp]:
        """When each battery was measured last."""
        query = """
            SELECT battery_id, time FROM unnest(%s::text[]) AS battery (battery_id)
            CROSS JOIN LATERAL (
                SELECT time FROM battery_states AS state
                WHERE state.battery_id = battery.battery_id AND kind = 'measured' AND run_id = ''
                ORDER BY time DESC LIMIT 1) AS newest"""
        names = [battery.battery_id for battery in self.config.batteries]
        return {row["battery_id"]: row["time"] for row in select_rows(conn, query, (names,))}

    def _look(self) -> None:
        """Ask for a plan where an order or a measured state is new, or where the last one failed.

        Where plans come within a minute in any case, a measured state waits for the next.
        """
        if self.tick is None and not self.failed:
            return  # the first plan sees all
        with session(self.config) as conn:
            order, states = newest_override(conn), self._measured(conn)
        since_s = time.monotonic() - self.planned_at
        is_due = states != self.states and since_s >= CALM_S and self.period_s > 60
        if order != self.order or is_due or (self.failed and since_s >= AGAIN_S):
            self.asked = True
            self.jobs.call("plan")

    def _others(self) -> dict[str, Callable[[], Any]]:
        """The jobs that follow a plan: its set-points go out, and alerts fire."""
        return {"publish": self._publish, "alerts": self._alert}

    def _book(self) -> None:
        with session(self.config) as conn:
            update_ledger(conn, self.config)

    def _alert(self) -> None:
        with session(self.config) as conn:
            evaluate(conn, self.clock.now(), self.config, alert_channels(self.config))

    def _publish(self) -> None:
        """Send the newest plan of each site, once; one that fails stops no other."""
        faults = []
        with session(self.config) as conn:
            for site_id, run_id in newest_plans(conn, self.config, "all").items():
                if self.published.get(site_id) == run_id:
                    continue
                try:
                    publish_plan(conn, self.config, run_id)
                    self.published[site_id] = run_id
                except PublishError as error:
                    faults.append(str(error))
        if faults:
            raise PublishError("; ".join(faults))

    def _value(self) -> None:
        value_next(self.config, self.clock.now())

    def _retrain(self) -> None:
        only_missing, self.first_training = self.first_training, False
        with session(self.config) as conn:
            step = max(source.step_min for source in site_sources(conn, self.config))
        issue_time = self.clock.now().floor(f"{step}min")
        stop = self.stop.is_set
        retrain_aside(self.config, issue_time, only_missing, TRAINING_S, stop)
