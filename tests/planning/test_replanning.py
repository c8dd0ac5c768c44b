"""Plans that are made again: unchanged, or with the cause of each change."""

import re

import pandas as pd
from small_planning import (
    ISSUE,
    KINDS,
    states_of,
)

import db
from vpp.planning.plans import plan
from vpp.planning.previous import changes_in_words


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
