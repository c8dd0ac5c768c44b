"""A dashboard of Grafana and its panels, laid out one after the other."""

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

# a panel that shows one value
ONE_VALUE = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/"},
    "graphMode": "none",
    "colorMode": "none",
}


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


def _override(field: str, name: str, value: object, custom: dict) -> dict:
    properties = [{"id": name, "value": value}]
    properties += [{"id": f"custom.{name}", "value": value} for name, value in custom.items()]
    return {"matcher": {"id": "byName", "options": field}, "properties": properties}


def coloured(field: str, colour: str, **custom) -> dict:
    """An override for one field: its colour and how it is drawn."""
    return _override(field, "color", {"mode": "fixed", "fixedColor": colour}, custom)


def in_unit(field: str, unit: str, **custom) -> dict:
    """An override for one field: its unit."""
    return _override(field, "unit", unit, custom)


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
            **ONE_VALUE,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/^newest$/"},
        },
        links=[{"title": "Show the last week of data", "url": url}],
    )
