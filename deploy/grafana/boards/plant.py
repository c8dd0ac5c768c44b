"""Dashboard Plant: the ledger, alerts, jobs, overrides and acknowledgements."""

from boards.drawing import COLOURS, GENERATED, ONE_VALUE, Dashboard, coloured, newest_data
from boards.queries import BATTERIES, BIN, OWNED, SITES

# the newest version of each interval
LEDGER = f"""SELECT DISTINCT ON (site_id, time) *, step_min / 60.0 AS hours FROM ledger
WHERE $__timeFilter(time) AND {SITES} ORDER BY site_id, time, version DESC"""


def plant() -> Dashboard:
    """What was done and paid, by the ledger, and how the plant does."""
    board = Dashboard("Plant", GENERATED, OWNED)
    newest_data(board)
    for title, expression, unit, description in (
        ("Cost", "sum(cost_eur)", "currencyEUR", "Energy, wear and peak; positive is paid."),
        (
            "Saved against no battery",
            "sum(cost_no_battery_eur - cost_eur)",
            "currencyEUR",
            "At settled prices and what was done.",
        ),
        (
            "Measured",
            "sum(hours) FILTER (WHERE done = 'measured') / sum(hours)",
            "percentunit",
            "Share of the time in which all batteries have measured states.",
        ),
    ):
        query = f"SELECT coalesce({expression}, 0) AS value FROM ({LEDGER}) AS newest"
        board.add(title, "stat", 6, 4, query, unit=unit, options=ONE_VALUE, description=description)
    add_costs(board)
    add_days(board)
    add_tables(board)
    return board


def add_costs(board: Dashboard) -> None:
    """What was planned, done and saved over time."""
    board.add(
        "Planned and done",
        "timeseries",
        12,
        9,
        f"""SELECT {BIN.format("time")} AS time,
            sum(planned_cost_eur) AS planned, sum(energy_eur + wear_eur) AS done,
            sum(cost_no_battery_eur) AS "without battery"
            FROM ({LEDGER}) AS newest GROUP BY 1 ORDER BY 1""",
        unit="currencyEUR",
        interval="15m",
        overrides=[
            coloured("planned", COLOURS["plan"], lineStyle={"fill": "dash"}),
            coloured("done", COLOURS["actual"], lineWidth=2),
            coloured("without battery", COLOURS["load"]),
        ],
        description="Cost as the plan in force had it, and as it was settled; the peak is in "
        "the line without battery alone.",
    )
    board.add(
        "Saved, added up",
        "timeseries",
        12,
        9,
        f"""SELECT time, sum(saved) OVER (ORDER BY time) AS "saved" FROM (
            SELECT {BIN.format("time")} AS time, sum(cost_no_battery_eur - cost_eur) AS saved
            FROM ({LEDGER}) AS newest GROUP BY 1) AS bins ORDER BY 1""",
        unit="currencyEUR",
        interval="15m",
        fields={"fillOpacity": 15},
        description="Without battery less what was done.",
    )


def add_days(board: Dashboard) -> None:
    """Cycles and corrections by day."""
    board.add(
        "Cycles done by day",
        "timeseries",
        12,
        8,
        f"""SELECT date_trunc('day', time) AS time, battery_id AS metric,
            sum((state.value ->> 'discharge_kw')::double precision * hours / capacity_kwh)
            AS cycles FROM ({LEDGER}) AS newest
            CROSS JOIN LATERAL jsonb_each(newest.batteries) AS state (battery_id, value)
            JOIN batteries USING (battery_id)
            WHERE {BATTERIES} GROUP BY 1, 2 ORDER BY 1""",
        unit="none",
        fields={"drawStyle": "bars", "fillOpacity": 60},
        description="Energy discharged over capacity, as it was done, by UTC day.",
    )
    board.add(
        "Corrected intervals by day",
        "timeseries",
        12,
        8,
        f"""SELECT date_trunc('day', time) AS time, count(*) FILTER (WHERE version > 1)
            AS "corrections" FROM ledger WHERE $__timeFilter(time) AND {SITES}
            GROUP BY 1 ORDER BY 1""",
        unit="none",
        fields={"drawStyle": "bars", "fillOpacity": 60},
        description="Versions that late or corrected values have added to the ledger.",
    )


def add_tables(board: Dashboard) -> None:
    """Alerts, jobs, orders of persons and answers of devices."""
    board.add(
        "Alerts",
        "table",
        24,
        8,
        """SELECT fired_at AS "since", resolved_at AS "until", rule, subject, message,
            what_to_do AS "what to do" FROM alerts
            WHERE resolved_at IS NULL OR $__timeFilter(resolved_at) OR $__timeFilter(fired_at)
            ORDER BY resolved_at NULLS FIRST, fired_at DESC""",
        description="Those that are open, and those of the chosen time.",
    )
    board.add(
        "Jobs",
        "table",
        12,
        8,
        """SELECT job, state, ok_at AS "ended well", next_at AS "next", last_error AS "last error"
            FROM jobs ORDER BY last_error IS NULL, job""",
        description="Of python pipeline.py operate.",
    )
    board.add(
        "Overrides",
        "table",
        12,
        8,
        f"""SELECT DISTINCT ON (battery_id) battery_id AS "battery", override, soc, until, name,
            reason, made_at AS "made" FROM overrides WHERE {BATTERIES}
            ORDER BY battery_id, override_id DESC""",
        description="The last order of a person for each battery; auto is none.",
    )
    board.add(
        "Set-points acknowledged",
        "table",
        24,
        8,
        f"""SELECT battery_id AS "battery", status, count(*) AS "set-points",
            max(valid_from) AS "newest" FROM acknowledgements
            WHERE $__timeFilter(valid_from) AND {BATTERIES} GROUP BY 1, 2 ORDER BY 1, 2""",
        description="By what the device said of them.",
    )
