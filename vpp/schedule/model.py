"""The schedule as a mathematical programme: variables, objective and all constraints.

The model is hard where its limits can be kept; the soft one has limits that bend and notes by how
much; physics never bends. Batteries are in `vpp.schedule.batteries`, the connection in
`vpp.schedule.connection`, peak prices in `vpp.schedule.peaks`, each other device in a module of its
own. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from vpp.schedule.batteries import draft_batteries, only_from_renewables, only_to_consumption
from vpp.schedule.connection import (
    balance_power,
    bend_grid_limits,
    cap_co2,
    cap_discharge,
    draft_grid,
)
from vpp.schedule.draft import GRID, Model
from vpp.schedule.exclusive import Intervals
from vpp.schedule.inverters import draft_inverters
from vpp.schedule.peaks import measure_peaks
from vpp.schedule.problem import Problem


def build(
    problem: Problem,
    soft: bool,
    exclusive: Intervals | None = None,
    caps: dict[str, float] | None = None,
    keeps: tuple[str, ...] = (),
) -> Model:
    """The model of a problem.

    Parameters
    ----------
    problem : what is to be scheduled.
    soft : whether limits may bend.
    exclusive : numbers of the intervals that get binaries, by the keys of `Model.conditions`;
        default those where they are expected to be needed.
    caps : the most of other aims than cost: `co2_kg` [kg], `discharge_kwh` [kWh].
    keeps : classes of which batteries and the connection bend no limit in a soft model.

    Returns
    -------
    The model, not solved.
    """
    model = Model(problem.intervals, problem.hours, soft, keeps=keeps)
    draft_grid(problem, model)
    draft_batteries(problem, model)
    for key, _, device in problem.devices:
        device.draft(model, key)
    names = [battery.battery_id for battery in problem.batteries]
    renewables, curtailable = problem.renewables_kw, problem.curtailable
    draft_inverters(model, problem.inverters, names, renewables, curtailable)
    balance_power(problem, model)
    measure_peaks(problem.peaks, problem.hours, model)
    only_from_renewables(problem, model)
    only_to_consumption(problem, model)
    if model.may_bend(GRID):
        bend_grid_limits(problem, model)
    for name, cap in (caps or {}).items():
        add_cap = cap_co2 if name == "co2_kg" else cap_discharge
        add_cap(problem, model, cap)
    if exclusive is None:
        exclusive = {key: one.expected() for key, one in model.conditions.items()}
    for key, intervals in exclusive.items():
        if len(intervals):
            model.conditions[key].enforce(model, key, intervals)
    return model
