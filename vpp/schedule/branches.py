"""One model of all scenarios: each has its own part, and the parts share what is decided before.

A scenario's part is the model of its problem, with its money times its probability. Constraints tie
the powers, or the position, that must be the same in all; two more variables and a constraint a
scenario make up the conditional value at risk (Rockafellar and Uryasev, Journal of Risk 2 (2000)
21). Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpp.schedule.connection import most_kw
from vpp.schedule.draft import EQ, GE, INFINITE, MONEY_SCALE, Model, term_of
from vpp.schedule.exclusive import Intervals, Pair, without
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.scenarios import branch, choice_prices
from vpp.schedule.solution import solution

BUY, SELL = "position_buy_kw", "position_sell_kw"
# powers that follow from what is decided
FOLLOWING = ("grid_", "curtailed_kw", "clipped_kw")


@dataclass
class Branches:
    """The model of all scenarios and its parts.

    Parameters
    ----------
    problem : the problem with scenarios.
    problems : that of each scenario alone.
    parts : the model of each.
    model : all in one.
    """

    problem: Problem
    problems: list[Problem]
    parts: list[Model]
    model: Model

    def position_kw(self, found: np.ndarray) -> np.ndarray | None:
        """The position that is chosen [kW].

        Parameters
        ----------
        found : values of the model's variables.

        Returns
        -------
        One an interval; None where none is to be chosen.
        """
        if self.problem.common != "position":
            return None
        part = self.parts[0]
        return part.values(found, BUY) - part.values(found, SELL)

    def read(self, found: np.ndarray) -> tuple[list[Problem], list[Schedule], list[Intervals]]:
        """Each scenario's schedule.

        Parameters
        ----------
        found : values of the model's variables.

        Returns
        -------
        The problem of each scenario, with the position that is chosen; its schedule; and where the
        values break a condition.
        """
        position, first = self.position_kw(found), 0
        problems, schedules, broken = [], [], []
        for k, part in enumerate(self.parts):
            own = self.problems[k]
            if position is not None:
                own = branch(self.problem, k, position)
            schedule, at = solution(own, part, found[first : first + part.width])
            problems.append(own)
            schedules.append(schedule)
            broken.append(at)
            first += part.width
        return problems, schedules, broken


def build_branches(problem: Problem, soft: bool, exclusive: Sequence[Intervals | None]) -> Branches:
    """The model of all scenarios.

    Parameters
    ----------
    problem : the problem with scenarios.
    soft : whether limits may bend.
    exclusive : as `vpp.schedule.model.build` takes it, for each scenario.

    Returns
    -------
    The model, not solved.
    """
    problems = [branch(problem, k) for k in range(len(problem.scenarios))]
    model = Model(problem.intervals, problem.hours, soft)
    parts = []
    for own, some in zip(problems, exclusive, strict=True):
        at = None if some is None else {key: some[key] for key in some if key != "position"}
        part = build(own, soft, at)
        if problem.common == "position":
            _choose_position(own, part, some, _most_kw(problems))
        parts.append(part)
    branches = Branches(problem, problems, parts, model)
    for k, scenario in enumerate(problem.scenarios):
        _add_part(branches, k, scenario.probability)
    _tie(branches)
    if problem.risk_weight:
        _add_risk(branches)
    return branches


def _most_kw(problems: Sequence[Problem]) -> tuple[np.ndarray, np.ndarray]:
    """The largest positions to be chosen: grid limits, or all that can flow in any scenario."""
    flows = [most_kw(problem) for problem in problems]
    limits = (problems[0].import_limit_kw, problems[0].export_limit_kw)
    most = [np.max([flow[way] for flow in flows], axis=0) for way in (0, 1)]
    imports, exports = (
        np.where(np.isfinite(limit), limit, flow) for limit, flow in zip(limits, most, strict=True)
    )
    return imports, exports


def _choose_position(
    problem: Problem,
    part: Model,
    exclusive: Intervals | None,
    most: tuple[np.ndarray, np.ndarray],
) -> None:
    """Let a position be chosen.

    Where it would pay to buy and sell at once, binaries forbid it.
    """
    buy, sell = choice_prices(problem)
    part.add(BUY, 0.0, most[0], problem.hours * buy)
    part.add(SELL, 0.0, most[1], -problem.hours * sell)
    rows = part.rows["deviate"]
    rows.terms += [term_of(len(rows), BUY, -1.0), term_of(len(rows), SELL, 1.0)]
    pays = np.flatnonzero(buy < sell)
    pair = Pair(BUY, SELL, 1e-6, pays, pays)
    part.conditions["position"] = pair
    wanted = pays if exclusive is None else exclusive.get("position", pays[:0])
    if len(wanted):
        pair.enforce(part, "position", wanted)


def _add_part(branches: Branches, k: int, chance: float) -> None:
    """Take over a scenario's groups; money and violations count by its probability."""
    model, part = branches.model, branches.parts[k]
    share = (1.0 - branches.problem.risk_weight) * chance
    for name, group in part.columns.items():
        cost, first = group.cost * share, group.first + model.width
        own = replace(group, cost=cost, weight=group.weight * chance, first=first)
        model.columns[f"{name}_s{k}"] = own
    for name, rows in part.rows.items():
        terms = [replace(term, column=f"{term.column}_s{k}") for term in rows.terms]
        model.rows[f"{name}_s{k}"] = replace(rows, terms=terms, first=rows.first + model.height)
    model.width, model.height = model.width + part.width, model.height + part.height


