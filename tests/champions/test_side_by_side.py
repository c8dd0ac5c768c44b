"""Two `train_forecast.py` side by side on a database: each source is trained once."""

import json
import subprocess
from dataclasses import replace

from small_contest import quick_plant
from small_world import LOAD, MARKET

import db
from vpp.champions import registry
from vpp.storage.rows import select_rows

SOURCES = [LOAD, MARKET, *(replace(LOAD, source_id=f"load-{number}") for number in (2, 3))]


def test_two_commands_train_each_source_once(config_file, script, tmp_path_factory):
    config = quick_plant(config_file, tmp_path_factory, *SOURCES)
    command = script("train_forecast.py", "--config", config.path, "--json")
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    first, second = (json.loads(out) for out, _ in told)
    assert first == second  # who has not trained a source reads what the other found
    names = {source.source_id for source in SOURCES}
    assert {row["source_id"] for row in first if row["champion"]} == names
    client = registry.open_store(config)
    for name in names:
        assert len(client.search_model_versions(f"name='vpp-{name}'")) == 1
    with db.session(config) as conn:
        tasks = select_rows(conn, "SELECT task FROM claims WHERE done_at IS NOT NULL")
    assert len(tasks) == len(names)
