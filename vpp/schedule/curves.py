"""Power limits that depend on the state of charge: concave, piecewise linear curves.

python -c "from vpp.schedule.curves import pieces; print(pieces(((0, 10), (0.8, 10), (1, 2))))"
"""

import itertools

import numpy as np

from vpp.runtime.errors import FieldError


def check_curve(key: str, curve: tuple[tuple[float, ...], ...]) -> None:
    """Refuse a power limit by SOC that is not piecewise linear, concave and over SOC 0 to 1.

    Parameters
    ----------
    key : its field.
    curve : (soc, kW), ascending by soc.

    Raises
    ------
    FieldError : it is not.
    """
    if not curve:
        return
    shown = str([list(point) for point in curve])
    if any(len(point) != 2 for point in curve):
        raise FieldError(key, shown, "a list of [soc, kW]")
    socs, powers = zip(*curve, strict=True)
    if len(curve) < 2 or socs[0] != 0 or socs[-1] != 1 or min(np.diff(socs)) <= 0:
        raise FieldError(key, shown, "socs that ascend from 0 to 1")
    if min(powers) < 0:
        raise FieldError(key, shown, "powers of 0 kW or more")
    slopes = np.diff(powers) / np.diff(socs)
    if (np.diff(slopes) > 1e-9 * (1 + np.abs(slopes[1:]))).any():
        expected = "a concave curve: a power that with rising SOC falls ever more steeply"
        raise FieldError(key, shown, expected)


def pieces(curve: tuple[tuple[float, ...], ...]) -> list[tuple[float, float]]:
    """The straight lines whose least is a concave curve.

    Parameters
    ----------
    curve : (soc, kW), ascending by soc.

    Returns
    -------
    Power at SOC 0 [kW] and rise over all the SOC [kW], of each.
    """
    found = []
    for (soc, power), (next_soc, next_power) in itertools.pairwise(curve):
        rise = (next_power - power) / (next_soc - soc)
        found.append((power - rise * soc, rise))
    return found


def power_at(curve: tuple[tuple[float, ...], ...], soc: np.ndarray) -> np.ndarray:
    """The power limit at some states of charge.

    Parameters
    ----------
    curve : (soc, kW), ascending by soc.
    soc : states of charge.

    Returns
    -------
    Powers [kW], one a state.
    """
    socs, powers = zip(*curve, strict=True)
    return np.interp(soc, socs, powers)
