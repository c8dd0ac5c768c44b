"""The fast PuLP classes beside PuLP's own: the same model, written, solved and read out.

Fails where a new PuLP breaks them.
"""

import numpy as np
import pulp
import pytest

from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.model import build
from vpp.schedule.problem import Problem
from vpp.schedule.programme import Constraint, Programme, Terms, Variable, garbage_kept

# an hour at -50 needs a binary, an hour at 60 sells: all kinds of constraints and variables are
# there
BATTERY = ScheduledBattery(
    "b",
    6000,
    4000,
    4000,
    0.9,
    1.0,
    soc_min=0.1,
    soc_initial=0.5,
    wear_eur_per_mwh=1,
    cycles_per_day_max=1.0,
    soc_final=0.5,
)
PROBLEM = Problem(
    step_min=60,
    load_kw=np.array([100.0, 200.0, 0.0, 50.0]),
    import_price_eur_per_mwh=np.array([10.0, -50.0, 10.0, 60.0]),
    renewables_kw=np.array([0.0, 1000.0, 0.0, 0.0]),
    co2_kg_per_mwh=np.full(4, 100.0),
    batteries=(BATTERY,),
    grid=GridConnection(5000.0, 5000.0, 2.0, 50.0, 120),
)


def ours(soft=False):
    exclusive = {"0": np.arange(4), "grid": np.array([1])}
    return build(PROBLEM, soft, exclusive, {"co2_kg": 2000.0})


def plain(model):
    """The same model in PuLP's own words."""
    lp = pulp.LpProblem("schedule", pulp.LpMinimize)
    named = {v.name: pulp.LpVariable(v.name, v.lowBound, v.upBound, v.cat) for v in model.variables}
    lp += pulp.lpSum(
        factor * named[variable.name] for variable, factor in model.lp.objective.items()
    )
    for constraint in model.lp.constraints():
        total = pulp.lpSum(
            factor * named[variable.name] for variable, factor in constraint.expr.items()
        )
        right = -constraint.constant
        written = {
            pulp.LpConstraintLE: total <= right,
            pulp.LpConstraintEQ: total == right,
            pulp.LpConstraintGE: total >= right,
        }[constraint.sense]
        lp.addConstraint(written, constraint.name)
    return lp


@pytest.mark.parametrize("soft", [False, True])
def test_pulp_writes_the_same_files(soft, tmp_path):
    model = ours(soft)
    for name, lp in (("ours", model.lp), ("plain", plain(model))):
        lp.writeLP(tmp_path / f"{name}.lp")
        lp.writeMPS(tmp_path / f"{name}.mps")
    for kind in ("lp", "mps"):
        written = (tmp_path / f"ours.{kind}").read_text()
        assert written.count("\n") > 50
        assert written == (tmp_path / f"plain.{kind}").read_text()


@pytest.mark.parametrize(
    "solver",
    [pulp.HiGHS(msg=False, gapRel=1e-9), pulp.PULP_CBC_CMD(msg=False, gapRel=1e-9)],
    ids=["highs", "cbc"],
)
def test_pulp_solves_both_alike(solver):
    model = ours()
    other = plain(model)
    assert (model.lp.solve(solver), other.solve(solver)) == (
        pulp.LpStatusOptimal,
        pulp.LpStatusOptimal,
    )
    assert pulp.value(model.lp.objective) == pytest.approx(pulp.value(other.objective))
    assert pulp.value(other.objective) < 0
    values = {variable.name: variable.varValue for variable in other.variables()}
    assert [variable.name for variable in model.lp.variables()] == list(values)
    assert {variable.name: variable.varValue for variable in model.variables} == pytest.approx(
        values
    )
    assert [constraint.slack for constraint in model.lp.constraints()] == pytest.approx(
        [constraint.slack for constraint in other.constraints()]
    )


@pytest.mark.parametrize("soft", [False, True])
def test_the_matrices_are_those_of_plain_pulp(soft):
    model = ours(soft)
    found, other = model.matrices, plain(model)
    place = {variable.name: variable.column for variable in model.variables}
    assert sorted(place.values()) == list(range(len(place)))
    whole = {variable.name: variable for variable in other.variables()}
    for name, column in place.items():
        variable = whole[name]
        assert found.lower[column] == variable.lowBound
        assert found.upper[column] == (np.inf if variable.upBound is None else variable.upBound)
        assert found.integral[column] == (variable.cat == pulp.LpInteger)
        assert found.cost[column] == other.objective.get(variable, 0.0)
    ends = [*found.starts[1:].tolist(), len(found.index)]
    for row, (constraint, start, end) in enumerate(
        zip(other.constraints(), found.starts.tolist(), ends, strict=True)
    ):
        expected = {place[variable.name]: factor for variable, factor in constraint.expr.items()}
        assert (
            dict(zip(found.index[start:end].tolist(), found.value[start:end].tolist(), strict=True))
            == expected
        )
        low = -np.inf if constraint.sense == pulp.LpConstraintLE else -constraint.constant
        high = np.inf if constraint.sense == pulp.LpConstraintGE else -constraint.constant
        assert (found.row_lower[row], found.row_upper[row]) == (low, high)


def test_all_that_pulp_keeps_in_its_objects_is_there():
    """PuLP's constructors are skipped.

    An attribute that a new PuLP sets in them would be missing.
    """
    x, fast = pulp.LpVariable("x", 0, 1), Variable("x", 0, 0, 0.0, 1.0)
    pairs = [
        (x, fast),
        (2 * x + 1, Terms([(fast, 2.0)])),
        (2 * x <= 1, Constraint([(fast, 2.0)], pulp.LpConstraintLE, "c", 1.0)),
        (pulp.LpProblem("p"), Programme("p")),
    ]
    # bounds as given and names are read by the methods and properties that the fast classes replace
    replaced = {
        "_LpElement__name",
        "_LpAffineExpression__name",
        "_LpConstraint__name",
        "_lowbound_original",
        "_upbound_original",
    }
    for whole, quick in pairs:
        kept = set(vars(whole))
        assert kept, type(whole)
        missing = {name for name in kept - replaced if not hasattr(quick, name)}
        assert not missing, (type(quick), missing)
    assert isinstance(pulp.LpProblem("p")._constraints, dict)
    assert issubclass(pulp.LpAffineExpression, dict)
    assert (hash(fast), fast.hash) == (hash(fast), id(fast))


def test_variables_of_one_name_stay_apart_and_constraints_must_not_share_one():
    programme, one, other = (
        Programme("p", pulp.LpMinimize),
        Variable("x", 0, 0, 0, 1),
        Variable("x", 0, 1, 0, 1),
    )
    assert len(Terms([(one, 1.0), (other, 2.0)])) == 2
    programme.addConstraint(Constraint([(one, 1.0)], pulp.LpConstraintLE, "fit_1", 1.0))
    with pytest.raises(pulp.PulpError, match="two constraints are named fit_1"):
        programme.addConstraint(Constraint([(one, 1.0)], pulp.LpConstraintLE, "fit_1", 1.0))


def test_the_garbage_collector_comes_back_as_it_was():
    import gc

    with garbage_kept():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with garbage_kept():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
