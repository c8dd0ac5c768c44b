"""A fitted model as MLflow stores and serves it.

A registered model is a pyfunc whose loader is this module: it loads wherever the project is on the
Python path. Its file is a pickle of the model and of the description of its source. Models that
were stored when all modules lay side by side still load.

Power in kW, prices in EUR/MWh; times are UTC, as text where they go through MLflow."""

import io
import pickle
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.forecast.external import External
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.quantiles import COLUMNS

TIME = "%Y-%m-%dT%H:%M:%SZ"
FILE = "model.pkl"
MOVED = {  # module before there was a package -> where its classes are now
    "sources": ("site.sources",),
    "features": ("forecast.known",),
    "forecast_base": ("forecast.calibration",),
    "forecast_models": tuple(
        f"forecast.models.{name}" for name in ("naive", "linear", "prophet", "arima", "nbeats")
    ),
    "direct_models": ("forecast.models.trees",),
    "regression_models": tuple(
        f"forecast.models.{name}" for name in ("ridge", "lightgbm", "lear", "combination")
    ),
}


class PyfuncForecaster:
    """A fitted model as MLflow serves it: rows of `model_input` in; valid_time, value and quantiles
    out.

    Parameters
    ----------
    model : fitted.
    data : its source; the rows come with each request.
    """

    def __init__(self, model: ForecastModel, data: SourceData):
        self.model, self.data = model, data

    def get_raw_model(self) -> ForecastModel:
        """The fitted model; MLflow asks by this name."""
        return self.model

    def predict(self, model_input: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        """Forecast from rows of the function `model_input`.

        Parameters
        ----------
        model_input : what is known of the source [kW or EUR/MWh].
        params : `steps`, intervals to forecast (48), and `issue_time`, by default the time at which
            the last measurement is known.
        """
        params, data = params or {}, self.data
        time = pd.to_datetime(model_input["time"], utc=True)
        issued = pd.to_datetime(model_input["issue_time"].replace("", None), utc=True)
        frame = model_input.assign(time=time.dt.as_unit("ns"), issue_time=issued.dt.as_unit("ns"))
        measured, weather = frame[issued.isna()].set_index("time"), None
        series, others = measured["value"].astype(float).dropna(), None
        columns = () if data.weather_forecasts is None else data.weather_forecasts.columns
        if len(columns) and {*columns} - {"valid_time"} <= {*frame}:  # too old ones are left out
            forecasts = frame[issued.notna()].rename(columns={"time": "valid_time"})
            weather = forecasts[list(columns)].dropna(how="all", subset=list(columns[2:]))
        if data.others is not None:
            others = measured.reindex(columns=data.others.columns).dropna(how="all")
        delay = pd.Timedelta(minutes=data.measurement_delay_min)
        issue_time = pd.Timestamp(params.get("issue_time") or series.index[-1] + data.step + delay)
        issues = frame[issued.notna()].rename(columns={"time": "valid_time"})
        external = tuple(given_external(item, issues) for item in data.external)
        given = replace(
            data, series=series, weather_forecasts=weather, others=others, external=external
        )
        steps = int(params.get("steps", 48))
        forecast = self.model.predict(known_at(given, issue_time), steps)[list(COLUMNS)]
        times = pd.DatetimeIndex(forecast.index).strftime(TIME)
        return forecast.set_axis(times).rename_axis("valid_time").reset_index()


def given_external(item: External, rows: pd.DataFrame) -> External:
    """A forecast of others with the values of a request.

    Parameters
    ----------
    item : its name and quantity.
    rows : of the request, with issue and valid time.
    """
    empty = rows.assign(**{item.feature: rows.get(item.feature, np.nan)})
    values = empty[["issue_time", "valid_time", item.feature]].dropna()
    return replace(item, frame=values.rename(columns={item.feature: "value"}))


def model_input(
    data: SourceData, issue_time: pd.Timestamp, days: float | None = None
) -> pd.DataFrame:
    """The rows that a served model takes.

    There are two kinds, so that nothing is lost: measurements (time, value, and other series where
    there are any; no issue_time), and forecasts of the weather and of others (time, issue_time and
    their quantities). Times are text, as in JSON.

    Parameters
    ----------
    data : the source [kW or EUR/MWh].
    issue_time : nothing known later is in it [UTC].
    days : so much of the history [d]; default all.
    """
    known = known_at(data, issue_time, days)
    measured = known.targets.to_frame("value")
    if known.others is not None:
        measured = measured.join(known.others, how="outer")
    parts = [measured.rename_axis("time").reset_index()]
    if known.weather_forecasts is not None:
        parts.append(known.weather_forecasts.rename(columns={"valid_time": "time"}))
    names = {"valid_time": "time"}
    parts += [item.frame.rename(columns=names | {"value": item.feature}) for item in known.external]
    frame = pd.concat(parts, ignore_index=True)
    frame["time"] = frame["time"].dt.strftime(TIME)
    if "issue_time" in frame:
        frame["issue_time"] = frame["issue_time"].dt.strftime(TIME).fillna("")
    else:
        frame["issue_time"] = ""
    first = ["time", "issue_time"]
    return frame[[*first, *(name for name in frame if name not in first)]]


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
        external=tuple(replace(item, frame=item.frame.iloc[:0]) for item in data.external),
    )


def write_model(path: Path, model: ForecastModel, data: SourceData) -> None:
    """Write the file of a fitted model, with the description of its source.

    Parameters
    ----------
    path : the file.
    model, data : the model and its source.
    """
    path.write_bytes(pickle.dumps({"model": model, "data": empty(data)}))


def read_model(path: Path) -> PyfuncForecaster:
    """Read what `write_model` wrote, also in the version before."""
    return open_model(path.read_bytes())


def open_model(content: bytes) -> PyfuncForecaster:
    """The model of the content of such a file. It runs whatever code the file names."""
    stored = Unpickler(io.BytesIO(content)).load()
    return PyfuncForecaster(stored["model"], stored["data"])


class Unpickler(pickle.Unpickler):
    """Finds the classes of this project where they are now."""

    def find_class(self, module: str, name: str) -> object:
        """Look a class up in the modules that took over from its own.

        Parameters
        ----------
        module, name : as they were stored.
        """
        for place in MOVED.get(module, ()):
            found = getattr(import_module(f"vpp.{place}"), name, None)
            if found is not None:
                return found
        return super().find_class(module, name)


def _load_pyfunc(path: str) -> PyfuncForecaster:
    """The loader that MLflow calls by this name."""
    return read_model(Path(path))
