"""The Grafana dashboards as code: writes dashboards/operations.json, plant.json, forecasts.json,
stream.json and value.json beside this file.

Each panel is a few words and its SQL, in plain PostgreSQL (`date_bin`), so that the same queries
run on TimescaleDB and on the embedded server. Grafana replaces `$__timeFilter(column)`,
`$__interval` and the variables `site`, `source` and `battery`.

    python deploy/grafana/make_dashboards.py
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "dashboards"
DATA_SOURCE = {"type": "grafana-postgresql-datasource", "uid": "timescaledb"}
# the last days of the data that `make run` generates; "Newest data" on each dashboard leads to the
# data there is
GENERATED = {"from": "2025-03-25T00:00:00Z", "to": "2025-04-03T00:00:00Z"}
# distinguishable without colour vision (Okabe and Ito)
COLOURS = {
    "solar": "#E69F00",
    "wind": "#56B4E9",
    "load": "#0072B2",
    "price": "#CC79A7",
    "plan": "#009E73",
    "actual": "#D55E00",
}

BIN = "date_bin('$__interval', {}, TIMESTAMPTZ '2000-01-01 00:00Z')"
SOURCES = "source_id IN (${source:sqlstring})"
BATTERIES = "battery_id IN (${battery:sqlstring})"
SITES = "site_id IN (${site:sqlstring})"
# the choices of the variables
SITE = {
    "site": "SELECT site_id FROM sites UNION SELECT site_id FROM sources"
    " UNION SELECT site_id FROM schedule_runs WHERE kind = 'plan' ORDER BY 1"
}
MEASURED = SITE | {
    "source": "SELECT source_id FROM sources WHERE kind <> 'weather'"
    f" AND (kind = 'market' OR {SITES}) ORDER BY kind, source_id"
}
STREAMED = {"source": "SELECT source_id FROM sources ORDER BY kind, source_id"}
OWNED = SITE | {
    "battery": f"SELECT battery_id FROM batteries WHERE site_id IS NULL OR {SITES} ORDER BY 1"
}
# measured values of the chosen sources: source_id, time, value
ACTUALS = " UNION ALL ".join(
    f"SELECT source_id, time, {value} AS value FROM {table} WHERE $__timeFilter(time) AND {SOURCES}"
    for table, value in (
        ("renewables", "power_kw"),
        ("load", "power_kw"),
        ("market_prices", "price_eur_per_mwh"),
    )
)
# Runs that may reach into the chosen time: a forecast or plan covers 14 days at most. Their rows
# are found by run and time, so that a panel touches no others, however many there are; OFFSET 0
# keeps the server from reading a whole table instead where it takes that for cheaper.
REACHING = (
    "issue_time BETWEEN CAST($__timeFrom() AS timestamptz) - interval '14 days'"
    " AND CAST($__timeTo() AS timestamptz)"
)
FORECAST_RUNS = f"SELECT * FROM forecast_runs WHERE {SOURCES} AND {REACHING}"
FORECAST_ROWS = """
    LATERAL (SELECT * FROM forecasts WHERE forecasts.run_id = runs.run_id
    AND $__timeFilter(valid_time) OFFSET 0) AS rows ON true"""
PLANS = f"SELECT * FROM schedule_runs WHERE kind = 'plan' AND {SITES} AND {REACHING}"
# forecasts of the chosen sources beside what came, of every run that was used or backtested; a
# published price is no forecast
JUDGED = f"""
    SELECT source_id, valid_time, issue_time, rows.value, q05, q10, q90, q95,
    actuals.value AS actual
    FROM ({FORECAST_RUNS}) AS runs JOIN {FORECAST_ROWS}
    JOIN ({ACTUALS}) AS actuals USING (source_id)
    WHERE actuals.time = valid_time AND NOT published
    AND role IN ('champion', 'fallback', 'backtest')
    AND source_id IN (SELECT source_id FROM sources WHERE kind = 'market' OR {SITES})"""
# of the coverage of the band: title, group, its expression, and the order of groups
LOCAL = "valid_time AT TIME ZONE sources.time_zone"
SEASON = f"floor(extract(month FROM {LOCAL})::int % 12 / 3)::int"
COVERED = (
    (
        "lead time",
        "lead time",
        "6 * floor(extract(epoch FROM valid_time - issue_time) / 21600)::int || ' h on'",
        "floor(extract(epoch FROM valid_time - issue_time) / 21600)",
    ),
    ("local hour", "hour", f"to_char({LOCAL}, 'HH24')", f"to_char({LOCAL}, 'HH24')"),
    (
        "season",
        "season",
        f"(ARRAY['winter', 'spring', 'summer', 'autumn'])[1 + {SEASON}]",
        SEASON,
    ),
)
# the newest plan of each site and interval: its schedule, its run, and the length of its intervals
PLANNED = f"""
    SELECT DISTINCT ON (site_id, time) rows.*, issue_time, step FROM ({PLANS}) AS plans
    JOIN LATERAL (SELECT * FROM schedules WHERE schedules.run_id = plans.run_id
    AND $__timeFilter(time) OFFSET 0) AS rows ON true
    JOIN LATERAL (SELECT (max(time) - min(time)) / nullif(count(*) - 1, 0) AS step
    FROM schedules AS whole WHERE whole.run_id = plans.run_id) AS lengths ON true
    ORDER BY site_id, time, issue_time DESC, created_at DESC"""
NEWEST_PLAN = (
    f"(SELECT run_id FROM schedule_runs WHERE kind = 'plan' AND {SITES}"
    " ORDER BY issue_time DESC, created_at DESC LIMIT 1)"
)
# of each site
NEWEST_PLANS = (
    f"(SELECT DISTINCT ON (site_id) run_id FROM schedule_runs WHERE kind = 'plan' AND {SITES}"
    " ORDER BY site_id, issue_time DESC, created_at DESC)"
)


class Dashboard:
    """A dashboard that is laid out from left to right and from top to bottom, 24 columns wide."""

    def __init__(self, title: str, time: dict, variables: dict[str, str]):
        self.title, self.time, self.variables = title, time, variables
        self.uid = f"vpp-{title.lower()}"
        self.panels: list[dict] = []
        self.x = self.y = self.row = 0

    def add(
        self, title: str, kind: str, width: int, height: int, *queries: str, unit: str = "", **more
    ) -> None:
        """Add a panel.

        Parameters
        ----------
        title : its heading.
        kind : one of Grafana's kinds of panels.
        width, height : in columns and rows of the grid.
        queries : SQL.
        unit : as Grafana names it.
        more : description, options, fields (custom), limits, overrides, links, repeat, interval,
            maxPerRow."""
        if self.x + width > 24:
            self.x, self.y, self.row = 0, self.y + self.row, 0
        shape = "time_series" if kind == "timeseries" else "table"
        self.panels.append(
            {
                "id": len(self.panels) + 1,
                "title": title,
                "type": kind,
                "description": more.get("description", ""),
                "datasource": DATA_SOURCE,
                "gridPos": {"x": self.x, "y": self.y, "w": width, "h": height},
                "targets": [
                    {
                        "refId": chr(65 + number),
                        "datasource": DATA_SOURCE,
                        "format": shape,
                        "rawQuery": True,
                        "rawSql": " ".join(query.split()),
                    }
                    for number, query in enumerate(queries)
                ],
                "fieldConfig": {
                    "defaults": {
                        "unit": unit,
                        "custom": more.get("fields", {}),
                        "links": more.get("links", []),
                        "noValue": "–",
                        **more.get("limits", {}),
                    },
                    "overrides": more.get("overrides", []),
                },
                "options": more.get("options", {}),
                **{
                    name: more[name] for name in ("repeat", "interval", "maxPerRow") if name in more
                },
            }
        )
        self.x, self.row = self.x + width, max(self.row, height)

    def build(self) -> dict:
        """The dashboard as Grafana's JSON."""
        return {
            "uid": self.uid,
            "title": self.title,
            "tags": ["vpp"],
            "timezone": "browser",
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "refresh": "1m",
            "time": self.time,
            "links": [
                {
                    "type": "dashboards",
                    "tags": ["vpp"],
                    "title": "Dashboards",
                    "asDropdown": False,
                    "keepTime": False,
                    "includeVars": True,
                }
            ],
            "templating": {
                "list": [
                    {
                        "name": name,
                        "label": name.capitalize(),
                        "type": "query",
                        "datasource": DATA_SOURCE,
                        "query": query,
                        "definition": query,
                        "refresh": 2,
                        "multi": True,
                        "includeAll": True,
                        "current": {"text": ["All"], "value": ["$__all"]},
                    }
                    for name, query in self.variables.items()
                ]
            },
            "panels": self.panels,
        }


