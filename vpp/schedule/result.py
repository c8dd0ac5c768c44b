"""The schedule that comes out of a problem: its powers, its money and its reasons.

Powers are means over an interval at the AC terminals [kW], money EUR and positive where it is paid;
`soc` is a fraction of the capacity at the END of an interval. Arrays over time have one value an
interval, arrays of batteries are (battery, interval).

    python optimization.py solve --input examples/problem.json --output result.json
"""

from dataclasses import dataclass, field

import numpy as np

from vpp.schedule.checks import Arrays, Violation


@dataclass(frozen=True, eq=False)
class Schedule:
    """Powers of batteries, plants and grid connection, all >= 0, and the SOC.

    Parameters
    ----------
    charge_kw, discharge_kw : powers of the batteries [kW] (battery, interval).
    curtailed_kw : renewables that are not used [kW], one an interval.
    grid_import_kw, grid_export_kw : powers of the connection [kW], one an interval.
    soc : state of charge at the end of each interval (battery, interval).
    devices : arrays of each other device by its key, such as `vehicles_0`, and their names.
    """

    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    curtailed_kw: np.ndarray
    grid_import_kw: np.ndarray
    grid_export_kw: np.ndarray
    soc: np.ndarray
    devices: dict[str, Arrays] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificate:
    """How the schedule was found, and how far it can be from the best.

    Parameters
    ----------
    kind : `lp-exact` for a linear programme, which needs no binaries, or `milp`.
    binaries : number of binary variables of the last model.
    gap : distance of objective and bound as a fraction; 1 where nothing is proven.
    bound_eur : cost that no schedule can fall below [EUR].
    seconds : time of the search [s].
    proven : whether the search ended; if not, time ran out first.
    """

    kind: str
    binaries: int
    gap: float | None
    bound_eur: float | None
    seconds: float
    proven: bool = True

    @property
    def word(self) -> str:
        """The kind, or `lp-unproven` for a linear programme for which time ran out."""
        unproven = self.kind == "lp-exact" and not self.proven
        return "lp-unproven" if unproven else self.kind


def _nothing() -> np.ndarray:
    """No values: of a result without a schedule."""
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class Result:
    """A schedule, its money and its reasons.

    Parameters
    ----------
    status : `optimal`, `feasible` (time ran out) or `infeasible`.
    certificate : how far the schedule can be from the best.
    schedule : the schedule, if there is one.
    cost_eur : energy, peak and CO2 [EUR].
    objective_eur : cost with wear and the price of changes, less the value of the energy left
        [EUR].
    violations : limits that bent.
    stored_value_eur_per_mwh : worth of a MWh in the battery that moves most, one an interval.
    battery_value_eur_per_mwh : value of a MWh more in each battery (battery, interval).
    bus_price_eur_per_mwh : value of a MWh more at the bus, one an interval. These three are NaN
        where time ran out before they were known.
    reason : a sentence for each interval.
    cause : why there is no schedule.
    position_kw : the position [kW], one an interval; None without one.
    position_cost_eur, deviation_cost_eur : what it and deviations from it cost [EUR].
    scenarios : schedule and money of each scenario; the rest is then the first one's, and costs are
        the expected ones.
    """

    status: str
    certificate: Certificate
    schedule: Schedule | None = None
    cost_eur: float | None = None
    objective_eur: float | None = None
    violations: tuple[Violation, ...] = ()
    stored_value_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    battery_value_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    bus_price_eur_per_mwh: np.ndarray = field(default_factory=_nothing)
    reason: tuple[str, ...] = ()
    cause: str | None = None
    position_kw: np.ndarray | None = None
    position_cost_eur: float | None = None
    deviation_cost_eur: float | None = None
    scenarios: tuple["Result", ...] = ()

    @property
    def found(self) -> Schedule:
        """The schedule of a result that has one.

        Raises
        ------
        ValueError : there is none; says the cause.
        """
        if self.schedule is None:
            raise ValueError(f"{self.status}: {self.cause}")
        return self.schedule
