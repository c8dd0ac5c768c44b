"""Records are decoded and checked by their own source, each refused one with its reason."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_stream import SOURCES, encoded, iso, power

from benchmarks import crash_round
from sources import Source
from vpp.site.kinds import WEATHER
from vpp.stream import batch, faults, records

HOUR_US = 3_600_000_000


NOW_US = 1_750_000_000_000_000  # 2025-06-15T15:06:40Z


YEAR_2000_US, WEEK_US = 946_684_800_000_000, 7 * 24 * HOUR_US


LIMITS = records.Limits(YEAR_2000_US, WEEK_US, -1000, 10_000, "13:00", "Europe/Brussels")


def source(source_id, kind="solar", capacity_kw=100.0, step_min=60, zone="Europe/Brussels", **more):
    capacity_kw = None if kind in ("market", "weather") else capacity_kw
    return Source(source_id, kind, source_id, "site", capacity_kw, step_min, 49.6, 6.1, zone, more)


def checked(kind, sources, values, limits=LIMITS, sent_ms=None):
    sent_ms = sent_ms or [1000] * len(values)
    decoded = records.decode(kind, list(map(encoded, values)), sent_ms)
    return records.check(decoded, records.Registry(sources), limits, NOW_US)


def microseconds(*times):
    return [pd.Timestamp(time, tz="UTC").as_unit("us").asm8.astype(int) for time in times]


def test_a_price_is_known_by_the_local_day_of_its_own_market():
    """22:30 UTC of 10 January lies on the 10th in Brussels and London, on the 11th in Helsinki.

    So its price was known at 13:00 of Brussels (12:00 UTC) on the 9th, the 9th and the 10th. An
    hour later it is the 11th in Brussels too, and in London still the 10th.
    """
    zones = {"north": "Europe/Helsinki", "west": "Europe/London", "middle": "Europe/Brussels"}
    markets = [source(name, "market", step_min=30, zone=zone) for name, zone in zones.items()]
    expected = {
        ("middle", "22:30"): "2025-01-09T12:00",
        ("north", "22:30"): "2025-01-10T12:00",
        ("west", "22:30"): "2025-01-09T12:00",
        ("middle", "23:30"): "2025-01-10T12:00",
        ("north", "21:30"): "2025-01-09T12:00",
        ("west", "23:30"): "2025-01-09T12:00",
    }
    values = [
        {"source_id": name, "time": f"2025-01-10T{time}:00Z", "price_eur_per_mwh": 1}
        for name, time in expected  # the markets alternate
    ]
    found = checked("market", markets, values)
    assert found.refused == []
    assert list(found.columns["available_at"]) == microseconds(*expected.values())


def test_publication_follows_its_own_time_and_zone():
    limits = replace(LIMITS, publication="12:42", publication_zone="Europe/London")
    value = {"source_id": "m", "time": "2025-01-10T12:00:00Z", "price_eur_per_mwh": 1}
    summer = value | {"time": "2025-05-10T12:00:00Z"}
    found = checked("market", [source("m", "market")], [value, summer], limits)
    expected = microseconds("2025-01-09T12:42", "2025-05-09T11:42")
    assert list(found.columns["available_at"]) == expected


def test_each_source_is_checked_by_its_own_step_capacity_and_kind():
    """Capacities of 100 and 10 kW allow −2 to 120 and −0.2 to 12; the steps are 60 and 15 min.

    A source that was registered provisionally has no bounds, and a step of 5 min.
    """
    sources = [
        source("big"),
        source("small", capacity_kw=10.0, step_min=15),
        source("loose", provisional=True),
        source("wind", "wind"),
    ]
    cases = [
        ("big", "00:00", 120, None),
        ("big", "00:15", 1, "is not on the 60 min step of big"),
        ("small", "00:15", 12, None),
        ("small", "00:05", 1, "is not on the 15 min step of small"),
        ("small", "00:30", 12.1, "power_kw 12.1 is above 12, the most of small"),
        ("small", "00:45", -0.2, None),
        ("small", "00:45", -0.21, "power_kw -0.21 is below -0.2, the least of small"),
        ("loose", "00:05", 9e9, None),
        ("loose", "00:04", 1, "is not on the 5 min step of loose"),
        ("wind", "00:00", 1, "source wind is of kind wind, not solar"),
        ("other", "00:00", 1, "unknown source 'other'"),
        ("big", "01:00", -2, None),
    ]
    values = [
        {"source_id": name, "time": f"2025-01-01T{time}:00Z", "power_kw": power}  # on one day
        for name, time, power, _ in cases
    ]
    found = checked("solar", sources, values)
    reasons = dict(found.refused)
    for place, (*case, part) in enumerate(cases):
        assert (part is None) == (place not in reasons), case
        assert part is None or part in reasons[place], case
    kept = [place for place, case in enumerate(cases) if case[3] is None]
    assert list(found.places) == kept
    assert list(found.columns["power_kw"]) == [cases[place][2] for place in kept]
    stored = [sources[number].source_id for number in found.columns["source"]]
    assert stored == [cases[place][0] for place in kept]
    assert found.unknown == {"other"}


@pytest.mark.parametrize("kind", ["solar", "wind", "load"])
def test_power_has_a_least_and_a_most_for_its_capacity(kind):
    """100 kW: a plant gives -2 to 120, and a load takes -500 to 500."""
    value = {"source_id": "s", "time": "2025-01-01T00:00:00Z"}
    good, bad = ((-500, 500), (-501, 501)) if kind == "load" else ((-2, 120), (-2.1, 120.1))
    values = [value | {"power_kw": power} for power in (*good, *bad)]
    found = checked(kind, [source("s", kind)], values)
    assert found.places.tolist() == [0, 1] and sorted(dict(found.refused)) == [2, 3]
    loose = checked(kind, [source("s", kind, provisional=True)], values)
    assert loose.places.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ghi", (-20, 1500), (-20.5, 1500.5, 1e9)),
        ("dni", (-20, 1500), (-20.5, 1500.5)),
        ("dhi", (-20, 1500), (-20.5, 1500.5)),
        ("temp_air", (-90, 60), (-90.5, 60.5, 293.15)),  # the last is in kelvin
        ("wind_speed", (0, 115), (-0.5, 115.5)),
    ],
)
@pytest.mark.parametrize("kind", ["weather", "weather-forecast"])
def test_weather_is_physically_possible(kind, name, good, bad):
    record = {"source_id": "w"} | dict.fromkeys(WEATHER, 1)
    record |= dict.fromkeys(("time", "issue_time", "valid_time"), "2025-01-01T00:00:00Z")
    values = [record | {name: value} for value in (*good, *bad)]
    found = checked(kind, [source("w", "weather")], values)
    assert found.places.tolist() == [0, 1]
    assert f"{name} {bad[0]:g} is not within {good[0]:g} to {good[1]:g} " in dict(found.refused)[2]


def test_both_times_of_a_weather_forecast_are_bounded():
    numbers = dict.fromkeys(WEATHER, 1)
    good = {
        "source_id": "w",
        "issue_time": "2025-01-01T00:00:00Z",
        "valid_time": "2025-01-01T01:00:00Z",
    }
    changes = [
        {},
        {"issue_time": "1999-12-31T23:00:00Z"},
        {"valid_time": "1999-12-31T23:00:00Z"},
        {"issue_time": "2025-06-22T16:00:00Z"},
        {"valid_time": "2025-06-22T16:00:00Z"},  # a week after now is 15:06:40
        {"valid_time": "2025-06-22T15:00:00Z"},
    ]
    values = [good | numbers | change for change in changes]
    refused = dict(checked("weather-forecast", [source("w", "weather")], values).refused)
    assert sorted(refused) == [1, 2, 3, 4]
    for place, change in enumerate(changes[1:5], 1):
        assert refused[place].startswith(next(iter(change)))


def test_a_message_sent_before_1970_or_after_9892_keeps_a_time_that_can_be_stored():
    value = {"source_id": "s", "time": "2025-01-01T00:00:00Z", "power_kw": 1}
    found = checked("load", [source("s", "load")], [value] * 3, sent_ms=[-5, 1234, 10**16])
    assert list(found.columns["sent_at"]) == [0, 1_234_000, NOW_US]
    assert found.places.tolist() == [0, 1, 2]


def test_values_stay_with_their_record_when_one_between_is_refused():
    value = {"source_id": "w", "time": "2025-01-01T00:00:00Z"}
    names = WEATHER
    rows = [value | {name: 10 * n + k for k, name in enumerate(names)} for n in range(3)]
    values = [encoded(rows[0]), b"{", encoded(rows[2])]
    decoded = records.decode("weather", values, [1000, 2000, 3000])
    found = records.check(decoded, records.Registry([source("w", "weather")]), LIMITS, NOW_US)
    assert found.places.tolist() == [0, 2]
    assert list(found.columns["sent_at"]) == [1_000_000, 3_000_000]
    for k, name in enumerate(names):
        np.testing.assert_array_equal(found.columns[name], [k, 20 + k])


def test_a_time_minutes_ahead_of_receipt_is_taken_as_receipt():
    """To the millisecond; a clock that is a little fast is believed."""
    value = {"source_id": "s", "time": "2025-01-01T00:00:00Z", "power_kw": 1}
    now_ms = NOW_US // 1000
    sent_ms = [now_ms, now_ms + 300_000, now_ms + 300_001, 2**63 - 1]
    found = checked("load", [source("s", "load")], [value] * 4, sent_ms=sent_ms)
    assert found.refused == []
    assert list(found.columns["sent_at"]) == [NOW_US, NOW_US + 300_000_000, NOW_US, NOW_US]
    # A correction that follows it in its partition is not older than it.
    day_ms = 86_400_000
    times = [day_ms, -1000, 2 * day_ms, -400_000, -2000, 3 * day_ms, 10]
    numbers = [0, 0, 1, 1, 0, 0, 1]
    sent = batch.send_times(numbers, [now_ms + ahead for ahead in times], now_ms)
    expected = [-2000, -1000, 0, -400_000, -2000, 0, 10]
    assert [at - now_ms for at in sent] == expected


def test_a_message_must_be_keyed_by_its_source():
    """Another key keeps it in no order with the others of its source."""
    value = {"source_id": "s", "time": "2025-01-01T00:00:00Z", "power_kw": 1}
    keys = [b"s", b"k", None, b"\xff\n" * 200, b""]
    decoded = records.decode("load", [encoded(value)] * 5, [0] * 5, keys)
    registry = records.Registry([source("s", "load")])
    found = records.check(decoded, registry, LIMITS, NOW_US)
    assert found.places.tolist() == [0]
    told = dict(found.refused)
    assert told[1] == "the key of the message must be its source_id 's'; it is 'k'"
    assert told[2].endswith("there is none") and "\n" not in told[3] and len(told[3]) < 400
    loose = replace(LIMITS, needs_key=False)
    assert records.check(decoded, registry, loose, NOW_US).refused == []
    assert records.check(decoded.part(slice(2, None)), registry, LIMITS, NOW_US).places.size == 0


def reasons(kind, *values):
    """Why each of these messages is refused; None for those that are not."""
    decoded = records.decode(kind, list(map(encoded, values)), [0] * len(values))
    found = records.check(decoded, records.Registry(SOURCES), LIMITS, NOW_US)
    refused = dict(found.refused)
    assert sorted([*refused, *found.places]) == list(range(len(values)))
    return [refused.get(place) for place in range(len(values))]


ISSUED = {"source_id": "weather-1", "issue_time": iso(0, 60), "valid_time": iso(0, 60)}
ISSUED |= dict.fromkeys(WEATHER, 1)
ON_15 = "is not on the 15 min step of solar-1"


@pytest.mark.parametrize(
    ("kind", "base", "cases"),
    [
        (
            "solar",  # capacity 100 kW
            {"source_id": "solar-1", "time": iso(0, 15)},
            [
                ({"power_kw": 120}, None),
                ({"power_kw": 120.1}, "power_kw 120.1 is above 120, the most of solar-1"),
                ({"power_kw": -2}, None),
                ({"power_kw": -2.1}, "power_kw -2.1 is below -2, the least of solar-1"),
            ],
        ),
        (
            "solar",
            {"source_id": "solar-1", "power_kw": 1},
            [
                ({"time": "2000-01-01T00:00:00Z"}, None),
                (
                    {"time": "1999-12-31T23:45:00Z"},
                    "time 1999-12-31T23:45:00Z is before 2000-01-01T00:00:00Z",
                ),
                ({"time": "2025-06-22T15:00:00+00:00"}, None),
                (
                    {"time": "2025-06-23T00:00:00Z"},
                    "time 2025-06-23T00:00:00Z is after 2025-06-22T15:06:40Z",
                ),
                ({"time": "2025-01-01T00:15:00+01:00"}, None),
                ({"time": "2025-01-01T00:07:00Z"}, f"time 2025-01-01T00:07:00Z {ON_15}"),
                ({"time": "2025-01-01T00:00:00.000001Z"}, f"time 2025-01-01T00:00:00Z {ON_15}"),
            ],
        ),
        (
            "load",  # capacity 50 kW
            {"source_id": "load-1", "time": iso(0, 60)},
            [
                ({"power_kw": 250}, None),
                ({"power_kw": -5}, None),
                ({"power_kw": 1e6}, "power_kw 1e+06 is above 250, the most of load-1"),
            ],
        ),
        (
            "market",
            {"source_id": "market-1", "time": iso(0, 60)},
            [
                ({"price_eur_per_mwh": -1000}, None),
                (
                    {"price_eur_per_mwh": -1000.5},
                    "price_eur_per_mwh -1000.5 is not within -1000 to 10000",
                ),
                ({"price_eur_per_mwh": 10_000}, None),
                (
                    {"price_eur_per_mwh": 10_000.5},
                    "price_eur_per_mwh 10000.5 is not within -1000 to 10000",
                ),
            ],
        ),
        (
            "wind",
            {"source_id": "solar-1", "time": iso(0, 60), "power_kw": 1},
            [({}, "source solar-1 is of kind solar, not wind")],
        ),
        (
            "weather-forecast",  # its issue time lies on no step
            ISSUED,
            [
                ({}, None),
                ({"issue_time": "2025-01-01T00:03:00Z"}, None),
                (
                    {"valid_time": iso(1, 15)},
                    "valid_time 2025-01-01T00:15:00Z is not on the 60 min step of weather-1",
                ),
            ],
        ),
        (
            "load",
            {"time": iso(0, 60), "power_kw": 1},
            [
                ({"source_id": "load-9"}, "unknown source 'load-9': register it in sources.csv"),
                (
                    {"source_id": "x" * 100},
                    f"unknown source '{'x' * 80}': register it in sources.csv",
                ),
            ],
        ),
    ],
)
def test_a_record_is_refused_beyond_its_bounds(kind, base, cases):
    found = reasons(kind, *[base | change for change, _ in cases])
    assert found == [reason for _, reason in cases]


def test_without_sources_every_record_is_of_an_unknown_one():
    decoded = records.decode("load", [encoded(power(iso(0, 60), 1, "load-1"))], [0])
    found = records.check(decoded, records.Registry([]), LIMITS, NOW_US)
    assert found.unknown == {"load-1"} and not len(found.places)
    assert [reason for _, reason in found.refused] == [
        "unknown source 'load-1': register it in sources.csv"
    ]


DEEP = b'{"more":' + b"[" * 5000 + b"]" * 5000 + b"}"
BAD = crash_round.POISON | {
    "array": (b"[1,2]", "wrong field"),
    "nested deep": (DEEP, "not JSON that can be read: it is nested too deep"),
}


def test_every_kind_of_fault_has_its_reason():
    found = dict(zip(BAD, reasons("solar", *[message for message, _ in BAD.values()]), strict=True))
    for name, (_, part) in BAD.items():
        assert part in found[name], name
        assert len(found[name]) < 400
        assert faults.reason_kind(found[name]) != "other", name


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["solar-1", "2025-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([10**400, -(10**30), 2**63])
)


RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "source_id": TEXTS | SCALARS,
        "time": TEXTS | SCALARS,
        "power_kw": SCALARS,
        "more": SCALARS,
    },
)


@given(
    st.lists(
        st.none() | st.binary(max_size=20) | RECORDS.map(encoded) | st.just(DEEP),
        max_size=5,
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=20) | st.just(b"solar-1"),
)
@settings(max_examples=300, deadline=None)
def test_no_message_stops_the_checks(values, sent_ms, key):
    decoded = records.decode("solar", values, [sent_ms] * len(values), [key] * len(values))
    found = records.check(decoded, records.Registry(SOURCES), LIMITS, NOW_US)
    refused = [place for place, _ in found.refused]
    assert sorted([*found.places, *refused]) == list(range(len(values)))
    for _, reason in found.refused:
        assert 0 < len(reason.encode()) < 500  # it becomes a header


def test_an_empty_message_and_a_null_say_so():
    assert reasons("load", b"", None) == ["empty message", "null message"]


def test_a_number_that_is_not_finite_is_refused_by_itself():
    """JSON has no such number; whoever decodes differently finds it refused all the same."""
    values = [{"source_id": "w", "time": iso(0, 60)} | dict.fromkeys(WEATHER, 1)] * 3
    decoded = records.decode("weather", list(map(encoded, values)), [0] * 3)
    decoded.columns["temp_air"][1] = np.nan
    decoded.columns[WEATHER[0]][2] = np.inf
    found = records.check(decoded, records.Registry([source("w", "weather")]), LIMITS, NOW_US)
    assert found.places.tolist() == [0]
    assert found.refused == [(1, "a number is not finite"), (2, "a number is not finite")]


def test_the_last_time_allowed_is_still_good():
    """`latest_days_ahead` after now, to the microsecond."""
    (latest_us,) = microseconds("2025-06-22T16:00")
    limits = replace(LIMITS, ahead_us=latest_us - NOW_US)
    value = {"source_id": "s", "power_kw": 1}
    times = ["2025-06-22T16:00:00Z", "2025-06-22T17:00:00Z"]
    found = checked("load", [source("s", "load")], [value | {"time": at} for at in times], limits)
    assert found.places.tolist() == [0]


def test_columns_have_their_types_even_when_nothing_is_in_them():
    """The bulk writer takes times as int64."""
    registry = records.Registry([])
    assert registry.kinds.dtype == object and registry.step_us.dtype == np.int64
    assert records.Registry(SOURCES).kinds.dtype == object
    found = records.check(records.decode("market", [b"{"], [0]), registry, LIMITS, NOW_US)
    types = {name: column.dtype for name, column in found.columns.items()}
    times = dict.fromkeys(("source", "time", "available_at", "sent_at"), np.int64)
    assert types == times | {"price_eur_per_mwh": np.float64}
    assert records.decode("market", [], []).columns["sent_at"].dtype == np.int64