def _tie(branches: Branches) -> None:
    """The powers of the first interval, of all, or the position are the same in all scenarios."""
    common, first = branches.problem.common, branches.parts[0]
    count = 1 if common == "first" else branches.problem.intervals
    names = [
        name
        for name, group in first.columns.items()
        if group.balance and not name.startswith(FOLLOWING)
    ]
    if common == "position":
        names = [BUY, SELL]
    here = np.arange(count)
    for k in range(1, len(branches.parts)):
        for name in names:
            terms = [(f"{name}_s{at}", sign, here, here) for at, sign in ((0, 1.0), (k, -1.0))]
            branches.model.constrain(f"tie_{name}_s{k}", EQ, 0.0, *terms, count=count)


def _add_risk(branches: Branches) -> None:
    """The mean of the dearest scenarios: a threshold, and how far each is above it."""
    problem, model, one = branches.problem, branches.model, np.zeros(1, dtype=int)
    weight = problem.risk_weight
    model.add("threshold", -INFINITE, INFINITE, weight, count=1)
    for k, (part, scenario) in enumerate(zip(branches.parts, problem.scenarios, strict=True)):
        cost = weight * scenario.probability / (1.0 - problem.risk_level)
        model.add(f"above_threshold_{k}", cost=cost, count=1)
        terms: list[tuple] = [(f"above_threshold_{k}", 1.0, one, one), ("threshold", 1.0, one, one)]
        for name, group in part.columns.items():
            places = np.flatnonzero(group.cost)
            rows = np.zeros(len(places), dtype=int)
            terms.append((f"{name}_s{k}", -group.cost[places], rows, places))
        known = MONEY_SCALE * known_eur(branches.problems[k])
        model.constrain(f"above_threshold_{k}", GE, known, *terms, count=1)


def known_eur(problem: Problem) -> float:
    """Money that no decision changes: a position that is already made [EUR].

    Parameters
    ----------
    problem : what is to be scheduled.
    """
    return float(problem.settlement.position_eur().sum())


def newly_broken(broken: Sequence[Intervals], exclusive: Sequence[Intervals]) -> list[Intervals]:
    """Where conditions are broken and have no binaries yet.

    Parameters
    ----------
    broken, exclusive : intervals of each scenario.

    Returns
    -------
    Intervals of each scenario.
    """
    return [without(one, other) for one, other in zip(broken, exclusive, strict=True)]