def coloured(field: str, colour: str, **custom) -> dict:
    """An override for one field: its colour and how it is drawn."""
    properties = [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]
    properties += [{"id": f"custom.{name}", "value": value} for name, value in custom.items()]
    return {"matcher": {"id": "byName", "options": field}, "properties": properties}


def in_unit(field: str, unit: str, **custom) -> dict:
    """An override for one field: its unit."""
    properties = [{"id": "unit", "value": unit}] + [
        {"id": f"custom.{name}", "value": value} for name, value in custom.items()
    ]
    return {"matcher": {"id": "byName", "options": field}, "properties": properties}


def newest_data(dashboard: Dashboard) -> None:
    """A line that tells where the data ends, with a link to its last week."""
    # with the dashboard's own path: as the home page it has another, from which a bare "?from="
    # leads elsewhere
    begins, ends = (f"${{__data.fields.{name}.numeric}}" for name in ("begins", "ends"))
    url = f"/d/{dashboard.uid}?from={begins}&to={ends}"
    dashboard.add(
        "Newest data",
        "stat",
        6,
        4,
        """SELECT max(time) AS "newest",
            (extract(epoch FROM max(time) - interval '7 days') * 1000)::bigint AS begins,
           (extract(epoch FROM max(time) + interval '2 days') * 1000)::bigint AS ends
           FROM sources, LATERAL ((SELECT time FROM renewables
           WHERE renewables.source_id = sources.source_id ORDER BY time DESC LIMIT 1)
           UNION ALL (SELECT time FROM load
           WHERE load.source_id = sources.source_id ORDER BY time DESC LIMIT 1)) AS times""",
        unit="dateTimeAsIso",
        description="Click it for the last week of data and the two days after.",
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/^newest$/"},
            "graphMode": "none",
            "colorMode": "none",
        },
        links=[{"title": "Show the last week of data", "url": url}],
    )


