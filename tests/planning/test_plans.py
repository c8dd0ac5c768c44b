"""Plans from a real database, their value at actual values, and the rolling backtest."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_planning import (
    BATTERY,
    DAYS,
    ISSUE,
    KINDS,
    START,
    states_of,
    store,
    store_forecasts,
)

import db
import optimization
from vpp.planning.outlooks import last_week
from vpp.planning.plans import bent_lines, plan
from vpp.planning.runs import by_battery
from vpp.planning.site_series import (
    forecast_frame,
    on_steps,
    site_frame,
)
from vpp.planning.site_state import battery_powers, peak_so_far, starting_batteries
from vpp.planning.valuation import value_plan
from vpp.schedule.problem import Violation


def test_a_plan_is_stored_and_planning_again_replaces_it(site):
    _, config = site
    run = plan(config, ISSUE)
    assert (run["status"], run["certificate"], run["kind"]) == ("optimal", "lp-exact", "plan")
    assert run["cost_eur"] <= run["cost_no_battery_eur"] + 1e-6
    assert run["cost_eur"] <= run["cost_rule_eur"] + 1e-6
    with db.session(config) as conn:
        first = db.count_rows(conn)
        stored, schedule, states = db.read_schedule(conn, run["run_id"])
    assert stored["objective_eur"] == pytest.approx(run["objective_eur"])
    # 36 hours in the finest step of the sources, 15 minutes
    assert len(schedule) == len(states) == 36 * 4
    assert schedule.index[0] == ISSUE
    balance = (
        schedule["grid_import_kw"]
        - schedule["grid_export_kw"]
        + schedule["renewables_kw"]
        - schedule["curtailed_kw"]
    )
    assert (
        balance + states["discharge_kw"] - states["charge_kw"] - schedule["load_kw"]
    ).abs().max() < 1e-6
    assert (
        (schedule["import_price_eur_per_mwh"] - schedule["export_price_eur_per_mwh"])
        .round(9)
        .eq(10)
        .all()
    )  # the fee
    assert schedule["reason"].str.len().min() > 0
    again = plan(config, ISSUE)
    with db.session(config) as conn:
        assert db.count_rows(conn) == first
    assert again["run_id"] == run["run_id"]
    assert again["objective_eur"] == run["objective_eur"]


def test_a_plan_starts_from_the_last_state_that_is_not_planned(site):
    _, config = site
    states = pd.DataFrame(
        {
            "time": [
                ISSUE - pd.Timedelta(hours=1),
                ISSUE - pd.Timedelta(minutes=15),
                ISSUE + pd.Timedelta(hours=1),
            ],
            "battery_id": "store",
            "kind": ["simulated", "planned", "measured"],
            "run_id": ["", "x", ""],
            "soc": [0.8, 0.1, 0.2],
        }
    )
    with db.session(config) as conn:
        db.save_battery_states(conn, states)
    run = plan(config, ISSUE)
    with db.session(config) as conn:
        _, _, planned = db.read_schedule(conn, run["run_id"])
    first = planned.iloc[0]
    assert first["energy_kwh"] - (
        0.95 * first["charge_kw"] - first["discharge_kw"] / 0.95
    ) / 4 == pytest.approx(0.8 * 2000)


def test_a_plan_counts_the_cycles_of_the_day_so_far(site):
    """1,200 of 2,000 kWh were discharged since midnight in Brussels (23:00 UTC).

    800 kWh of one cycle are left, for 13 h of the day.
    """
    _, config = site
    limited = replace(config, batteries=(replace(config.batteries[0], cycles_per_day_max=1.0),))
    issue = ISSUE - pd.Timedelta(hours=14)
    evening = pd.date_range(
        ISSUE - pd.Timedelta(hours=27), periods=12, freq="15min"
    )  # from 21:00 UTC: two hours are of the day before
    morning = pd.date_range(ISSUE - pd.Timedelta(hours=20), periods=4, freq="15min")
    with db.session(config) as conn:
        db.save_battery_states(
            conn,
            states_of([*evening, morning[0]], charge_kw=0.0, discharge_kw=[1000.0] * 12 + [200.0]),
        )
        # 1,000 kWh from 23:00 to 24:00; the state at 04:00 holds as long as the others do, a
        # quarter of an hour
        assert starting_batteries(conn, limited, issue)[0].cycles_so_far == pytest.approx(
            (1000 + 50) / 2000
        )
        db.save_battery_states(conn, states_of(morning, charge_kw=0.0, discharge_kw=200.0))
        assert starting_batteries(conn, limited, issue)[0].cycles_so_far == pytest.approx(
            1200 / 2000
        )
        assert (
            starting_batteries(conn, limited, ISSUE)[0].cycles_so_far == 0
        )  # another day since 23:00 UTC
        store_forecasts(conn, issue, "champion")
    run = plan(limited, issue)
    with db.session(config) as conn:
        _, _, states = db.read_schedule(conn, run["run_id"])
    today = states[states.index.tz_convert("Europe/Brussels").date == issue.date()]
    assert today["discharge_kw"].sum() / 4 == pytest.approx(800)


def test_a_day_whose_midnight_is_skipped_begins_at_one_o_clock(site):
    """Cairo goes from 24:00 to 01:00 at 22:00 UTC: 500 kWh before are of the day before."""
    _, config = site
    config = replace(
        config,
        site=replace(config.site, time_zone="Africa/Cairo"),
        grid=replace(config.grid, peak_price_eur_per_kw=5.0),
    )
    quarters = pd.date_range("2025-04-24T21:30Z", periods=6, freq="15min")
    with db.session(config) as conn:
        db.save_battery_states(conn, states_of(quarters, charge_kw=0.0, discharge_kw=1000.0))
        [battery] = starting_batteries(conn, config, pd.Timestamp("2025-04-25T09:00Z"))
        assert peak_so_far(conn, config, pd.Timestamp("2025-04-25T09:00Z")) == 0  # not measured
    assert battery.cycles_so_far == pytest.approx(1000 / 2000)


def test_last_week_of_an_hour_that_was_skipped_is_the_hour_after_it(site):
    _, config = site
    index = pd.date_range("2025-03-29", "2025-04-01", freq="15min", tz="UTC")
    with db.session(config) as conn:
        for name, (kind, step) in KINDS.items():
            times = index[:: step // 15]
            table = {"load": "load", "market": "market_prices"}.get(kind, "renewables")
            column = "price_eur_per_mwh" if kind == "market" else "power_kw"
            values = {"time": times, "sent_at": [START] * len(times), column: 0.0}
            if kind == "market":
                values["available_at"] = times
            if kind == "solar":  # its quarters count 1, 2, 3, … from midnight on
                values[column] = np.arange(len(times)) + 1.0
            store(conn, table, name, values)
        # 02:00 to 04:00 in Brussels; a week before, the clock went from 02:00 to 03:00, 01:00 UTC
        week_after = pd.date_range("2025-04-06T00:00Z", periods=8, freq="15min")
        outlook = last_week(conn, config, week_after, 15)
    quarters_of_three_o_clock = 1.0 + 24 * 4 + 4 + np.arange(4)
    np.testing.assert_array_equal(outlook.renewables_kw, np.tile(quarters_of_three_o_clock, 2))


def test_states_of_any_step_hold_as_long_as_they_usually_do(site):
    _, config = site
    hour = pd.Timedelta(hours=1)
    with db.session(config) as conn:
        db.save_battery_states(
            conn,
            states_of(
                pd.date_range(START, periods=3, freq="60min"),
                charge_kw=[1.0, 2, 3],
                discharge_kw=None,
            ),
        )
        db.save_battery_states(
            conn, states_of([START], charge_kw=7.0, discharge_kw=5.0).assign(kind="measured")
        )
        # a battery without a state stands beside it
        hourly = battery_powers(conn, ["other", "store"], START, START + 5 * hour)
        db.save_battery_states(
            conn,
            states_of(
                pd.date_range(ISSUE, periods=30, freq="1min"), charge_kw=6.0, discharge_kw=0.0
            ),
        )
        minutes = battery_powers(conn, ["store"], ISSUE, ISSUE + 2 * hour)
    # the measured state counts, not the simulated one; what is not known is 0
    charge, discharge = (power.reshape(2, 5, 12).mean(axis=2) for power in hourly)
    np.testing.assert_allclose(charge, [[0] * 5, [7, 2, 3, 0, 0]])
    np.testing.assert_allclose(discharge, [[0] * 5, [5, 0, 0, 0, 0]])
    assert minutes[0].reshape(2, 12).mean(axis=1).tolist() == pytest.approx([3, 0])


def test_at_actual_values_nothing_beats_perfect_foresight(site):
    _, config = site
    run = plan(config, ISSUE)
    value = value_plan(config)
    assert value["run_id"] == run["run_id"]
    for way in ("no_battery", "rule", "plan"):
        assert value["perfect_foresight"] <= value[way] + 1e-6 * abs(value[way])
    share = (value["no_battery"] - value["plan"]) / (
        value["no_battery"] - value["perfect_foresight"]
    )
    assert value["captured_share"] == pytest.approx(share)
    assert 0.5 < share <= 1
    with db.session(config) as conn:
        perfect = db.read_schedule(conn, kind="perfect")[0]
    assert perfect["cost_eur"] == pytest.approx(value["perfect_foresight"])


def test_a_live_plan_has_no_value_yet_and_says_so(site, capsys):
    path, config = site
    end = START + pd.Timedelta(days=DAYS)
    with db.session(config) as conn:
        store_forecasts(conn, end, "fallback")
    assert optimization.main(["--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert "plan from 2025-01-22T00:00Z" in out
    assert "no value at actual values: actual values of 144 of the plan's 144 intervals" in out
    assert optimization.main(["--config", str(path), "value"]) == 1


def test_the_plan_is_printed_with_its_value(site, capsys):
    path, _ = site
    assert (
        optimization.main(["--config", str(path), "--issue-time", ISSUE.isoformat(), "--json"]) == 0
    )
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["schedule"]) == 144
    assert set(printed["schedule"][0]) == {
        "time",
        "price",
        "load_kw",
        "renewables_kw",
        "battery_kw",
        "soc",
        "grid_kw",
        "reason",
    }
    assert printed["value"]["captured_share"] <= 1


def test_forecasts_that_end_early_shorten_the_plan_and_say_whose(site, caplog):
    _, config = site
    with db.session(config) as conn, caplog.at_level("WARNING"):
        longer = replace(config, optimization=replace(config.optimization, horizon_h=60))
        assert len(forecast_frame(conn, longer, ISSUE)[0]) == 48 * 4
        assert "the forecasts cover 48 of the 60 h to plan: that of " in caplog.text
        caplog.clear()
        assert len(forecast_frame(conn, config, ISSUE)[0]) == 36 * 4
        assert not caplog.text


def test_more_hours_carried_out_than_planned_are_refused(tmp_path, capsys):
    (tmp_path / "config.ini").write_text("")
    arguments = [
        "--config",
        str(tmp_path / "config.ini"),
        "backtest",
        "--days",
        "3",
        "--every-h",
        "24",
        "--horizon-h",
        "12",
    ]
    assert optimization.main(arguments) == 2
    assert capsys.readouterr().err.endswith(
        "--every-h 24: expected at most the hours planned ahead, --horizon-h 12\n"
    )


def test_a_start_without_data_says_what_to_run(config_file, capsys):
    path = config_file(**BATTERY)
    assert optimization.main(["--config", str(path)]) == 1
    error = capsys.readouterr().err
    assert "python communication.py" in error
    assert error.count("\n") == 1


def test_steps_are_repeated_or_averaged():
    hours = pd.Series([1.0, 3.0], pd.date_range(START, periods=2, freq="60min"))
    quarters = pd.date_range(START, periods=8, freq="15min")
    assert on_steps(hours, 60, quarters, 15).tolist() == [1, 1, 1, 1, 3, 3, 3, 3]
    assert on_steps(pd.Series(np.arange(8.0), quarters), 15, hours.index, 60).tolist() == [1.5, 5.5]


def test_what_a_plant_draws_is_load_that_cannot_be_curtailed():
    index = pd.date_range(START, periods=2, freq="60min")
    frame = site_frame(
        [("solar", pd.Series([-2.0, 5.0], index)), ("load", pd.Series([10.0, 10.0], index))], index
    )
    assert frame["load_kw"].tolist() == [12, 10]
    assert frame["renewables_kw"].tolist() == [0, 5]


def test_many_limits_of_a_kind_that_bend_are_one_line():
    """Four bounds of two batteries bend: the worst is told, with their number; the one grid limit
    has its own line.
    """
    bends = [
        Violation(f"batteries[{b}].soc_min", t, 5.0 + b - t, "kWh") for b in (0, 1) for t in (2, 3)
    ]
    lines = bent_lines([*bends, Violation("grid.import_limit_kw", 7, 1234.56, "kW")])
    assert lines == [
        "batteries.soc_min cannot be kept in 4 places; the worst: batteries[1].soc_min cannot be"
        " kept in interval 2: exceeded by 4.0 kWh",
        "grid.import_limit_kw cannot be kept in interval 7: exceeded by 1234.6 kW",
    ]
    assert len(bent_lines(bends[:3])) == 3


def test_a_state_that_is_missing_is_no_plan(site):
    _, config = site
    run = plan(config, ISSUE)
    with db.session(config) as conn:
        _, _, problem = optimization.plan_problem(conn, config, ISSUE)
        _, _, states = db.read_schedule(conn, run["run_id"])
    assert by_battery(states, problem, "soc").shape == (1, 144)
    with pytest.raises(db.DataGapError, match="143 states of 1 batteries x 144 intervals"):
        by_battery(states.iloc[1:], problem, "soc")
