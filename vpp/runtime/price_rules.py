"""Prices by month, weekday and local hour, as a contract states them.

A rule is a price and where it holds: `325 Nov-Mar Mon-Fri 07:00-20:00`. Rules are separated by
semicolons; the first that matches holds, and the last has no condition. Hours across midnight
belong to the day on which they begin. `vpp.schedule.tariff` looks them up. Pure: reads and writes
nothing.

    python -c "from vpp.runtime.price_rules import read_rule; print(read_rule('325 Sat'))"
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOLIDAYS = "holidays"
DAY_MIN = 24 * 60
GRAMMAR = (
    "PRICE [months] [days] [hours]; ...; PRICE, such as 325 Mon-Fri 07:00-20:00; 260 Nov-Mar; 210"
)


@dataclass(frozen=True)
class PriceRule:
    """A price and where it holds.

    Parameters
    ----------
    price : the price, in the unit of its key.
    months : numbers of months from 1; None: all.
    days : numbers of weekdays, Monday 1, and `HOLIDAYS`; None: all.
    spans : local hours as minutes of the day, from (included) and to; None: all. A span that ends
        at or before its beginning ends on the next day.
    """

    price: float
    months: frozenset[int] | None = None
    days: frozenset[int | str] | None = None
    spans: tuple[tuple[int, int], ...] | None = None

    @property
    def always(self) -> bool:
        """Whether it holds at all times."""
        return self.months is None and self.days is None and self.spans is None


def read_rules(text: str) -> tuple[PriceRule, ...]:
    """Read the rules of a contract.

    Parameters
    ----------
    text : rules, separated by semicolons.

    Returns
    -------
    The rules in their order.

    Raises
    ------
    ValueError : says which rule is wrong, and what is expected.
    """
    rules = tuple(read_rule(part) for part in text.split(";"))
    for number, rule in enumerate(rules, 1):
        if rule.always and number < len(rules):
            raise ValueError(f"rule {number} always holds, so that no rule after it ever does")
    if not rules[-1].always:
        raise ValueError("the last rule has a condition; end with a price alone, for all else")
    return rules


def read_rule(text: str) -> PriceRule:
    """Read one rule, such as `325 Mon-Fri 07:00-20:00`.

    Parameters
    ----------
    text : the price, then months, days and hours, each of which may be missing.

    Raises
    ------
    ValueError : says which word is wrong.
    """
    words = text.split()
    if not words:
        raise ValueError("a rule is empty")
    try:
        price = float(words[0]) if re.fullmatch(r"[-+]?[\d.]+", words[0], re.ASCII) else math.nan
    except ValueError:
        price = math.nan
    if math.isnan(price):
        raise ValueError(f"{words[0]!r} is no price")
    months, days, spans = None, None, None
    for word in words[1:]:
        if ":" in word and spans is None:
            spans = tuple(_span(part) for part in word.split(","))
        elif (found := _members(word, MONTHS)) and months is None and not (days or spans):
            months = frozenset(n for n in found if isinstance(n, int))
        elif (found := _members(word, (*DAYS, HOLIDAYS))) and days is None and not spans:
            days = frozenset(HOLIDAYS if n == len(DAYS) + 1 else n for n in found)
        else:
            raise ValueError(
                f"{word!r} in {text.strip()!r}; expected months (Nov-Mar), then days (Mon-Fri,"
                " Sat,holidays), then hours (07:00-20:00), each at most once"
            )
    return PriceRule(price, months, days, spans)


def _members(word: str, names: Sequence[str]) -> list[int] | None:
    """Numbers from 1 of the names in a list such as Sat,holidays or Nov-Mar; None if it is none."""
    numbers = {name.lower(): number for number, name in enumerate(names, 1)}
    cycle = [number for number in numbers.values() if number <= len(names)]
    if HOLIDAYS in numbers:
        cycle.pop()
    found: list[int] = []
    for part in word.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in numbers or (dash and not {numbers[first], numbers.get(last)} <= set(cycle)):
            return None
        if not dash:
            found.append(numbers[first])
            continue
        length = (numbers[last] - numbers[first]) % len(cycle) + 1
        found += [cycle[(numbers[first] - 1 + k) % len(cycle)] for k in range(length)]
    return found


def _span(part: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)", part, re.ASCII)
    if found:
        first, last = (int(found[k]) * 60 + int(found[k + 1]) for k in (1, 3))
        right = int(found[2]) < 60 and int(found[4]) < 60 and first < DAY_MIN and last <= DAY_MIN
        if right and first != last:
            return first, last
    raise ValueError(f"{part!r} are no hours; expected 07:00-20:00 or 22:00-06:00, 24:00 at most")
