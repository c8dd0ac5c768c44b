"""Scenarios have the bands they are drawn from, and their correlation; a bootstrap covers."""

import numpy as np
import pytest
from scipy.stats import norm

from vpp.forecast.quantiles import QUANTILES
from vpp.schedule.draws import block_bootstrap, correlation, draw, scores

LEVELS = np.array(QUANTILES)


def normal_bands(steps, spread=10.0):
    """Quantiles of normal values about 100."""
    return 100 + spread * np.repeat(norm.ppf(LEVELS)[:, None], steps, axis=1)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_draws_have_the_quantiles_and_the_correlation_asked_for(rho):
    ways = draw(normal_bands(6), LEVELS, rho, 20_000, np.random.default_rng(1))
    assert ways.shape == (20_000, 6)
    np.testing.assert_allclose(np.quantile(ways, LEVELS, axis=0), normal_bands(6), atol=0.6)
    np.testing.assert_allclose(ways.mean(axis=0), 100, atol=1e-9)  # opposite pairs
    for lag in (1, 3):
        assert np.corrcoef(ways[:, 0], ways[:, lag])[0, 1] == pytest.approx(rho**lag, abs=0.03)
    # beyond q95 the slope goes on to twice its distance
    assert 100 + 10 * 1.5 * norm.ppf(0.95) < ways.max() <= 100 + 10 * 2 * norm.ppf(0.95) + 1e-9


def test_a_band_without_width_is_drawn_as_it_is_and_an_odd_number_is_whole():
    known = np.full((len(LEVELS), 3), 7.0)
    assert draw(known, LEVELS, 0.9, 3, np.random.default_rng(0)).tolist() == [[7.0] * 3] * 3
    one = draw(normal_bands(2), LEVELS, 0.5, 1, np.random.default_rng(0))
    assert one.tolist() == draw(normal_bands(2), LEVELS, 0.5, 1, np.random.default_rng(0)).tolist()
    assert one.shape == (1, 2)


def test_scores_say_where_in_its_band_a_value_came():
    bands = normal_bands(4)
    bands[:, 3] = 5.0
    found = scores(bands, LEVELS, np.array([100.0, 100 + 10 * norm.ppf(0.9), 1e9, 5.0]))
    assert found[:3] == pytest.approx([0.0, norm.ppf(0.9), norm.ppf(0.95)])
    assert np.isnan(found[3])


def test_correlation_is_learnt_from_the_past_alone():
    noise = np.random.default_rng(3).standard_normal(3000)
    found = np.zeros(3000)
    for t in range(1, 3000):
        found[t] = 0.7 * found[t - 1] + np.sqrt(1 - 0.49) * noise[t]
    rho = correlation(found, 1.0)
    assert len(rho) == 3001
    assert rho[:2] == pytest.approx([0.9, 0.9])  # as long as nothing is known
    assert rho[-1] == pytest.approx(0.7, abs=0.03)
    later = found.copy()
    later[2000:] = 3.0
    assert correlation(later, 1.0)[:2001].tolist() == rho[:2001].tolist()
    assert correlation(np.full(9, np.nan), 0.5) == pytest.approx(np.full(10, 0.9**0.5))


def test_a_bootstrap_covers_the_mean_of_days_that_resemble_each_other():
    """With 90 % in theory; blocks of a week fall a little short of it."""
    generator, inside = np.random.default_rng(5), 0
    for _ in range(200):
        days = np.convolve(generator.standard_normal(125), np.ones(6) / 6, "valid") + 1.0
        mean, low, high = block_bootstrap(days)
        assert low < mean == days.mean() < high
        inside += low <= 1.0 <= high
    assert 150 <= inside <= 195
    assert block_bootstrap(np.full(30, 2.0)) == pytest.approx((2.0, 2.0, 2.0))
    assert block_bootstrap(np.array([4.0])) == (4.0, 4.0, 4.0)
    low, high = block_bootstrap(np.array([0.0, 1, 0, 1, 0, 1]))[1:]  # days one by one
    assert low < 0.5 < high
