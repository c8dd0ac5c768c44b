"""Schedules with answers worked out by hand. Battery B unless said: 4 MW, 6 MWh, lossless; hourly.

Prices in EUR/MWh.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pulp
import pytest

from battery import replay
from vpp.schedule.backends import SOLVERS
from vpp.schedule.certificate import certificate_of
from vpp.schedule.draft import GE, MONEY_SCALE
from vpp.schedule.model import build
from vpp.schedule.pareto import BENT, front
from vpp.schedule.problem_file import parse_problem, result_json
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


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize(
    ("prices", "first", "last", "cost"),
    [
        ([10, 10, 10], 0, 0, 0),
        ([20, 15, 10], 1, 0, -110),  # 4 MWh at 20 and 2 MWh at 15
        (
            [10, 50, 10, 5000, 10],
            0,
            0,
            -20120,
        ),  # 4 MWh bought at 10 and sold at 50, bought at 10 and sold at 5000
    ],
)
def test_known_answers_of_energy_py_linear(solver, prices, first, last, cost):
    _, result = scheduled(prices, {"soc_initial": first, "soc_final": last}, solver)
    assert result.status == "optimal"
    assert result.cost_eur == pytest.approx(cost, abs=1e-6)
    assert result.certificate.kind == "lp-exact"


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_without_battery_renewables_are_curtailed_at_negative_prices(solver):
    # 50 MWh an hour are sold at 1 and at 100; at -100 and -1 they are curtailed and nothing is
    # imported, as nothing takes it
    _, result = scheduled([-100, -1, 1, 100], solver=solver, renewables_kw=[50_000] * 4)
    assert result.cost_eur == pytest.approx(-5050)
    assert result.schedule.curtailed_kw.tolist() == [50_000, 50_000, 0, 0]
    assert [reason.partition(":")[0] for reason in result.reason] == [
        "curtail",
        "curtail",
        "export surplus",
        "export surplus",
    ]
    must_run = scheduled(
        [-100, -1, 1, 100], solver=solver, renewables_kw=[50_000] * 4, curtailable=False
    )[1]
    assert must_run.cost_eur == pytest.approx(50 * (100 + 1 - 1 - 100))


def test_losses_decide_whether_a_spread_pays():
    # 81 % round trip: 40 against 50 needs 40 / 0.81 = 49.4 < 50. Charging 4 MWh stores 3.6 and
    # delivers 3.24: -3.24 * 50 + 160
    losses = {"eta_charge": 0.9, "eta_discharge": 0.9}
    assert scheduled([40, 50], losses)[1].cost_eur == pytest.approx(160 - 162)
    _, result = scheduled([41, 50], losses)  # 41 / 0.81 = 50.6
    assert result.cost_eur == 0
    assert result.reason[0].startswith("hold")


def test_wear_is_paid_once_for_each_mwh_discharged():
    # a spread of 10 with a wear of 9: 4 MWh earn 4 * (10 - 9); cost counts energy only
    _, result = scheduled([40, 50], {"wear_eur_per_mwh": 9})
    assert (result.cost_eur, result.objective_eur) == (pytest.approx(-40), pytest.approx(-4))
    assert scheduled([40, 50], {"wear_eur_per_mwh": 11})[1].cost_eur == 0


def test_a_peak_price_flattens_imports():
    # 6 and 0 MW of load, flat energy price: the battery holds 6 MWh at best; imports of 3 + 3
    # instead of 6 + 0 need energy first
    grid = {"peak_price_eur_per_kw": 10}
    _, result = scheduled([100] * 3, {}, load_kw=[0, 6000, 0], grid=grid)
    # 3 MWh are charged in the hour before: 6 MWh at 100, and a peak of 3 MW at 10 EUR/kW
    assert result.cost_eur == pytest.approx(600 + 30_000)
    assert result.schedule.grid_import_kw.tolist() == pytest.approx([3000, 3000, 0])
    assert "peak held at 3,000 kW" in result.reason[1]


def test_the_peak_so_far_is_free_and_longer_peak_intervals_are_means():
    grid = {"peak_price_eur_per_kw": 10, "peak_so_far_kw": 4000}
    assert scheduled([100], load_kw=[6000], grid=grid)[1].cost_eur == pytest.approx(600 + 20_000)
    # from 00:30 on, hours on the clock: the first has one half-hour inside; means are 2000, (6000 +
    # 0) / 2 and 1000
    grid = {"peak_price_eur_per_kw": 10, "peak_interval_min": 60}
    halves = {"step_min": 30, "start": "2025-01-01T00:30:00Z"}
    assert scheduled([0] * 4, load_kw=[2000, 6000, 0, 1000], grid=grid, **halves)[
        1
    ].cost_eur == pytest.approx(30_000)


@pytest.mark.parametrize(
    ("start", "zone"), [("2025-01-01T00:30:00Z", "UTC"), ("2025-01-01T01:00:00Z", "Asia/Kolkata")]
)
def test_a_step_that_lies_in_two_hours_of_the_clock_counts_in_both(start, zone):
    # from half past on: hours have 2000 / 2, (2000 + 6000) / 2, (6000 + 1000) / 2, and of the last
    # one the half that is planned has 1000
    grid, given = {"peak_price_eur_per_kw": 10}, {"start": start, "time_zone": zone}
    _, result = scheduled([0] * 3, load_kw=[2000, 6000, 1000], grid=grid, **given)
    assert result.cost_eur == pytest.approx(40_000)
    assert ["peak" in reason for reason in result.reason] == [True, True, False]
    # a day that begins one hour late
    grid |= {"peak_interval_min": 1440}
    _, result = scheduled([0], load_kw=[2400], grid=grid, **given | {"step_min": 1440})
    assert result.cost_eur == pytest.approx(24_000)


def test_export_above_import_price_does_not_make_money_out_of_nothing():
    # lossless battery, import at 50, export at 80: buy 6 MWh in two hours, sell 4 in the third;
    # never both in one hour
    _, result = scheduled([50, 50, 50], {}, export_price_eur_per_mwh=[80, 80, 80])
    assert result.cost_eur == pytest.approx(4 * 50 - 4 * 80)
    assert result.certificate.kind == "milp"
    assert np.minimum(result.schedule.grid_import_kw, result.schedule.grid_export_kw).max() == 0


def test_negative_prices_pay_for_energy_but_not_for_burning_it_at_once():
    # 81 % round trip at -50: charge 4 MWh (3.6 stored), make room by discharging d, charge again up
    # to 6 MWh stored. 3 hours: in 4 MWh, out 1.08 MWh (takes 1.2), in 4 MWh: -50 * (4 + 4) + 50 *
    # 1.08 = -346. A linear programme would burn more.
    _, result = scheduled([-50] * 3, {"eta_charge": 0.9, "eta_discharge": 0.9})
    assert result.cost_eur == pytest.approx(-346)
    assert (result.certificate.kind, result.certificate.binaries) == ("milp", 3)


def test_a_wear_above_the_gain_of_burning_needs_no_binaries():
    # burning pays below -wear * eta / (1 - eta) = -20 * 0.81 / 0.19 = -85
    losses = {"eta_charge": 0.9, "eta_discharge": 0.9, "wear_eur_per_mwh": 20}
    assert scheduled([-80] * 3, losses)[1].certificate.kind == "lp-exact"
    assert scheduled([-90] * 3, losses)[1].certificate.kind == "milp"


def test_must_run_renewables_at_the_export_limit_are_found_by_the_check():
    # 5 MW must be taken each hour, 3 MW can be exported at 10: 2 MW an hour into 3 MWh of room,
    # then the limit bends or energy is burnt. Burning would be charging and discharging at once:
    # not allowed, so binaries are added although prices never go below 0
    losses = {"eta_charge": 0.5, "eta_discharge": 0.5, "capacity_kwh": 3000}
    _, result = scheduled(
        [10] * 3,
        losses,
        renewables_kw=[5000] * 3,
        curtailable=False,
        grid={"export_limit_kw": 3000},
    )
    # 2 MWh in store 1 each hour: three hours fill 3 MWh exactly
    assert result.violations == ()
    assert result.cost_eur == pytest.approx(-3 * 3 * 10)
    longer = scheduled(
        [10] * 6,
        losses,
        renewables_kw=[5000] * 6,
        curtailable=False,
        grid={"export_limit_kw": 3000},
    )[1]
    assert longer.certificate.kind == "milp"
    assert longer.violations


def test_a_target_out_of_reach_bends_and_is_listed():
    # 4 MWh can be charged in an hour, 6 are wanted: all it can, and 2 MWh missing
    _, result = scheduled([10, 20], {"soc_targets": [{"interval": 0, "soc_min": 1.0}]})
    assert result.status == "optimal"
    assert result.schedule.charge_kw[0, 0] == pytest.approx(4000)
    assert [(v.field, v.interval, v.unit) for v in result.violations] == [
        ("batteries[0].soc_targets[0]", 0, "kWh")
    ]
    assert result.violations[0].amount == pytest.approx(2000)
    assert "bent by 2,000.0 kWh" in result.reason[0]


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [({"soc_final": 1}, 2000), ({"soc_final_min": 1}, 2000), ({"soc_final": 0.5}, 0)],
)
def test_final_soc_exact_or_at_least(wanted, missing):
    _, result = scheduled([10], wanted)
    assert sum(v.amount for v in result.violations) == pytest.approx(missing)


def test_a_final_minimum_allows_more_where_an_exact_final_soc_does_not():
    battery = {"soc_initial": 1}
    assert scheduled([-10], battery | {"soc_final_min": 0.5})[1].cost_eur == 0
    assert scheduled([-10], battery | {"soc_final": 0.5})[1].cost_eur == pytest.approx(
        30
    )  # 3 MWh given away at -10


def test_an_import_limit_below_the_load_bends_by_what_is_missing():
    # 5 MW of load, 3 MW allowed, 1 MWh in the battery: 1 MW over
    _, result = scheduled(
        [10], {"soc_initial": 1 / 6}, load_kw=[5000], grid={"import_limit_kw": 3000}
    )
    assert [(v.field, v.unit) for v in result.violations] == [("grid.import_limit_kw", "kW")]
    assert result.violations[0].amount == pytest.approx(1000)
    assert result.cost_eur == pytest.approx(40)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize(
    ("start", "bounds", "side", "soc"),
    [
        (0.0, {"soc_min": 0.5, "soc_max": 0.9}, "soc_min", 0.5),
        (1.0, {"soc_min": 0.1, "soc_max": 0.2}, "soc_max", 0.2),
    ],
)
def test_a_start_outside_the_bounds_is_brought_back_at_once(solver, start, bounds, side, soc):
    # 1 MW moves 1 MWh an hour: three hours (from 0 to 0.5) or five (from 1 to 0.2) of 6 MWh; prices
    # would have it otherwise
    slow = {"charge_kw": 1000, "discharge_kw": 1000, "soc_initial": start} | bounds
    _, result = scheduled([30] * 6, slow, solver)
    hours = 3 if side == "soc_min" else 5
    back = result.schedule.soc[0, hours - 1] - soc
    assert (back > -1e-5) if side == "soc_min" else (back < 1e-5)
    assert {v.field for v in result.violations} == {f"batteries[0].{side}"}
    assert [v.interval for v in result.violations] == list(range(hours - 1))
    assert result.reason[0].endswith(
        f"back to {side}; batteries[0].{side} bent by {result.violations[0].amount:,.1f} kWh"
    )


def test_energy_left_is_worth_its_terminal_value():
    # 25 a stored MWh against a price of 20: charge 4 MWh, which cost 80 and are worth 100; the
    # objective counts all 4 MWh stored
    _, result = scheduled([20], {"terminal_value_eur_per_mwh": 25})
    assert (result.cost_eur, result.objective_eur) == (pytest.approx(80), pytest.approx(-20))
    assert scheduled([30], {"terminal_value_eur_per_mwh": 25})[1].cost_eur == 0


def test_cycles_are_counted_by_local_day():
    # half a cycle a day is 3 MWh; a day in Brussels ends at 22:00 UTC: 20 and 21 h are one day
    # (0.25 used before), 22 and 23 h the next
    battery = {"soc_initial": 1, "cycles_per_day_max": 0.5, "cycles_so_far": 0.25}
    fields = {"start": "2025-07-01T20:00:00Z", "time_zone": "Europe/Brussels"}
    _, result = scheduled([50, 40, 50, 40], battery, **fields)
    assert result.schedule.discharge_kw[0].tolist() == pytest.approx([1500, 0, 3000, 0])
    # stored energy is left over and worth nothing, without losses and wear: it is the cycles that
    # keep it
    assert (
        result.reason[1]
        == "hold: the day's cycles bring more at another time, 40.00 above stored value 0.00"
    )


def test_a_hold_is_explained_by_what_keeps_the_battery_still():
    # 80 less 50 of wear is 30 for each MWh delivered, 27 for each stored, 24.30 for each bought:
    # the 4.94 MWh for the last hour are bought at 20, as many as the battery can, and the rest at
    # 21, which makes stored energy worth 21 / 0.9 = 23.33; 22 is too much
    battery = {"eta_charge": 0.9, "eta_discharge": 0.9, "wear_eur_per_mwh": 50}
    _, result = scheduled([20, 22, 21, 80], battery)
    assert (
        result.reason[1]
        == "hold: losses of charging exceed the spread, 22.00 below stored value 23.33"
    )
    # full, and charging would pay; full too, but kept from 60 for 90 because half a cycle, 3 MWh,
    # is all there is
    _, full = scheduled([10, 90, 90], {"soc_initial": 1})
    assert full.reason[0] == "hold: full"
    _, once = scheduled(
        [60, 90], {"soc_initial": 1, "cycles_per_day_max": 0.5, "wear_eur_per_mwh": 2}
    )
    assert once.reason[0].startswith("hold: the day's cycles bring more at another time")


def test_self_discharge_is_part_of_the_balance():
    # 10 % an hour: 6 -> 5.4 -> 4.86 MWh, of which 4 can be sold in the last hour; or 4 at once and
    # 2 * 0.9 an hour later
    _, result = scheduled([10, 50], {"soc_initial": 1, "self_discharge_per_h": 0.1})
    assert result.schedule.discharge_kw[0].tolist() == pytest.approx(
        [6000 * 0.9 - 4000 / 0.9, 4000]
    )


def test_co2_is_paid_on_imports_only():
    # 500 kg/MWh at 80 EUR/t are 40 EUR/MWh; the clean hour is cheaper although its energy costs
    # more
    co2 = {"co2_kg_per_mwh": [500, 0], "co2_price_eur_per_t": 80}
    _, result = scheduled(
        [10, 30], {"charge_kw": 2000, "soc_final": 1 / 3}, export_price_eur_per_mwh=[0, 0], **co2
    )
    assert result.schedule.charge_kw[0].tolist() == pytest.approx([0, 2000])
    _, paid = scheduled([10, 30], load_kw=[1000, 1000], **co2)
    assert paid.cost_eur == pytest.approx(10 + 40 + 30)


def test_the_stored_value_is_what_one_more_mwh_brings():
    # a MWh more at the end of hour 0 is sold at 30, beside the 3 MWh that are
    _, result = scheduled([20, 30, 0], {"soc_initial": 0.5, "charge_kw": 0})
    assert result.stored_value_eur_per_mwh[0] == pytest.approx(30)
    assert (
        result.reason[0]
        == "hold: no charger; kept for a higher price, 20.00 below stored value 30.00"
    )


def test_ties_are_broken_by_least_throughput_and_always_alike():
    _, first = scheduled([10] * 8, {"soc_initial": 0.5, "soc_final": 0.5})
    assert first.schedule.charge_kw.sum() + first.schedule.discharge_kw.sum() == 0
    # 3 MWh of deficit late, flat price: charging for it first would cost the same
    runs = [
        scheduled([10] * 4, {"soc_initial": 0.5}, load_kw=[0, 0, 1000, 1000])[1] for _ in range(2)
    ]
    assert runs[0].schedule.charge_kw.sum() == 0
    assert runs[0].schedule.discharge_kw.tolist() == runs[1].schedule.discharge_kw.tolist()


def test_the_model_is_one_that_pulp_writes_and_solves_by_itself(tmp_path):
    problem, result = scheduled(
        [10, -50, 10, 60], {"eta_charge": 0.9, "wear_eur_per_mwh": 1}, renewables_kw=[0, 1000, 0, 0]
    )
    lp = build(problem, soft=False, exclusive={"0": np.arange(4)}).lp
    lp.solve(pulp.HiGHS(msg=False, gapRel=1e-9))
    assert lp.objective.value() / MONEY_SCALE == pytest.approx(result.objective_eur)
    lp.writeLP(tmp_path / "schedule.lp")
    text = (tmp_path / "schedule.lp").read_text()
    for name in (
        "balance_power_3:",
        "balance_energy_0_0:",
        "exclude_0_first_1:",
        "fit_charge_0_2:",
        "only_charge_kw_0_3",
    ):
        assert name in text


def test_without_time_the_incumbent_is_feasible_and_never_optimal():
    # too many binaries for a millionth of a second
    generator = np.random.default_rng(1)
    prices = generator.uniform(-100, 20, 200).round(2).tolist()
    problem, result = scheduled(
        prices, {"eta_charge": 0.9, "eta_discharge": 0.9}, time_limit_s=1e-6
    )
    assert result.status == "feasible"
    assert result.certificate.gap > problem.gap
    in_time = scheduled(prices, {"eta_charge": 0.9, "eta_discharge": 0.9})[1]
    assert in_time.status == "optimal"
    assert result.certificate.bound_eur <= in_time.objective_eur <= result.objective_eur
    assert in_time.certificate.gap <= problem.gap


def test_what_was_cut_short_before_any_proof_says_so():
    # nothing was found: the rule (charge the surplus of the first hour for the deficit of the
    # second) is better than no battery moving
    surplus = {"load_kw": [0, 1000], "renewables_kw": [1000, 0], "export_price_eur_per_mwh": [0, 0]}
    problem, result = scheduled([50, 50], {}, time_limit_s=1e-9, **surplus)
    assert (result.status, result.objective_eur) == ("feasible", 0)
    told = result_json(problem, result)["certificate"]
    assert (told["kind"], told["proven"]) == ("lp-exact", False)
    assert result.reason[0] == "charge: no marginal values: time limit"
    assert np.isnan(result.stored_value_eur_per_mwh).all()
    problem, result = scheduled([50, -50], {}, time_limit_s=1e-9)
    assert 0 <= result.certificate.gap <= 1
    text = json.dumps(result_json(problem, result), allow_nan=False)
    assert json.loads(text)["stored_value_eur_per_mwh"] == [None, None]


def test_the_incumbent_of_a_time_limit_is_explained_by_its_own_values(monkeypatch):
    # the solver is cut short after its first incumbent, which is the optimum here: only its status
    # says so
    class CutShort(SOLVERS["highs"]):
        def minimise(self, *args):
            integral, outcome = self.integral, super().minimise(*args)
            return replace(outcome, status="limit", bound=-np.inf) if integral else outcome

    monkeypatch.setitem(SOLVERS, "highs", CutShort)
    _, result = scheduled([-50] * 3, {"eta_charge": 0.9, "eta_discharge": 0.9})
    assert (result.status, result.certificate.kind, result.cost_eur) == (
        "feasible",
        "milp",
        pytest.approx(-346),
    )
    assert np.isfinite(result.stored_value_eur_per_mwh).all()
    assert not any("time limit" in reason for reason in result.reason)


def test_cbc_proves_nothing_infeasible_after_its_time():
    for soft, after in ((True, "limit"), (False, "infeasible")):
        model = build(scheduled([10, 50], {})[0], soft=soft)
        # the grid can take no more than the 4 MW of B and a little
        model.constrain("contradiction", GE, [5000.0, 0.0], ("grid_import_kw", 1.0))
        run, cost = SOLVERS["cbc"](model, 1e-6), model.matrices.cost
        assert run.minimise(cost, 60.0, 1e-6).status == "infeasible"
        assert run.minimise(cost, 1e-9, 1e-6).status == after


def test_a_gap_to_an_objective_of_nothing_is_a_fraction():
    model = SimpleNamespace(binaries=3)
    assert certificate_of(model, 0.0, -5.0, 0.0).gap == 1.0
    assert certificate_of(model, 0.0, 0.0, 0.0).gap == 0.0
    assert certificate_of(model, 5.0, -5.0, 0.0).gap == 1.0


def test_no_price_is_written_as_minus_nothing():
    _, result = scheduled([-0.001], renewables_kw=[1000])
    assert result.reason == ("curtail: importing is paid 0.00",)
    _, result = scheduled([5], renewables_kw=[1000], export_price_eur_per_mwh=[-0.001])
    assert result.reason == ("curtail: export price 0.00",)


def test_several_batteries_share_one_limit():
    # two of B, 5 MW of import allowed: charging at 10 for 30 is limited to 5 MWh, by the connection
    # and not by 8 MW of batteries
    problem = parse_problem(
        {
            "step_min": 60,
            "load_kw": [0, 0],
            "import_price_eur_per_mwh": [10, 30],
            "grid": {"import_limit_kw": 5000},
            "batteries": [B, B | {"battery_id": "c"}],
        }
    )
    result = solve(problem)
    assert result.cost_eur == pytest.approx(5 * 10 - 5 * 30)
    assert result.violations == ()
    assert "import at its limit" in result.reason[0]


@pytest.mark.parametrize("step_min", [60, 15, 5])
@pytest.mark.parametrize("hours", [24, 36, 48])
def test_a_grid_limit_that_can_be_kept_is_kept_before_an_soc_bound(hours, step_min):
    # the load takes all of the limit: what is missing to soc_min, 5 % of 6 MWh, could only be
    # charged over the limit, and stays missing
    count = hours * 60 // step_min
    empty = {"soc_min": 0.05, "soc_initial": 0, "eta_charge": 0.95, "eta_discharge": 0.95}
    grid = {"import_limit_kw": 1000}
    _, result = scheduled([50] * count, empty, load_kw=[1000] * count, grid=grid, step_min=step_min)
    assert [(v.field, v.amount) for v in result.violations] == [
        ("batteries[0].soc_min", pytest.approx(300))
    ] * count


@pytest.mark.parametrize("step_min", [60, 15, 5, 1])
def test_an_soc_bound_is_kept_before_a_target_outside_it(step_min):
    battery = {"charge_kw": 400_000, "soc_max": 0.9, "soc_final": 1}
    _, result = scheduled([50] * 3, battery, step_min=step_min)
    assert [(v.field, v.amount) for v in result.violations] == [
        ("batteries[0].soc_final", pytest.approx(600))
    ]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("rating", [1e5, 1e12])
def test_a_rating_beyond_the_capacity_is_as_good_as_all_of_it(solver, rating):
    # loads cost 10, -100 and 45; 1 MWh stored takes 1 / 0.9 MWh at -50 and is sold at 90
    battery = {"capacity_kwh": 1000, "charge_kw": rating, "discharge_kw": rating, "eta_charge": 0.9}
    _, result = scheduled([10, -50, 90], battery, solver, load_kw=[1000, 2000, 500])
    assert result.cost_eur == pytest.approx(10 - 100 + 45 - 1 / 0.9 * 50 - 90)


HALF = {"capacity_kwh": 1000, "charge_kw": 500, "discharge_kw": 500}  # a battery of two hours


def test_a_battery_with_wear_waits_for_the_highest_price():
    # 0.5 MWh fill one hour: sold at 52, and 51, 50 are less; the wear of 9 is paid whenever it is
    # sold and is no reason to wait
    _, result = scheduled(
        [50, 51, 50, 52], HALF | {"wear_eur_per_mwh": 9, "soc_initial": 0.5}, load_kw=[1000] * 4
    )
    assert [reason.partition(",")[0] for reason in result.reason[:3]] == [
        "hold: kept for a higher price"
    ] * 3
    assert result.reason[3].startswith("discharge: serve load at 52.00 above")


def test_wear_above_every_price_or_spread_is_the_reason_to_hold():
    # full, and 10, 50, 60 are all less than the wear of 1000 that discharging costs
    _, result = scheduled(
        [10, 50, 60], HALF | {"wear_eur_per_mwh": 1000, "soc_initial": 1}, load_kw=[1000] * 3
    )
    prices = ("10.00", "50.00", "60.00")
    assert result.reason == tuple(
        f"hold: wear exceeds the price, {p} below stored value 1000.00 with wear" for p in prices
    )
    # empty: 40 for 50 would pay but for the wear of 11; 40 for 45 needs 40 / 0.81 without wear, too
    assert (
        scheduled([40, 50], {"wear_eur_per_mwh": 11})[1]
        .reason[0]
        .startswith("hold: wear exceeds the spread, 40.00")
    )
    losses = {"eta_charge": 0.9, "eta_discharge": 0.9}
    assert (
        scheduled([40, 45], losses)[1].reason[0].startswith("hold: losses exceed the spread, 40.00")
    )
    assert (
        scheduled([40, 45], losses | {"wear_eur_per_mwh": 1})[1]
        .reason[0]
        .startswith("hold: losses and wear exceed the spread, 40.00")
    )
    assert scheduled([40, 30], losses)[1].reason == ("hold: empty",) * 2


def test_the_peak_of_a_block_is_its_mean():
    # a quarter-hour of 4 MW and three of 0 are an hour of 1 MW on average; the next hour has 2 MW
    loads, grid = (
        [4000, 0, 0, 0, 2000, 2000, 2000, 2000],
        {"peak_price_eur_per_kw": 10, "peak_interval_min": 60},
    )
    _, result = scheduled([50] * 8, load_kw=loads, grid=grid, step_min=15)
    assert result.reason == ("import deficit",) * 4 + ("peak held at 2,000 kW",) * 4


def test_discharging_compares_what_is_delivered_and_charging_what_is_stored():
    # 90 % each way: 4 MWh bought at 40 store 3.6, sold as 3.24 MWh at 60. A MWh more stored brings
    # 0.9 * 60 = 54, and storing one MWh from the grid 0.9 * 54 = 48.60
    _, result = scheduled([40, 60], {"eta_charge": 0.9, "eta_discharge": 0.9})
    assert result.stored_value_eur_per_mwh[0] == pytest.approx(54)
    assert result.reason[0] == "charge: price 40.00 below stored value 48.60 after losses"
    # energy that is paid for taking: discharging 1 MWh at -10 makes room for 1 / 0.9 / 0.9 MWh at
    # -100
    _, paid = scheduled(
        [-100, -10, -100],
        HALF | {"capacity_kwh": 450, "eta_charge": 0.9, "eta_discharge": 0.9},
        load_kw=[1000] * 3,
    )
    assert paid.reason[1].startswith(
        "discharge: make room for energy that is paid for taking, at -10.00"
    )
    assert " below stored value" not in paid.reason[1]


def test_of_several_batteries_the_one_that_moves_speaks():
    # "z" is large and its wear keeps it still; "a" charges 0.5 MWh in one of two hours at 50, for
    # an hour at 120
    worn = [
        HALF | {"battery_id": "a", "wear_eur_per_mwh": 1},
        HALF | {"battery_id": "z", "capacity_kwh": 9000, "wear_eur_per_mwh": 500},
    ]
    _, result = scheduled([50, 50, 120], load_kw=[100] * 3, batteries=worn)
    assert (
        result.reason[0]
        == "charge: price 50.00 equal to stored value 50.00, worth up to 120.00 later"
    )
    assert (
        result.reason[1]
        == "hold: kept for a higher price, 50.00 below stored value 51.00 with wear"
    )
    assert result.reason[2].startswith("discharge: sell at 120.00 above")
    # the energy is worth 100 in "a" at the end, and nothing in "z"
    valued = [
        HALF | {"battery_id": "a", "terminal_value_eur_per_mwh": 100},
        HALF | {"battery_id": "z", "capacity_kwh": 9000},
    ]
    assert (
        scheduled([50, 50], batteries=valued)[1].reason[1]
        == "charge: price 50.00 below stored value 100.00"
    )


def test_a_battery_that_comes_back_to_its_bounds_speaks_for_itself_only():
    # "a" comes back from 0 to 0.5 at 100 kW; "z" charges the 300 kW that the import limit leaves,
    # at 10 for 200
    back = HALF | {"battery_id": "a", "soc_initial": 0, "soc_min": 0.5, "charge_kw": 100}
    batteries = [back, HALF | {"battery_id": "z", "wear_eur_per_mwh": 1}]
    _, result = scheduled(
        [50, 10, 10, 10, 10, 200], batteries=batteries, grid={"import_limit_kw": 400}
    )
    assert result.reason[0].startswith("charge: back to soc_min; ")
    both = [
        reason
        for reason, power in zip(result.reason, result.schedule.charge_kw[1], strict=True)
        if power > 100
    ]
    assert both and all(
        reason.startswith("charge: price 10.00") and "; a back to soc_min" in reason
        for reason in both
    )


def test_a_battery_that_cannot_charge_says_so():
    _, result = scheduled(
        [10, 50, 100], HALF | {"charge_kw": 0, "soc_initial": 0.5}, load_kw=[1000] * 3
    )
    assert (
        result.reason[0]
        == "hold: no charger; kept for a higher price, 10.00 below stored value 100.00"
    )
    # the load takes all of the import limit in the cheap hours
    _, full = scheduled(
        [10, 10, 100], HALF, load_kw=[1000, 1000, 0], grid={"import_limit_kw": 1000}
    )
    assert (
        full.reason[0]
        == "hold: no room to import below the limit or the peak, 10.00 below stored value "
        "100.00; import at its limit"
    )


def test_a_front_tells_what_time_and_limits_have_done_to_it(caplog):
    raw = {
        "step_min": 60,
        "load_kw": [1000, 2000],
        "import_price_eur_per_mwh": [10, 90],
        "co2_kg_per_mwh": [100, 300],
        "batteries": [B],
    }
    assert {row["status"] for row in front(parse_problem(raw), 2)} == {"optimal"}
    assert not caplog.records
    late = front(parse_problem(raw | {"time_limit_s": 1e-9}), 2)
    assert {row["status"] for row in late} == {"feasible"}
    assert "cut short by time_limit_s" in caplog.text
    # 1 MW for two hours does not fill 6 MWh: 4 of them are short, which is no cost; 2 MWh are
    # bought, and the loads
    (soft,) = front(
        parse_problem(raw | {"batteries": [B | {"soc_final": 1, "charge_kw": 1000}]}), 2
    )
    assert (soft["cost_eur"], soft["bent_limits"]) == (pytest.approx(10 + 180 + 10 + 90), 1)
    assert [soft[name] for name in BENT] == pytest.approx([0, 0, 4000])


HYBRID = {"inverter_id": "i", "ac_kw": 2, "renewables_share": 1}
WASHING = {"load_id": "w", "energy_kwh": 0.5, "power_kw": 1}
SMALL = {"battery_id": "b", "capacity_kwh": 4, "charge_kw": 2, "discharge_kw": 2}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        # 5 kW of sun, 2 kW pass
        (
            {"renewables_kw": [5], "inverters": [HYBRID], "export_price_eur_per_mwh": 80},
            "inverter i at its 2 kW; curtail: more than inverters pass",
        ),
        # they could pass, but exporting costs
        (
            {"renewables_kw": [5], "inverters": [HYBRID], "export_price_eur_per_mwh": -80},
            "curtail: export price -80.00",
        ),
        # 0.3 kW are left below the limit for an hour
        (
            {"grid": {"import_limit_kw": 1.3}, "deferrable_loads": [WASHING]},
            "w runs: 0.2 kWh do not fit into its window below a limit; import at its limit;"
            " deferrable_loads[0].energy_kwh bent by 0.2 kWh",
        ),
        (
            {"deferrable_loads": [WASHING | {"power_kw": 0.46}]},
            "w runs: 0.04 kWh do not fit into its window;"
            " deferrable_loads[0].energy_kwh bent by 0.04 kWh",
        ),
        ({"grid": {"peak_price_eur_per_kw": 1}}, "peak held at 1 kW"),
        (
            {"load_kw": [1.234], "grid": {"import_limit_kw": 1.2, "peak_price_eur_per_kw": 1}},
            "peak held at 1.23 kW; grid.import_limit_kw bent by 0.034 kW",
        ),
        # a MWh would bring 150 later, or 100 now
        (
            {"batteries": [SMALL | {"terminal_value_eur_per_mwh": 150, "grid_charging": False}]},
            "hold: no renewables left to charge from, 100.00 below stored value 150.00",
        ),
        (
            {"batteries": [SMALL | {"soc_initial": 1, "grid_discharging": False}], "load_kw": [0]},
            "hold: no consumption left to serve, 100.00 above stored value 0.00",
        ),
        (
            {"batteries": [SMALL | {"soc_initial": 1}], "inverters": [HYBRID | {"ac_kw": 0}]},
            "hold: a limit keeps it from discharging, 100.00 above stored value 0.00;"
            " inverter i at its 0 kW",
        ),
    ],
)
def test_reasons_name_the_limit_that_holds_and_no_amount_as_0(more, expected):
    raw = {"step_min": 60, "load_kw": [1], "import_price_eur_per_mwh": [100]} | more
    if "batteries" in raw and "inverters" in raw:
        raw["inverters"] = [raw["inverters"][0] | {"batteries": ["b"]}]
    assert solve(parse_problem(raw)).reason == (expected,)
