"""The MLflow store: training runs, registered models `vpp-<source_id>` and their alias `champion`.

Reads and writes what `[mlflow] tracking_uri` names; embedded is a SQLite file and a folder of
artifacts in `state_dir`, which

    mlflow server --backend-store-uri sqlite:///.vpp/mlflow.db --port 5000

shows. A registered model is a pyfunc whose loader is this module, so it loads wherever the project
is on the Python path, and its version carries what is needed to fit it again as tags: model,
parameters, trained_until."""

import json
import os
import pickle
import tempfile
import warnings
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import pandas as pd

from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.config import EMBEDDED, Config, VppError
from vpp.runtime.files import FileLock
from vpp.runtime.words import in_words

ALIAS = "champion"
REQUIRED = ("pandas", "numpy", "scipy")  # by every model, beside its class's `requires`
SIGNATURE_DAYS = 28  # of history show what the columns are
TIME = "%Y-%m-%dT%H:%M:%SZ"


# before mlflow is imported anywhere
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")


os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


class ModelStoreError(VppError):
    """MLflow cannot be reached or refuses."""


class ModelNotFoundError(VppError):
    """A source has no champion, or it cannot be loaded."""


@dataclass(frozen=True)
class Champion:
    """The registered model of a source that forecasts it.

    What fits it again, and where its fitted copy lies.
    """

    source_id: str
    model: str
    parameters: dict
    version: str
    trained_until: pd.Timestamp


def open_store(config: Config):
    """Connect to the MLflow store, making it and the experiment where they are missing; returns its
    client.

    Raises
    ------
    ModelStoreError : the server does not answer or the store cannot be opened.
    """
    import mlflow

    embedded = config.mlflow.tracking_uri == EMBEDDED
    folder = config.paths.state_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    uri = f"sqlite:///{folder / 'mlflow.db'}" if embedded else config.mlflow.tracking_uri
    artifacts = (folder / "mlartifacts").as_uri() if embedded else None
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = mlflow.MlflowClient()
        with FileLock(
            folder / "mlflow.lock"
        ):  # the first to come makes the tables and the experiment
            if client.get_experiment_by_name(config.mlflow.experiment) is None:
                client.create_experiment(config.mlflow.experiment, artifact_location=artifacts)
        mlflow.set_experiment(config.mlflow.experiment)
    except Exception as error:  # MlflowException, sqlalchemy's and requests' errors alike
        where = str(folder / "mlflow.db") if embedded else "the server of [mlflow] tracking_uri"
        cause = in_words(error)
        if not embedded:
            cause = cause.replace(config.mlflow.tracking_uri, "(hidden)")
        raise ModelStoreError(
            f"MLflow, {where}: {cause}; start it with mlflow server, or set [mlflow] "
            "tracking_uri = embedded"
        ) from None
    return client


def registered_name(source_id: str) -> str:
    return f"vpp-{source_id}"


def read_champion(client, source_id: str) -> Champion | None:
    """The champion of a source.

    None where none is registered or this code does not know its model.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(registered_name(source_id), ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise ModelStoreError(f"MLflow, {registered_name(source_id)}: {in_words(error)}") from error
    tags = version.tags
    if tags.get("model") not in MODELS:
        return None
    parameters = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(tags["parameters"]).items()
    }
    return Champion(
        source_id,
        tags["model"],
        parameters,
        str(version.version),
        pd.Timestamp(tags["trained_until"]),
    )


def load_champion(champion: Champion) -> ForecastModel:
    """The fitted copy of a champion.

    Raises
    ------
    ModelNotFoundError : it cannot be loaded; the message says why.
    """
    import mlflow

    name = registered_name(champion.source_id)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mlflow.pyfunc.load_model(f"models:/{name}/{champion.version}").get_raw_model()
    except Exception as error:  # whatever a foreign or damaged pickle raises
        cause = in_words(error)
        raise ModelNotFoundError(
            f"{name} version {champion.version} cannot be loaded ({cause}); run python "
            "train_forecast.py"
        ) from error


def register(client, data: SourceData, model: ForecastModel, tags: dict[str, str]) -> str:
    """Log a fitted model to the active run, and register it as a new version of the source's model,
    which becomes its champion.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    name = registered_name(data.source.source_id)
    history = model_input(data, model.trained_until, SIGNATURE_DAYS)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.pkl"
        path.write_bytes(pickle.dumps({"model": model, "data": empty(data)}))
        forecaster = _load_pyfunc(str(path))
        signature = mlflow.models.infer_signature(
            history,
            forecaster.predict(history, {"steps": 2}),
            params={"steps": 48, "issue_time": ""},
        )
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=__name__,
            data_path=str(path),
            signature=signature,
            pip_requirements=requirements(type(model)),
        )
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = tags | {
        "model": model.name,
        "parameters": json.dumps(model.parameters, sort_keys=True),
        "trained_until": model.trained_until.isoformat(),
    }
    run_id = mlflow.active_run().info.run_id
    version = client.create_model_version(
        name, info.model_uri, run_id, tags=tags, model_id=info.model_id
    ).version
    client.set_registered_model_alias(name, ALIAS, version)
    return str(version)


