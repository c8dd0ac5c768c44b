"""All sites of a portfolio in one linear programme, each with its batteries in a few groups.

Its duals are the price that the exchange of all sites is worth, its exchanges a share for each
site. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh.
"""

from collections.abc import Mapping

import highspy
import numpy as np
from scipy import sparse

from vpp.schedule.backends import new_highs
from vpp.schedule.coupling import Coupling
from vpp.schedule.draft import INFINITE, Matrices
from vpp.schedule.fleet import grouped, groups_of
from vpp.schedule.problem import Problem
from vpp.schedule.site_lp import SiteLp, SiteLpError

GROUPS = 96  # of batteries of all sites


def with_groups(problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """The problems of sites, with so few groups of batteries that one programme can hold them.

    Parameters
    ----------
    problems : of each site by its name.
    """
    most = max(1, GROUPS // max(1, len(problems)))
    return {
        name: problem
        if len(problem.batteries) <= most
        else grouped(problem, groups_of(problem, most))
        for name, problem in problems.items()
    }


def shared_price(
    models: Mapping[str, SiteLp],
    coupling: Coupling,
    others_kw: np.ndarray,
    excess: float,
    limit_s: float,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The price of the exchange, and the exchange of each site.

    Parameters
    ----------
    models : of the sites by name.
    coupling : what the sites have in common.
    others_kw : exchange of sites that are not in it, one an interval [kW].
    excess : price of power beyond the common limits [EUR/MWh].
    limit_s : most time [s].

    Returns
    -------
    The price beside the sites' own [EUR/MWh], one an interval, and the exchanges [kW] by name.

    Raises
    ------
    SiteLpError : HiGHS finds none in time.
    """
    steps = len(others_kw)
    matrix, parts = _stacked(models, coupling, others_kw, excess)
    highs = new_highs(matrix, limit_s, 1e-6)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise SiteLpError(f"HiGHS: {highs.getModelStatus()}")
    solution = highs.getSolution()
    values, duals = np.array(solution.col_value), np.array(solution.row_dual)
    first = len(matrix.row_lower) - 4 * steps
    price = -duals[first : first + steps] * 1000 / coupling.hours
    exchanges = {
        name: values[columns[0]] + values[columns[3]] - values[columns[1]] - values[columns[4]]
        for name, columns in parts.items()
    }
    return price, exchanges


def _stacked(
    models: Mapping[str, SiteLp], coupling: Coupling, others_kw: np.ndarray, excess: float
) -> tuple[Matrices, dict[str, np.ndarray]]:
    """The programme, and where the powers of each site's connection are in it."""
    steps, by_kw = len(others_kw), coupling.hours / 1000
    own = [model.matrices for model in models.values()]
    blocks = [
        sparse.csr_matrix((m.value, m.index, m.starts), (len(m.row_lower), len(m.cost)))
        for m in own
    ]
    # the rows of targets stay, with nothing to aim at
    places, first = dict[str, np.ndarray](), 0
    rows, columns, signs = [], [], []
    t = np.arange(steps)
    for (name, model), matrix in zip(models.items(), own, strict=True):
        places[name] = model.grid + first
        for place, sign in ((0, 1.0), (1, -1.0), (3, 1.0), (4, -1.0)):
            rows.append(t)
            columns.append(places[name][place])
            signs.append(np.full(steps, sign))
        first += len(matrix.cost)
    zeros, free, one = np.zeros(steps), np.full(steps, INFINITE), sparse.identity(steps)
    entries = (np.concatenate(signs), (np.concatenate(rows), np.concatenate(columns)))
    exchange = sparse.csr_matrix(entries, (steps, first))
    position = coupling.position_kw
    prices = (0.0, excess, excess, coupling.short_eur_per_mwh, coupling.long_eur_per_mwh)
    common = sparse.bmat(
        [
            [exchange, -one, None, None, None, None],
            [None, one, -one, None, None, None],
            [None, one, None, one, None, None],
            [None, one, None, None, -one, one],
        ]
    )
    beside = sparse.csr_matrix((sum(b.shape[0] for b in blocks), 5 * steps))
    whole = sparse.vstack([sparse.hstack([sparse.block_diag(blocks), beside]), common], "csr")
    goal = (-free, free) if position is None else (position, position)
    low = [*(m.row_lower for m in own), -others_kw, -free, -coupling.export_limit_kw, goal[0]]
    high = [*(m.row_upper for m in own), -others_kw, coupling.import_limit_kw, free, goal[1]]
    return Matrices(
        cost=np.concatenate([*(m.cost for m in own), np.repeat(np.array(prices) * by_kw, steps)]),
        lower=np.concatenate([*(m.lower for m in own), -free, *(zeros,) * 4]),
        upper=np.concatenate([*(m.upper for m in own), *(free,) * 5]),
        integral=np.zeros(whole.shape[1], dtype=np.int32),
        row_lower=np.concatenate(low),
        row_upper=np.concatenate(high),
        starts=whole.indptr.astype(np.int32),
        index=whole.indices.astype(np.int32),
        value=whole.data,
    ), places
