"""Curtailment at an interval's own prices and limits, and batteries that share what there is."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.schedule.battery import Battery
from vpp.schedule.deferrable import DeferrableLoad
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.dispatch import (
    carry_out,
    idle,
    self_consumption,
    settle,
    with_load_of,
    within_cycles,
    within_grid,
)
from vpp.schedule.heat import HeatStore
from vpp.schedule.problem import Problem
from vpp.schedule.vehicles import Session, Vehicle

CELL = ScheduledBattery("c", 10, 4, 5, soc_initial=0.5)
OTHER = ScheduledBattery("d", 10, 4, 5, soc_initial=0.5)


@pytest.mark.parametrize(
    ("renewables", "import_price", "export_price", "import_limit", "curtailed"),
    [
        (5.0, -40.0, 5.0, 10.0, 5.0),  # import of 1 kW earns 40, export of 4 kW 20
        (5.0, -40.0, 20.0, 10.0, 0.0),  # export of 4 kW earns 80
        (5.0, -40.0, -50.0, 0.5, 4.5),  # as much import as the limit allows
        (1.5, 30.0, -10.0, 10.0, 0.5),  # paying 10 to export half a kW
        (1.5, 30.0, 10.0, 10.0, 0.0),
    ],
)
def test_an_interval_curtails_what_is_cheapest(
    renewables, import_price, export_price, import_limit, curtailed
):
    problem = Problem(
        60,
        np.array([1.0]),
        np.array([import_price]),
        np.array([export_price]),
        np.array([renewables]),
        grid=GridConnection(import_limit_kw=import_limit),
    )
    assert idle(problem).curtailed_kw.tolist() == [curtailed]


def test_two_batteries_share_a_deficit_and_a_surplus():
    """7 kW are missing: 5 from the first and 2 from the second; of 6 kW the first takes 4."""
    load, sun = np.array([7.0, 0.0]), np.array([0.0, 6.0])
    schedule = self_consumption(Problem(60, load, renewables_kw=sun, batteries=(CELL, OTHER)))
    assert schedule.discharge_kw.tolist() == [[5, 0], [2, 0]]
    assert schedule.charge_kw.tolist() == [[0, 4], [0, 2]]
    assert schedule.grid_import_kw.tolist() == schedule.grid_export_kw.tolist() == [0, 0]


@pytest.mark.parametrize(("hours", "power_kw"), [(0.5, 2.0), (1.0, 1.0), (2.0, 0.5), (0.1, 5.0)])
def test_the_energy_that_cycles_leave_is_spread_over_the_interval(hours, power_kw):
    """2 of 3 kWh are used: 1 kWh is left, in half an hour 2 kW; never more than the rating."""
    limited = Battery("c", 10, 4, 5, cycles_per_day_max=0.3)
    assert within_cycles(limited, 2.0, hours).discharge_kw == pytest.approx(power_kw)


def test_powers_of_more_batteries_than_there_are_are_refused():
    problem = Problem(60, np.zeros(1), batteries=(CELL,))
    with pytest.raises(ValueError, match="argument"):
        settle(problem, np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="argument"):
        within_grid(problem, 0, [1.0, 1.0], [Battery.of(CELL)])


CAR = Vehicle("car", 50, 9, discharge_kw=9, sessions=(Session(0, 3, 0.5),))
TANK = HeatStore("tank", 50, 5, np.zeros(3), 9, np.full(3, 3.0), rod_kw=9)
RUN = {
    "vehicles_0": {"charge_kw": np.array([3.0, 0, 0]), "discharge_kw": np.array([0, 0, 2.0])},
    "heat_stores_0": {"heat_pump_kw": np.array([1.0, 1, 0]), "rod_kw": np.array([0, 2.0, 0])},
}
# beside a load of 4, 1 and 0 kW the devices take 4 and 3 kW and give 2
AT_HOME = Problem(
    60,
    np.array([4.0, 1.0, 0.0]),
    renewables_kw=np.array([0.0, 9.0, 1.0]),
    batteries=(CELL,),
    grid=GridConnection(import_limit_kw=10.0, export_limit_kw=4.0),
    vehicles=(CAR,),
    heat_stores=(TANK,),
)


def test_devices_become_a_part_of_the_load():
    alone = with_load_of(AT_HOME, RUN)
    assert alone.load_kw.tolist() == [8, 4, -2]
    assert (alone.devices, alone.batteries, alone.grid) == ([], (CELL,), AT_HOME.grid)
    assert with_load_of(alone, {}) is alone
    assert with_load_of(alone, RUN).load_kw.tolist() == [8, 4, -2]


def test_wanted_powers_leave_the_connection_to_the_devices():
    """Of the 4 kW wanted 2 may be imported beside the 8 of load and devices; then 5 kW of sun are
    left and 3 kWh of room; the sun may be curtailed, 2 kW of the car and 2 of the battery exported.
    """
    schedule = carry_out(AT_HOME, lambda t, bank: np.array([4.0, 4, -5])[[t]], RUN)
    assert schedule.charge_kw.tolist() == [[2, 3, 0]]
    assert schedule.discharge_kw.tolist() == [[0, 0, 2]]
    assert schedule.grid_import_kw.tolist() == [10, 0, 0]
    assert schedule.grid_export_kw.tolist() == [0, 2, 4]
    assert schedule.curtailed_kw.tolist() == [0, 0, 1]
    assert schedule.soc.tolist() == pytest.approx(np.array([[0.7, 1.0, 0.8]]))
    assert all(schedule.devices[key] is arrays for key, arrays in RUN.items())


def test_whole_numbers_are_wanted_as_others_are():
    problem = Problem(30, np.zeros(2), batteries=(CELL, replace(OTHER, eta_charge=0.8)))
    schedule = carry_out(problem, lambda t, bank: [3, -3] if t else [-1, 1])
    assert schedule.charge_kw.tolist() == [[0, 3], [1, 0]]
    assert schedule.discharge_kw.tolist() == [[1, 0], [0, 3]]
    assert schedule.soc.tolist() == [pytest.approx([0.45, 0.6]), pytest.approx([0.54, 0.39])]
    assert schedule.devices == {}


@pytest.mark.parametrize(
    ("load", "renewables", "charge", "discharge"),
    [
        (2.0, 2.0, [0, 0], [0, 0]),  # nothing is left, nothing is missing
        (2.0, 2.5, [0.5, 0], [0, 0]),
        (2.5, 2.0, [0, 0], [0.5, 0]),
        (0.0, 7.0, [4, 3], [0, 0]),
        (0.0, 9.0, [4, 4], [0, 0]),
        (9.0, 0.0, [0, 0], [5, 4]),
        (12.0, 1.0, [0, 0], [5, 5]),
        (-3.0, 0.0, [3, 0], [0, 0]),  # a load below 0 feeds in
    ],
)
def test_the_rule_asks_one_battery_after_the_other(load, renewables, charge, discharge):
    given = (60, np.array([load]), None, None, np.array([renewables]))
    schedule = self_consumption(Problem(*given, batteries=(CELL, OTHER)))
    assert schedule.charge_kw[:, 0].tolist() == charge
    assert schedule.discharge_kw[:, 0].tolist() == discharge


def test_the_rule_serves_what_devices_must_take():
    """4 kWh of heat are missing in the first hour: the pump has to take 4 / 2 kW.

    A profile of 3 kW starts as soon as it may; 2 + 3 - 1 kW are missing.
    """
    problem = Problem(
        60,
        np.zeros(2),
        renewables_kw=np.array([1.0, 4.0]),
        batteries=(CELL,),
        deferrable_loads=(DeferrableLoad("wash", profile_kw=(3.0,)),),
        heat_stores=(HeatStore("h", 9, 0, np.array([4.0, 0]), 9, np.full(2, 2.0)),),
    )
    schedule = self_consumption(problem)
    taken = sum(device.net_kw(schedule.devices[key]) for key, _, device in problem.devices)
    missing = taken - problem.renewables_kw
    assert taken.tolist() == [5, 0]
    assert (schedule.discharge_kw - schedule.charge_kw)[0].tolist() == missing.tolist() == [4, -4]
    assert schedule.grid_import_kw.tolist() == schedule.grid_export_kw.tolist() == [0, 0]
