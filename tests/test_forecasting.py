"""The command line of forecasting.py: forecasts, backtests, and what cannot be done."""

import dataclasses
import json

import pandas as pd
import pytest
from small_days import END, data_of, source

import db
import forecasting
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.runtime.config import load_config
from vpp.site.times import DAY


@pytest.fixture
def filled(config_file):
    """A configuration whose database holds 40 days of a load and a price."""

    path = config_file(site={"holidays_country": "LU"})
    settings = load_config(path)
    with db.session(settings) as conn:
        for kind, table, column in (
            ("load", "load", "power_kw"),
            ("market", "market_prices", "price_eur_per_mwh"),
        ):
            data = data_of(kind, days=40)
            db.upsert_sources(conn, [data.source])
            store(conn, table, column, data)
    return path, settings


def store(conn, table: str, column: str, data: SourceData) -> None:
    frame = pd.DataFrame(
        {
            "source_id": data.source.source_id,
            "time": data.grid.index,
            column: data.grid.to_numpy(),
            "sent_at": END,
        }
    )
    if table == "market_prices":
        frame["available_at"] = data.available_at
    names, places = ", ".join(frame.columns), ", ".join(["%s"] * len(frame.columns))
    with conn.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({places})",
            frame.astype(object).to_numpy().tolist(),
        )


