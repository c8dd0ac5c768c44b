"""A Dask scheduler and two workers, each a process with a folder of its own: the same champions
and forecasts as this machine alone, also where a worker is killed.

Skipped where distributed is missing.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_contest import QUICK
from small_world import LOAD, MARKET, copy_store, fill

import db
import train_forecast
from vpp.champions import registry
from vpp.champions.forecasts import forecast_all
from vpp.runtime.compute import ComputeError, check_shared
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Compute

ROOT = Path(__file__).resolve().parents[2]
PLANTS = [LOAD, MARKET, replace(LOAD, source_id="load-2")]


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler, and its two workers."""
    pytest.importorskip("distributed", reason="the package distributed is missing")
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    found, processes = tmp_path / "scheduler.json", []

    def start(name, *arguments):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", f"distributed.cli.{arguments[0]}", *arguments[1:]]
        with (folder / "log").open("wb") as log:
            made = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        processes.append(made)
        return made

    file = ("--scheduler-file", str(found))
    start(
        "scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *file
    )
    for number in (1, 2):
        here = ("--local-directory", str(tmp_path / f"worker-{number}"))
        quiet = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        start(f"worker-{number}", "dask_worker", *file, *quiet, *here)
    deadline = time.monotonic() + 60
    while not found.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield json.loads(found.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def world(config_file, folder, name, tmp_path_factory):
    """An empty MLflow store that all processes reach."""
    copy_store(folder / f"{name}.db", tmp_path_factory)
    uri = f"sqlite:///{folder / name}.db"
    return load_config(config_file(**QUICK | {"mlflow": {"tracking_uri": uri}}))


def champions(config):
    client = registry.open_store(config)
    found = [registry.read_champion(client, source.source_id) for source in PLANTS]
    versions = [len(client.search_model_versions(f"name='vpp-{s.source_id}'")) for s in PLANTS]
    return found, versions


def forecasts(config):
    """All forecasts of champions, and none left after."""
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute(
            """
            SELECT source_id, model, role, forecasts.* FROM forecast_runs JOIN forecasts
            USING (run_id) ORDER BY source_id, valid_time"""
        )
        rows = pd.DataFrame(cur.fetchall()).drop(columns=3)
        cur.execute("DELETE FROM forecasts; DELETE FROM forecast_runs")
        conn.commit()
    return rows


def test_a_cluster_gives_what_this_machine_gives(
    config_file, tmp_path, cluster, monkeypatch, tmp_path_factory
):
    """Also where one of its workers dies."""
    address, workers = cluster
    config = world(config_file, tmp_path, "local", tmp_path_factory)
    fill(config, *PLANTS)
    rows = train_forecast.train(config)
    forecast_all(config)
    alone, alone_versions, issued = *champions(config), forecasts(config)

    config = world(config_file, tmp_path, "shared", tmp_path_factory)
    config = replace(config, compute=Compute("dask", address))
    real, left = train_forecast.train.__globals__["say"], [workers[0]]

    def say(told):  # a worker dies once a source is done
        if left:
            left.pop().kill()
        real(told)

    monkeypatch.setitem(train_forecast.train.__globals__, "say", say)
    shared = train_forecast.train(config)
    for row in (*rows, *shared):
        del row["seconds"]
    assert shared == rows
    found, versions = champions(config)
    assert found == alone
    assert versions == alone_versions == [1] * len(PLANTS)
    forecast_all(config)
    pd.testing.assert_frame_equal(forecasts(config), issued)
    backfill = forecast_all(config, backfill_days=3)
    assert [row["runs"] for row in backfill] == [3] * len(PLANTS)


def test_a_cluster_without_servers_of_its_own_or_without_scheduler_is_refused(config_file):
    config = load_config(config_file())
    dask = replace(config, compute=Compute("dask", "tcp://127.0.0.1:9"))
    with pytest.raises(ConfigError, match=r"\[mlflow\] tracking_uri = embedded is of this machine"):
        check_shared(dask)
    named = replace(dask, mlflow=replace(config.mlflow, tracking_uri="sqlite:///x.db"))
    with pytest.raises(ConfigError, match=r"address = \(empty\)"):
        check_shared(replace(named, compute=Compute("dask")))
    pytest.importorskip("distributed", reason="the package distributed is missing")
    from vpp.champions.tasks import train_task
    from vpp.runtime.compute import computed

    patient = replace(named, database=replace(named.database, wait_s=0.5))
    with (
        pytest.raises(ComputeError, match="is gone"),
        computed(patient, train_task, [1], 1) as found,
    ):
        list(found)
