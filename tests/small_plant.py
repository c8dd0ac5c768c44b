"""A small plant at 14:00 of a day that is planned: for the tests and the pictures of the page.

    python tests/small_plant.py docs/serve

writes docs/serve-1400-light.png, -1400-dark, -390-light and -390-dark; the docs show two of them.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from small_report import ISSUE, fill  # noqa: E402

import db  # noqa: E402
from vpp.planning import plans, valuation  # noqa: E402
from vpp.planning.ledger import update_ledger  # noqa: E402
from vpp.site.battery_messages import BatteryState  # noqa: E402
from vpp.storage.battery_states import record_states  # noqa: E402
from vpp.storage.jobs import record_job  # noqa: E402

NOW = pd.Timestamp("2025-03-13T13:00Z")
BATTERIES = {
    "battery:battery-1": {},
    "battery:cellar": {"capacity_kwh": 400, "charge_kw": 200, "discharge_kw": 200},
}


def fill_plant(config) -> None:
    """Two plans, a ledger of a day, measurements and states until `NOW`, and a job."""
    fill(config, plan=False)
    before = ISSUE - pd.Timedelta(days=1)
    valuation.value_plan(config, plans.plan(config, before)["run_id"])
    plans.plan(config, ISSUE)
    with db.session(config) as conn:
        with conn.cursor() as cur:
            for table in ("renewables", "load"):
                cur.execute(f"DELETE FROM {table} WHERE time >= %s", (NOW.to_pydatetime(),))
        for number, battery in enumerate(config.batteries):
            store(conn, battery, NOW - pd.Timedelta(minutes=5), 0.42 + 0.2 * number)
        record_job(conn, config.site.site_id, "plan", "waiting", ok_at=NOW.to_pydatetime())
        update_ledger(conn, config)


def store(conn, battery, time, soc: float) -> None:
    """A measured state of a battery."""
    energy_kwh = soc * battery.capacity_kwh
    state = BatteryState(battery.battery_id, time.to_pydatetime(), soc, energy_kwh, 0.0, 0.0)
    record_states(conn, [state])
    conn.commit()


def take_pictures(stem: str) -> None:
    """The page at two widths, light and dark."""
    from chromium import Chromium
    from small_server import Served

    import embedded
    from vpp.runtime.config import load_config

    with tempfile.TemporaryDirectory() as folder:
        lines = [f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state"]
        lines += ["[site]\nname = Plant of the cooperative", "[serve]\nport = 0"]
        for name, values in BATTERIES.items():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
        path = Path(folder) / "config.ini"
        path.write_text("\n".join(lines), encoding="utf-8")
        config = load_config(path, {})
        try:
            fill_plant(config)
            with Served(path) as served, Chromium() as browser:
                for width in (1400, 390):
                    for scheme in ("light", "dark"):
                        served.open(browser, width, scheme == "dark")
                        picture = Path(f"{stem}-{width}-{scheme}.png")
                        browser.screenshot(picture, 1900 if width > 600 else 2600)
                        print(picture, *browser.messages)
        finally:
            embedded.stop(config.paths.state_dir, delete=True)


if __name__ == "__main__":
    take_pictures(*sys.argv[1:])
