"""All forecasting models by name: a class in a module beside this one, and a line in `MODELS`.

`vpp/forecast/model.py` says what a model is.

    python -c "from vpp.forecast.models.catalogue import MODELS; print(*MODELS)"
"""

from vpp.forecast.model import ForecastModel
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
