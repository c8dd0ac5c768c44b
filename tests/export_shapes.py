"""Small files in the shapes of real exports, with the values that must come out of them.

Each shape is a function that writes a file and gives `Case`: the arguments of `sources.py import`
and the series expected. The numbers are our own.
"""

import gzip
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


@shape
def zip_of_months():
    s = series("2025-01-30T00:00", 96, 60)
    text = [f"{t:%Y-%m-%dT%H:%MZ},{v}" for t, v in s.items()]
    return Case(
        "months.zip",
        zipped(
            {
                "b/2025-02.csv": table("time,kw", text[48:]),
                "2025-01.csv": table("time,kw", text[:48]),
                "readme.md": "x",
            }
        ),
        ["--load", "kw:kW:l"],
        {"l": s},
    )


@shape
def encodings():
    s = series("2025-01-07T00:00", 24, 60, 1000, 2000)
    rows = [f"{t:%d.%m.%Y %H:%M};{german(v)}" for t, v in s.items()]
    text = table("Zeit;Zähler größe kW", rows)
    ask = ["--tz", "UTC", "--load", "Zähler größe kW:kW:l"]
    japanese = table("日時;需要 kW", rows)
    return [
        Case("latin.csv", text.encode("cp1252"), ask, {"l": s}),
        Case("utf16.txt", text.replace(";", "\t").encode("utf-16"), ask, {"l": s}),
        Case("bom.csv", text.encode("utf-8-sig"), ask, {"l": s}),
        Case(
            "shift_jis.csv",
            japanese.encode("cp932"),
            ["--tz", "UTC", "--load", "需要 kW:kW:l"],
            {"l": s},
        ),
        Case("packed.csv.gz", gzip.compress(text.encode()), ask, {"l": s}),
    ]


@shape
def preamble_units_and_totals():
    s = series("2025-01-07T00:00", 24, 60, 1000, 2000)
    rows = [f"{t:%d.%m.%Y %H:%M};{german(v)};" for t, v in s.items()]
    head = "Anlage;Dach Süd\nNennleistung;12,5 kWp\n\n"
    head += "Datum und Uhrzeit;PV-Produktion;\n[dd.MM.yyyy HH:mm];[Wh];\n"
    tail = f"\nSumme;{german(s.sum())};\n\nErstellt von Solar\n"
    return Case(
        "fronius.csv",
        head + "\n".join(rows) + tail,
        ["--tz", "UTC", "--solar", "PV-Produktion:Wh:pv"],
        {"pv": s / 1000},
    )


@shape
def sma_sunny_portal():
    s = series("2025-06-01T00:00", 96, 15, 0, 5)
    rows = [f"{t:%d.%m.%Y %H:%M:%S};{german(v, 3)}" for t, v in s.items()]
    head = "sep=;\nVersion CSV1|Tool SE|Linebreaks CR/LF|Delimiter semicolon|Decimalpoint comma\n"
    head += ";SN: 1\n;Type\n"
    return Case(
        "sma.csv",
        head + "TimeStamp;Ppv\ndd.MM.yyyy HH:mm:ss;kW\n" + "\n".join(rows),
        ["--time-column", "TimeStamp", "--tz", "UTC", "--solar", "Ppv:kW:pv"],
        {"pv": s},
    )


@shape
def solaredge():
    s = series("2025-07-13T22:00", 96 * 2, 15, 0, 5000)
    local = s.index.tz_convert("Europe/Berlin")
    rows = [f"{t:%m/%d/%Y %H:%M},{v:.4f}" for t, v in zip(local, s, strict=True)]
    return Case(
        "solaredge.csv",
        table("Time,System Production (W)", rows),
        ["--tz", "Europe/Berlin", "--solar", "System Production (W):W:pv"],
        {"pv": s / 1000},
    )


@shape
def enphase_quoted():
    s = series("2025-07-13T07:00", 96, 15, 0, 5000).round()
    local = s.index.tz_convert("America/Los_Angeles")
    rows = [f'"{t:%Y-%m-%d %H:%M:%S %z}","{v:.0f}"' for t, v in zip(local, s, strict=True)]
    return Case(
        "enphase.csv",
        table('"Date/Time","Energy Produced (Wh)"', rows),
        ["--solar", "Energy Produced (Wh):Wh:pv"],
        {"pv": s * 4 / 1000},
    )


