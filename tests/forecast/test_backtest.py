"""Backtest, calibration over origins, scores against a second implementation, the battery that
values prices, and the command line.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

import db
import forecasting
from forecasting import (
    ForecastError,
    backtest,
    battery_day,
    day_ahead_origins,
    rolling_calibration,
    scores,
)
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.runtime.config import load_config
from vpp.site.sources import Source
from vpp.site.times import DAY

BRUSSELS = "Europe/Brussels"
END = pd.Timestamp("2025-04-10", tz="UTC")


def source(kind="load", source_id=None) -> Source:
    capacity = None if kind == "market" else 400.0
    return Source(
        source_id or f"{kind}-1", kind, kind, "site-1", capacity, 60, None, None, BRUSSELS, {}
    )


def data_of(kind="load", days=80, seed=1) -> SourceData:
    index = pd.date_range(END - days * DAY, END, freq="h", inclusive="left")
    hour = index.tz_convert(BRUSSELS).hour.to_numpy()
    values = (
        100
        + 40 * np.sin(2 * np.pi * (hour - 9) / 24)
        + np.random.default_rng(seed).normal(scale=10, size=len(index))
    )
    return SourceData(source(kind), pd.Series(values, index))


def market_days(forecast, actual, start="2025-03-01T23:00") -> pd.DataFrame:
    """A backtest of whole local days issued the day before."""
    times = pd.date_range(start, periods=len(actual), freq="h", tz="UTC")
    frame = pd.DataFrame(
        {
            "issue_time": times[0] - pd.Timedelta(hours=13),
            "valid_time": times,
            "value": forecast,
            "actual": actual,
        }
    )
    for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True):
        frame[column] = frame["value"] + 10 * (level - 0.5)
    return frame.assign(published=False, dark=False, naive=50.0)


class TestBacktest:
    def test_rows_of_each_origin(self):
        data, origins = data_of(), [END - 5 * DAY, END - 4 * DAY]
        frame = backtest(MODELS["seasonal_naive"], data, origins, 36)
        assert len(frame) == 72
        first = frame.iloc[40]
        assert (first["issue_time"], first["valid_time"]) == (
            END - 4 * DAY,
            END - 4 * DAY + pd.Timedelta(hours=4),
        )
        assert first["actual"] == data.series[first["valid_time"]]
        # the clock has not changed in the week before
        assert first["value"] == first["naive"] == data.series[first["valid_time"] - 7 * DAY]

    @pytest.mark.parametrize(
        ("day", "hours"), [("2025-03-29", 24), ("2025-03-30", 23), ("2025-03-31", 24)]
    )
    def test_the_local_hours_of_the_next_day(self, day, hours):
        data, day = data_of(), pd.Timestamp(day)
        origins = day_ahead_origins(day.date(), day.date(), "11:00", BRUSSELS)
        frame = backtest(MODELS["seasonal_naive"], data, origins, None)
        local = frame["valid_time"].dt.tz_convert(BRUSSELS)
        assert len(frame) == hours
        assert (local.dt.date == day.date()).all()
        assert (
            str(origins[0].tz_convert(BRUSSELS).tz_localize(None))
            == f"{(day - DAY).date()} 11:00:00"
        )

    def test_a_day_of_25_hours(self):
        index = pd.date_range("2025-10-01", "2025-10-28", freq="h", tz="UTC")
        data = SourceData(source(), pd.Series(np.arange(len(index), dtype=float), index))
        day = pd.Timestamp("2025-10-26").date()
        frame = backtest(
            MODELS["seasonal_naive"], data, day_ahead_origins(day, day, "11:00", BRUSSELS), None
        )
        assert len(frame) == 25
        assert frame["valid_time"].iloc[0] == pd.Timestamp("2025-10-25T22:00", tz="UTC")
        # both hours from 02:00 to 03:00 take the one of the week before
        assert frame["value"].iloc[2] == frame["value"].iloc[3]

    def test_it_refits_as_it_walks(self):
        fits = []

        class Counting(MODELS["seasonal_naive"]):
            def _fit(self, known):
                fits.append(known.issue_time)
                super()._fit(known)

        origins = [END - day * DAY for day in range(30, 2, -3)]
        backtest(Counting, data_of(), origins, 24, refit_days=9)
        assert fits == [END - 30 * DAY, END - 21 * DAY, END - 12 * DAY, END - 3 * DAY]
        fits.clear()
        backtest(Counting, data_of(), origins, 24, refit_days=np.inf)
        assert fits == [END - 30 * DAY]

    @pytest.mark.parametrize("kind", ["load", "market"])
    def test_nothing_after_an_origin_touches_its_forecast(self, kind):
        data, origins = data_of(kind), [END - 12 * DAY, END - 8 * DAY, END - 4 * DAY]
        frame = rolling_calibration(backtest(MODELS["arima"], data, origins, 48), data)
        for origin in origins:
            series = data.series.copy()
            series[data.available_at > origin] = 1e5
            changed = dataclasses.replace(data, series=series)
            other = rolling_calibration(
                backtest(MODELS["arima"], changed, [o for o in origins if o <= origin], 48), changed
            )
            columns = ["value", *QUANTILE_COLUMNS, "naive"]
            one, two = (
                part.loc[part["issue_time"] == origin, columns].to_numpy()
                for part in (frame, other)
            )
            assert one.tobytes() == two.tobytes()

    def test_no_origins_are_refused(self):
        with pytest.raises(ForecastError, match="no origins"):
            backtest(MODELS["seasonal_naive"], data_of(), [], 24)


class TestCalibrationOverOrigins:
    def test_bands_cover_what_they_say(self):
        data = data_of(days=200)
        raw = backtest(
            MODELS["seasonal_naive"], data, [END - day * DAY for day in range(160, 1, -1)], 24
        )
        raw[list(QUANTILE_COLUMNS)] = raw[["value"]].to_numpy() + np.linspace(
            -0.1, 0.1, len(QUANTILES)
        )  # far too narrow
        before, after = (
            scores(raw, data.source),
            scores(rolling_calibration(raw, data), data.source),
        )
        assert before["coverage_80"] < 0.05
        assert 0.75 < after["coverage_80"] < 0.85
        assert after["pinball"] < before["pinball"]
        assert after["mae"] == before["mae"]

    def test_a_single_forecast_is_calibrated_on_the_days_before(self):
        data = data_of()
        known = known_at(data, END - 2 * DAY)
        model = forecasting.fit_calibrated(MODELS["seasonal_naive"], data, known, 24)
        assert model.calibration is not None
        assert model.trained_until == END - 2 * DAY
        later = data.series.copy()
        later[later.index >= END - 2 * DAY] = 1e5
        again = forecasting.fit_calibrated(
            MODELS["seasonal_naive"], dataclasses.replace(data, series=later), known, 24
        )
        assert again.predict(known, 24).equals(model.predict(known, 24))


class TestScores:
    def test_they_agree_with_scikit_learn(self):
        data = data_of()
        frame = backtest(MODELS["arima"], data, [END - day * DAY for day in range(20, 2, -3)], 48)
        frame.loc[5, "actual"] = np.nan  # not measured: does not count
        found, rows = scores(frame, data.source), frame.drop(index=5)
        mae = sklearn.metrics.mean_absolute_error(rows["actual"], rows["value"])
        assert found["mae"] == pytest.approx(mae)
        assert found["rmse"] == pytest.approx(
            sklearn.metrics.root_mean_squared_error(rows["actual"], rows["value"])
        )
        assert found["nmae"] == pytest.approx(mae / 400)
        assert found["rmae"] == pytest.approx(
            mae / sklearn.metrics.mean_absolute_error(rows["actual"], rows["naive"])
        )
        each = [
            sklearn.metrics.mean_pinball_loss(rows["actual"], rows[column], alpha=level)
            for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
        ]
        assert found["pinball"] == pytest.approx(np.mean(each))
        assert found["rows"] == len(rows)

    def test_a_certain_forecast_has_scores_like_any_other(self):
        """Its band has no width: a price is not published because of that, nor is an hour dark."""
        actual = np.concatenate([np.full(18, 100.0), np.full(6, 104.0)])
        for kind in ("market", "load"):
            frame = market_days(np.full(24, 100.0), actual)
            frame[list(QUANTILE_COLUMNS)] = 100.0
            found = scores(frame, source(kind))
            assert (found["mae"], found["rows"]) == (1.0, 24)
            assert (found["coverage_80"], found["width_80"]) == (0.75, 0.0)

    def test_a_solar_plants_night_is_in_no_coverage(self):
        frame = market_days(np.zeros(24), np.zeros(24))
        frame[list(QUANTILE_COLUMNS)] = 0.0
        frame.loc[:11, "dark"] = True
        frame.loc[12:14, "actual"] = 5.0
        found = scores(frame, source("solar"))
        assert (found["coverage_80"], found["rows"]) == (0.75, 24)

    def test_coverage_and_width_of_the_80_percent_band(self):
        frame = market_days(
            np.full(24, 100.0), np.concatenate([np.full(18, 103.9), np.full(6, 104.1)])
        )
        found = scores(frame, source("load"))
        assert found["coverage_80"] == 0.75  # the band is 96 to 104
        assert found["width_80"] == pytest.approx(8.0)

    def test_published_prices_do_not_count(self):
        frame = market_days(np.full(48, 100.0), np.full(48, 103.0))
        frame.loc[:23, ["value", "actual", *QUANTILE_COLUMNS]] = 7.0
        frame.loc[:23, "published"] = True
        found = scores(frame, source("market"))
        assert (found["mae"], found["rows"]) == (3.0, 24)

    def test_a_perfect_price_forecast_captures_everything(self):
        prices = 50 + 30 * np.sin(np.arange(48) / 24 * 2 * np.pi)
        found = scores(market_days(prices, prices), source("market"))
        assert found["captured_share"] == pytest.approx(1.0)
        assert found["kendall_tau"] == pytest.approx(1.0)
        upside_down = scores(market_days(-prices, prices), source("market"))
        assert upside_down["captured_share"] < 0
        assert upside_down["kendall_tau"] == pytest.approx(-1.0)

    def test_without_actual_values_there_is_nothing_to_score(self):
        with pytest.raises(ForecastError, match="no row"):
            scores(market_days(np.ones(24), np.full(24, np.nan)), source("load"))


class TestBattery:
    def test_four_hours_by_hand(self):
        # charge 1 MW in both cheap hours: 2 × 0.95 = 1.9 MWh stored, 1.9 × 0.95 = 1.805 MWh
        # delivered: 1 at 100 and 0.805 at 90
        prices = np.array([10.0, 20.0, 100.0, 90.0])
        sold = battery_day(prices, 1.0)
        np.testing.assert_allclose(sold, [-1, -1, 1, 0.805], atol=1e-6)
        assert sold @ prices == pytest.approx(100 + 0.805 * 90 - 30)

    def test_quarter_hours_hold_power_and_energy(self):
        # at most 2 MWh stored: 2 / 0.95 = 2.105 MWh bought of the 3 h × 1 MW that are cheap
        sold = battery_day(np.repeat([1.0, 1.0, 1.0, 80.0, 80.0], 4), 0.25)
        assert sold.max() <= 1 + 1e-9
        assert -sold[:12].sum() * 0.25 <= 2 / 0.95 + 1e-9
        assert sold[12:].sum() * 0.25 == pytest.approx(1.9)

    def test_a_negative_price_pays_for_losses_but_not_for_charging_and_discharging_at_once(self):
        # one hour in, one hour out: 50 earned, 0.9025 × 50 paid back
        assert battery_day(np.array([-50.0, -50.0]), 1.0) @ np.array(
            [-50.0, -50.0]
        ) == pytest.approx(50 - 45.125)

    def test_flat_prices_are_left_alone(self):
        np.testing.assert_allclose(battery_day(np.full(24, 60.0), 1.0), 0, atol=1e-9)


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
            (["--issue-time", "2020-01-01T00:00Z"], 1, "nothing measured before"),
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

    def test_powers_of_longer_intervals_than_the_prices_are_no_regressors(self, filled):
        _, settings = filled
        market, fine = source("market"), dataclasses.replace(source("market"), step_min=15)
        with db.session(settings) as conn:
            assert list(forecasting.load_source_data(conn, settings, market).others) == ["load-1"]
            assert (
                forecasting.load_source_data(conn, settings, fine).others is None
            )  # an hour's mean is not known after a quarter of it

    def test_a_flat_line_falls_back_to_seasonal_naive(self, filled, capsys):
        path, settings = filled
        with db.session(settings) as conn, conn.cursor() as cursor:
            cursor.execute("UPDATE load SET power_kw = 5 WHERE time >= %s", (END - 8 * DAY,))
        assert forecasting.main(["--config", str(path), "--source", "load-1"]) == 0
        assert "seasonal_naive" in capsys.readouterr().out
