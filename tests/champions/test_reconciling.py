"""Stored forecasts of sites and kinds agree with those of their sources."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, fill, series, store

import db
from vpp.champions.history import revisions_of_sum
from vpp.champions.reconciling import with_sums
from vpp.champions.saving import check_all_forecast, rows_without_sums
from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS, QUANTILES
from vpp.runtime.config import load_config
from vpp.storage.results import ForecastRun

NAMES = ("load-1", "load-2", "load-3", "load-west", "load-fine")
LOADS = [replace(LOAD, source_id=name) for name in NAMES[:3]]
LOADS += [replace(LOAD, source_id="load-west", site_id="west", capacity_kw=400.0)]
FINE = replace(LOAD, source_id="load-fine", step_min=15)
DAY = pd.Timedelta(days=1)


def run_of(source, issue_time, error, role="champion"):
    """A forecast that errs so much in each hour."""
    times = pd.date_range(issue_time, periods=24, freq=f"{source.step_min}min", name="valid_time")
    value = series(source).reindex(times).ffill().fillna(300).to_numpy() + error
    spread = 40 * (np.array(QUANTILES) - 0.5)
    frame = pd.DataFrame(value[:, None] + spread, times, list(QUANTILE_COLUMNS))
    run = ForecastRun(source.source_id, "daily_naive", "1", issue_time, issue_time, role)
    return run, frame.assign(value=value, published=False)


@pytest.mark.parametrize("way", ["none", "bottom_up", "mint"])
def test_sums_agree_and_bands_are_ordered(config_file, way):
    config = load_config(config_file(forecast={"reconcile": way}))
    fill(config, *LOADS)
    rng = np.random.default_rng(5)
    past = [
        run_of(source, END - back * DAY, common + rng.normal(0, 10, 24), "backtest")
        for back in range(1, 15)
        for common in (rng.normal(0, 30, 24),)
        for source in LOADS
    ]
    base = [run_of(source, END, 60.0) for source in LOADS]
    with db.session(config) as conn:
        db.save_forecasts(conn, past)
        found, faults = with_sums(conn, config, [*LOADS, FINE], [*base, run_of(FINE, END, 0.0)])
    frames = {run.source_id: frame for run, frame in found}
    assert not faults
    pd.testing.assert_frame_equal(frames["load-fine"], run_of(FINE, END, 0.0)[1])
    if way == "none":
        assert list(frames) == list(NAMES)
        return
    assert list(frames) == [*NAMES, "site-1/load", "all/load"]
    for name, parts in (("site-1/load", NAMES[:3]), ("all/load", NAMES[:4])):
        whole = sum(frames[part]["value"] for part in parts)
        pd.testing.assert_series_equal(frames[name]["value"], whole, rtol=1e-12)
        band = frames[name][list(QUANTILE_COLUMNS)].to_numpy()
        assert (np.diff(band) > 0).all()
        # errors go together, but not wholly: narrower than the bands added up
        added = sum(frames[part]["q95"] - frames[part]["q05"] for part in parts)
        assert (0.5 * added < band[:, -1] - band[:, 0]).all()
        assert (band[:, -1] - band[:, 0] < 0.995 * added).all()
    for source in LOADS:
        values = frames[source.source_id][list(COLUMNS)].to_numpy()
        within = (values >= 0).all() and (values <= source.capacity_kw).all()
        assert within or way == "bottom_up"
    moved = {
        run.source_id: np.abs(frames[run.source_id]["value"] - frame["value"]).max()
        for run, frame in base
    }
    assert (max(moved.values()) > 1) == (way == "mint")
    with db.session(config) as conn:
        db.save_forecasts(conn, found)
        stored = db.read_forecasts(conn, "all/load", END)
    assert stored[0].model == way
    np.testing.assert_allclose(stored[1]["value"], frames["all/load"]["value"])


def backtests(sources, days, factor=1.0):
    """Of each source on some days before now, which err together and alone."""
    rng = np.random.default_rng(5)
    common = rng.normal(0, 30, (15, 24))
    errors = {item.source_id: rng.normal(0, 10, (15, 24)) for item in sources}
    made = []
    for item in sources:
        for back in days:
            run, frame = run_of(item, END - back * DAY, common[back] + errors[item.source_id][back])
            made.append((replace(run, role="backtest"), frame))
            if item.source_id == NAMES[0]:
                made[-1][1][list(COLUMNS)] *= factor
    return made


@pytest.mark.parametrize("way", ["bottom_up", "mint"])
def test_a_load_that_grew_is_forecast_as_if_it_had_always_been_so_large(config_file, way):
    """The first doubles two days ago; forecasts of before that was told do not count."""
    config, grown = load_config(config_file(forecast={"reconcile": way})), []
    since = END - 2 * DAY
    now = replace(LOADS[0], capacity_kw=2000.0)
    told = replace(now, parameters={"valid_from": since.isoformat()})
    power = 2 * series(LOAD)
    base = [run_of(source, END, 60.0) for source in LOADS]
    for grows in (False, True):
        with db.session(config) as conn:
            for source in LOADS:
                db.delete_source(conn, source.source_id)
            conn.commit()
        fill(config, *LOADS[1:])
        with db.session(config) as conn:
            if grows:
                store(conn, LOADS[0], power.where(power.index >= since, power / 2))
                db.save_forecasts(conn, backtests(LOADS, range(1, 15), 0.1))
            else:
                store(conn, now, power)
            source = told if grows else now
            db.upsert_sources(conn, [source])
            conn.commit()
            db.save_forecasts(conn, backtests(LOADS, range(1, 13), 2.0))
            found, faults = with_sums(conn, config, [source, *LOADS[1:]], base)
        assert not faults
        grown.append({run.source_id: frame for run, frame in found})
    for name, frame in grown[0].items():
        pd.testing.assert_frame_equal(frame, grown[1][name], rtol=1e-9)


@pytest.mark.parametrize("way", ["bottom_up", "mint"])
def test_a_value_that_is_corrected_later_changes_no_forecast(config_file, way):
    config, found = load_config(config_file(forecast={"reconcile": way})), []
    fill(config, *LOADS)
    base = [run_of(source, END, 60.0) for source in LOADS]
    correct = """
        WITH old AS (
            SELECT source_id, time, power_kw FROM load
            WHERE source_id = %(name)s AND time >= %(at)s AND time < %(at)s + interval '1 day')
        INSERT INTO revisions SELECT source_id, time, power_kw, time + interval '1 hour', %(told)s
            FROM old;
        UPDATE load SET power_kw = 1 WHERE source_id = %(name)s
            AND time >= %(at)s AND time < %(at)s + interval '1 day'"""
    with db.session(config) as conn, conn.cursor() as cursor:
        db.save_forecasts(conn, backtests(LOADS, range(1, 15)))
        for name, at, told in (
            (None, 0, 0),
            (NAMES[0], -2, 1),
            (NAMES[1], -2, 2),
            (NAMES[1], -9, 0.5),
            (NAMES[2], -4, -1),  # the only one that was known by now
        ):
            days = {"at": END + at * DAY, "told": END + told * DAY}
            given = {key: time.to_pydatetime() for key, time in days.items()}
            cursor.execute(correct, given | {"name": name})
            found.append(with_sums(conn, config, LOADS, base)[0])
    for later in found[1:4]:
        for (_, first), (_, frame) in zip(found[0], later, strict=True):
            pd.testing.assert_frame_equal(first, frame)
    (_, first), (_, frame) = found[0][-1], found[-1][-1]
    assert not first.equals(frame)


def test_a_sum_is_what_its_parts_were_known_to_be_at_each_time():
    """Of random corrections of three loads, some of one interval several times."""
    rng, hours = np.random.default_rng(3), pd.Timedelta(hours=1)
    times = pd.date_range(END - 2 * DAY, periods=48, freq="h")
    parts = [SourceData(item, pd.Series(rng.normal(300, 9, 48), times)) for item in LOADS[:3]]
    assert revisions_of_sum(parts) is None
    for number in (0, 2):
        rows = []
        for at in times[rng.integers(0, 30, 12)].unique():
            known = at + hours
            for later in 1 + rng.integers(0, 9, rng.integers(1, 4)).cumsum():
                row = {"time": at, "value": rng.normal(300, 9), "known_from": known}
                known = at + hours * (later + 1)
                rows += [row | {"known_to": known}] if row["known_from"] < known else []
        parts[number] = replace(parts[number], revisions=pd.DataFrame(rows))
    series = sum(part.series for part in parts)
    whole = SourceData(LOAD, series, revisions=revisions_of_sum(parts))
    for at in times:
        expected = sum(known_at(part, at).targets for part in parts)
        pd.testing.assert_series_equal(known_at(whole, at).targets, expected, rtol=1e-12)


def test_sums_that_fail_are_a_failure_and_the_forecasts_of_the_sources_stand(config_file):
    config = load_config(config_file(forecast={"reconcile": "bottom_up"}))
    fill(config, *LOADS)
    base = [run_of(source, END, 0.0) for source in LOADS]
    base[1] = (base[1][0], base[1][1].iloc[:12])  # as of a model that ends too early
    with db.session(config) as conn:
        found, faults = with_sums(conn, config, LOADS, base)
    assert [run.source_id for run, _ in found] == [source.source_id for source in LOADS]
    rows = [{"source_id": run.source_id, "runs": 1, "note": ""} for run, _ in found]
    with pytest.raises(ForecastError, match=r"sums of load \(.+\); the other .+ are saved"):
        check_all_forecast(rows + rows_without_sums(faults), END)
