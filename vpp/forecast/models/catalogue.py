"""The forecasting models, one class and one line in `MODELS` each; what they share is in
`forecast_base.py`.

Naive forecasts, Prophet, ARIMA and N-BEATS are here; those that learn from a table of features
(random forest and others) are in `direct_models.py`.

    python -c "import forecast_models; print(*forecast_models.MODELS)"
"""

from vpp.forecast.model import ForecastModel
from vpp.forecast.models.arima import Arima
from vpp.forecast.models.combination import Combination
from vpp.forecast.models.lear import Lear
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.naive import DailyNaive, MixedNaive, SeasonalNaive
from vpp.forecast.models.nbeats import NBeats
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
        Lear,
        Combination,
    )
}
