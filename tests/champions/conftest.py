"""Fixtures of the champions' tests."""

import pytest
from small_contest import QUICK
from small_world import LOAD, fill, make_store

from vpp.runtime.config import load_config


@pytest.fixture
def quick_world(config_file, tmp_path_factory):
    """A configuration whose database holds 50 days of a load, with an empty MLflow store."""
    config = load_config(config_file(**QUICK))
    fill(config, LOAD)
    make_store(config, tmp_path_factory)
    return config
