"""Two settlements: a position bought or sold beforehand, and the deviation from it.

Both settle alone: the position at its own price, and the power that the connection takes beside it
at the prices of deviations. Without a position all imports and exports settle at their prices.
Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.schedule.battery import energy_kwh, money_eur
from vpp.schedule.draft import EQ, Model

# fields of a problem
SHORT, LONG = "deviation_short_eur_per_mwh", "deviation_long_eur_per_mwh"
PRICES = ("position_price_eur_per_mwh", SHORT, LONG)
FIELDS = ("position_kw", *PRICES)


@dataclass(frozen=True, eq=False)
class Settlement:
    """Prices at which a connection settles; each array has one value an interval.

    Parameters
    ----------
    hours : length of an interval [h].
    import_price, export_price : of imports and exports [EUR/MWh]; with a position no more than
        defaults.
    fee : paid for each imported MWh in any case, CO2 included [EUR/MWh].
    position_kw : net purchase already made [kW]; None: imports and exports settle.
    position_price, short, long : of the position, and of a deviation that takes more, and less
        [EUR/MWh].
    """

    hours: float
    import_price: np.ndarray
    export_price: np.ndarray
    fee: np.ndarray
    position_kw: np.ndarray | None
    position_price: np.ndarray
    short: np.ndarray
    long: np.ndarray

    @property
    def flows(self) -> tuple[np.ndarray, np.ndarray]:
        """Money that an imported MWh costs and an exported one earns by itself [EUR/MWh].

        With a position this is the fee alone: the energy settles as a deviation.
        """
        if self.position_kw is None:
            return self.import_price + self.fee, self.export_price
        return self.fee, np.zeros_like(self.fee)

    @property
    def taking(self) -> tuple[np.ndarray, np.ndarray]:
        """The least that a MWh more costs where it is imported, and where it is not exported.

        Prices [EUR/MWh], one an interval.
        """
        if self.position_kw is None:
            return self.flows
        return self.long + self.fee, self.long

    def draft(self, model: Model) -> None:
        """Add the deviation from the position to a model with the connection's powers.

        Parameters
        ----------
        model : the model.
        """
        if self.position_kw is None:
            return
        model.add("short_kw", cost=self.hours * self.short)
        model.add("long_kw", cost=-self.hours * self.long)
        flows = (("grid_import_kw", 1.0), ("grid_export_kw", -1.0))
        beside = (("short_kw", -1.0), ("long_kw", 1.0))
        model.constrain("deviate", EQ, self.position_kw, *flows, *beside)

    def position_eur(self) -> np.ndarray:
        """Cost of the position [EUR], one an interval; 0 without one."""
        bought = np.zeros_like(self.fee) if self.position_kw is None else self.position_kw
        return np.asarray(money_eur(energy_kwh(bought, self.hours), self.position_price))

    def deviation_eur(self, import_kw: np.ndarray, export_kw: np.ndarray) -> np.ndarray:
        """Cost of deviations from the position.

        Parameters
        ----------
        import_kw, export_kw : powers of the connection [kW].

        Returns
        -------
        Money [EUR], one an interval; 0 without a position.
        """
        if self.position_kw is None:
            return np.zeros_like(self.fee)
        deviation = energy_kwh(import_kw - export_kw - self.position_kw, self.hours)
        return np.asarray(money_eur(deviation, np.where(deviation > 0, self.short, self.long)))

    def energy_eur(self, import_kw: np.ndarray, export_kw: np.ndarray) -> np.ndarray:
        """Cost of energy, with fees and CO2: position and deviation, or import and export.

        Parameters
        ----------
        import_kw, export_kw : powers of the connection [kW].

        Returns
        -------
        Money [EUR], one an interval.
        """
        bought, sold = self.flows
        costs = money_eur(energy_kwh(import_kw, self.hours), bought)
        costs = costs - money_eur(energy_kwh(export_kw, self.hours), sold)
        return costs + self.position_eur() + self.deviation_eur(import_kw, export_kw)


def settlement_of(
    hours: float,
    import_price: np.ndarray,
    export_price: np.ndarray,
    fee: np.ndarray,
    given: Mapping[str, np.ndarray | float | None],
) -> Settlement:
    """The settlement of a problem.

    Parameters
    ----------
    hours : length of an interval [h].
    import_price, export_price, fee : as in `Settlement`.
    given : the fields that `FIELDS` names; None where they have their defaults.

    Returns
    -------
    The settlement.

    Raises
    ------
    FieldError : a price of positions or deviations without a position, or a deviation short that
        costs less than a deviation long earns.
    """
    position = given["position_kw"]
    for name in PRICES:
        if position is None and given[name] is not None:
            expected = "position_kw beside it: without a position nothing settles at it"
            raise FieldError(name, "(given)", expected)

    if position is None:
        prices = (import_price, import_price, export_price)
        return Settlement(hours, import_price, export_price, fee, None, *prices)

    def full(name: str, default: np.ndarray) -> np.ndarray:
        values = default if given[name] is None else np.asarray(given[name], float)
        return np.broadcast_to(values, fee.shape)

    bought = full("position_kw", np.zeros(1))
    price = full("position_price_eur_per_mwh", np.where(bought >= 0, import_price, export_price))
    short, long = full(SHORT, import_price), full(LONG, export_price)
    wrong = np.flatnonzero(short < long)
    if len(wrong):
        t = int(wrong[0])
        expected = f"at least {LONG}, {long[t]:g} there; they default to import and export price"
        raise FieldError(f"{SHORT}[{t}]", f"{short[t]:g}", expected)
    return Settlement(hours, import_price, export_price, fee, bought, price, short, long)
