"""A random table in any shape comes back equal, or is refused; never different.

Delimiter x number style x time style x stamp x step x zone, days on which clocks change included.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from vpp.runtime.errors import VppError
from vpp.site.csv_import import load_files
from vpp.site.import_options import Asked

LIMITS = (-1e9, 1e9)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney",
    "Australia/Adelaide", "America/St_Johns", "Etc/GMT-1", "Asia/Kathmandu",
)  # fmt: skip
STARTS = (
    "2025-03-29T21:00", "2025-10-25T20:00", "2025-11-02T02:00", "2025-03-09T04:00",
    "2025-04-05T10:00", "2025-01-06T23:00", "2024-12-31T20:00", "2025-06-12T05:45",
    "2025-10-26T00:30", "2025-02-03T18:30",
)  # fmt: skip
NUMBERS = {
    "1234.5": lambda text: text,
    "1234,5": lambda text: text.replace(".", ","),
    "1.234,5": lambda text: swap(grouped(text)),
    "1,234.5": lambda text: grouped(text),
    "1,23,456.5": lambda text: indian(text),
    "1'234.5": lambda text: grouped(text).replace(",", "'"),
    "1 234,5": lambda text: swap(grouped(text)).replace(".", "\u202f"),
    "−5": lambda text: text.replace("-", "−"),
}
TIMES = {
    "iso": "%Y-%m-%d %H:%M",
    "iso offset": "%Y-%m-%dT%H:%M:%S%z",
    "german": "%d.%m.%Y %H:%M",
    "german short": "%d.%m.%y %H:%M:%S",
    "english": "%d/%m/%Y %H:%M",
    "american": "%m/%d/%Y %I:%M %p",
    "american short": "%m/%d/%y %H:%M",
    "dutch": "%d-%m-%Y %H:%M",
    "named": "%d-%b-%Y %H:%M",
    "compact": "%Y%m%d%H%M",
    "spoken": "%a, %d %B %Y %I:%M:%S %p",
    "epoch": "epoch",
    "epoch ms": "epoch ms",
    "serial": "serial",
    "two columns": "%d.%m.%Y|%H:%M",
    "range": "range",
    "period": "period",
    "hour": "hour",
}


def grouped(text: str) -> str:
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, dot, part = rest.partition(".")
    return f"{sign}{int(whole):,}{dot}{part}"


def indian(text: str) -> str:
    """Groups of two digits before the last three of the whole number."""
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, dot, part = rest.partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)][::-1]
    return f"{sign}{','.join([*pairs, tail])}{dot}{part}"


def swap(text: str) -> str:
    return text.translate(str.maketrans({",": ".", ".": ","}))


@dataclass
class Written:
    """A table as it was written."""

    header: list[str]
    rows: list[list[str]]
    time_column: str


def write_times(
    style: str, stamps, ends, zone: str, step: int
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the time columns."""
    local = stamps.tz_convert(zone)
    form = TIMES[style]
    if style == "epoch":
        return ["time"], [[str(int(t.timestamp()))] for t in stamps]
    if style == "epoch ms":
        return ["time"], [[str(int(t.timestamp()) * 1000)] for t in stamps]
    if style == "serial":
        naive = local.tz_localize(None)
        days = (naive - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1)
        return ["time"], [[f"{day:.9f}"] for day in days]
    if style == "two columns":
        date, clock = form.split("|")
        return ["date", "time"], [[t.strftime(date), t.strftime(clock)] for t in local]
    if style == "range":
        end = ends.tz_convert(zone)
        return ["time"], [
            [f"{a:%d.%m.%Y %H:%M} - {b:%d.%m.%Y %H:%M}"] for a, b in zip(local, end, strict=True)
        ]
    if style == "period":
        midnight = pd.DatetimeIndex([t.normalize() for t in local])
        number = ((local - midnight) / pd.Timedelta(minutes=step)).astype(int) + 1
        return ["date", "period"], [
            [f"{t:%Y-%m-%d}", str(n)] for t, n in zip(local, number, strict=True)
        ]
    if style == "hour":
        return ["date", "hour"], [[f"{t:%Y-%m-%d}", str(t.hour)] for t in local]
    return ["time"], [[t.strftime(form)] for t in local]


