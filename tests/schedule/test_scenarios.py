"""Scenarios: what is common, what it costs, and a second model of the same written with scipy."""

import numpy as np
import pytest
from scipy.optimize import linprog

from vpp.runtime.errors import FieldError
from vpp.schedule.backends import Outcome
from vpp.schedule.dispatch import idle
from vpp.schedule.problem_file import parse_problem, result_json
from vpp.schedule.replay import replay
from vpp.schedule.scenarios import branch, tail
from vpp.schedule.solver import solve
from vpp.schedule.stages import Stages

BATTERY = {"battery_id": "b", "capacity_kwh": 4, "charge_kw": 3, "discharge_kw": 3}
ETA = 0.9


def random_problem(seed: int, common: str, risk: float) -> dict:
    """Two or three scenarios of six hours; prices above 0, so that no binary is needed."""
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(int(rng.integers(2, 4))))
    scenarios = [
        {
            "probability": float(chance),
            "import_price_eur_per_mwh": rng.uniform(40, 200, 6).tolist(),
            "export_price_eur_per_mwh": rng.uniform(0, 40, 6).tolist(),
            "load_kw": rng.uniform(0, 5, 6).tolist(),
            "renewables_kw": rng.uniform(0, 5, 6).tolist(),
        }
        for chance in chances
    ]
    battery = BATTERY | {"eta_charge": ETA, "eta_discharge": ETA, "soc_initial": 0.5}
    raw = {
        "step_min": 60,
        "load_kw": [1] * 6,
        "scenarios": scenarios,
        "batteries": [battery],
        "grid": {"import_limit_kw": 20, "export_limit_kw": 20},
        "common": common,
        "risk_weight": risk,
        "risk_level": 0.6,
    }
    if common == "position":
        raw["position_price_eur_per_mwh"] = rng.uniform(40, 60, 6).tolist()
    return raw


def least_with_risk_eur(raw: dict, money, lower, upper, equal, right) -> float:
    """The least of mean and CVaR over the money of each scenario, by the last columns."""
    count, size = money.shape
    level, w = size - count - 1, raw["risk_weight"]
    chances = np.array([one["probability"] for one in raw["scenarios"]])
    cost = (1 - w) * chances @ money
    cost[level] = w
    cost[level + 1 :] = w * chances / (1 - raw["risk_level"])
    above = money.copy()
    above[:, level] = -1
    above[np.arange(count), level + 1 + np.arange(count)] = -1
    bounds = np.stack((lower, upper), axis=1)
    found = linprog(cost, above, np.zeros(count), np.array(equal), right, bounds)
    assert found.status == 0
    return found.fun


def least_objective_eur(raw: dict) -> float:
    """The same written down again: x = powers, energy and deviation of each scenario, CVaR."""
    n, scenarios = 6, raw["scenarios"]
    names = ("import", "export", "curtail", "charge", "discharge", "energy", "short", "long", "pos")
    width, count = len(names) * n, len(scenarios)
    size = width * count + 1 + count

    def at(k: int, name: str, t: int) -> int:
        return k * width + names.index(name) * n + t

    money = np.zeros((count, size))
    equal, right, upper = [], [], np.full(size, np.inf)
    lower = np.zeros(size)
    lower[width * count] = -np.inf
    chosen = raw["common"] == "position"
    for k, one in enumerate(scenarios):
        stored = 0.5 * 4
        for t in range(n):
            short = one["import_price_eur_per_mwh"][t]
            long = one["export_price_eur_per_mwh"][t]
            money[k, at(k, "short", t)], money[k, at(k, "long", t)] = short / 1000, -long / 1000
            if chosen:
                money[k, at(k, "pos", t)] = raw["position_price_eur_per_mwh"][t] / 1000
            lower[at(k, "pos", t)] = -20.0 if chosen else 0.0
            upper[at(k, "pos", t)] = 20.0 if chosen else 0.0
            upper[at(k, "import", t)] = upper[at(k, "export", t)] = 20.0
            upper[at(k, "curtail", t)] = one["renewables_kw"][t]
            upper[at(k, "charge", t)] = upper[at(k, "discharge", t)] = 3.0
            upper[at(k, "energy", t)] = 4.0
            row = np.zeros(size)
            for name, sign in (("import", 1), ("export", -1), ("charge", -1), ("discharge", 1)):
                row[at(k, name, t)] = sign
            row[at(k, "curtail", t)] = -1
            equal.append(row)
            right.append(one["load_kw"][t] - one["renewables_kw"][t])
            row = np.zeros(size)
            for name, sign in (("import", 1), ("export", -1), ("short", -1), ("long", 1)):
                row[at(k, name, t)] = sign
            row[at(k, "pos", t)] = -1
            equal.append(row)
            right.append(0.0)
            row = np.zeros(size)
            row[at(k, "energy", t)], row[at(k, "charge", t)] = 1, -ETA
            row[at(k, "discharge", t)] = 1 / ETA
            if t:
                row[at(k, "energy", t - 1)] = -1
            equal.append(row)
            right.append(0.0 if t else stored)
    tied = ("pos",) if chosen else ("charge", "discharge")
    for k in range(1, count):
        for name in tied:
            for t in range(1 if raw["common"] == "first" else n):
                row = np.zeros(size)
                row[at(0, name, t)], row[at(k, name, t)] = 1, -1
                equal.append(row)
                right.append(0.0)
    return least_with_risk_eur(raw, money, lower, upper, equal, right)


