import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, START, crown, fill, load_data, make_store, series, store

import db
import train_forecast
from vpp.champions import contest, logbook, registry
from vpp.champions.contest import decide, fit_champion
from vpp.champions.origins import split_origins
from vpp.champions.tuning import Result, Task, open_storage, silence, tune
from vpp.forecast import scores as forecast_scores
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS
from vpp.forecast.scores import losses, score_of
from vpp.runtime.config import Config, ConfigError, Training, load_config
from vpp.runtime.files import FileLock

DAY = pd.Timedelta(days=1)
QUICK = {
    "training": {"models": "daily_naive", "trials": 1, "jobs": 1, "origins": 4},
    "forecast": {"horizon_h": 24},
}


@pytest.fixture
def world(config_file, tmp_path_factory):
    """A configuration whose database holds 50 days of a load, with an empty MLflow store."""
    config = load_config(config_file(**QUICK))
    fill(config, LOAD)
    make_store(config, tmp_path_factory)
    return config


def task(config, models=("daily_naive",), incumbent=None, **training):
    data = load_data(config, LOAD)
    settings = replace(config.training, models=models, **training)
    return Task(
        data,
        END,
        config.forecast.horizon_h,
        settings,
        config.paths.state_dir / "optuna.journal",
        incumbent,
    )


def frame(losses, windows=None):
    """A backtest whose hour k of window w is off by losses[w][k]."""
    parts = []
    for number, errors in enumerate(losses):
        issue = START + number * 2 * DAY
        times = pd.date_range(issue, periods=len(errors), freq="h")
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": issue,
                    "valid_time": times,
                    "actual": 100.0,
                    "value": 100.0 - np.asarray(errors, float),
                }
            )
        )
    made = pd.concat(parts, ignore_index=True)
    quantiles = {name: made["value"] + number for number, name in enumerate(QUANTILE_COLUMNS)}
    return made.assign(**quantiles, published=False, dark=False, naive=90.0)


def diebold_mariano(worse, better):
    """The test of two backtests by absolute errors."""
    return forecast_scores.diebold_mariano(
        *(losses(item, SourceData(LOAD, series(LOAD)), "mae") for item in (worse, better))
    )


# --- origins
# ----------------------------------------------------------------------------------------------------------------------


def test_origins_of_a_quarter():
    """90 days: 60 are left after a third.

    18 select, 15 calibrate, 9 test and 18 tune, with windows of two days.
    """
    first, now = pd.Timestamp("2025-01-01T00:00Z"), pd.Timestamp("2025-04-01T00:00Z")
    found = split_origins(first, now, 48, 6)
    assert (found.tuning[0], found.tuning[-1]) == (
        now - 59 * DAY,
        now - 44 * DAY,
    )  # 16 days of room for four: every 5 days
    assert (found.selection[0], found.selection[-1]) == (
        now - 41 * DAY,
        now - 26 * DAY,
    )  # 16 days for six: every 3 days
    assert list(found.calibration) == [now - back * DAY for back in range(24, 10, -1)]
    assert list(found.test) == [now - back * DAY for back in range(9, 1, -1)]


@pytest.mark.parametrize("days", [22, 30, 47, 90, 365, 1000])
@pytest.mark.parametrize("horizon_h", [24, 36, 48, 72])
def test_phases_are_disjoint_and_in_order(days, horizon_h):
    now = pd.Timestamp("2025-04-01T11:00Z")
    found = split_origins(now - days * DAY, now, horizon_h, 6)
    if found is None:
        assert days < 14 + 4 * 3 + 14  # at most 14 to fit or a third, and four windows
        return
    assert found.tuning[0] >= now - days * DAY + max(14, days / 3) * DAY
    window = pd.Timedelta(hours=horizon_h)
    for earlier, later in zip(
        (found.tuning, found.selection, found.calibration),
        (found.selection, found.calibration, found.test),
        strict=True,
    ):
        assert earlier[-1] + window <= later[0]
    assert found.test[-1] + window <= now
    assert len({at.dayofweek for at in found.selection}) > 1 or len(found.selection) == 1


# --- the test of Diebold and Mariano
# ----------------------------------------------------------------------------------------------


