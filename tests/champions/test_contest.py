"""Who is champion: the test of Diebold and Mariano, and what an incumbent is worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_contest import contest_of
from small_world import END, LOAD, MARKET, START, load_data, series

from vpp.champions.contenders import Contender, Contest
from vpp.champions.contest import assess, decide, fit_champion
from vpp.champions.mixing import combine, nested_test
from vpp.champions.origins import split_origins
from vpp.forecast import scores as forecast_scores
from vpp.forecast.known import SourceData
from vpp.forecast.model import ModelError
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.forecast.scores import losses, score_of
from vpp.runtime.settings import Training

DAY = pd.Timedelta(days=1)


def frame(losses):
    """A backtest whose hour k of window w is off by losses[w][k]."""
    parts = []
    for number, errors in enumerate(losses):
        issue = START + number * 2 * DAY
        times = pd.date_range(issue, periods=len(errors), freq="h")
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": issue,
                    "valid_time": times,
                    "actual": 100.0,
                    "value": 100.0 - np.asarray(errors, float),
                }
            )
        )
    made = pd.concat(parts, ignore_index=True)
    quantiles = {name: made["value"] + number for number, name in enumerate(QUANTILE_COLUMNS)}
    return made.assign(**quantiles, published=False, dark=False, naive=90.0)


def diebold_mariano(worse, better):
    """The test of two backtests by absolute errors."""
    return forecast_scores.diebold_mariano(
        *(losses(item, SourceData(LOAD, series(LOAD)), "mae") for item in (worse, better))
    )


def test_diebold_mariano_of_days_is_a_t_test():
    """Windows of one day have no lag.

    Differences of their means 1, 2, 3, 4 give t = 2.5 / (1.2910 / 2) = 3.873 with 3 degrees.
    """
    from scipy.stats import ttest_1samp

    worse, better = frame([[2.0] * 24, [3.0] * 24, [4.0] * 24, [5.0] * 24]), frame([[1.0] * 24] * 4)
    p_value = diebold_mariano(worse, better)
    assert p_value == pytest.approx(ttest_1samp([1, 2, 3, 4], 0, alternative="greater").pvalue)
    assert p_value == pytest.approx(0.01523, abs=1e-5)
    assert diebold_mariano(better, worse) == pytest.approx(1 - p_value)


def test_diebold_mariano_allows_for_the_second_day():
    """Days 2, 2, 4, 4: mean 3, variance 1 + 2 · ½ · (1 − 1 + 1)/4 = 1.25, correction (4 + 1 − 4 +
    2/4)/4 = 0.375.

    t = 3 / √(1.25 / 4) · √0.375 = 3.2863.
    """
    from scipy.stats import t

    worse, better = (
        frame([[3.0] * 24 + [3.0] * 24, [5.0] * 24 + [5.0] * 24]),
        frame([[1.0] * 48] * 2),
    )
    assert diebold_mariano(worse, better) == pytest.approx(t.sf(3.28634, 3), rel=1e-4)


def test_equal_losses_prove_nothing():
    assert diebold_mariano(frame([[1.0] * 24] * 3), frame([[-1.0] * 24] * 3)) == 1.0
    assert diebold_mariano(frame([[2.0] * 24]), frame([[1.0] * 24])) == 1.0  # one day


def result(model, errors, **parameters):
    return Contender(model, parameters, frame(errors), score=float(np.mean(errors)))


@pytest.fixture
def bare_task():

    return Contest(SourceData(LOAD, series(LOAD)), END, 24, Training(), "", None)


NAIVE_DAYS = [[10.0] * 24, [10.5] * 24, [9.5] * 24, [10.2] * 24]


def test_the_first_run_takes_the_best_and_a_tie_goes_to_seasonal_naive(bare_task):
    naive, good = result("seasonal_naive", NAIVE_DAYS), result("arima", [[5.0] * 24] * 4)
    assert decide(bare_task, [naive, good], None).champion is good
    assert decide(bare_task, [naive, result("arima", NAIVE_DAYS)], None).champion is naive
    failed = Contender("arima", {}, reason="no convergence")
    assert decide(bare_task, [naive, failed], None).champion is naive


def test_the_incumbent_goes_only_for_one_that_is_clearly_better(bare_task):
    naive = result("seasonal_naive", NAIVE_DAYS)
    incumbent = result("prophet", [[6.0] * 24, [7.0] * 24, [6.0] * 24, [7.0] * 24])
    # mean 6.25 against 6.5, but not every day
    luckier = result("arima", [[9.0] * 24, [1.0] * 24, [9.0] * 24, [6.0] * 24])
    better = result("arima", [[4.0] * 24, [5.1] * 24, [4.2] * 24, [5.0] * 24])
    assert decide(bare_task, [naive, luckier, incumbent], incumbent).champion is incumbent
    outcome = decide(bare_task, [naive, better, incumbent], incumbent)
    assert outcome.champion is better
    assert outcome.p_value < 0.1
    worse = result("arima", [[8.0] * 24] * 4)
    assert decide(bare_task, [naive, worse, incumbent], incumbent).champion is incumbent


def test_the_combination_goes_only_for_one_that_is_better_beyond_doubt(bare_task):
    naive = result("seasonal_naive", NAIVE_DAYS)
    mixed = result("combination", [[6.0] * 24, [7.0] * 24, [6.0] * 24, [7.0] * 24])
    # mean 6.25 against 6.5, but not every day; then 1.9 to 2 less on each, and less than naive only
    luckier = result("arima", [[9.0] * 24, [1.0] * 24, [9.0] * 24, [6.0] * 24])
    better = result("lear", [[4.1] * 24, [5.0] * 24, [4.0] * 24, [5.0] * 24])
    assert decide(bare_task, [naive, luckier, mixed], None).champion is mixed
    assert decide(bare_task, [naive, better, mixed], None).champion is better
    assert decide(bare_task, [naive, luckier, mixed], luckier).champion is luckier
    poor = result("combination", [[11.0] * 24, [1.0] * 24, [29.0] * 24, [6.0] * 24])
    assert decide(bare_task, [naive, luckier, poor], None).champion is luckier


def test_an_incumbent_that_fails_or_no_longer_beats_seasonal_naive_goes(bare_task):
    naive, good = result("seasonal_naive", NAIVE_DAYS), result("arima", [[9.9] * 24] * 4)
    assert decide(bare_task, [naive, good], result("prophet", [[11.0] * 24] * 4)).champion is good
    failed = decide(bare_task, [naive, good], Contender("prophet", {}, reason="no convergence"))
    assert failed.champion is good
    assert "no convergence" in failed.verdict


def alternating(actual):
    return (-1.0) ** np.arange(len(actual))


def of_price(errors, spread=1.0):
    """Six days of a price, whose course wanders a little, forecast with these errors.

    Quantiles lie `spread` apart.
    """
    rng, parts = np.random.default_rng(0), []
    for number in range(6):
        issue = pd.Timestamp("2025-01-06T23:00Z") + number * 3 * DAY  # midnight of the market
        actual = 60 + 40 * np.sin(np.arange(24) / 24 * 2 * np.pi) + rng.normal(0, 5, 24)
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": issue,
                    "valid_time": pd.date_range(issue, periods=24, freq="h"),
                    "actual": actual,
                }
            )
        )
    made = pd.concat(parts, ignore_index=True)
    made["value"] = made["actual"] + errors(made["actual"])
    quantiles = {
        name: made["value"] + spread * (place - 3) for place, name in enumerate(QUANTILE_COLUMNS)
    }
    return made.assign(**quantiles, published=False, dark=False, naive=60.0)


@pytest.mark.parametrize(
    ("select_by", "incumbent", "challenger"),
    [
        # off by 2 with a band far too wide, against off by 4 with one of about the right width
        (
            "pinball",
            (lambda actual: 2 * alternating(actual), 300.0),
            (lambda actual: 4 * alternating(actual), 2.0),
        ),
        # the mean of the days, rising a little, tells a battery nothing; the right course at the
        # wrong level tells it all
        (
            "value",
            (lambda actual: actual.mean() - actual + 1e-3 * np.arange(len(actual)), 1.0),
            (lambda actual: 80.0, 1.0),
        ),
    ],
)
def test_a_challenger_wins_by_the_score_that_was_chosen_though_its_errors_are_larger(
    bare_task, select_by, incumbent, challenger
):
    made = replace(
        bare_task,
        data=SourceData(MARKET, series(MARKET)),
        training=replace(bare_task.training, select_by=select_by),
    )
    frames = {
        "seasonal_naive": of_price(lambda actual: -2 * actual, 900.0),
        "prophet": of_price(*incumbent),
        "lear": of_price(*challenger),
    }

    def outcome(chosen):
        task = replace(made, training=replace(made.training, select_by=chosen))
        naive, old, new = (
            Contender(name, {}, made, score=score_of(made, task.data, chosen))
            for name, made in frames.items()
        )
        return decide(task, [naive, old, new], old)

    assert outcome(select_by).champion.model == "lear"
    assert outcome(select_by).p_value < 0.1
    assert outcome("mae").champion.model == "prophet"


def test_the_value_that_a_forecast_misses_of_a_day():
    """One hour at 100, all others at 0 EUR/MWh.

    1 MW sold for that hour, bought for nothing, earns 100 EUR; sold at another hour, 0.
    """
    data = SourceData(MARKET, series(MARKET))
    made = of_price(lambda actual: 0.0)
    made["actual"] = np.where(made["valid_time"].dt.hour == 12, 100.0, 0.0)
    made["value"] = made["actual"]
    assert losses(made, data, "value")["loss"].abs().max() < 1e-6
    made["value"] = np.where(made["valid_time"].dt.hour == 3, 100.0, 1.0)
    assert list(losses(made, data, "value")["loss"]) == pytest.approx([100.0] * 6)


def test_the_band_of_a_champion_knows_all_errors_that_are_known_and_no_other(quick_world):
    """With a delay of 5 h, so many values are stored but not known.

    Those before them, of the newest origins, shift the band.
    """
    made, origins = contest_of(quick_world), split_origins(START, END, 24, 4)

    def shifts(changed: slice):
        values = load_data(quick_world, LOAD).series
        values.iloc[changed] *= 3
        delayed = replace(made, data=replace(made.data, series=values, measurement_delay_min=300))
        winner = assess(delayed, MODELS["daily_naive"], origins)
        assert winner.reason is None
        return fit_champion(delayed, winner).calibration.shifts

    assert np.array_equal(shifts(slice(-5, None)), shifts(slice(0, 0)))
    assert not np.array_equal(shifts(slice(-8, -5)), shifts(slice(0, 0)))


def test_the_choice_is_tested_on_days_that_did_not_make_it(bare_task):
    """One model was better until the 8th of 12 days, the other from then on.

    The nested choice takes the former on the 7th to 9th day at least, so that its score lies
    between theirs, and not at the better one's.
    """
    old = result("arima", [[1.0] * 24] * 8 + [[9.0] * 24] * 4)
    new = result("prophet", [[4.0] * 24] * 12)
    found = nested_test(bare_task, [old, new])
    # of the last six days: 1, 1, then 9 until the mean of the past is above 4
    assert 1.0 < found["mae"] < 9.0
    assert nested_test(bare_task, [old])["mae"] == pytest.approx((2 * 1 + 4 * 9) / 6)
    assert nested_test(bare_task, [Contender("arima", {}, reason="no")]) == {}


def test_a_model_that_cannot_be_fitted_so_early_competes_and_combines(quick_world, monkeypatch):
    """The first of the tuning origins is 18 days after the first value."""

    class Late(DailyNaive):
        name = "late"

        def fit(self, known):
            if len(known.targets) < 25 * 24:
                raise ModelError("too few days to train on")
            return super().fit(known)

    monkeypatch.setitem(MODELS, "late", Late)
    made, origins = contest_of(quick_world), split_origins(START, END, 24, 4)
    late = assess(made, Late, origins)
    other = assess(made, MODELS["daily_naive"], origins)
    assert late.reason is None and late.score == other.score
    assert late.raw["issue_time"].nunique() == len(origins.selection)
    assert (late.untuned, other.untuned) == ("too few days to train on", None)
    parameters, raw = combine(made, [other, late])
    assert set(raw["issue_time"]) == set(origins.selection)
    assert sum(parameters["weights"]) == pytest.approx(1)
    assert assess(made, type("No", (Late,), {"fit": None}), origins).reason
