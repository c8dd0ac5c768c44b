"""The MLflow store: training runs, registered models `vpp-<source_id>` and their alias `champion`.

Reads and writes what `[mlflow] tracking_uri` names; embedded is a SQLite file and a folder of
artifacts in `state_dir`, which

    mlflow server --backend-store-uri sqlite:///.vpp/mlflow.db --port 5000

shows. The version of a registered model carries what is needed to fit it again as tags: model,
parameters, trained_until; `served.py` reads and writes the fitted model itself."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd

from vpp.champions import served
from vpp.forecast.known import SourceData
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.errors import VppError
from vpp.runtime.files import FileLock
from vpp.runtime.places import make_private
from vpp.runtime.settings import EMBEDDED, Config
from vpp.runtime.words import in_words
from vpp.site.sources import Source

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models.model import ModelInfo

# before mlflow is imported anywhere
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

ALIAS = "champion"
REQUIRED = ("pandas", "numpy", "scipy")  # by every model, beside its class's `requires`
SIGNATURE_DAYS = 28  # of history show what the columns are


class ModelStoreError(VppError):
    """MLflow cannot be reached or refuses."""


class ModelNotFoundError(VppError):
    """A source has no champion, or it cannot be loaded."""


@dataclass(frozen=True)
class Champion:
    """The registered model that forecasts a source.

    Parameters
    ----------
    source_id : of the source.
    model, parameters : fit it again.
    version : of the registered model.
    trained_until : issue time of its training [UTC].
    is_intact : false where its file is known not to be the one that was registered.
    place : of its files in the store, where it is known.
    capacity_kw : in whose units it has learned [kW]; None of a price, of a model for a kind, and of
        one that an earlier version has registered.
    valid_from : of its source as it was then; empty where it said none.
    """

    source_id: str
    model: str
    parameters: dict
    version: str
    trained_until: pd.Timestamp
    is_intact: bool = True
    place: str = field(default="", repr=False, compare=False)
    capacity_kw: float | None = None
    valid_from: str = ""


def valid_from_of(source: Source) -> str:
    """Since when a source says that its capacity holds; empty where it does not.

    Parameters
    ----------
    source : a plant or load.
    """
    return str(source.parameters.get("valid_from", ""))


def open_store(config: Config) -> "MlflowClient":
    """Connect to the MLflow store, making it and the experiment where they are missing.

    Raises
    ------
    ModelStoreError : the server does not answer or the store cannot be opened.
    """
    import mlflow

    embedded = config.mlflow.tracking_uri == EMBEDDED
    folder = config.paths.state_dir.resolve()
    make_private(folder)
    uri = f"sqlite:///{folder / 'mlflow.db'}" if embedded else config.mlflow.tracking_uri
    artifacts = _folder_beside(uri)
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = mlflow.MlflowClient()
        # the first to come makes the tables and the experiment
        with store_lock(config):
            if client.get_experiment_by_name(config.mlflow.experiment) is None:
                try:
                    client.create_experiment(config.mlflow.experiment, artifact_location=artifacts)
                except mlflow.exceptions.MlflowException as error:  # another machine was faster
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
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


def _folder_beside(uri: str) -> str | None:
    """Of a store in a file, the folder that gets its models; MLflow takes the working folder's."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()


def store_lock(config: Config) -> AbstractContextManager:
    """A lock for what is written to a store in a file, which takes one writer at a time.

    Parameters
    ----------
    config : names the store; a server needs no lock.
    """
    uri, folder = config.mlflow.tracking_uri, config.paths.state_dir.resolve()
    if uri == EMBEDDED:
        return FileLock(folder / "mlflow.lock")
    path = uri.removeprefix("sqlite:///")
    return FileLock(Path(path + ".lock")) if path != uri else nullcontext()


def registered_name(source_id: str) -> str:
    """The name of a source's registered model."""
    return f"vpp-{source_id}"


def pool_name(kind: str) -> str:
    """The source_id of the model of all sources of a kind; no source can have it.

    Parameters
    ----------
    kind : of the sources.
    """
    return f"global~{kind}"


def read_champion(client: "MlflowClient", source_id: str) -> Champion | None:
    """The champion of a source; None where none is registered or this code does not know its model.

    Parameters
    ----------
    client : of the store.
    source_id : of the source.

    Raises
    ------
    ModelStoreError : the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    name = registered_name(source_id)
    try:
        version = client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise ModelStoreError(f"MLflow, {name}: {in_words(error)}") from error
    return champion_of(source_id, str(version.version), "", version.tags)


def champion_of(
    source_id: str, version: str, place: str, tags: Mapping[str, str]
) -> Champion | None:
    """The champion that a version of a registered model describes; None where this code does not
    know its model.

    Parameters
    ----------
    source_id : of the source.
    version : its number.
    place : of its files; empty where that is not known.
    tags : of the version.
    """
    if tags.get("model") not in MODELS:
        return None
    parameters = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(tags["parameters"]).items()
    }
    trained_until = pd.Timestamp(tags["trained_until"])
    capacity_kw = float(tags["capacity_kw"]) if "capacity_kw" in tags else None
    fit, since = (parameters, version, trained_until), tags.get("valid_from", "")
    return Champion(source_id, tags["model"], *fit, True, place, capacity_kw, since)


def registered_among(client: "MlflowClient", source_ids: Sequence[str]) -> list[str]:
    """Those sources that have a champion, by one listing of the store.

    Parameters
    ----------
    client : of the store.
    source_ids : of the sources.

    Raises
    ------
    ModelStoreError : the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    found, token = set[str](), None
    try:
        while token != "":
            page = client.search_registered_models(
                "name LIKE 'vpp-%'", max_results=1000, page_token=token
            )
            found |= {model.name for model in page if ALIAS in model.aliases}
            token = page.token or ""
    except MlflowException as error:
        raise ModelStoreError(f"MLflow, registered models: {in_words(error)}") from error
    return [name for name in source_ids if registered_name(name) in found]


