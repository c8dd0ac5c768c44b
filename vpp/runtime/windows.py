"""Windows of the local week as a configuration writes them: `Mon-Fri 18:00-07:00; Sun 9:00-16:00`.

Days and hours are written as in a tariff's rules. Without days a window comes every day. A window
across midnight belongs to the day on which it begins.

    python -c "from vpp.runtime.windows import parse_windows; print(parse_windows('22:00-06:00'))"
"""

from dataclasses import dataclass

from vpp.runtime.price_rules import DAY_MIN, HOLIDAYS, read_rule

EVERY_DAY = tuple(range(1, 8))
EXPECTED = "windows such as Mon-Fri 18:00-07:00; Sat,Sun 20:00-10:00"


@dataclass(frozen=True)
class Window:
    """A span of local time on some days of the week.

    Parameters
    ----------
    days : weekdays on which it begins, Monday 1.
    begins_min, ends_min : local time of day [min]; the end may lie in the next day.
    """

    days: tuple[int, ...]
    begins_min: int
    ends_min: int


def parse_windows(text: str) -> tuple[Window, ...]:
    """The windows that a text names.

    Parameters
    ----------
    text : windows separated by semicolons.

    Returns
    -------
    The windows in their order; none of an empty text.

    Raises
    ------
    ValueError : a part of the text is no window.
    """
    return tuple(window for part in text.split(";") if part.strip() for window in _windows(part))


def _windows(text: str) -> list[Window]:
    rule = read_rule(f"0 {text}")  # a rule of a price has the same days and hours
    days = EVERY_DAY if rule.days is None else tuple(sorted(map(str, rule.days)))
    if rule.spans is None or rule.months is not None or HOLIDAYS in days:
        raise ValueError(text)
    weekdays = tuple(map(int, days))
    spans = [(begins, ends + DAY_MIN * (ends < begins)) for begins, ends in rule.spans]
    return [Window(weekdays, begins, ends) for begins, ends in spans]