@shape
def shelly():
    s = series("2025-07-13T07:00", 300, 1, 200, 900)
    rows = [f"{int(t.timestamp())},{v / 60:.6f},0" for t, v in s.items()]
    means = (s / 1000).groupby(s.index.floor("15min")).mean()
    return Case(
        "shelly.csv",
        table("Timestamp,Consumed active energy Wh,Returned energy Wh", rows),
        ["--load", "Consumed active energy Wh:Wh:l"],
        {"l": means},
    )


@shape
def unit_in_cells_and_column():
    s = series("2025-01-07T00:00", 24, 60)
    rows = [f"{t:%Y-%m-%dT%H:%MZ};{german(v)} kW" for t, v in s.items()]
    by_column = [f"{t:%Y-%m-%dT%H:%MZ};{german(v)};kWh" for t, v in s.items()]

    def bare(header: str) -> str:
        return table(header, [row.removesuffix(" kW") for row in rows])

    return [
        Case("cells.csv", table("t;v", rows), ["--load", "v:kW:l"], {"l": s}),
        Case("cells_w.csv", table("t;v", rows), ["--load", "v:kWh:l"], None, "say --load v:kW"),
        Case("unit.csv", table("t;v;Einheit", by_column), ["--load", "v:kWh:l"], {"l": s}),
        Case("unit_w.csv", table("t;v;Einheit", by_column), ["--load", "v:MW:l"], None, "kWh"),
        Case("name.csv", bare("t;v (kWh)"), ["--load", "v (kWh):kW:l"], None, "kWh"),
        Case("price.csv", bare("t;p [ct/kWh]"), ["--price", "p [ct/kWh]:EUR/MWh"], None, "ct/kWh"),
    ]  # fmt: skip


@shape
def stamps():
    s = series("2025-01-06T23:00", 96, 15)
    ends = (s.index + pd.Timedelta("15min")).tz_convert("Europe/Zurich")
    middle = (s.index + pd.Timedelta("450s")).tz_convert("Europe/Zurich")
    end_rows = [f"{t:%Y-%m-%d %H:%M},{v}" for t, v in zip(ends, s, strict=True)]
    middle_rows = [f"{t:%Y-%m-%d %H:%M:%S},{v}" for t, v in zip(middle, s, strict=True)]
    ask = ["--tz", "Europe/Zurich", "--load", "kW:kW:l"]
    text = table("Zeitstempel,kW", end_rows)
    with_24 = text.replace("2025-01-08 00:00", "2025-01-07 24:00")
    return [
        Case("end.csv", text, [*ask, "--stamp", "end"], {"l": s}),
        Case("end_unsaid.csv", text, ask, None, "--stamp end"),
        Case("end_24.csv", with_24, ask, {"l": s}),
        Case("end_name.csv", table("Zeit bis,kW", end_rows), ask, {"l": s}),
        Case("middle.csv", table("t,kW", middle_rows), [*ask, "--stamp", "middle"], {"l": s}),
        Case("middle_unsaid.csv", table("t,kW", middle_rows), ask, None, "--stamp middle"),
    ]


@shape
def kolkata():
    s = series("2025-01-06T18:30", 48, 60)
    local = s.index.tz_convert("Asia/Kolkata")
    rows = [f"{t:%d-%m-%Y %H:%M},{v}" for t, v in zip(local, s, strict=True)]
    halves = pd.Series(
        np.repeat(s.to_numpy(), 2), pd.date_range(s.index[0], periods=96, freq="30min")
    )
    quarters = series("2025-01-06T18:30", 96, 15)
    more = pd.to_datetime(["2025-01-07T18:30Z", "2025-01-07T18:45Z", "2025-01-12T18:30Z"])
    blocks = [f"07-01-2025,{n + 1},{v}" for n, v in enumerate(quarters)]
    blocks += ["08-01-2025,1,50", "08-01-2025,2,50", "13-01-2025,1,50"]
    return [
        Case(
            "kolkata.csv",
            table("Time,MCP (Rs/MWh)", [*rows, "09-01-2025 00:00,"]),
            ["--tz", "Asia/Kolkata", "--price", "MCP (Rs/MWh):EUR/MWh:p"],
            {"p": halves},
        ),
        Case(
            "iex.csv",
            table("Date,Time Block,MCP", blocks),
            ["--tz", "Asia/Kolkata", "--price", "MCP:EUR/MWh:p", "--time-column", "Date"],
            {"p": pd.concat([quarters, pd.Series(50.0, more)])},
        ),
    ]  # fmt: skip


