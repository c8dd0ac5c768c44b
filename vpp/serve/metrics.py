"""The plant's health as metrics for Prometheus: what `/metrics` answers.

    curl -H "Authorization: Bearer $(python serve.py --show-token)" http://127.0.0.1:8080/metrics

Times are seconds, ages are as of the plant's clock.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vpp.site.kinds import KINDS


def metrics_text(now: Mapping[str, Any]) -> bytes:
    """The metrics in Prometheus' text format.

    Parameters
    ----------
    now : as `read_now` gives it.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(now))
    return generate_latest(registry)


class _Collector:
    def __init__(self, now: Mapping[str, Any]) -> None:
        self.now = now

    def collect(self) -> Iterator[Any]:
        """The metrics as prometheus_client takes them."""
        health = self.now["health"]
        yield _family(
            "vpp_healthy", "1 where nobody has to do anything.", [], [((), health["healthy"])]
        )
        yield from _of_sources(health["sources"])
        yield from _of_stream(health["stream"])
        yield from _of_jobs(health["jobs"], self.now["time"])
        yield from _of_plan(self.now)
        yield from _of_batteries(self.now["batteries"])
        rows = [((row["rule"], row["subject"]), 1) for row in health["alerts"]]
        yield _family("vpp_alert", "Alerts that are not resolved.", ["rule", "subject"], rows)


def _family(name: str, about: str, labels: list[str], rows: list[tuple[tuple, Any]]) -> Any:
    """A gauge with a value for each set of labels; those without a value are left out."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in rows:
        if number is not None:
            family.add_metric([str(value) for value in values], float(number))
    return family


def _of_sources(sources: list[Mapping]) -> Iterator[Any]:
    labels = ["source_id", "kind"]

    def rows(name: str) -> list[tuple[tuple, Any]]:
        return [((s["source_id"], s["kind"]), s.get(name)) for s in sources]

    about = "Time since the end of the newest interval of a source."
    yield _family("vpp_source_age_seconds", about, labels, rows("age_s"))
    yield _family("vpp_source_current", "1 where a source is current.", labels, rows("current"))
    for name in dict.fromkeys(KINDS[source["kind"]].value for source in sources):
        yield _family(f"vpp_source_{name}", "Newest value of a source.", labels, rows(name))


def _of_stream(stream: list[Mapping]) -> Iterator[Any]:
    for name, about in (
        ("lag", "Messages that waited when `communication.py status` looked last."),
        ("dead_letters", "Messages that could not be stored, as it saw them."),
    ):
        rows = [((row["topic"],), row[name]) for row in stream]
        yield _family(f"vpp_stream_{name}", about, ["topic"], rows)


def _of_jobs(jobs: list[Mapping], now: Any) -> Iterator[Any]:
    failed = [((job["job"],), job["state"] == "failed") for job in jobs]
    yield _family("vpp_job_failed", "1 where the last run of a job failed.", ["job"], failed)
    done = [((job["job"],), job["ok_at"] and job["ok_at"].timestamp()) for job in jobs]
    about = "When a job ended well last, in seconds since 1970."
    yield _family("vpp_job_ok_timestamp_seconds", about, ["job"], done)


def _of_plan(now: Mapping[str, Any]) -> Iterator[Any]:
    plan = now["plan"] or {}
    age_s = now["health"]["plan_age_s"]
    about = "Time since the issue time of the newest plan."
    yield _family("vpp_plan_age_seconds", about, [], [((), age_s)])
    ways = (("cost_eur", "plan"), ("cost_no_battery_eur", "no_battery"), ("cost_rule_eur", "rule"))
    rows = [((way,), plan.get(name)) for name, way in ways]
    yield _family("vpp_plan_cost_eur", "Cost of the newest plan's span.", ["way"], rows)
    planned = (now["power"]["planned"] or {}).items()
    about = "Power of this interval by plan [kW]."
    rows = [((name.removesuffix("_kw"),), value) for name, value in planned]
    yield _family("vpp_planned_power_kw", about, ["flow"], rows)
    prices = (now["price"] or {}).items()
    about = "Price of this interval [EUR/MWh]."
    rows = [((name.removesuffix("_price_eur_per_mwh"),), value) for name, value in prices]
    yield _family("vpp_price_eur_per_mwh", about, ["side"], rows)


def _of_batteries(batteries: list[Mapping]) -> Iterator[Any]:
    for name, about, value in (
        ("soc", "State of charge [fraction].", lambda b: b["state"] and b["state"]["soc"]),
        ("state_age_seconds", "Age of that state.", lambda b: b["age_s"]),
        ("overridden", "1 where a person's order holds.", lambda b: b["override"] is not None),
    ):
        rows = [((battery["battery_id"],), value(battery)) for battery in batteries]
        yield _family(f"vpp_battery_{name}", about, ["battery_id"], rows)
