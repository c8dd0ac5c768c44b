"""Fixtures of the tests of plans."""

import pytest
from small_planning import BATTERY, ISSUE, store_forecasts, store_site

import db
from vpp.runtime.config import load_config


@pytest.fixture
def site(config_file):
    """The configuration of a database with two weeks of four sources and, at `ISSUE`, forecasts
    that repeat the day before.
    """
    path = config_file(**BATTERY)
    config = load_config(path)
    with db.session(config) as conn:
        store_site(conn)
        store_forecasts(conn, ISSUE, "champion")
    return path, config
