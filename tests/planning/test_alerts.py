"""Alerts fire once, resolve, name what to do, and reach a real mail and a real web server."""

import dataclasses

import pandas as pd
import pytest
from small_channels import MailHandler, WebHandler, serving
from small_report import ISSUE, fill

import db
from vpp.planning import plans
from vpp.planning.alert_rules import LIMITS as LIMITS_OF
from vpp.planning.alert_rules import RULES
from vpp.planning.alerts import evaluate
from vpp.runtime.alert_settings import Alerts
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError, FieldError
from vpp.storage.alerts import read_alerts
from vpp.storage.rows import select_rows

HOUR = pd.Timedelta(hours=1)
END = pd.Timestamp("2025-03-15T00:00Z")  # of the measurements
LIMITS = [LIMITS_OF.get(rule, rule) for rule in RULES]
QUIET = Alerts(**dict.fromkeys(LIMITS, 0))


@pytest.fixture
def config(config_file):
    config = load_config(config_file(**{"battery:first": {}}), {})
    fill(config, plan=False)
    plans.plan(config, ISSUE)
    return config


def only(config, **limits):
    """The configuration with these rules and channels alone."""
    return dataclasses.replace(config, alerts=dataclasses.replace(QUIET, **limits))


def execute(conn, statement, *values):
    with conn, conn.cursor() as cursor:
        cursor.execute(statement, values)


def test_an_alert_fires_once_follows_and_resolves(config):
    config = only(config, plan_late_min=60)
    with db.session(config) as conn:
        assert evaluate(conn, ISSUE + HOUR, config) == []
        (fired,) = evaluate(conn, ISSUE + 2 * HOUR, config)
        assert (fired["event"], fired["rule"], fired["subject"]) == ("fired", "plan_late", "site-1")
        assert "the newest plan was issued 2025-03-12T23:00Z, 120 min ago" in fired["message"]
        assert "python optimization.py" in fired["what_to_do"]
        for hours in (3, 4):
            assert evaluate(conn, ISSUE + hours * HOUR, config) == []
        (row,) = read_alerts(conn)
        assert (row["value"], row["fired_at"]) == (240, ISSUE + 2 * HOUR)  # the value follows
        (resolved,) = evaluate(conn, ISSUE + HOUR, config)
        assert resolved["event"] == "resolved"
        assert read_alerts(conn) == []
        (again,) = evaluate(conn, ISSUE + 5 * HOUR, config)
        assert again["alert_id"] != row["alert_id"]  # a new one
        (off,) = evaluate(conn, ISSUE + 5 * HOUR, only(config))
        assert off["event"] == "resolved"  # the rule was switched off


def source_is_silent(conn):
    execute(conn, "DELETE FROM load WHERE time >= %s", END - 9 * HOUR)


def battery_is_off(conn):
    states = pd.DataFrame(
        {"battery_id": "first", "kind": "measured", "soc": 0.01}, [END - 40 * HOUR]
    )
    db.save_battery_states(conn, states.assign(time=END - 40 * HOUR))
    conn.commit()


def limit_bends(conn):
    execute(
        conn,
        "UPDATE schedules SET reason = 'hold: empty; grid.import_limit_kw bent by 12.0 kW'"
        " WHERE time IN (%s, %s)",
        ISSUE + 20 * HOUR,
        ISSUE + 30 * HOUR,
    )


def price_is_high(conn):
    execute(conn, "UPDATE market_prices SET price_eur_per_mwh = 812.5 WHERE time = %s", END - HOUR)


def letters_are_dead(conn):
    for hours, count in ((60, 4), (9, 4), (2, 7)):
        execute(
            conn,
            "INSERT INTO stream_status VALUES (%s, 'load-topic', 0, %s)",
            END - hours * HOUR,
            count,
        )


def bands_are_wrong(conn):
    execute(
        conn,
        "UPDATE forecasts SET q10 = 1e6, q90 = 2e6 WHERE run_id IN ("
        "SELECT run_id FROM forecast_runs WHERE source_id = 'wind-1')",
    )


