"""The name of a study says all that its values depend on."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_world import END, LOAD, START, series

from vpp.champions.contenders import Contest
from vpp.champions.origins import split_origins
from vpp.champions.studies import code_files, study_digest
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.runtime.settings import Training

CONTEST = Contest(SourceData(LOAD, series(LOAD)), END, 24, Training(), "", None)
ORIGINS = split_origins(START, END, 24, 4).tuning
FIRST = pd.Timedelta(hours=1)


class Own(DailyNaive):
    """A model whose code lies here."""

    name = "own"


def changed_at(time):
    values = series(LOAD)
    values[time] += 1.0
    return replace(CONTEST, data=replace(CONTEST.data, series=values))


@pytest.mark.parametrize(
    ("contest", "origins", "model", "same"),
    [
        (CONTEST, ORIGINS, "arima", True),
        (replace(CONTEST, storage="elsewhere"), ORIGINS, "arima", True),
        (replace(CONTEST, training=Training(trials=9, jobs=1)), ORIGINS, "arima", True),
        (changed_at(END - FIRST), ORIGINS, "arima", True),  # after the last window of the tuning
        (changed_at(START), ORIGINS, "arima", False),
        (replace(CONTEST, horizon_h=48), ORIGINS, "arima", False),
        (replace(CONTEST, training=Training(seed=2)), ORIGINS, "arima", False),
        (replace(CONTEST, training=Training(select_by="pinball")), ORIGINS, "arima", False),
        (replace(CONTEST, training=Training(history_days=30)), ORIGINS, "arima", False),
        (CONTEST, ORIGINS[1:], "arima", False),
    ],
)
def test_a_study_goes_on_only_where_it_asks_the_same(contest, origins, model, same):
    first = study_digest(CONTEST, MODELS["arima"], ORIGINS)
    assert (study_digest(contest, MODELS[model], origins) == first) == same


def test_the_code_of_a_model_is_its_own_its_parents_and_what_models_share():
    assert {Path(__file__).name, "naive.py", "model.py"} <= {each.name for each in code_files(Own)}
    of_arima = {each.name for each in code_files(MODELS["arima"])}
    assert {"arima.py", "linear.py", "features.py", "known.py", "times.py"} <= of_arima
    assert code_files(MODELS["arima"]) != code_files(Own)
    assert study_digest(CONTEST, Own, ORIGINS) != study_digest(CONTEST, DailyNaive, ORIGINS)
