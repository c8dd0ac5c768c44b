import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, crown, fill, load_data, make_store, series, store

import db
import forecast_and_save
import forecasting
from forecast_and_save import forecast_all
from forecasting import ForecastError
from vpp.champions import forecasts, registry
from vpp.champions.history import load_source_data
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.config import load_config
from vpp.site.times import price_available_at
from vpp.storage import results
from vpp.storage.rows import copy_frame

DAY = pd.Timedelta(days=1)


@pytest.fixture
def world(config_file, tmp_path_factory):
    """A configuration whose database holds 50 days of a load, with an empty MLflow store."""
    config = load_config(config_file(training={"jobs": 1}))
    fill(config, LOAD)
    make_store(config, tmp_path_factory)
    return config


@pytest.fixture
def quick_stand_in(monkeypatch):
    """Prophet's place taken by a model that needs no time."""
    monkeypatch.setitem(MODELS, "prophet", type("Quick", (DailyNaive,), {"name": "prophet"}))


def stored(config, source=LOAD, issue_time=END, roles=("champion", "fallback")):
    with db.session(config) as conn:
        return db.read_forecasts(conn, source.source_id, issue_time, roles)


def dump(config) -> list:
    """Everything that the database holds about forecasts, also when it was written."""
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT * FROM forecast_runs ORDER BY run_id")
        runs = cursor.fetchall()
        cursor.execute("SELECT * FROM forecasts ORDER BY run_id, valid_time")
        return [*runs, *cursor.fetchall()]


def test_the_champion_forecasts(world):
    fitted = crown(world, LOAD, "daily_naive")
    (row,) = forecast_all(world)
    found = [row[key] for key in ("model", "role", "version", "rows", "note")]
    assert found == ["daily_naive", "champion", "1", 48, ""]
    run, frame = stored(world)
    assert (run.issue_time, run.trained_until, run.model_version) == (END, END, "1")
    expected = fitted.predict(known_at(load_data(world, LOAD), END), 48)
    np.testing.assert_array_equal(frame[list(COLUMNS)], expected[list(COLUMNS)])
    assert frame.index.equals(expected.index)


def test_running_twice_changes_nothing_and_a_new_champion_does(world):
    crown(world, LOAD, "daily_naive")
    forecast_all(world)
    before = dump(world)
    assert len(before) == 49
    forecast_all(world)
    assert dump(world) == before
    crown(world, LOAD, "mixed_naive")
    forecast_all(world)
    assert stored(world)[0].model == "mixed_naive"  # the newest run is what plans read
    assert len(dump(world)) == 2 * 49


def test_a_champion_that_has_seen_the_future_is_fitted_anew(world):
    crown(world, LOAD, "arima", END)
    issue_time = END - 3 * DAY
    (row,) = forecast_all(world, issue_time)
    assert (row["model"], row["role"]) == ("arima", "champion")
    assert "has seen data until" in row["note"]
    run, frame = stored(world, issue_time=issue_time)
    assert run.trained_until == issue_time
    with db.session(world) as conn:  # what comes later is nothing to it
        store(conn, LOAD, series(LOAD)[issue_time:] * 5)
    forecast_all(world, issue_time)
    pd.testing.assert_frame_equal(stored(world, issue_time=issue_time)[1], frame)


def test_a_champion_fitted_long_ago_is_fitted_anew(world):
    crown(world, LOAD, "daily_naive", END - 29 * DAY)
    (row,) = forecast_all(world)
    assert "fitted anew" in row["note"]
    assert stored(world)[0].trained_until == END


def test_prophet_stands_in_where_there_is_no_champion(world):
    (row,) = forecast_all(world)
    assert (row["model"], row["role"], row["version"]) == ("prophet", "fallback", None)
    assert "no champion" in row["note"]
    assert stored(world)[0].role == "fallback"


