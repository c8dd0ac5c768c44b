"""Rolling backtests over a real database, and what their plans may know."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_planning import (
    DAYS,
    ISSUE,
    START,
    store_forecasts,
)

import db
import optimization
from vpp.planning.outlooks import Outlook, made_at, windows
from vpp.planning.past import read_past
from vpp.planning.plans import plan, plan_problem
from vpp.planning.rolling_past import roll_past
from vpp.planning.runs import by_battery
from vpp.planning.site_state import peak_so_far
from vpp.schedule.basis import basis_of
from vpp.schedule.following import leaning
from vpp.schedule.rolling import Rolling
from vpp.schedule.solver import solve
from vpp.site.times import price_available_at


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
