"""Small files of markets and meter portals whose table is the difficulty; own numbers.

Importing this module adds its cases to those of `export_shapes`.
"""

import pandas as pd
from export_clocks import on_clock
from export_shapes import Case, series, shape, table

HALF = pd.Timedelta("30min")


def days_of(values: pd.Series, zone: str, form: str) -> dict[str, list[str]]:
    """The values of each local day, in their order."""
    rows: dict[str, list[str]] = {}
    for local, value in on_clock(values, zone):
        rows.setdefault(local.strftime(form), []).append(str(value))
    return rows


@shape
def matrices_of_all_names():
    """HH01 to HH48, 0000 to 2330, TP1 to TP50, Hour 3A and 3B, quarters; days of 23, 25 hours."""
    half = series("2025-01-13T00:00", 96, 30)
    clocks = [f"{m // 60:02}{m % 60:02}" for m in range(0, 1440, 30)]
    cases = []
    for name, columns in (("hh", [f"HH{n:02}" for n in range(1, 49)]), ("0000", clocks)):
        rows = [f"12000,{d}," + ",".join(v) for d, v in days_of(half, "UTC", "%d/%m/%Y").items()]
        text = table("MPAN,Date," + ",".join(columns), rows)
        ask = ["--tz", "Europe/London", "--load", "*:kWh:l"]
        cases.append(Case(f"matrix_{name}.csv", text, ask, {"l": half * 2}))
    far = series("2025-04-04T11:00", 48 + 50, 30)
    rows = [
        f"BEN,{d}," + ",".join(v + [""] * (50 - len(v)))
        for d, v in days_of(far, "Pacific/Auckland", "%Y-%m-%d").items()
    ]
    text = table("POC,Trading_date," + ",".join(f"TP{n}" for n in range(1, 51)), rows)
    ask = ["--tz", "Pacific/Auckland", "--load", "TP1:kWh:l"]
    cases.append(Case("matrix_tp.csv", text, ask, {"l": far * 2}))
    hours = ["1", "2", "3A", "3B", *map(str, range(4, 25))]
    for name, step, parts in (("hours", 60, [""]), ("quarters", 15, [f" Q{q}" for q in "1234"])):
        s = series("2025-10-24T22:00", 73 * len(parts), step)
        rows = []
        for day, v in days_of(s, "Europe/Paris", "%d/%m/%Y").items():
            usual = len(v) == 24 * len(parts)
            gap = [""] * len(parts) if usual else []
            rows.append(f"{day}," + ",".join(v[: 3 * len(parts)] + gap + v[3 * len(parts) :]))
        columns = [f"Hour {hour}{part}" for hour in hours for part in parts]
        text = "# Prices\n" + table("Delivery day," + ",".join(columns), rows)
        ask = ["--tz", "Europe/Paris", "--price", "*:EUR/MWh:p"]
        cases.append(Case(f"matrix_{name}.csv", text, ask, {"p": s}))
    s = series("2025-03-28T23:00", 24 + 23 + 24, 60)  # 23 values that count on, and a blank
    rows = [
        f"{d}," + ",".join(v + [""] * (24 - len(v)))
        for d, v in days_of(s, "Europe/Berlin", "%d.%m.%Y").items()
    ]
    text = table("Datum," + ",".join(f"H{n}" for n in range(1, 25)), rows)
    ask = ["--tz", "Europe/Berlin", "--price", "*:EUR/MWh:p"]
    cases.append(Case("matrix_23.csv", text, ask, {"p": s}))
    return cases


@shape
def meters_side_by_side_are_no_matrix():
    s = series("2025-01-07T00:00", 48, 60)
    names = ",".join(f"P{n}" for n in range(1, 25))
    beside = [",".join(f"{v + n:.2f}" for n in range(24)) for v in s]
    rows = [f"{t:%Y-%m-%dT%H:%MZ},{cells}" for t, cells in zip(s.index, beside, strict=True)]
    return Case("meters.csv", table(f"time,{names}", rows), ["--load", "P5:kW:l"], {"l": s + 4})


@shape
def gas_below_electricity():
    s = series("2025-11-01T04:00", 96, 15, 0.1, 0.9)
    rows = [f"Electric,{t:%Y-%m-%d},{t:%H:%M},{v},kWh" for t, v in on_clock(s, "America/New_York")]
    rows += [f"Gas,2025-11-0{day},00:00,1.{day},therms" for day in (1, 2, 3)]
    text = table("TYPE,DATE,START TIME,USAGE,UNITS", rows)
    ask = ["--time-column", "DATE", "--tz", "America/New_York", "--load", "USAGE:kWh:l",
           "--time-format", "%Y-%m-%d %H:%M"]  # fmt: skip
    return [
        Case("gas.csv", text, ask[:-2], None, '--where "UNITS=kWh"'),
        Case("gas_where.csv", text, [*ask[:-2], "--where", "UNITS=kWh"], {"l": s * 4}),
    ]


