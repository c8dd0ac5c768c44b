"""Peak prices as a contract states them: `5 Mon-Fri 08:00-20:00; 48 15min year`.

Each rule is a price of the highest mean import of a month's local clock intervals, and which of
them count: months, weekdays and full hours, as in a rule of energy prices. Unlike those, all rules
hold side by side. `15min` is the length of the intervals, else 60. With `year` the price is that of
a year on the mean of twelve months' peaks: a month's peak costs a twelfth of it.

    python -c "from vpp.runtime.peak_rules import read_peaks; print(read_peaks('48 15min year'))"
"""

from dataclasses import dataclass

from vpp.runtime.price_rules import DAY_MIN, HOLIDAYS, read_rule

GRAMMAR = (
    "PRICE [months] [days] [full hours] [15min | 30min | 60min] [year]; ..., such as"
    " 5 Mon-Fri 08:00-20:00; 48 15min year"
)
LENGTHS_MIN = {"15min": 15, "30min": 30, "60min": 60}
YEAR, MONTHS_A_YEAR = "year", 12


@dataclass(frozen=True)
class PeakRule:
    """A price of a month's peak, and the clock intervals that count.

    Parameters
    ----------
    price_eur_per_kw : of a month's highest mean import.
    interval_min : length of the clock intervals [min].
    months, weekdays, hours : of the local start of those that count, from 1, from 1 (Monday) and
        from 0; None: all.
    """

    price_eur_per_kw: float
    interval_min: int = 60
    months: tuple[int, ...] | None = None
    weekdays: tuple[int, ...] | None = None
    hours: tuple[int, ...] | None = None


def read_peaks(text: str) -> tuple[PeakRule, ...]:
    """Read the peak prices of a contract.

    Parameters
    ----------
    text : rules, separated by semicolons; empty: none.

    Raises
    ------
    ValueError : says which rule is wrong, and what is expected.
    """
    return tuple(map(_read, text.split(";"))) if text.strip() else ()


def _read(text: str) -> PeakRule:
    words, ends = text.split(), list[str]()
    while words and (words[-1] == YEAR or words[-1] in LENGTHS_MIN or words[-1].endswith("min")):
        ends.insert(0, words.pop())
    lengths = [word for word in ends if word != YEAR]
    unknown = [word for word in lengths if word not in LENGTHS_MIN]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no length; {', '.join(LENGTHS_MIN)} are")
    if len(lengths) > 1 or len(ends) - len(lengths) > 1:
        raise ValueError(f"{ends[-1]!r} in {text.strip()!r} comes after {ends[0]!r}; one of each")
    rule = read_rule(" ".join(words))
    if rule.price < 0:
        raise ValueError(f"{words[0]!r} is below 0")
    if rule.days and HOLIDAYS in rule.days:
        raise ValueError("a peak knows weekdays, not holidays")
    price = rule.price / MONTHS_A_YEAR if YEAR in ends else rule.price
    weekdays = tuple(sorted(int(day) for day in rule.days)) if rule.days else None
    months = tuple(sorted(rule.months)) if rule.months else None
    hours = None if rule.spans is None else _hours(rule.spans, bool(months or weekdays))
    length = LENGTHS_MIN[lengths[0]] if lengths else 60
    return PeakRule(price, length, months, weekdays, hours)


def _hours(spans: tuple[tuple[int, int], ...], on_days: bool) -> tuple[int, ...]:
    """The full hours of spans of minutes."""
    found = set[int]()
    for first, last in spans:
        shown = f"{first // 60:02}:{first % 60:02}"
        if first % 60 or last % 60:
            raise ValueError(f"the hours from {shown} on are not full; a peak counts full hours")
        if last <= first and on_days:
            raise ValueError(
                f"the hours from {shown} on go across midnight; write those before and those after"
                " it, such as Mon-Fri 00:00-06:00,22:00-24:00: days are those of the clock"
            )
        end = last if last > first else last + DAY_MIN
        found |= {minute // 60 % 24 for minute in range(first, end, 60)}
    return tuple(sorted(found))
