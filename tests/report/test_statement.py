"""Statements: their sums are those of the ledger's intervals, in the site's money."""

import dataclasses
import re
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from small_report import ISSUE, fill

import db
import report
from vpp.planning import plans
from vpp.planning.ledger import read_ledger
from vpp.report.statement import bounds, page, read_statement, table_of
from vpp.report.words import money_text, shown_in
from vpp.runtime.config import load_config
from vpp.storage.rows import select_rows


@pytest.fixture(scope="module")
def config(filled):
    """The database of the report, with its ledger."""
    return filled


@pytest.mark.parametrize(
    ("period", "day", "first", "last", "hours"),
    [
        ("day", "2025-03-30", "2025-03-29T23:00Z", "2025-03-30T22:00Z", 23),
        ("day", "2025-10-26", "2025-10-25T22:00Z", "2025-10-26T23:00Z", 25),
        ("week", "2025-03-30", "2025-03-23T23:00Z", "2025-03-30T22:00Z", 167),
        ("month", "2024-02-29", "2024-01-31T23:00Z", "2024-02-29T23:00Z", 696),
        ("year", "2025-07-01", "2024-12-31T23:00Z", "2025-12-31T23:00Z", 8760),
    ],
)
def test_a_period_is_of_local_days(period, day, first, last, hours):
    start, end = bounds(date.fromisoformat(day), period, "Europe/Brussels")
    assert (start, end) == (pd.Timestamp(first), pd.Timestamp(last))
    assert (end - start) == pd.Timedelta(hours=hours)


@pytest.mark.parametrize("period", ["day", "week", "month", "year"])
def test_its_sums_are_those_of_the_intervals_to_the_cent(config, period):
    with db.session(config) as conn:
        statement = read_statement(conn, config, period, date(2025, 3, 13))
        query = """
            SELECT sum(cost_eur::numeric) AS cost FROM (
                SELECT DISTINCT ON (time) * FROM ledger WHERE time >= %s AND time < %s
                ORDER BY time, version DESC) AS newest"""
        span = (statement.start.to_pydatetime(), statement.end.to_pydatetime())
        total = float(select_rows(conn, query, span)[0]["cost"])
    assert statement.total["cost_eur"] == pytest.approx(total, abs=1e-7)
    table = table_of(statement)
    assert table["cost_eur"].sum() == pytest.approx(total, abs=1e-5)
    text = page(statement, pd.Timestamp("2025-04-01T08:00Z"))
    with shown_in("EUR"):
        assert f"<b>{money_text(total)}</b>" in text
    assert "Made Tue 1 Apr 2025 10:00." in text
    assert text.count("<tr>") - 4 >= len(table)
    assert "plotly" not in text.lower() or "Plotly.newPlot" not in text


def test_a_statement_in_francs_says_francs(config_file):
    config = load_config(config_file(tariff={"currency": "CHF"}, **{"battery:first": {}}), {})
    fill(config, plan=False)
    plans.plan(config, ISSUE)
    with db.session(config) as conn:
        statement = read_statement(conn, config, "day", date(2025, 3, 13))
        text = page(statement, pd.Timestamp("2025-04-01T08:00Z"))
        assert "€" not in text and "EUR" not in text and "CHF" in text
        assert set(table_of(statement)["currency"]) == {"CHF"}
        assert "are the plan carried out on actual values" in text
        # a value that is missing, and one that is corrected
        with conn.cursor() as cursor:
            cursor.execute("UPDATE load SET power_kw = power_kw + 1 WHERE time = %s", (ISSUE,))
        conn.commit()
        text = page(read_statement(conn, config, "day", date(2025, 3, 13)), ISSUE)
        assert "1 intervals were corrected" in text


def test_names_are_text(config):
    """The name of the site is HTML, and runs nowhere."""
    with db.session(config) as conn:
        text = page(read_statement(conn, config, "month"), ISSUE)
    assert "<img src=x" not in text and "&lt;img src=x" in text


def test_the_script_writes_a_page_and_a_csv_file(config, tmp_path, capsys):
    arguments = ["--config", str(config.path), "--period", "month"]
    html, csv = tmp_path / "month.html", tmp_path / "month.csv"
    assert report.main([*arguments, "--output", str(html), "--csv", str(csv)]) == 0
    told = capsys.readouterr().out.splitlines()  # as short as they are from here
    assert [Path(line).resolve() for line in told] == [html.resolve(), csv.resolve()]
    rows = pd.read_csv(csv)
    assert rows["time"].tolist() == [
        *("2025-03-12T23:00:00Z", "2025-03-13T23:00:00Z", "2025-03-14T23:00:00Z")
    ]
    assert rows["local"].iloc[0] == "2025-03-13T00:00:00+01:00"
    with db.session(config) as conn:
        months = read_ledger(conn, config.site, by="month")
    assert rows["cost_eur"].sum() == pytest.approx(months["cost_eur"].iloc[0], abs=1e-5)
    assert re.search(r"March 2025", html.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--period", "month", "--run", "x"], 2, "--run: expected not with --period"),
        (["--csv", "x.csv"], 2, "--csv: expected only with --period"),
        (["--date", "2025-03-13"], 2, "--date: expected only with --period"),
        (["--period", "day", "--date", "2020-01-01"], 1, "the ledger has nothing of the day of"),
        (["--period", "decade"], 2, "expected one of day"),
    ],
)
def test_bad_requests_are_one_line(config, capsys, arguments, code, words):
    try:
        found = report.main(["--config", str(config.path), *arguments])
    except SystemExit as stopped:
        found = stopped.code
    assert found == code
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_an_empty_ledger_says_what_to_do(config_file, capsys):
    assert report.main(["--config", str(config_file()), "--period", "month"]) == 1
    assert "python optimization.py" in capsys.readouterr().err


def test_a_site_of_two_currencies_says_so(config):
    with db.session(config) as conn:
        statement = read_statement(conn, config, "day", date(2025, 3, 13))
    rows = statement.rows.assign(currency=["CHF", *statement.rows["currency"][1:]])
    text = page(dataclasses.replace(statement, rows=rows), ISSUE)
    assert "Amounts in CHF and EUR are added up as they are." in text