def operations() -> Dashboard:
    board = Dashboard("Operations", GENERATED, MEASURED | OWNED)
    newest_data(board)
    for title, column, unit in (
        ("Cost of the newest plan", "cost_eur", "currencyEUR"),
        ("Without battery", "cost_no_battery_eur", "currencyEUR"),
        ("Planned at", "issue_time", "dateTimeAsIso"),
    ):
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
            "graphMode": "none",
            "colorMode": "none",
        }
        total = f"{'max' if column == 'issue_time' else 'sum'}({column}) AS {column}"
        query = f"SELECT {total} FROM schedule_runs WHERE run_id IN {NEWEST_PLANS}"
        board.add(
            title,
            "stat",
            6,
            4,
            query,
            unit=unit,
            options=options,
            description="At forecast values; positive is paid.",
        )
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
    return board


def plant() -> Dashboard:
    """What was done and paid, by the ledger, and how the plant does."""
    board = Dashboard("Plant", GENERATED, OWNED)
    one = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
        "graphMode": "none",
        "colorMode": "none",
    }
    # the newest version of each interval
    ledger = f"""SELECT DISTINCT ON (site_id, time) *, step_min / 60.0 AS hours FROM ledger
        WHERE $__timeFilter(time) AND {SITES} ORDER BY site_id, time, version DESC"""
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
        query = f"SELECT coalesce({expression}, 0) AS value FROM ({ledger}) AS newest"
        board.add(title, "stat", 6, 4, query, unit=unit, options=one, description=description)
    board.add(
        "Planned and done",
        "timeseries",
        12,
        9,
        f"""SELECT {BIN.format("time")} AS time,
            sum(planned_cost_eur) AS planned, sum(energy_eur + wear_eur) AS done,
            sum(cost_no_battery_eur) AS "without battery"
            FROM ({ledger}) AS newest GROUP BY 1 ORDER BY 1""",
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
            FROM ({ledger}) AS newest GROUP BY 1) AS bins ORDER BY 1""",
        unit="currencyEUR",
        interval="15m",
        fields={"fillOpacity": 15},
        description="Without battery less what was done.",
    )
    board.add(
        "Cycles done by day",
        "timeseries",
        12,
        8,
        f"""SELECT date_trunc('day', time) AS time, battery_id AS metric,
            sum((state.value ->> 'discharge_kw')::double precision * hours / capacity_kwh)
            AS cycles FROM ({ledger}) AS newest
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
    return board


