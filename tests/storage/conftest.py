"""Fixtures of the tests of the database."""

import pytest

import db
from vpp.runtime.config import load_config


@pytest.fixture
def config(config_file):
    """Configuration of this test's empty database."""
    return load_config(config_file())


@pytest.fixture
def conn(config):
    """A connection to this test's database, its schema in place."""
    connection = db.connect(config)
    yield connection
    connection.close()
