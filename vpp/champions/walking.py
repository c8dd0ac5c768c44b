"""A backtest of a model on a source in parts, each a task: claimed once, and not done again.

    python forecasting.py backtest --source load-1 --model arima --origins 60

A part begins where the model is fitted anew, and is four weeks long at least. Whoever does it reads
the source itself and keeps the rows with the claim. A backtest that was interrupted goes on with
the parts that are left: those of the same data, rules and code are not done again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.champions.history import load_source_data
from vpp.champions.studies import code_files, data_hash
from vpp.forecast.backtest import REFIT_DAYS, ForecastError, walk
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.claims import claimed, server_time
from vpp.storage.connection import session
from vpp.storage.sharing import Outcome, Steps, shared_out

TIMES = ("issue_time", "valid_time")


@dataclass(frozen=True)
class Walk:
    """How a model is backtested.

    Parameters
    ----------
    model : its name.
    horizon_h : what it is made for [h].
    steps, refit_days : as of `vpp.forecast.backtest.walk`.
    """

    model: str
    horizon_h: int
    steps: int | None
    refit_days: float


@dataclass(frozen=True)
class WalkTask:
    """A part of a backtest.

    Parameters
    ----------
    config : the configuration.
    source : to forecast.
    rules : of the backtest.
    origins : issue times of the part [UTC].
    data : hash of what is known of the source.
    since : when the command began [UTC of the database].
    wait : whether to wait for another command that does the part.
    """

    config: Config
    source: Source
    rules: Walk
    origins: tuple[pd.Timestamp, ...]
    data: str
    since: pd.Timestamp
    wait: bool = False

    @property
    def name(self) -> str:
        """By which it is claimed; it says all that the rows depend on."""
        code = [file.read_bytes() for file in code_files(MODELS[self.rules.model])]
        training = self.config.training
        settings = (training.history_days, training.seed, self.rules, self.origins, self.data)
        digest = hashlib.sha256(repr(settings).encode() + b"".join(code)).hexdigest()[:16]
        return f"walk/{self.source.source_id}/{digest}"


def parts_of(origins: Sequence[pd.Timestamp], refit_days: float) -> list[list[pd.Timestamp]]:
    """Issue times in parts that depend on nothing of each other.

    Parameters
    ----------
    origins : issue times [UTC].
    refit_days : a model is fitted anew when its fit is so old [days].

    Returns
    -------
    The parts; each but the first begins with a fit, and each but the last is `REFIT_DAYS` long at
    least.
    """
    parts: list[list[pd.Timestamp]] = []
    fitted = None
    for at in sorted(origins):
        if fitted is None or (at - fitted) / DAY >= refit_days:
            fitted = at
            if not parts or (at - parts[-1][0]) / DAY >= REFIT_DAYS:
                parts.append([])
        parts[-1].append(at)
    return parts


def walk_part(task: WalkTask) -> Outcome:
    """Forecast at the issue times of a part, unless that is done.

    Parameters
    ----------
    task : the part.

    Returns
    -------
    Its rows, as lists by column; None where another command is at it.
    """
    config, rules = task.config, task.rules
    with claimed(config, task.name, task.since, task.wait) as claim:
        if claim is None or claim.done:
            return Outcome(task.name, claim and claim.result)
        if claim.earlier:
            claim.finish(claim.earlier)
            return Outcome(task.name, claim.result)
        with session(config) as conn:
            data = load_source_data(conn, config, task.source)
        if hash_at(data, task.origins[-1], rules) != task.data:
            raise ForecastError(
                f"{task.source.source_id}: its data changed during the backtest; run it again"
            )
        training = config.training
        often = (task.origins, rules.steps, rules.refit_days, training.history_days)
        steps, rows = Steps(config, task.name, len(task.origins)), []
        try:
            for frame in walk(
                lambda: MODELS[rules.model](horizon_h=rules.horizon_h, seed=training.seed),
                data,
                *often,
            ):
                rows.append(frame)
                steps()
        finally:
            steps.close()
        claim.finish(as_lists(pd.concat(rows, ignore_index=True)))
    return Outcome(task.name, claim.result)


def hash_at(data: SourceData, origin: pd.Timestamp, rules: Walk) -> str:
    """Hash of what the rows of a part depend on.

    Parameters
    ----------
    data : of the source.
    origin : the last issue time of the part [UTC].
    rules : of the backtest.
    """
    hours = max(rules.horizon_h, 49)  # the local day after the next may have 25
    return data_hash(data, origin + pd.Timedelta(hours=hours))


def walked(
    config: Config, data: SourceData, origins: Sequence[pd.Timestamp], rules: Walk
) -> pd.DataFrame:
    """The rows of all issue times, as of `vpp.forecast.backtest.walk`, made on the engine.

    Parameters
    ----------
    config : the configuration.
    data : of the source.
    origins : issue times [UTC].
    rules : of the backtest.
    """
    with session(config) as conn:
        since = server_time(conn)
    parts = parts_of(origins, rules.refit_days)
    tasks = [
        WalkTask(config, data.source, rules, tuple(part), hash_at(data, part[-1], rules), since)
        for part in parts
    ]
    label, found = "forecasting", {}
    for outcome in shared_out(config, walk_part, tasks, config.training.jobs, label):
        found[outcome.task] = of_lists(outcome.result)
    return pd.concat([found[task.name] for task in tasks], ignore_index=True)


def as_lists(frame: pd.DataFrame) -> dict[str, list]:
    """A frame as JSON can hold it, to the bit.

    Parameters
    ----------
    frame : rows of `walk`.
    """
    frame = frame.assign(
        **{name: pd.DatetimeIndex(frame[name]).as_unit("ns").asi8 for name in TIMES}
    )
    return {"columns": list(frame.columns)} | {name: frame[name].tolist() for name in frame}


def of_lists(lists: dict[str, list]) -> pd.DataFrame:
    """The frame that `as_lists` was given.

    Parameters
    ----------
    lists : by column.
    """
    columns = {}
    for name in lists["columns"]:
        values = lists[name]
        if name in TIMES:
            columns[name] = pd.DatetimeIndex(np.array(values, "M8[ns]")).tz_localize("UTC")
        elif all(isinstance(one, bool) for one in values):
            columns[name] = np.array(values, bool)
        else:
            columns[name] = np.array(values, float)
    return pd.DataFrame(columns)
