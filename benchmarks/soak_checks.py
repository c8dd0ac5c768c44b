"""What must hold after a past was replayed: rows, plans, the ledger, memory and savings."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

import db
from benchmarks.soak_plant import DAY, LOADS, PLACE
from vpp.planning.ledger import read_ledger, update_ledger
from vpp.schedule.battery import Battery
from vpp.storage.rows import select_rows

LEFT_EUR_PER_KWH = 0.2  # value of the energy left at the end, fixed beforehand


def wrong_rows(soak: Any, conn: Any) -> list[str]:
    """Rows that are missing, have another value, or should not be there, in words."""
    stored = select_rows(conn, "SELECT time, source_id, power_kw FROM load")
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


def seen(soak: Any, codes: list[int]) -> dict[str, object]:
    """Figures, and `faults`: in words, all that does not hold."""
    query = "SELECT run_id, issue_time, made_from FROM schedule_runs WHERE kind = 'plan'"
    with db.session(soak.config) as conn:
        ledger = booked(soak, conn)
        plans = pd.DataFrame(select_rows(conn, f"{query} ORDER BY issue_time"))
        wrong = wrong_rows(soak, conn)
        rows = select_rows(conn, "SELECT count(*) AS n FROM load")[0]["n"]
    if plans.empty:
        return {"rows": rows, "faults": ["no plan was made"]}
    gaps = plans["issue_time"].diff().dropna() / pd.Timedelta(minutes=soak.every_min)
    kinds = Counter(plan["states"][0]["kind"] for plan in plans["made_from"])
    longest = max(soak.memory.values(), key=len, default=[0.0])
    ratios = [growth(each) for each in soak.memory.values() if 2 * len(each) >= len(longest)]
    query = "SELECT count(DISTINCT model_version) AS n FROM forecast_runs"
    with db.session(soak.config) as conn:
        trained = select_rows(conn, query)[0]["n"]
    faults = [f"exit code {code}" for code in codes if code]
    if abs(ledger["apart_eur"]) > 0.01 * ledger["months"]:
        faults.append(f"the ledger is {ledger['apart_eur']:.2f} EUR off")
    faults += [f"{len(wrong)} rows are wrong, such as {wrong[0]}"] if wrong else []
    if gaps.max() > 3:
        faults.append(f"{gaps.max() - 1:.0f} plans are missing in a row")
    traces = [path.name for path in soak.folder.glob("*.log") if "Traceback" in path.read_text()]
    faults += [f"traceback in {name}" for name in traces]
    return {
        "days": round(min(soak.now - soak.begin, soak.end - soak.begin) / DAY, 1),
        "parts": soak.parts,
        "plans": len(plans),
        "longest_gap_periods": float(gaps.max()),
        "starts": dict(kinds),
        "steps": len(soak.steps),
        "steps_obeyed": sum(run_id is not None for run_id, *_ in soak.steps),
        "rows": rows,
        **ledger,
        "saved_eur": round(saved_eur(soak), 2),
        "memory_mb": round(float(np.median(longest)), 1),
        "memory_ratio": round(max(ratios, default=0.0), 3),
        "trained": trained,
        "minutes": round(soak.wall_min, 1),
        "faults": faults,
    }


def booked(soak: Any, conn: Any) -> dict[str, float]:
    """The ledger's sum, and how far it is from what rows and measured states say."""
    update_ledger(conn, soak.config)
    ledger = read_ledger(conn, soak.config.site)
    ledger = ledger[ledger["done"] == "measured"]
    # an hour of which a meter is missing is booked with what stands in for it
    query = "SELECT time, sum(power_kw) AS kw FROM load GROUP BY 1 HAVING count(*) = %s"
    rows = select_rows(conn, query, (len(LOADS),))
    load = {pd.Timestamp(row["time"]): row["kw"] for row in rows}
    query = "SELECT time, soc FROM battery_states WHERE kind = 'measured'"
    soc = {pd.Timestamp(row["time"]): row["soc"] for row in select_rows(conn, query)}
    conn.commit()
    own, known = soak.config.batteries[0], 0
    found = booked = 0.0
    for at, row in ledger.iterrows():
        if at not in soc or at + soak.step not in soc or at not in load:
            continue
        moved = (soc[at + soak.step] - soc[at]) * own.capacity_kwh
        moved = moved / own.eta_charge if moved > 0 else moved * own.eta_discharge
        found += price_eur(at, load[at] * soak.step_min / 60 + moved)
        booked += row["energy_eur"]
        known += 1
    return {
        "booked": known,
        "ledger_eur": round(booked, 2),
        "apart_eur": round(booked - found, 4),
        "months": max(1, round(soak.days / 30)),
    }


def saved_eur(soak: Any) -> float:
    """By what the battery did, at the true loads, beside a plant without it."""
    start = Battery.of(soak.config.batteries[0]).energy_kwh
    times = pd.date_range(soak.begin, periods=len(soak.steps), freq=soak.step)
    saved = (soak.steps[-1][2] - start) * LEFT_EUR_PER_KWH if soak.steps else 0.0
    for at, (_, moved, _) in zip(times, soak.steps, strict=True):
        load = sum(soak.truth[at, name] for name in LOADS) * soak.step_min / 60
        saved += price_eur(at, load) - price_eur(at, load + moved)
    return saved


def growth(memory: list[float]) -> float:
    """Last tenth over second tenth of a process's memory [fraction]."""
    tenth = max(1, len(memory) // 10)
    early = memory[tenth : 2 * tenth] or memory
    return float(np.median(memory[-tenth:]) / np.median(early))


def price_eur(time: pd.Timestamp, energy_kwh: float) -> float:
    """Cost of an hour's import, by the tariff of the replay [EUR]; an export is paid for."""
    by_day = 6 <= time.tz_convert(PLACE[2]).hour < 20
    return energy_kwh / 1000 * ((300 if by_day else 150) if energy_kwh > 0 else 50)
