"""Systems of chains against dense matrices, and a hand-solved one."""

import numpy as np
import pytest

from vpp.schedule.chains import Chains


def dense(keep: float, moved: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """The matrix of a battery: rows `e[t] - keep e[t-1]` and powers, with their weights."""
    chain = np.eye(len(energy)) - keep * np.eye(len(energy), k=-1)
    return chain @ np.diag(energy) @ chain.T + np.diag(moved)


def drawn(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Three batteries whose weights differ by many orders, as near to an optimum."""
    rng = np.random.default_rng(steps)
    keep = np.array([1.0, 0.99, 0.5])
    moved, energy = 10.0 ** rng.uniform(-4, 4, (2, steps, 3))
    matrices = [dense(keep[b], moved[:, b], energy[:, b]) for b in range(3)]
    return keep, moved, energy, matrices


def test_hand_solved_chain():
    # weights of energy 1, 1 and of powers 2, 2, keep 0.5: matrix [[3, -0.5], [-0.5, 1 + 0.25 + 2]],
    # determinant 9.75 - 0.25 = 9.5; right (1, 0) gives (3.25, 0.5) / 9.5
    ones = np.ones((2, 1))
    found = Chains(np.array([0.5]), 2 * ones, ones).solve(np.array([[1.0], [0.0]]))
    assert found[:, 0] == pytest.approx([3.25 / 9.5, 0.5 / 9.5], rel=1e-14)


@pytest.mark.parametrize("steps", [1, 2, 7, 24])
def test_solutions_hold(steps):
    keep, moved, energy, matrices = drawn(steps)
    right = np.random.default_rng(0).normal(size=(steps, 3))
    found = Chains(keep, moved, energy).solve(right)
    for b, matrix in enumerate(matrices):
        assert found[:, b] == pytest.approx(np.linalg.solve(matrix, right[:, b]), rel=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 7, 24])
def test_sums_of_inverses(steps):
    keep, moved, energy, matrices = drawn(steps)
    scale = np.random.default_rng(0).normal(size=(steps, 3))
    found = Chains(keep, moved, energy).within(scale, np.array([0, 1]))
    each = [np.outer(scale[:, b], scale[:, b]) * np.linalg.inv(matrices[b]) for b in range(3)]
    assert found[0] == pytest.approx(each[0], rel=1e-8, abs=1e-12)
    assert found[1] == pytest.approx(each[1] + each[2], rel=1e-8, abs=1e-12)