def test_a_champion_that_cannot_be_loaded_is_replaced_and_named(world, quick_stand_in):
    crown(world, LOAD, "daily_naive")
    shutil.rmtree(world.paths.state_dir / "mlartifacts")
    (row,) = forecast_all(world)
    assert (row["model"], row["role"]) == ("prophet", "fallback")
    assert "cannot be loaded" in row["note"]


class Payload:
    """A pickle of it writes a file when it is loaded, as one that somebody has put there may."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("change", ["payload", "other model", "no digest"])
def test_a_champion_that_was_not_registered_so_is_not_opened(
    world, quick_stand_in, tmp_path, change
):
    """Its file was changed in the store, or the database knows nothing of it."""
    crown(world, LOAD, "daily_naive")
    [file] = (world.paths.state_dir / "mlartifacts").rglob("model.pkl")
    if change == "payload":
        file.write_bytes(pickle.dumps(Payload(tmp_path / "was-run")))
    elif change == "other model":
        with db.session(world) as conn, conn.cursor() as cursor:
            cursor.execute("UPDATE model_digests SET sha256 = repeat('0', 64)")
    else:
        with db.session(world) as conn, conn.cursor() as cursor:
            cursor.execute("DELETE FROM model_digests")
    (row,) = forecast_all(world)
    assert not (tmp_path / "was-run").exists()
    assert (row["model"], row["role"]) == ("prophet", "fallback")
    expected = "the database has no digest" if change == "no digest" else "is not the one that was"
    assert expected in row["note"] and "run python train_forecast.py" in row["note"]


def test_the_payload_of_these_tests_would_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "was-run")))
    assert (tmp_path / "was-run").read_text() == "run"


def test_seasonal_naive_stands_in_for_prophet(world, monkeypatch):
    def fail(self, known):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(MODELS["prophet"], "_fit", fail)
    (row,) = forecast_all(world)
    assert (row["model"], row["role"]) == ("seasonal_naive", "fallback")
    assert "prophet: no compiler (in " in row["note"]


def test_without_mlflow_the_stand_in_forecasts_and_says_so(world, quick_stand_in):
    lost = replace(world, mlflow=replace(world.mlflow, tracking_uri="http://127.0.0.1:9"))
    (row,) = forecast_all(lost)
    assert row["role"] == "fallback"
    assert "MLflow" in row["note"]


def test_a_flat_line_is_continued_as_fallback(world):
    crown(world, LOAD, "daily_naive")
    with db.session(world) as conn:
        store(conn, LOAD, series(LOAD)[END - 10 * DAY :] * 0 + 123.0)
    (row,) = forecast_all(world)
    assert (row["model"], row["role"]) == ("seasonal_naive", "fallback")
    assert "flat line" in row["note"]
    assert (stored(world)[1]["value"] == 123.0).all()


def test_published_prices_are_their_own_forecast(world):
    """The data end at 01:00 Brussels of 25 February.

    Prices until 24:00 of that day are published, 23 hours.
    """
    fill(world, MARKET)
    crown(world, MARKET, "daily_naive")
    forecast_all(world, source="market-1")
    frame, actual = stored(world, MARKET)[1], series(MARKET)
    published = frame.index < pd.Timestamp("2025-02-25T23:00Z")
    assert published.sum() == 23
    assert list(frame["published"]) == list(published)
    for column in COLUMNS:
        np.testing.assert_array_equal(frame.loc[published, column], actual[frame.index[published]])
    assert (frame.loc[~published, "q95"] > frame.loc[~published, "q05"]).all()


def test_prices_of_the_database_carry_when_they_were_known(world):
    """As the sink stored them.

    The publication that the configuration names now is of prices to come.
    """
    fill(world, MARKET)
    later = replace(world, forecast=replace(world.forecast, price_publication="23:00"))
    for config in (world, later):
        data = load_data(config, MARKET)
        pd.testing.assert_index_equal(data.available_at, price_available_at(data.grid.index))
    with db.session(world) as conn, conn.cursor() as cursor:
        cursor.execute("UPDATE market_prices SET available_at = time - interval '2 hours'")
    known = known_at(load_data(world, MARKET), END)
    assert known.series.index[-1] == END + pd.Timedelta(hours=2)


def test_the_error_of_yesterday(world):
    crown(world, LOAD, "daily_naive", END - 2 * DAY)
    forecast_all(world, END - DAY)
    (row,) = forecast_all(world, END)
    yesterday, actual = stored(world, issue_time=END - DAY)[1]["value"], series(LOAD)
    assert row["yesterday_mae"] == pytest.approx(
        np.abs(yesterday[:24] - actual[yesterday.index[:24]]).mean()
    )


def test_the_error_of_yesterdays_prices_is_that_of_a_forecast_made_before_they_were_published(
    world,
):
    fill(world, MARKET)
    crown(world, MARKET, "daily_naive", END - 3 * DAY)
    forecast_all(
        world, END - DAY, source="market-1"
    )  # knows all but the last hour of the day that follows, in UTC
    assert forecast_all(world, END, source="market-1")[0]["yesterday_mae"] is None
    forecast_all(world, END - 2 * DAY, source="market-1")
    (row,) = forecast_all(world, END, source="market-1")
    frame, actual = stored(world, MARKET, END - 2 * DAY)[1], series(MARKET)
    late = frame.index[frame.index >= END - DAY]
    assert len(late) == 24
    assert row["yesterday_mae"] == pytest.approx(np.abs(frame["value"][late] - actual[late]).mean())


def test_a_source_that_cannot_be_forecast_does_not_keep_the_others_from_it(world, monkeypatch):
    fill(world, MARKET)
    for source in (LOAD, MARKET):
        crown(world, source, "daily_naive")
    load_data_of = load_source_data

    def emptied(connection, config, source, start):
        data = load_data_of(connection, config, source, start)
        return replace(data, series=data.series[:0]) if source.kind == "market" else data

    monkeypatch.setattr(forecasts, "load_source_data", emptied)
    with pytest.raises(
        ForecastError,
        match=r"^no forecast from .* of market-1 \(.*\); the other sources' forecasts are saved$",
    ):
        forecast_all(world)
    assert stored(world)[0].role == "champion"


def test_horizon_and_steps(world):
    crown(world, LOAD, "daily_naive")
    assert forecast_all(world, horizon_h=5)[0]["rows"] == 5


def test_backfill_forecasts_past_issue_times_with_what_was_known(world):
    crown(world, LOAD, "daily_naive")
    rows = forecast_all(world, backfill_days=32, every_h=24)
    assert (rows[0]["runs"], rows[0]["rows"], rows[0]["role"]) == (32, 32 * 48, "backtest")
    with db.session(world) as conn:
        runs = db.read_forecast_runs(conn, "load-1", ["backtest"])
    assert sorted(runs["issue_time"]) == [END - back * DAY for back in range(32, 0, -1)]
    assert (runs["trained_until"] <= runs["issue_time"]).all()
    assert (runs["issue_time"] - runs["trained_until"] < 28 * DAY).all()
    before = dump(world)
    forecast_all(world, backfill_days=32, every_h=24)
    assert dump(world) == before
    cut = END - 10 * DAY
    with db.session(world) as conn:
        store(conn, LOAD, series(LOAD)[cut:] * 2 + 50)
    early = stored(world, issue_time=cut, roles=["backtest"])[1]
    forecast_all(world, backfill_days=32, every_h=24)
    pd.testing.assert_frame_equal(stored(world, issue_time=cut, roles=["backtest"])[1], early)
    assert dump(world) != before


@pytest.mark.parametrize("away", [-500.0, 500.0])
@pytest.mark.parametrize(
    ("model", "days"), [("daily_naive", 14), ("hourly_ridge", 30), ("lightgbm", 14)]
)
def test_each_value_that_is_issued_lies_in_its_own_band(world, monkeypatch, model, days, away):
    """A model that says other values than its band, also where nothing has calibrated it yet."""
    pairs = MODELS[model].forecast_pairs

    def apart(self, *asked):
        return pairs(self, *asked) + away * np.eye(1, len(COLUMNS))

    crown(world, LOAD, model)
    with monkeypatch.context() as patched:
        patched.setattr(MODELS[model], "forecast_pairs", apart)
        forecast_all(world)  # as it was crowned: not calibrated
        forecast_all(world, backfill_days=36)
        command = ["--config", str(world.path), "--source", "load-1", "--model", model]
        early = END - (50 - days) * DAY  # of few days, that the model itself can still do with
        assert forecasting.main([*command, "--issue-time", early.isoformat()]) == 0
    with db.session(world) as conn:
        runs = db.read_forecast_runs(conn, "load-1", ["champion", "backtest", "manual"])
    assert set(runs["role"]) == {"champion", "backtest", "manual"}
    assert set(runs["model"][runs["role"] != "backtest"]) == {model}  # none stands in
    for issue_time, role in zip(runs["issue_time"], runs["role"], strict=True):
        frame = stored(world, issue_time=issue_time, roles=[role])[1]
        assert (frame["value"] >= frame["q10"]).all() and (frame["value"] <= frame["q90"]).all()


def test_backfill_before_there_is_history_enough(world):
    """Issue times of 49 days.

    Fourteen days of history are there from day 14 on, so 13 of them have seasonal naive.
    """
    crown(world, LOAD, "daily_naive")
    (row,) = forecast_all(world, backfill_days=49)
    assert (row["model"], row["runs"]) == ("seasonal_naive+daily_naive", 49)
    with db.session(world) as conn:
        models = db.read_forecast_runs(conn, "load-1")["model"].value_counts()
    assert dict(models) == {"daily_naive": 36, "seasonal_naive": 13}


def test_all_or_nothing_is_saved(world, monkeypatch):
    fill(world, MARKET)
    for source in (LOAD, MARKET):
        crown(world, source, "daily_naive")

    def die(cursor, table, frame):
        copy_frame(cursor, table, frame)
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "copy_frame", die)
    with pytest.raises(KeyboardInterrupt):
        forecast_all(world)
    monkeypatch.undo()
    assert dump(world) == []
    forecast_all(world)
    assert len(dump(world)) == 2 * 49


def test_the_script_prints_its_table_and_nothing_else(world, script):
    crown(world, LOAD, "random_forest", trees=10)
    done = subprocess.run(
        script("forecast_and_save.py", "--config", world.path, "--json"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert '"random_forest"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--issue-time", "2025-02-20T00:00"], 2, "with its zone"),
        (["--source", "load-9"], 2, "source load-9 is unknown; expected one of load-1"),
        (["--issue-time", "2025-02-20T00:17Z"], 2, "the start of an interval of load-1"),
        (["--horizon-h", "0"], 2, "--horizon-h: 0: expected"),
        (["--backfill-days", "-1"], 2, "--backfill-days: -1: expected"),
        (["--issue-time", "2024-01-01T00:00Z"], 1, "nothing measured in the 365 days before 2024"),
        (["--issue-time", "2044-01-01T00:00Z"], 1, "nothing measured in the 365 days before 2044"),
        (["--every-h", "3"], 2, "--every-h 3: is read with --backfill-days only"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(world, capsys, arguments, code, part):
    with pytest.raises(SystemExit) as left:
        raise SystemExit(forecast_and_save.main(["--config", str(world.path), *arguments]))
    assert left.value.code == code
    error = capsys.readouterr().err
    assert part in error
    assert len(error.splitlines()) == 1


def test_a_champion_of_a_model_that_is_gone_is_none(world, quick_stand_in):
    crown(world, LOAD, "daily_naive")
    registry.open_store(world).set_model_version_tag("vpp-load-1", "1", "model", "gone")
    assert forecast_all(world)[0]["role"] == "fallback"