CASES = {
    "source_stale": (
        source_is_silent,
        END,
        {"source_stale_h": 6},
        "load-1",
        9,
        "the newest value ends 2025-03-14T15:00Z, 9.0 h ago",
    ),
    "data_end_behind": (
        None,
        END + 4 * HOUR,
        {"data_end_behind_h": 3},
        "site-1",
        4,
        "measurements of all sources end 2025-03-15T00:00Z, 4.0 h ago",
    ),
    "limits_bent": (
        limit_bends,
        ISSUE + 25 * HOUR,
        {"limits_bent": 1},
        "site-1",
        1,
        "first 2025-03-14T05:00Z: grid.import_limit_kw bent by 12.0 kW",
    ),
    "soc_off_plan": (
        battery_is_off,
        END - 39 * HOUR,
        {"soc_off_plan": 0.03},
        "first",
        None,
        "first: SOC is 1% at 2025-03-13T08:00Z, the plan has 5%",
    ),
    "price_spike": (
        price_is_high,
        END - 10 * HOUR,
        {"price_spike_eur_per_mwh": 800},
        "market-1",
        812.5,
        "Market: a price of 812.50 per MWh at 2025-03-14T23:00Z",
    ),
    "dead_letters": (
        letters_are_dead,
        END,
        {"dead_letters": 3, "dead_letters_h": 24},
        "load-topic",
        3,
        "load-topic: 3 messages could not be stored since",
    ),
    "coverage_off": (
        bands_are_wrong,
        END,
        {"coverage_off": 0.25, "coverage_days": 4},
        "wind-1",
        0,
        "wind-1: 0% of 72 values of the last 4 days lie in the band that 80%",
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_finds_its_fault_and_nothing_before(config, rule):
    make, now, limits, subject, value, words = CASES[rule]
    config = only(config, **limits)
    with db.session(config) as conn:
        quiet = now if make else END
        assert [row["rule"] for row in evaluate(conn, quiet, config)] == []
        if make:
            make(conn)
        (fired,) = evaluate(conn, now, config)
        assert (fired["rule"], fired["subject"]) == (rule, subject)
        assert value is None or fired["value"] == pytest.approx(value)
        assert words in fired["message"]
        assert len(fired["what_to_do"]) > 20


def test_every_rule_has_a_case_and_a_limit():
    assert set(CASES) | {"plan_late"} == set(RULES)


def test_messages_reach_a_mail_server_and_a_web_server(config):
    with serving(MailHandler) as mail, serving(WebHandler) as web, db.session(config) as conn:
        config = only(
            config,
            plan_late_min=60,
            webhook_url=f"http://127.0.0.1:{web.server_address[1]}/hook?key=hush",
            smtp_host="127.0.0.1",
            smtp_port=mail.server_address[1],
            smtp_security="none",
            mail_to=("a@example.org", "b@example.org"),
        )
        other = []
        for hours in (2, 3, 1, 1):
            evaluate(conn, ISSUE + hours * HOUR, config, {"other": other.append})
        assert [hook["event"] for hook in web.got] == ["fired", "resolved"]
        assert web.got[0] | {"message": "", "what_to_do": ""} == {
            "site_id": "site-1",
            "event": "fired",
            "rule": "plan_late",
            "subject": "site-1",
            "value": 120.0,
            "message": "",
            "what_to_do": "",
            "fired_at": "2025-03-13T01:00:00Z",
            "resolved_at": None,
        }
        (to, letter), (_, last) = mail.got
        assert to == ["a@example.org", "b@example.org"]
        assert letter["Subject"] == "[Virtual power plant] Alert: plan_late site-1"
        assert "To do: run python optimization.py" in letter.get_content()
        assert last["Subject"].startswith("[Virtual power plant] Resolved:")
        assert [message["event"] for message in other] == ["fired", "resolved"]


def test_a_channel_that_is_down_stops_nothing_and_is_tried_again(config, caplog):
    with serving(WebHandler) as web, db.session(config) as conn:
        url = f"http://127.0.0.1:{web.server_address[1]}/hush"
        config = only(config, plan_late_min=60, source_stale_h=1, webhook_url=url, retry_min=30)
        web.refuses = True
        at = END + 2 * HOUR
        other = []

        def broken(message):
            raise RuntimeError("no such thing")

        fired = evaluate(conn, at, config, {"other": other.append, "broken": broken})
        assert len(fired) == len(other) == 5  # four sources and the plan
        waiting = "SELECT channel, attempts, error FROM alert_messages WHERE sent_at IS NULL"
        rows = select_rows(conn, waiting + " AND attempts > 0 ORDER BY channel")
        assert [(row["channel"], row["attempts"]) for row in rows] == [
            ("broken", 1),
            ("webhook", 1),
        ]
        assert "answer 503" in rows[1]["error"] and "hush" not in caplog.text
        web.refuses = False
        # the one that was tried waits 30 min; those that were not, go out
        evaluate(conn, at + pd.Timedelta(minutes=1), config)
        assert len(web.got) == 4
        evaluate(conn, at + pd.Timedelta(minutes=31), config)
        assert len(web.got) == 5 and len({hook["subject"] for hook in web.got}) == 5
        evaluate(conn, at + HOUR, config)
        assert len(web.got) == 5


def test_a_resolved_alert_waits_for_its_fired_one(config):
    with serving(WebHandler) as web, db.session(config) as conn:
        url = f"http://127.0.0.1:{web.server_address[1]}/"
        config = only(config, plan_late_min=60, webhook_url=url, retry_min=90)
        web.refuses = True
        evaluate(conn, ISSUE + 2 * HOUR, config)
        web.refuses = False
        plans.plan(config, ISSUE)
        late = dataclasses.replace(
            config, alerts=dataclasses.replace(config.alerts, plan_late_min=999)
        )
        (over,) = evaluate(conn, ISSUE + 3 * HOUR, late)
        assert (over["event"], web.got) == ("resolved", [])
        evaluate(conn, ISSUE + 4 * HOUR, late)
        assert [hook["event"] for hook in web.got] == ["fired", "resolved"]


def test_a_rule_that_cannot_be_told_keeps_its_alerts(config, monkeypatch, caplog):
    config = only(config, plan_late_min=60, data_end_behind_h=1)
    with db.session(config) as conn:
        at = END + 2 * HOUR
        assert len(evaluate(conn, at, config)) == 2

        def torn(conn, now, config):
            with conn.cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM load")

        monkeypatch.setitem(RULES, "plan_late", torn)
        assert evaluate(conn, at + HOUR, config) == []
        assert {row["rule"] for row in read_alerts(conn)} == {"plan_late", "data_end_behind"}
        assert "rule plan_late cannot be told now" in caplog.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"webhook_url": "ftp://x"}, "http"),
        ({"smtp_host": "mail"}, "mail_to"),
        ({"mail_to": ("nobody",)}, "person@example.org"),
        ({"mail_from": "a@b\nBcc: c@d"}, "person@example.org"),
        ({"soc_off_plan": 2}, "at most 1"),
        ({"retry_min": 0}, "more than 0"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    with pytest.raises(FieldError, match=words):
        Alerts(**values)


def test_a_secret_address_is_not_told(config_file):
    with pytest.raises(ConfigError) as refused:
        load_config(config_file(alerts={"webhook_url": "hook.example.org/hush"}), {})
    assert "hush" not in str(refused.value) and "webhook_url" in str(refused.value)
