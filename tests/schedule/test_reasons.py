"""Reasons of schedules worked out by hand. Battery B unless said: 4 MW, 6 MWh, lossless; hourly."""

import pytest
from small_answers import B, scheduled

from vpp.schedule.pareto import BENT, front
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.solver import solve

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