class TestCommandLine:
    def test_it_forecasts_every_source_and_saves_with_role_manual(self, filled, capsys, tmp_path):
        path, settings = filled
        picture = tmp_path / "load.png"
        command = ["--config", str(path), "--model", "arima", "--horizon-h", "24"]
        assert forecasting.main(command) == 0
        assert "load-1" in capsys.readouterr().out
        again = [*command, "--source", "load-1", "--plot", str(picture), "--json"]
        assert forecasting.main(again) == 0  # again: nothing doubles
        assert [(row["source_id"], row["rows"]) for row in json.loads(capsys.readouterr().out)] == [
            ("load-1", 24)
        ]
        assert picture.stat().st_size > 10_000
        with db.session(settings) as conn:
            runs = db.read_forecast_runs(conn)
            assert set(runs["role"]) == {"manual"}
            assert sorted(runs["source_id"]) == ["load-1", "market-1"]
            run, frame = db.read_forecasts(conn, "load-1", END, roles=("manual",))
            assert (run.model, len(frame), frame.index[0]) == ("arima", 24, END)
            assert db.read_forecasts(conn, "load-1", END) is None  # plans do not read it

    def test_a_model_for_another_kind_is_refused_and_the_others_are_forecast(self, filled, capsys):
        path, settings = filled
        assert forecasting.main(["--config", str(path), "--model", "first_day"]) == 1
        seen = capsys.readouterr()
        assert "market-1: first_day is not for a market source" in seen.err
        assert "load-1" in seen.out
        with db.session(settings) as conn:
            assert set(db.read_forecast_runs(conn)["source_id"]) == {"load-1"}
        past = [*("--config", str(path)), "backtest", "--source", "load-1", "--origins", "2"]
        assert forecasting.main([*past, "--model", "lear"]) == 1
        assert "load-1: lear is not for a load source" in capsys.readouterr().err

    def test_a_new_plant_is_forecast_by_its_own_model(self, filled, capsys):
        path, settings = filled
        with db.session(settings) as conn, conn.cursor() as cursor:
            cursor.execute("DELETE FROM load WHERE time < %s", (END - 5 * DAY,))
            conn.commit()
        command = ["--config", str(path), "--source", "load-1", "--json"]
        for model, made in (("first_day", "first_day"), ("hourly_ridge", "seasonal_naive")):
            assert forecasting.main([*command, "--model", model]) == 0
            assert json.loads(capsys.readouterr().out)[0]["model"] == made

    def test_backtest_writes_its_rows_and_prints_scores(self, filled, capsys, tmp_path):
        path, _ = filled
        output = tmp_path / "backtest.csv"
        command = [
            "--config",
            str(path),
            "backtest",
            "--source",
            "load-1",
            "--model",
            "seasonal_naive",
            "--json",
        ]
        assert (
            forecasting.main(
                [*command, "--origins", "5", "--horizon-h", "24", "--output", str(output)]
            )
            == 0
        )
        [result] = json.loads(capsys.readouterr().out)
        assert (result["origins"], result["rows"], result["rmae"]) == (5, 120, pytest.approx(1.0))
        frame = pd.read_csv(output)
        assert list(frame.columns) == [
            "issue_time",
            "valid_time",
            "value",
            *QUANTILE_COLUMNS,
            "actual",
        ]
        assert len(frame) == 120
        assert frame["issue_time"].max() == "2025-04-09T00:00:00Z"

    def test_backtest_of_local_days(self, filled, capsys, tmp_path):
        path, _ = filled
        output = tmp_path / "days.csv"
        days = ["--from", "2025-03-29", "--to", "2025-03-31", "--issue-local", "11:00"]
        command = [
            "--config",
            str(path),
            "backtest",
            "--source",
            "market-1",
            "--model",
            "daily_naive",
            "--json",
        ]
        assert forecasting.main([*command, *days, "--output", str(output)]) == 0
        [result] = json.loads(capsys.readouterr().out)
        assert result["rows"] == 24 + 23 + 24
        assert result["captured_share"] <= 1
        assert list(pd.read_csv(output)["issue_time"].unique()) == [
            "2025-03-28T10:00:00Z",
            "2025-03-29T10:00:00Z",
            "2025-03-30T09:00:00Z",
        ]

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (
                ["--source", "load-9"],
                2,
                "source load-9 is unknown; expected one of load-1, market-1",
            ),
            (["--model", "oracle"], 2, "model oracle is unknown; expected one of "),
            (["--issue-time", "2025-04-01T00:00"], 2, "expected an ISO-8601 time with its zone"),
            (
                ["--issue-time", "2025-03-20T00:17Z"],
                2,
                "00:17:00Z: expected the start of an interval of load-1, one in 60 min",
            ),
            (["--plot", "x.png"], 2, "expected one source"),
            (
                ["--source", "load-1", "--plot", "x.html"],
                2,
                "expected a file that ends in .png, .svg, .pdf",
            ),
            (["--horizon-h", "-1"], 2, "--horizon-h: -1: expected a whole number above 0"),
            (
                ["--issue-time", "2020-01-01T00:00Z"],
                1,
                "before 2020-01-01T00:00Z; its data are from 2025-03-01T00:00Z to 2025-04-09",
            ),
            (
                ["--issue-time", "2030-01-01T00:00Z"],
                1,
                "before 2030-01-01T00:00Z; its data are from 2025-03-01T00:00Z to 2025-04-09",
            ),
            (["backtest", "--source", "load-1"], 2, "expected either --origins"),
            (
                ["backtest", "--source", "load-1", "--origins", "-5"],
                2,
                "-5: expected a whole number above 0",
            ),
            (
                ["backtest", "--source", "load-1", "--from", "2025-03-02", "--to", "2025-03-01"],
                2,
                "2025-03-02 is after --to 2025-03-01",
            ),
            (
                ["backtest", "--source", "load-1", "--origins", "2", "--refit-days", "nan"],
                2,
                "--refit-days nan: expected more than 0",
            ),
            (
                ["backtest", "--source", "load-1", "--origins", "2", "--issue-local", "25:00"],
                2,
                "expected a time of day such as 11:00",
            ),
            (
                ["backtest", "--source", "load-1", "--origins", "2", "--output", "/dev/null/a.csv"],
                2,
                "cannot be written",
            ),
            (
                ["backtest", "--source", "load-1", "--origins", "40"],
                1,
                "choose later or fewer origins",
            ),
        ],
    )
    def test_what_cannot_be_done_is_said_in_one_line(
        self, filled, capsys, arguments, code, message
    ):
        path, _ = filled
        with pytest.raises(SystemExit) as left:
            raise SystemExit(forecasting.main(["--config", str(path), *arguments]))
        assert left.value.code == code
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1 or "seasonal naive stands in" in error

    def test_what_a_plant_gave_while_curtailed_is_left_out(self, filled):
        _, settings = filled
        plant = dataclasses.replace(
            source(), parameters={"curtailed": [["2025-03-20T09:00Z", "2025-03-20T13:00+01:00"]]}
        )
        with db.session(settings) as conn:
            left = forecasting.load_source_data(conn, settings, plant).series
        assert list(left.index[left.isna()].hour) == [
            9,
            10,
            11,
        ]  # the interval from 12:00 UTC is not curtailed

    @pytest.mark.parametrize(
        "given",
        [
            [["2025-03-20T09:00", "2025-03-20T12:00Z"]],
            [["2025-03-20T09:00Z"]],
            ["2025-03-20"],
            5,
            None,
        ],
    )
    def test_a_curtailed_period_without_zone_or_end_is_refused_in_one_line(
        self, filled, capsys, given
    ):
        path, settings = filled
        with db.session(settings) as conn:
            db.upsert_sources(
                conn, [dataclasses.replace(source(), parameters={"curtailed": given})]
            )
        assert forecasting.main(["--config", str(path), "--source", "load-1", "--no-save"]) == 1
        error = capsys.readouterr().err
        assert "load-1: curtailed = " in error
        assert "with their zone" in error
        assert error.count("\n") == 1

    def test_powers_of_longer_intervals_than_the_prices_are_known_from_their_end(self, filled):
        _, settings = filled
        market, fine = source("market"), dataclasses.replace(source("market"), step_min=15)
        with db.session(settings) as conn:
            assert list(forecasting.load_source_data(conn, settings, market).others) == ["load-1"]
            data = forecasting.load_source_data(conn, settings, fine)
        hourly = data.others["load-1"][::4]
        assert (data.others["load-1"].to_numpy() == hourly.to_numpy().repeat(4)).all()
        for minutes in (0, 15, 45, 60):  # an hour's mean is not known after a quarter of it
            known = known_at(data, END - DAY + pd.Timedelta(minutes=minutes))
            expected = END - DAY + pd.Timedelta(minutes=45 if minutes == 60 else -15)
            assert known.others.index[-1] == expected

    def test_a_flat_line_falls_back_to_seasonal_naive(self, filled, capsys):
        path, settings = filled
        with db.session(settings) as conn, conn.cursor() as cursor:
            cursor.execute("UPDATE load SET power_kw = 5 WHERE time >= %s", (END - 8 * DAY,))
        assert forecasting.main(["--config", str(path), "--source", "load-1"]) == 0
        assert "seasonal_naive" in capsys.readouterr().out
