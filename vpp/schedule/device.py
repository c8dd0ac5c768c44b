"""A device behind the connection, as the model, the replay and the files see it.

A kind of device is one module with one dataclass derived from `Device`, and one line in
`vpp.schedule.problem.Problem`. The dataclass states the fields of the problem file, drafts the
device's part of the model, reads its powers out of a solution, and checks them without a solver.
Nothing else knows what kinds there are. Pure: reads and writes nothing.

    python -m vpp.schedule.problem_file
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vpp.runtime.fields import Section
from vpp.schedule.checks import Arrays, Checks, Read
from vpp.schedule.draft import Model


@dataclass(frozen=True)
class Horizon:
    """The intervals that a problem is about.

    Parameters
    ----------
    intervals : how many there are.
    step_min : length of each [min].
    """

    intervals: int
    step_min: int

    @property
    def hours(self) -> float:
        """Length of an interval [h]."""
        return self.step_min / 60


@dataclass(frozen=True, eq=False)
class Device(Section):
    """Base of all devices beside batteries.

    Attributes
    ----------
    NAME : field that has the name of a device.
    TAKES, GIVES : its electric powers in a schedule [kW], all >= 0: those that it takes, and those
        that it gives. A power that it takes is a consumption that batteries may serve.
    CYCLES : whether its powers are throughput.
    """

    NAME: ClassVar[str]
    TAKES: ClassVar[tuple[str, ...]] = ()
    GIVES: ClassVar[tuple[str, ...]] = ()
    CYCLES: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name of the device."""
        return str(getattr(self, self.NAME))

    def check(self, horizon: Horizon) -> None:
        """Refuse what does not fit into the horizon.

        Parameters
        ----------
        horizon : the intervals of the problem.

        Raises
        ------
        FieldError : a field is not as expected; its key is the field's name.
        """

    def draft(self, model: Model, key: str) -> None:
        """Add the device's variables and constraints.

        Names end with `key`. Powers state their `balance`, `power`, `serves` and `cycles`, limits
        that bend their class. `Model.conditions` takes what only binaries can say.

        Parameters
        ----------
        model : the model that gets them.
        key : the device in names, such as `vehicles_0`.
        """
        raise NotImplementedError

    def read(self, read: Read, hours: float) -> Arrays:
        """The device's part of a schedule.

        Parameters
        ----------
        read : gives the values of a group of the device's variables, by its name without the key.
        hours : length of an interval [h].

        Returns
        -------
        Its arrays by name, as the result file has them; powers follow from the values, states from
        the powers.
        """
        raise NotImplementedError

    def idle(self, horizon: Horizon) -> Arrays:
        """The device's part of a schedule in which it does nothing that it need not do.

        Parameters
        ----------
        horizon : the intervals of the problem.

        Returns
        -------
        Its arrays by name.
        """
        raise NotImplementedError

    def replay(self, arrays: Arrays, checks: Checks, path: str) -> float:
        """Check the device's part of a schedule without a solver.

        Parameters
        ----------
        arrays : its arrays by name.
        checks : gets what breaks physics, and the limits that bend.
        path : place of the device in the problem file, such as `vehicles[0]`.

        Returns
        -------
        Wear [EUR].
        """
        raise NotImplementedError

    def most_kw(self, horizon: Horizon) -> tuple[Any, Any]:
        """More power than the device can ever take, and give, in each interval.

        Parameters
        ----------
        horizon : the intervals of the problem.

        Returns
        -------
        Powers [kW], numbers or arrays of one an interval.
        """
        raise NotImplementedError

    def net_kw(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Power that the device takes less what it gives.

        Parameters
        ----------
        arrays : its arrays by name.

        Returns
        -------
        Powers [kW], one an interval.
        """
        return self.taken_kw(arrays) - sum((arrays[name] for name in self.GIVES), np.zeros(1))

    def taken_kw(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Power that the device takes [kW], one an interval; `arrays` as in `net_kw`."""
        return sum((arrays[name] for name in self.TAKES), np.zeros(1))
