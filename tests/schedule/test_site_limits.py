"""Limits by interval, curves, inverters, windows of peaks, fees, and plans that stay calm.

Answers are worked out by hand. Prices in EUR/MWh, powers in kW, hourly unless said.
"""

from pathlib import Path

import numpy as np
import pytest

from battery import replay
from vpp.runtime.errors import FieldError
from vpp.schedule.battery import keep_fraction
from vpp.schedule.dispatch import clipped_kw
from vpp.schedule.problem_file import parse_problem, read_problem
from vpp.schedule.replay import wear_of_depth_eur
from vpp.schedule.solver import solve

ROOT = Path(__file__).resolve().parents[2]
HOME = {"battery_id": "home", "capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 5}


def planned(prices, battery=None, **fields):
    raw = {"step_min": 60, "import_price_eur_per_mwh": prices} | fields
    raw.setdefault("export_price_eur_per_mwh", [0] * len(prices))
    if battery is not None:
        raw["batteries"] = [HOME | battery]
    problem = parse_problem(raw)
    result = solve(problem)
    assert replay(problem, result.found).violations == ()
    assert result.status == "optimal"
    return result


def test_powers_and_bounds_by_interval():
    # 2 kW may charge in hour 0, none in hour 1; at the end of hour 2 at least 1 kWh stays inside
    battery = {"charge_kw": [2, 0, 5], "discharge_kw": [5, 1, 5], "soc_min": [0, 0, 0.1]}
    result = planned([10, 100, 100], battery, load_kw=3)
    assert result.found.charge_kw[0].tolist() == pytest.approx([2, 0, 0])
    assert result.found.discharge_kw[0].sum() == pytest.approx(1)
    assert result.objective_eur == pytest.approx((5 * 10 + 5 * 100) / 1000)


def test_limits_of_the_grid_by_interval_and_null_is_none():
    grid = {"import_limit_kw": [None, 2], "export_limit_kw": [0, None]}
    result = planned([50, 10], {"soc_initial": 0.3}, load_kw=[1, 4], grid=grid)
    # 4 kWh wanted in hour 1, 2 may be bought there
    assert result.violations == ()
    assert result.found.discharge_kw[0].tolist() == pytest.approx([1, 2])


def test_a_charger_starts_at_its_least_power():
    # 1.5 kWh are wanted at the end; 2 kW at least for an hour: it holds 2 kWh
    battery = {"charge_min_kw": 2, "discharge_kw": 0, "soc_final_min": 0.15}
    result = planned([100, 50, 100], battery)
    assert result.found.charge_kw[0].tolist() == pytest.approx([0, 2, 0])
    assert result.certificate.kind == "milp"
    # with room for 1.5 kWh only nothing can be charged: the target gives way
    tight = planned([100, 50, 100], battery | {"soc_max": 0.15})
    assert tight.found.charge_kw.max() == 0
    assert [v.field for v in tight.violations] == ["batteries[0].soc_final_min"]


def test_power_tapers_with_the_soc_at_the_start_of_an_interval():
    # from 4 kWh on the power falls by 1 kW a kWh: 5 kW at 40 %, then at 90 % only 0
    curve = [[0, 5], [0.4, 5], [0.9, 0], [1, -0.0]]
    with pytest.raises(FieldError, match=r"batteries\[0\].charge_curve = .*: expected a concave"):
        planned([10, 10, 10], {"charge_curve": curve})
    curve = [[0, 5], [0.4, 5], [1, 0]]
    battery = {"charge_curve": curve, "soc_initial": 0.4, "terminal_value_eur_per_mwh": 50}
    result = planned([10, 10], battery)
    # 5 kW at 4 kWh; at 9 kWh 5 * 1 / 6
    assert result.found.charge_kw[0].tolist() == pytest.approx([5, 5 / 6])
    down = {"discharge_curve": [[0, 0], [0.5, 4], [1, 4]], "soc_initial": 0.25}
    assert planned([90], down, load_kw=5).found.discharge_kw[0, 0] == pytest.approx(2)


def test_deep_cycles_wear_more():
    # 2 kWh at 10, 8 kWh at 60: of 5 kWh sold at 100 for 30 the second band leaves 100 - 30 - 60
    curve = [[0.2, 10], [1, 60]]
    assert planned([30, 100], {"wear_curve": curve}, load_kw=[0, 5]).objective_eur == pytest.approx(
        (5 * 30 + 2 * 10 + 3 * 60) / 1000
    )
    # at 80 only the first band pays
    result = planned([30, 80], {"wear_curve": curve}, load_kw=[0, 5])
    assert result.found.discharge_kw[0, 1] == pytest.approx(2)
    # energy at the start lies in the cheapest bands, beside the wear of each MWh
    full = {"wear_curve": curve, "soc_initial": 0.3, "wear_eur_per_mwh": 5}
    result = planned([200], full, load_kw=[5])
    assert result.objective_eur == pytest.approx((2 * 200 + 3 * 5 + 2 * 10 + 1 * 60) / 1000)
    for wrong in ([[0.5, 10]], [[0.5, 20], [1, 10]], [[0.5, 10], [0.4, 20], [1, 30]]):
        with pytest.raises(FieldError, match="wear_curve"):
            planned([1], {"wear_curve": wrong})


def test_a_battery_that_may_charge_from_the_sun_only():
    result = planned([10, 300], {"grid_charging": False}, load_kw=[1, 5], renewables_kw=[2, 0])
    # the 2 kW of sun may all be stored, whatever the load buys
    assert result.found.charge_kw[0].tolist() == pytest.approx([2, 0])


def test_a_battery_that_may_serve_the_load_only():
    result = planned(
        [10, 50],
        {"grid_discharging": False, "soc_initial": 1},
        load_kw=[1, 2],
        renewables_kw=[3, 3],
        export_price_eur_per_mwh=[200, 200],
    )
    # the sun is exported meanwhile
    assert result.found.discharge_kw[0].tolist() == pytest.approx([1, 2])
    assert result.found.grid_export_kw.tolist() == pytest.approx([3, 3])


@pytest.mark.parametrize(
    ("curtailable", "clipped", "cost"),
    [
        # 8 kW behind 5 kW AC, at -20: all of it may be curtailed, but for the load of 1 kW
        (True, 7, 0),
        # must run: only what exceeds 5 kW is clipped, and 4 kW are paid for
        (False, 3, 0.08),
    ],
)
def test_an_inverter_clips_what_it_cannot_pass(curtailable, clipped, cost):
    inverter = {"inverter_id": "hybrid", "ac_kw": 5, "renewables_share": 1}
    result = planned(
        [300],
        load_kw=[1],
        renewables_kw=[8],
        export_price_eur_per_mwh=[-20],
        curtailable=curtailable,
        inverters=[inverter],
    )
    assert result.found.curtailed_kw.tolist() == pytest.approx([clipped])
    assert result.cost_eur == pytest.approx(cost)


def test_a_battery_behind_an_inverter_shares_its_limit():
    inverter = {"inverter_id": "hybrid", "ac_kw": 3, "batteries": ["home"]}
    result = planned([10, 300], {}, load_kw=[0, 5], inverters=[inverter])
    assert result.found.charge_kw[0, 0] == pytest.approx(3)
    assert result.found.discharge_kw[0, 1] == pytest.approx(3)
    for wrong in ({"batteries": ["car"]}, {"renewables_share": 1.1}):
        with pytest.raises(FieldError, match=r"inverters\[0\]"):
            planned([1], {}, inverters=[inverter | wrong])
    with pytest.raises(FieldError, match="behind no other inverter"):
        planned([1], {}, inverters=[inverter, inverter | {"inverter_id": "b"}])


def test_each_peak_has_its_window_of_the_local_clock():
    # Friday 17:00 in Oslo; the evening peak is on 17 to 18 h, the other on all hours
    peaks = [
        {"price_eur_per_kw": 2, "interval_min": 60, "window": {"hours": [17, 18]}},
        {"price_eur_per_kw": 1, "interval_min": 60, "so_far_kw": 3},
        {"price_eur_per_kw": 100, "interval_min": 60, "window": {"weekdays": [6], "months": [1]}},
    ]
    fields = {"start": "2025-01-17T16:00:00Z", "time_zone": "Europe/Oslo"}
    result = planned([0] * 3, load_kw=[4, 3, 9], grid={"peaks": peaks}, **fields)
    assert result.cost_eur == pytest.approx(2 * 4 + 1 * (9 - 3))
    assert "peak held at 4 kW" in result.reason[0] and "peak held at 9 kW" in result.reason[2]


def test_a_running_interval_counts_from_its_beginning():
    # 5 minutes of 12 kW in a quarter whose first 10 min took 0.5 kWh: 1.5 kWh are 6 kW
    quarter = {"price_eur_per_kw": 1, "interval_min": 15}
    fields = {"step_min": 5, "start": "2025-01-01T00:10:00Z"}
    running = quarter | {"running_interval_kwh": 0.5}
    assert planned([0], load_kw=[12], grid={"peaks": [running]}, **fields).cost_eur == (
        pytest.approx(6)
    )
    # without it the quarter began with nothing: 1 kWh are 4 kW
    assert planned([0], load_kw=[12], grid={"peaks": [quarter]}, **fields).cost_eur == (
        pytest.approx(4)
    )
    # an interval that the end cuts is the mean from its beginning to there: 12 kW
    cut = fields | {"start": "2025-01-01T00:15:00Z"}
    assert planned([0], load_kw=[12], grid={"peaks": [running]}, **cut).cost_eur == (
        pytest.approx(12)
    )


def test_a_fee_is_paid_on_imports_and_is_no_part_of_the_export_price():
    result = planned([50, 50], load_kw=[2, -1], import_fee_eur_per_mwh=30)
    assert result.cost_eur == pytest.approx(2 * 80 / 1000)
    sold = planned([50, 50], load_kw=[2, -1], import_fee_eur_per_mwh=[30, 0])
    assert sold.cost_eur == pytest.approx(result.cost_eur)


PREVIOUS = {"battery_id": "home", "charge_kw": [0, 0, 3, 0], "discharge_kw": [0, 0, 0, 0]}
TARGET = {"discharge_kw": 0, "soc_targets": [{"interval": 3, "soc_min": 0.3}]}


def test_of_equal_plans_the_one_before_stays_and_else_the_earliest_is_taken():
    assert planned([50] * 4, TARGET).found.charge_kw[0].tolist() == pytest.approx([3, 0, 0, 0])
    kept = planned([50] * 4, TARGET, previous={"batteries": [PREVIOUS]})
    assert kept.found.charge_kw[0].tolist() == pytest.approx([0, 0, 3, 0])
    # what it did not say costs nothing to change: the earliest of hours 0 and 1
    silent = PREVIOUS | {"charge_kw": [None, None, 0, 0]}
    free = planned([50] * 4, TARGET, previous={"batteries": [silent]})
    assert free.found.charge_kw[0].tolist() == pytest.approx([3, 0, 0, 0])


@pytest.mark.parametrize(("price", "hour"), [(0, 1), (2, 1), (8, 2)])
def test_a_price_of_changes_keeps_a_plan_that_is_little_dearer(price, hour):
    # 3 kWh at 40 instead of 50 save 30; 6 kWh change
    result = planned(
        [50, 40, 50, 50],
        TARGET,
        previous={"batteries": [PREVIOUS]},
        change_price_eur_per_mwh=price,
    )
    assert result.found.charge_kw[0].argmax() == hour
    money = {0: 120, 2: 120 + 6 * 2, 8: 150}[price]
    assert result.objective_eur == pytest.approx(money / 1000)


def test_planning_again_with_the_same_information_changes_nothing():
    generator = np.random.default_rng(3)
    prices = generator.integers(0, 5, 24).astype(float) * 20  # many ties
    first = planned(prices.tolist(), {"eta_charge": 0.9}, load_kw=2)
    for t in (1, 7, 15):
        rest = {
            "battery_id": "home",
            "charge_kw": first.found.charge_kw[0, t:].tolist(),
            "discharge_kw": first.found.discharge_kw[0, t:].tolist(),
        }
        battery = {"eta_charge": 0.9, "soc_initial": min(1.0, float(first.found.soc[0, t - 1]))}
        again = planned(prices[t:].tolist(), battery, load_kw=2, previous={"batteries": [rest]})
        assert again.found.charge_kw[0] == pytest.approx(first.found.charge_kw[0, t:], abs=1e-5)
        assert again.found.discharge_kw[0] == pytest.approx(
            first.found.discharge_kw[0, t:], abs=1e-5
        )


def test_a_reachable_target_beside_an_impossible_one_is_reached():
    targets = [{"interval": 0, "soc_min": 1}, {"interval": 3, "soc_min": 0.5}]
    battery = {"charge_kw": 1, "soc_targets": targets, "soc_initial": 0.1}
    # 1 kWh at once is nearer to the first; 2, 3, 4, 5 kWh at the ends of hours
    result = planned([10, 90, 90, 90], battery)
    assert [v.field for v in result.violations] == ["batteries[0].soc_targets[0]"]
    assert result.violations[0].amount == pytest.approx(8)
    assert result.found.charge_kw[0].tolist() == pytest.approx([1, 1, 1, 1])


def test_a_person_reads_which_limit_holds():
    curve = [[0, 5], [0.4, 5], [1, 0]]
    tapers = {"charge_curve": curve, "soc_initial": 0.4, "terminal_value_eur_per_mwh": 50}
    reasons = planned([10, 10], tapers).reason
    assert "charge_curve" not in reasons[0] and reasons[1].endswith(
        "; home as fast as its charge_curve lets it"
    )
    sun = planned([10, 300], {"grid_charging": False}, load_kw=[1, 5], renewables_kw=[2, 0])
    assert sun.reason[0].endswith("; charges from renewables only, and takes all")
    fields = {"load_kw": [1], "export_price_eur_per_mwh": [200]}
    load = planned([50], {"grid_discharging": False, "soc_initial": 1}, **fields)
    assert load.reason[0].endswith("; discharges into consumption only, and serves all")
    inverter = {"inverter_id": "hybrid", "ac_kw": 3, "batteries": ["home"]}
    shared = planned([10, 300], {}, load_kw=[0, 5], inverters=[inverter])
    assert all(reason.endswith("; inverter hybrid at its 3 kW") for reason in shared.reason)
    least = planned([50, 100], {"charge_min_kw": 2, "discharge_kw": 0, "soc_final_min": 0.15})
    assert least.reason[0].endswith("; home at its least power")


def test_a_plan_that_changes_says_what_it_was():
    prices = [50, 40, 50, 50]
    changed = planned(prices, TARGET, previous={"batteries": [PREVIOUS]}).reason
    assert changed[1].endswith("; home planned before: hold")
    assert changed[2].endswith("; home planned before: charge 3.0 kW")
    assert "before" not in changed[0] + changed[3]


def test_the_wear_of_a_depth_is_that_of_the_bands_that_give():
    # bands of 2 and 8 kWh at 10 and 100 EUR/MWh; 1 kWh at the start lies in the first; half-hours.
    # 4 kW charged at .5 put 1 kWh into the first; 1 kW discharged at .5 takes 1 kWh of it;
    # 3 kW at .5 take 3 kWh: the 1 that is left, and 2 of the second, filled by 8 kW charged before
    battery = {
        "battery_id": "b",
        "capacity_kwh": 10,
        "charge_kw": 9,
        "discharge_kw": 9,
        "eta_charge": 0.5,
        "eta_discharge": 0.5,
        "soc_initial": 0.1,
        "wear_curve": [[0.2, 10], [1, 100]],
    }
    problem = parse_problem(
        {"step_min": 30, "import_price_eur_per_mwh": [0] * 4, "batteries": [battery]}
    )
    charge, discharge = np.array([4.0, 0, 8, 0]), np.array([0, 1.0, 0, 3])
    # first 1 * .5 * 10; then the first band holds 1, gets 1 of the 2 kWh, the second 1:
    # 3 kWh taken are 2 of the first and the 1 of the second
    paid = (1 * 0.5 * 10 + 2 * 0.5 * 10 + 1 * 0.5 * 100) / 1000
    assert wear_of_depth_eur(problem, 0, charge, discharge) == pytest.approx(paid)
    # a tenth of the energy is lost in an hour, so 0.9 ** 0.5 of it is left after each half
    lost = parse_problem(
        {
            "step_min": 30,
            "import_price_eur_per_mwh": [0] * 2,
            "batteries": [battery | {"self_discharge_per_h": 0.1, "soc_initial": 0.3}],
        }
    )
    kept = keep_fraction(lost.batteries[0], 0.5)
    given = 2.5 - 2 * kept  # from the second band, after all of the first
    assert wear_of_depth_eur(lost, 0, np.zeros(2), np.array([2.5, 0])) == pytest.approx(
        (2 * kept * 0.5 * 10 + given * 0.5 * 100) / 1000
    )


def test_an_inverter_clips_what_sun_and_battery_send_beyond_its_rating():
    # the first has half of the sun and one battery: 3 + 2 kW of 4; the second all of nothing
    cells = [HOME | {"battery_id": name} for name in ("a", "b")]
    inverters = [
        {"inverter_id": "i", "ac_kw": 4, "renewables_share": 0.5, "batteries": ["a"]},
        {"inverter_id": "j", "ac_kw": 1, "renewables_share": 0.25, "batteries": ["b"]},
    ]
    problem = parse_problem(
        {"step_min": 60, "import_price_eur_per_mwh": [1, 1], "renewables_kw": [6, 0]}
        | {"batteries": cells, "inverters": inverters}
    )
    # 3 + 2 - 4 and 1.5 + 0.5 - 1; without sun 5 - 4 and -3 - 1
    given = np.array([[2.0, 5.0], [0.5, -3.0]])
    assert clipped_kw(problem, given).tolist() == [1 + 1, 1 + 0]


def test_a_limit_that_does_not_bend_is_not_said_to_bend():
    """The battery takes what its inverter would cut, though the price is above its worth."""
    problem = read_problem(ROOT / "examples" / "inverter.json")
    result = solve(problem)
    assert result.violations == ()
    kept = [text for text in result.reason if "keeps a limit" in text]
    assert kept and all("inverter hybrid at its 5 kW" in text for text in kept)
    assert not any("bends" in text for text in result.reason)
