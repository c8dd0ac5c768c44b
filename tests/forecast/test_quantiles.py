"""The columns of a forecast in the models and in the database have the same names."""

from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS, QUANTILES
from vpp.storage import schema


def test_the_database_has_a_column_for_each_quantile_of_the_models():
    """Storage may not import the models, so each has the names; here they meet."""
    assert schema.QUANTILES == QUANTILE_COLUMNS
    assert [int(name[1:]) for name in QUANTILE_COLUMNS] == [round(100 * q) for q in QUANTILES]
    assert ("value", *QUANTILE_COLUMNS) == COLUMNS
