"""Sites with connections of their own from a real database: planned alone, together, and apart from
each other's faults; fleets of batteries; what is pruned."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from small_planning import ISSUE, a_source, series, store_forecasts, store_site

import db
import optimization
from vpp.planning.alert_rules import plan_late, soc_off_plan
from vpp.planning.portfolio import SiteFaultError, plan_sites
from vpp.planning.site_configs import read_configs
from vpp.planning.valuation import value_plan
from vpp.report.sites import write_site_report
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import BatteryParameters
from vpp.serve.answers import NotFoundError
from vpp.serve.plan import read_plan
from vpp.serve.sites import read_of_site, read_sites
from vpp.site.fleet_files import FleetBattery, GridSite
from vpp.site.selection import chosen
from vpp.storage import freshness, measurements, results
from vpp.storage.results import read_schedule
from vpp.storage.rows import select_rows
from vpp.storage.schema import QUANTILES
from vpp.storage.sites import read_fleet_states, register_fleet, register_sites
from vpp.synthetic.fleet import make_batteries, make_fleet, make_sites

LOADS = {"north-1": 900.0, "north-2": 400.0}  # mean of the load behind each connection [kW]
STORE = {"battery:store": {"capacity_kwh": 1000, "charge_kw": 400, "discharge_kw": 400}}


def add_sites(conn, limits=(2000.0, 800.0)):
    """Two sites with a load and a fleet beside the site of the configuration."""
    runs = []
    for seed, (name, mean) in enumerate(LOADS.items()):
        source = dataclasses.replace(a_source(f"load-{name}", "load"), site_id=name)
        db.upsert_sources(conn, [source])
        values = series("load", seed).loc[: ISSUE + pd.Timedelta(hours=47)] * mean / 1500
        steps = pd.date_range(ISSUE, periods=48, freq="60min")
        frame = pd.DataFrame(dict.fromkeys(("value", *QUANTILES), values.reindex(steps)))
        run = db.ForecastRun(source.source_id, "daily_naive", None, ISSUE, ISSUE, "champion")
        runs.append((run, frame))
    db.save_forecasts(conn, runs)
    sites = [GridSite("site-1", import_limit_kw=9000.0)]
    sites += [
        GridSite(name, import_limit_kw=limit) for name, limit in zip(LOADS, limits, strict=True)
    ]
    register_sites(conn, sites)
    fleet = [
        FleetBattery(name, BatteryParameters(f"{name}-b{i}", 100.0 + 10 * i, 50.0, 50.0))
        for name in LOADS
        for i in range(3)
    ]
    register_fleet(conn, fleet)


@pytest.fixture
def sites(config_file):
    """Configuration file of a database with three sites, and forecasts at `ISSUE`."""
    path = config_file(**STORE)
    with db.session(load_config(path)) as conn:
        store_site(conn)
        store_forecasts(conn, ISSUE, "champion")
        add_sites(conn)
    return path


def plans_of(conn, runs):
    return {run["site_id"]: read_schedule(conn, run["run_id"]) for run in runs}


def test_each_site_is_planned_behind_its_own_connection(sites):
    config = load_config(sites)
    planned = plan_sites(config, ISSUE)
    assert [run["site_id"] for run in planned.runs] == ["north-1", "north-2", "site-1"]
    assert planned.total is None and not planned.faults
    with db.session(config) as conn:
        stored = plans_of(conn, planned.runs)
        for (name, mean), limit in zip(LOADS.items(), (2000.0, 800.0), strict=True):
            run, schedule, states = stored[name]
            assert run["basis"]["grid"]["import_limit_kw"] == limit
            assert run["basis"]["source_ids"] == [f"load-{name}", "price-1"]
            assert sorted(set(states["battery_id"])) == [f"{name}-b{i}" for i in range(3)]
            assert schedule["grid_import_kw"].max() <= limit + 1e-6
            assert schedule["renewables_kw"].max() == 0.0
            assert schedule["load_kw"].mean() == pytest.approx(mean, rel=0.15)
            # every site's own balance: load is what comes in and what its own batteries give
            powers = states.groupby(level=0)[["charge_kw", "discharge_kw"]].sum()
            net = schedule["grid_import_kw"] - schedule["grid_export_kw"]
            wanted = schedule["load_kw"] + powers["charge_kw"] - powers["discharge_kw"]
            assert np.abs(net - wanted).max() < 1e-6
        home = stored["site-1"]
        assert set(home[2]["battery_id"]) == {"store"}
        assert home[0]["basis"]["source_ids"] == ["load-1", "solar-1", "wind-1", "price-1"]
        batteries = select_rows(conn, "SELECT battery_id, site_id FROM batteries")
        assert {row["battery_id"]: row["site_id"] for row in batteries}["store"] == "site-1"


def test_a_fault_of_one_site_stops_no_other_and_is_named(sites, capsys):
    config = load_config(sites)
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute("""DELETE FROM forecasts USING forecast_runs AS run
            WHERE forecasts.run_id = run.run_id AND source_id = 'load-north-1'""")
        cur.execute("DELETE FROM forecast_runs WHERE source_id = 'load-north-1'")
        sources = [a_source("load-lost", "load")]
        db.upsert_sources(conn, [dataclasses.replace(sources[0], site_id="north-1")])
        cur.execute("""INSERT INTO load SELECT time, 'load-lost', power_kw, sent_at FROM load
            WHERE source_id = 'load-1'""")
    planned = plan_sites(config, ISSUE)
    assert [run["site_id"] for run in planned.runs] == ["north-2", "site-1"]
    assert "load-lost has no forecast" in planned.faults["north-1"]
    with pytest.raises(SiteFaultError, match="no plan of north-1: load-lost has no forecast"):
        SiteFaultError.raise_of(planned.faults)
    word = ["--config", str(sites), "--issue-time", f"{ISSUE:%Y-%m-%dT%H:%MZ}", "--site", "north-2"]
    optimization.main([*word, "--json"])
    assert json.loads(capsys.readouterr().out)["run"]["site_id"] == "north-2"


def test_common_limits_hold_and_the_sum_is_exact(sites, config_file):
    free = plan_sites(load_config(sites), ISSUE)
    with db.session(load_config(sites)) as conn:
        stored = plans_of(conn, free.runs)
    nets = [one[1]["grid_import_kw"] - one[1]["grid_export_kw"] for one in stored.values()]
    limit = float(sum(nets).max()) - 250.0
    path = config_file(**STORE, portfolio={"import_limit_kw": limit})
    config = load_config(path)
    planned = plan_sites(config, ISSUE)
    total = planned.total
    assert total["kind"] == total["site_id"] == "portfolio" and total["certificate"] == "portfolio"
    assert 0 <= total["gap"] <= 1e-3
    with db.session(config) as conn:
        stored = plans_of(conn, planned.runs)
        together = read_schedule(conn, total["run_id"])[1]
    nets = [one[1]["grid_import_kw"] - one[1]["grid_export_kw"] for one in stored.values()]
    net = together["grid_import_kw"] - together["grid_export_kw"]
    assert np.abs(sum(nets) - net).max() < 1e-6
    assert net.max() <= limit + 1e-6
    # common limits only ever cost, and the bound lies below
    before, after = (sum(run["objective_eur"] for run in runs.runs) for runs in (free, planned))
    assert before - 1e-6 <= after
    assert total["made_from"]["bound_eur"] <= total["objective_eur"] + 1e-9
    for name, schedule in stored.items():
        limit_kw = schedule[0]["basis"]["grid"]["import_limit_kw"]
        assert schedule[1]["grid_import_kw"].max() <= limit_kw + 1e-6, name


def test_unit_plans_are_kept_for_the_newest_run_only(sites):
    config = load_config(sites)
    first = {run["site_id"]: run["run_id"] for run in plan_sites(config, ISSUE).runs}
    later = ISSUE + pd.Timedelta(hours=1)
    with db.session(config) as conn:
        store_forecasts(conn, later, "champion")
        for name in LOADS:
            run = db.ForecastRun(f"load-{name}", "naive", None, later, later, "champion")
            steps = pd.date_range(later, periods=48, freq="60min")
            db.save_forecasts(
                conn, [(run, pd.DataFrame(dict.fromkeys(("value", *QUANTILES), 500.0), steps))]
            )
    second = {run["site_id"]: run["run_id"] for run in plan_sites(config, later).runs}
    with db.session(config) as conn:
        for name in LOADS:
            assert len(read_schedule(conn, first[name])[2]) == 0
            old, new = (read_fleet_states(conn, runs[name]) for runs in (first, second))
            assert len(old) == len(new) == 144 and (old["batteries"] == 3).all()
            states = read_schedule(conn, second[name])[2]
            sums = states.groupby(level=0)["energy_kwh"].sum()
            assert np.abs(sums - new["energy_kwh"]).max() < 1e-6
        # batteries of the configuration keep all their plans
        assert len(read_schedule(conn, first["site-1"])[2]) == 144
    assert optimization.main(["--config", str(sites), "value", "--run-id", first["north-1"]]) == 1


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["a", "ab", "b"]),
        ("all", ["a", "ab", "b"]),
        ("a*", ["a", "ab"]),
        ("b, a", ["b", "a"]),
        ("c", "c: no such site; expected one of"),
        (",", "expected one of"),
    ],
)
def test_a_person_asks_for_one_site_a_group_or_all(wanted, names):
    if isinstance(names, list):
        assert chosen(["a", "ab", "b"], wanted) == names
        return
    with pytest.raises(ConfigError, match=names):
        chosen(["a", "ab", "b"], wanted)


def test_alerts_look_at_the_plan_of_each_site(sites):
    config = load_config(sites)
    config = dataclasses.replace(
        config, alerts=dataclasses.replace(config.alerts, plan_late_min=60, soc_off_plan=0.1)
    )
    later = ISSUE + pd.Timedelta(minutes=90)
    plan_sites(config, ISSUE)
    with db.session(config) as conn:
        late = plan_late(conn, later, config)
        assert [one.subject for one in late] == ["north-1", "north-2", "site-1"]
        assert late[1].message.startswith("north-2: the newest plan was issued")
        planned = select_rows(
            conn,
            "SELECT soc FROM battery_states WHERE battery_id = 'north-2-b1' AND time = %s",
            (ISSUE,),
        )
        away = 0.0 if planned[0]["soc"] > 0.5 else 1.0
        state = {"battery_id": "north-2-b1", "kind": "measured", "soc": away, "time": ISSUE}
        db.save_battery_states(conn, pd.DataFrame([state]))
        conn.commit()
        off = soc_off_plan(conn, later, config)
        assert [one.subject for one in off] == ["north-2-b1"]
        assert off[0].message.startswith("north-2: north-2-b1: SOC is")


def test_a_site_reads_nothing_of_the_sources_of_others(sites, monkeypatch):
    """So the time of all sites grows with their number, not with its square."""
    config, read = load_config(sites), []

    def counting(reader):
        def counted(*arguments, **more):
            found = reader(*arguments, **more)
            read.append(len(found))
            return found

        return counted

    for module in (measurements, freshness, results):
        monkeypatch.setattr(module, "select_rows", counting(module.select_rows))

    def rows_of(wanted):
        read.clear()
        runs = plan_sites(config, ISSUE, wanted=wanted).runs
        planned = sum(read)
        read.clear()
        value_plan(config, next(run["run_id"] for run in runs if run["site_id"] == "site-1"))
        return planned, sum(read)

    both, alone = rows_of("north-*,site-1"), rows_of("site-1")
    with db.session(config) as conn, conn.cursor() as cur:
        more = [dataclasses.replace(a_source(f"far-{n}", "load"), site_id="far") for n in range(9)]
        db.upsert_sources(conn, more)
        cur.execute("""INSERT INTO load SELECT time, source_id, power_kw, sent_at FROM (
            SELECT time, power_kw, sent_at FROM load WHERE source_id = 'load-1') AS one,
            (SELECT source_id FROM sources WHERE site_id = 'far') AS others""")
        conn.commit()
    then_both, then_alone = rows_of("north-*,site-1"), rows_of("site-1")
    assert then_both[0] - then_alone[0] == both[0] - alone[0] > 0
    assert then_alone[1] == alone[1] > 0


def test_without_sites_one_connection_takes_all(config_file):
    config = load_config(config_file(**STORE))
    with db.session(config) as conn:
        assert read_configs(conn, config) == {"site-1": config}
        with pytest.raises(ConfigError, match="--site site-2: no such site"):
            read_configs(conn, config, "site-2")


def test_report_and_api_look_at_one_site_a_group_or_all(sites, tmp_path):
    config = load_config(sites)
    plan_sites(config, ISSUE)
    page = write_site_report(config, "all", tmp_path / "all.html").read_text()
    assert all(f">{name}<" in page for name in ("north-1", "north-2", "site-1", "All 3"))
    group = write_site_report(config, "north-*", tmp_path / "north.html").read_text()
    assert ">All 2<" in group and ">site-1<" not in group
    own = write_site_report(config, "north-2", tmp_path / "one.html").read_text()
    assert "load-north-2" in own and "load-north-1" not in own and "solar-1" not in own
    with db.session(config) as conn:
        told = read_sites(conn, config, "north-*")["sites"]
        assert [(one["site_id"], one["import_limit_kw"]) for one in told] == [
            ("north-1", 2000.0),
            ("north-2", 800.0),
        ]
        plan = read_of_site(conn, config, read_plan, "north-1", None)
        assert plan["run"]["run_id"] == told[0]["plan"]["run_id"]
        assert len(plan["batteries"]) == 3
        with pytest.raises(NotFoundError, match="site 'south': there is no such site"):
            read_of_site(conn, config, read_plan, "south", None)


def test_generated_sites_have_connections_of_their_own(config_file):
    config = load_config(config_file(generation={"sites": 50, "batteries": 2}))
    made = make_sites(config)
    assert [site.site_id for site in made] == list(
        dict.fromkeys(source.site_id for source in make_fleet(config))
    )
    first, *others = made
    limits = (config.grid.import_limit_kw, config.grid.export_limit_kw)
    assert (first.import_limit_kw, first.export_limit_kw) == limits
    assert len({(site.import_limit_kw, site.export_limit_kw) for site in others}) > 40
    # one load of 3,000 kW at each site, which its connection can carry
    assert all(3000 <= site.import_limit_kw <= 1.4 * 3000 + 10 for site in others)
    fleet = make_batteries(config)
    assert len({one.battery.battery_id for one in fleet}) == 100
    assert make_sites(config) == made and make_batteries(config) == fleet