def load_champion(
    champion: Champion,
    sha256: str | None,
    read: Callable[[], bytes] | None = None,
) -> ForecastModel:
    """The fitted copy of a champion, if its file is the one that was registered.

    The file is a pickle, which runs code: it is not opened before its digest is checked. It is read
    here, not by the loader that MLflow has noted with it: that of an earlier version is a module
    that is gone.

    Parameters
    ----------
    champion : of a source.
    sha256 : the digest that the database has of its file; None where it has none.
    read : gives the file, where it need not come from the store.

    Raises
    ------
    ModelNotFoundError : it cannot be loaded, or may not be; the message says why.
    """
    try:
        content = read() if read else read_file(champion)
        check_digest(content, sha256)
        return served.open_model(content).get_raw_model()
    except Exception as error:  # whatever MLflow, a foreign or damaged pickle raises
        raise ModelNotFoundError(
            f"{registered_name(champion.source_id)} version {champion.version} cannot be loaded "
            f"({in_words(error)}); run python train_forecast.py"
        ) from error


def read_file(champion: Champion) -> bytes:
    """The file of a champion, as the store has it; nothing of it is run."""
    place = urlsplit(champion.place)
    if place.scheme == "file" and not place.netloc:  # of this machine: MLflow's import takes long
        return Path(url2pathname(place.path), "data", served.FILE).read_bytes()
    import mlflow

    name = registered_name(champion.source_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = mlflow.artifacts.download_artifacts(f"models:/{name}/{champion.version}")
    return Path(folder, "data", served.FILE).read_bytes()


def check_digest(content: bytes, sha256: str | None) -> None:
    """Refuse a file that is not the one that was registered.

    Parameters
    ----------
    content : of the file.
    sha256 : its digest at registration; None where none was recorded.

    Raises
    ------
    ModelStoreError : it is another file, or none was recorded.
    """
    if sha256 is None:
        raise ModelStoreError("not opened: the database has no digest of it")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelStoreError("not opened: its file is not the one that was registered")


def with_check(champion: Champion, sha256: str | None) -> Champion:
    """A champion that knows whether its file is the one that was registered.

    Parameters
    ----------
    champion : of a source.
    sha256 : the digest that the database has of its file; None where it has none.
    """
    try:
        check_digest(read_file(champion), sha256)
    except Exception:  # whatever MLflow raises: it cannot be loaded either
        return replace(champion, is_intact=False)
    return champion


def register(
    client: "MlflowClient",
    data: SourceData,
    model: ForecastModel,
    tags: dict[str, str],
    keep: Callable[[str, str], None] | None = None,
    registered: str | None = None,
) -> str:
    """Log a fitted model to the active run, and make it the champion of its source.

    Parameters
    ----------
    client : of the store.
    data : the source, with a history that shows what its columns are.
    model : fitted.
    tags : of the new version, beside those that fit it again.
    keep : records the new version and the SHA-256 of its file, before it is the champion; without
        it nothing but MLflow itself loads the model.
    registered : under which source_id; default that of the source.

    Returns
    -------
    The new version.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    if model.trained_until is None:
        raise ModelStoreError(f"{model.name}: only a fitted model can be registered")
    name = registered_name(registered or data.source.source_id)
    info, sha256 = log_model(model, data, model.trained_until)
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
    if registered is None and data.source.capacity_kw is not None:
        tags["capacity_kw"] = repr(data.source.capacity_kw)
        if valid_from := valid_from_of(data.source):
            tags["valid_from"] = valid_from
    run_id = mlflow.active_run().info.run_id
    version = client.create_model_version(
        name, info.model_uri, run_id, tags=tags, model_id=info.model_id
    ).version
    if keep is not None:
        keep(str(version), sha256)
    client.set_registered_model_alias(name, ALIAS, version)
    return str(version)


def log_model(
    model: ForecastModel, data: SourceData, trained_until: pd.Timestamp
) -> "tuple[ModelInfo, str]":
    """Store a fitted model with the active run, with its columns and pinned packages.

    Parameters
    ----------
    model : fitted.
    data : the source.
    trained_until : end of the history that shows what the columns are [UTC].

    Returns
    -------
    The model as MLflow describes it, and the SHA-256 of its file.
    """
    import mlflow

    history = served.model_input(data, trained_until, SIGNATURE_DAYS)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / served.FILE
        served.write_model(path, model, data)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        forecast = served.read_model(path).predict(history, {"steps": 2})
        signature = mlflow.models.infer_signature(
            history, forecast, params={"steps": 48, "issue_time": ""}
        )
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=served.__name__,
            data_path=str(path),
            signature=signature,
            pip_requirements=requirements(model),
        )
    return info, sha256


def requirements(model: ForecastModel | type[ForecastModel]) -> list[str]:
    """The pinned packages that a fitted model, or any of a class, needs."""
    return [
        f"{name}=={metadata.version(name).split('+')[0]}" for name in (*REQUIRED, *model.requires)
    ]
