"""The champions as read from the file of the embedded store are those that MLflow names."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from small_world import LOAD, MARKET, crown, fill

from vpp.champions import reading, registry


@pytest.fixture
def crowned(quick_world):
    fill(quick_world, MARKET)
    crown(quick_world, LOAD, "daily_naive")
    crown(quick_world, LOAD, "hourly_ridge")
    crown(quick_world, MARKET, "mixed_naive")
    client = registry.open_store(quick_world)
    client.set_registered_model_alias("vpp-market-1", "other", "1")
    return quick_world


def test_the_file_says_what_mlflow_says(crowned, monkeypatch):
    direct, trouble = reading.read_champions(crowned, [LOAD, MARKET])
    monkeypatch.setattr(reading, "stored_versions", lambda config: None)
    asked, _ = reading.read_champions(crowned, [LOAD, MARKET])
    assert direct == asked and trouble == {}
    assert [(each.model, each.version) for each in direct.values()] == [
        ("hourly_ridge", "2"),
        ("mixed_naive", "1"),
    ]
    for name, champion in direct.items():
        assert champion.place and not asked[name].place
        assert registry.read_file(champion) == registry.read_file(asked[name])


def test_of_a_file_that_is_not_as_expected_mlflow_is_asked(crowned):
    path = crowned.paths.state_dir / "mlflow.db"
    before = reading.read_champions(crowned, [LOAD])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("ALTER TABLE model_version_tags RENAME COLUMN key TO word")
        conn.commit()
    assert reading.stored_versions(crowned) is None
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("ALTER TABLE model_version_tags RENAME COLUMN word TO key")
        conn.commit()
    assert reading.read_champions(crowned, [LOAD]) == before
    path.write_bytes(b"no database at all" * 99)
    assert reading.stored_versions(crowned) is None
    found, trouble = reading.read_champions(crowned, [LOAD])
    assert not found and "mlflow.db" in trouble["load-1"][0]


def test_a_forecast_with_the_embedded_store_does_not_import_mlflow(crowned):
    told = (
        "import sys, forecast_and_save; forecast_and_save.main(sys.argv[1:]); "
        "print([name for name in ('mlflow', 'optuna', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", told, "--config", str(crowned.path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=registry.__file__.split("vpp/champions")[0],
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
