"""Reconciliation: sums agree, by hand, by a second formula, and errors are not larger for it."""

import numpy as np
import pytest

from vpp.forecast.reconcile import (
    reconciled,
    shrunk_covariance,
    structural_covariance,
    width_of_sums,
)


def hierarchy(rng):
    """Some sites with some plants, and all plants together: a row a sum."""
    sites = np.repeat(np.arange(rng.integers(1, 5)), rng.integers(2, 4))
    return np.array([*(sites == site for site in np.unique(sites)), sites >= 0], float)


def random_covariance(rng, size):
    root = rng.normal(size=(size, size + 3))
    return root @ root.T / size


def test_by_hand():
    # the sum says 9, its parts 3 and 3: of equal trust, each of the three moves by 1
    groups, parts, sums = np.ones((1, 2)), np.array([[3.0], [3.0]]), np.array([[9.0]])
    np.testing.assert_allclose(reconciled(sums, parts, groups, np.eye(3)), [[4], [4]])
    # a sum without errors is right; the part that errs nine times as much moves so much more
    certain = np.diag([0.0, 1.0, 9.0])
    np.testing.assert_allclose(reconciled(sums, parts, groups, certain), [[3.3], [5.7]])
    # a sum counts as the two parts that err in it: apart by 3, of 2 + 1 + 1
    structural = structural_covariance(groups)
    np.testing.assert_allclose(reconciled(sums, parts, groups, structural), [[3.75], [3.75]])


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_projection_of_least_variance_and_leaves_what_agrees(seed):
    rng = np.random.default_rng(seed)
    groups = hierarchy(rng)
    sums, parts = (rng.normal(size=(count, 5)) for count in groups.shape)
    covariance = random_covariance(rng, sum(groups.shape))
    found = reconciled(sums, parts, groups, covariance)
    # the formula of the paper: S (S' W^-1 S)^-1 S' W^-1 y, here without its sums
    every, inverse = np.vstack([groups, np.eye(groups.shape[1])]), np.linalg.inv(covariance)
    weights = np.linalg.solve(every.T @ inverse @ every, every.T @ inverse)
    np.testing.assert_allclose(found, weights @ np.vstack([sums, parts]), atol=1e-7)
    np.testing.assert_allclose(reconciled(groups @ found, found, groups, covariance), found)


def test_errors_are_not_larger_for_it():
    """Of sums and of parts, on days that the covariance has not seen."""
    better = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = hierarchy(rng)
        truth = random_covariance(rng, sum(groups.shape))
        errors = rng.multivariate_normal(np.zeros(len(truth)), truth, 600)
        covariance, (sums, parts) = (
            shrunk_covariance(errors[:300]),
            np.split(errors[300:].T, [len(groups)]),
        )
        found = reconciled(sums, parts, groups, covariance)
        made = [(found**2).mean(), ((groups @ found) ** 2).mean()]
        before = [(parts**2).mean(), min((sums**2).mean(), ((groups @ parts) ** 2).mean())]
        assert (np.array(made) <= 1.03 * np.array(before)).all()
        better.append(np.divide(made, before))
    assert (np.mean(better, axis=0) < 0.95).all()


def test_the_covariance_is_shrunk_where_errors_are_few_and_found_where_they_are_many():
    rng = np.random.default_rng(0)
    truth = random_covariance(rng, 12)
    few = shrunk_covariance(rng.multivariate_normal(np.zeros(12), truth, 6))
    assert np.linalg.eigvalsh(few).min() > 0  # that of six errors alone has six zeros
    many = shrunk_covariance(rng.multivariate_normal(np.zeros(12), truth, 100_000))
    np.testing.assert_allclose(many, truth, atol=0.02 * np.diag(truth).max())
    alone = shrunk_covariance(rng.normal(size=(50, 12)))  # nothing goes together: little is left
    correlation = alone / np.sqrt(np.outer(np.diag(alone), np.diag(alone)))
    assert np.abs(correlation - np.eye(12)).max() < 0.1
    assert (shrunk_covariance(np.zeros((30, 2))) == 0).all()


def test_bands_of_sums_are_as_wide_as_errors_go_together():
    apart, groups = np.array([[3.0], [4.0]]), np.ones((1, 2))
    assert width_of_sums(apart, groups, np.ones((2, 2)))[0, 0] == pytest.approx(7)
    assert width_of_sums(-apart, groups, np.eye(2))[0, 0] == pytest.approx(5)
