"""How the plant is now: flows, batteries, next actions, price and health, as `/api/now` answers.

    curl -H "Authorization: Bearer $(python serve.py --show-token)" http://127.0.0.1:8080/api/now

Now is the plant's clock while `pipeline.py operate` runs. Else it is the wall clock, where the
newest plan holds then; else the end of the data, or the newest state after it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from psycopg2.extensions import connection

from vpp.runtime.settings import Config
from vpp.serve.health import read_health
from vpp.serve.plan import newest_run
from vpp.site.battery_messages import AHEAD_S
from vpp.site.kinds import POWER_KINDS
from vpp.storage.freshness import read_freshness
from vpp.storage.jobs import read_clock, read_data_clock
from vpp.storage.overrides import Override, read_overrides
from vpp.storage.rows import select_rows

AHEAD = timedelta(seconds=AHEAD_S)  # a state may be measured so far ahead of the plant's clock
EVER_S = 1e9  # a replay's clock counts however long ago its last beat was
AHEAD_SHOWN = timedelta(hours=24)  # a battery's next action is looked for
IDLE_SHARE = 0.005  # of the rating: a power below it is no action
STORED = "('measured', 'simulated')"  # kinds of states that are not planned
NEWEST_STATES = f"""
    SELECT state.* FROM unnest(%s::text[]) AS battery (battery_id)
    CROSS JOIN LATERAL (
        SELECT * FROM battery_states AS one
        WHERE one.battery_id = battery.battery_id AND kind IN {STORED} AND time <= %s
        ORDER BY time DESC, kind LIMIT 1) AS state"""


def read_now(conn: connection, config: Config) -> dict:
    """How the plant is now.

    Parameters
    ----------
    conn : the connection.
    config : the site and its batteries.

    Returns
    -------
    site, time and clock (plant, wall or data); plan: the newest run without its basis; interval:
    the row of the schedule that holds now; power: measured and planned [kW]; price: of the interval
    [EUR/MWh]; batteries; devices; health.
    """
    run = newest_run(conn, config.site.site_id)
    query = "SELECT * FROM schedules WHERE run_id = %s ORDER BY time"
    schedule = select_rows(conn, query, (run["run_id"],)) if run else []
    step = _step(schedule)
    now, clock = _clock(conn, config, run, schedule, step)
    held = next((row for row in schedule if row["time"] <= now < row["time"] + step), None)
    planned, devices = _planned(conn, held)
    end = schedule[-1]["time"] + step if schedule else None
    health = read_health(conn, config, now, clock, run, end)
    return {
        "site": {
            "site_id": config.site.site_id,
            "name": config.site.name,
            "time_zone": config.site.time_zone,
            "currency": config.tariff.currency,
        },
        "time": now,
        "clock": clock,
        "plan": {name: value for name, value in run.items() if name != "basis"} if run else None,
        "interval": held,
        "price": _price(held),
        "power": _powers(conn, now, health["sources"], held, planned),
        "batteries": _batteries(conn, config, now, step, schedule, planned),
        "devices": devices,
        "health": health,
    }


def _planned(conn: connection, held: Mapping | None) -> tuple[list[dict], list[dict]]:
    """Planned states of batteries from now on, and of flexible loads now; of a day, not of all."""
    if held is None:
        return [], []
    start, key = held["time"], held["run_id"]
    query = """
        SELECT * FROM battery_states WHERE run_id = %s AND time >= %s AND time < %s ORDER BY time"""
    planned = select_rows(conn, query, (key, start, start + AHEAD_SHOWN))
    query = """
        SELECT * FROM device_states WHERE run_id = %s AND time = %s ORDER BY kind, device_id"""
    return planned, select_rows(conn, query, (key, start))


def _step(schedule: Sequence[Mapping]) -> timedelta:
    if len(schedule) < 2:
        return timedelta(hours=1)
    return schedule[1]["time"] - schedule[0]["time"]


def _clock(
    conn: connection,
    config: Config,
    run: Mapping | None,
    schedule: Sequence[Mapping],
    step: timedelta,
) -> tuple[datetime, str]:
    """The time that counts as now, and whose it is: that of plant, wall or data."""
    wall = select_rows(conn, "SELECT clock_timestamp() AS wall")[0]["wall"]
    own = read_clock(conn, config.site.site_id).to_pydatetime()
    if abs(own - wall) > timedelta(seconds=1):
        return own, "plant"
    if run is None or not schedule or schedule[0]["time"] <= wall < schedule[-1]["time"] + step:
        return wall, "wall"
    data_end = read_freshness(conn, config.forecast.stale_after_h).data_end
    if data_end is None or data_end > wall:
        return wall, "wall"
    names = [battery.battery_id for battery in config.batteries]
    last = wall
    if read_data_clock(conn, config.site.site_id, alive_s=EVER_S) is not None:
        # a replay has ended here: later states are of another clock, such as a device's beside it
        last = max(data_end.to_pydatetime(), schedule[-1]["time"] + step)
    told = [row["time"] for row in select_rows(conn, NEWEST_STATES, (names, last))]
    return max(data_end.to_pydatetime(), run["issue_time"], *told), "data"


def _price(held: Mapping | None) -> dict | None:
    names = ("market", "import", "export")
    if held is None:
        return None
    return {f"{n}_price_eur_per_mwh": held[f"{n}_price_eur_per_mwh"] for n in names}


def _powers(
    conn: connection,
    now: datetime,
    sources: Sequence[Mapping],
    held: Mapping | None,
    planned: Sequence[Mapping],
) -> dict:
    """Power of load, plants, batteries and grid [kW]: as planned now, and as last measured."""
    plan = None
    if held is not None:
        own = [row for row in planned if row["time"] == held["time"]]
        names = ("load_kw", "renewables_kw", "curtailed_kw", "grid_import_kw", "grid_export_kw")
        plan = {name: held[name] for name in names}
        for name in ("charge_kw", "discharge_kw"):
            plan[name] = sum(row[name] or 0.0 for row in own)
    measured = [
        {name: source[name] for name in ("source_id", "kind", "name", "time", "power_kw")}
        for source in sources
        if source["kind"] in POWER_KINDS and source["time"] is not None
    ]
    return {"planned": plan, "measured": measured}


def _batteries(
    conn: connection,
    config: Config,
    now: datetime,
    step: timedelta,
    schedule: Sequence[Mapping],
    planned: Sequence[Mapping],
) -> list[dict]:
    """Each battery: its last state, what it does by plan now and why, and what it does next."""
    names = [battery.battery_id for battery in config.batteries]
    told = select_rows(conn, NEWEST_STATES, (names, now + AHEAD))
    states = {row["battery_id"]: row for row in told}
    orders = read_overrides(conn, now)
    found, plans = [], defaultdict(list)
    for row in planned:
        plans[row["battery_id"]].append(row)
    spoken = _spoken(schedule, plans)
    for battery in config.batteries:
        name = battery.battery_id
        idle = IDLE_SHARE * max(battery.charge_kw, battery.discharge_kw)
        steps = plans[name]
        own = next((row for row in steps if row["time"] <= now < row["time"] + step), None)
        order = orders.get(name)
        state = states.get(name)
        found.append(
            {
                "battery_id": name,
                "capacity_kwh": battery.capacity_kwh,
                "soc_min": battery.soc_min,
                "soc_max": battery.soc_max,
                "state": state,
                "age_s": _age_s(state, now, step) if state else None,
                "planned": own,
                "doing": _doing(own, idle),
                "reason": _reason(own, order, spoken),
                "next": _next(steps, own, idle, now, spoken),
                "override": None if order is None else asdict(order),
            }
        )
    return found


def _doing(row: Mapping | None, idle_kw: float) -> str | None:
    """The action of a battery in an interval of its plan: charge, discharge or hold."""
    if row is None:
        return None
    net = _net_kw(row)
    return "hold" if abs(net) <= idle_kw else "charge" if net > 0 else "discharge"


def _age_s(state: Mapping, now: datetime, step: timedelta) -> float:
    """How old a state is [s]; a simulated one is that of the end of its interval."""
    at = state["time"] + (step if state["kind"] == "simulated" else timedelta(0))
    return max(0.0, (now - at).total_seconds())


def _net_kw(row: Mapping) -> float:
    return (row["charge_kw"] or 0.0) - (row["discharge_kw"] or 0.0)


def _spoken(
    schedule: Sequence[Mapping], plans: Mapping[str, Sequence[Mapping]]
) -> dict[tuple[str, datetime], str]:
    """The reason of each interval, for the battery of which it speaks: the one that moves most."""
    moves: dict[datetime, tuple[float, str]] = {}
    for name, steps in plans.items():
        for row in steps:
            moved = abs(_net_kw(row)), name
            moves[row["time"]] = max(moves.get(row["time"], moved), moved, key=lambda one: one[0])
    said = {row["time"]: row["reason"] for row in schedule}
    return {(name, time): said[time] for time, (_, name) in moves.items() if said.get(time)}


def _reason(
    row: Mapping | None, order: Override | None, spoken: Mapping[tuple[str, datetime], str]
) -> str | None:
    """Why a battery does what it does in an interval; None where nothing speaks of it."""
    if order is not None:
        by = f" by {order.name}" if order.name else ""
        why = f": {order.reason}" if order.reason else ""
        return f"{order.override} is ordered{by}{why}"
    return None if row is None else spoken.get((row["battery_id"], row["time"]))


def _next(
    steps: Sequence[Mapping],
    own: Mapping | None,
    idle_kw: float,
    now: datetime,
    spoken: Mapping[tuple[str, datetime], str],
) -> dict | None:
    """The next interval in which a battery does something else than now."""
    doing = _doing(own, idle_kw)
    for row in steps:
        if row["time"] > now and _doing(row, idle_kw) != doing:
            names = ("time", "charge_kw", "discharge_kw", "soc")
            told = {"doing": _doing(row, idle_kw), "reason": _reason(row, None, spoken)}
            return {name: row[name] for name in names} | told
    return None
