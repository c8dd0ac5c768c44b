"""The plant's money and its devices in the configuration: grid, tariff, optimisation, batteries.

Each field's meaning, default and bounds; `vpp.runtime.settings` has the other sections.

    python -c "from vpp.runtime.plant_settings import Tariff; print(Tariff())"
"""

import re
from dataclasses import dataclass

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, choice, number
from vpp.runtime.peak_rules import GRAMMAR as PEAK_GRAMMAR
from vpp.runtime.peak_rules import PeakRule, read_peaks
from vpp.runtime.price_rules import GRAMMAR, PriceRule, read_rules

MARKET = "market"  # the price of a tariff that follows the day-ahead market


@dataclass(frozen=True)
class Grid(Section):
    """`[grid]`: limits and fees of the grid connection.

    Parameters
    ----------
    import_limit_kw : largest power from the grid; inf: no limit.
    export_limit_kw : largest power to the grid; inf: no limit.
    import_fee_eur_per_mwh : paid for each imported MWh on top of the day-ahead price.
    export_fee_eur_per_mwh : kept back from the price of each exported MWh.
    peak_price_eur_per_kw : on the highest mean import of an interval of the month; a plan across
        its end, or a backtest, is billed as if it were one month.
    peak_interval_min : length of those intervals.
    """

    import_limit_kw: float = number(10_000.0, 0)
    export_limit_kw: float = number(10_000.0, 0)
    import_fee_eur_per_mwh: float = 10.0
    export_fee_eur_per_mwh: float = 0.0
    peak_price_eur_per_kw: float = number(0.0, 0)
    peak_interval_min: int = number(60, 5)


@dataclass(frozen=True)
class Tariff(Section):
    """`[tariff]`: what a MWh costs and earns; the fees of `[grid]` come on top.

    Parameters
    ----------
    import_eur_per_mwh : market: the day-ahead price; or prices by months, days and local hours, the
        first that matches holds: 325 Mon-Fri 07:00-20:00; 260 Nov-Mar; 210 (days also: holidays).
    export_eur_per_mwh : the same for what is fed in.
    import_surcharge_eur_per_mwh : added to the import price, before the factor.
    import_factor : multiplies import price and surcharge, such as 1.19 for a value-added tax.
    export_surcharge_eur_per_mwh : added to the export price; below 0: kept back.
    export_factor : multiplies export price and surcharge.
    peaks_eur_per_kw : prices of the highest mean import of a month, all side by side: each with its
        months, days, full hours and length of intervals; with year a twelfth of it counts, such as
        5 Mon-Fri 08:00-20:00; 48 15min year. Empty: none.
    currency : label of all money; it changes no number.
    """

    import_eur_per_mwh: str = MARKET
    export_eur_per_mwh: str = MARKET
    import_surcharge_eur_per_mwh: float = 0.0
    import_factor: float = number(1.0, 0)
    export_surcharge_eur_per_mwh: float = 0.0
    export_factor: float = number(1.0, 0)
    peaks_eur_per_kw: str = ""
    currency: str = "EUR"

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("import_eur_per_mwh", "export_eur_per_mwh"):
            try:
                self.rules(key)
            except ValueError as error:
                expected = f"{MARKET}, or {GRAMMAR}; {error}"
                raise FieldError(key, getattr(self, key), expected) from None
        try:
            read_peaks(self.peaks_eur_per_kw)
        except ValueError as error:
            expected = f"{PEAK_GRAMMAR}; {error}"
            raise FieldError("peaks_eur_per_kw", self.peaks_eur_per_kw, expected) from None
        if not re.fullmatch(r"\S{1,8}", self.currency):
            raise FieldError("currency", self.currency, "a label such as EUR, at most 8 characters")

    def rules(self, key: str) -> tuple[PriceRule, ...] | None:
        """The price rules of a key; None where it is the market's price."""
        text = getattr(self, key).strip()
        return None if text == MARKET else read_rules(text)

    @property
    def peaks(self) -> tuple[PeakRule, ...]:
        """The prices of peaks."""
        return read_peaks(self.peaks_eur_per_kw)

    @property
    def needs_market(self) -> bool:
        """Whether a price is the market's."""
        return MARKET in (self.import_eur_per_mwh.strip(), self.export_eur_per_mwh.strip())


@dataclass(frozen=True)
class Optimization(Section):
    """`[optimization]`: solver, reach of a plan, and price of CO2.

    Parameters
    ----------
    solver : highs or cbc.
    time_limit_s : the solver stops after so many seconds; the plan then states its gap.
    gap : relative gap at which a plan counts as optimal.
    horizon_h : a plan covers so many hours, as far as there are forecasts.
    co2_price_eur_per_t : price of the CO2 of imports.
    co2_kg_per_mwh : CO2 of each imported MWh.
    """

    solver: str = choice("highs", "highs", "cbc")
    time_limit_s: float = number(60.0, above=0)
    gap: float = number(1e-6, 0, 1)
    horizon_h: int = number(36, 1, 24 * 14)
    co2_price_eur_per_t: float = number(0.0, 0)
    co2_kg_per_mwh: float = number(0.0, 0)


@dataclass(frozen=True)
class BatteryParameters(Section):
    """A battery as its data sheet states it.

    Powers at the AC terminals [kW], capacity [kWh], efficiencies and SOC as fractions.

    Parameters
    ----------
    battery_id : the NAME of its section.
    capacity_kwh : energy between a state of charge of 0 and of 1.
    charge_kw : largest charging power.
    discharge_kw : largest discharging power.
    eta_charge : stored energy over charged energy.
    eta_discharge : delivered energy over energy taken from the store.
    soc_min : lowest state of charge that plans use.
    soc_max : highest state of charge that plans use.
    soc_initial : state of charge where the database holds no measured or simulated one.
    self_discharge_per_h : fraction of the stored energy lost in an hour.
    wear_eur_per_mwh : cost of ageing for each MWh discharged.
    cycles_per_day_max : most cycles of a local day; one cycle is capacity_kwh discharged; empty: no
        limit.
    """

    battery_id: str
    capacity_kwh: float = number(2000.0, above=0)
    charge_kw: float = number(1000.0, 0)
    discharge_kw: float = number(1000.0, 0)
    eta_charge: float = number(0.95, high=1, above=0)
    eta_discharge: float = number(0.95, high=1, above=0)
    soc_min: float = number(0.05, 0, 1)
    soc_max: float = number(0.95, 0, 1)
    soc_initial: float = number(0.5, 0, 1)
    self_discharge_per_h: float = number(0.0, 0, 1)
    wear_eur_per_mwh: float = number(0.0, 0)
    cycles_per_day_max: float | None = number(None, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_soc_bounds(self.soc_min, self.soc_max)

    @staticmethod
    def _check_soc_bounds(low: float, high: float, place: str = "") -> None:
        if low > high:
            expected = f"a fraction not above soc_max{place} = {high:g}"
            raise FieldError(f"soc_min{place}", low, expected)

    @property
    def round_trip_efficiency(self) -> float:
        """Delivered over charged energy at the AC terminals."""
        return self.eta_charge * self.eta_discharge
