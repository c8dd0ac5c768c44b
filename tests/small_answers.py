"""A problem of one battery, and its schedule, for answers that are worked out by hand."""

from battery import replay
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.solver import solve

B = {"battery_id": "b", "capacity_kwh": 6000, "charge_kw": 4000, "discharge_kw": 4000}


def scheduled(prices, battery=None, solver="highs", **fields):
    """The problem and its schedule; `battery` are the fields in which it differs from B."""
    raw = {
        "step_min": 60,
        "load_kw": [0] * len(prices),
        "import_price_eur_per_mwh": prices,
    } | fields
    if battery is not None:
        raw["batteries"] = [B | battery]
    problem = parse_problem(raw)
    result = solve(problem, solver)
    assert replay(problem, result.schedule).violations == ()
    assert len(result.reason) == problem.intervals
    return problem, result