def forecasts() -> Dashboard:
    board = Dashboard("Forecasts", GENERATED, MEASURED)
    newest_data(board)
    board.add(
        "Coverage of the 80 % band",
        "gauge",
        6,
        4,
        f"SELECT avg((actual BETWEEN q10 AND q90)::int) AS coverage FROM ({JUDGED}) AS judged",
        unit="percentunit",
        limits={"min": 0, "max": 1},
        description="Share of measured values between q10 and q90 of the chosen sources and "
        "time; 80 % is right.",
    )
    board.add(
        "Error by lead time",
        "barchart",
        12,
        8,
        f"""SELECT lead_h || '–' || lead_h + 6 || ' h' AS "lead time", error FROM (
            SELECT 6 * floor(extract(epoch FROM valid_time - issue_time) / 21600)::int AS lead_h,
            sum(abs(value - actual)) / nullif(sum(abs(actual)), 0) AS error
            FROM ({JUDGED}) AS judged GROUP BY 1 ORDER BY 1) AS leads""",
        unit="percentunit",
        description="Sum of absolute errors over the sum of absolute measured values of the "
        "chosen sources.",
        options={"xField": "lead time", "legend": {"showLegend": False}},
    )
    for title, name, group, order in COVERED:
        board.add(
            f"Coverage by {title}",
            "barchart",
            8,
            7,
            f"""SELECT {group} AS "{name}", avg((actual BETWEEN q10 AND q90)::int) AS coverage
                FROM ({JUDGED}) AS judged JOIN sources USING (source_id)
                WHERE q90 > q10 GROUP BY {group}, {order} ORDER BY {order}""",
            unit="percentunit",
            limits={"min": 0, "max": 1},
            description="Share of measured values between q10 and q90 of the chosen sources and "
            "time, without the nights of solar plants; 80 % is right.",
            options={"xField": name, "legend": {"showLegend": False}},
        )
    board.add(
        "Forecast of $source",
        "timeseries",
        24,
        9,
        f"""SELECT DISTINCT ON (valid_time) valid_time AS time, q05, q10, q25, value AS forecast,
            q75, q90, q95
            FROM ({FORECAST_RUNS}) AS runs JOIN {FORECAST_ROWS}
            WHERE role IN ('champion', 'fallback')
            ORDER BY valid_time, issue_time DESC, created_at DESC""",
        f"SELECT {BIN.format('time')} AS time, avg(value) AS actual FROM ({ACTUALS}) AS actuals "
        "GROUP BY 1 ORDER BY 1",
        interval="5m",
        repeat="source",
        maxPerRow=1,
        fields={"lineWidth": 0},
        overrides=[
            coloured("q95", COLOURS["plan"], fillBelowTo="q05", fillOpacity=12),
            coloured("q90", COLOURS["plan"], fillBelowTo="q10", fillOpacity=18),
            coloured("q75", COLOURS["plan"], fillBelowTo="q25", fillOpacity=25),
            *(coloured(name, COLOURS["plan"]) for name in ("q05", "q10", "q25")),
            coloured("forecast", COLOURS["plan"], lineWidth=2),
            coloured("actual", COLOURS["actual"], lineWidth=1),
        ],
        description="The newest forecast of each time with its 50, 80 and 90 % bands, and what "
        "was measured; kW, prices EUR/MWh.",
    )
    board.add(
        "Accuracy by source",
        "table",
        24,
        8,
        f"""SELECT source_id AS "source", count(*) AS "values", avg(abs(value - actual)) AS "MAE",
            avg(value - actual) AS "bias",
            sum(abs(value - actual)) / nullif(sum(abs(actual)), 0) AS "relative error",
            avg((actual BETWEEN q10 AND q90)::int) AS "in 80 % band",
            avg((actual BETWEEN q05 AND q95)::int) AS "in 90 % band"
            FROM ({JUDGED}) AS judged GROUP BY 1 ORDER BY 1""",
        overrides=[
            in_unit(name, "percentunit")
            for name in ("relative error", "in 80 % band", "in 90 % band")
        ],
        description=(
            "MAE and bias in kW, prices in EUR/MWh; champions, fallbacks and backtests in the "
            "chosen time, "
            "without published prices."
        ),
    )
    return board


