"""Fixtures of the champions' tests."""

import pytest
from small_contest import quick_plant
from small_world import LOAD


@pytest.fixture
def quick_world(config_file, tmp_path_factory):
    return quick_plant(config_file, tmp_path_factory, LOAD)
