"""Small files of markets and meter portals whose clocks are the difficulty; own numbers.

Importing this module adds its cases to those of `export_shapes`.
"""

import pandas as pd
from export_shapes import Case, series, shape, table

HOUR, QUARTER = pd.Timedelta("1h"), pd.Timedelta("15min")


def on_clock(values: pd.Series, zone: str) -> list[tuple[pd.Timestamp, float]]:
    """Local time and value of each interval."""
    return list(zip(values.index.tz_convert(zone), values, strict=True))


def ends_by_their_starts(values: pd.Series, zone: str, step: pd.Timedelta) -> list:
    """The clock's time at the start, a step on: 1, 2, 2, 3 on the day of 25 hours."""
    return [(local.tz_localize(None) + step, v) for local, v in on_clock(values, zone)]


@shape
def ends_that_are_named_by_their_starts():
    """ERCOT's hours 01:00 to 24:00, and quarters so, on days of 25 and of 23 hours."""
    cases = []
    american = (("fall", "2025-11-01T05:00", 49), ("spring", "2025-03-08T06:00", 47))
    for season, start, count in american:
        s = series(start, count, 60)
        rows, seen = [], set()
        for end, v in ends_by_their_starts(s, "America/Chicago", HOUR):
            day = end - HOUR
            clock = f"{day.hour + 1:02}:00"
            flag = "Y" if (day.date(), clock) in seen else "N"
            seen.add((day.date(), clock))
            rows.append(f"{day:%m/%d/%Y},{clock},HB,{v},{flag}")
        text = table("DeliveryDate,HourEnding,SettlementPoint,SettlementPointPrice,DSTFlag", rows)
        ask = ["--time-column", "DeliveryDate", "--tz", "America/Chicago",
               "--price", "SettlementPointPrice:EUR/MWh:p"]  # fmt: skip
        cases.append(Case(f"ercot_{season}.csv", text, ask, {"p": s}))
    european = (("fall", "2025-10-25T22:00", 100), ("spring", "2025-03-29T23:00", 92))
    for season, start, count in european:
        s = series(start, count, 15, 0.1, 0.9)
        ask = ["--tz", "Europe/Vienna", "--load", "kWh:kWh:l"]
        by_start = ends_by_their_starts(s, "Europe/Vienna", QUARTER)
        shown = [((t + QUARTER).tz_convert("Europe/Vienna"), v) for t, v in s.items()]
        for way, ends in (("start", by_start), ("clock", shown)):
            text = table("Zeit bis;kWh", [f"{t:%d.%m.%Y %H:%M};{v}" for t, v in ends])
            cases.append(Case(f"ends_by_{way}_{season}.csv", text, ask, {"l": s * 4}))
    return cases


@shape
def marks_of_the_hour_that_comes_twice():
    """AESO's 02*, ISO-NE's 02X, ERCOT's `02:00 DST`, on one day that could be of February, too."""
    s = series("2025-11-02T06:00", 25, 60)
    ends = ends_by_their_starts(s, "America/Edmonton", HOUR)
    names = [f"{(end - HOUR):%m/%d/%Y} {(end - HOUR).hour + 1:02}" for end, _ in ends]
    star = [name + "*" * (name in names[:place]) for place, name in enumerate(names)]
    aeso = table("Date (HE),Price ($)", [f"{t},{v}" for t, v in zip(star, s, strict=True)])
    dst = [
        f"{name}:00" + " DST" * (name in names[:place]) + f",{v}"
        for (place, name), v in zip(enumerate(names), s, strict=True)
    ]
    crossed = [name.replace(" ", ",").replace("*", "X") for name in star]
    isone = table("Date,Hour Ending,LMP", [f"{t},{v}" for t, v in zip(crossed, s, strict=True)])
    ask = ["--tz", "America/Edmonton", "--time-format", "%m/%d/%Y %H:%M"]
    return [
        Case("aeso.csv", aeso, [*ask, "--price", "Price ($):EUR/MWh:p"], {"p": s}),
        Case("aeso_unsaid.csv", aeso, [*ask[:2], "--price", "Price ($):EUR/MWh:p"], None, ask[3]),
        Case("ercot_dst.csv", table("HourEnding,kW", dst), [*ask, "--load", "kW:kW:l"], {"l": s}),
        Case("isone.csv", isone, [*ask, "--price", "LMP:EUR/MWh:p"], {"p": s}),
    ]


