"""Dashboard Operations: the newest plan, power, states of charge and prices."""

from boards.drawing import COLOURS, GENERATED, ONE_VALUE, Dashboard, coloured, in_unit, newest_data
from boards.queries import (
    BATTERIES,
    BIN,
    MEASURED,
    NEWEST_PLAN,
    NEWEST_PLANS,
    OWNED,
    PLANNED,
    PLANS,
    SITES,
    SOURCES,
)


def operations() -> Dashboard:
    """The newest plan, its cost, and the power that led to it."""
    board = Dashboard("Operations", GENERATED, MEASURED | OWNED)
    newest_data(board)
    for title, column, unit in (
        ("Cost of the newest plan", "cost_eur", "currencyEUR"),
        ("Without battery", "cost_no_battery_eur", "currencyEUR"),
        ("Planned at", "issue_time", "dateTimeAsIso"),
    ):
        total = f"{'max' if column == 'issue_time' else 'sum'}({column}) AS {column}"
        query = f"SELECT {total} FROM schedule_runs WHERE run_id IN {NEWEST_PLANS}"
        board.add(
            title,
            "stat",
            6,
            4,
            query,
            unit=unit,
            options=ONE_VALUE,
            description="At forecast values; positive is paid.",
        )
    add_powers(board)
    add_states_and_prices(board)
    return board


def add_powers(board: Dashboard) -> None:
    """Measured power, and that planned for the grid connection."""
    board.add(
        "Power by kind",
        "timeseries",
        12,
        9,
        f"""SELECT {BIN.format("time")} AS time, kind AS metric, avg(power_kw) AS power_kw FROM (
            SELECT time, kind, sum(power_kw) AS power_kw FROM renewables
            JOIN sources USING (source_id)
            WHERE $__timeFilter(time) AND {SOURCES} GROUP BY time, kind
            UNION ALL SELECT time, 'load', sum(power_kw) FROM load
            WHERE $__timeFilter(time) AND {SOURCES} GROUP BY time
            ) AS sums GROUP BY 1, 2 ORDER BY 1""",
        unit="kwatt",
        interval="5m",
        fields={"fillOpacity": 20, "lineWidth": 1},
        overrides=[coloured(kind, COLOURS[kind]) for kind in ("solar", "wind")]
        + [coloured("load", COLOURS["load"], fillOpacity=0, lineWidth=2)],
        description="Sums over the chosen sources.",
    )
    board.add(
        "Net grid power",
        "timeseries",
        12,
        9,
        f"""SELECT {BIN.format("time")} AS time, avg(net_kw) AS "without battery" FROM (
            SELECT time, sum(power_kw) AS net_kw FROM (
            SELECT time, power_kw FROM load WHERE $__timeFilter(time)
            AND source_id IN (SELECT source_id FROM sources WHERE kind = 'load' AND {SITES})
            UNION ALL SELECT time, -power_kw FROM renewables WHERE $__timeFilter(time)
            AND source_id IN (SELECT source_id FROM sources
            WHERE kind IN ('solar', 'wind') AND {SITES})
            ) AS signed
            GROUP BY time
            ) AS sums GROUP BY 1 ORDER BY 1""",
        f"""SELECT {BIN.format("time")} AS time, avg(grid_import_kw - grid_export_kw) AS planned
            FROM (SELECT time, sum(grid_import_kw) AS grid_import_kw,
            sum(grid_export_kw) AS grid_export_kw FROM ({PLANNED}) AS planned
            GROUP BY time) AS sums GROUP BY 1 ORDER BY 1""",
        unit="kwatt",
        interval="5m",
        overrides=[
            coloured("planned", COLOURS["plan"], lineWidth=2),
            coloured("without battery", COLOURS["load"], lineStyle={"fill": "dash"}),
        ],
        description="Import is positive. Measured load less renewables, and what was last "
        "planned for each interval.",
    )


def add_states_and_prices(board: Dashboard) -> None:
    """Batteries and prices over time, and the newest plan as a table."""
    board.add(
        "State of charge",
        "timeseries",
        12,
        8,
        f"""SELECT DISTINCT ON (time, battery_id) time,
            battery_id || ' (' || kind || ')' AS metric, soc FROM (
            SELECT time, battery_id, kind, soc, NULL::timestamptz AS issue_time,
            NULL::timestamptz AS created_at FROM battery_states
            WHERE kind <> 'planned' AND $__timeFilter(time) AND {BATTERIES}
            UNION ALL SELECT time, battery_id, rows.kind, soc, issue_time, created_at
            FROM ({PLANS}) AS plans JOIN LATERAL (SELECT * FROM battery_states
            WHERE battery_states.run_id = plans.run_id AND $__timeFilter(time)
            AND {BATTERIES} OFFSET 0) AS rows ON true) AS states
            ORDER BY time, battery_id, kind <> 'planned' DESC, issue_time DESC, created_at DESC""",
        unit="percentunit",
        limits={"min": 0, "max": 1},
        fields={"fillOpacity": 10},
        description="At the end of each interval; measured where it is known, else as last "
        "planned.",
    )
    board.add(
        "Price",
        "timeseries",
        12,
        8,
        f"""SELECT {BIN.format("time")} AS time, source_id AS metric,
            avg(price_eur_per_mwh) AS price_eur_per_mwh FROM market_prices
            WHERE $__timeFilter(time) AND {SOURCES} GROUP BY 1, 2 ORDER BY 1""",
        unit="suffix: EUR/MWh",
        interval="5m",
        fields={"lineInterpolation": "stepAfter"},
    )
    board.add(
        "Next plan",
        "table",
        24,
        10,
        f"""SELECT time, import_price_eur_per_mwh AS "price", load_kw AS "load",
            renewables_kw AS "renewables", charge_kw AS "charge",
            discharge_kw AS "discharge", grid_import_kw AS "import",
            grid_export_kw AS "export",
            curtailed_kw AS "curtailed", reason FROM schedules
            LEFT JOIN LATERAL (SELECT sum(charge_kw) AS charge_kw,
            sum(discharge_kw) AS discharge_kw FROM battery_states
            WHERE battery_states.run_id = schedules.run_id
            AND battery_states.time = schedules.time AND {BATTERIES}) AS powers ON true
            WHERE run_id = {NEWEST_PLAN} ORDER BY time""",
        unit="kwatt",
        overrides=[in_unit("price", "suffix: EUR/MWh"), in_unit("reason", "string", width=420)],
        description="The newest plan, interval by interval, with the reason of each.",
    )
