"""What must hold after a soak: plans, set-points, ledger, savings.

    python benchmarks/bench_soak.py --days 3 --kills 2

Reads the soak's database and the files of its device. Money is positive where it is paid.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from psycopg2.extensions import connection
from soak_device import obeyed_wrongly
from soak_site import DAY, ZONE, Site

from vpp.planning.ledger import read_ledger, update_ledger
from vpp.runtime.settings import Config
from vpp.schedule.battery import Battery
from vpp.storage.rows import select_rows

LEFT_EUR_PER_KWH = 0.2  # value of the energy left at the end, fixed beforehand
LEAST_SHARE = 0.97
YEAR_PLANS, YEAR_DAYS = 8_000, 365


def check(
    what: str, figure: float, limit: float | None, example: object = "", least: bool = False
) -> dict[str, Any]:
    """A row to print.

    Parameters
    ----------
    what, figure : what was looked at, and what was seen.
    limit : the most that may be, or the least; None for a figure that nothing limits.
    example : of what does not hold.
    least : whether the limit is the least.
    """
    shown = "" if limit is None else f"{'>=' if least else '<='} {limit:g}"
    holds = ""
    if limit is not None:
        holds = "yes" if (figure >= limit if least else figure <= limit) else "no"
    note = ", ".join(map(str, example)) if isinstance(example, list) else str(example)
    text = f"{figure:,}"  # each with its own decimals
    return {"check": what, "figure": text, "limit": shown, "holds": holds, "note": note}


def checked(soak: Any, conn: connection) -> list[dict[str, Any]]:
    """The checks of what the database and the device have.

    Parameters
    ----------
    soak : a `Soak` that has ended.
    conn : connection to its database.
    """
    query = "SELECT issue_time, made_from FROM schedule_runs WHERE kind = 'plan' ORDER BY 1"
    plans = pd.DataFrame(select_rows(conn, query), columns=["issue_time", "made_from"])
    times = plans["issue_time"].drop_duplicates()
    gaps = times.diff().dropna() / pd.Timedelta(minutes=soak.every_min)
    days = round(min(soak.now - soak.begin, soak.end - soak.begin) / DAY, 1)
    trained = select_rows(conn, "SELECT count(*) AS n FROM model_digests")[0]["n"]
    missing = float(gaps.max()) - 1 if len(gaps) else 1e9
    least = int(YEAR_PLANS * days / YEAR_DAYS * 60 / soak.every_min)
    states = [plan["states"][0]["kind"] for plan in plans["made_from"] if plan["states"]]
    measured = sum(kind == "measured" for kind in states)
    return [
        check("days replayed", days, None, f"in {soak.wall_min:.1f} min, {soak.parts} parts"),
        check("days of 23 or 25 hours", changes(soak), None),
        check(
            "kills", soak.killed.total(), None, [f"{n} {name}" for name, n in soak.killed.items()]
        ),
        check("values late or corrected", len(soak.told), None),
        check("intervals of which a meter was dead", len(soak.silent), None),
        check("models registered", trained, None),
        check("plans", len(times), least, least=True),
        check("plans missing in a row", round(missing, 2), 2),
        check("plans that start from a measured state", measured, None, f"of {len(states)}"),
        *_set_points(soak, conn),
        *_ledger(soak.site, soak.config, conn),
        *_savings(soak, conn),
    ]


def changes(soak: Any) -> int:
    """How often the local clock was changed in what was replayed."""
    hours = pd.date_range(soak.begin, min(soak.now, soak.end), freq="h").tz_convert(ZONE)
    offsets = [time.utcoffset() for time in hours]
    return sum(before != after for before, after in pairwise(offsets))


def wrong_rows(soak: Any, conn: connection) -> list[str]:
    """Rows that are missing, have another value, or should not be there, in words."""
    query = "SELECT time, source_id, power_kw FROM {}"
    query = " UNION ALL ".join(query.format(table) for table in ("load", "renewables"))
    stored = select_rows(conn, query)
    conn.commit()
    found = {(pd.Timestamp(row["time"]), row["source_id"]): row["power_kw"] for row in stored}
    # of a run that was stopped, what its clock has passed and what was not kept back
    late = {item[:2] for item in soak.kept}
    due = {key for key in soak.values if key[0] + 2 * soak.step < soak.now} - late
    wrong = [key for key in due if found.get(key) != soak.values[key]]
    wrong += [key for key in found if key not in soak.values]
    return [
        f"{name} at {time} is {found.get((time, name))}, not {soak.values.get((time, name))}"
        for time, name in sorted(wrong)
    ]


def growth(memory: list[float]) -> float:
    """Last tenth over second tenth of a process's memory [fraction]."""
    tenth = max(1, len(memory) // 10)
    early = memory[tenth : 2 * tenth] or memory
    return float(np.median(memory[-tenth:]) / np.median(early))


def _set_points(soak: Any, conn: connection) -> list[dict[str, Any]]:
    """What the device obeyed, beside the plans as the database has them."""
    query = """
        SELECT run_id, time, charge_kw - discharge_kw AS kw FROM battery_states
        WHERE kind = 'planned' AND run_id = ANY(%s)"""
    obeyed, planned = soak.device.obeyed, {}
    for row in select_rows(conn, query, (list({row[0] for row in obeyed}),)):
        planned[row["run_id"], f"{row['time']:%Y-%m-%dT%H:%M:%SZ}"] = row["kw"]
    wrong = obeyed_wrongly(obeyed, planned)
    query = "SELECT plan_id, valid_from FROM acknowledgements WHERE status = 'obeyed'"
    words = {
        (row["plan_id"], f"{row['valid_from']:%Y-%m-%dT%H:%M:%SZ}")
        for row in select_rows(conn, query)
    }
    lost = sum((row[0], row[2]) not in words for row in obeyed)
    idle = sum(row[0] is None for row in soak.device.steps)
    return [
        check("set-points obeyed", len(obeyed), None),
        check("set-points obeyed twice", wrong["twice"], 0),
        check("set-points obeyed though stale", wrong["stale"], 0),
        check("set-points obeyed with another power", wrong["another_kw"], 0),
        check("set-points obeyed but not acknowledged", lost, None),
        check("steps without a set-point", idle, None, f"of {len(soak.device.steps)}"),
    ]


def _ledger(site: Site, config: Config, conn: connection) -> list[dict[str, Any]]:
    """The ledger's sum beside what rows and measured states say."""
    update_ledger(conn, config)
    ledger = read_ledger(conn, config.site)
    done = ledger["done"].value_counts()
    ledger = ledger[ledger["done"] == "measured"]
    kinds = [source.kind for source in site.sources]
    # an interval of which a meter is missing is booked with what stands in for it
    query = "SELECT time, sum(power_kw) AS kw FROM {} GROUP BY 1 HAVING count(*) = %s"
    loads, plants = kinds.count("load"), kinds.count("solar") + kinds.count("wind")
    net = _series(conn, query.format("load"), loads)
    if plants:
        made = _series(conn, query.format("renewables"), plants)
        net = {time: kw - made[time] for time, kw in net.items() if time in made}
    query = "SELECT time, soc AS kw FROM battery_states WHERE kind = %s"
    soc = _series(conn, query, "measured")
    conn.commit()
    own, known, found, booked = config.batteries[0], 0, 0.0, 0.0
    for at, row in ledger.iterrows():
        if at not in soc or at + site.step not in soc or at not in net:
            continue
        moved = (soc[at + site.step] - soc[at]) * own.capacity_kwh
        moved = moved / own.eta_charge if moved > 0 else moved * own.eta_discharge
        found += site.cost_eur(at, net[at] * site.step_min / 60 + moved)
        booked += row["energy_eur"]
        known += 1
    return [
        check("ledger [EUR]", round(booked, 2), None, f"{known} measured intervals of {sum(done)}"),
        check("ledger beside its recomputation [EUR]", round(abs(booked - found), 4), 0.01),
    ]


def _series(conn: connection, query: str, *given: object) -> dict[pd.Timestamp, float]:
    return {pd.Timestamp(row["time"]): row["kw"] for row in select_rows(conn, query, given)}


def _savings(soak: Any, conn: connection) -> list[dict[str, Any]]:
    """What the battery saved, beside the same plans carried out from their first second on."""
    query = """
        SELECT DISTINCT ON (time) time, charge_kw - discharge_kw AS kw
        FROM battery_states JOIN schedule_runs USING (run_id)
        WHERE battery_states.kind = 'planned' AND schedule_runs.kind = 'plan'
            AND issue_time <= time
        ORDER BY time, issue_time DESC, created_at DESC"""
    planned_kw = _series(conn, query)
    conn.commit()
    hours, battery, ideal = soak.site.step_min / 60, Battery.of(soak.config.batteries[0]), []
    rows = soak.device.steps[: int((soak.end - soak.begin) / soak.step)]  # its clock runs on
    for at in pd.date_range(soak.begin, periods=len(rows), freq=soak.step):
        done = battery.step(planned_kw.get(at, 0.0), hours)
        battery = done.battery
        ideal.append((done.charge_kw - done.discharge_kw) * hours)
    actual, left = [row[1] for row in rows], rows[-1][2] if rows else 0.0
    saved, best = saved_eur(soak, actual, left), saved_eur(soak, ideal, battery.energy_kwh)
    return [
        check("saved [EUR]", round(saved, 2), None),
        check("saved by the same plans without faults [EUR]", round(best, 2), None),
        check("share of it", round(saved / best, 4) if best else 1.0, LEAST_SHARE, least=True),
    ]


def saved_eur(soak: Any, moved_kwh: list[float], left_kwh: float) -> float:
    """By what a battery did, at the true powers, beside a plant without it."""
    site, hours = soak.site, soak.site.step_min / 60
    start = Battery.of(soak.config.batteries[0]).energy_kwh
    saved = (left_kwh - start) * LEFT_EUR_PER_KWH
    signs = {
        source.source_id: 1 if source.kind == "load" else -1
        for source in site.sources
        if source.kind != "market"
    }
    for number, moved in enumerate(moved_kwh):
        at = site.begin + number * site.step
        net = sum(sign * soak.truth[at, name] for name, sign in signs.items()) * hours
        saved += site.cost_eur(at, net) - site.cost_eur(at, net + moved)
    return saved