def stream() -> Dashboard:
    board = Dashboard("Stream", {"from": "now-24h", "to": "now"}, STREAMED)
    tables = ("renewables", "load", "market_prices", "weather", "weather_forecasts")
    tables += ("external_forecasts",)
    rate = "count(*) / extract(epoch FROM interval '$__interval')"
    stored = " UNION ALL ".join(
        f"SELECT {BIN.format('sent_at')} AS time, '{table}' AS metric, {rate} AS rows_per_s "
        f"FROM {table} "
        f"WHERE $__timeFilter(sent_at) AND {SOURCES} GROUP BY 1"
        for table in tables
    )
    newest = " UNION ALL ".join(
        f"(SELECT sent_at FROM {table} WHERE {table}.source_id = s.source_id "
        f"ORDER BY {'issue_time' if 'forecasts' in table else 'time'} DESC LIMIT 1)"
        for table in tables
    )
    counted = " UNION ALL ".join(
        f"SELECT count(*) AS stored FROM {table} WHERE $__timeFilter(sent_at) AND {SOURCES}"
        for table in tables
    )
    board.add(
        "Last message",
        "stat",
        8,
        4,
        f"SELECT max(sent_at) AS sent_at FROM sources AS s, LATERAL ({newest}) AS newest "
        f"WHERE s.{SOURCES}",
        unit="dateTimeFromNow",
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
            "graphMode": "none",
            "colorMode": "none",
        },
        description="When the message of the newest interval of any source was sent.",
    )
    board.add(
        "Rows stored",
        "stat",
        8,
        4,
        f"SELECT sum(stored) AS stored FROM ({counted}) AS tables",
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
            "graphMode": "none",
            "colorMode": "none",
        },
        description="Whose messages were sent in the chosen time.",
    )
    board.add(
        "Rows stored per second",
        "timeseries",
        24,
        9,
        f"SELECT time, metric, rows_per_s FROM ({stored}) AS rates ORDER BY 1",
        unit="suffix: rows/s",
        interval="10s",
        fields={"drawStyle": "bars", "fillOpacity": 60, "stacking": {"mode": "normal"}},
        description="By the time at which the producer sent them.",
    )
    status = "FROM stream_status WHERE $__timeFilter(time)"
    board.add(
        "Lag",
        "timeseries",
        12,
        8,
        f"SELECT time, topic AS metric, lag {status} ORDER BY time",
        description="Messages that wait in Kafka, whenever python communication.py status ran: "
        "the sink's health check does each minute.",
    )
    board.add(
        "Dead letters",
        "timeseries",
        12,
        8,
        f"SELECT time, topic AS metric, dead_letters {status} ORDER BY time",
        description="Messages that were not stored; python communication.py dlq list tells why.",
    )
    latest = " UNION ALL ".join(
        f"(SELECT time, sent_at FROM {table} WHERE {table}.source_id = s.source_id "
        "ORDER BY time DESC LIMIT 1)"
        for table in tables[:4]
    )
    board.add(
        "Last message by source",
        "table",
        24,
        10,
        f"""SELECT s.source_id AS "source", s.kind, newest.time AS "newest interval",
            newest.sent_at AS "sent",
            newest.sent_at - newest.time - make_interval(mins => s.step_min) AS delay,
            now() - newest.sent_at AS "silent for"
            FROM sources AS s LEFT JOIN LATERAL (SELECT time, sent_at FROM ({latest}) AS rows
            ORDER BY time DESC LIMIT 1) AS newest ON true
            WHERE s.{SOURCES} ORDER BY newest.sent_at NULLS FIRST""",
        description="delay: from the end of the newest interval until its message was sent. "
        "Sources without a message come first.",
    )
    return board


