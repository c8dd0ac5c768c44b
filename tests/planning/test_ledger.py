"""The ledger against a second calculation from the tables, its versions and its sums."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from small_report import ISSUE, fill, store

import db
from vpp.planning import plans, valuation
from vpp.planning.ledger import month_peaks_eur, read_ledger, summed, update_ledger
from vpp.planning.ledger_positions import read_position_file, record_positions
from vpp.report.statement import write_statement
from vpp.runtime.config import load_config
from vpp.runtime.files import DataFileError
from vpp.schedule.peaks import Peak, Window
from vpp.serve.history import read_history
from vpp.site.sources import Source
from vpp.storage import ledger as stored
from vpp.storage.jobs import record_clock
from vpp.storage.measurements import read_series, read_sources, upsert_sources
from vpp.storage.results import read_schedule
from vpp.storage.rows import select_frame

FEE, WEAR = 25.0, 5.0
ZONE = "Europe/Brussels"
HOURLY = Peak(0.0, 60)
HOUR = pd.Timedelta(hours=1)


@pytest.fixture
def config(config_file):
    """Two days of a site with two batteries, and two plans: the second 12 h after the first."""
    path = config_file(
        grid={"import_fee_eur_per_mwh": FEE, "import_limit_kw": 9000, "export_limit_kw": 9000},
        **{
            "battery:first": {"wear_eur_per_mwh": WEAR},
            "battery:second": {"capacity_kwh": 500, "self_discharge_per_h": 0.001},
        },
    )
    config = load_config(path, {})
    fill(config, plan=False)
    plans.plan(config, ISSUE - pd.Timedelta(days=1))
    plans.plan(config, ISSUE)
    return config


def execute(conn, statement, *values):
    with conn, conn.cursor() as cursor:
        cursor.execute(statement, values)


def actual_of(conn):
    """Load, renewables and price of each interval, by their kinds."""
    found = {s.kind: read_series(conn, s, None, None) for s in read_sources(conn)}
    return found["load"], found["solar"] + found["wind"], found["market"]


def recomputed_eur(conn, rows):
    """Cost of each interval from measurements, prices and what the batteries did; by hand."""
    load, renewables, price = (part.reindex(rows.index) for part in actual_of(conn))
    net = load - renewables + rows["charge_kw"] - rows["discharge_kw"]
    paid = net.clip(lower=0) * (price + FEE) / 1000
    # surplus is curtailed where export costs money
    earned = (-net).clip(lower=0) * price.clip(lower=0) / 1000
    wear = rows["batteries"].map(lambda row: row["first"]["discharge_kw"]) * WEAR / 1000
    return paid - earned + wear


def test_the_ledger_is_a_second_calculation_from_the_tables(config):
    with db.session(config) as conn:
        assert update_ledger(conn, config) == 73  # to the data end
        rows = read_ledger(conn, config.site)
        # the second plan has carried the first one forward; both end before the data does
        done = ["simulated"] * 24 + ["plan"] * 36 + ["none"] * 13
        assert rows["done"].tolist() == done
        again = recomputed_eur(conn, rows)
        np.testing.assert_allclose(rows["cost_eur"], again, atol=1e-5)
        assert rows["cost_eur"].sum() == pytest.approx(again.sum(), abs=0.01)
        alone = recomputed_eur(
            conn,
            rows.assign(
                charge_kw=0.0,
                discharge_kw=0.0,
                batteries=[{"first": {"discharge_kw": 0.0}}] * len(rows),
            ),
        )
        np.testing.assert_allclose(rows["cost_no_battery_eur"], alone, atol=1e-5)
        assert update_ledger(conn, config) == 0


def test_a_replay_books_nothing_ahead_of_its_clock(config):
    with db.session(config) as conn:
        for hours in (10, 20):
            at = ISSUE + hours * HOUR
            record_clock(conn, config.site.site_id, "replay", at + HOUR / 2, 0.0)
            assert update_ledger(conn, config) >= 10
            rows = read_ledger(conn, config.site)
            assert rows.index[-1] == at - HOUR
        record_clock(conn, config.site.site_id, "", at, 1.0)
        with conn.cursor() as cur:
            cur.execute("DELETE FROM operations")
        update_ledger(conn, config)
        assert len(read_ledger(conn, config.site)) == 73  # the clock runs no more
        record_clock(conn, config.site.site_id, "another replay", at, 0.0)
        assert update_ledger(conn, config) == 0


def test_before_the_next_plan_it_is_what_the_valuation_of_the_plan_says(config):
    """The same function carries a plan out for `optimization.py value` and for the ledger."""
    with db.session(config) as conn:
        update_ledger(conn, config)
        rows = read_ledger(conn, config.site)
        first = rows["plan_id"].iloc[0]
        rows = rows[rows["plan_id"] == first]
        assert len(rows) == 24
    valuation.value_plan(config, first)
    with db.session(config) as conn:
        key = valuation.value_key({"run_id": first, "site_id": "", "issue_time": 0}, "actual")
        _, schedule, states = read_schedule(conn, key["run_id"])
    for name in ("grid_import_kw", "grid_export_kw", "curtailed_kw"):
        np.testing.assert_allclose(rows[name], schedule[name][rows.index], atol=1e-6)
    own = states[states["battery_id"] == "second"].loc[rows.index, "soc"]
    of_second = rows["batteries"].map(lambda row: row["second"]["soc"])
    np.testing.assert_allclose(of_second, own, atol=1e-6)


def test_a_corrected_value_makes_a_new_version_and_the_old_one_stays(config):
    with db.session(config) as conn:
        update_ledger(conn, config)
        before = read_ledger(conn, config.site)
        time = before.index[30]
        load = next(source for source in read_sources(conn) if source.kind == "load")
        sent = pd.Series([before.loc[time, "load_kw"] + 100], pd.DatetimeIndex([time]))
        with conn.cursor() as cursor:  # the correction is sent now
            cursor.execute(
                "UPDATE load SET power_kw = %s, sent_at = now() WHERE source_id = %s AND time = %s",
                (float(sent.iloc[0]), load.source_id, time.to_pydatetime()),
            )
        conn.commit()
        assert update_ledger(conn, config) == 1
        after = read_ledger(conn, config.site)
        assert after["version"].tolist() == [1 + (at == time) for at in after.index]
        versions = stored.read_versions(conn, config.site.site_id, time)
        assert versions["load_kw"].diff().iloc[1] == pytest.approx(100)
        assert versions["cost_eur"].iloc[0] == before.loc[time, "cost_eur"]
        assert after["cost_eur"].sum() == pytest.approx(recomputed_eur(conn, after).sum(), abs=0.01)


def test_values_that_come_late_fill_the_gap_that_they_left(config):
    with db.session(config) as conn:
        gap = [ISSUE + 3 * HOUR, ISSUE + 4 * HOUR]
        query = "SELECT time, power_kw FROM load WHERE time = ANY(%s)"
        late = select_frame(conn, query, ([t.to_pydatetime() for t in gap],), "time")
        with conn.cursor() as cursor:
            cursor.execute(
                "DELETE FROM load WHERE time = ANY(%s)", ([*late.index.to_pydatetime()],)
            )
        conn.commit()
        assert update_ledger(conn, config) == 71
        assert not set(gap) & set(read_ledger(conn, config.site).index)
        load = next(source for source in read_sources(conn) if source.kind == "load")
        store(conn, load, late["power_kw"])
        execute(conn, "UPDATE load SET sent_at = now() WHERE time = ANY(%s)", [*gap])
        assert update_ledger(conn, config) == 2
        rows = read_ledger(conn, config.site)
        assert rows["version"].max() == 1
        np.testing.assert_allclose(rows["cost_eur"], recomputed_eur(conn, rows), atol=1e-5)


def test_states_say_what_was_done_measured_before_simulated(config):
    """First by its power, second by its SOC alone: 50 kWh more at 0.95 are 52.6 kWh charged.

    A measured state holds at its time, a simulated one at the end of the interval that begins then.
    """
    time = ISSUE + 2 * HOUR
    with db.session(config) as conn:
        for battery, socs in (("first", (0.5, 0.45)), ("second", (0.4, 0.5))):
            states = pd.DataFrame(
                {"battery_id": battery, "kind": "measured", "soc": socs}, [time, time + HOUR]
            )
            power = {"charge_kw": 0.0, "discharge_kw": (90.0, 12.0)} if battery == "first" else {}
            db.save_battery_states(conn, states.assign(**power))
            simulated = states.assign(kind="simulated", soc=0.9, charge_kw=7.0, discharge_kw=0.0)
            db.save_battery_states(conn, simulated)
            later = simulated.set_axis([time + 2 * HOUR, time + 3 * HOUR])
            db.save_battery_states(conn, later)
        conn.commit()
        update_ledger(conn, config)
        rows = read_ledger(conn, config.site)
        done = rows["done"][time - 2 * HOUR : time + 4 * HOUR].tolist()
        assert done == ["plan", "measured", "measured", *["simulated"] * 3, "plan"]
        at = rows.loc[time]
        assert at["batteries"]["first"] == {"soc": 0.45, "charge_kw": 0.0, "discharge_kw": 90.0}
        kept = 0.4 * 500 * 0.999
        charged = (0.5 * 500 - kept) / 0.95
        assert at["batteries"]["second"]["charge_kw"] == pytest.approx(charged, abs=1e-6)
        assert at["soc"] == pytest.approx((0.45 * 2000 + 0.5 * 500) / 2500, abs=1e-6)
        assert rows.loc[time + HOUR, "batteries"]["first"]["discharge_kw"] == 12  # measured
        np.testing.assert_allclose(rows["cost_eur"], recomputed_eur(conn, rows), atol=1e-5)


def test_computed_at_once_it_is_as_computed_step_by_step(config):
    """Hour by hour around both plans and midnights, six hours at a time between."""
    edges = [*range(-20, -16), *range(-14, -2, 6), *range(-2, 3), *range(8, 22, 6), *range(22, 29)]
    with db.session(config) as conn:
        update_ledger(conn, config)
        once = read_ledger(conn, config.site)
        start = (ISSUE + edges[0] * HOUR).to_pydatetime()
        with conn.cursor() as cursor:
            cursor.execute("TRUNCATE ledger")
            cursor.execute("CREATE TABLE kept AS SELECT * FROM load WHERE time >= %s", (start,))
            cursor.execute("DELETE FROM load WHERE time >= %s", (start,))
        conn.commit()
        for low, high in itertools.pairwise(edges):
            with conn.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO load SELECT * FROM kept WHERE time >= %s AND time < %s",
                    [(ISSUE + hour * HOUR).to_pydatetime() for hour in (low, high)],
                )
            conn.commit()
            update_ledger(conn, config)
        steps = read_ledger(conn, config.site)
    names = [*stored.NUMBERS, "version", "done", "plan_id"]
    pd.testing.assert_frame_equal(once[names].iloc[:52], steps[names], check_exact=True)


def rows_of(start, end, step_min, zone, **values):
    times = pd.date_range(start, end, freq=f"{step_min}min", inclusive="left", tz=zone)
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"step_min": step_min, "done": "plan"}, times.tz_convert("UTC"))
    for name in stored.NUMBERS:
        rows[name] = np.round(rng.uniform(0.1, 9, len(rows)), stored.DIGITS)
    return rows.assign(**values).rename_axis("time")


@pytest.mark.parametrize(
    ("zone", "step_min"),
    [("Europe/Brussels", 15), ("America/Santiago", 60), ("UTC", 60)],
)
def test_sums_by_day_and_month_are_those_of_the_intervals_to_the_cent(zone, step_min):
    rows = rows_of("2025-01-01", "2026-01-01", step_min, zone)
    days, months, years = (summed(rows, zone, by) for by in ("day", "month", "year"))
    assert (len(days), len(months), len(years)) == (365, 12, 1)
    for name in (*stored.MONEY, "charge_kwh", "hours"):
        for part in (days, months):
            assert part[name].sum() == pytest.approx(years[name].iloc[0], abs=1e-6)
    total = sum(round(value * 10**6) for value in rows["cost_eur"]) / 10**6
    assert years["cost_eur"].iloc[0] == pytest.approx(total, abs=1e-7)
    lengths = days["hours"].value_counts().to_dict()
    assert lengths == ({24: 365} if zone == "UTC" else {24: 363, 23: 1, 25: 1})
    weeks = summed(rows, zone, "week")
    assert set(weeks.index.tz_convert(zone).dayofweek) == {0}


def test_shares_and_savings_by_hand():
    """Of 8 kWh made 2 go out; of 10 kWh used 4 come in."""
    rows = rows_of("2025-06-01", "2025-06-01 02:00", 60, "UTC", load_kw=4.0, device_kw=1.0)
    rows = rows.assign(renewables_kw=5.0, curtailed_kw=1.0, grid_export_kw=1.0, grid_import_kw=2.0)
    day = summed(rows, "UTC", "day").iloc[0]
    assert (day["self_consumption"], day["self_sufficiency"]) == (0.75, 0.6)
    saved = (rows["cost_no_battery_eur"] - rows["cost_eur"]).sum()
    assert day["saved_eur"] == pytest.approx(saved, abs=1e-9)


def test_each_interval_adds_what_raises_the_peak_of_its_month():
    """Half-hour steps, hourly means: 10, 30, 20, 40 kW; at midnight of February a new month."""
    times = pd.date_range("2025-01-31T21:00Z", periods=8, freq="30min")
    imports = pd.Series([0.0, 20, 20, 40, 20, 20, 80, 0], times)
    hours, price = np.full(8, 0.5), np.full(8, 2.0)
    added = month_peaks_eur(imports, hours, price, HOURLY, "Europe/Brussels")
    # 21:00Z and 22:00Z are January in Brussels, 23:00Z and 00:00Z February
    assert added.tolist() == [0, 20, 0, 40, 0, 40, 0, 40]
    assert month_peaks_eur(imports, hours, price * 0, HOURLY, "UTC").tolist() == [0] * 8
    late = Peak(0.0, 60, window=Window(hours=(23, 0)))
    added = month_peaks_eur(imports, hours, price, late, "Europe/Brussels")
    assert added.tolist() == [0, 0, 0, 60, 0, 40, 0, 0]
    # hours of Kolkata begin at half past; the first has no beginning, the last no end
    added = month_peaks_eur(imports, hours, price, HOURLY, "Asia/Kolkata")
    assert added.tolist() == [0, 0, 40, 0, 20, 0, 40, 0]
    # an hour that has only begun adds nothing yet
    assert month_peaks_eur(imports[:7], hours[:7], price[:7], HOURLY, "UTC")[6] == 0


def test_a_peak_price_is_in_the_cost_of_the_month(config):
    priced = dataclasses.replace(config.grid, peak_price_eur_per_kw=3.0)
    tariff = dataclasses.replace(config.tariff, peaks_eur_per_kw="2")
    config = dataclasses.replace(config, grid=priced, tariff=tariff)
    plans.plan(config, ISSUE)
    with db.session(config) as conn:
        update_ledger(conn, config)
        rows = read_ledger(conn, config.site)
        month = read_ledger(conn, config.site, by="month").iloc[0]
    since = rows.index >= ISSUE  # the plan before had no such price
    rise = rows["grid_import_kw"][since].max() - rows["grid_import_kw"][~since].max()
    assert month["peak_eur"] == pytest.approx((3 + 2) * max(0.0, rise), abs=1e-5)
    assert month["cost_eur"] == pytest.approx(
        month["energy_eur"] + month["wear_eur"] + month["peak_eur"], abs=1e-4
    )


def test_without_a_plan_there_is_no_ledger_and_no_error(config_file):
    config = load_config(config_file(), {})
    with db.session(config) as conn:
        assert update_ledger(conn, config) == 0
        assert read_ledger(conn, config.site).empty
        assert read_ledger(conn, config.site, by="month").empty
        with pytest.raises(ValueError, match="expected one of interval, day"):
            read_ledger(conn, config.site, by="decade")


def imbalance_prices(conn, config, index):
    """A market of deviations by half hours, which ends before the positions do."""
    source = Source("imbalance", "market", "Imbalance", "site-1", None, 30, 49.6, 6.1, ZONE, {})
    upsert_sources(conn, [source])
    prices = pd.Series(60 + 40 * np.sin(np.arange(2 * len(index) - 4)), name="imbalance")
    prices.index = pd.date_range(index[0], periods=len(prices), freq="30min", name="time")
    store(conn, source, prices)
    return prices.resample("h").mean()


def test_a_position_settles_at_the_day_ahead_price_and_its_deviation_at_its_own(config, tmp_path):
    """Against a calculation by hand; without a position, and corrected, in the same days."""
    config = dataclasses.replace(
        config, site=dataclasses.replace(config.site, deviation_prices="imbalance")
    )
    with db.session(config) as conn:
        update_ledger(conn, config)
        before = read_ledger(conn, config.site)
        index = before.index
        prices = imbalance_prices(conn, config, index)
        sold = pd.Series(-300.0, index[5:]).where(np.arange(len(index) - 5) % 7 > 2, 250.0)
        halves = sold.resample("30min").ffill()
        path = tmp_path / "positions.csv"
        texts = halves.index.strftime("%Y-%m-%dT%H:%M:%SZ")
        pd.DataFrame({"time": texts, "position_kw": halves.to_numpy()}).to_csv(path, index=False)
        assert record_positions(conn, config, path)["changed"] == len(halves)
        assert record_positions(conn, config, path)["changed"] == 0
        update_ledger(conn, config)
        rows = read_ledger(conn, config.site)
        # the newest intervals wait for the price of their deviations, in their version before
        held = rows["position_kw"].notna()
        assert held.sum() == len(index) - 5 - 2 and not held[:5].any()
        own = rows[held]
        _, _, day_ahead = actual_of(conn)
        position = sold[own.index] * day_ahead[own.index] / 1000
        taken = own["grid_import_kw"] - own["grid_export_kw"] - sold[own.index]
        deviation = taken * prices[own.index] / 1000
        wear = own["batteries"].map(lambda row: row["first"]["discharge_kw"]) * WEAR / 1000
        fees = own["grid_import_kw"] * FEE / 1000
        np.testing.assert_allclose(own["position_eur"], position, atol=1e-5)
        np.testing.assert_allclose(own["deviation_eur"], deviation, atol=1e-5)
        np.testing.assert_allclose(own["cost_eur"], position + deviation + fees + wear, atol=1e-5)
        pd.testing.assert_series_equal(rows["cost_eur"][~held], before["cost_eur"][~held])
        by_hand = (position + deviation + fees + wear).sum() + before["cost_eur"][~held].sum()
        day = index[30].tz_convert(config.site.time_zone).date()
        month = read_history(conn, config, "month", day)["total"]
        assert month["cost_eur"] == pytest.approx(by_hand, abs=0.005)
        assert month["position_eur"] == pytest.approx(position.sum(), abs=0.005)
    csv = tmp_path / "month.csv"
    page, _ = write_statement(config, "month", day, tmp_path / "month.html", csv)
    table = pd.read_csv(csv)
    assert table["cost_eur"].sum() == pytest.approx(by_hand, abs=0.005)
    assert table["deviation_eur"].sum() == pytest.approx(deviation.sum(), abs=0.005)
    assert "Deviation from it" in page.read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,power\n", "column position_kw is missing"),
        ("time,position_kw\n2025-03-01T00:00Z,1\n", "has 1 rows"),
        ("time,position_kw\n2025-03-01T00:00,1\n2025-03-01T01:00,1\n", "line 2: time"),
        ("time,position_kw\n2025-03-01T00:00Z,1\n2025-03-01T01:00Z,nan\n", "line 3: position_kw"),
        ("time,position_kw\n2025-03-01T01:00Z,1\n2025-03-01T00:00Z,1\n", "line 3: time"),
        ("time,position_kw\n2025-03-01T00:07Z,1\n2025-03-01T01:07Z,1\n", "begins on the clock"),
    ],
)
def test_a_file_of_positions_that_cannot_be_meant_is_refused(text, told, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    with pytest.raises(DataFileError, match=told):
        read_position_file(path)
