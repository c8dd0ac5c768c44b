"""Training of every source: champions registered, failures told, nothing known later used."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_contest import QUICK, contest_of
from small_world import END, LOAD, MARKET, START, crown, fill, make_store, series, store

import db
import train_forecast
from vpp.champions import contest, logbook, registry, requests
from vpp.champions.forecasts import forecast_all
from vpp.champions.origins import split_origins
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError

DAY = pd.Timedelta(days=1)
SECOND = replace(LOAD, source_id="load-2", name="Mill")


class Broken(DailyNaive):
    """A model that cannot be fitted."""

    name = "broken"

    def _fit(self, known):
        raise np.linalg.LinAlgError("singular matrix")


class Unsaved(DailyNaive):
    """The best model there is, which forgets itself when it is saved."""

    name = "unsaved"

    def _value(self, known, origins, times):
        return series(LOAD).reindex(times).fillna(0).to_numpy() + getattr(self, "_kept", 1.0)

    def _fit(self, known):
        super()._fit(known)
        self._kept = 0.0

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "_kept"}


def runs_of(config, client):
    experiment = client.get_experiment_by_name(config.mlflow.experiment)
    runs = client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run for run in runs}


def test_training_registers_a_champion_and_logs_what_led_to_it(quick_world, monkeypatch):
    monkeypatch.setitem(MODELS, "broken", Broken)
    monkeypatch.setitem(MODELS, "unsaved", Unsaved)
    rows = train_forecast.train(quick_world, models=["broken", "daily_naive", "unsaved"])
    by_model = {row["model"]: row for row in rows}
    assert [row["model"] for row in rows if row["champion"]] == ["daily_naive"]
    assert "singular matrix" in by_model["broken"]["note"]
    assert by_model["broken"]["mae"] is None
    assert by_model["unsaved"]["note"].startswith("failed: saved and loaded")
    naive, daily = by_model["seasonal_naive"], by_model["daily_naive"]
    assert daily["mae_ratio_naive"] == pytest.approx(daily["mae"] / naive["mae"])
    assert daily["mae_ratio_naive"] < 1
    client = registry.open_store(quick_world)
    runs = runs_of(quick_world, client)
    parent = runs["load-1"]
    assert set(runs) == {"load-1", "seasonal_naive", "broken", "daily_naive", "unsaved"}
    assert all(
        run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        for name, run in runs.items()
        if name != "load-1"
    )
    child = runs["daily_naive"]
    assert child.data.metrics["mae"] == pytest.approx(daily["mae"])
    assert {item.path for item in client.list_artifacts(child.info.run_id)} >= {
        "backtest.csv",
        "backtest.png",
    }
    assert {"data_start", "data_end", "data_hash", "code_version", "issue_time"} <= set(
        child.data.tags
    )
    assert runs["broken"].info.status == "FAILED"
    assert parent.data.metrics["test_mae"] > 0
    for name in ("mae", "mae_ratio_naive", "coverage_80"):  # of the champion
        assert parent.data.metrics[name] == pytest.approx(daily[name])
    assert parent.data.params["champion"] == "daily_naive"
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} >= {
        "champion.png",
        "leaderboard.csv",
    }
    champion = registry.read_champion(client, "load-1")
    assert (champion.model, champion.version, champion.trained_until) == ("daily_naive", "1", END)


def test_training_again_changes_nothing_and_a_worse_challenger_leaves_the_alias(quick_world):
    """A champion that stays is registered as fitted now, and the past is no reason to go back."""
    client = registry.open_store(quick_world)
    train_forecast.train(quick_world, END - 2 * DAY)
    first = train_forecast.train(quick_world)
    assert [row["note"] for row in first if row["champion"]] == ["champion stays: still the best"]
    champion = registry.read_champion(client, "load-1")
    assert (champion.model, champion.version, champion.trained_until) == ("daily_naive", "2", END)
    again = train_forecast.train(quick_world)
    for row in (*first, *again):
        del row["seconds"], row["note"]
    assert first == again
    # the incumbent is compared with it, though not asked for
    rows = train_forecast.train(quick_world, END - DAY, models=["mixed_naive"])
    assert [row["model"] for row in rows if row["champion"]] == ["daily_naive"]
    assert registry.read_champion(client, "load-1") == champion
    assert len(client.search_model_versions("name='vpp-load-1'")) == 2


def test_a_champion_of_a_former_capacity_is_registered_anew_once_and_never_for_the_past(
    quick_world,
):
    client = registry.open_store(quick_world)
    train_forecast.train(quick_world)
    grown = replace(LOAD, capacity_kw=2000.0, parameters={"valid_from": END.isoformat()})
    with db.session(quick_world) as conn:
        db.upsert_sources(conn, [grown])
        conn.commit()
    for issue_time, version in ((END - DAY, "1"), (END, "2"), (END, "2"), (END - DAY, "2")):
        train_forecast.train(quick_world, issue_time)
        champion = registry.read_champion(client, "load-1")
        assert (champion.version, champion.trained_until) == (version, END)
    assert champion.capacity_kw == 2000.0


def test_a_champion_that_was_changed_in_the_store_is_registered_anew(quick_world, monkeypatch):
    """The same data, so that it would stay as it is otherwise."""
    monkeypatch.setattr(requests, "STAND_INS", ("seasonal_naive",))  # a quick one
    crown(quick_world, LOAD, "daily_naive")
    for version in ("2", "3"):
        if version == "2":
            [file] = (quick_world.paths.state_dir / "mlartifacts").rglob("model.pkl")
            file.write_bytes(b"another")
        else:  # as of a champion that an earlier version has registered
            with db.session(quick_world) as conn, conn.cursor() as cursor:
                cursor.execute("DELETE FROM model_digests")
        assert forecast_all(quick_world)[0]["role"] == "fallback"
        train_forecast.train(quick_world)
        champion = registry.read_champion(registry.open_store(quick_world), "load-1")
        assert (champion.model, champion.version) == ("daily_naive", version)
        (row,) = forecast_all(quick_world)
        assert (row["role"], row["version"], row["note"]) == ("champion", version, "")


def test_a_better_challenger_takes_the_alias(quick_world):
    crown(quick_world, LOAD, "mixed_naive")
    training = replace(quick_world.training, origins=16)  # four days would prove nothing
    train_forecast.train(replace(quick_world, training=training), models=["daily_naive"])
    champion = registry.read_champion(registry.open_store(quick_world), "load-1")
    assert (champion.model, champion.version) == ("daily_naive", "2")


def test_nothing_known_after_the_issue_time_is_used(quick_world):
    issue_time = END - 3 * DAY
    before = train_forecast.train(quick_world, issue_time, models=["hourly_ridge", "daily_naive"])
    with db.session(quick_world) as conn:
        later = series(LOAD)[issue_time:]
        store(conn, LOAD, later * 3 + 100)
    after = train_forecast.train(quick_world, issue_time, models=["hourly_ridge", "daily_naive"])
    keys = ("model", "champion", "mae", "pinball", "coverage_80")
    assert [[row[key] for key in keys] for row in before] == [
        [row[key] for key in keys] for row in after
    ]
    client = registry.open_store(quick_world)
    hashes = {
        run.data.tags["data_hash"]
        for run in client.search_runs([client.get_experiment_by_name("vpp").experiment_id])
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("values", "reason", "model"),
    [
        (lambda s: s * 0 + 500.0, "flat line", "seasonal_naive"),
        (lambda s: s[-24 * 10 :], "10.0 days of history, 14 needed", "first_day"),
        (lambda s: s[-24 * 16 :], "16.0 days of history are too few to tune", "first_day"),
    ],
)
def test_a_flat_line_or_a_short_history_names_the_model_that_stands_in(
    config_file, tmp_path_factory, values, reason, model
):
    config = load_config(config_file(**QUICK))
    with db.session(config) as conn:
        store(conn, LOAD, values(series(LOAD)))
    make_store(config, tmp_path_factory)
    rows = train_forecast.train(config)
    assert [(row["model"], row["champion"]) for row in rows] == [(model, True)]
    assert rows[0]["note"].startswith(f"fallback: {reason}")
    assert registry.read_champion(registry.open_store(config), "load-1") is None
    (row,) = forecast_all(config)
    assert (row["model"], row["role"]) == (model, "fallback")
    assert reason in row["note"] and "train_forecast" not in row["note"]


def test_a_load_of_three_weeks_is_compared_with_its_profile(config_file, tmp_path_factory):
    config = load_config(config_file(**QUICK))
    with db.session(config) as conn:
        store(conn, LOAD, series(LOAD)[-24 * 21 :])
    make_store(config, tmp_path_factory)
    rows = train_forecast.train(config)
    assert {row["model"] for row in rows} == {"seasonal_naive", "first_day", "daily_naive"}
    assert all(row["mae"] is not None for row in rows)


def test_models_for_another_kind_are_refused(quick_world, capsys):
    code = train_forecast.main(["--config", str(quick_world.path), "--models", "lear,dnn"])
    said = capsys.readouterr().err
    assert code == 1
    assert "load-1: failed: no model of lear, dnn is for the kind load; choose another" in said


@pytest.fixture
def gap(config_file, tmp_path_factory):
    """Makes a configuration with a price, and a load without values between two times."""

    def make(start, end):
        config = load_config(config_file(**QUICK))
        fill(config, MARKET)
        values = series(LOAD)
        with db.session(config) as conn:
            store(conn, LOAD, values[(values.index < start) | (values.index >= end)])
        make_store(config, tmp_path_factory)
        return config

    return make


def test_origins_without_an_actual_value_are_skipped(gap):
    origins = split_origins(START, END, 24, 4)
    config = gap(origins.selection[1], origins.selection[2])  # the second window is a gap
    found = contest.train_source(contest_of(config))
    left = [origins.selection[place] for place in (0, 2, 3)]
    assert list(found.origins.selection) == left
    assert found.champion.model == "daily_naive"
    assert list(found.champion.frame["issue_time"].unique()) == left


def test_a_source_whose_models_cannot_be_compared_falls_back_and_the_others_are_trained(
    gap, script
):
    """By the script, in parallel, which says only what is asked."""
    origins = split_origins(START, END, 24, 4)
    config = gap(origins.tuning[0], origins.tuning[-1] + DAY)
    done = subprocess.run(
        script("train_forecast.py", "--config", config.path, "--jobs", "2", "--json"),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert all(" train_forecast: " in line for line in done.stderr.splitlines()), done.stderr
    rows = {row["source_id"]: row for row in json.loads(done.stdout) if row["champion"]}
    assert (rows["load-1"]["model"], rows["load-1"]["mae"]) == ("first_day", None)
    assert rows["load-1"]["note"].startswith(
        "fallback: nothing measured after the tuning origins, 2025-01-"
    )
    client = registry.open_store(config)
    assert registry.read_champion(client, "load-1") is None
    assert registry.read_champion(client, "market-1") is not None


def test_a_champion_stays_where_no_model_can_be_compared(gap):
    origins = split_origins(START, END, 24, 4)
    config = gap(origins.tuning[0], origins.tuning[-1] + DAY)
    crown(config, LOAD, "daily_naive", END - DAY)
    (row,) = train_forecast.train(config, source="load-1")
    assert (row["model"], row["champion"]) == ("daily_naive", True)
    assert row["note"].startswith("champion stays: nothing measured after the tuning origins")
    (row,) = forecast_all(config, source="load-1")
    assert (row["model"], row["role"]) == ("daily_naive", "champion")


@pytest.mark.parametrize("horizon_h", [24, 72])
@pytest.mark.parametrize("days", [16, 19, 22])
def test_training_and_forecast_agree_whether_a_history_is_too_short(
    config_file, tmp_path_factory, horizon_h, days
):
    config = load_config(config_file(**QUICK | {"forecast": {"horizon_h": horizon_h}}))
    with db.session(config) as conn:
        store(conn, LOAD, series(LOAD)[-24 * days :])
    make_store(config, tmp_path_factory)
    note = train_forecast.train(config)[0]["note"]
    is_short = "too few" in note
    (row,) = forecast_all(config, horizon_h=48)
    assert is_short == ("too few" in row["note"]) == (row["role"] == "fallback")
    assert is_short or days > 16


def test_where_no_model_at_all_can_be_compared_seasonal_naive_is_the_fallback(
    quick_world, monkeypatch
):
    for name in ("seasonal_naive", "daily_naive"):
        monkeypatch.setitem(MODELS, name, type("Named", (Broken,), {"name": name}))
    rows = train_forecast.train(quick_world)
    assert [row["model"] for row in rows if row["champion"]] == ["seasonal_naive"]
    assert rows[0]["note"].startswith("fallback: no model can be trained: singular matrix (in ")
    assert rows[1]["note"].startswith("failed: singular matrix (in ")


def test_sources_that_fail_are_said_in_one_line_and_the_others_are_registered(
    gap, monkeypatch, capsys
):
    """One fails as it is compared, one as it is recorded."""
    config = gap(END, END)
    with db.session(config) as conn:
        store(conn, SECOND, series(LOAD) * 2)

    def broken_for(source, whole):
        def fails(*arguments):
            if source.name in repr(arguments):
                raise RuntimeError("disk full")
            return whole(*arguments)

        return fails

    monkeypatch.setattr(contest, "compare_models", broken_for(LOAD, contest.compare_models))
    monkeypatch.setattr(logbook, "register", broken_for(SECOND, logbook.register))
    assert train_forecast.main(["--config", str(config.path)]) == 1
    output = capsys.readouterr()
    assert "market-1" in output.out
    [line] = [
        line for line in output.err.splitlines() if "; the other sources (1) are trained" in line
    ]
    client = registry.open_store(config)
    for source in (LOAD, SECOND):
        assert f"{source.source_id}: failed: disk full (in " in line
        assert registry.read_champion(client, source.source_id) is None
    assert registry.read_champion(client, "market-1") is not None


def test_what_cannot_be_trained_is_refused_in_one_line(quick_world, capsys):
    with pytest.raises(ConfigError, match="model nosuch is unknown"):
        train_forecast.train(quick_world, models=["nosuch"])
    for arguments, code, part in (
        (["--source", "load-9"], 2, "load-9"),
        (["--trials", "0"], 2, "--trials 0"),
        (["--jobs", "0"], 2, "--jobs 0"),
        (
            ["--models", ","],
            2,
            "no model in [training] models or --models; expected some of seasonal_naive",
        ),
    ):
        assert train_forecast.main(["--config", str(quick_world.path), *arguments]) == code
        error = capsys.readouterr().err
        assert part in error
        assert len(error.splitlines()) == 1