def test_diebold_mariano_of_days_is_a_t_test():
    """Windows of one day have no lag.

    Differences of their means 1, 2, 3, 4 give t = 2.5 / (1.2910 / 2) = 3.873 with 3 degrees.
    """
    from scipy.stats import ttest_1samp

    worse, better = frame([[2.0] * 24, [3.0] * 24, [4.0] * 24, [5.0] * 24]), frame([[1.0] * 24] * 4)
    p_value = diebold_mariano(worse, better)
    assert p_value == pytest.approx(ttest_1samp([1, 2, 3, 4], 0, alternative="greater").pvalue)
    assert p_value == pytest.approx(0.01523, abs=1e-5)
    assert diebold_mariano(better, worse) == pytest.approx(1 - p_value)


def test_diebold_mariano_allows_for_the_second_day():
    """Days 2, 2, 4, 4: mean 3, variance 1 + 2 · ½ · (1 − 1 + 1)/4 = 1.25, correction (4 + 1 − 4 +
    2/4)/4 = 0.375.

    t = 3 / √(1.25 / 4) · √0.375 = 3.2863.
    """
    from scipy.stats import t

    worse, better = (
        frame([[3.0] * 24 + [3.0] * 24, [5.0] * 24 + [5.0] * 24]),
        frame([[1.0] * 48] * 2),
    )
    assert diebold_mariano(worse, better) == pytest.approx(t.sf(3.28634, 3), rel=1e-4)


def test_equal_losses_prove_nothing():
    assert diebold_mariano(frame([[1.0] * 24] * 3), frame([[-1.0] * 24] * 3)) == 1.0
    assert diebold_mariano(frame([[2.0] * 24]), frame([[1.0] * 24])) == 1.0  # one day


# --- who is champion
# --------------------------------------------------------------------------------------------------------------


def result(model, errors, **parameters):
    return Result(model, parameters, frame(errors), score=float(np.mean(errors)))


@pytest.fixture
def bare_task():

    return Task(SourceData(LOAD, series(LOAD)), END, 24, Training(), "", None)


NAIVE_DAYS = [[10.0] * 24, [10.5] * 24, [9.5] * 24, [10.2] * 24]


def test_the_first_run_takes_the_best_and_a_tie_goes_to_seasonal_naive(bare_task):
    naive, good = result("seasonal_naive", NAIVE_DAYS), result("arima", [[5.0] * 24] * 4)
    assert decide(bare_task, [naive, good], None).champion is good
    assert decide(bare_task, [naive, result("arima", NAIVE_DAYS)], None).champion is naive
    failed = Result("arima", {}, reason="no convergence")
    assert decide(bare_task, [naive, failed], None).champion is naive


def test_the_incumbent_goes_only_for_one_that_is_clearly_better(bare_task):
    naive = result("seasonal_naive", NAIVE_DAYS)
    incumbent = result("prophet", [[6.0] * 24, [7.0] * 24, [6.0] * 24, [7.0] * 24])
    luckier = result(
        "arima", [[9.0] * 24, [1.0] * 24, [9.0] * 24, [6.0] * 24]
    )  # mean 6.25 against 6.5, but not every day
    better = result("arima", [[4.0] * 24, [5.1] * 24, [4.2] * 24, [5.0] * 24])
    assert decide(bare_task, [naive, luckier, incumbent], incumbent).champion is incumbent
    outcome = decide(bare_task, [naive, better, incumbent], incumbent)
    assert outcome.champion is better
    assert outcome.p_value < 0.1
    worse = result("arima", [[8.0] * 24] * 4)
    assert decide(bare_task, [naive, worse, incumbent], incumbent).champion is incumbent


def test_an_incumbent_that_fails_or_no_longer_beats_seasonal_naive_goes(bare_task):
    naive, good = result("seasonal_naive", NAIVE_DAYS), result("arima", [[9.9] * 24] * 4)
    assert decide(bare_task, [naive, good], result("prophet", [[11.0] * 24] * 4)).champion is good
    failed = decide(bare_task, [naive, good], Result("prophet", {}, reason="no convergence"))
    assert failed.champion is good
    assert "no convergence" in failed.verdict


def alternating(actual):
    return (-1.0) ** np.arange(len(actual))


def of_price(errors, spread=1.0):
    """Six days of a price, whose course wanders a little, forecast with these errors.

    Quantiles lie `spread` apart.
    """
    rng, parts = np.random.default_rng(0), []
    for number in range(6):
        issue = pd.Timestamp("2025-01-06T23:00Z") + number * 3 * DAY  # midnight of the market
        actual = 60 + 40 * np.sin(np.arange(24) / 24 * 2 * np.pi) + rng.normal(0, 5, 24)
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": issue,
                    "valid_time": pd.date_range(issue, periods=24, freq="h"),
                    "actual": actual,
                }
            )
        )
    made = pd.concat(parts, ignore_index=True)
    made["value"] = made["actual"] + errors(made["actual"])
    quantiles = {
        name: made["value"] + spread * (place - 3) for place, name in enumerate(QUANTILE_COLUMNS)
    }
    return made.assign(**quantiles, published=False, dark=False, naive=60.0)


