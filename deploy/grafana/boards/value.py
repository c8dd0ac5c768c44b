"""Dashboard Value: plans at actual values, beside no battery, a rule and perfect foresight."""

from boards.drawing import GENERATED, ONE_VALUE, Dashboard, newest_data
from boards.queries import BATTERIES, OWNED, PLANNED, SITES

# the run of each kind that was made last for an issue time, as plans of other batteries or
# inputs stay beside it
LAST = {
    kind: f"""SELECT DISTINCT ON (site_id, issue_time) * FROM schedule_runs
    WHERE kind = '{kind}' AND $__timeFilter(issue_time) AND {SITES}
        ORDER BY site_id, issue_time, created_at DESC"""
    for kind in ("plan", "actual", "perfect")
}
VALUED = f"""SELECT issue_time, a.cost_no_battery_eur, a.cost_rule_eur, a.cost_eur,
    p.cost_eur AS perfect_eur
    FROM ({LAST["actual"]}) AS a JOIN ({LAST["perfect"]}) AS p USING (site_id, issue_time)"""


def value() -> Dashboard:
    """What plans were worth, at actual and at forecast values."""
    board = Dashboard("Value", GENERATED, OWNED)
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
            f"SELECT {expression} FROM ({VALUED}) AS valued",
            unit=unit,
            options=ONE_VALUE,
            description="Plans issued in the chosen time, the last of each issue time, at "
            "actual values (python optimization.py value).",
        )
    add_costs(board)
    add_savings(board)
    return board


def add_costs(board: Dashboard) -> None:
    """The cost of each plan beside other ways to run the batteries."""
    board.add(
        "Cost against the baselines",
        "barchart",
        12,
        9,
        f"""SELECT to_char(issue_time, 'YYYY-MM-DD HH24:MI') AS "issued",
            cost_no_battery_eur AS "no battery", cost_rule_eur AS "rule",
            cost_eur AS "plan", perfect_eur AS "perfect foresight"
            FROM ({VALUED}) AS valued ORDER BY issue_time""",
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
            cost_eur AS "plan" FROM ({LAST["plan"]}) AS plans ORDER BY issue_time""",
        unit="currencyEUR",
        options={"xField": "issued"},
        description="What each plan expected when it was made.",
    )


def add_savings(board: Dashboard) -> None:
    """Savings and cycles that were planned, over time."""
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