def requirements(model: type[ForecastModel]) -> list[str]:
    """The pinned packages that a fitted model of this class needs."""
    return [
        f"{name}=={metadata.version(name).split('+')[0]}"
        for name in (*REQUIRED, *getattr(model, "requires", ()))
    ]


def empty(data: SourceData) -> SourceData:
    """The description of a source without its rows; the names of its columns stay."""
    weather, others = (
        None if frame is None else frame.iloc[:0] for frame in (data.weather_forecasts, data.others)
    )
    return replace(
        data,
        series=data.series.iloc[:0],
        weather_forecasts=weather,
        others=others,
        stored_available_at=None,
    )


def model_input(
    data: SourceData, issue_time: pd.Timestamp, days: float | None = None
) -> pd.DataFrame:
    """What the registered model takes: what is known at the issue time, of the last `days`
    (default: all).

    Two kinds of rows, so that nothing is lost: measurements (time, value, and other series where
    there are any; no issue_time), and weather forecasts (time, issue_time and their quantities).
    Times are text, as in JSON."""
    known = known_at(data, issue_time, days)
    parts = [known.targets.to_frame("value")]
    if known.others is not None:
        parts[0] = parts[0].join(known.others, how="outer")
    parts[0] = parts[0].rename_axis("time").reset_index()
    if known.weather_forecasts is not None:
        parts.append(known.weather_forecasts.rename(columns={"valid_time": "time"}))
    frame = pd.concat(parts, ignore_index=True)
    frame["time"] = frame["time"].dt.strftime(TIME)
    frame["issue_time"] = (
        frame["issue_time"].dt.strftime(TIME).fillna("") if "issue_time" in frame else ""
    )
    return frame[
        ["time", "issue_time", *(name for name in frame if name not in ("time", "issue_time"))]
    ]


class PyfuncForecaster:
    """A fitted model as MLflow serves it: rows of `model_input` in, valid_time, value and quantiles
    out.

    Parameters: `steps` intervals from `issue_time`, by default the time at which the last
    measurement is known."""

    def __init__(self, model: ForecastModel, data: SourceData):
        self.model, self.data = model, data

    def get_raw_model(self) -> ForecastModel:
        return self.model

    def predict(self, model_input: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        params, data = params or {}, self.data
        frame = model_input.assign(
            time=pd.DatetimeIndex(pd.to_datetime(model_input["time"], utc=True)).as_unit("ns")
        )
        issued = pd.DatetimeIndex(
            pd.to_datetime(frame["issue_time"].replace("", None), utc=True)
        ).as_unit("ns")
        measured, weather, others = (
            frame[issued.isna()].set_index("time"),
            data.weather_forecasts,
            data.others,
        )
        series = measured["value"].astype(float).dropna()
        if weather is not None:
            weather = frame.assign(issue_time=issued)[issued.notna()].rename(
                columns={"time": "valid_time"}
            )[list(weather.columns)]
        if others is not None:
            others = measured.reindex(columns=others.columns).dropna(how="all")
        delay = pd.Timedelta(minutes=data.measurement_delay_min)
        issue_time = pd.Timestamp(params.get("issue_time") or series.index[-1] + data.step + delay)
        known = known_at(
            replace(data, series=series, weather_forecasts=weather, others=others), issue_time
        )
        forecast = self.model.predict(known, int(params.get("steps", 48)))[list(COLUMNS)]
        forecast.index = forecast.index.strftime(TIME)
        return forecast.rename_axis("valid_time").reset_index()


def _load_pyfunc(path: str) -> PyfuncForecaster:
    """What MLflow calls to load the model."""
    stored = pickle.loads(Path(path).read_bytes())
    return PyfuncForecaster(stored["model"], stored["data"])
