"""Hybrid inverters: plants and batteries behind one AC limit.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.runtime.errors import FieldError, one_of
from vpp.runtime.fields import Section
from vpp.schedule.checks import Checks, rounding
from vpp.schedule.draft import GE, LE, Model, Settled
from vpp.schedule.stated import stated


@dataclass(frozen=True)
class Inverter(Section):
    """An AC limit that plants and batteries share."""

    inverter_id: str = stated("a name of its own", least_length=1)
    ac_kw: float = stated("largest power through it, either way", low=0)
    batteries: tuple[str, ...] = stated("battery_id of each battery behind it", ())
    renewables_share: float = stated("share of renewables_kw behind it", 0.0, low=0, high=1)


def check_inverters(inverters: Sequence[Inverter], batteries: Sequence[str]) -> None:
    """Refuse inverters that do not fit together.

    Parameters
    ----------
    inverters : the inverters.
    batteries : names of all batteries.

    Raises
    ------
    FieldError : a name twice, an unknown battery, one behind two inverters, or shares above 1.
    """
    names: list[str] = []
    behind: list[str] = []
    for i, inverter in enumerate(inverters):
        path = f"inverters[{i}]"
        if inverter.inverter_id in names:
            expected = "a name that no other inverter has"
            raise FieldError(f"{path}.inverter_id", inverter.inverter_id, expected)
        names.append(inverter.inverter_id)
        for j, battery in enumerate(inverter.batteries):
            key = f"{path}.batteries[{j}]"
            if battery not in batteries:
                raise FieldError(key, battery, one_of(battery, batteries).removeprefix("expected "))
            if battery in behind:
                raise FieldError(key, battery, "a battery that is behind no other inverter")
            behind.append(battery)
    total = sum(inverter.renewables_share for inverter in inverters)
    if total > 1 + 1e-9:
        key = f"inverters[{len(inverters) - 1}].renewables_share"
        raise FieldError(
            key, inverters[-1].renewables_share, f"shares that sum to 1, not {total:g}"
        )


@dataclass(frozen=True)
class Clipping:
    """Renewables that cannot be curtailed are clipped only by as much as exceeds the AC limit.

    Parameters
    ----------
    clipped : name of the clipped power's variables.
    batteries : numbers of the batteries behind the inverter.
    ac_kw : its limit [kW].
    behind_kw : renewables behind it [kW], one an interval.
    """

    clipped: str
    batteries: tuple[int, ...]
    ac_kw: float
    behind_kw: np.ndarray

    def expected(self) -> np.ndarray:
        """None: where curtailing costs money the linear programme keeps it by itself."""
        return np.zeros(0, dtype=int)

    def broken(self, model: Model, found: np.ndarray) -> np.ndarray:
        """Where more is clipped than exceeds the limit.

        Parameters
        ----------
        model : the model.
        found : values of its variables.

        Returns
        -------
        Numbers of the intervals.
        """
        clipped = model.values(found, self.clipped)
        through = self.behind_kw - clipped
        for b in self.batteries:
            through = through + model.values(found, f"discharge_kw_{b}")
            through = through - model.values(found, f"charge_kw_{b}")
        slack = rounding(self.ac_kw, self.behind_kw)
        return np.flatnonzero((clipped > slack) & (through < self.ac_kw - slack))

    def settled(self, model: Model, found: np.ndarray, intervals: np.ndarray) -> Settled:
        """Nothing is clipped; see `Condition.settled`.

        Parameters
        ----------
        model : the model.
        found : values of its variables.
        intervals : their numbers.

        Returns
        -------
        Groups of variables, places, lower and upper bounds.
        """
        return [(self.clipped, intervals, *np.zeros((2, len(intervals))))]

    def enforce(self, model: Model, key: str, intervals: np.ndarray) -> None:
        """A binary for each interval says whether the limit is reached: only then is clipped.

        Parameters
        ----------
        model : the model that gets it.
        key : start of the names.
        intervals : numbers of the intervals.
        """
        reached, count, here = f"reached_{key}", len(intervals), np.arange(len(intervals))
        behind, given = self.behind_kw[intervals], {"numbers": intervals.tolist()}
        model.add(reached, 0.0, 1.0, count=count, integral=True)
        clipped = (self.clipped, 1.0, here, intervals)
        model.constrain(f"{key}_most", LE, 0.0, clipped, (reached, -behind), count=count, **given)
        flows = [(f"discharge_kw_{b}", 1.0, here, intervals) for b in self.batteries]
        flows += [(f"charge_kw_{b}", -1.0, here, intervals) for b in self.batteries]
        through = (*flows, (self.clipped, -1.0, here, intervals), (reached, -2 * self.ac_kw))
        right = -self.ac_kw - behind
        model.constrain(f"{key}_least", GE, right, *through, count=count, **given)


def draft_inverters(
    model: Model,
    inverters: Sequence[Inverter],
    batteries: Sequence[str],
    renewables_kw: np.ndarray,
    curtailable: bool,
) -> None:
    """Add the AC limits to a model with the batteries' powers.

    Parameters
    ----------
    model : the model that gets them.
    inverters : the inverters.
    batteries : names of all batteries, in their order.
    renewables_kw : what all plants could deliver [kW].
    curtailable : whether they may deliver less.
    """
    for i, inverter in enumerate(inverters):
        behind, key = inverter.renewables_share * renewables_kw, f"clipped_kw_{i}"
        numbers = tuple(batteries.index(name) for name in inverter.batteries)
        model.add(key, 0.0, behind, balance=-1.0)
        flows = [(f"discharge_kw_{b}", 1.0) for b in numbers]
        flows += [(f"charge_kw_{b}", -1.0) for b in numbers]
        terms = (*flows, (key, -1.0))
        model.constrain(f"inverter_out_{i}", LE, inverter.ac_kw - behind, *terms)
        model.constrain(f"inverter_in_{i}", GE, -inverter.ac_kw - behind, *terms)
        if not curtailable:
            model.conditions[f"clip_{i}"] = Clipping(key, numbers, inverter.ac_kw, behind)


def check_flows(
    inverters: Sequence[Inverter],
    net_kw: dict[str, np.ndarray],
    renewables_kw: np.ndarray,
    curtailed_kw: np.ndarray,
    curtailable: bool,
    checks: Checks,
) -> None:
    """Check without a solver that what is curtailed fits the AC limits.

    Parameters
    ----------
    inverters : the inverters.
    net_kw : discharging less charging power of each battery by name [kW].
    renewables_kw, curtailed_kw : what plants could deliver, and what of it is not used [kW].
    curtailable : whether they may deliver less than inverters let through.
    checks : gets what breaks physics.
    """
    slack = rounding(renewables_kw, *net_kw.values(), *(one.ac_kw for one in inverters))
    least, most = np.zeros_like(renewables_kw), renewables_kw if curtailable else 0.0
    for i, inverter in enumerate(inverters):
        behind = inverter.renewables_share * renewables_kw
        through = behind + sum((net_kw[name] for name in inverter.batteries), np.zeros(1))
        cut_least = np.maximum(0.0, through - inverter.ac_kw)
        cut_most = np.minimum(behind, through + inverter.ac_kw)
        checks.violate(f"inverters[{i}].ac_kw", cut_least - cut_most, "kW", slack)
        least = least + cut_least
        most = most - behind + cut_most if curtailable else most + cut_least
    checks.violate("curtailed_kw", curtailed_kw - most, "kW", slack)
    if inverters:
        checks.violate("curtailed_kw below what exceeds ac_kw", least - curtailed_kw, "kW", slack)