@shape
def long_table_of_meters():
    a, b = series("2025-01-07T00:00", 24, 60), series("2025-01-07T00:00", 24, 60, 5, 9)
    rows = [
        f"{t:%Y-%m-%dT%H:%MZ},{name},{v}"
        for name, s in (("m1", a), ("m2", b))
        for t, v in s.items()
    ]
    text = table("time,meter,kw", rows)
    ask = ["--load", "kw:kW:l"]
    return [
        Case("long.csv", text, ask, None, "--where"),
        Case("long_one.csv", text, [*ask, "--where", "meter=m2"], {"l": b}),
        Case(
            "long_sum.csv", text, [*ask, "--where", "meter=m1", "--where", "meter=m2"], {"l": a + b}
        ),
        Case("long_none.csv", text, [*ask, "--where", "meter=m3"], None, "expected one of m"),
        Case("long_col.csv", text, [*ask, "--where", "metre=m1"], None, "no such column"),
    ]


@shape
def numbers_that_fit_both():
    times = [f"{t:%Y-%m-%dT%H:%MZ}" for t in pd.date_range("2025-01-07", periods=24, freq="h")]
    thousands = [f"{t};{n + 1}.{(n * 37) % 900 + 100}" for n, t in enumerate(times)]
    dot = pd.Series([float(r.split(";")[1]) for r in thousands], pd.to_datetime(times))
    ask = ["--load", "v:kW:l"]
    text = table("t;v", thousands)
    return [
        Case("both.csv", text, ask, None, "--decimal"),
        Case("both_dot.csv", text, [*ask, "--decimal", "."], {"l": dot}),
        Case("both_comma.csv", text, [*ask, "--decimal", ","], {"l": dot * 1000}),
        Case("both_quoted.csv", text.replace(".", ",").replace(";", "\t"), ask, None, "--decimal"),
    ]


@shape
def missing_said():
    s = series("2025-01-07T00:00", 24, 60, 500, 9000)
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{v}" for t, v in s.items()]
    rows[5], rows[9], rows[12] = (r.split(",")[0] + ",9999" for r in (rows[5], rows[9], rows[12]))
    text = table("t,v", rows)
    left = s.drop(s.index[[5, 9, 12]])
    return [
        Case("codes.csv", text, ["--load", "v:kW:l", "--missing", "9999"], {"l": left}),
        Case("codes_unsaid.csv", text, ["--load", "v:kW:l"], None, "--missing 9999"),
    ]


@shape
def year_month_day_hour():
    s = series("2025-01-07T00:00", 48, 60)
    rows = [f"{t.year},{t.month},{t.day},{t.hour},{v}" for t, v in s.items()]
    return Case(
        "parts.csv",
        table("Year,Month,Day,Hour,kW", rows),
        ["--time-column", "Year", "--tz", "UTC", "--load", "kW:kW:l"],
        {"l": s},
    )


@shape
def spreadsheet_text():
    s = series("2025-01-07T00:00", 48, 30)
    rows = [f"{t:%b %d, %Y %I:%M %p}\t{v}" for t, v in s.items()]
    return Case(
        "names.tsv", table("when\tkW", rows), ["--tz", "UTC", "--load", "kW:kW:l"], {"l": s}
    )


@shape
def influx():
    s = series("2025-01-07T00:00", 48, 30)
    head = "#group,false,false,true,false\n#datatype,string,long,dateTime:RFC3339,double\n"
    head += "#default,mean,,,\n,result,table,_time,_value\n"
    rows = [f",,0,{t:%Y-%m-%dT%H:%M:%SZ},{v}" for t, v in s.items()]
    return Case("influx.csv", head + "\n".join(rows), ["--load", "_value:kW:l"], {"l": s})


@shape
def energinet():
    s = series("2025-10-25T22:00", 25, 60)
    local = s.index.tz_convert("Europe/Copenhagen")
    rows = [
        f"{t:%Y-%m-%d %H:%M};{z:%Y-%m-%d %H:%M};DK1;{german(v, 6)}"
        for t, z, v in zip(s.index, local, s, strict=True)
    ]
    return Case(
        "energinet.csv",
        table("HourUTC;HourDK;PriceArea;SpotPriceEUR", rows),
        ["--price", "SpotPriceEUR:EUR/MWh:p"],
        {"p": s},
    )


@shape
def fingrid():
    s = series("2025-10-25T21:00", 50, 30)
    rows = [f"64;A;PT30M;kWh;{t:%Y-%m-%dT%H:%M:%SZ};{german(v / 2, 6)};OK" for t, v in s.items()]
    return Case(
        "fingrid.csv",
        table("Tunnus;Tuotteen tyyppi;Resoluutio;Yksikkötyyppi;Alkuaika;Määrä;Laatu", rows),
        ["--load", "Määrä:kWh:l"],
        {"l": s},
    )  # fmt: skip


