"""Batteries that follow a plan and the meter: what a forecast missed is stored, not traded.

A plan knows load and sun as they were forecast. The control of a home battery sees them as they
are, and does better than planned powers. It keeps the exchange with the grid at 0 where the plan
does. A kWh that the plan would give to the load later, when buying is no dearer, it gives now; a
surplus that the plan would store later, when selling pays no less, it stores now. Neither costs
anything if the forecast comes true. Pure: reads and writes nothing.

    python optimization.py backtest --days 30

Powers are means over an interval at the AC terminals [kW]; that of a battery is positive where it
charges.
"""

from dataclasses import dataclass, replace

import numpy as np

from vpp.schedule.problem import Problem, Schedule

NO_POWER_KW = 1e-6  # less is no exchange with the grid
LEAN_EUR_PER_MWH_H = (
    0.01  # by which buying an hour earlier counts as dearer, and selling earns less
)


@dataclass(frozen=True, eq=False)
class Following:
    """The powers of batteries that follow a plan, interval by interval.

    Parameters
    ----------
    planned_kw : powers of the batteries (battery, interval) [kW].
    from_grid_kw : planned imports less exports [kW], one an interval; NaN where planned powers hold
        alone.
    share : of each battery in what differs from the plan; they sum to 1.
    early_kw : what may be given, and what stored, before its time (2, interval) [kW].
    """

    planned_kw: np.ndarray
    from_grid_kw: np.ndarray
    share: np.ndarray
    early_kw: np.ndarray

    @classmethod
    def of(cls, problem: Problem, plan: Schedule) -> "Following":
        """Follow a plan.

        Parameters
        ----------
        problem : what was planned, with its prices.
        plan : its schedule.

        Returns
        -------
        The plan to follow.
        """
        planned = plan.charge_kw - plan.discharge_kw
        from_grid = plan.grid_import_kw - plan.grid_export_kw
        return cls(planned, from_grid, _shares(problem), _early_kw(problem, plan))

    @classmethod
    def at_zero(
        cls, problem: Problem, planned_kw: np.ndarray, from_grid_kw: np.ndarray
    ) -> "Following":
        """Follow planned powers by keeping the exchange with the grid at 0 where the plan does.

        It is what a set-point tells a device (`follow`); elsewhere the device has powers alone.

        Parameters
        ----------
        problem : names the batteries.
        planned_kw : their powers (battery, interval) [kW].
        from_grid_kw : planned imports less exports [kW]; NaN where no plan says it.

        Returns
        -------
        The plan to follow.
        """
        early = np.zeros((2, len(from_grid_kw)))
        zero = np.where(np.abs(from_grid_kw) < NO_POWER_KW, 0.0, np.nan)
        return cls(planned_kw, zero, _shares(problem), early)

    def wanted_kw(self, i: int, net_kw: float) -> np.ndarray:
        """The power wanted of each battery in an interval of the plan.

        Parameters
        ----------
        i : its number.
        net_kw : load less renewables as they are [kW].

        Returns
        -------
        Powers [kW].
        """
        planned, from_grid = self.planned_kw[:, i], self.from_grid_kw[i]
        net = net_kw + float(planned.sum())
        given, taken = self.early_kw[:, i]
        if net > 0:
            moved = -net if from_grid < NO_POWER_KW else -min(net, given)
        else:
            moved = -net if from_grid > -NO_POWER_KW else min(-net, taken)
        return planned + moved * self.share


def leaning(problem: Problem) -> Problem:
    """The problem in which, of what costs the same, what is sure goes first.

    To use what is stored now is surer than later, and so is to store a surplus; to buy later is
    wiser, since more is known then. No price is better than it really is, so that nothing seems to
    pay that does not.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    The problem for a solver; its money is not that of the problem.
    """
    left_h = problem.hours * np.arange(problem.intervals - 1, -1, -1)
    lean = LEAN_EUR_PER_MWH_H * left_h
    return replace(
        problem,
        import_price_eur_per_mwh=problem.import_price_eur_per_mwh + lean,
        export_price_eur_per_mwh=problem.export_price_eur_per_mwh - lean,
    )


def _shares(problem: Problem) -> np.ndarray:
    """Share of each battery in the capacity of all."""
    capacity = problem.stack.capacity_kwh[:, 0]
    return capacity / max(float(capacity.sum()), NO_POWER_KW)


def _early_kw(problem: Problem, plan: Schedule) -> np.ndarray:
    """Powers that may be given, and stored, before their time (2, interval) [kW].

    It is limited by the least that the plan has in store, or room for, until then.
    """
    stack, hours = problem.stack, problem.hours
    energy = plan.soc * stack.capacity_kwh
    stored = np.maximum(energy - stack.soc_min * stack.capacity_kwh, 0.0) * stack.eta_discharge
    room = np.maximum(stack.soc_max * stack.capacity_kwh - energy, 0.0) / stack.eta_charge
    gives, takes = plan.discharge_kw.sum(axis=0), plan.charge_kw.sum(axis=0)
    to_load = np.where(plan.grid_export_kw < NO_POWER_KW, gives, 0.0) * hours
    of_surplus = np.where(plan.grid_import_kw < NO_POWER_KW, takes, 0.0) * hours
    bought, sold = problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh
    given = _before_time(stored.sum(axis=0), to_load, bought)
    taken = _before_time(room.sum(axis=0), of_surplus, -sold)
    return np.stack((given, taken)) / hours


def _before_time(held_kwh: np.ndarray, used_kwh: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """The part of later use, at no higher worth, that each interval may have before its time.

    Parameters
    ----------
    held_kwh : what there is at the end of each interval [kWh].
    used_kwh : what each interval uses of it [kWh].
    worth : of a kWh in each interval.

    Returns
    -------
    Energies [kWh].
    """
    count = len(held_kwh)
    found = np.zeros(count)
    for i in np.flatnonzero(held_kwh > 0):
        held = np.minimum.accumulate(held_kwh[i : count - 1])
        later = slice(i + 1, i + 1 + len(held))
        used = np.cumsum(np.where(worth[later] <= worth[i], used_kwh[later], 0.0))
        found[i] = np.minimum(held, used).max(initial=0.0)
    return found
