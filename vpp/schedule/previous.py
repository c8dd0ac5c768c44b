"""The plan before, which a new plan of equal money stays close to.

python optimization.py solve --input examples/problem.json --output result.json
"""

from dataclasses import dataclass

import numpy as np

from vpp.runtime.fields import Section
from vpp.schedule.stated import stated


@dataclass(frozen=True, eq=False)
class PreviousBattery(Section):
    """The powers that the plan before had for a battery."""

    battery_id: str = stated("its name", least_length=1)
    charge_kw: np.ndarray = stated(
        "charging power; null where the plan said nothing", low=0, series=True, null=np.nan
    )
    discharge_kw: np.ndarray = stated(
        "discharging power; null where the plan said nothing", low=0, series=True, null=np.nan
    )


@dataclass(frozen=True, eq=False)
class Previous(Section):
    """The plan before, moved to the intervals of the problem."""

    batteries: tuple[PreviousBattery, ...] = stated("what it said of each battery", ())


NO_PLAN_BEFORE = Previous()
