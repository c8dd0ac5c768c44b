"""Small files of portals of inverters and meters, archives and encodings; own numbers.

Importing this module adds its cases to those of `export_shapes`.
"""

import gzip

import numpy as np
import pandas as pd
from export_shapes import Case, german, series, shape, table, zipped


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
