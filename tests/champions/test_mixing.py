"""A combination's weights: 0 or more, with the sum 1, from errors that were known."""

import numpy as np
import pandas as pd
import pytest
from small_contest import contest_of
from small_world import END, START

from vpp.champions.contest import assess_all, lay_origins
from vpp.champions.mixing import combine, members_of
from vpp.champions.origins import SelectionError
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.combination import simplex_weights


def test_weights_of_two_models_by_hand():
    """Normal errors of variance 1 and 4: 4/5 and 1/5 are best, 1/2 without errors."""
    rng = np.random.default_rng(1)
    errors = np.linalg.qr(rng.normal(size=(400, 2)))[0] * 20 * [1.0, 2.0]
    assert simplex_weights(errors, 1e9) == pytest.approx([0.8, 0.2], abs=0.03)
    assert simplex_weights(errors[:0], 0) == pytest.approx([0.5, 0.5])


def test_few_days_weigh_inverse_to_the_squared_errors():
    """Variance 1 and 4, and covariance 1: weights inverse to them are 4/5 and 1/5, but the second
    error is the first and more: 1 and 0 are best.
    """
    rng = np.random.default_rng(1)
    first, other = np.linalg.qr(rng.normal(size=(400, 2)))[0].T * 20
    errors = np.column_stack([first, first + np.sqrt(3) * other])
    few, some, many = (simplex_weights(errors, days)[0] for days in (1e-3, 20, 1e6))
    assert few == pytest.approx(0.8, abs=0.06) and many == pytest.approx(1, abs=0.05)
    assert few < some < many
    # a third model that is far off neither comes in nor moves the others
    far = np.column_stack([errors, rng.normal(0, 50, 400)])
    assert simplex_weights(far, 20)[:2] == pytest.approx(simplex_weights(errors, 20), abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_a_mix_that_is_no_worse_than_the_best(seed):
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)
    weights = simplex_weights(errors, 1e9)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    best = np.abs(errors).mean(axis=0).min()
    assert np.abs(errors @ weights).mean() <= best * (1 + 1e-3)


def test_a_rare_large_error_counts_by_its_size_not_by_its_square():
    errors = np.tile([[1.0, 2.0]], (200, 1))
    errors[::50, 0] = 30.0  # a mean absolute error of 1.58, and 2 of the other
    assert simplex_weights(errors, 1e9) == pytest.approx([1.0, 0.0], abs=1e-3)


def test_a_contest_makes_a_combination_that_forecasts_as_a_model(quick_world):
    models = ("arima", "lightgbm", "lear", "combination")
    contest = contest_of(quick_world, models=models, origins=6)
    origins = lay_origins(contest)
    contenders = assess_all(contest, origins)
    assert [each.model for each in contenders] == [
        *("seasonal_naive", "arima", "lightgbm", "combination")  # lear is for prices
    ]
    assert [each.reason for each in contenders] == [None] * 4
    parameters = contenders[-1].parameters
    assert sum(parameters["weights"]) == pytest.approx(1, abs=1e-2)
    known = known_at(contest.data, END)
    model = contest.make(MODELS["combination"], parameters).fit(known)
    parts = [
        contest.make(MODELS[name], parameters["of"][name]).fit(known).predict(known, 24)["value"]
        for name in parameters["members"]
    ]
    mean = np.average(parts, axis=0, weights=parameters["weights"])
    np.testing.assert_allclose(model.predict(known, 24)["value"], mean)
    with pytest.raises(SelectionError, match="two models"):
        combine(contest, members_of(contenders)[:1])


def test_weights_of_an_origin_know_no_later_error(quick_world):
    contest = contest_of(quick_world, models=("arima", "lightgbm"), origins=6)
    members = members_of(assess_all(contest, lay_origins(contest)))
    _, before = combine(contest, members)
    origin = before["issue_time"].unique()[-2]
    for each in members:
        late = each.raw["valid_time"] >= origin
        each.raw = each.raw.assign(actual=each.raw["actual"].where(~late, 1e6))
    _, after = combine(contest, members)
    same = before["issue_time"] <= origin
    assert before.loc[same, "value"].equals(after.loc[same, "value"])
    assert START < origin < pd.Timestamp(END)