@shape
def irradiance_is_no_power():
    s = series("2025-01-07T00:00", 24, 60)
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{v}" for t, v in s.items()]
    return Case("ghi.csv", table("t,ghi", rows), ["--solar", "ghi:W:pv"], None, "no power")


@shape
def ragged():
    rows = [f"2025-01-0{d}T00:00Z,1,5" for d in range(1, 9)]
    return Case("ragged.csv", table("t,v", rows), ["--load", "v:kW:l"], None, "line 2: 3 cells")


@shape
def two_formats_of_days():
    rows = ["13/01/2025 00:00,1", "13/01/2025 01:00,2", "01/14/2025 00:00,3"]
    return Case(
        "mixed.csv", table("t,v", rows), ["--load", "v:kW:l", "--tz", "UTC"], None, "one time"
    )


@shape
def standby_of_an_inverter():
    s = series("2025-06-01T00:00", 96, 15, 0, 5)
    s.iloc[:20] = -0.03
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{v}" for t, v in s.items()]
    return Case("standby.csv", table("t,v", rows), ["--solar", "v:kW:pv"], {"pv": s.clip(lower=0)})


@shape
def transposed():
    s = series("2025-01-06T23:00", 48, 60)
    local = s.index.tz_convert("Europe/Oslo")
    day = [s[local.date == d].to_list() for d in sorted(set(local.date))]
    rows = [f"{h:02} - {h + 1:02};{german(day[0][h])};{german(day[1][h])}" for h in range(24)]
    return Case(
        "nordpool.csv",
        table("Hours;07-01-2025;08-01-2025", rows),
        ["--tz", "Europe/Oslo", "--price", "07-01-2025:EUR/MWh:p"],
        None,
        "",
    )


@shape
def quarter_with_stray_rows():
    s = series("2025-01-07T00:00", 200, 15)
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{v}" for t, v in s.items()]
    del rows[30:50:2]  # every other row is missing for a while: still quarters
    left = s.drop(s.index[30:50:2])
    return Case("holes.csv", table("t,kwh", rows), ["--load", "kwh:kWh:l"], {"l": left * 4})


@shape
def midnight_at_the_end_of_its_date():
    s = series("2025-01-06T23:00", 48, 60, 0.2, 3)
    local = s.index.tz_convert("Europe/Berlin")
    rows = [
        f"{t:%d.%m.%Y};{(t.hour + 1) % 24:02}:00;{german(v, 3)}"
        for t, v in zip(local, s, strict=True)
    ]
    ask = ["--tz", "Europe/Berlin", "--load", "kWh:kWh:l"]
    text = table("Datum;Uhrzeit;kWh", rows)
    return [
        Case("midnight.csv", text, ask, {"l": s}),
        Case("midnight_start.csv", text, [*ask, "--stamp", "start"], None, "--stamp end"),
    ]


@shape
def loads_of_five_digits_are_no_days_of_excel():
    s = series("2025-01-07T05:00", 24, 60, 15000, 25000).round()
    rows = [f"2025-01-07,{hour + 1},{v + 2000:.0f},{v:.0f}" for hour, v in enumerate(s)]
    head = "\\\\Hourly Demand Report\n"
    return Case(
        "ieso.csv",
        head + table("Date,Hour,Market Demand,Ontario Demand", rows),
        ["--tz", "Etc/GMT+5", "--load", "Ontario Demand:kW:l"],
        {"l": s},
    )


@shape
def nem12_of_two_registers():
    s = series("2025-01-06T14:00", 48, 30, 0.2, 2)
    day = ",".join(f"{v:.3f}" for v in s)
    half = ",".join(f"{v / 2:.4f}" for v in s)
    text = (
        "100,NEM12,202501200000,MDP,R\n200,N1,E1B1,1,E1,N1,M,KWH,30,\n"
        f"300,20250107,{day},A,,,20250108,\n200,N1,E1B1,2,B1,N1,M,KWH,30,\n"
        f"300,20250107,{half},V,,,20250108,\n400,1,48,A,,\n900\n"
    )
    ask = ["--load", "E1:kWh:l", "--solar", "B1:kWh:pv", "--tz", "Australia/Sydney"]
    return [
        Case("two.nem12.csv", text, ask, {"l": s * 2, "pv": s}),
        Case("wh.nem12.csv", text, ["--load", "E1:Wh:l"], None, "--load E1:kWh"),
    ]


