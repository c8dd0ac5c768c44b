"""Weather and forecasts of others come in: units, issue times, and refusals in one line."""

from pathlib import Path

import pandas as pd
import pytest

import sources
from vpp.site.quantities import is_regressor_of
from vpp.site.sources import Source, read_sources

# the clock goes forward on 31 March 2024: 23 local hours from 30 March 23:00Z on
HOURS = pd.date_range("2024-03-29", "2024-04-02", freq="h", inclusive="left", tz="UTC")


@pytest.fixture
def run(tmp_path, capsys):
    """Import a table: exit code, output and errors."""
    (tmp_path / "config.ini").write_text("[site]\nsite_id = mill\n")

    def command(frame, *arguments):
        frame.to_csv(tmp_path / "in.csv", index=False)
        argv = ["--config", tmp_path / "config.ini", "import", tmp_path / "in.csv"]
        argv += ["--output", tmp_path / "out", "--tz", "UTC"]
        code = sources.main([str(word) for word in [*argv, *arguments]])
        streams = capsys.readouterr()
        return code, streams.out, streams.err.strip()

    command.folder = tmp_path / "out"
    return command


def wide():
    naive = HOURS.tz_localize(None)
    return pd.DataFrame({"time": naive, "price": 50.0, "wind [MW]": range(len(HOURS))})


def long():
    """Two issues a day, of 36 hours each."""
    issues = pd.date_range("2024-03-29T06:00", periods=6, freq="12h")
    rows = [
        (issue, issue + pd.Timedelta(hours=lead), lead, 280.15, 36.0, 200.0 if lead % 24 < 6 else 0)
        for issue in issues
        for lead in range(36)
    ]
    return pd.DataFrame(rows, columns=["issued", "valid", "lead", "temp", "wind", "ghi"])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def read(run, name, times):
    return pd.read_csv(run.folder / name, parse_dates=list(times))


def test_a_price_and_a_day_ahead_forecast_of_one_file(run):
    """Issued at 10:00 local time of the day before: 09:00Z in winter, 08:00Z in summer."""
    words = ("--price", "price:EUR/MWh:p", "--forecast", "wind [MW]:MW:tso", "--issued")
    code, _, err = run(wide(), *words, "D-1 10:00", "--delay-min", "30")
    assert (code, err) == (0, "")
    price, forecast = read_sources(run.folder / "sources.csv")
    assert (price.kind, forecast.kind, forecast.step_min) == ("market", "forecast", 60)
    assert forecast.parameters == {
        "origin": "imported", "quantity": "wind", "unit": "kW", "delay_min": 30.0
    }  # fmt: skip
    frame = read(run, "external_forecast.csv", ("issue_time", "valid_time"))
    assert frame["value"].tolist() == [1000.0 * hour for hour in range(len(HOURS))]
    assert (frame["valid_time"] == HOURS).all()
    local = frame["issue_time"].dt.tz_convert("Europe/Brussels")
    assert (local.dt.hour == 10).all()
    days = frame["valid_time"].dt.tz_convert("Europe/Brussels").dt.date - local.dt.date
    assert (days == pd.Timedelta(days=1).to_pytimedelta()).all()
    assert set(frame["issue_time"].dt.hour) == {8, 9}


@pytest.mark.parametrize("issued", ["issued", "lead:h"])
def test_a_column_says_when_a_row_was_issued(run, issued):
    words = ("--time-column", "valid", "--forecast", "wind:km/h:mast", "--issued", issued)
    code, _, err = run(long(), *words, "--regressor-of", "wind-1", "--regressor-of", "wind-2")
    assert (code, err) == (0, "")
    frame, given = read(run, "external_forecast.csv", ("issue_time", "valid_time")), long()
    assert len(frame) == len(given) == 216
    assert (frame["issue_time"].dt.tz_localize(None) == given["issued"]).all()
    assert (frame["valid_time"].dt.tz_localize(None) == given["valid"]).all()
    assert (frame["value"] == 10.0).all()  # m/s
    (source,) = read_sources(run.folder / "sources.csv")
    assert source.parameters["regressor_of"] == ["wind-1", "wind-2"]
    assert (source.parameters["quantity"], source.parameters["unit"]) == ("wind_speed", "m/s")
    before = content(run.folder)
    assert run(long(), *words, "--regressor-of", "wind-1", "--regressor-of", "wind-2")[0] == 0
    assert content(run.folder) == before  # again: nothing changes


def test_a_lead_that_always_holds(run):
    code, _, _ = run(wide(), "--forecast", "wind [MW]:MW:tso", "--issued", "36h")
    assert code == 0
    frame = read(run, "external_forecast.csv", ("issue_time", "valid_time"))
    assert (frame["valid_time"] - frame["issue_time"] == pd.Timedelta(hours=36)).all()


