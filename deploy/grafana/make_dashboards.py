"""The Grafana dashboards as code: writes dashboards/operations.json, plant.json, forecasts.json,
stream.json and value.json beside this file.

Each panel, in `boards/`, is a few words and its SQL, in plain PostgreSQL (`date_bin`), so that the
same queries run on TimescaleDB and on the embedded server. Grafana replaces
`$__timeFilter(column)`, `$__interval` and the variables `site`, `source` and `battery`.

    python deploy/grafana/make_dashboards.py
"""

import json
from pathlib import Path

from boards.forecasts import forecasts
from boards.operations import operations
from boards.plant import plant
from boards.stream import stream
from boards.value import value

FOLDER = Path(__file__).resolve().parent / "dashboards"


def texts() -> dict[str, str]:
    """Name of each dashboard's file -> its text."""
    return {
        f"{board.title.lower()}.json": json.dumps(board.build(), indent=1, ensure_ascii=False)
        + "\n"
        for board in (operations(), plant(), forecasts(), stream(), value())
    }


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
