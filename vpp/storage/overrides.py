"""Orders of people to a battery: the table `overrides`.

The newest order of a battery counts, until its `until`, or until the next one; `auto` ends it. A
plan takes those in force as constraints.

    python -c "from vpp.storage.overrides import Override; help(Override)"

Times are UTC of the plant's clock; states of charge are fractions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.errors import FieldError
from vpp.site.battery_messages import OVERRIDE_WORDS
from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_rows

AUTO = "auto"
TO_A_SOC = ("charge", "discharge")  # the orders that may name a state of charge
TEXT_MAX = 500  # characters of a name or a reason


@dataclass(frozen=True)
class Override:
    """An order for one battery.

    Parameters
    ----------
    battery_id : the battery.
    override : auto (the plan decides), hold (neither charge nor discharge), charge, discharge, or
        off (out of service: the plan counts on nothing from it).
    soc : charge or discharge to this state of charge [fraction]; None: to the battery's bound.
    until : when it ends [UTC]; None: with the next order.
    name, reason : who orders it, and why.
    made_at : when [UTC]; None: when it is recorded.
    """

    battery_id: str
    override: str
    soc: float | None = None
    until: pd.Timestamp | None = None
    name: str = ""
    reason: str = ""
    made_at: pd.Timestamp | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.battery_id, str) or not self.battery_id:
            raise FieldError("battery_id", self.battery_id, "the name of a battery")
        if self.override not in OVERRIDE_WORDS:
            raise FieldError("override", self.override, f"one of {', '.join(OVERRIDE_WORDS)}")
        self._check_soc()
        for key in ("until", "made_at"):
            self._check_time(key)
        if self.override == AUTO and self.until is not None:
            raise FieldError("until", self.until, "no time for auto, which ends an order")
        for key in ("name", "reason"):
            text = getattr(self, key)
            if not isinstance(text, str) or len(text) > TEXT_MAX or "\0" in text:
                raise FieldError(key, text, f"a text of at most {TEXT_MAX} characters")

    def _check_soc(self) -> None:
        if self.soc is None:
            return
        if self.override not in TO_A_SOC:
            raise FieldError("soc", self.soc, f"none for {self.override}, which names no state")
        number = isinstance(self.soc, int | float) and not isinstance(self.soc, bool)
        if not number or not 0 <= self.soc <= 1:  # NaN is not between
            raise FieldError("soc", self.soc, "a fraction from 0 to 1")

    def _check_time(self, key: str) -> None:
        """Times have a zone, and are kept in UTC."""
        given = getattr(self, key)
        if given is None:
            return
        expected = "a time with its zone, such as 2025-03-20T18:00Z"
        try:
            time = pd.Timestamp(given)
        except (ValueError, TypeError):
            raise FieldError(key, given, expected) from None
        if time is pd.NaT or time.tzinfo is None:
            raise FieldError(key, given, expected)
        object.__setattr__(self, key, time.tz_convert("UTC"))


def record_override(conn: connection, override: Override) -> int:
    """Record an order; it holds from the next plan on.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    override : the order.

    Returns
    -------
    Its number.

    Raises
    ------
    FieldError : it ends before it is made.
    DatabaseError : the server refuses.
    """
    until, now = override.until, override.made_at
    if until is not None and now is not None and until <= now:
        raise FieldError("until", until, f"a time after {now}, which is now")
    values = {
        name: value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
        for name, value in asdict(override).items()
    }
    query = """
        INSERT INTO overrides (battery_id, override, soc, until, name, reason, made_at)
        VALUES (%(battery_id)s, %(override)s, %(soc)s, %(until)s, %(name)s, %(reason)s,
            coalesce(%(made_at)s::timestamptz, clock_timestamp()))
        RETURNING override_id"""
    with explained("overrides"):
        rows = select_rows(conn, query, values)
        conn.commit()
    return int(rows[0]["override_id"])


def read_overrides(conn: connection, now: Moment) -> dict[str, Override]:
    """The orders in force.

    Parameters
    ----------
    conn : the connection.
    now : time of the plant's clock, with a zone; orders that end by then do not count.

    Returns
    -------
    battery_id -> its newest order, where that is not `auto` and has not ended.
    """
    query = """
        SELECT * FROM (
            SELECT DISTINCT ON (battery_id) * FROM overrides
            ORDER BY battery_id, override_id DESC) AS newest
        WHERE override <> 'auto' AND (until IS NULL OR until > %s)
        ORDER BY battery_id"""
    rows = select_rows(conn, query, (pd.Timestamp(now).to_pydatetime(),))
    return {row["battery_id"]: _override(row) for row in rows}


def newest_override(conn: connection) -> int:
    """The number of the newest order of any battery; 0 where there is none."""
    query = "SELECT coalesce(max(override_id), 0) AS newest FROM overrides"
    return int(select_rows(conn, query)[0]["newest"])


def _override(row: Mapping[str, object]) -> Override:
    return Override(**{name: value for name, value in row.items() if name != "override_id"})  # type: ignore[arg-type]