@pytest.mark.parametrize("common", ["first", "all", "position"])
@pytest.mark.parametrize("risk", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_objective_is_that_of_a_second_model(seed, common, risk):
    raw = random_problem(seed, common, risk)
    result = solve(parse_problem(raw))
    assert result.status == "optimal"
    assert result.objective_eur == pytest.approx(least_objective_eur(raw), abs=1e-6)
    powers = [one.found.charge_kw - one.found.discharge_kw for one in result.scenarios]
    shared = {"first": 1, "all": 6, "position": 0}[common]
    for other in powers[1:]:
        assert np.allclose(other[:, :shared], powers[0][:, :shared], atol=1e-6)


def test_cbc_finds_the_same_objective():
    raw = random_problem(3, "first", 0.5)
    result = solve(parse_problem(raw), "cbc")
    assert result.objective_eur == pytest.approx(least_objective_eur(raw), abs=1e-5)


def test_one_scenario_is_the_problem_alone():
    raw = random_problem(7, "first", 0.0)
    [one, *_] = raw.pop("scenarios")
    alone = solve(parse_problem(raw | {k: v for k, v in one.items() if k != "probability"}))
    beside = solve(parse_problem(raw | {"scenarios": [one | {"probability": 1}]}))
    assert beside.cost_eur == pytest.approx(alone.cost_eur, abs=1e-9)
    assert np.allclose(beside.stored_value_eur_per_mwh, alone.stored_value_eur_per_mwh, atol=1e-6)
    assert beside.reason == alone.reason


def test_a_limit_that_bends_names_its_scenario():
    # the load of the second scenario is 3 kW above the limit in hour 1
    raw = {
        "step_min": 60,
        "load_kw": [1, 1],
        "import_price_eur_per_mwh": 100,
        "grid": {"import_limit_kw": 2},
        "scenarios": [{"probability": 0.75}, {"probability": 0.25, "load_kw": [1, 5]}],
    }
    problem = parse_problem(raw)
    text = result_json(problem, solve(problem))
    [violation] = text["violations"]
    assert (violation["field"], violation["scenario"]) == ("grid.import_limit_kw", 1)
    assert violation["amount"] == pytest.approx(3.0)
    # 0.75 x 2 kWh and 0.25 x 6 kWh at 0.10
    assert text["cost_eur"] == pytest.approx(0.30)
    assert [one["cost_eur"] for one in text["scenarios"]] == pytest.approx([0.2, 0.6])
    assert text["scenarios"][1]["grid_import_kw"] == pytest.approx([1, 5])


def test_an_export_price_follows_the_scenarios_import_price():
    # 1 kWh of sun is worth 50 or 150: -0.10 expected; the problem gives no export price
    raw = {
        "step_min": 60,
        "renewables_kw": [1],
        "import_price_eur_per_mwh": [70],
        "scenarios": [
            {"probability": 0.5, "import_price_eur_per_mwh": 50},
            {"probability": 0.5, "import_price_eur_per_mwh": 150},
        ],
    }
    assert solve(parse_problem(raw)).cost_eur == pytest.approx(-0.10)


def test_the_tail_takes_a_part_of_the_last_scenario():
    # the dearest 30 %: all of the 20 % at 3, and 10 of the 50 % at 2
    assert tail([1, 2, 3], [0.3, 0.5, 0.2], 0.7) == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"scenarios": [{"probability": 0.5}]}, "scenarios"),
        ({"scenarios": [{"probability": 1.5}]}, r"scenarios\[0\].probability"),
        ({"scenarios": [{"load_kw": 1}]}, r"scenarios\[0\].probability"),
        ({"scenarios": [{"probability": 1, "load_kw": [1]}]}, r"scenarios\[0\].load_kw"),
        ({"common": "last"}, "common"),
        ({"common": "position"}, "common"),
        (
            {"common": "position", "scenarios": [{"probability": 1}], "position_kw": 1},
            "position_kw",
        ),
        (
            {"common": "position", "scenarios": [{"probability": 1}]}
            | {"position_price_eur_per_mwh": 10},
            "grid.import_limit_kw",
        ),
        (
            {"position_kw": 0}
            | {"scenarios": [{"probability": 1, "deviation_short_eur_per_mwh": 10}]},
            r"scenarios\[0\].deviation_short_eur_per_mwh\[0\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(more, words):
    raw = {"step_min": 60, "load_kw": [1, 1], "import_price_eur_per_mwh": [50, 60]}
    with pytest.raises(FieldError, match=f"^{words}"):
        parse_problem(raw | more)


@pytest.mark.parametrize("common", ["first", "all", "position"])
def test_when_time_is_out_the_plan_of_the_mean_is_at_hand(monkeypatch, common):
    """The model of all scenarios gets no time; the plan must not be that nothing moves."""
    raw = random_problem(3, common, 0.0)
    problem = parse_problem(raw)
    best = solve(problem).objective_eur
    alone = [branch(problem, k) for k in range(len(problem.scenarios))]
    chances = [scenario.probability for scenario in problem.scenarios]
    idle_eur = np.dot(chances, [replay(one, idle(one)).objective_eur for one in alone])
    money = Stages.money

    def cut_short(self):
        many = any(name.endswith("_s0") for name in self.model.columns)
        return Outcome("limit") if many else money(self)

    monkeypatch.setattr(Stages, "money", cut_short)
    monkeypatch.setattr("vpp.schedule.scenario_search.MANY_CELLS", 0)
    result = solve(problem)
    assert result.status == "feasible"
    assert best - 1e-9 <= result.objective_eur < idle_eur