@shape
def hours_and_their_parts_apart():
    s = series("2025-01-13T06:00", 192, 15)
    local = on_clock(s, "America/Chicago")
    quarter = [f"{t:%m/%d/%Y},{t.hour + 1},{t.minute // 15 + 1},{v}" for t, v in local]
    minute = [f"{t:%Y-%m-%d},{t.hour},{t.minute},{v}" for t, v in local]
    compact = [f"{t:%Y-%m-%d},{t.hour * 100 + t.minute},{v}" for t, v in local]
    numbers = [t.hour * 4 + t.minute // 15 + 1 for t, _ in local]
    numbered = [f"{t:%Y;%m;%d};{n};{v};" for n, (t, v) in zip(numbers, local, strict=True)]
    ask = ["--tz", "America/Chicago", "--load"]
    parts = ["--time-column", "1,2,3,4", *ask, "5:kW:l"]
    minutes = table("Date,Hour,Minute,kW", minute)
    return [
        Case(
            "ercot_real_time.csv",
            table("DeliveryDate,DeliveryHour,DeliveryInterval,kW", quarter),
            [*ask, "kW:kW:l"],
            {"l": s},
        ),
        Case("hour_minute.csv", minutes, [*ask, "kW:kW:l"], {"l": s}),
        Case(
            "hour_minute_named.csv",
            minutes,
            ["--time-column", "Date,Hour,Minute", *ask, "kW:kW:l"],
            {"l": s},
        ),
        Case("hhmm.csv", table("date,time,kW", compact), [*ask, "kW:kW:l"], {"l": s}),
        Case("omie_quarters.1", table("MARGINALPDBC;", [*numbered, "*"]), parts, {"l": s}),
    ]


@shape
def periods_of_a_name_in_one_word():
    s = series("2025-04-04T11:00", 48 + 50, 30)
    rows, day, number = [], None, 0
    for t, v in on_clock(s, "Pacific/Auckland"):
        number = 1 if t.date() != day else number + 1
        day = t.date()
        rows.append(f"{t:%Y-%m-%d},{number},BEN2201,{v}")
    return Case(
        "emi.csv",
        table("TradingDate,TradingPeriod,PointOfConnection,Price", rows),
        ["--tz", "Pacific/Auckland", "--price", "Price:EUR/MWh:p"],
        {"p": s},
    )


@shape
def hours_of_a_part_of_the_day():
    """6 to 20 may begin at 6:00 or end at 6:00."""
    s = series("2025-01-13T00:00", 120, 60)
    day = s[(s.index.hour >= 6) & (s.index.hour <= 20)]
    text = table("date,hour,kW", [f"{t:%Y-%m-%d},{t.hour},{v}" for t, v in day.items()])
    ending = text.replace("hour", "hour ending")
    earlier = day.set_axis(day.index - HOUR)
    ask = ["--tz", "UTC", "--load", "kW:kW:l"]
    return [
        Case("part_of_day.csv", text, ask, None, "--stamp start"),
        Case("part_start.csv", text, [*ask, "--stamp", "start"], {"l": day}),
        Case("part_end.csv", text, [*ask, "--stamp", "end"], {"l": earlier}),
        Case("part_named.csv", ending, ask, {"l": earlier}),
    ]


@shape
def blanks_that_do_not_break():
    s = series("2025-01-17T08:00", 48, 60, 0.2, 3)
    rows = [
        f'"{t:%Y-%m-%d %H:%M:%S}\xa0to\xa0{t + HOUR:%Y-%m-%d %H:%M:%S}","{v}",""'
        for t, v in on_clock(s, "America/Los_Angeles")
    ]
    text = table('"Energy consumption time period","Usage","Reading quality"', rows)
    quoted = table("t,kW", [f"'{t:%Y-%m-%d %H:%M},{v}" for t, v in s.items()])
    return [
        Case("sce.csv", text, ["--tz", "America/Los_Angeles", "--load", "Usage:kWh:l"], {"l": s}),
        Case("quoted.csv", quoted, ["--tz", "UTC", "--load", "kW:kW:l"], {"l": s}),
    ]


@shape
def hours_that_count_from_one_with_a_stamp():
    s = series("2025-01-13T00:00", 48, 60)
    hours = table("date,Hour Ending,kW", [f"{t:%Y-%m-%d},{t.hour + 1},{v}" for t, v in s.items()])
    ask = ["--tz", "UTC", "--load", "kW:kW:l", "--stamp", "end"]
    return [
        Case("he_end.csv", hours, ask, {"l": s}),
        Case("period_end.csv", hours.replace("Hour Ending", "Period"), ask, None, "leave it out"),
    ]


@shape
def clocks_in_names():
    s = series("2025-01-13T05:00", 40, 60)
    winter = [f"{t:%d.%m.%Y %H:%M};{v}" for t, v in on_clock(s, "Etc/GMT-1")]
    ask = ["--load", "kW:kW:l"]
    gmt, mez, both = (
        table(f"{name};kW", winter) for name in ("Time (GMT+1)", "Zeit (MEZ)", "MTU (CET/CEST)")
    )
    return [
        Case("gmt1.csv", gmt, ask, {"l": s}),
        Case("gmt1_berlin.csv", gmt, [*ask, "--tz", "Europe/Berlin"], {"l": s}),
        Case("gmt1_utc.csv", gmt, [*ask, "--tz", "UTC"], None, "say --tz +01:00"),
        Case("mez_berlin.csv", mez, [*ask, "--tz", "Europe/Berlin"], {"l": s}),
        Case("mez_utc.csv", mez, [*ask, "--tz", "UTC"], None, "--tz Europe/Brussels"),
        Case("cet_athens.csv", both, [*ask, "--tz", "Europe/Athens"], None, "--tz Europe/Brussels"),
    ]
