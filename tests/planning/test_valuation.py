"""A stored plan is valued with what it was made with, whatever config.ini says later."""

import dataclasses
import logging
import math

import pandas as pd
import pytest
from small_report import ISSUE, fill

import db
import optimization
import report
from sources import Source
from vpp.planning import plans, valuation
from vpp.report.content import read_content
from vpp.runtime.config import load_config
from vpp.schedule.basis import BasisError, basis_json, basis_of, read_basis
from vpp.schedule.devices import ScheduledBattery, SocTarget

WAYS = ("no_battery", "rule", "plan", "perfect_foresight")
PRICED = {"import_fee_eur_per_mwh": 25, "export_fee_eur_per_mwh": 4, "peak_price_eur_per_kw": 2}


@pytest.fixture
def made(config_file):
    """A configuration, the plan that was made with it, and its value."""
    path = config_file(
        grid=PRICED | {"import_limit_kw": 3000, "export_limit_kw": "inf"},
        optimization={"co2_kg_per_mwh": 300, "co2_price_eur_per_t": 60},
        **{"battery:first": {"wear_eur_per_mwh": 5}, "battery:second": {"capacity_kwh": 500}},
    )
    config = load_config(path, {})
    fill(config, plan=False)
    run = plans.plan(config, ISSUE)
    return config, run, valuation.value_plan(config, run["run_id"])


def changed(config, section, **values):
    """The configuration with other values in a section; "batteries" are all of them."""
    if section == "batteries":
        batteries = tuple(dataclasses.replace(b, **values) for b in config.batteries)
        return dataclasses.replace(config, batteries=batteries)
    replaced = dataclasses.replace(getattr(config, section), **values)
    return dataclasses.replace(config, **{section: replaced})


CHANGES = [
    ("grid", {"import_fee_eur_per_mwh": 110.0}),
    ("grid", {"export_fee_eur_per_mwh": 30.0}),
    ("grid", {"import_limit_kw": 900.0}),
    ("grid", {"export_limit_kw": 100.0}),
    ("grid", {"peak_price_eur_per_kw": 40.0}),
    ("grid", {"peak_price_eur_per_kw": 0.0}),
    ("grid", {"peak_interval_min": 120}),
    ("optimization", {"co2_price_eur_per_t": 0.0}),
    ("optimization", {"co2_kg_per_mwh": 900.0}),
    ("batteries", {"capacity_kwh": 4000.0}),
    ("batteries", {"charge_kw": 100.0}),
    ("batteries", {"eta_discharge": 0.6}),
    ("batteries", {"soc_initial": 0.9}),
    ("batteries", {"soc_min": 0.4}),
    ("batteries", {"self_discharge_per_h": 0.01}),
    ("batteries", {"wear_eur_per_mwh": 80.0}),
    ("batteries", {"cycles_per_day_max": 0.1}),
]


@pytest.mark.parametrize(
    ("section", "values"), CHANGES, ids=["=".join(map(str, *c.items())) for _, c in CHANGES]
)
def test_each_setting_changes_a_new_plan_but_not_the_value_of_an_old_one(made, section, values):
    config, run, value = made
    later = changed(config, section, **values)
    assert valuation.value_plan(later, run["run_id"]) == value
    money = read_content(later, run["run_id"]).money
    assert money.total_eur == {name: value[name] for name in WAYS}
    assert money.captured_share == value["captured_share"]
    # the setting does count: a plan that is made with it is worth something else
    new = valuation.value_plan(later, plans.plan(later, ISSUE)["run_id"])
    assert [new[name] for name in WAYS] != [value[name] for name in WAYS]


def test_a_new_horizon_battery_source_or_time_zone_changes_no_value(made):
    config, run, value = made
    shorter = changed(config, "optimization", horizon_h=12)
    assert valuation.value_plan(shorter, run["run_id"]) == value
    bare = dataclasses.replace(config, batteries=())
    assert valuation.value_plan(bare, run["run_id"]) == value
    elsewhere = changed(config, "site", time_zone="Asia/Tokyo", price_area="FR")
    assert valuation.value_plan(elsewhere, run["run_id"]) == value
    new = Source("load-2", "load", "New", "site-1", 100.0, 15, 49.6, 6.1, "UTC", {})
    state = {"time": [ISSUE], "battery_id": "first", "kind": "measured", "soc": 0.1}
    with db.session(config) as conn:
        db.upsert_sources(conn, [new])
        db.save_battery_states(conn, pd.DataFrame(state))  # it arrives after the plan was made
    assert valuation.value_plan(config, run["run_id"]) == value


def test_what_is_printed_and_shown_is_one_number(made, capsys):
    config, _, value = made
    assert optimization.main(["--config", str(config.path), "value", "--json"]) == 0
    printed = pd.read_json(capsys.readouterr().out, orient="records").iloc[0]
    assert [printed[name] for name in WAYS] == pytest.approx([value[name] for name in WAYS])
    content = read_content(config)
    assert content.money.total_eur == {name: value[name] for name in WAYS}
    sums = content.money.by_interval.sum().to_dict()
    assert sums == pytest.approx(content.money.total_eur)
    # the stored rows say the same
    with db.session(config) as conn:
        perfect = db.read_schedule(conn, kind="perfect")[0]
        actual = db.read_schedule(conn, kind="actual")[0]
    assert perfect["cost_eur"] == value["perfect_foresight"]
    assert actual["cost_eur"] == value["plan"]
    assert actual["cost_rule_eur"] == value["rule"]
    assert actual["cost_no_battery_eur"] == value["no_battery"]