@pytest.mark.parametrize(
    ("select_by", "incumbent", "challenger"),
    [
        # off by 2 with a band far too wide, against off by 4 with one of about the right width
        (
            "pinball",
            (lambda actual: 2 * alternating(actual), 300.0),
            (lambda actual: 4 * alternating(actual), 2.0),
        ),
        # the mean of the days, rising a little, tells a battery nothing; the right course at the
        # wrong level tells it all
        (
            "value",
            (lambda actual: actual.mean() - actual + 1e-3 * np.arange(len(actual)), 1.0),
            (lambda actual: 80.0, 1.0),
        ),
    ],
)
def test_a_challenger_wins_by_the_score_that_was_chosen_though_its_errors_are_larger(
    bare_task, select_by, incumbent, challenger
):
    made = replace(
        bare_task,
        data=SourceData(MARKET, series(MARKET)),
        training=replace(bare_task.training, select_by=select_by),
    )
    frames = {
        "seasonal_naive": of_price(lambda actual: -2 * actual, 900.0),
        "prophet": of_price(*incumbent),
        "lear": of_price(*challenger),
    }

    def outcome(chosen):
        task = replace(made, training=replace(made.training, select_by=chosen))
        naive, old, new = (
            Result(name, {}, made, score=score_of(made, task.data, chosen))
            for name, made in frames.items()
        )
        return decide(task, [naive, old, new], old)

    assert outcome(select_by).champion.model == "lear"
    assert outcome(select_by).p_value < 0.1
    assert outcome("mae").champion.model == "prophet"


def test_the_value_that_a_forecast_misses_of_a_day():
    """One hour at 100, all others at 0 EUR/MWh.

    1 MW sold for that hour, bought for nothing, earns 100 EUR; sold at another hour, 0.
    """
    data = SourceData(MARKET, series(MARKET))
    made = of_price(lambda actual: 0.0)
    made["actual"] = np.where(made["valid_time"].dt.hour == 12, 100.0, 0.0)
    made["value"] = made["actual"]
    assert losses(made, data, "value")["loss"].abs().max() < 1e-6
    made["value"] = np.where(made["valid_time"].dt.hour == 3, 100.0, 1.0)
    assert list(losses(made, data, "value")["loss"]) == pytest.approx([100.0] * 6)


# --- tuning
# -----------------------------------------------------------------------------------------------------------------------


def test_tuning_goes_on_where_it_was_and_repeats_itself(world):
    import optuna

    silence()
    made = task(world, trials=3)
    origins = split_origins(START, END, 24, 4)
    model = MODELS["arima"]
    best, count, backtest = tune(made, model, origins.tuning, np.inf)
    assert count == 3
    assert len(backtest) == 24 * len(origins.tuning)
    storage = open_storage(made.storage)
    name = optuna.get_all_study_names(storage)[0]
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.trials[0].params == {
        key: model.defaults[key] for key in study.trials[0].params
    }  # the defaults come first
    study.ask()  # as a killed process leaves a trial
    assert tune(made, model, origins.tuning, np.inf)[:2] == (best, 3)
    fresh = replace(made, storage=made.storage.with_name("other.journal"))
    one, two = replace(fresh, training=replace(fresh.training, trials=1)), fresh
    tune(one, model, origins.tuning, np.inf)  # interrupted after the first
    assert tune(two, model, origins.tuning, np.inf)[:2] == (best, 3)


def test_no_trial_starts_after_the_deadline(world):
    silence()
    origins = split_origins(START, END, 24, 4)
    assert tune(task(world, trials=3), MODELS["arima"], origins.tuning, -np.inf) == ({}, 0, None)


