"""A site of a portfolio as a linear programme that HiGHS keeps: only prices and targets change.

The site pays its own prices and, for its exchange with the grid, a price that all sites have in
common; or its exchange has to come to a target. Batteries, import, export and curtailment are
variables, and limits of the connection bend at a price above all money. Pure: reads and writes
nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh; the exchange is import less export.
"""

from dataclasses import dataclass, replace

import highspy
import numpy as np
from scipy import sparse

from vpp.schedule.backends import DUAL, PRIMAL, new_highs
from vpp.schedule.draft import INFINITE, Matrices
from vpp.schedule.problem import Problem, Schedule

OWN = 10.0  # times as dear as an excess in common is that of a site's own connection
ONE_PER_INTERVAL = 7  # grid import and export, curtailment, both limits' excess, off the target
TRIES = 50  # to take away what a battery does at once
AT_ONCE = 1e-6  # kW, as a fraction of the rating, that a battery may charge and discharge at once


class SiteLpError(RuntimeError):
    """HiGHS has no optimum of a site."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer of a site to a price, or to a target.

    Parameters
    ----------
    exchange_kw : import less export [kW], one an interval.
    charge_kw, discharge_kw : powers of the batteries [kW] (battery, interval).
    curtailed_kw : curtailed renewables [kW], one an interval.
    cost_eur : what it costs at the site's own prices, excess of its limits included [EUR].
    bound_eur : what nothing can cost less than, at the price that was asked [EUR].
    schedule : the schedule, where it is more than batteries and curtailment.
    stored_eur_per_mwh : value of a MWh more in each battery (battery, interval).
    bus_eur_per_mwh : value of a MWh more at the bus, one an interval.
    """

    exchange_kw: np.ndarray
    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    curtailed_kw: np.ndarray
    cost_eur: float
    bound_eur: float
    schedule: Schedule | None = None
    stored_eur_per_mwh: np.ndarray | None = None
    bus_eur_per_mwh: np.ndarray | None = None


def is_linear(problem: Problem) -> bool:
    """Whether a linear programme of `SiteLp` has all of a problem.

    Parameters
    ----------
    problem : of the site.
    """
    stack = problem.stack
    plain = not (
        problem.devices
        or problem.inverters
        or problem.scenarios
        or problem.peaks
        or problem.position_kw is not None
        or problem.change_price_eur_per_mwh
    )
    batteries = all(
        battery.grid_charging
        and battery.grid_discharging
        and not battery.charge_min_kw
        and not (battery.charge_curve or battery.discharge_curve or battery.wear_curve)
        and not battery.soc_targets
        and battery.soc_final is None
        and battery.soc_final_min is None
        for battery in problem.batteries
    )
    inside = (stack.soc_initial >= stack.soc_min) & (stack.soc_initial <= stack.soc_max)
    prices = problem.import_cost_eur_per_mwh >= problem.export_price_eur_per_mwh
    still = not (stack.keep != 1.0).any() or not stack.soc_min.any()
    return bool(plain and batteries and inside.all() and prices.all() and still)


