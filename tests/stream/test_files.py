"""CSV files become messages line by line, also where a cell is no number. Without servers."""

import csv
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp.stream import files, kafka


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"2025-01-01T00:00Z,a,1\n2025-01-01T01:00Z,\xe9,1\n", r"load\.csv, line 3: is not UTF-8"),
        (
            b"2025-01-01T00:00Z,a,1\n2025-01-01T01:00Z,a," + b"1" * 200_000,
            r"load\.csv, line 3: field larger than",
        ),
    ],
)
def test_a_csv_that_cannot_be_read_is_named_with_its_line(tmp_path, content, expected):
    path = tmp_path / "load.csv"
    path.write_bytes(b"time,source_id,power_kw\n" + content)
    with pytest.raises(kafka.StreamError, match=expected):
        list(files.read_messages(path, "load"))


def read_one_by_one(path, kind):
    """Key and decoded value of each message."""
    return [
        (key, json.loads(value))
        for _, keys, values in files.read_messages(path, kind)
        for key, value in zip(keys, values, strict=True)
    ]


def test_what_is_no_number_is_sent_for_the_sink_to_refuse(tmp_path):
    path = tmp_path / "load.csv"
    lines = ["power_kw,extra,time,source_id", "1.50,x,2025-01-01T00:00Z,a"]
    lines += [",x,2025-01-01T01:00Z,a", "", "nan,,t,a", "7", ""]
    path.write_text("\n".join(lines))
    sent = [(key, record["power_kw"]) for key, record in read_one_by_one(path, "load")]
    assert sent == [("a", 1.5), ("a", ""), ("a", None), ("", 7.0)]


CELLS = st.text(max_size=3)
LINES = st.lists(st.tuples(CELLS, CELLS, st.floats().map(repr) | CELLS), max_size=1200)


@given(LINES)
@settings(max_examples=50, deadline=None)
def test_every_line_of_a_csv_is_sent_in_its_order(tmp_path_factory, lines):
    """Whatever the cells hold, and wherever the lines are divided for sending."""
    path = tmp_path_factory.mktemp("csv") / "load.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("time", "source_id", "power_kw"), *lines])
    expected = []
    for at, source_id, cell in lines:
        try:
            number = float(cell) if math.isfinite(float(cell)) else None
        except ValueError:
            number = cell
        expected.append((source_id, {"source_id": source_id, "time": at, "power_kw": number}))
    assert read_one_by_one(path, "load") == expected