VALID = ("--time-column", "valid")
WEATHER = ("--weather", "ghi:W/m2", "--weather", "temp:K", "--weather", "wind:km/h")


def test_weather_forecasts_become_the_weather_of_the_site(run):
    """280.15 K are 7 °C and 36 km/h are 10 m/s; direct and diffuse parts are those of ghi."""
    code, out, err = run(long(), "--time-column", "valid", *WEATHER, "--issued", "issued")
    assert (code, err) == (0, "")
    assert "derived from ghi" in out
    frame = read(run, "weather_forecast.csv", ("issue_time", "valid_time"))
    assert len(frame) == 216
    assert set(frame["source_id"]) == {"weather-mill"}
    assert set(frame["temp_air"]) == {7.0}
    assert set(frame["wind_speed"]) == {10.0}
    assert (frame["dhi"] <= frame["ghi"] + 0.05).all()
    assert frame.loc[frame["ghi"] > 0, "dhi"].gt(0).any()
    (source,) = read_sources(run.folder / "sources.csv")
    assert (source.kind, source.name) == ("weather", "Weather of mill") or source.kind == "weather"


def test_measured_weather(run):
    frame = long().drop_duplicates("valid").drop(columns=["issued", "lead"])
    code, _, err = run(frame, *WEATHER)
    assert (code, err) == (0, "")
    found = read(run, "weather.csv", ("time",))
    assert list(found.columns[:2]) == ["time", "source_id"]
    assert (found["time"].dt.tz_localize(None) == frame["valid"].sort_values().to_numpy()).all()


@pytest.mark.parametrize(
    ("table", "words", "told"),
    [
        (wide, ["--forecast", "wind [MW]:MW"], "--issued"),
        (wide, ["--price", "price:EUR/MWh", "--issued", "D-1 10:00"], "none is asked"),
        (wide, ["--forecast", "wind [MW]:MWW", "--issued", "36h"], "'MWW'"),
        (wide, ["--forecast", "wind [MW]:kW", "--issued", "36h"], "its unit is mw"),
        (wide, ["--forecast", "wind [MW]:MW", "--issued", "published"], "is no column"),
        (wide, ["--forecast", "wind [MW]:MW", "--issued", "D-0 10:00"], "is no forecast"),
        (wide, ["--forecast", "wind [MW]:MW", "--issued", "D-1 25:00"], "time of day"),
        (wide, ["--forecast", "wind [MW]:MW", "--issued", "36h", "--delay-min", "-1"], "0 or more"),
        (wide, ["--price", "price:EUR/MWh", "--regressor-of", "a"], "--regressor-of"),
        (long, ["--price", "wind:EUR/MWh", "--forecast", "lead:-", "--issued", "issued"], "apart"),
        (long, [*VALID, "--forecast", "ghi:m/s", "--issued", "wind"], "is no time"),
        (long, ["--time-column", "issued", "--forecast", "wind:m/s", "--issued", "valid"], "issue"),
        (long, [*VALID, *WEATHER[2:], "--issued", "issued"], "ghi is missing"),
        (long, ["--weather", "lead:K", "--issued", "issued"], "does not tell which quantity"),
        (long, ["--weather", "temp:m/s", "--issued", "issued"], "temp_air in m/s"),
        (long, ["--weather", "temp:K:heat", "--issued", "issued"], "'heat'"),
        (long, [*VALID, "--weather", "temp:C", "--issued", "issued"], "temp_air"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(run, table, words, told):
    assert run(wide(), "--price", "price:EUR/MWh:p")[0] == 0
    before = content(run.folder)
    code, _, err = run(table(), *words)
    assert code in (1, 2), err
    assert told in err
    assert len(err.splitlines()) == 1
    assert content(run.folder) == before


def test_a_forecast_that_names_no_target_helps_those_of_its_quantity():
    def source(source_id, kind, **parameters):
        capacity = 1.0 if kind in ("wind", "load", "solar") else None
        return Source(
            source_id, kind, "", "mill", capacity, 60, None, None, "Europe/Brussels", parameters
        )

    kinds = ("market", "load", "wind", "solar")
    targets = [source(kind, kind) for kind in kinds]
    for quantity, expected in (
        ("load", {"load", "market"}),
        ("wind", {"wind", "market"}),
        ("price", {"market"}),
        ("temp_air", set(kinds)),
    ):
        forecast = source("f", "forecast", quantity=quantity)
        assert {item.kind for item in targets if is_regressor_of(forecast, item)} == expected
    for names in (["solar"], "solar"):
        named = source("f", "forecast", quantity="wind", regressor_of=names)
        assert [is_regressor_of(named, item) for item in targets] == [False, False, False, True]
    longer = source("f", "forecast", quantity="wind", regressor_of="solar-10")  # of another one
    assert not any(is_regressor_of(longer, item) for item in targets)
