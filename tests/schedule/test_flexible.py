"""Vehicles, loads that may run later, heat stores: by hand, refused where wrong, and replayed.

Hourly; prices in EUR/MWh, so 100 is 0.10 EUR/kWh.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from battery import replay
from vpp.runtime.errors import FieldError
from vpp.schedule.dispatch import idle
from vpp.schedule.problem_file import parse_problem, result_json
from vpp.schedule.solver import solve

PRICES = [300, 100, 200, 400, 50, 250]
CAR = {"vehicle_id": "car", "capacity_kwh": 50, "charge_kw": 10}
STAY = {"arrival": 0, "departure": 4, "soc_arrival": 0.4, "soc_departure_min": 0.8}
PUMP = {"load_id": "pump", "energy_kwh": 6, "power_kw": 2}
TANK = {
    "store_id": "tank",
    "capacity_kwh": 20,
    "energy_initial_kwh": 5,
    "demand_kw": [1, 1, 1, 1, 1, 1],
    "heat_pump_kw": 2,
    "cop": 3,
}


def problem_of(**fields):
    prices = {"import_price_eur_per_mwh": PRICES, "export_price_eur_per_mwh": 0}
    return parse_problem({"step_min": 60} | prices | fields)


def solved(**fields):
    problem = problem_of(**fields)
    result = solve(problem)
    assert result.status == "optimal"
    assert replay(problem, result.schedule).violations == ()
    file = json.loads(json.dumps(result_json(problem, result)))
    return result, file


def car(**fields):
    stay = {key: fields.pop(key) for key in tuple(fields) if key in STAY}
    return {"vehicles": [CAR | {"sessions": [STAY | stay]} | fields]}


def test_a_car_charges_at_the_cheapest_prices_of_its_stay():
    # 20 kWh until interval 4: 10 at 0.10 and 10 at 0.20; the 0.05 of interval 4 comes too late
    result, file = solved(**car())
    assert file["vehicles"][0]["charge_kw"] == pytest.approx([0, 10, 10, 0, 0, 0])
    assert file["vehicles"][0]["soc"][:4] == pytest.approx([0.4, 0.6, 0.8, 0.8])
    assert file["vehicles"][0]["soc"][4:] == [None, None]
    assert result.objective_eur == pytest.approx(3.0)
    assert result.certificate.kind == "lp-exact"


def test_a_car_that_gives_earns_the_spread_less_wear():
    # 25 kWh in it, 0.4 kept at the end: 10 kWh bought at 0.10, 5 sold to the load at 0.40
    fields = car(soc_arrival=0.5, soc_departure_min=0.5, discharge_kw=5, wear_eur_per_mwh=20)
    result, file = solved(load_kw=[0, 0, 0, 5, 0, 0], **fields)
    assert file["vehicles"][0]["charge_kw"] == pytest.approx([0, 5, 0, 0, 0, 0])
    assert file["vehicles"][0]["discharge_kw"] == pytest.approx([0, 0, 0, 5, 0, 0])
    assert result.objective_eur == pytest.approx(0.5 + 5 * 0.02)  # wear of 5 kWh


def test_a_car_charges_at_nothing_or_at_its_least_power():
    # 11 kWh at 4 kW at least: 10 at 0.10 leaves 1 kWh, which is no power; 7 and 4 cost least
    result, file = solved(**car(soc_departure_min=0.62, charge_min_kw=4))
    assert file["vehicles"][0]["charge_kw"] == pytest.approx([0, 7, 4, 0, 0, 0])
    assert result.objective_eur == pytest.approx(1.5)
    assert result.certificate.kind == "milp"


def test_a_car_that_leaves_too_early_is_listed():
    # 20 kWh wanted in 1 h at 10 kW and 0.9: 9 go in, 11 are missing
    _, file = solved(**car(departure=1, eta_charge=0.9))
    (bent,) = file["violations"]
    assert bent["field"] == "vehicles[0].sessions[0].soc_departure_min"
    assert (bent["interval"], bent["unit"]) == (0, "kWh")
    assert bent["amount"] == pytest.approx(11)


def test_a_car_below_its_bound_comes_back_into_it():
    # it comes with 5 kWh, 10 are its least: 5 kWh at once although they cost 0.30
    fields = car(soc_arrival=0.1, soc_departure_min=0, soc_min=0.2)
    result, file = solved(**fields)
    assert file["vehicles"][0]["charge_kw"] == pytest.approx([5, 0, 0, 0, 0, 0])
    assert file["violations"] == []
    _, file = solved(**fields | {"vehicles": [fields["vehicles"][0] | {"charge_kw": 2}]})
    # 3 and 1 kWh are missing to 10 at the ends of the first hours
    amounts = {one["interval"]: one["amount"] for one in file["violations"]}
    assert amounts == pytest.approx({0: 3, 1: 1})
    assert {one["field"] for one in file["violations"]} == {"vehicles[0].soc_min"}
    assert result.objective_eur == pytest.approx(1.5)


def test_sessions_may_stand_in_any_order():
    late = {"arrival": 4, "departure": 6, "soc_arrival": 0.3, "soc_departure_min": 0.4}
    # 20 kWh for 3.0 as alone, and 5 kWh at 0.05 in interval 4
    result, file = solved(vehicles=[CAR | {"sessions": [late, STAY]}])
    assert result.objective_eur == pytest.approx(3.25)
    assert file["vehicles"][0]["soc"][3:] == pytest.approx([0.8, 0.4, 0.4])


def test_a_session_after_the_horizon_plays_no_part():
    later = {"arrival": 6, "departure": 9, "soc_arrival": 0.1, "soc_departure_min": 1}
    result, file = solved(vehicles=[CAR | {"sessions": [STAY, later]}])
    assert result.objective_eur == pytest.approx(3.0)
    assert file["violations"] == []


def test_a_load_without_least_power_is_a_linear_programme():
    # 6 kWh at 2 kW: 0.05, 0.10 and 0.20
    result, file = solved(deferrable_loads=[PUMP])
    assert file["deferrable_loads"][0]["power_kw"] == pytest.approx([0, 2, 2, 0, 2, 0])
    assert result.objective_eur == pytest.approx(0.7)
    assert result.certificate.kind == "lp-exact"


def test_one_run_is_one_run():
    # three hours in a row: 1 to 3 cost 700, 2 to 4 650, 3 to 5 700, 0 to 2 600 of 2 kWh each
    result, file = solved(deferrable_loads=[PUMP | {"min_power_kw": 2, "contiguous": True}])
    assert file["deferrable_loads"][0]["power_kw"] == pytest.approx([2, 2, 2, 0, 0, 0])
    assert result.objective_eur == pytest.approx(1.2)


def test_a_profile_starts_once():
    # 3 then 1 kW: 0.30 + 0.20 at 1; 0.60 + 0.40 at 2; 0.15 + 0.25 at 4
    profile = {"load_id": "p", "profile_kw": [3, 1], "latest": 5}
    result, file = solved(deferrable_loads=[profile])
    assert file["deferrable_loads"][0]["power_kw"] == pytest.approx([0, 3, 1, 0, 0, 0])
    assert result.objective_eur == pytest.approx(0.5)
    late = profile | {"latest": 6}
    assert solved(deferrable_loads=[late])[0].objective_eur == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("fields", "missing", "interval"),
    [
        ({"profile_kw": [1, 1, 1], "earliest": 4}, 3, 5),  # a run of three in a window of two
        ({"energy_kwh": 6, "power_kw": 2, "earliest": 1, "latest": 3}, 2, 2),
        (
            {"energy_kwh": 6, "power_kw": 2, "min_power_kw": 2, "contiguous": True, "latest": 2},
            2,
            1,
        ),
    ],
)
def test_what_does_not_fit_is_missing(fields, missing, interval):
    _, file = solved(deferrable_loads=[{"load_id": "p"} | fields])
    (bent,) = file["violations"]
    assert bent["field"] == "deferrable_loads[0].energy_kwh"
    assert bent["amount"] == pytest.approx(missing)
    assert (bent["interval"], bent["unit"]) == (interval, "kWh")


def test_a_tank_is_filled_where_its_heat_is_cheap():
    # 6 kWh of heat are drawn, 5 must be left: 6 / 3 = 2 kWh at 0.05 in interval 4, but interval 4
    # comes after four hours of 1 kWh with 5 in the tank: one more kWh at the end of it
    result, file = solved(heat_stores=[TANK])
    assert file["heat_stores"][0]["heat_pump_kw"] == pytest.approx([0, 0, 0, 0, 2, 0])
    assert file["heat_stores"][0]["energy_kwh"] == pytest.approx([4, 3, 2, 1, 6, 5])
    assert result.objective_eur == pytest.approx(0.1)
    assert result.certificate.kind == "lp-exact"


def test_losses_and_the_rod_are_counted():
    # half is lost in an hour: 5 x 0.5 - 1 = 1.5, then 0.75 - 1 = -0.25: the rod gives it, and so on
    tank = TANK | {"loss_per_h": 0.5, "heat_pump_kw": 0, "rod_kw": 9, "energy_final_min_kwh": 0}
    result, file = solved(heat_stores=[tank])
    stored = file["heat_stores"][0]["energy_kwh"]
    assert stored[0] == pytest.approx(1.5)
    assert file["heat_stores"][0]["rod_kw"][1] >= 0.25 - 1e-9
    assert file["violations"] == []
    # 0.25 at 0.10, 1 kWh at 0.20, at 0.40 and at 0.05; what is kept for an hour is halved, so the
    # last one is 2 kWh at 0.05
    assert result.objective_eur == pytest.approx(0.025 + 0.2 + 0.4 + 0.05 + 0.1)


def test_heat_that_cannot_be_met_is_missing_in_its_interval():
    # without heat pump and rod: 5 kWh serve five hours, the sixth is missing, and 5 at the end
    _, file = solved(heat_stores=[TANK | {"heat_pump_kw": 0}])
    amounts = {}
    for one in file["violations"]:
        amounts[one["field"]] = amounts.get(one["field"], 0) + one["amount"]
    assert sum(amounts.values()) == pytest.approx(6)
    assert set(amounts) <= {"heat_stores[0].demand_kw", "heat_stores[0].energy_final_min_kwh"}


def test_a_battery_without_grid_discharging_serves_devices():
    battery = {"battery_id": "b", "capacity_kwh": 9, "charge_kw": 0, "discharge_kw": 9}
    battery |= {"soc_initial": 1, "grid_discharging": False}
    _, file = solved(
        batteries=[battery],
        export_price_eur_per_mwh=500,
        **car(arrival=3, departure=4, soc_departure_min=0.58),
    )
    # the car takes 9 kWh in interval 3; nothing else is consumed, and nothing is sold
    assert file["batteries"][0]["discharge_kw"] == pytest.approx([0, 0, 0, 9, 0, 0])


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        (car(arrival=2, departure=2), "vehicles[0].sessions[0].departure", "more than arrival = 2"),
        (car(soc_arrival=1.1), "vehicles[0].sessions[0].soc_arrival", "at most 1"),
        (car(soc_min=0.9, soc_max=0.5), "vehicles[0].soc_min", "soc_max = 0.5"),
        (car(charge_curve=[[0, 1], [1, 5], [2, 5]]), "vehicles[0].charge_curve", "0 to 1"),
        ({"vehicles": [CAR | {"sessions": [STAY, STAY]}]}, "vehicles[0].sessions[1].arrival", "4"),
        ({"vehicles": [CAR]}, "vehicles[0].sessions", "value"),
        ({"deferrable_loads": [PUMP | {"latest": 7}]}, "deferrable_loads[0].latest", "at most 6"),
        ({"deferrable_loads": [PUMP | {"earliest": 6}]}, "deferrable_loads[0].earliest", "0 to 5"),
        (
            {"deferrable_loads": [PUMP | {"earliest": 3, "latest": 3}]},
            "deferrable_loads[0].latest",
            "more than earliest = 3",
        ),
        ({"deferrable_loads": [{"load_id": "p"}]}, "deferrable_loads[0].energy_kwh", "profile_kw"),
        (
            {"deferrable_loads": [PUMP | {"profile_kw": [1]}]},
            "deferrable_loads[0].energy_kwh",
            "nothing beside profile_kw",
        ),
        (
            {"deferrable_loads": [{"load_id": "p", "profile_kw": [1, -1]}]},
            "deferrable_loads[0].profile_kw",
            "0 or more",
        ),
        (
            {"deferrable_loads": [PUMP | {"contiguous": True}]},
            "deferrable_loads[0].min_power_kw",
            "contiguous",
        ),
        (
            {"deferrable_loads": [PUMP | {"min_power_kw": 2.5}]},
            "deferrable_loads[0].min_power_kw",
            "power_kw = 2",
        ),
        (  # 5 kWh are no whole number of intervals of 2 kWh
            {"deferrable_loads": [PUMP | {"min_power_kw": 2, "energy_kwh": 5}]},
            "deferrable_loads[0].energy_kwh",
            "whole number of intervals",
        ),
        ({"heat_stores": [TANK | {"demand_kw": [1] * 5}]}, "heat_stores[0].demand_kw", "6 values"),
        ({"heat_stores": [TANK | {"cop": -1}]}, "heat_stores[0].cop", "0 or more"),
        (
            {"heat_stores": [TANK | {"energy_final_min_kwh": 21}]},
            "heat_stores[0].energy_final_min_kwh",
            "capacity_kwh = 20",
        ),
        ({"heat_stores": [TANK, TANK]}, "heat_stores[1].store_id", "no other"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(fields, key, words):
    with pytest.raises(FieldError) as raised:
        problem_of(**fields)
    assert raised.value.key == key
    assert words in raised.value.expected


def all_three():
    load = PUMP | {"min_power_kw": 2, "contiguous": True}
    profile = {"load_id": "dishwasher", "profile_kw": [2, 1]}
    return problem_of(
        **car(charge_min_kw=3, discharge_kw=5, charge_curve=[[0, 10], [0.5, 10], [1, 5]]),
        deferrable_loads=[load, profile],
        heat_stores=[TANK | {"rod_kw": 1}],
    )


@pytest.mark.parametrize(
    ("key", "name", "t", "value", "broken"),
    [
        ("vehicles_0", "charge_kw", 1, 11, "vehicles[0].charge_kw"),
        ("vehicles_0", "charge_kw", 5, 4, "vehicles[0].charge_kw"),  # away
        ("vehicles_0", "charge_kw", 3, 1, "vehicles[0].charge_min_kw"),
        ("vehicles_0", "charge_kw", 1, -1, "vehicles[0].charge_kw below 0"),
        ("vehicles_0", "discharge_kw", 1, 2, "vehicles[0].charge_kw and discharge_kw at once"),
        ("vehicles_0", "soc", 2, 0.9, "vehicles[0].soc"),
        ("vehicles_0", "soc", 5, 0.9, "vehicles[0].soc while away"),
        ("deferrable_loads_0", "power_kw", 0, 2, "deferrable_loads[0].contiguous"),
        ("deferrable_loads_0", "power_kw", 0, 2.5, "deferrable_loads[0].power_kw"),
        ("deferrable_loads_0", "power_kw", 0, 1, "deferrable_loads[0].min_power_kw"),
        ("deferrable_loads_0", "power_kw", 5, 2, "deferrable_loads[0].energy_kwh over"),
        ("deferrable_loads_1", "power_kw", 0, 1, "deferrable_loads[1].profile_kw"),
        ("heat_stores_0", "heat_pump_kw", 0, 3, "heat_stores[0].heat_pump_kw"),
        ("heat_stores_0", "rod_kw", 0, 2, "heat_stores[0].rod_kw"),
        ("heat_stores_0", "energy_kwh", 0, 21, "heat_stores[0].capacity_kwh"),
        ("heat_stores_0", "energy_kwh", 0, -1, "heat_stores[0].energy_kwh below 0"),
        ("heat_stores_0", "energy_kwh", 0, 9, "heat_stores[0].energy_kwh without its powers"),
        ("heat_stores_0", "energy_kwh", 1, 1, "heat_stores[0].energy_kwh"),
    ],
)
def test_the_replay_finds_what_a_device_cannot_do(key, name, t, value, broken):
    problem = all_three()
    schedule = solve(problem).found
    arrays = {one: values.copy() for one, values in schedule.devices[key].items()}
    arrays[name][t] = value
    wrong = replace(schedule, devices=schedule.devices | {key: arrays})
    found = {one.field for one in replay(problem, wrong).violations}
    assert broken in found


def test_without_a_plan_devices_serve_their_purpose_at_once():
    problem = all_three()
    schedule = idle(problem)
    checked = replay(problem, schedule)
    assert checked.violations == () == checked.bends
    vehicle, load, profile, tank = (schedule.devices[key] for key, *_ in problem.devices)
    # 10 kW, 9 at SOC 0.6 by the curve, and for the last kWh to 0.8 the least power
    assert vehicle["charge_kw"][:3] == pytest.approx([10, 9, 3])
    assert vehicle["soc"][3] == pytest.approx(0.84)
    assert load["power_kw"] == pytest.approx([2, 2, 2, 0, 0, 0])
    assert profile["power_kw"] == pytest.approx([2, 1, 0, 0, 0, 0])
    assert tank["energy_kwh"] == pytest.approx([5] * 6)
    assert tank["heat_pump_kw"] == pytest.approx([1 / 3] * 6)
    planned = solve(problem)
    assert planned.objective_eur < checked.objective_eur


def test_a_useless_device_changes_nothing_and_order_does_not_matter():
    loads = [PUMP, {"load_id": "p", "profile_kw": [3, 1]}]
    one, _ = solved(deferrable_loads=loads)
    none = {"load_id": "none", "energy_kwh": 0, "power_kw": 1}
    for others in ([*loads, none], loads[::-1]):
        result, _ = solved(deferrable_loads=others)
        assert result.objective_eur == pytest.approx(one.objective_eur)
        assert np.allclose(result.found.grid_import_kw, one.found.grid_import_kw)
