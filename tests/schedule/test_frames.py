"""Problems from a DataFrame and schedules as DataFrames, and the example that shows them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vpp.runtime.settings import Grid
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.frames import (
    FrameError,
    battery_frame,
    plot_schedule,
    problem_from_frame,
    schedule_frame,
)
from vpp.schedule.problem import Certificate, Result
from vpp.schedule.solver import solve

EXAMPLE = Path(__file__).parents[2] / "examples" / "plan_from_dataframe.py"
INDEX = pd.date_range("2025-01-06T23:00", periods=3, freq="60min", tz="UTC", name="time")
STORES = (
    ScheduledBattery("small", 100, 100, 100, soc_initial=1.0),
    ScheduledBattery("large", 300, 100, 100, soc_initial=0.0, wear_eur_per_mwh=500.0),
)


def a_frame(**columns):
    values = {
        "load_kw": [100.0, 100.0, 100.0],
        "renewables_kw": [0.0, 150.0, 0.0],
        "price_eur_per_mwh": [40.0, 20.0, 90.0],
    }
    return pd.DataFrame(values | columns, index=INDEX)


def test_a_frame_becomes_a_problem_with_fees_and_a_value_of_what_is_left():
    """The median of 40, 20 and 90 with a fee of 10, where 20 is what the surplus earns: 50."""
    grid = Grid(500.0, 400.0, import_fee_eur_per_mwh=10.0, peak_price_eur_per_kw=2.0)
    problem = problem_from_frame(a_frame(), STORES, grid, time_zone="Europe/Brussels")
    assert (problem.step_min, problem.start) == (60, INDEX[0].to_pydatetime())
    assert problem.import_price_eur_per_mwh.tolist() == [50, 30, 100]
    assert problem.export_price_eur_per_mwh.tolist() == [40, 20, 90]
    assert [battery.terminal_value_eur_per_mwh for battery in problem.batteries] == [50, 0]
    assert (problem.grid.import_limit_kw, problem.grid.export_limit_kw) == (500, 400)
    assert (problem.grid.peak_interval_min, problem.time_zone) == (60, "Europe/Brussels")


def test_without_a_grid_there_are_no_limits_and_no_fees_and_any_zone_and_step_will_do():
    frame = a_frame().tz_convert("Asia/Tokyo")
    problem = problem_from_frame(frame, ())
    assert problem.start == INDEX[0].to_pydatetime()
    assert problem.grid.import_limit_kw == problem.grid.export_limit_kw == np.inf
    assert problem.import_price_eur_per_mwh.tolist() == [40, 20, 90]
    quarter = frame.set_axis(pd.date_range(INDEX[0], periods=3, freq="15min"))
    assert problem_from_frame(quarter, ()).step_min == 15
    two_hours = frame.set_axis(pd.date_range(INDEX[0], periods=3, freq="2h"))
    assert problem_from_frame(two_hours, ()).peak_interval_min == 120


def test_a_schedule_is_one_row_an_interval_and_one_an_interval_of_each_battery():
    """The small battery sells its 100 kWh at 40, buys 50 beside the surplus at 20, sells at 90."""
    problem = problem_from_frame(a_frame(), STORES)
    result = solve(problem)
    schedule, states = schedule_frame(problem, result), battery_frame(problem, result)
    pd.testing.assert_index_equal(schedule.index, INDEX)
    assert schedule["discharge_kw"].tolist() == pytest.approx([100, 0, 100])
    assert schedule["charge_kw"].tolist() == pytest.approx([0, 100, 0])
    assert schedule["soc"].tolist() == pytest.approx([0, 0.25, 0])
    assert schedule["grid_import_kw"].tolist() == pytest.approx([0, 50, 0])
    assert schedule["grid_export_kw"].tolist() == pytest.approx([0, 0, 0])
    assert schedule["reason"].tolist() == list(result.reason)
    supply = schedule["grid_import_kw"] + schedule["renewables_kw"] + schedule["discharge_kw"]
    demand = schedule["grid_export_kw"] + schedule["load_kw"] + schedule["charge_kw"]
    np.testing.assert_allclose(supply, demand + schedule["curtailed_kw"])
    assert states["battery_id"].tolist() == ["small"] * 3 + ["large"] * 3
    assert states["energy_kwh"].tolist() == pytest.approx([0, 100, 0, 0, 0, 0])
    assert list(states.index) == [*INDEX, *INDEX]


def test_a_site_without_batteries_has_a_schedule_without_soc(tmp_path):
    problem = problem_from_frame(a_frame(), ())
    result = solve(problem)
    schedule, path = schedule_frame(problem, result), tmp_path / "plan.svg"
    assert schedule["soc"].isna().all() and battery_frame(problem, result).empty
    plot_schedule(schedule, path)
    assert path.read_text().count("<path") > 10


def test_a_result_without_a_schedule_is_no_frame():
    nothing = Result("infeasible", Certificate("lp-exact", 0, None, None, 0.0), cause="no room")
    with pytest.raises(ValueError, match="infeasible: no room"):
        schedule_frame(problem_from_frame(a_frame(), ()), nothing)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (a_frame().tz_localize(None), "index: times without a zone; expected UTC"),
        (a_frame().reset_index(drop=True), "index: int64; expected the start of each interval"),
        (a_frame()[:1], "index: 1 times; expected at least 2"),
        (
            pd.concat([a_frame(), a_frame().shift(freq="4h")]),
            "index: 2025-01-07T01:00Z is followed by 2025-01-07T03:00Z; expected steps of 60 min",
        ),
        (a_frame()[::-1], "index: steps of -60 min; expected whole minutes from 1 to 1440"),
        (a_frame().drop(columns="load_kw"), "load_kw: missing; expected load_kw, renewables_kw, "),
        (a_frame(load_kw=[1, np.nan, 3]), "load_kw: nan at 2025-01-07T00:00Z; expected a number"),
        (a_frame(price_eur_per_mwh=[1, 2, "x"]), "price_eur_per_mwh: x at 2025-01-07T01:00Z; exp"),
        (a_frame(price_eur_per_mwh=[1, np.inf, 2]), "price_eur_per_mwh: inf at 2025-01-07T00:00Z"),
        (
            a_frame(renewables_kw=[0, -1, 0]),
            "renewables_kw: -1 at 2025-01-07T00:00Z; expected a number of 0 or more",
        ),
    ],
)
def test_a_frame_that_is_no_site_is_refused_in_one_line(frame, said):
    with pytest.raises(FrameError) as error:
        problem_from_frame(frame, STORES)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_example_plans_from_a_frame(tmp_path):
    picture = tmp_path / "plan.png"
    command = [sys.executable, str(EXAMPLE), "--plot", str(picture)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    money = dict(line.split(": ") for line in done.stdout.splitlines() if line.endswith(" EUR"))
    cost = {way: float(value.removesuffix(" EUR")) for way, value in money.items()}
    assert cost["plan"] < cost["rule"] < cost["no battery"]
    assert "waits for a lower price" in done.stdout and "serve load at" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [picture]
    assert len(EXAMPLE.read_text().splitlines()) <= 60
