"""All forecasting models by name: a class in a module beside this one, and a line in `MODELS`.

`vpp/forecast/model.py` says what a model is.

    python -c "from vpp.forecast.models.catalogue import MODELS; print(*MODELS)"
"""

from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.arima import Arima
from vpp.forecast.models.combination import Combination
from vpp.forecast.models.dnn import Dnn
from vpp.forecast.models.first_day import FirstDay
from vpp.forecast.models.lear import Lear
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.naive import DailyNaive, MixedNaive, SeasonalNaive
from vpp.forecast.models.nbeats import NBeats
from vpp.forecast.models.pooled import Global
from vpp.forecast.models.prophet import Prophet
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.models.trees import RandomForest
from vpp.site.sources import Source

MODELS: dict[str, type[ForecastModel]] = {
    model.name: model
    for model in (
        SeasonalNaive,
        DailyNaive,
        MixedNaive,
        Prophet,
        Arima,
        NBeats,
        RandomForest,
        HourlyRidge,
        LightGbm,
        Global,
        Lear,
        Dnn,
        Combination,
        FirstDay,
    )
}


def check_kind(name: str, source: Source) -> None:
    """Refuse a model that is for sources of another kind.

    Parameters
    ----------
    name : of the model.
    source : that it is to forecast.

    Raises
    ------
    ModelError : it is not for this source.
    """
    if source.kind not in MODELS[name].kinds:
        raise ModelError(f"{source.source_id}: {name} is not for a {source.kind} source")
