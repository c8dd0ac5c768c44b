"""Whatever bytes, key, headers, codec and time a message has, the topic goes on.

benchmarks/bench_crash.py sends 200,000 of them.
"""

import random

import pytest
from small_stream import register

from benchmarks import crash_round, fuzz


@pytest.mark.parametrize("batch_rows", [50, 20_000])
def test_every_message_is_stored_unchanged_dead_lettered_or_lost(make_config, batch_rows):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown when it fails
    config = make_config(kafka={"batch_rows": batch_rows})
    register(config, crash_round.SOURCES)
    assert "stored" in fuzz.run(config, crash_round.SOURCES, seed, 2_500)
