"""Import and export prices by interval: a contract's rules or the market price, with all fees.

The one place where surcharges, factors and fees meet the market price. Pure: reads and writes
nothing.

    python optimization.py --help

Prices EUR/MWh, or another currency's; times UTC.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain

import numpy as np
import pandas as pd

from vpp.runtime.price_rules import HOLIDAYS, PriceRule
from vpp.runtime.settings import Grid, Tariff


@dataclass(frozen=True)
class LocalTariff:
    """A tariff at its place.

    Parameters
    ----------
    tariff : rules, surcharges and factors.
    grid : the fees of the connection [EUR/MWh].
    time_zone : the zone of its hours.
    holidays_country : ISO code of the country whose public holidays count; empty: none.
    """

    tariff: Tariff
    grid: Grid
    time_zone: str
    holidays_country: str = ""

    def prices(
        self, market_price: np.ndarray, start: pd.Timestamp, step_min: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The prices of import and export.

        Parameters
        ----------
        market_price : day-ahead prices [EUR/MWh], one an interval; without meaning where no price
            of the tariff is the market's.
        start : start of the first interval.
        step_min : length of an interval [min].

        Returns
        -------
        Import and export prices with all fees [EUR/MWh], one an interval.
        """
        tariff, grid = self.tariff, self.grid
        bare = [market_price, market_price]
        for side, key in enumerate(("import_eur_per_mwh", "export_eur_per_mwh")):
            rules = tariff.rules(key)
            if rules is not None:
                index = pd.date_range(start, periods=len(market_price), freq=f"{step_min}min")
                bare[side] = self._ruled(rules, index, step_min)
        paid = (bare[0] + tariff.import_surcharge_eur_per_mwh) * tariff.import_factor
        earned = (bare[1] + tariff.export_surcharge_eur_per_mwh) * tariff.export_factor
        return paid + grid.import_fee_eur_per_mwh, earned - grid.export_fee_eur_per_mwh

    def _ruled(
        self, rules: Sequence[PriceRule], index: pd.DatetimeIndex, step_min: int
    ) -> np.ndarray:
        local = index.tz_convert(self.time_zone)
        holidays: frozenset[date] = frozenset()
        if self.holidays_country and any(HOLIDAYS in (rule.days or ()) for rule in rules):
            import holidays as calendars

            years = range(local[0].year - 1, local[-1].year + 1)
            country = calendars.country_holidays(self.holidays_country, years=years)
            holidays = frozenset(country)
        return prices_at(rules, local, step_min, holidays)


def prices_at(
    rules: Sequence[PriceRule], local: pd.DatetimeIndex, step_min: int, holidays: frozenset[date]
) -> np.ndarray:
    """The price of each interval: the mean over it, where a rule begins or ends inside.

    Parameters
    ----------
    rules : the contract.
    local : starts of the intervals, in the zone of its hours.
    step_min : length of an interval [min].
    holidays : dates of public holidays (`datetime.date`).

    Returns
    -------
    Prices in the unit of the rules, one an interval.
    """
    ends = chain.from_iterable(chain.from_iterable(rule.spans or () for rule in rules))
    part_min = math.gcd(step_min, 15, *ends)
    parts = step_min // part_min
    offsets = pd.to_timedelta(np.arange(parts) * part_min, unit="min")
    # adding to times with a zone counts real minutes, also where the clock is changed
    at = pd.DatetimeIndex(np.add.outer(local.tz_convert("UTC").tz_localize(None), offsets).ravel())
    at = at.tz_localize("UTC").tz_convert(local.tz)
    prices, open_ = np.full(len(at), np.nan), np.ones(len(at), dtype=bool)
    for rule in rules:
        now = open_ & _holds(rule, at, holidays)
        prices[now], open_ = rule.price, open_ & ~now
    return prices.reshape(-1, parts).mean(axis=1)


def _holds(rule: PriceRule, at: pd.DatetimeIndex, holidays: frozenset[date]) -> np.ndarray:
    """Whether a rule holds at each time."""
    minute = np.asarray(at.hour * 60 + at.minute)
    dates = at.tz_localize(None).normalize()
    if rule.spans is None:
        return _on_days(rule, dates, holidays)
    found = np.zeros(len(at), dtype=bool)
    today = _on_days(rule, dates, holidays)
    for first, last in rule.spans:
        if first < last:
            found |= today & (minute >= first) & (minute < last)
        else:
            day_before = _on_days(rule, dates - pd.Timedelta(days=1), holidays)
            found |= (today & (minute >= first)) | (day_before & (minute < last))
    return found


def _on_days(rule: PriceRule, dates: pd.DatetimeIndex, holidays: frozenset[date]) -> np.ndarray:
    """Whether a rule holds on each date."""
    found = np.ones(len(dates), dtype=bool)
    if rule.months is not None:
        found &= np.isin(dates.month, list(rule.months))
    if rule.days is not None:
        weekdays = [day for day in rule.days if day != HOLIDAYS]
        right = np.isin(dates.dayofweek + 1, weekdays)
        if HOLIDAYS in rule.days:
            right |= dates.isin(pd.DatetimeIndex(sorted(holidays)))
        found &= right
    return found
