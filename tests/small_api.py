"""The API's answers, and what the database holds."""

import httpx

import db

STATE = {"battery_id": "cellar", "time": "2025-03-13T12:00:00Z", "soc": 0.25, "power_kw": -50}
ORDER = {"battery_id": "cellar", "override": "charge", "soc": 0.9, "until": "2099-03-13T18:00Z"}
ORDER |= {"name": "Ada", "reason": "guests"}


def detail(response: httpx.Response) -> str:
    """The one line of a refusal."""
    found = response.json()
    assert list(found) == ["detail"] and found["detail"] and "\n" not in found["detail"]
    return found["detail"]


def count(config, table: str) -> int:
    with db.session(config) as conn:
        return db.count_rows(conn)[table]