@shape
def counters_of_a_day():
    """Energy since midnight, by the hour: it falls in one of 24 steps."""
    s = series("2025-06-01T00:00", 96, 60, 1, 9)
    s = s.where((s.index.hour >= 7) & (s.index.hour < 16), 0.0)
    counted = s.groupby(s.index.date).cumsum().round(2)
    text = table("time,E-Day(kWh)", [f"{t:%Y-%m-%d %H:%M},{v}" for t, v in counted.items()])
    ask = ["--tz", "UTC", "--solar", "E-Day(kWh):kWh"]
    return Case("e_day.csv", text, ask, None, "--cumulative")


@shape
def units_of_several_sizes_in_cells():
    s = series("2025-01-13T00:00", 96, 15, 0.2, 2)
    cells = [f"{v * 1000:.0f} W" if v < 1 else f"{v} kW" for v in s]
    rows = [f"{t:%Y-%m-%d %H:%M},{cell}" for t, cell in zip(s.index, cells, strict=True)]
    ask = ["--tz", "UTC", "--load", "v:W:l"]
    other = [rows[0].replace("kW", "EUR").replace(" W", " EUR"), *rows[1:]]
    return [
        Case("sizes.csv", table("t,v", rows), ask, {"l": s}),
        Case("sizes_other.csv", table("t,v", other), ask, None, "one unit"),
    ]


@shape
def names_that_tell_the_format():
    s = series("2025-01-06T22:00", 100, 5)
    ends = [(t + pd.Timedelta("5min"), v) for t, v in on_clock(s, "Etc/GMT-10")]
    rows = [f"NSW1,{t:%Y/%m/%d %H:%M:%S},7000.5,{v}" for t, v in ends]
    aemo = table("REGION,SETTLEMENTDATE,TOTALDEMAND,RRP", rows)
    d = series("2025-10-25T22:00", 25, 60, 1.2, 3)
    danish = [
        f"{t:%d-%m-%Y %H:%M:%S};{t:%d-%m-%Y};{v:.3f}".replace(".", ",")
        for t, v in on_clock(d, "Europe/Copenhagen")
    ]
    index = table(",load", [f"{t:%Y-%m-%d %H:%M:%S},{v}" for t, v in s.items()])
    return [
        Case("aemo_demand.csv", aemo, ["--price", "RRP:EUR/MWh:p"], {"p": s}),
        Case(
            "eloverblik.csv",
            table("Fra_dato;Til_dato;Mængde", danish),
            ["--load", "Mængde:kWh:l"],
            {"l": d},
        ),
        Case("pandas.csv", index, ["--tz", "UTC", "--load", "load:kW:l"], {"l": s}),
    ]


@shape
def another_table_below():
    s = series("2025-01-13T00:00", 48, 60)
    lines = [f"{t:%Y-%m-%d %H:%M},{v}" for t, v in s.items()]
    ask = ["--tz", "UTC", "--load", "kw:kW:l"]
    two = {
        name: "\n".join(["t,kw", *lines[:24], "", f"t,{name}", *lines[24:], ""])
        for name in ("kw", "kvar")
    }
    groups = "timestamp,Overview,Overview\nEurope/Berlin,PV,Consumption\n,W,W\n"
    groups += "".join(f"{line},{n}\n" for n, line in enumerate(lines))
    named = ["--time-column", "timestamp", *ask[:2], "--load", "PV:W:l"]
    by_number = ["--time-column", "1", *ask[:2], "--load", "2:W:l"]
    above = "Einheit,kWh\n\n" + table("t,v", lines)
    return [
        Case("months.csv", two["kw"], ask, {"l": s}),
        Case("quantities.csv", two["kvar"], ask, None, "line 27: another table begins"),
        Case("names_in_lines.csv", groups, named, None, "--time-column 1 --load 2:W:l"),
        Case("by_number.csv", groups, by_number, {"l": s / 1000}),
        Case("unit_above.csv", above, [*ask[:3], "v:kW:l"], None, "--load v:kWh"),
    ]


@shape
def a_few_hours_among_quarters():
    """Hours before quarters are told by their energies; among quarters nothing tells."""
    few, quarters = series("2025-01-06T16:00", 8, 60, 0.2, 3), series("2025-01-07", 96, 15, 0.2, 3)
    after = series("2025-01-08T06:00", 96, 15, 0.2, 3)
    inside = series("2025-01-08T00:00", 6, 60, 0.2, 3)

    def rows(values: pd.Series, share: float) -> list[str]:
        return [f"{t:%Y-%m-%d %H:%M},{v * share:.6f}" for t, v in values.items()]

    parts = few.repeat(4).set_axis(pd.date_range(few.index[0], periods=32, freq="15min"))
    first = table("t,kwh", rows(few, 1) + rows(quarters, 0.25))
    among = table("t,kwh", rows(quarters, 0.25) + rows(inside, 1) + rows(after, 0.25))
    ask = ["--tz", "UTC", "--load", "kwh:kWh:l"]
    return [
        Case("hours_first.csv", first, ask, {"l": pd.concat([parts, quarters])}),
        Case("hours_among.csv", among, ask, {"l": pd.concat([quarters, after])}),
    ]
