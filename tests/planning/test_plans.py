"""Plans from a real database, their value at actual values, and the rolling backtest."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_planning import DAYS, ISSUE, KINDS, START, store, store_forecasts, store_site

import db
import optimization
from vpp.planning.outlooks import Outlook, last_week, made_at, windows
from vpp.planning.past import read_past
from vpp.planning.plans import bent_lines, plan, plan_problem
from vpp.planning.previous import changes_in_words
from vpp.planning.rolling_past import roll_past
from vpp.planning.runs import by_battery, stored_frame, stored_schedule
from vpp.planning.site_series import (
    actual_frame,
    forecast_frame,
    on_steps,
    site_frame,
    site_sources,
)
from vpp.planning.site_state import battery_powers, peak_so_far, starting_batteries
from vpp.planning.told import peaks_in_words
from vpp.planning.valuation import value_plan
from vpp.runtime.config import load_config
from vpp.runtime.plant_settings import Tariff
from vpp.schedule.basis import basis_of, peaks_of, read_basis
from vpp.schedule.following import leaning
from vpp.schedule.peaks import by_month
from vpp.schedule.problem import Violation
from vpp.schedule.replay import replay
from vpp.schedule.rolling import Rolling
from vpp.schedule.site import site_problem
from vpp.schedule.solver import solve
from vpp.site.times import price_available_at

BATTERY = {
    "battery:store": {
        "capacity_kwh": 2000,
        "charge_kw": 1000,
        "discharge_kw": 1000,
        "soc_initial": 0.5,
        "wear_eur_per_mwh": 3,
    }
}


@pytest.fixture
def site(config_file):
    """The configuration of a database with two weeks of four sources and, at `ISSUE`, forecasts
    that repeat the day before.
    """
    path = config_file(**BATTERY)
    config = load_config(path)
    with db.session(config) as conn:
        store_site(conn)
        store_forecasts(conn, ISSUE, "champion")
    return path, config


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


def states_of(values, **columns):
    """Simulated states of the battery, one for each time."""
    return pd.DataFrame(
        {"time": list(values), "battery_id": "store", "kind": "simulated", "soc": 0.5} | columns
    )


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


def test_the_peak_so_far_is_that_of_the_grid(site):
    """Energy that the battery discharged in the hour of the highest net load is no import."""
    _, config = site
    priced = replace(config, grid=replace(config.grid, peak_price_eur_per_kw=5.0))
    with db.session(config) as conn:
        index = pd.date_range(START, ISSUE, freq="60min", inclusive="left")
        frame = actual_frame(conn, site_sources(conn, config), index, 60)
        net = (frame["load_kw"] - frame["renewables_kw"]).sort_values()
        assert peak_so_far(conn, priced, ISSUE) == pytest.approx(net.iloc[-1])
        quarters = pd.date_range(net.index[-1], periods=4, freq="15min")
        db.save_battery_states(
            conn, states_of(quarters, charge_kw=[0, 0, 100, 0], discharge_kw=[1000.0, 1000, 0, 900])
        )
        assert peak_so_far(conn, priced, ISSUE) == pytest.approx(
            max(net.iloc[-2], net.iloc[-1] - 700)
        )
        # charging makes a peak of its own; the state holds as long as the others do, a quarter of
        # an hour
        db.save_battery_states(
            conn, states_of([net.index[0]], charge_kw=20_000.0, discharge_kw=0.0)
        )
        assert peak_so_far(conn, priced, ISSUE) == pytest.approx(net.iloc[0] + 5000)
        assert peak_so_far(conn, config, ISSUE) == 0


PEAKS = "6 Mon-Fri 06:00-09:00,17:00-20:00 30min; 36 15min year; 2 Nov-Jan; 9 Jul"


def test_each_peak_of_a_tariff_is_planned_valued_and_back_tested(site, capsys):
    # ISSUE is Monday 20 January; a second calculation bills what was done before and in the plan
    path, config = site
    tariff = replace(
        config.tariff, import_eur_per_mwh="200", export_eur_per_mwh="90", peaks_eur_per_kw=PEAKS
    )
    config = replace(config, tariff=tariff, operation=replace(config.operation, follow="no"))
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("UPDATE load SET power_kw = 0.4 * power_kw WHERE time < %s", (ISSUE,))
    run = plan(config, ISSUE)
    with db.session(config) as conn:
        sources = [item for item in site_sources(conn, config) if item.kind != "market"]
        index = pd.date_range(START, ISSUE, freq="15min", inclusive="left")
        before = actual_frame(conn, sources, index, 15)
        schedule = db.read_schedule(conn, run["run_id"])[1]
        known = actual_frame(conn, sources, schedule.index, 15)
        states = db.read_schedule(conn, run["run_id"])[2]
    done = (before["load_kw"] - before["renewables_kw"]).clip(lower=0)
    planned = schedule["grid_import_kw"]

    def bill(imports):  # [EUR]
        local = imports.set_axis(imports.index.tz_convert("Europe/Brussels").tz_localize(None))
        hour, day = local.index.hour, local.index.dayofweek
        busy = (day < 5) & (((hour >= 6) & (hour < 9)) | ((hour >= 17) & (hour < 20)))
        halves, hours = local[busy].resample("30min").mean(), local.resample("60min").mean()
        return 6 * halves.max() + 36 / 12 * local.max() + 2 * hours.max()

    whole = pd.concat([done, planned])
    energy = (planned * 210 - schedule["grid_export_kw"] * 90).sum() / 4000
    result_eur = energy + bill(whole) - bill(done)
    problem = stored_problem(config, run, schedule)
    assert replay(problem, stored(problem, schedule, states)).cost_eur == pytest.approx(result_eur)
    # without the peaks the plan would pay more for them: each is kept
    free = plan(replace(config, tariff=replace(tariff, peaks_eur_per_kw="")), ISSUE)
    with db.session(config) as conn:
        loose = db.read_schedule(conn, free["run_id"])[1]["grid_import_kw"]
    assert bill(pd.concat([done, loose])) > bill(whole) + 1
    plan(config, ISSUE)
    optimization.main(["--config", str(path), "value", "--json"])
    value = json.loads(capsys.readouterr().out)[0]
    net = (known["load_kw"] - known["renewables_kw"]).clip(lower=0)
    out = (known["renewables_kw"] - known["load_kw"]).clip(lower=0)
    alone = (net * 210 - out * 90).sum() / 4000 + bill(pd.concat([done, net])) - bill(done)
    assert value["no_battery"] == pytest.approx(alone)
    assert value["perfect_foresight"] <= value["plan"] + 1e-6
    # a backtest of the last two days: what it did is billed by the same second calculation
    with db.session(config) as conn:
        for day in (14, 15):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
    rows = {row["way"]: row for row in roll_past(config, 2, every_h=6, horizon_h=24)}
    assert rows["no battery"]["cost_eur"] > rows["rolling plan"]["cost_eur"]
    with db.session(config) as conn:
        back, schedule, states = db.read_schedule(conn, kind="backtest")
    imports = schedule["grid_import_kw"]
    energy = (imports * 210 - schedule["grid_export_kw"] * 90).sum() / 4000
    billed = energy + bill(pd.concat([done, imports])) - bill(done)
    problem = stored_problem(config, back, schedule)
    assert replay(problem, stored(problem, schedule, states)).cost_eur == pytest.approx(billed)
    told = peaks_in_words(read_basis(run), db_schedule(config, run))[0].splitlines()
    assert len(told) == 3 and all("January" in line for line in told)


def db_schedule(config, run):
    with db.session(config) as conn:
        return db.read_schedule(conn, run["run_id"])[1]


def stored_problem(config, run, schedule):
    return site_problem(read_basis(run), schedule.index[0], stored_frame(schedule))


def stored(problem, schedule, states):
    return stored_schedule(problem, schedule, states, pd.DataFrame())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("5 Mon-Fri 08:30-20:00", "not full"),
        ("5 Mon-Fri 22:00-06:00", "across midnight"),
        ("5 20min", "no length"),
        ("5 15min 30min", "one of each"),
        ("5 holidays", "not holidays"),
        ("-5", "below 0"),
        ("market", "no price"),
        ("5; ;4", "empty"),
    ],
)
def test_a_peak_that_is_none_is_refused_in_one_line(config_file, capsys, text, wrong):
    path = config_file(tariff={"peaks_eur_per_kw": text})
    assert optimization.main(["--config", str(path)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "[tariff] peaks_eur_per_kw" in line and wrong in line and "such as 5 Mon-Fri" in line


def test_each_month_has_peaks_of_its_own():
    # the last two hours of March and the first of April, in Brussels
    config = replace(Tariff(), peaks_eur_per_kw="5; 3 Apr; 2 Dec")
    peaks = tuple(replace(peak, so_far_kw=4.0) for peak in peaks_of(config, 60))
    march, *april = by_month(peaks[:2], [3, 3, 4])[:1], *by_month(peaks[:2], [3, 3, 4])[1:]
    assert [(p.price_eur_per_kw, p.window.months, p.so_far_kw) for p in march] == [(5, (3,), 4.0)]
    assert [(p.price_eur_per_kw, p.window.months, p.so_far_kw) for p in april] == [
        (5, (4,), 0.0),
        (3, (4,), 0.0),
    ]
    assert by_month(peaks[2:], [3, 4]) == ()


def test_a_limit_that_bends_is_counted_and_costs_nothing(site, capsys, caplog):
    path, config = site
    tight = replace(config, grid=replace(config.grid, import_limit_kw=1500.0))
    with caplog.at_level("WARNING"):
        run = plan(tight, ISSUE)
    assert run["bent_limits"]["no_battery"] > run["bent_limits"]["plan"] == 0
    assert f"no battery {run['bent_limits']['no_battery']}, rule" in caplog.text
    # at most 2.2 MW at less than 160 EUR/MWh for 36 hours; the penalty alone would be millions
    assert 0 < run["cost_no_battery_eur"] < 36 * 2.2 * 160
    value = value_plan(tight, run["run_id"])
    assert value["bent_limits"].keys() == {"no_battery", "rule", "plan", "perfect_foresight"}
    for way, count in value["bent_limits"].items():
        assert abs(value[way]) < 36 * 2.2 * 160
        assert count == 0 or way != "perfect_foresight"
    text = path.read_text()
    assert "[grid]" not in text
    path.write_text(f"{text}\n[grid]\nimport_limit_kw = 1500\n")
    assert optimization.main(["--config", str(path), "value"]) == 0
    assert (
        "limits not kept (each interval counts), of which no cost is shown: no battery "
        in capsys.readouterr().out
    )


def test_a_peak_interval_that_is_no_multiple_of_the_step_is_refused_in_one_line(site, capsys):
    path, _ = site
    path.write_text(f"{path.read_text()}\n[grid]\npeak_interval_min = 20\n")
    assert optimization.main(["--config", str(path), "--issue-time", ISSUE.isoformat()]) == 2
    assert capsys.readouterr().err.endswith(
        "[grid] peak_interval_min = 20: expected a multiple of the plan's step, 15 min\n"
    )


def test_perfect_forecasts_end_with_the_data_and_the_peak_before_counts(site):
    """With a peak price, plans on perfect forecasts earn all there is.

    Last week's peak after the end is none of theirs.
    """
    _, config = site
    priced = replace(config, grid=replace(config.grid, peak_price_eur_per_kw=5.0))
    with db.session(config) as conn:
        for day in range(DAYS - 2, DAYS):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
        peak = peak_so_far(conn, priced, ISSUE)
        past = read_past(conn, priced, 2, 6, 24, 60)
    assert past.basis.peak_so_far_kw == peak > 0
    rows = {row["way"]: row for row in roll_past(priced, 2, 6, 24, 60)}
    assert rows["rolling plan, perfect forecasts"]["captured_share"] == pytest.approx(1, abs=1e-6)


def test_a_backtest_says_what_plans_over_scenarios_bring(site, capsys):
    """The forecasts of this site have no band: scenarios are all alike, and bring nothing.

    With a band of load they differ, keep to what is known, and come the same each time.
    """
    path, config = site
    with db.session(config) as conn:
        for day in range(DAYS - 2, DAYS):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
    rows = {row["way"]: row for row in roll_past(config, 2, 12, 24, 60, scenarios=2)}
    alike, plain = rows["rolling plan, 2 scenarios"], rows["rolling plan"]
    assert alike["cost_eur"] == pytest.approx(plain["cost_eur"], rel=1e-6)
    money = ("more_eur_per_day", "more_low", "more_high")
    assert [alike[name] for name in money] == pytest.approx([0, 0, 0], abs=1e-3)
    assert [plain[name] for name in money] == [None] * 3
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("""UPDATE forecasts SET q05 = value * 0.5, q10 = value * 0.6,
            q25 = value * 0.8, q75 = value * 1.2, q90 = value * 1.4, q95 = value * 1.5
            FROM forecast_runs WHERE forecast_runs.run_id = forecasts.run_id
            AND source_id = 'load-1' AND role = 'backtest'""")
    with db.session(config) as conn:
        past = [read_past(conn, config, 2, hours, 24, 60, None, 3) for hours in (1, 12)]
    assert [one.drawn.common for one in past] == ["first", "all"]
    drawn, outlook = past[0].drawn, past[0].outlooks[0]
    basis, index = past[0].basis, past[0].index
    problem = windows(basis, past[0].frame, past[0].made, past[0].published, [outlook], 24)
    again = windows(
        *(basis, past[0].frame, past[0].made, past[0].published, [outlook], 24, None, drawn)
    )
    one, ways = problem(0, basis.batteries), again(0, basis.batteries).scenarios
    loads = np.array([way.load_kw for way in ways])
    assert (loads.std(axis=0) > 1).all()
    for way in ways:
        assert way.renewables_kw == pytest.approx(one.renewables_kw)
        assert way.import_price_eur_per_mwh == pytest.approx(one.import_price_eur_per_mwh)
    assert again(0, basis.batteries).scenarios[1].load_kw.tolist() == loads[1].tolist()
    argv = ["--config", str(path), "--json", "backtest", "--days", "2", "--every-h", "1"]
    assert optimization.main([*argv, "--step-min", "60", "--scenarios", "3"]) == 0
    told = {row["way"]: row for row in json.loads(capsys.readouterr().out)}
    row = told["rolling plan, 3 scenarios"]
    assert row["more_low"] <= row["more_eur_per_day"] <= row["more_high"]
    saved = (told["rolling plan"]["cost_eur"] - row["cost_eur"]) / (len(index) / 24)
    assert row["more_eur_per_day"] == pytest.approx(saved)


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


def test_a_backtest_rolls_over_stored_forecasts(site, capsys):
    path, config = site
    arguments = [
        "--config",
        str(path),
        "backtest",
        "--days",
        "3",
        "--horizon-h",
        "24",
        "--without-day",
        "2025-01-20",
        "--json",
    ]
    assert optimization.main(arguments) == 1
    assert "forecast_and_save.py --backfill-days 3" in capsys.readouterr().err
    with db.session(config) as conn:
        for day in range(DAYS - 3, DAYS):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
    assert optimization.main(arguments) == 0
    rows = {row["way"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows)[:2] == ["no battery", "rule"]
    assert rows["perfect foresight"]["captured_share"] == 1
    plans = [row for name, row in rows.items() if name.startswith("rolling plan")]
    assert len(plans) == 3
    for row in plans:
        assert rows["perfect foresight"]["cost_eur"] <= row["cost_eur"] + 1e-6
        assert row["captured_share"] > 0.5
    with db.session(config) as conn:
        run, schedule, states = db.read_schedule(conn, kind="backtest")
    assert run["cost_eur"] == pytest.approx(rows["rolling plan"]["cost_eur"])
    assert len(schedule) == len(states) == 3 * 96


def test_a_live_plan_leans_as_the_plans_of_a_backtest(site, monkeypatch):
    # A battery of 6 MWh buys at night what three of its hours give: all hours cost the same, and
    # later more is known.
    _, config = site
    tariff = replace(
        config.tariff, import_eur_per_mwh="325 06:00-22:00; 100", export_eur_per_mwh="80"
    )
    [battery] = config.batteries
    config = replace(
        config,
        tariff=tariff,
        batteries=(replace(battery, capacity_kwh=6000.0, wear_eur_per_mwh=0.0),),
        optimization=replace(config.optimization, horizon_h=24),
    )
    assert config.follow
    with db.session(config) as conn:
        for day in (14, 15):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
    plans, solving = [], Rolling.solve

    def recorded(rolling, problem, step=None):
        plans.append((problem, solving(rolling, problem, step)))
        return plans[-1][1]

    monkeypatch.setattr(Rolling, "solve", recorded)
    roll_past(config, 2, every_h=24, horizon_h=24)
    problem, found = plans[0]
    run = plan(config, ISSUE)
    assert (run["status"], run["bent_limits"]["plan"]) == ("optimal", 0)
    with db.session(config) as conn:
        states, exact = db.read_schedule(conn, run["run_id"])[2], plan_problem(conn, config, ISSUE)
    np.testing.assert_allclose(
        leaning(exact[2]).import_price_eur_per_mwh, problem.import_price_eur_per_mwh
    )
    for name in ("charge_kw", "discharge_kw"):
        np.testing.assert_allclose(
            by_battery(states, exact[2], name), getattr(found, name), atol=1e-3
        )
    # its money is that of the contract, and no plan costs less
    cheapest = solve(exact[2])
    assert run["objective_eur"] == pytest.approx(cheapest.objective_eur, abs=1e-6)
    assert np.abs(cheapest.found.charge_kw - found.charge_kw).max() > 1, "there was nothing to lean"
    # batteries that do what is planned have a plan that does not lean
    no = replace(config, operation=replace(config.operation, follow="no"))
    run = plan(no, ISSUE)
    with db.session(config) as conn:
        states = db.read_schedule(conn, run["run_id"])[2]
    np.testing.assert_allclose(
        by_battery(states, exact[2], "charge_kw"), cheapest.found.charge_kw, atol=1e-6
    )


def test_a_backtest_can_plan_whole_local_days_on_the_day_before(site, capsys):
    path, config = site
    arguments = [
        "--config",
        str(path),
        "backtest",
        "--days",
        "4",
        "--horizon-h",
        "24",
        "--issue-local",
        "11:00",
        "--json",
    ]
    with db.session(config) as conn:
        for day in range(DAYS - 4, DAYS):
            store_forecasts(
                conn, START + pd.Timedelta(days=day, hours=9), "backtest"
            )  # 10:00 in Brussels
    assert optimization.main(arguments) == 0
    rows = {row["way"]: row for row in json.loads(capsys.readouterr().out)}
    with db.session(config) as conn:
        run, schedule, _ = db.read_schedule(conn, kind="backtest")
    # the data ends at midnight UTC, the fourth day back has no forecast from the day before: three
    # whole days and an hour
    assert run["issue_time"] == START + pd.Timedelta(days=DAYS - 4, hours=23)
    assert len(schedule) == 3 * 96 + 4
    perfect = rows["rolling plan, perfect forecasts"]["cost_eur"]
    assert rows["perfect foresight"]["cost_eur"] <= perfect + 1e-6
    assert (
        perfect < rows["rolling plan"]["cost_eur"]
    )  # forecasts, not published prices, are what was planned with


def test_a_backtest_takes_prices_as_known_from_the_time_stored_with_them(site):
    """In steps of its source, in shorter and in longer ones.

    The clock of the configuration counts no more.
    """
    _, config = site
    other = replace(config, forecast=replace(config.forecast, price_publication="06:00"))
    with db.session(config) as conn:
        for day in range(DAYS - 3, DAYS):
            store_forecasts(conn, START + pd.Timedelta(days=day), "backtest")
        for step in (15, 60, 120):
            past = read_past(conn, other, 2, 6, 24, step)
            last_part = past.index + pd.Timedelta(minutes=max(step - 60, 0))  # prices are hourly
            known = price_available_at(last_part) - past.index[0]
            np.testing.assert_array_equal(
                past.published, np.ceil(known / pd.Timedelta(minutes=step))
            )
        with conn.cursor() as cursor:
            cursor.execute("UPDATE market_prices SET available_at = time + interval '5 hours'")
        past = read_past(conn, config, 2, 6, 24, 60)
        assert list(past.published) == list(np.arange(len(past.index)) + 5)


def test_a_plan_of_the_day_before_knows_no_later_price_or_forecast(site):
    _, config = site
    index = pd.date_range(START, periods=48, freq="60min")
    made = ((made_at(index, "11:00", "Europe/Brussels") - START) / pd.Timedelta(hours=1)).to_numpy()
    # 11:00 in Brussels is 10:00 UTC; the hour from 23:00 UTC on is the first of the next local day
    assert made[[0, 22, 23, 46, 47]].tolist() == [-14, -14, 10, 10, 34]
    values = np.arange(48.0)
    frame = pd.DataFrame(
        {"load_kw": values, "renewables_kw": 0 * values, "price_eur_per_mwh": 500 + values}, index
    )
    published = np.where(
        index < START + pd.Timedelta(hours=23), -12, 12
    )  # at 13:00 of the day before
    outlooks = [Outlook(first, *np.full((3, 48), 1.0 + first)) for first in (0, 10, 11)]
    basis = basis_of(config, 60)
    problem = windows(basis, frame, made, published, outlooks, 24)(23, ())
    assert (problem.import_price_eur_per_mwh - config.grid.import_fee_eur_per_mwh).tolist() == [
        11.0
    ] * 24
    assert problem.load_kw.tolist() == [11.0] * 24
    later = windows(basis, frame, np.arange(48), published, outlooks, 24)(23, ())
    assert (later.import_price_eur_per_mwh - config.grid.import_fee_eur_per_mwh).tolist() == (
        500 + values[23:47]
    ).tolist()
    assert later.load_kw.tolist() == [12.0] * 24


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


def planned_again(config, hours, after_h=1, at_soc=None):
    """Plan at `ISSUE`, then `after_h` later from where the first plan left the battery, with the
    same forecasts but for what `hours` changes; both plans' powers where they meet, and the run.
    """
    later = ISSUE + pd.Timedelta(hours=after_h)
    first = plan(config, ISSUE)
    with db.session(config) as conn:
        for name, (_, step) in KINDS.items():
            frame = db.read_forecasts(conn, name, ISSUE)[1]
            frame = frame[frame.index >= later]
            end = pd.date_range(
                frame.index[-1], periods=after_h * 60 // step + 1, freq=f"{step}min"
            )
            frame = pd.concat([frame, frame.iloc[-1:].reindex(end[1:], method="ffill")])
            frame["value"] += hours.get(name, 0.0)
            run = db.ForecastRun(name, "daily_naive", None, later, later, "champion")
            db.save_forecasts(conn, [(run, frame.astype({"published": bool}))])
        _, _, states = db.read_schedule(conn, first["run_id"])
        last = states.loc[states.index < later].iloc[-1]
        soc = last["soc"] if at_soc is None else at_soc
        moved = states_of([later - pd.Timedelta(minutes=15)], charge_kw=0.0, discharge_kw=0.0)
        db.save_battery_states(conn, moved.assign(soc=soc))
    second = plan(config, later)
    with db.session(config) as conn:
        after = db.read_schedule(conn, second["run_id"])[2]
    meet = states.index.intersection(after.index)
    powers = [
        part.loc[meet, "charge_kw"] - part.loc[meet, "discharge_kw"] for part in (states, after)
    ]
    return second, *powers


def test_a_plan_with_the_same_information_stays_as_it_was(site):
    _, config = site
    _, before, after = planned_again(config, {})
    assert len(before) == 140
    kept = (before - after).abs() < 0.5
    assert kept.iloc[: 4 * 24].all()  # the last hours see one hour further


def test_each_change_of_a_plan_has_its_cause(site):
    _, config = site
    run, before, after = planned_again(config, {"price-1": 25.0}, at_soc=0.2)
    changed = (before - after).abs() > 0.5
    assert changed.any()
    told = [text for text in run["changes"] if "kW instead of" in text]
    assert len(told) == changed.sum()
    # the price of each interval is 25 EUR/MWh higher
    assert all(re.search(r": price [\d.,-]+ instead of [\d.,-]+ EUR/MWh", text) for text in told)
    [text] = changes_in_words(run["changes"])
    assert text.startswith("otherwise than in the plan before:")


def test_a_battery_that_is_not_where_it_was_planned_is_told_as_the_cause(site):
    _, config = site
    run, before, after = planned_again(config, {}, at_soc=0.3)
    assert ((before - after).abs() > 0.5).any()
    assert any("state of charge 30.0% instead of" in text for text in run["changes"])
