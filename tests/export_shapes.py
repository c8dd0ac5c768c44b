"""Small files in the shapes of real exports, with the values that must come out of them.

Each shape is a function that writes a file and gives `Case`: the arguments of `sources.py import`
and the series expected. The numbers are our own.
"""

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.site.kinds import KINDS


@dataclass
class Case:
    """A file, how it is imported, and what must come out.

    Parameters
    ----------
    name : of the file.
    content : its text or bytes.
    arguments : of the import.
    expected : source_id -> values by UTC time; None: the import is refused.
    refusal : that the line of the refusal must contain.
    """

    name: str
    content: str | bytes
    arguments: list[str]
    expected: dict[str, pd.Series] | None = field(default_factory=dict)
    refusal: str = ""

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        content = self.content
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def series(start: str, count: int, step_min: int, low=20.0, high=90.0) -> pd.Series:
    """Numbers with two decimals that differ from row to row, on a grid of UTC."""
    times = pd.date_range(start, periods=count, freq=f"{step_min}min", tz="UTC")
    number = np.arange(count)
    values = low + (high - low) * (0.5 + 0.5 * np.sin(number / 7)) + (number * 37 % 11) / 100
    return pd.Series(values.round(2), times)


def german(value: float, decimals: int = 2) -> str:
    text = f"{value:,.{decimals}f}"
    return text.translate(str.maketrans({",": ".", ".": ","}))


def table(header: str, rows) -> str:
    return "\n".join([header, *rows]) + "\n"