@shape
def green_button():
    s = series("2025-01-07T00:00", 96, 15, 200, 900).round()
    readings = "".join(
        f"<IntervalReading><timePeriod><duration>900</duration><start>{int(t.timestamp())}</start>"
        f"</timePeriod><value>{v * 250:.0f}</value></IntervalReading>"
        for t, v in s.items()
    )
    text = (
        '<?xml version="1.0"?><feed xmlns="http://naesb.org/espi"><ReadingType>'
        "<powerOfTenMultiplier>-3</powerOfTenMultiplier><uom>72</uom></ReadingType>"
        f"<IntervalBlock>{readings}</IntervalBlock></feed>"
    )
    return [
        Case("green.xml", text, ["--load", "value:Wh:l"], {"l": s / 1000}),
        Case("green_kwh.xml", text, ["--load", "value:kWh:l"], None, "--load value:Wh"),
        Case("green_cut.xml", text[:-30], ["--load", "value:Wh:l"], None, "no whole XML"),
    ]


def workbook(rows: list[list[object]]) -> bytes:
    """A spreadsheet with one sheet; a Timestamp becomes a day of Excel with a date style."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for place, value in enumerate(row):
            name = f"{chr(65 + place)}{number}"
            if isinstance(value, pd.Timestamp):
                days = (value - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1)
                cells.append(f'<c r="{name}" s="1"><v>{days!r}</v></c>')
            elif isinstance(value, str):
                cells.append(f'<c r="{name}" t="inlineStr"><is><t>{value}</t></is></c>')
            else:
                cells.append(f'<c r="{name}"><v>{value!r}</v></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    packages = "http://schemas.openxmlformats.org/package/2006"
    return zipped(
        {
            "[Content_Types].xml": f'{head}<Types xmlns="{packages}/content-types"/>',
            "_rels/.rels": f'{head}<Relationships xmlns="{packages}/relationships"><Relationship '
            f'Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
            "</Relationships>",
            "xl/_rels/workbook.xml.rels": f"{head}<Relationships "
            f'xmlns="{packages}/relationships"><Relationship Id="r1" Type="{office}/worksheet" '
            f'Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{office}/styles" '
            'Target="styles.xml"/></Relationships>',
            "xl/workbook.xml": f'{head}<workbook {main} xmlns:r="{office}"><sheets><sheet '
            'name="Data" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/styles.xml": f'{head}<styleSheet {main}><cellXfs count="2"><xf numFmtId="0"/>'
            '<xf numFmtId="22"/></cellXfs></styleSheet>',
            "xl/worksheets/sheet1.xml": f"{head}<worksheet {main}><sheetData>{''.join(lines)}"
            "</sheetData></worksheet>",
        }
    )


@shape
def spreadsheet():
    s = series("2025-01-06T23:00", 96, 15, 1, 9)
    s += 0.004  # three decimals in each cell: no thousands
    local = s.index.tz_convert("Europe/Berlin").tz_localize(None)
    rows = [["Plant", "East"], [], ["Zeit", "Leistung"], ["", "kW"]]
    rows += [[t, float(round(v, 3))] for t, v in zip(local, s, strict=True)]
    return Case(
        "meter.xlsx",
        workbook([*rows, ["Summe", 480.0]]),
        ["--tz", "Europe/Berlin", "--load", "Leistung:kW:l"],
        {"l": s},
    )


@shape
def years_of_two_digits_that_stand_first():
    s = series("2025-01-07T00:00", 48, 60)
    first = [f"{t:%y-%m-%d %H:%M},{v}" for t, v in s.items()]
    last = [f"{t:%d-%m-%y %H:%M},{v}" for t, v in series("2025-01-26T00:00", 48, 60).items()]
    ask = ["--tz", "UTC", "--load", "v:kW:l"]
    form = ["--time-format", "%y-%m-%d %H:%M"]
    return [
        Case("year_first.csv", table("t,v", first), ask, None, "--time-format"),
        Case("year_first_said.csv", table("t,v", first), [*ask, *form], {"l": s}),
        Case("year_last.csv", table("t,v", last), ask, {"l": series("2025-01-26T00:00", 48, 60)}),
    ]


@shape
def shares_are_no_power():
    s = series("2025-01-07T00:00", 24, 60)
    rows = [f"{t:%Y-%m-%dT%H:%MZ};{german(v)}" for t, v in s.items()]
    cells = [f"{row} %" for row in rows]
    return [
        Case("share.csv", table("t;Last [%]", rows), ["--load", "Last [%]:kW:l"], None, "share"),
        Case("share_cells.csv", table("t;v", cells), ["--load", "v:kW:l"], None, "share"),
    ]