def test_a_trial_that_the_deadline_cuts_short_is_made_again(world, monkeypatch):
    silence()
    made, model, origins = task(world, trials=2), MODELS["arima"], split_origins(START, END, 24, 4)
    clock = iter(range(100))
    with monkeypatch.context() as patched:
        patched.setattr(contest.time, "monotonic", lambda: next(clock))
        assert tune(made, model, origins.tuning, 0.5) == (
            {},
            0,
            None,
        )  # started at 0, after its first origin it is 1
    once = replace(made, training=replace(made.training, trials=1))
    best, count, _ = tune(once, model, origins.tuning, np.inf)
    assert count == 1
    assert best == {key: model.defaults[key] for key in best}  # again with the defaults
    assert tune(made, model, origins.tuning, np.inf)[1] == 2


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = (
        "from vpp.runtime.files import FileLock; "
        f"from pathlib import Path; FileLock(Path({str(tmp_path / 'lock')!r})).acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with FileLock(tmp_path / "lock"):
        pass


# --- training
# ---------------------------------------------------------------------------------------------------------------------


class Broken(DailyNaive):
    """A model that cannot be fitted."""

    name = "broken"

    def _fit(self, known):
        raise np.linalg.LinAlgError("singular matrix")


class Unsaved(DailyNaive):
    """The best model there is, which forgets itself when it is saved."""

    name = "unsaved"

    def _value(self, known, times):
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


def test_training_registers_a_champion_and_logs_what_led_to_it(world, monkeypatch):
    monkeypatch.setitem(MODELS, "broken", Broken)
    monkeypatch.setitem(MODELS, "unsaved", Unsaved)
    rows = train_forecast.train(world, models=["broken", "daily_naive", "unsaved"])
    by_model = {row["model"]: row for row in rows}
    assert [row["model"] for row in rows if row["champion"]] == ["daily_naive"]
    assert "singular matrix" in by_model["broken"]["note"]
    assert by_model["broken"]["mae"] is None
    assert by_model["unsaved"]["note"].startswith("failed: saved and loaded")
    naive, daily = by_model["seasonal_naive"], by_model["daily_naive"]
    assert daily["mae_ratio_naive"] == pytest.approx(daily["mae"] / naive["mae"])
    assert daily["mae_ratio_naive"] < 1
    client = registry.open_store(world)
    runs = runs_of(world, client)
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
    champion = registry.read_champion(client, "load-1")
    assert (champion.model, champion.version, champion.trained_until) == ("daily_naive", "1", END)


def test_training_again_changes_nothing_and_a_worse_challenger_leaves_the_alias(world):
    first = train_forecast.train(world, models=["daily_naive"])
    again = train_forecast.train(world, models=["daily_naive"])
    drop = {"seconds", "note"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in first] == [
        {k: v for k, v in row.items() if k not in drop} for row in again
    ]
    rows = train_forecast.train(
        world, models=["mixed_naive"]
    )  # the incumbent is compared with it, though not asked for
    assert [row["model"] for row in rows if row["champion"]] == ["daily_naive"]
    client = registry.open_store(world)
    assert registry.read_champion(client, "load-1").version == "1"
    assert len(client.search_model_versions("name='vpp-load-1'")) == 1


def test_a_champion_that_stays_is_registered_as_fitted_now(world):
    client = registry.open_store(world)
    train_forecast.train(world, END - 2 * DAY)
    rows = train_forecast.train(world)
    assert [row["note"] for row in rows if row["champion"]] == ["champion stays: still the best"]
    champion = registry.read_champion(client, "load-1")
    assert (champion.model, champion.version, champion.trained_until) == ("daily_naive", "2", END)
    train_forecast.train(world, END - DAY)  # the past is no reason to go back
    assert registry.read_champion(client, "load-1") == champion


def test_a_better_challenger_takes_the_alias(world):
    crown(world, LOAD, "mixed_naive")
    train_forecast.train(world, models=["daily_naive"])
    champion = registry.read_champion(registry.open_store(world), "load-1")
    assert (champion.model, champion.version) == ("daily_naive", "2")


def test_nothing_known_after_the_issue_time_is_used(world):
    issue_time = END - 3 * DAY
    before = train_forecast.train(world, issue_time, models=["arima", "daily_naive"])
    with db.session(world) as conn:
        later = series(LOAD)[issue_time:]
        store(conn, LOAD, later * 3 + 100)
    after = train_forecast.train(world, issue_time, models=["arima", "daily_naive"])
    keys = ("model", "champion", "mae", "pinball", "coverage_80")
    assert [[row[key] for key in keys] for row in before] == [
        [row[key] for key in keys] for row in after
    ]
    client = registry.open_store(world)
    hashes = {
        run.data.tags["data_hash"]
        for run in client.search_runs([client.get_experiment_by_name("vpp").experiment_id])
    }
    assert len(hashes) == 1


def test_the_band_of_a_champion_knows_all_errors_that_are_known_and_no_other(world):
    """With a delay of 5 h, so many values are stored but not known.

    Those before them, of the test origins, shift the band.
    """
    made, origins = task(world), split_origins(START, END, 24, 4)

    def champion(changed: slice):
        values = load_data(world, LOAD).series
        values.iloc[changed] *= 3
        delayed = replace(made, data=replace(made.data, series=values, measurement_delay_min=300))
        fitted, scores = fit_champion(delayed, Result("daily_naive", {}), origins)
        return fitted.calibration.shifts, scores["coverage_80"]

    shifts, coverage = champion(slice(0, 0))
    assert np.array_equal(champion(slice(-5, None))[0], shifts)
    assert not np.array_equal(champion(slice(-8, -5))[0], shifts)
    assert 0 < coverage < 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [(lambda s: s * 0 + 500.0, "flat line"), (lambda s: s[-24 * 10 :], "days of history")],
)
def test_a_flat_line_or_a_short_history_gives_seasonal_naive_as_fallback(
    config_file, tmp_path_factory, values, reason
):
    config = load_config(config_file(**QUICK))
    with db.session(config) as conn:
        store(conn, LOAD, values(series(LOAD)))
    make_store(config, tmp_path_factory)
    rows = train_forecast.train(config)
    assert [(row["model"], row["champion"]) for row in rows] == [("seasonal_naive", True)]
    assert rows[0]["note"].startswith("fallback: ")
    assert reason in rows[0]["note"]
    assert registry.read_champion(registry.open_store(config), "load-1") is None


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
    config = gap(
        origins.selection[0] - DAY, origins.selection[1]
    )  # tuning ends, and selection starts, in a gap
    found = contest.train_source(task(config))
    assert list(found.origins.selection) == list(origins.selection[1:])
    assert found.champion.model == "daily_naive"
    assert set(found.champion.frame["issue_time"]) == set(origins.selection[1:])