def zipped(members: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def imported(folder) -> dict[str, pd.Series]:
    """Values by UTC time of each source of a data folder."""
    found = {}
    for kind in KINDS.values():
        if (folder / kind.file).exists():
            rows = pd.read_csv(folder / kind.file, parse_dates=["time"])
            for name, part in rows.groupby("source_id"):
                found[name] = part.set_index("time")[kind.value]
    return found


CASES: list[Case] = []


def shape(function):
    """Register the case, or the cases, that a function gives."""
    found = function()
    CASES.extend(found if isinstance(found, list) else [found])
    return function


@shape
def entsoe_old():
    s = series("2025-10-25T22:00", 25, 60)
    local = s.index.tz_convert("Europe/Berlin")
    ends = (s.index + pd.Timedelta("1h")).tz_convert("Europe/Berlin")
    rows = [
        f'"{a:%d.%m.%Y %H:%M} - {b:%d.%m.%Y %H:%M}","{v}","EUR"'
        for a, b, v in zip(local, ends, s, strict=True)
    ]
    text = table('"MTU (CET/CEST)","Day-ahead Price [EUR/MWh]","Freshness"', rows)
    asked = ["--price", "Day-ahead Price [EUR/MWh]:EUR/MWh:p"]
    return [
        Case("entsoe_old.csv", text, ["--time-column", "MTU (CET/CEST)", *asked], {"p": s}),
        Case("entsoe_no_column.csv", text, asked, {"p": s}),
    ]


@shape
def entsoe_load_utc():
    s = series("2025-01-07T00:00", 24, 60, 30000, 60000).round()
    rows = [
        f"{a:%d.%m.%Y %H:%M} - {a + pd.Timedelta('1h'):%d.%m.%Y %H:%M},{v + 5:.0f},{v:.0f}"
        for a, v in s.items()
    ]
    text = table("Time (UTC),Day-ahead Total Load Forecast [MW],Actual Total Load [MW]", rows)
    ask = ["--load", "Actual Total Load [MW]:MW:load"]
    return [
        Case("entsoe_load.csv", text, [*ask, "--time-column", "Time (UTC)"], {"load": s * 1000}),
        Case(
            "entsoe_load_wrong_zone.csv",
            text,
            [*ask, "--time-column", "Time (UTC)", "--tz", "Europe/Berlin"],
            None,
            "--tz UTC",
        ),
    ]


@shape
def energy_charts_unix():
    s = series("2025-03-29T22:00", 48, 30)
    rows = [f"{int(t.timestamp())}000;{german(v)}" for t, v in s.items()]
    return Case(
        "epoch_ms.csv",
        table("unix_ms;load", rows),
        ["--time-column", "unix_ms", "--load", "load:kW:l"],
        {"l": s},
    )


@shape
def datadis():
    s = series("2025-01-06T23:00", 48, 60, 0.2, 3)
    local = s.index.tz_convert("Europe/Madrid")
    rows = [
        f"ES00;{t:%Y/%m/%d};{t.hour + 1:02}:00;{german(v, 3)};Real"
        for t, v in zip(local, s, strict=True)
    ]
    return Case(
        "datadis.csv",
        table("cups;date;time;consumptionKWh;obtainMethod", rows),
        ["--time-column", "date", "--tz", "Europe/Madrid", "--load", "consumptionKWh:kWh:l"],
        {"l": s},
    )


@shape
def hours_1_to_25():
    s = series("2025-10-25T22:00", 49, 60, 0.2, 3)
    local = s.index.tz_convert("Europe/Madrid")
    rows, day, hour = [], None, 0
    for t, v in zip(local, s, strict=True):
        hour = 1 if t.date() != day else hour + 1
        day = t.date()
        rows.append(f"ES00;{t:%d/%m/%Y};{hour};{german(v, 3)}")
    return Case(
        "ide.csv",
        table("CUPS;Fecha;Hora;AE_kWh", rows),
        ["--time-column", "Fecha", "--tz", "Europe/Madrid", "--load", "AE_kWh:kWh:l"],
        {"l": s},
    )


@shape
def hours_on_the_clock_24_a_day():
    s = series("2025-03-29T23:00", 23 + 24, 60)
    local = s.index.tz_convert("Europe/Berlin")
    rows = [f"{t:%Y-%m-%d},{t.hour + 1},{v}" for t, v in zip(local, s, strict=True)]
    return Case(
        "he_clock.csv",
        table("Date,Hour Ending,Price", rows),
        [
            "--time-column",
            "Date,Hour Ending",
            "--tz",
            "Europe/Berlin",
            "--price",
            "Price:EUR/MWh:p",
        ],
        {"p": s},
    )


@shape
def caiso_am_pm():
    s = series("2025-01-07T05:00", 48, 60)
    local = s.index.tz_convert("America/New_York")
    rows = [
        f"{t.month}/{t.day}/{t.year} {t:%I:%M:%S %p},{v}" for t, v in zip(local, s, strict=True)
    ]
    return Case(
        "pjm.csv",
        table("datetime_beginning_ept,total_lmp_da", rows),
        [
            "--time-column", "datetime_beginning_ept", "--tz", "America/New_York",
            "--price", "total_lmp_da:EUR/MWh:p",
        ],
        {"p": s},
    )  # fmt: skip


@shape
def ercot_hour_ending():
    s = series("2025-01-07T06:00", 48, 60)
    local = s.index.tz_convert("America/Chicago")
    rows = [f"{t:%m/%d/%Y},{t.hour + 1:02}:00,{v},N" for t, v in zip(local, s, strict=True)]
    text = table("DeliveryDate,HourEnding,SettlementPointPrice,DSTFlag", rows)
    ask = ["--tz", "America/Chicago", "--price", "SettlementPointPrice:EUR/MWh:p"]
    return Case("ercot.csv", text, ["--time-column", "DeliveryDate", *ask], {"p": s})


@shape
def home_assistant():
    t0 = pd.Timestamp("2025-01-07T00:00:00Z")
    rows, values = [], []
    for number in range(96):  # changes at 3 and 11 min of each quarter
        begin = t0 + pd.Timedelta(minutes=15 * number)
        a, b = 100.0 + number, 300.0 + number
        rows.append(f"sensor.grid,{a},{begin + pd.Timedelta(minutes=3):%Y-%m-%dT%H:%M:%S.123Z}")
        rows.append(f"sensor.grid,{b},{begin + pd.Timedelta(minutes=11):%Y-%m-%dT%H:%M:%S.456Z}")
        before = 300.0 + number - 1
        values.append((3 * before + 8 * a + 4 * b) / 15 / 1000)
    rows.insert(7, f"sensor.other,5,{t0 + pd.Timedelta(minutes=30):%Y-%m-%dT%H:%M:%S.000Z}")
    s = pd.Series(values, pd.date_range(t0, periods=96, freq="15min"))
    s.iloc[0] = (8 * 100 + 4 * 300) / 12 / 1000  # its first 3 minutes are unknown
    text = table("entity_id,state,last_changed", rows)
    ask = ["--time-column", "last_changed", "--load", "state:W:grid"]
    return [
        Case("ha.csv", text, [*ask, "--where", "entity_id=sensor.grid"], {"grid": s}),
    ]


@shape
def register_with_reset():
    s = series("2025-06-01T00:00", 96, 15, 1, 9)
    energy = (s / 4).to_numpy()
    total = np.concatenate([[500.0], 500 + np.cumsum(energy)])
    total[41:] -= total[41] - 0.7  # a new meter begins before the reading of row 41
    times = pd.date_range("2025-06-01T00:00", periods=97, freq="15min", tz="UTC")
    rows = [
        f"{t:%Y-%m-%d %H:%M};{v:.4f}".replace(".", ",") for t, v in zip(times, total, strict=True)
    ]
    expected = s.drop(s.index[40])
    text = table("time;Zählerstand kWh", rows)
    ask = ["--tz", "UTC", "--load", "Zählerstand kWh:kWh:l"]
    return [
        Case("reset.csv", text, [*ask, "--cumulative"], {"l": expected}),
        Case("reset_unsaid.csv", text, ask, None, "--cumulative"),
    ]


@shape
def register_that_goes_round():
    s = series("2025-06-01T00:00", 96, 15, 1, 9)
    total = (99980 + np.concatenate([[0], np.cumsum((s / 4).to_numpy())])) % 100000
    times = pd.date_range("2025-06-01T00:00", periods=97, freq="15min", tz="UTC")
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{v:.4f}" for t, v in zip(times, total, strict=True)]
    return Case(
        "round.csv",
        table("time,import_kwh", rows),
        ["--load", "import_kwh:kWh:l", "--cumulative"],
        {"l": s},
    )


@shape
def matrix_italy():
    s = series("2025-10-24T22:00", 192, 15, 0.2, 3)
    local = s.index.tz_convert("Europe/Rome")
    labels = [
        f"{m // 60:02}:{m % 60:02}-{(m + 15) // 60 % 24:02}:{(m + 15) % 60:02}"
        for m in range(0, 1440, 15)
    ]
    day = s[local.date == pd.Timestamp("2025-10-25").date()]
    rows = ["25/10/2025;" + ";".join(german(v / 4, 4) for v in day)]
    return Case(
        "edistribuzione.csv",
        table("Giorno;" + ";".join(labels), rows),
        ["--time-column", "Giorno", "--tz", "Europe/Rome", "--load", "00:00-00:15:kWh:l"],
        {"l": (day / 4).round(4) * 4},
    )


@shape
def matrix_hours_numbered():
    s = series("2025-03-28T23:00", 24 + 23, 60)
    local = s.index.tz_convert("Europe/Berlin")
    rows = []
    for day, rest in s.groupby(local.date):
        values = [str(v) for v in rest]
        if len(values) == 23:
            values.insert(2, "")
        rows.append(f"{day:%d.%m.%Y};" + ";".join(values).replace(".", ","))
    header = "Datum;" + ";".join(f"H{n}" for n in range(1, 25))
    return Case(
        "epex_hours.csv",
        table(header, rows),
        ["--tz", "Europe/Berlin", "--price", "*:EUR/MWh:p"],
        {"p": s},
    )
