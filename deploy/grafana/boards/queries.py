"""SQL that several panels share; `$site`, `$source` and `$battery` are the choices of a person."""

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