def test_prices_are_stored_without_fees_and_with_them(made):
    config, *_ = made
    with db.session(config) as conn:
        market = db.read_series(conn, db.read_sources(conn, "market")[0])
        for kind in ("plan", "perfect", "actual"):
            stored, rows, _ = db.read_schedule(conn, kind=kind)
            bare = rows["market_price_eur_per_mwh"]
            basis = read_basis(stored)
            both = basis.local_tariff.prices(bare.to_numpy(), rows.index[0], basis.step_min)
            assert rows["import_price_eur_per_mwh"].tolist() == both[0].tolist()
            assert rows["export_price_eur_per_mwh"].tolist() == both[1].tolist()
            if kind != "plan":
                assert bare.tolist() == market.reindex(rows.index).tolist()


def as_an_older_version_left_it(config, run):
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM schedule_runs WHERE kind <> 'plan'")
        cursor.execute("UPDATE schedule_runs SET basis = NULL")
        cursor.execute("UPDATE schedules SET market_price_eur_per_mwh = NULL")


def test_a_plan_of_an_older_version_is_not_valued_without_one_of_its_batteries(made):
    config, run, value = made
    as_an_older_version_left_it(config, run)
    first = [battery for battery in config.batteries if battery.battery_id == "first"]
    bare = dataclasses.replace(config, batteries=tuple(first))
    with pytest.raises(
        valuation.ValuationError, match=r"battery second, .* add \[battery:second\]"
    ):
        valuation.value_plan(bare, run["run_id"])
    with db.session(config) as conn:
        assert db.read_schedule(conn, kind="perfect") is None
    third = dataclasses.replace(first[0], battery_id="third")  # one more does not matter
    more = dataclasses.replace(config, batteries=(*config.batteries, third))
    again = valuation.value_plan(more, run["run_id"])
    assert [again[name] for name in WAYS] == pytest.approx([value[name] for name in WAYS])


def test_a_plan_of_an_older_version_is_valued_with_todays_configuration(made, caplog):
    config, run, value = made
    as_an_older_version_left_it(config, run)
    content = read_content(config, run["run_id"])
    assert content.money.total_eur["plan"] == run["cost_eur"]
    assert content.money.by_interval is None
    told = "As stored when it was made, at forecast values: an older version"
    assert told in report.render(content)
    with caplog.at_level(logging.WARNING):
        again = valuation.value_plan(config, run["run_id"])
    (told,) = [r.getMessage() for r in caplog.records if "older version" in r.getMessage()]
    assert told.startswith(f"run {run['run_id']}: An older version made the plan")
    assert "\n" not in told
    assert [again[name] for name in WAYS] == pytest.approx([value[name] for name in WAYS])
    later = changed(config, "grid", import_fee_eur_per_mwh=110.0)
    money = read_content(later, run["run_id"]).money
    assert money.total_eur == {name: again[name] for name in WAYS}  # as it was valued
    assert valuation.OLDER in money.note
    assert valuation.value_plan(later, run["run_id"])["plan"] > again["plan"] + 100


def test_planning_again_parts_a_plan_from_the_value_of_the_one_before(made):
    config, run, value = made
    state = {"time": [ISSUE], "battery_id": "first", "kind": "measured", "soc": 0.9}
    with db.session(config) as conn:
        db.save_battery_states(conn, pd.DataFrame(state))
    again = plans.plan(config, ISSUE)
    assert again["run_id"] == run["run_id"]
    money = read_content(config, run["run_id"]).money
    assert money.captured_share is None and money.total_eur["plan"] == again["cost_eur"]
    assert valuation.value_plan(config, run["run_id"])["plan"] != value["plan"]


def test_a_run_that_is_no_plan_is_not_valued(made, capsys):
    config, *_ = made
    with db.session(config) as conn:
        run_id = db.read_schedule(conn, kind="actual")[0]["run_id"]
    assert optimization.main(["--config", str(config.path), "value", "--run-id", run_id]) == 1
    error = capsys.readouterr().err
    assert f"run {run_id} is of kind actual; expected one of kind plan" in error
    assert error.count("\n") == 1


def test_a_source_that_is_gone_is_named(made):
    config, run, _ = made
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM sources WHERE source_id = 'wind-1'")
    with pytest.raises(db.DataGapError, match="source wind-1, which the plan was made for, is"):
        valuation.value_plan(config, run["run_id"])


def test_a_basis_comes_back_from_json_as_it_was(made):
    config, run, _ = made
    battery = ScheduledBattery("b", 100, 10, 10, soc_targets=(SocTarget(3, 0.5),), soc_final=0.1)
    basis = dataclasses.replace(basis_of(config, 15, [battery]), source_ids=("a", "b"))
    assert basis.grid.export_limit_kw == math.inf
    with db.session(config) as conn, conn.cursor() as cursor:
        stored = db.read_schedule(conn, run["run_id"])[0]
        assert read_basis(stored) == read_basis(run)
        assert read_basis({"basis": basis_json(basis)}) == basis
        cursor.execute("UPDATE schedule_runs SET basis = jsonb_set(basis, '{version}', '99')")
    with pytest.raises(BasisError, match=rf"run {run['run_id']}: its basis has version 99, this"):
        valuation.value_plan(config, run["run_id"])
    assert read_basis({"basis": None}) is None
