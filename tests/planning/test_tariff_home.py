"""A home that pays by a contract: no market, no model of its price, a plan worth having."""

import json
from dataclasses import replace

import pytest
from small_world import make_store

import db
import forecast_and_save
import generation
import optimization
import pipeline
from vpp.devices.plan_messages import plan_messages
from vpp.planning.site_series import site_sources
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError

DAY_EUR, NIGHT_EUR, EXPORT_EUR = 325.0, 210.0, 80.0
CONTRACT = {
    "import_eur_per_mwh": f"{DAY_EUR:g} 07:00-20:00; {NIGHT_EUR:g}",
    "export_eur_per_mwh": f"{EXPORT_EUR:g}",
}
CELLAR = {"capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 5, "wear_eur_per_mwh": 0}


@pytest.fixture
def home(config_file):
    """The function that writes the configuration of a home."""

    def write(**tariff):
        return config_file(
            generation={
                "wind": 0,
                "solar": 1,
                "solar_capacity_kw": 8,
                "load_capacity_kw": 6,
            },
            training={"models": "hourly_ridge", "trials": 1, "origins": 2, "jobs": 1},
            grid={"import_limit_kw": 25, "export_limit_kw": 10, "import_fee_eur_per_mwh": 0},
            tariff=tariff,
            **{"battery:cellar": CELLAR},
        )

    return write


def make_data(path, days):
    """Data without a market."""
    config = load_config(path)
    config = replace(config, generation=replace(config.generation, days=days))
    generation.generate_files(config, config.paths.data_dir)
    (config.paths.data_dir / "market.csv").unlink()
    listed = config.paths.data_dir / "sources.csv"
    lines = listed.read_text().splitlines(keepends=True)
    listed.write_text("".join(line for line in lines if ",market," not in line))


def test_a_home_with_a_contract_needs_no_market(home, elsewhere, tmp_path_factory, capsys):
    path = home(**CONTRACT)
    make_data(path, 24)
    make_store(load_config(path), tmp_path_factory)
    data, told = path.parent / "data", path.parent / "summary.json"
    arguments = ["--config", str(path), "--data", str(data), "--json", str(told)]
    assert pipeline.main(arguments) == 0
    summary = json.loads(told.read_text())
    capsys.readouterr()
    assert {row["source_id"] for row in summary["champions"]} == {"load-1", "solar-1"}
    assert summary["cost_eur"]["captured_share"] >= 0.8
    config = load_config(path)
    with db.session(config) as conn:
        run, rows, _ = db.read_schedule(conn, kind="plan")
        [message] = plan_messages(conn, run["run_id"])
    # its battery follows the meter where the plan has no exchange with the grid
    at_zero = (rows["grid_import_kw"] + rows["grid_export_kw"]) < 1e-6
    assert [item["follow"] for item in message["intervals"]] == at_zero.tolist()
    assert at_zero.any() and not at_zero.all()
    hour = rows.index.tz_convert(config.site.time_zone).hour
    day = (hour >= 7) & (hour < 20)
    assert set(rows["import_price_eur_per_mwh"][day]) == {DAY_EUR}
    assert set(rows["import_price_eur_per_mwh"][~day]) == {NIGHT_EUR}
    assert set(rows["export_price_eur_per_mwh"]) == {EXPORT_EUR}
    # a stored plan is valued with the contract it was made with
    assert optimization.main(["--config", str(path), "value", "--json"]) == 0
    [before] = json.loads(capsys.readouterr().out)
    other = home(import_eur_per_mwh="999", export_eur_per_mwh="1")
    assert optimization.main(["--config", str(other), "value", "--json"]) == 0
    [after] = json.loads(capsys.readouterr().out)
    assert after == before
    path = home(**CONTRACT)
    assert forecast_and_save.main(["--config", str(path), "--backfill-days", "5"]) == 0
    capsys.readouterr()
    backtest = ["--config", str(path), "backtest", "--days", "5", "--every-h", "24", "--json"]
    assert optimization.main(backtest) == 0
    shares = {row["way"]: row["captured_share"] for row in json.loads(capsys.readouterr().out)}
    assert shares["rolling plan, perfect forecasts"] > 0.99  # the contract is known for ever
    # a home's battery follows the meter beside the plan by default
    assert shares["rolling plan"] >= 0.95
    path.write_text(path.read_text() + "[operation]\nfollow = no\n")
    assert optimization.main(backtest) == 0
    fixed = {row["way"]: row["captured_share"] for row in json.loads(capsys.readouterr().out)}
    assert fixed["rolling plan"] < shares["rolling plan"] - 0.05


def test_a_price_of_the_market_needs_a_market(home, capsys):
    path = home(import_eur_per_mwh="325")  # what is fed in earns the market's price
    make_data(path, 2)
    assert pipeline.main(["--config", str(path), "--data", str(path.parent / "data")]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "[tariff]" in line]
    assert "export_eur_per_mwh" in line
    with (
        db.session(load_config(path)) as conn,
        pytest.raises(ConfigError, match="needs a market price"),
    ):
        site_sources(conn, load_config(path))
