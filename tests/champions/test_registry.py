"""Champions in MLflow: saved, loaded and served."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, START, make_store, series

from vpp.champions import registry
from vpp.champions.served import model_input
from vpp.forecast.calibration import Calibration
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config

DAY = pd.Timedelta(days=1)


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


def test_a_store_in_a_file_keeps_its_models_beside_it(tmp_path, tmp_path_factory, monkeypatch):
    """Not in the folder in which a command happens to run."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    path = tmp_path / "config.ini"
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    path.write_text(f"[paths]\nstate_dir = {tmp_path / 'state'}\n[mlflow]\ntracking_uri = {uri}\n")
    config = load_config(path, {})
    store = registry.open_store(config)
    place = store.get_experiment_by_name(config.mlflow.experiment).artifact_location
    assert place == (tmp_path / "mlartifacts").as_uri()


SMALL = {
    "nbeats": {"width": 32, "epochs": 2},
    "random_forest": {"trees": 10},
    "lightgbm": {"trees": 20},
}


BEFORE = {  # where the classes of a module of vpp lay before there was a package
    "site.sources": "sources",
    "forecast.known": "features",
    "forecast.calibration": "forecast_base",
    "forecast.models.naive": "forecast_models",
    "forecast.models.linear": "forecast_models",
    "forecast.models.prophet": "forecast_models",
    "forecast.models.arima": "forecast_models",
    "forecast.models.nbeats": "forecast_models",
    "forecast.models.trees": "direct_models",
    "forecast.models.ridge": "regression_models",
    "forecast.models.lightgbm": "regression_models",
    "forecast.models.lear": "regression_models",
    "forecast.models.combination": "regression_models",
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
    [
        *((name, WIND if "wind" in MODELS[name].kinds else MARKET) for name in MODELS),
        ("random_forest", MARKET),
    ],
)
def test_every_model_forecasts_the_same_after_saving_and_loading(model_store, name, source):
    import mlflow

    data = data_with_all(source)
    known = known_at(data, END)
    parameters = {
        key: value for key, value in SMALL.get(name, {}).items() if key in MODELS[name].defaults
    }
    fitted = MODELS[name](horizon_h=24, **parameters).fit(known)
    fitted.calibration = Calibration(np.arange(24.0 * 7).reshape(1, 24, 7))
    expected, digests = fitted.predict(known, 24), []
    with mlflow.start_run():
        version = registry.register(model_store, data, fitted, {}, lambda *new: digests.append(new))
    [(noted, sha256)] = digests
    champion = registry.read_champion(model_store, source.source_id)
    assert (champion.model, champion.version, noted) == (name, version, version)
    assert champion.parameters == fitted.parameters
    loaded = registry.load_champion(champion, sha256)
    pd.testing.assert_frame_equal(loaded.predict(known, 24), expected)
    served = mlflow.pyfunc.load_model(f"models:/vpp-{source.source_id}@champion")
    answer = served.predict(
        model_input(data, END), params={"steps": 24, "issue_time": END.isoformat()}
    )
    assert list(answer["valid_time"]) == [
        at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in expected.index
    ]
    assert list(answer.columns) == ["valid_time", *COLUMNS]
    np.testing.assert_array_equal(answer[list(COLUMNS)], expected[list(COLUMNS)])
    pinned = served.metadata.get_output_schema(), registry.requirements(MODELS[name])
    assert pinned[0].input_names()[0] == "valid_time"
    assert all("==" in item for item in pinned[1])
    if name in ("global", "dnn", "first_day"):  # which no version before had
        return
    loaded = registry.load_champion(champion, store_as_before_the_package(champion))
    pd.testing.assert_frame_equal(loaded.predict(known, 24), expected)


def store_as_before_the_package(champion):
    """Rewrite a stored champion as a version whose modules lay side by side has stored it.

    Of pickle's second protocol each class is a line with its module and a line with its name.
    Returns the digest of the file.
    """
    import mlflow

    name = registry.registered_name(champion.source_id)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{champion.version}"))
    content = pickle.dumps(pickle.loads((folder / "data" / "model.pkl").read_bytes()), 2)
    for module, before in BEFORE.items():
        content = content.replace(f"cvpp.{module}\n".encode(), f"c{before}\n".encode())
    assert b"cvpp." not in content
    (folder / "data" / "model.pkl").write_bytes(content)
    notes = (folder / "MLmodel").read_text()
    assert "loader_module: vpp.champions.served" in notes
    (folder / "MLmodel").write_text(notes.replace("vpp.champions.served", "model_registry"))
    return hashlib.sha256(content).hexdigest()


def test_a_champion_of_a_module_that_never_was_is_refused_with_the_way_out(model_store):
    import mlflow

    data = SourceData(LOAD, series(LOAD))
    with mlflow.start_run():
        registry.register(model_store, data, MODELS["daily_naive"]().fit(known_at(data, END)), {})
    champion = registry.read_champion(model_store, "load-1")
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/vpp-load-1/{champion.version}"))
    content = b"cforecast_models\nMagic\n."
    (folder / "data" / "model.pkl").write_bytes(content)
    with pytest.raises(registry.ModelNotFoundError, match=r"run python train_forecast\.py$"):
        registry.load_champion(champion, hashlib.sha256(content).hexdigest())


def test_a_champion_is_served_in_another_process(model_store, tmp_path):
    """By MLflow alone, with the project on the Python path."""
    import mlflow

    data = SourceData(LOAD, series(LOAD))
    fitted = MODELS["daily_naive"]().fit(known_at(data, END))
    with mlflow.start_run():
        registry.register(model_store, data, fitted, {})
    model_input(data, END).to_json(tmp_path / "rows.json", orient="split")
    code = (
        "import sys, mlflow, pandas as pd; mlflow.set_tracking_uri(sys.argv[1]); "
        "model = mlflow.pyfunc.load_model('models:/vpp-load-1@champion'); "
        "rows = pd.read_json(sys.argv[2], orient='split', dtype=False, convert_dates=False); "
        "print(model.predict(rows, params={'steps': 24}).to_json(orient='split'))"
    )
    command = [sys.executable, "-c", code, mlflow.get_tracking_uri(), str(tmp_path / "rows.json")]
    path = str(Path(registry.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["columns"] == ["valid_time", *COLUMNS]
    expected = fitted.predict(known_at(data, END), 24)["value"].to_numpy()
    assert [row[1] for row in found["data"]] == pytest.approx(list(expected), rel=1e-9)