class SiteLp:
    """The linear programme of a site.

    Parameters
    ----------
    problem : of the site; `is_linear`.
    excess_eur_per_mwh : price of energy beyond common limits; beyond the own ones it is `OWN` times
        as dear.
    """

    def __init__(self, problem: Problem, excess_eur_per_mwh: float) -> None:
        self.problem, self.excess = problem, OWN * excess_eur_per_mwh
        count, steps = len(problem.batteries), problem.intervals
        self.cells, self.steps = count * steps, steps
        self.grid = np.arange(ONE_PER_INTERVAL * steps).reshape(ONE_PER_INTERVAL, steps)
        self.grid += 3 * self.cells
        self.own_cost = self._cost()
        self.matrices = self._matrices()
        self.highs = new_highs(self.matrices, INFINITE, 1e-6)
        self.solved = False

    def _cost(self) -> np.ndarray:
        """Cost of each variable [EUR for each kW, or kWh that is left]."""
        problem, stack, steps = self.problem, self.problem.stack, self.steps
        by_kw = problem.hours / 1000
        shape = (len(problem.batteries), steps)
        left = np.zeros(shape)
        left[:, -1:] = -stack.terminal_value_eur_per_mwh / 1000
        nothing = np.zeros(steps)
        grid = (problem.import_cost_eur_per_mwh, -problem.export_price_eur_per_mwh, nothing)
        excess = np.full(steps, self.excess)
        over = (grid[0] + excess, grid[1] + excess)
        wear = np.broadcast_to(stack.wear_eur_per_mwh * by_kw, shape)
        parts = [np.zeros(shape), wear, left]
        parts += [np.asarray(part) * by_kw for part in (*grid, *over, nothing, nothing)]
        return np.concatenate([part.ravel() for part in parts])

    def _rows(self) -> tuple[list[tuple], np.ndarray, np.ndarray]:
        """The energy of each battery, the power balance, the target, and cycles.

        Entries of the matrix as rows, columns and values, and the bounds of the rows.
        """
        problem, stack, steps, cells = self.problem, self.problem.stack, self.steps, self.cells
        each = np.arange(cells)
        first = each % steps == 0
        charge, discharge, energy = each, cells + each, 2 * cells + each
        gain = np.repeat(problem.hours * stack.eta_charge, steps, axis=1).ravel()
        spend = np.repeat(problem.hours / stack.eta_discharge, steps, axis=1).ravel()
        keep = np.repeat(stack.keep, steps, axis=1).ravel()
        later = each[~first]
        start = np.where(
            first,
            keep * np.repeat(stack.soc_initial * stack.capacity_kwh, steps, axis=1).ravel(),
            0,
        )
        t, battery_t = np.arange(steps), each % steps
        imports, exports, curtailed, over_in, over_out, above, below = self.grid
        balance, target = cells + t, cells + steps + t
        entries = [
            (each, energy, 1.0), (later, energy[later - 1], -keep[later]),
            (each, charge, -gain), (each, discharge, spend),
            (cells + battery_t, charge, -1.0), (cells + battery_t, discharge, 1.0),
            *((balance, column, sign) for column, sign in zip(
                (imports, exports, curtailed, over_in, over_out), (1, -1, -1, 1, -1), strict=True)),
            *((target, column, sign) for column, sign in zip(
                (imports, exports, over_in, over_out, above, below), (1, -1, 1, -1, -1, 1),
                strict=True)),
        ]  # fmt: skip
        net = problem.load_kw - problem.renewables_kw
        free = np.full(steps, INFINITE)
        low, high = np.concatenate((start, net, -free)), np.concatenate((start, net, free))
        cycles, most = self._cycles()
        for row, (columns, value) in enumerate(cycles):
            entries.append((np.full(len(columns), cells + 2 * steps + row), columns, value))
        low = np.concatenate((low, np.full(len(most), -INFINITE)))
        return entries, low, np.concatenate((high, most))

    def _matrices(self) -> Matrices:
        """The model as arrays."""
        problem, stack, steps = self.problem, self.problem.stack, self.steps
        count, cells, free = len(problem.batteries), self.cells, np.full(self.steps, INFINITE)
        entries, low, high = self._rows()
        rows, columns, values = (
            np.concatenate([np.broadcast_to(np.asarray(part, float), np.shape(entry[0])).ravel()
                            for entry in entries for part in (entry[k],)])
            for k in range(3)
        )  # fmt: skip
        width = 3 * cells + ONE_PER_INTERVAL * steps
        csr = sparse.csr_matrix(
            (values, (rows.astype(int), columns.astype(int))), shape=(len(low), width)
        )
        spills = problem.renewables_kw if problem.curtailable else np.zeros(steps)
        usable = stack.usable_kw
        upper = [usable[0], usable[1], stack.soc_max * stack.capacity_kwh]
        upper += [problem.import_limit_kw, problem.export_limit_kw, spills, free, free, free, free]
        lower = np.zeros(width)
        lower[2 * cells : 3 * cells] = (stack.soc_min * stack.capacity_kwh).ravel()
        shape = (count, steps)
        tops = [np.broadcast_to(p, shape).ravel() if k < 3 else p for k, p in enumerate(upper)]
        return Matrices(
            cost=self.own_cost,
            lower=lower,
            upper=np.concatenate(tops),
            integral=np.zeros(width, dtype=np.int32),
            row_lower=low,
            row_upper=high,
            starts=csr.indptr.astype(np.int32),
            index=csr.indices.astype(np.int32),
            value=csr.data,
        )

    def _cycles(self) -> tuple[list[tuple[np.ndarray, float]], list[float]]:
        """The discharges of a local day, and their most, where cycles are limited."""
        problem, stack, days = self.problem, self.problem.stack, self.problem.local_days
        rows, most = [], []
        for b in np.flatnonzero(np.isfinite(stack.cycles_per_day_max[:, 0])).tolist():
            capacity, limit = stack.capacity_kwh[b, 0], stack.cycles_per_day_max[b, 0]
            for day in range(int(days[-1]) + 1):
                within = np.flatnonzero(days == day)
                used = stack.cycles_so_far[b, 0] if day == 0 else 0.0
                rows.append((self.cells + b * self.steps + within, problem.hours))
                most.append(max(0.0, (limit - used)) * capacity)
        return rows, most

    def answer(
        self, price_eur_per_mwh: np.ndarray, target_kw: np.ndarray | None = None, off: float = 0.0
    ) -> Answer:
        """The best that the site can do.

        Parameters
        ----------
        price_eur_per_mwh : of its exchange, beside its own prices, one an interval.
        target_kw : the exchange that it comes to as near as it can, one an interval; None: any.
        off : price of what is off the target [EUR/MWh].

        Raises
        ------
        SiteLpError : HiGHS has no optimum.
        """
        steps, highs, by_kw = self.steps, self.highs, self.problem.hours / 1000
        cost = self.own_cost.copy()
        signs = ((0, 1), (1, -1), (3, 1), (4, -1))
        for place, sign in signs:
            cost[self.grid[place]] += sign * price_eur_per_mwh * by_kw
        cost[self.grid[5:]] = off * by_kw
        free = np.full(steps, INFINITE)
        goal = (-free, free) if target_kw is None else (target_kw, target_kw)
        rows = np.arange(self.cells + steps, self.cells + 2 * steps, dtype=np.int32)
        highs.changeRowsBounds(steps, rows, *goal)  # type: ignore[attr-defined]
        changed = self.grid.ravel().astype(np.int32)
        highs.changeColsCost(len(changed), changed, cost[changed])
        strategy = PRIMAL if self.solved and target_kw is None else DUAL
        highs.setOptionValue("simplex_strategy", strategy)
        return self._run()

    def exclusive(self, answer: Answer) -> Answer:
        """The answer in which no battery charges and discharges in the same interval.

        The linear programme forbids it mostly by itself, as losses cost. Where it does not, the
        smaller of both powers is taken away, and the rest solved again.

        Parameters
        ----------
        answer : to what was asked last.
        """
        rating = np.maximum(self.problem.stack.charge_kw, self.problem.stack.discharge_kw)
        for _ in range(TRIES):
            both = np.minimum(answer.charge_kw, answer.discharge_kw)
            broken = both > AT_ONCE * np.maximum(rating, 1.0)
            if not broken.any():
                break
            discharges = answer.discharge_kw >= answer.charge_kw
            columns = np.flatnonzero(broken) + np.where(discharges[broken], 0, self.cells)
            nothing = np.zeros(len(columns))
            self.highs.changeColsBounds(len(columns), columns.astype(np.int32), nothing, nothing)
            answer = self._run()
        net = answer.charge_kw - answer.discharge_kw
        return replace(answer, charge_kw=np.maximum(net, 0.0), discharge_kw=np.maximum(-net, 0.0))

    def _run(self) -> Answer:
        self.highs.run()
        self.solved = True
        if self.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise SiteLpError(f"HiGHS: {self.highs.getModelStatus()}")
        solution = self.highs.getSolution()
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        return self._read(values, duals, self.highs.getInfo().objective_function_value)

    def _read(self, values: np.ndarray, duals: np.ndarray, bound: float) -> Answer:
        shape = (len(self.problem.batteries), self.steps)
        charge = values[: self.cells].reshape(shape)
        discharge = values[self.cells : 2 * self.cells].reshape(shape)
        imports, exports, curtailed, over_in, over_out, *_ = values[self.grid]
        return Answer(
            exchange_kw=imports + over_in - exports - over_out,
            charge_kw=charge,
            discharge_kw=discharge,
            curtailed_kw=curtailed,
            cost_eur=float(self.own_cost @ values),
            bound_eur=bound,
            stored_eur_per_mwh=-1000 * duals[: self.cells].reshape(shape) + 0.0,
            bus_eur_per_mwh=1000 / self.problem.hours * duals[self.cells :][: self.steps],
        )
