"""Measured states of batteries on their topic: decoded and checked as records.py does with series.

    {"battery_id": "battery-1", "time": "2026-01-05T12:00:00Z", "soc": 0.42, "power_kw": -250}

The key of a message is its battery. `decode` and `check` here also serve all other kinds, so that
the sink has one way for all. Nothing is read or written here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from vpp.runtime.plant_settings import BatteryParameters
from vpp.site.battery_messages import BatteryState, MessageError, read_state
from vpp.site.kinds import BATTERY
from vpp.stream import records
from vpp.stream.faults import Limits, Registry, key_reason
from vpp.stream.records import AHEAD_US, FAR_MS, Checked, Decoded


@dataclass(frozen=True)
class DecodedStates(Decoded):
    """Messages of batteries that are still to be read.

    Parameters
    ----------
    values : the messages' bytes.
    """

    values: Sequence[bytes | None] = ()

    def part(self, rows: slice) -> "DecodedStates":
        """Some of the messages."""
        part = super().part(rows)
        rest = (part.names, part.columns, part.places, part.refused, part.keys)
        return DecodedStates(part.kind, *rest, self.values[rows])


@dataclass(frozen=True)
class CheckedStates(Checked):
    """The states of batteries after the checks.

    Parameters
    ----------
    states : one for each row of `columns`, which hold when they were sent.
    """

    states: Sequence[BatteryState] = ()

    @property
    def sent_at(self) -> list[datetime]:
        """When each was sent [UTC]."""
        return [datetime.fromtimestamp(at / 1e6, UTC) for at in self.columns["sent_at"].tolist()]


def decode(
    kind: str,
    values: Sequence[bytes | None],
    sent_ms: Sequence[int],
    keys: Sequence[bytes | None] | None = None,
) -> Decoded:
    """Decode the values of messages of one kind.

    Parameters
    ----------
    kind : a key of `KINDS`, or `BATTERY`.
    values, sent_ms, keys : as of `records.decode`.

    Returns
    -------
    The records; those of batteries are read by `check`.
    """
    if kind != BATTERY:
        return records.decode(kind, values, sent_ms, keys)
    sent_at = np.clip(np.array(sent_ms, np.int64), 0, FAR_MS) * 1000
    places, names = np.arange(len(values)), [""] * len(values)
    kept = None if keys is None else list(keys)
    return DecodedStates(kind, names, {"sent_at": sent_at}, places, [], kept, values)


def check(
    decoded: Decoded,
    registry: Registry,
    limits: Limits,
    now_us: int,
    batteries: Mapping[str, BatteryParameters],
) -> Checked:
    """Check records against the known sources, or states against the known batteries.

    Parameters
    ----------
    decoded, registry, limits, now_us : as of `records.check`.
    batteries : those of the configuration by name.

    Returns
    -------
    The good records and the refused ones.
    """
    if not isinstance(decoded, DecodedStates):
        return records.check(decoded, registry, limits, now_us)
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    states, rows, refused = [], [], list(decoded.refused)
    keys = decoded.keys if limits.needs_key and decoded.keys is not None else None
    for row, value in enumerate(decoded.values):
        try:
            state = read_state(value, batteries, now=now)  # type: ignore[arg-type]
            if state.time.timestamp() * 1e6 < limits.earliest_us:
                earliest = datetime.fromtimestamp(limits.earliest_us / 1e6, UTC)
                raise MessageError(f"time {state.time:%Y-%m-%d} is before {earliest:%Y-%m-%d}")
            if keys is not None and keys[row] != state.battery_id.encode():
                raise MessageError(key_reason(keys[row], state.battery_id, "battery_id"))
        except MessageError as error:
            refused.append((int(decoded.places[row]), str(error)))
        else:
            states.append(state)
            rows.append(row)
    good = np.array(rows, np.int64)
    sent_at = decoded.columns["sent_at"][good]
    sent_at = np.where(sent_at > now_us + AHEAD_US, now_us, sent_at)
    return CheckedStates({"sent_at": sent_at}, decoded.places[good], refused, set(), states)
