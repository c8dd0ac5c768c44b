"""Small files of meters, registers and spreadsheets; own numbers.

Importing this module adds its cases to those of `export_shapes`.
"""

import pandas as pd
from export_shapes import Case, german, series, shape, table, zipped


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
