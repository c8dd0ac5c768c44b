"""Ways in which prices, load and renewables may come, and what a plan costs over all of them.

Each scenario is a problem of its own; `vpp.schedule.branches` plans them together. Pure: reads and
writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section
from vpp.schedule.stated import stated

COMMON = ("first", "all", "position")
PRICE = "; default as in the problem"


@dataclass(frozen=True, eq=False)
class Scenario(Section):
    """A way in which it may come; a field that is missing is as in the problem."""

    probability: float = stated("of this scenario; all sum to 1", low=0, high=1)
    import_price_eur_per_mwh: np.ndarray | float | None = stated(
        "paid for each imported MWh" + PRICE, None, series=True
    )
    export_price_eur_per_mwh: np.ndarray | float | None = stated(
        "earned with each exported MWh" + PRICE, None, series=True
    )
    load_kw: np.ndarray | float | None = stated(
        "consumption that has to be served" + PRICE, None, series=True
    )
    renewables_kw: np.ndarray | float | None = stated(
        "what solar and wind could deliver" + PRICE, None, low=0, series=True
    )
    deviation_short_eur_per_mwh: np.ndarray | float | None = stated(
        "paid for what is taken beyond the position" + PRICE, None, series=True
    )
    deviation_long_eur_per_mwh: np.ndarray | float | None = stated(
        "earned with what is left of the position" + PRICE, None, series=True
    )


def check_scenarios(problem: Any) -> None:
    """Refuse scenarios that do not fit together.

    Parameters
    ----------
    problem : a `Problem`.

    Raises
    ------
    FieldError : `common` is unknown or has nothing to be common to, probabilities do not sum to 1,
        a position is to be chosen beside a given one or without grid limits, or a scenario's
        prices do not fit.
    """
    if problem.common not in COMMON:
        raise FieldError("common", problem.common, f"one of {', '.join(COMMON)}")
    chosen = problem.common == "position"
    if chosen and not problem.scenarios:
        raise FieldError("common", "position", "scenarios beside it")
    if not problem.scenarios:
        return
    total = sum(scenario.probability for scenario in problem.scenarios)
    if abs(total - 1) > 1e-6:
        shown = f"probabilities that sum to {total:g}"
        raise FieldError("scenarios", shown, "each with its probability, which sum to 1")
    if chosen and problem.position_kw is not None:
        expected = "none where common is position: it is chosen then"
        raise FieldError("position_kw", "(given)", expected)
    branches = [branch(problem, k) for k in range(len(problem.scenarios))]
    if chosen:
        _check_bounded(problem, branches)


def _check_bounded(problem: Any, branches: list) -> None:
    """Refuse a position that pays the more the larger it is, where no limit ends it."""
    prices = [choice_prices(one) for one in branches]
    settled = [one.settlement for one in branches]
    costs = {
        "import": [buy - one.long for (buy, _), one in zip(prices, settled, strict=True)],
        "export": [one.short - sell for (_, sell), one in zip(prices, settled, strict=True)],
    }
    for way, per_scenario in costs.items():
        for t in np.flatnonzero(np.isinf(getattr(problem, f"{way}_limit_kw"))).tolist():
            money = [float(cost[t]) for cost in per_scenario]
            if weights_of(problem, money) @ money < -1e-9:
                verb = "buying" if way == "import" else "selling"
                expected = f"a limit, for {verb} ever more ahead pays in interval {t}"
                raise FieldError(f"grid.{way}_limit_kw", "(none)", expected)


def choice_prices(problem: Any) -> tuple[np.ndarray, np.ndarray]:
    """Prices of a position that is to be chosen.

    Parameters
    ----------
    problem : the problem of one scenario.

    Returns
    -------
    Paid where it is bought, and earned where it is sold [EUR/MWh], one an interval.
    """
    prices = problem.settlement
    if problem.position_price_eur_per_mwh is None:
        return prices.import_price, prices.export_price
    return prices.position_price, prices.position_price


def branch(problem: Any, k: int, position_kw: np.ndarray | None = None) -> Any:
    """The problem of one scenario alone.

    Parameters
    ----------
    problem : a `Problem` with scenarios.
    k : number of the scenario.
    position_kw : the position where it is chosen [kW]; default 0.

    Returns
    -------
    The problem; a position that is to be chosen is the one given.

    Raises
    ------
    FieldError : the scenario's prices do not fit together; names the scenario.
    """
    scenario = problem.scenarios[k]
    names = [item.name for item in fields(scenario) if item.name != "probability"]
    changed = {name: getattr(scenario, name) for name in names}
    changed = {name: value for name, value in changed.items() if value is not None}
    if "export_price_eur_per_mwh" not in changed and problem.exports_at_import_price:
        changed["export_price_eur_per_mwh"] = None
    if problem.common == "position":
        zeros = np.zeros(problem.intervals)
        changed["position_kw"] = zeros if position_kw is None else position_kw
    try:
        return replace(problem, scenarios=(), common="first", **changed)
    except FieldError as error:
        raise FieldError(f"scenarios[{k}].{error.key}", error.value, error.expected) from None


def tail(money: Sequence[float], chances: Sequence[float], level: float) -> np.ndarray:
    """Weights with which the dearest scenarios make up the conditional value at risk.

    Parameters
    ----------
    money : objective of each scenario [EUR].
    chances : their probabilities.
    level : the dearest `1 - level` of probability counts.

    Returns
    -------
    Weights that sum to 1, one a scenario.
    """
    weights, left = np.zeros(len(money)), 1.0 - level
    for k in sorted(range(len(money)), key=lambda k: -money[k]):
        weights[k] = min(chances[k], max(left, 0.0))
        left -= chances[k]
    return weights / max(weights.sum(), 1e-300)


def weights_of(problem: Any, money: Sequence[float]) -> np.ndarray:
    """Weight of each scenario's money in the objective: expected money, and the dear tail's.

    Parameters
    ----------
    problem : a `Problem` with scenarios.
    money : objective of each scenario [EUR].

    Returns
    -------
    Weights that sum to 1, one a scenario.
    """
    chances = [scenario.probability for scenario in problem.scenarios]
    risk = problem.risk_weight
    return (1 - risk) * np.array(chances) + risk * tail(money, chances, problem.risk_level)
