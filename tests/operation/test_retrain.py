"""Training beside a plant: it makes a champion, ends in time, and its failure is one line."""

import time
from dataclasses import replace

import pytest
from small_contest import quick_plant
from small_world import END, LOAD

from vpp.champions import registry
from vpp.operation.clock import Clock
from vpp.operation.jobs import Job, Jobs
from vpp.operation.retrain import RetrainError, retrain_aside
from vpp.storage.connection import session
from vpp.storage.jobs import read_jobs

PATIENCE_S = 300.0


@pytest.fixture
def world(config_file, tmp_path_factory):
    return quick_plant(config_file, tmp_path_factory, LOAD)


def version(config) -> str | None:
    """Of the champion."""
    champion = registry.read_champion(registry.open_store(config), LOAD.source_id)
    return champion and champion.version


def test_it_crowns_a_champion_and_only_where_one_is_missing(world):
    retrain_aside(world, END, True, PATIENCE_S, lambda: False)
    assert version(world) == "1"
    retrain_aside(world, END, True, PATIENCE_S, lambda: False)
    assert version(world) == "1"


def test_whatever_ends_it_is_one_line_and_stops_no_other_job(world):
    """Its deadline, the plant's end, and a store that is away."""
    with pytest.raises(RetrainError, match=r"^training took longer than its deadline of 0 s$"):
        retrain_aside(world, END, False, 0.0, lambda: False)
    retrain_aside(world, END, False, PATIENCE_S, lambda: True)
    assert version(world) is None
    away = replace(world.mlflow, tracking_uri="http://127.0.0.1:1")
    config = replace(world, mlflow=away)
    jobs, others = Jobs(config, Clock()), []
    jobs.add(Job("ledger", lambda: others.append(time.monotonic()), 5.0, every_s=0.2))
    failed = {}

    def retrain() -> None:
        try:
            retrain_aside(config, END, False, PATIENCE_S, lambda: False)
        finally:
            failed["at"] = time.monotonic()

    jobs.add(Job("retrain", retrain, PATIENCE_S, every_min=60))
    jobs.start()
    try:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and ("at" not in failed or others[-1] < failed["at"]):
            time.sleep(0.05)
        while "retrain" in jobs.running:
            time.sleep(0.05)
    finally:
        jobs.stop()
    with session(config) as conn:
        rows = read_jobs(conn, "site-1").reset_index()
    state = rows[rows["job"] == "retrain"].iloc[0]
    assert state["state"] == "failed" and state["last_error"].startswith("training failed: MLflow")
    assert "\n" not in state["last_error"] and len(others) > 3
