"""Forecasts of sums that agree with those of their parts.

Bottom-up adds up the parts. MinT also takes forecasts of the sums themselves, and changes all so
that they agree with the least variance of the errors: Wickramasuriya, Athanasopoulos and Hyndman
(2019), *Optimal forecast reconciliation for hierarchical and grouped time series through trace
minimization*; its covariance is shrunk as Schäfer and Strimmer (2005) do.

    y = reconciled(sums, parts, groups, covariance)     # groups @ y are the sums

Power in kW; arrays have a row for each sum or part, and a column for each interval.
"""

import numpy as np

FEWEST = 24  # joint errors: fewer tell nothing of their covariance


def shrunk_covariance(errors: np.ndarray) -> np.ndarray:
    """The covariance of forecast errors about zero, its correlations shrunk towards none.

    Parameters
    ----------
    errors : of n series at T times [kW], shape (T, n).

    Returns
    -------
    Covariance [kW²], shape (n, n), positive definite where each series has errors.
    """
    count = len(errors)
    size = np.sqrt((errors**2).mean(axis=0))
    scaled = np.divide(errors, size, out=np.zeros_like(errors, float), where=size > 0)
    found = scaled.T @ scaled / count
    # the variance of each correlation, from its T summands
    spread = ((scaled**2).T @ scaled**2 / count - found**2) / (count - 1)
    np.fill_diagonal(spread, 0.0)
    others = found - np.diag(np.diag(found))
    square = (others**2).sum()
    shrink = min(1.0, max(0.0, spread.sum() / square)) if square > 0 else 1.0
    kept = (1 - shrink) * found
    np.fill_diagonal(kept, 1.0)
    return kept * np.outer(size, size)


def structural_covariance(groups: np.ndarray) -> np.ndarray:
    """The covariance where no errors are known: a sum errs as so many parts that err alone.

    Parameters
    ----------
    groups : 1 where a part belongs to a sum, shape (sums, parts).
    """
    return np.diag(np.concatenate([groups.sum(axis=1), np.ones(groups.shape[1])]))


def reconciled(
    sums: np.ndarray, parts: np.ndarray, groups: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """The parts of least variance, whose sums agree with nothing but themselves.

    Of all changes that make `sums` equal `groups @ parts` it is the one that is smallest measured
    by the covariance of the errors.

    Parameters
    ----------
    sums : forecasts of the sums [kW], shape (a, steps).
    parts : forecasts of the parts [kW], shape (b, steps).
    groups : 1 where a part belongs to a sum, shape (a, b).
    covariance : of the errors of sums, then parts [kW²], shape (a + b, a + b).

    Returns
    -------
    The parts [kW], shape (b, steps).
    """
    constraint = np.hstack([np.eye(len(groups)), -groups])
    spread = covariance @ constraint.T
    apart = sums - groups @ parts
    # two sums of the same parts leave the system singular: its least solution is the same plan
    change = spread[len(groups) :] @ np.linalg.lstsq(constraint @ spread, apart, rcond=None)[0]
    return parts - change


def width_of_sums(
    deviations: np.ndarray, groups: np.ndarray, correlation: np.ndarray
) -> np.ndarray:
    """How far a quantile of each sum lies from its value, where parts err with a correlation.

    Parameters
    ----------
    deviations : of a quantile of each part from its value [kW], shape (b, steps), all of one sign.
    groups : 1 where a part belongs to a sum, shape (a, b).
    correlation : of the errors of the parts, shape (b, b); all ones add the deviations up.

    Returns
    -------
    Sizes [kW], shape (a, steps).
    """
    found = [
        np.einsum("is,ij,js->s", own, correlation[np.ix_(row, row)], own, optimize=True)
        for row in (np.flatnonzero(group) for group in groups)
        for own in (deviations[row],)
    ]
    return np.sqrt(np.maximum(np.array(found), 0.0))


def correlation_of(errors: np.ndarray) -> np.ndarray | None:
    """The correlation of errors; None where too few are known.

    Parameters
    ----------
    errors : of n series at T times [kW], shape (T, n).
    """
    if len(errors) < FEWEST:
        return None
    covariance = shrunk_covariance(errors)
    size = np.sqrt(np.diag(covariance))
    return covariance / np.maximum(np.outer(size, size), np.finfo(float).tiny)
