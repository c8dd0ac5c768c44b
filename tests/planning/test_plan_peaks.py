"""Peaks of plans: those so far, those of a tariff, and limits that bend."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from small_planning import (
    ISSUE,
    START,
    states_of,
    store_forecasts,
)

import db
import optimization
from vpp.planning.plans import plan
from vpp.planning.rolling_past import roll_past
from vpp.planning.runs import stored_frame, stored_schedule
from vpp.planning.site_series import (
    actual_frame,
    site_sources,
)
from vpp.planning.site_state import peak_so_far
from vpp.planning.told import peaks_in_words
from vpp.planning.valuation import value_plan
from vpp.runtime.plant_settings import Tariff
from vpp.schedule.basis import peaks_of, read_basis
from vpp.schedule.peaks import by_month
from vpp.schedule.replay import replay
from vpp.schedule.site import site_problem


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


def stored(problem, schedule, states):
    return stored_schedule(problem, schedule, states, pd.DataFrame())


def db_schedule(config, run):
    with db.session(config) as conn:
        return db.read_schedule(conn, run["run_id"])[1]


def stored_problem(config, run, schedule):
    return site_problem(read_basis(run), schedule.index[0], stored_frame(schedule))


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