@st.composite
def tables(draw):
    step = draw(st.sampled_from((5, 15, 30, 60)))
    zone, start = draw(st.sampled_from(ZONES)), draw(st.sampled_from(STARTS))
    count = draw(st.integers(26, 120)) * (60 // step if draw(st.booleans()) else 1)
    places = draw(st.sampled_from((0, 1, 2, 3, 4)))
    style, stamp = draw(st.sampled_from(sorted(TIMES))), draw(st.sampled_from(("", "start", "end")))
    scale = draw(st.sampled_from((3, 40, 900, 5000, 2_000_000)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = (rng.normal(0.3, 0.5, count) * scale).round(places)
    texts = [
        f"{value:.{places}f}" if draw_fixed else f"{value:.10g}"
        for draw_fixed in [draw(st.booleans())]
        for value in values
    ]
    return {
        "step": step, "zone": zone, "start": start, "values": np.array([float(t) for t in texts]),
        "texts": texts, "style": style, "stamp": stamp,
        "number": draw(st.sampled_from(sorted(NUMBERS))),
        "delimiter": draw(st.sampled_from((",", ";", "\t", "|"))),
        "reverse": draw(st.booleans()), "preamble": draw(st.booleans()),
        "total": draw(st.booleans()), "column": draw(st.booleans()),
        "encoding": draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16"))),
    }  # fmt: skip


def written(table: dict) -> tuple[str, pd.DatetimeIndex]:
    step = pd.Timedelta(minutes=table["step"])
    first = pd.Timestamp(table["start"], tz="UTC").floor(step)
    ahead = first.tz_convert(table["zone"]).utcoffset() % step  # the clock's own grid
    starts = pd.date_range(first - ahead, periods=len(table["values"]), freq=step)
    stamps = starts + step if table["stamp"] == "end" else starts
    header, cells = write_times(table["style"], stamps, stamps + step, table["zone"], table["step"])
    numbers = [NUMBERS[table["number"]](text) for text in table["texts"]]
    rows = [[*time, number] for time, number in zip(cells, numbers, strict=True)]
    if table["reverse"]:
        rows.reverse()
    mark = table["delimiter"]
    lines = [[*header, "v"], *rows]
    text = "\n".join(
        mark.join(f'"{cell}"' if mark in cell else cell for cell in line) for line in lines
    )
    if table["preamble"]:
        text = f"Report of a meter\nUnit{mark}kW\n\n{text}"
    if table["total"]:
        text += f"\nTotal{mark}{numbers[0]}\n"
    return text, starts


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_a_table_comes_back_equal_or_is_refused(tmp_path_factory, table):
    text, starts = written(table)
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.write_bytes(text.encode(table["encoding"]))
    zone = table["zone"]
    two = table["style"] in ("two columns", "period", "hour")
    asked = Asked(
        (("market", "v:EUR/MWh:p"),),
        ("date" if two else "time",) if table["column"] else (),
        zone,
        stamp=table["stamp"],
        why={"zone": "said"},
    )
    try:
        imported = load_files([path], asked, LIMITS)
    except VppError as error:
        event(
            "refused: "
            + re.sub(r".*csv: (line \d+)?|'[^']*'|-?\d[\d.,:e+Z-]*", "", str(error))[:60]
        )
        assert "\n" not in str(error)
        return
    event("read")
    (found,) = imported.series
    step, fine = pd.Timedelta(minutes=table["step"]), pd.Timedelta(minutes=found.step_min)
    times = found.values.index
    place = starts.searchsorted(times, side="right") - 1
    assert fine <= step and (place >= 0).all() and (times + fine <= starts[place] + step).all()
    assert found.values.to_numpy() == pytest.approx(table["values"][place], rel=1e-6, abs=1e-6)
    lost = (len(starts) * step - len(times) * fine) / step
    assert lost <= len(found.rejects) + sum("left out" in note for note in imported.notes) * lost


@pytest.mark.parametrize("total", ["327", "1015", "27", "", "327\nTotal,1015"])
@pytest.mark.parametrize("first", [43, 205])
def test_numbers_of_periods_are_no_times_of_day(tmp_path, first, total):
    """43 to 48 and 1 to 20 are half-hours of two days; 205 to 230 are of one, and may be anything.

    Lines of totals have a number in the column of periods.
    """
    numbers = [("2025-03-29", n) for n in (range(43, 49) if first == 43 else range(205, 231))]
    numbers += [("2025-03-30", n) for n in range(1, 21) if first == 43]
    rows = [f"{date},{number},{place}" for place, (date, number) in enumerate(numbers)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["date,period,v", *rows, f"Total,{total}"]))
    asked = Asked((("market", "v:EUR/MWh:p"),), (), "UTC", why={"zone": "said"})
    if first == 205:
        with pytest.raises(VppError, match="column period"):
            load_files([path], asked, LIMITS)
        return
    (found,) = load_files([path], asked, LIMITS).series
    assert found.step_min == 30 and found.values.tolist() == list(range(26))