def value() -> Dashboard:
    board = Dashboard("Value", GENERATED, OWNED)
    one = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
        "graphMode": "none",
        "colorMode": "none",
    }
    # the run of each kind that was made last for an issue time, as plans of other batteries or
    # inputs stay beside it
    last = {
        kind: f"""SELECT DISTINCT ON (site_id, issue_time) * FROM schedule_runs
            WHERE kind = '{kind}' AND $__timeFilter(issue_time) AND {SITES}
            ORDER BY site_id, issue_time, created_at DESC"""
        for kind in ("plan", "actual", "perfect")
    }
    valued = f"""SELECT issue_time, a.cost_no_battery_eur, a.cost_rule_eur, a.cost_eur,
        p.cost_eur AS perfect_eur
        FROM ({last["actual"]}) AS a JOIN ({last["perfect"]}) AS p USING (site_id, issue_time)"""
    newest_data(board)
    for title, expression, unit in (
        (
            "Captured share",
            "sum(cost_no_battery_eur - cost_eur)"
            " / nullif(sum(cost_no_battery_eur - perfect_eur), 0)",
            "percentunit",
        ),
        ("Saved against no battery", "sum(cost_no_battery_eur - cost_eur)", "currencyEUR"),
        ("Saved against the simple rule", "sum(cost_rule_eur - cost_eur)", "currencyEUR"),
    ):
        board.add(
            title,
            "stat",
            6,
            4,
            f"SELECT {expression} FROM ({valued}) AS valued",
            unit=unit,
            options=one,
            description="Plans issued in the chosen time, the last of each issue time, at "
            "actual values (python optimization.py value).",
        )
    board.add(
        "Cost against the baselines",
        "barchart",
        12,
        9,
        f"""SELECT to_char(issue_time, 'YYYY-MM-DD HH24:MI') AS "issued",
            cost_no_battery_eur AS "no battery", cost_rule_eur AS "rule",
            cost_eur AS "plan", perfect_eur AS "perfect foresight"
            FROM ({valued}) AS valued ORDER BY issue_time""",
        unit="currencyEUR",
        options={"xField": "issued"},
        description="At actual values; energy left in the batteries counts at one price for "
        "all. Positive is paid.",
    )
    board.add(
        "Cost at forecast values",
        "barchart",
        12,
        9,
        f"""SELECT to_char(issue_time, 'YYYY-MM-DD HH24:MI') AS "issued",
            cost_no_battery_eur AS "no battery", cost_rule_eur AS "rule",
            cost_eur AS "plan" FROM ({last["plan"]}) AS plans ORDER BY issue_time""",
        unit="currencyEUR",
        options={"xField": "issued"},
        description="What each plan expected when it was made.",
    )
    board.add(
        "Planned saving, added up",
        "timeseries",
        12,
        8,
        f"""SELECT time, sum(saved_eur) OVER (ORDER BY time) AS "saved" FROM (
            SELECT time, extract(epoch FROM step) / 3600 / 1000
            * (greatest(load_kw - renewables_kw, 0) * import_price_eur_per_mwh
            - greatest(renewables_kw - load_kw, 0) * greatest(export_price_eur_per_mwh, 0)
            - grid_import_kw * import_price_eur_per_mwh + grid_export_kw * export_price_eur_per_mwh)
            AS saved_eur
            FROM ({PLANNED}) AS planned) AS savings ORDER BY time""",
        unit="currencyEUR",
        fields={"fillOpacity": 15},
        description="Energy cost without battery less that of what was last planned for each "
        "interval, at forecast values; a charged battery shows as a cost until it is discharged.",
    )
    board.add(
        "Cycles by day",
        "timeseries",
        12,
        8,
        f"""SELECT date_trunc('day', battery_states.time) AS time, battery_id AS metric,
            sum(battery_states.discharge_kw
            * extract(epoch FROM planned.step) / 3600 / capacity_kwh) AS cycles
            FROM battery_states JOIN batteries USING (battery_id)
            JOIN ({PLANNED}) AS planned USING (run_id)
            WHERE planned.time = battery_states.time AND {BATTERIES} GROUP BY 1, 2 ORDER BY 1""",
        unit="none",
        fields={"drawStyle": "bars", "fillOpacity": 60},
        description="Energy discharged over capacity, as last planned, by UTC day.",
    )
    return board


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for board in (operations(), plant(), forecasts(), stream(), value()):
        path = FOLDER / f"{board.title.lower()}.json"
        path.write_text(
            json.dumps(board.build(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
