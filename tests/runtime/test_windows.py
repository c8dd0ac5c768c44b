"""Windows of the local week as a configuration writes them."""

import pytest

from vpp.runtime.windows import EVERY_DAY, Window, parse_windows


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("", ()),
        ("08:00-16:30", (Window(EVERY_DAY, 480, 990),)),
        ("Mon-Fri 18:00-07:00", (Window((1, 2, 3, 4, 5), 1080, 1860),)),  # 7:00 of the next day
        ("sat,SUN 0:00-24:00", (Window((6, 7), 0, 1440),)),
        ("Sat-Mon 22:00-23:00", (Window((1, 6, 7), 1320, 1380),)),
        (
            "Mon 1:00-2:00,3:00-4:00; Tue,Thu-Fri 5:00-6:00;",
            (Window((1,), 60, 120), Window((1,), 180, 240), Window((2, 4, 5), 300, 360)),
        ),
    ],
)
def test_windows(text, windows):
    assert parse_windows(text) == windows


@pytest.mark.parametrize(
    "text",
    ["x", "Mon", "25:00-7:00", "8:60-9:00", "24:00-1:00", "Mo 8:00-9:00", "8:00-8:00"]
    + ["8:00-24:30", "٨:00-9:00", "Jan 8:00-9:00", "holidays 8:00-9:00", "8:00"],
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError):
        parse_windows(text)
