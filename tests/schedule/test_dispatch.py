"""Curtailment at an interval's own prices and limits, and batteries that share what there is."""

import numpy as np
import pytest

from vpp.schedule.battery import Battery
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.dispatch import idle, self_consumption, settle, within_cycles, within_grid
from vpp.schedule.problem import Problem

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
