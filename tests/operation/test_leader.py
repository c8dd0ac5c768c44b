"""Who leads, and that each says that it is alive."""

import os
import time

from vpp.operation.leader import BEAT, Leadership
from vpp.runtime.config import load_config


def test_leader_and_standby_both_say_that_they_are_alive(config_file):
    config = load_config(config_file(), {})
    leader, standby = Leadership(config), Leadership(config)
    beat = config.paths.state_dir / BEAT
    try:
        for one, leads in ((leader, True), (standby, False)):
            assert one.take() is leads and beat.exists()
            os.utime(beat, (0, 0))
            assert one.take() is leads and beat.stat().st_mtime > 0
        leader.give_up()
        until = time.monotonic() + 30  # the server gives it free when it sees the connection end
        while not standby.take():
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        leader.give_up()
        standby.give_up()
