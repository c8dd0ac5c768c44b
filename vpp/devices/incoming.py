"""Words of devices and people over MQTT go into the database.

    python -c "from vpp.devices.incoming import Incoming; help(Incoming.store)"

States and acknowledgements are stored together; a message that is faulty, or that the database
refuses, is told in a line and leaves the others alone.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2
from psycopg2.extensions import connection

from vpp.runtime.settings import Config
from vpp.runtime.words import in_one_line, in_words
from vpp.site.battery_messages import (
    Acknowledgement,
    BatteryState,
    MessageError,
    by_name,
    read_acknowledgement,
    read_override,
    read_state,
)
from vpp.storage.battery_states import record_acknowledgements, record_states
from vpp.storage.errors import DatabaseError, refuses_record
from vpp.storage.overrides import AUTO, Override, read_overrides, record_override

log = logging.getLogger("mqtt")

PERSON = "MQTT"  # who orders something, where it is not told


@dataclass(frozen=True)
class Received:
    """A message as it came.

    Parameters
    ----------
    battery_id, name : of its topic: state, ack or override/set of a battery.
    payload : as it came.
    is_retained : whether the broker kept it from earlier.
    at : when it came [UTC].
    generation, mid, qos : of the connection and the message, to acknowledge it.
    """

    battery_id: str
    name: str
    payload: bytes
    is_retained: bool
    at: datetime
    generation: int
    mid: int
    qos: int


class Incoming:
    """Stores messages.

    Parameters
    ----------
    config : names the batteries.
    """

    def __init__(self, config: Config):
        self.batteries = by_name(config.batteries)

    def store(self, conn: connection, messages: Sequence[Received], now: datetime) -> None:
        """Store messages, each once.

        Parameters
        ----------
        conn : the connection; its transaction is committed.
        messages : in the order in which they came.
        now : time of the plant's clock [UTC].

        Raises
        ------
        DatabaseError : the server is away; all are to be stored again.
        """
        states: list[tuple[Received, BatteryState]] = []
        words: list[tuple[Received, Acknowledgement]] = []
        for item in messages:
            try:
                if item.battery_id not in self.batteries:
                    raise MessageError("the configuration has no such battery")
                if item.name == "state":
                    limit = max(now, item.at)
                    states.append((item, self._state(item, limit)))
                elif item.name == "ack":
                    words.append((item, read_acknowledgement(item.payload, item.battery_id)))
                else:
                    self._order(conn, item, now)
            except DatabaseError as error:
                conn.rollback()
                if not _is_refusal(error):
                    raise
                _tell(item, error)
            except psycopg2.Error:
                raise
            except Exception as error:  # whatever it is, the others are taken
                _tell(item, error)
        _together(conn, states, _store_states)
        _together(conn, words, _store_words)

    def _state(self, item: Received, now: datetime) -> BatteryState:
        return read_state(item.payload, self.batteries, item.battery_id, now)

    def _order(self, conn: connection, item: Received, now: datetime) -> None:
        """Record a person's order, where it is a new one."""
        if item.is_retained:
            raise MessageError("a retained order may be old, and is not obeyed; send it anew")
        fields = read_override(item.payload, item.battery_id)
        order = Override(**({"name": PERSON} | fields))
        if order.until is not None and order.until <= now:
            raise MessageError(f"until {order.until:%Y-%m-%dT%H:%M:%SZ} is over")
        known = read_overrides(conn, now).get(item.battery_id)
        conn.commit()
        if order.override == AUTO and known is None:
            return
        if known is None or _said(known) != _said(order):
            record_override(conn, order)
            log.info("%s: %s, by %s", order.battery_id, order.override, in_one_line(order.name))


def _said(order: Override) -> tuple[Any, ...]:
    return order.override, order.soc, order.until, order.name, order.reason


def _store_states(conn: connection, items: Sequence[tuple[Received, BatteryState]]) -> None:
    record_states(conn, [state for _, state in items], sent_at=[item.at for item, _ in items])


def _store_words(conn: connection, items: Sequence[tuple[Received, Acknowledgement]]) -> None:
    record_acknowledgements(conn, [word for _, word in items], [item.at for item, _ in items])


def _together(
    conn: connection,
    items: Sequence[tuple[Received, Any]],
    store: Callable[[connection, Sequence[tuple[Received, Any]]], None],
) -> None:
    """Store items in one transaction; where the database refuses one, each in its own."""
    if not items:
        return
    try:
        store(conn, items)
        conn.commit()
    except DatabaseError as error:
        conn.rollback()
        if not _is_refusal(error):
            raise
        if len(items) == 1:
            _tell(items[0][0], error)
            return
        for item in items:
            _together(conn, [item], store)


def _is_refusal(error: DatabaseError) -> bool:
    """Whether the database refuses a record, and is not away."""
    return isinstance(error.__cause__, Exception) and refuses_record(error.__cause__)


def _tell(item: Received, why: Exception) -> None:
    topic = f"{item.battery_id}/{item.name}"[:200]
    log.warning("%s is not taken: %s", in_one_line(topic), in_words(why))