def test_a_source_whose_models_cannot_be_compared_falls_back_and_the_others_are_trained(gap):
    origins = split_origins(START, END, 24, 4)
    config = gap(origins.selection[0], origins.selection[-1] + DAY)
    rows = {row["source_id"]: row for row in train_forecast.train(config) if row["champion"]}
    assert (rows["load-1"]["model"], rows["load-1"]["mae"]) == ("seasonal_naive", None)
    assert rows["load-1"]["note"].startswith(
        "fallback: nothing measured after the selection origins, 2025-02-"
    )
    client = registry.open_store(config)
    assert registry.read_champion(client, "load-1") is None
    assert registry.read_champion(client, "market-1") is not None


def test_where_no_model_at_all_can_be_compared_seasonal_naive_is_the_fallback(world, monkeypatch):
    for name in ("seasonal_naive", "daily_naive"):
        monkeypatch.setitem(MODELS, name, type("Named", (Broken,), {"name": name}))
    rows = train_forecast.train(world)
    assert [row["model"] for row in rows if row["champion"]] == ["seasonal_naive"]
    assert rows[0]["note"].startswith("fallback: no model can be trained: singular matrix (in ")
    assert rows[1]["note"].startswith("failed: singular matrix (in ")


@pytest.mark.parametrize("where", ["train_source", "record"])
def test_a_source_that_fails_is_said_in_one_line_and_the_others_are_registered(
    gap, monkeypatch, capsys, where
):
    config = gap(END, END)
    module, name = {"train_source": (contest, "compare_models"), "record": (logbook, "register")}[
        where
    ]
    whole = getattr(module, name)

    def fails(*arguments):
        if LOAD.name in repr(arguments):
            raise RuntimeError("disk full")
        return whole(*arguments)

    monkeypatch.setattr(module, name, fails)
    assert train_forecast.main(["--config", str(config.path)]) == 1
    output = capsys.readouterr()
    assert "market-1" in output.out
    [line] = [
        line for line in output.err.splitlines() if "; the other sources (1) are trained" in line
    ]
    assert "load-1: failed: disk full (in " in line
    client = registry.open_store(config)
    assert registry.read_champion(client, "load-1") is None
    assert registry.read_champion(client, "market-1") is not None


