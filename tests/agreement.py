"""Does the product find what `reference.py` finds? Violations class by class, then money."""

import json

import reference

from battery import replay
from vpp.schedule.problem_file import parse_problem, result_json
from vpp.schedule.solver import solve

MONEY = 1e-6  # of the money, or of 1 EUR where there is less of it
ENERGY_KWH = 2e-5  # below what a dozen roundings of a replay add up to
BOUNDS = ("soc_min", "soc_max", "energy_min_kwh")


def solved(raw: dict) -> tuple[object, object, dict]:
    """The problem, the result and the result file of a problem file's content."""
    problem = parse_problem(json.loads(json.dumps(raw)))
    result = solve(problem)
    return problem, result, json.loads(json.dumps(result_json(problem, result)))


def violated(raw: dict, listed: list) -> list[float]:
    """What is listed as violated [kWh over grid limits, kWh h outside bounds, kWh of targets]."""
    hours, totals = raw["step_min"] / 60, [0.0, 0.0, 0.0]
    for one in listed:
        name, amount = one["field"], one["amount"]
        if raw.get("scenarios"):
            amount *= raw["scenarios"][one["scenario"]]["probability"]
        if name.startswith("grid."):
            totals[0] += amount * hours
        elif name.rpartition(".")[2] in BOUNDS:
            totals[1] += amount * hours
        else:
            totals[2] += amount
    return totals


def faults(raw: dict) -> list[str]:
    """Everything in which the product disagrees with the reference, in words.

    Parameters
    ----------
    raw : the content of a problem file.

    Returns
    -------
    The faults; none where both agree.
    """
    expected = reference.solve(raw)
    problem, result, file = solved(raw)
    if file["status"] != "optimal":
        return [f"status {file['status']}: {file.get('cause')}"]
    found = []
    for kind, got, want in zip(
        ("grid", "bounds", "targets"),
        violated(raw, file["violations"]),
        expected["violations"],
        strict=True,
    ):
        if abs(got - want) > ENERGY_KWH + MONEY * want:
            found.append(f"{kind} {got:.8g} for {want:.8g}")
    want, got = expected["objective_eur"], file["objective_eur"]
    tolerance = MONEY * max(1.0, abs(want))
    if got < want - tolerance and not found:
        # a class held so tightly hides solutions from a mixed-integer solver: what the replay finds
        # right is right if no solution of a little more slack costs less
        looser = reference.solve(raw, held=reference.HELD[-1:])
        want = max(got, looser["objective_eur"])
    if abs(got - want) > tolerance:
        found.append(f"objective_eur {got:.9g} for {want:.9g}")
    bound = file["certificate"]["bound_eur"]
    if bound > want + 2 * MONEY * max(1.0, abs(want)):
        found.append(f"bound_eur {bound:.9g} above {want:.9g}")
    if not raw.get("scenarios"):
        found += [f"replay: {one}" for one in replay(problem, result.found).violations]
    return found
