"""Schedules with answers worked out by hand. Battery B unless said: 4 MW, 6 MWh, lossless; hourly.

Prices in EUR/MWh.
"""

import numpy as np
import pulp
import pytest
from small_answers import B, scheduled

from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.model import build
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.solver import solve


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
