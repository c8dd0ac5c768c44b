"""Dashboard Stream: messages as they are stored, those that wait and those that are left out."""

from boards.drawing import ONE_VALUE, Dashboard
from boards.queries import BIN, SOURCES, STREAMED

TABLES = (
    "renewables",
    "load",
    "market_prices",
    "weather",
    "weather_forecasts",
    "external_forecasts",
)


def stream() -> Dashboard:
    """What reaches the database, and what waits or is left out."""
    board = Dashboard("Stream", {"from": "now-24h", "to": "now"}, STREAMED)
    newest = " UNION ALL ".join(
        f"(SELECT sent_at FROM {table} WHERE {table}.source_id = s.source_id "
        f"ORDER BY {'issue_time' if 'forecasts' in table else 'time'} DESC LIMIT 1)"
        for table in TABLES
    )
    counted = " UNION ALL ".join(
        f"SELECT count(*) AS stored FROM {table} WHERE $__timeFilter(sent_at) AND {SOURCES}"
        for table in TABLES
    )
    board.add(
        "Last message",
        "stat",
        8,
        4,
        f"SELECT max(sent_at) AS sent_at FROM sources AS s, LATERAL ({newest}) AS newest "
        f"WHERE s.{SOURCES}",
        unit="dateTimeFromNow",
        options=ONE_VALUE,
        description="When the message of the newest interval of any source was sent.",
    )
    board.add(
        "Rows stored",
        "stat",
        8,
        4,
        f"SELECT sum(stored) AS stored FROM ({counted}) AS tables",
        options=ONE_VALUE,
        description="Whose messages were sent in the chosen time.",
    )
    add_flow(board)
    add_sources(board)
    return board


def add_flow(board: Dashboard) -> None:
    """Rows, lag and dead letters over time."""
    rate = "count(*) / extract(epoch FROM interval '$__interval')"
    stored = " UNION ALL ".join(
        f"SELECT {BIN.format('sent_at')} AS time, '{table}' AS metric, {rate} AS rows_per_s "
        f"FROM {table} "
        f"WHERE $__timeFilter(sent_at) AND {SOURCES} GROUP BY 1"
        for table in TABLES
    )
    status = "FROM stream_status WHERE $__timeFilter(time)"
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


def add_sources(board: Dashboard) -> None:
    """Each source with its last message."""
    latest = " UNION ALL ".join(
        f"(SELECT time, sent_at FROM {table} WHERE {table}.source_id = s.source_id "
        "ORDER BY time DESC LIMIT 1)"
        for table in TABLES[:4]
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
