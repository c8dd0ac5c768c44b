"""Dashboard Forecasts: forecasts beside what came, their error and the coverage of the band."""

from boards.drawing import COLOURS, GENERATED, Dashboard, coloured, in_unit, newest_data
from boards.queries import ACTUALS, BIN, COVERED, FORECAST_ROWS, FORECAST_RUNS, JUDGED, MEASURED


def forecasts() -> Dashboard:
    """Forecasts beside what came, and how good they were."""
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
    add_sources(board)
    return board


def add_sources(board: Dashboard) -> None:
    """The newest forecast of each source, and the accuracy of all."""
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
