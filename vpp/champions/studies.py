"""Optuna's studies: where they lie, and the name that says what they answer."""

import hashlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.contenders import Contest
from vpp.forecast import features
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel
from vpp.runtime.files import FileLock
from vpp.runtime.places import make_private
from vpp.runtime.settings import EMBEDDED, Config
from vpp.site import times

if TYPE_CHECKING:
    import optuna


def prepare_storage(config: Config, conn: connection) -> str | Path:
    """Where studies lie: in the database when it is a named server, so that several machines share
    them, else in a journal file.
    """
    if config.database.url == EMBEDDED:
        make_private(config.paths.state_dir)
        return config.paths.state_dir.resolve() / "optuna.journal"
    with conn.cursor() as cursor:  # one at a time makes the tables
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('optuna'))")
        cursor.execute("SELECT to_regclass('version_info')")  # of Optuna: there before
        if cursor.fetchone() == (None,):
            open_storage(config.database.url)
    return config.database.url


def open_storage(storage: str | Path) -> "optuna.storages.BaseStorage":
    """Open a PostgreSQL URL, or a journal file whose lock does not outlive a kill."""
    import optuna

    if isinstance(storage, Path):
        from optuna.storages.journal import JournalFileBackend

        lock = FileLock(storage.with_name(storage.name + ".lock"))
        # it has the methods that Optuna calls
        backend = JournalFileBackend(str(storage), lock_obj=lock)  # type: ignore[arg-type]
        return optuna.storages.JournalStorage(backend)
    import psycopg2

    # a creator of our own takes whatever URL libpq reads
    options = {"pool_pre_ping": True, "creator": lambda: psycopg2.connect(storage)}
    return optuna.storages.RDBStorage("postgresql+psycopg2://", engine_kwargs=options)


def open_study(
    contest: Contest, model: type[ForecastModel], origins: pd.DatetimeIndex
) -> "optuna.Study":
    """The study of a model's parameters, made with the model's defaults as its first trial.

    Its name says what it answers, so that running again, or on another machine, goes on where it
    is.

    Parameters
    ----------
    contest : the source and the rules.
    model : whose parameters are searched.
    origins : issue times of the backtests [UTC].
    """
    import optuna

    digest = study_digest(contest, model, origins)
    study = optuna.create_study(
        storage=open_storage(contest.storage),
        study_name=f"{contest.data.source.source_id}/{model.name}/{digest}",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
        load_if_exists=True,
    )
    begun = study.get_trials(deepcopy=False)
    if all(trial.state is optuna.trial.TrialState.RUNNING for trial in begun):
        study.enqueue_trial(model.defaults)  # also where its process was killed at the first
    return study


def study_digest(contest: Contest, model: type[ForecastModel], origins: pd.DatetimeIndex) -> str:
    """Hash of all that the values of a study depend on: data, origins, horizon, score, seed and
    code.

    Parameters
    ----------
    contest : the source and the rules.
    model : whose code counts, as `code_files` has it.
    origins : issue times of the backtests [UTC].
    """
    code = [hashlib.sha256(file.read_bytes()).hexdigest() for file in code_files(model)]
    training = contest.training
    settings = (contest.horizon_h, training.history_days, training.select_by, training.seed)
    known = data_hash(contest.data, origins[-1] + pd.Timedelta(hours=contest.horizon_h))
    depends_on = (known, [str(at) for at in origins], settings, code)
    return hashlib.sha256(repr(depends_on).encode()).hexdigest()[:16]


def code_files(model: type[ForecastModel]) -> list[Path]:
    """The files on which a model's forecasts depend: its own, its parents', the whole room of
    forecasts, whose models share code, and the rules of local time.
    """
    own = {Path(inspect.getfile(parent)) for parent in model.__mro__ if parent is not object}
    room = Path(features.__file__).parent.rglob("*.py")
    return sorted({*own, *room, Path(times.__file__)})


def data_hash(data: SourceData, issue_time: pd.Timestamp) -> str:
    """Hash of all that is known about a source.

    Parameters
    ----------
    data : the source.
    issue_time : now [UTC].
    """
    known = known_at(data, issue_time)
    digest = hashlib.sha256(repr(data.source).encode())
    for item in known.external:
        digest.update(repr((item.name, item.quantity, item.step_min)).encode())
    external = [item.frame for item in known.external]
    for frame in (known.series, known.weather_forecasts, known.others, *external):
        if frame is not None:
            digest.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return digest.hexdigest()[:16]