def test_the_script_trains_in_parallel_and_says_only_what_is_asked(
    config_file, tmp_path_factory, script
):
    path = config_file(**{**QUICK, "training": QUICK["training"] | {"jobs": 2}})
    config = load_config(path)
    fill(config, LOAD, MARKET)
    make_store(config, tmp_path_factory)
    done = subprocess.run(
        script("train_forecast.py", "--config", path),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "load-1" in done.stdout
    assert "market-1" in done.stdout
    assert all(" train_forecast: " in line for line in done.stderr.splitlines()), done.stderr


def test_what_cannot_be_trained_is_refused_in_one_line(world, capsys):
    with pytest.raises(ConfigError, match="model nosuch is unknown"):
        train_forecast.train(world, models=["nosuch"])
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
        assert train_forecast.main(["--config", str(world.path), *arguments]) == code
        error = capsys.readouterr().err
        assert part in error
        assert len(error.splitlines()) == 1


# --- saved and loaded
# --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_store(tmp_path_factory):
    """A MLflow store for the models of this module, without a database."""

    folder = tmp_path_factory.mktemp("models")
    path = folder / "config.ini"
    path.write_text(f"[paths]\nstate_dir = {folder / 'state'}\n")
    config: Config = load_config(path, {})
    make_store(config, tmp_path_factory)
    return registry.open_store(config)


@pytest.mark.parametrize(
    "uri",
    [
        "foo://user:hunter2@host/x",
        "postgresql://user:hunter2@[host/x",
        "postgresql://user:hunter2@/x?y:z",
    ],
)
def test_a_refused_address_of_the_store_ends_in_one_line_without_its_password(tmp_path, uri):
    path = tmp_path / "config.ini"
    path.write_text(f"[paths]\nstate_dir = {tmp_path}\n[mlflow]\ntracking_uri = {uri}\n")
    with pytest.raises(registry.ModelStoreError, match=r"\[mlflow\] tracking_uri") as raised:
        registry.open_store(load_config(path, {}))
    assert "hunter2" not in str(raised.value) and raised.value.__suppress_context__


SMALL = {
    "nbeats": {"width": 32, "epochs": 2},
    "random_forest": {"trees": 10},
    "lightgbm": {"trees": 20},
}


WIND = replace(LOAD, source_id="wind-1", kind="wind")


def data_with_all(source):
    """A source with weather forecasts issued twice a day that overlap and differ, and a price with
    the power of a load.
    """
    issues = pd.date_range(START, END - DAY, freq="12h")
    leads = np.tile(pd.timedelta_range("0h", "59h", freq="h"), len(issues))
    weather = pd.DataFrame({"issue_time": issues.repeat(60)})
    weather["valid_time"] = weather["issue_time"] + leads
    weather["wind_speed"] = np.random.default_rng(5).uniform(0, 12, len(weather))
    values = series(source)
    values.iloc[100:102] = np.nan  # a short gap, filled but not learnt from
    return SourceData(
        source, values, weather, series(LOAD).to_frame("load-1") if source is MARKET else None
    )


@pytest.mark.parametrize(
    ("name", "source"),
    [*((name, MARKET if name == "lear" else WIND) for name in MODELS), ("random_forest", MARKET)],
)
def test_every_model_forecasts_the_same_after_saving_and_loading(model_store, name, source):
    import mlflow

    data = data_with_all(source)
    known = known_at(data, END)
    parameters = {
        key: value for key, value in SMALL.get(name, {}).items() if key in MODELS[name].defaults
    }
    fitted = MODELS[name](horizon_h=24, **parameters).fit(known)
    expected = fitted.predict(known, 24)
    with mlflow.start_run():
        version = registry.register(model_store, data, fitted, {})
    champion = registry.read_champion(model_store, source.source_id)
    assert (champion.model, champion.version) == (name, version)
    assert champion.parameters == fitted.parameters
    pd.testing.assert_frame_equal(registry.load_champion(champion).predict(known, 24), expected)
    served = mlflow.pyfunc.load_model(f"models:/vpp-{source.source_id}@champion")
    answer = served.predict(
        registry.model_input(data, END), params={"steps": 24, "issue_time": END.isoformat()}
    )
    assert list(answer["valid_time"]) == [
        at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in expected.index
    ]
    assert list(answer.columns) == ["valid_time", *COLUMNS]
    np.testing.assert_array_equal(answer[list(COLUMNS)], expected[list(COLUMNS)])
    pinned = served.metadata.get_output_schema(), registry.requirements(MODELS[name])
    assert pinned[0].input_names()[0] == "valid_time"
    assert all("==" in item for item in pinned[1])
