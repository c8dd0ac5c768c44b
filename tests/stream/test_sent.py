"""A file that has grown sends its new lines, and all of it again where that may be needed."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_stream import drain, iso, register, write_csvs, write_loads

import communication
import db
from vpp.stream import files, producer
from vpp.stream.files import Mark, measure
from vpp.stream.sent import FILE, Ledger


def append(config, *lines):
    with (config.paths.data_dir / "load.csv").open("a") as file:
        file.writelines(line + "\n" for line in lines)


def sent(config, **options):
    """Messages of load.csv that this run sends; all must be in the database afterwards."""
    rows = communication.stream(config, **options)
    (row,) = [row for row in rows if row["topic"].endswith("load-topic")]
    ends = ("stored", "unchanged", "dead_lettered", "lost")
    assert row["produced"] == sum(row[name] for name in ends)
    return row["produced"], row["stored"], row["in_database"]


def test_a_file_that_has_grown_sends_its_new_lines(make_config):
    config = make_config()
    write_csvs(config)
    write_loads(config, 50)
    append(config, "")  # the last line had no end
    assert sent(config) == (50, 50, 50)
    assert sent(config) == (0, 0, 50)
    append(config, f"{iso(50, 60)},load-1,7")
    assert sent(config) == (1, 1, 51)
    assert sent(config, everything=True) == (51, 0, 51)
    text = (config.paths.data_dir / "load.csv").read_text()
    (config.paths.data_dir / "load.csv").write_text(text.replace(",3\n", ",4\n", 1))
    assert sent(config) == (51, 1, 51)  # a correction in its middle
    assert sent(config) == (0, 0, 51)


def test_all_is_sent_again_where_some_may_be_lost(make_config):
    config = make_config()
    write_csvs(config)
    write_loads(config, 20)
    append(config, "")
    assert sent(config) == (20, 20, 20)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("DELETE FROM load WHERE power_kw = 5")
    assert sent(config) == (20, 1, 20)
    with db.session(config) as conn:
        db.reset(conn)
    assert sent(config) == (20, 20, 20)
    append(config, f"{iso(20, 60)},load-1,1e9")  # dead-lettered: it may be mended
    assert sent(config)[0] == 1
    assert sent(config)[0] == 1
    (config.paths.state_dir / FILE).write_text('{"broken": ')
    assert sent(config)[0] == 21


def test_what_only_the_broker_has_is_not_sent_twice_and_not_forgotten(make_config):
    """`produce` does not know whether it is stored: it looks at the topic and the database."""
    config = make_config()
    write_csvs(config)
    register(config)

    def produce():
        ledger = Ledger(config, ["load"])
        count = producer.produce(config, ["load"], starts=ledger.starts)["load"]
        ledger.save(["load"])
        return count

    assert (produce(), produce()) == (48, 0)
    assert drain(config)["load"].stored == 48
    append(config, f"{iso(48, 60)},load-1,1")
    assert (produce(), produce()) == (1, 0)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("TRUNCATE load")
    assert drain(config)["load"].stored == 1  # it still waited
    path = config.paths.state_dir / FILE
    known = json.loads(path.read_text())
    for change in ({"broker": "another"}, {"database": "another"}, {"end": 10**6}, {"path": "/"}):
        path.write_text(json.dumps({name: item | change for name, item in known.items()}))
        assert Ledger(config, ["load"]).starts == {}, change
    path.write_text(json.dumps(known))
    assert list(Ledger(config, ["load"]).starts) == ["load"]
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("TRUNCATE load")
    assert Ledger(config, ["load"]).starts == {}
    other = dataclasses.replace(config.kafka, topic_prefix="other-")
    assert Ledger(dataclasses.replace(config, kafka=other), ["load"]).starts == {}


CELLS = st.text(st.sampled_from('ab,"\n\r 1é'), max_size=4)


@given(st.lists(CELLS, max_size=8), st.integers(0, 8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_part_and_the_rest_are_the_whole(tmp_path_factory, cells, cut, ends):
    """Wherever a file ended when it was sent first, with quotes, line breaks and all."""
    path = tmp_path_factory.mktemp("csv") / "load.csv"
    head = "time,source_id,power_kw\n"
    first = head + "".join(f"t,{cell},1\n" for cell in cells[:cut]) + ("" if ends else "t,open")
    whole = first + "".join(f"t,{cell},2\n" for cell in cells[cut:])
    path.write_text(first, newline="")
    end, is_same = measure(path)
    assert not is_same and (end == Mark() or first.encode()[: end.position].endswith(b"\n"))
    path.write_text(whole, newline="")
    assert measure(path, end)[1] == (end.position > 0)
    before, after, everything = [], [], []
    path.write_bytes(whole.encode()[: end.position])
    read(path, before)
    path.write_text(whole, newline="")
    read(path, everything)
    read(path, after, end)
    assert before + after == everything
    if end.position:
        path.write_text("x" + whole[1:], newline="")
        assert not measure(path, end)[1]


def read(path, into, start=files.START):
    if path.stat().st_size:
        for _, keys, values in files.read_messages(path, "load", start):
            into += zip(keys, values, strict=True)


def test_an_error_names_the_line_of_the_whole_file(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text("time,source_id,power_kw\nt,a,1\nt,a,2\n")
    end, _ = measure(path)
    assert end.lines == 3
    with path.open("a") as file:
        file.write("t,a,3\nt,a," + "1" * 200_000)
    with pytest.raises(files.StreamError, match="line 5: field larger than"):
        list(files.read_messages(path, "load", end))


@pytest.mark.parametrize("obstacle", ["no folder", "a folder in the place of the file"])
def test_what_cannot_be_remembered_is_sent_again(make_config, tmp_path, caplog, obstacle):
    """A container whose files are read-only has no folder for its state."""
    if obstacle == "no folder":
        (tmp_path / "state").write_text(obstacle)
    else:
        (tmp_path / "state" / FILE).mkdir(mode=0o700, parents=True)
        (tmp_path / "state").chmod(0o700)
    config = make_config()
    write_csvs(config, 5)
    for _ in range(2):
        caplog.clear()
        assert sent(config)[0] == 5
        (line,) = [record.message for record in caplog.records if record.name == "stream"]
        assert line.startswith("what was sent cannot be remembered, so it is sent again next time")
        assert "\n" not in line
