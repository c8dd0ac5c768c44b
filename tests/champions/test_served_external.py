"""A served model gets the forecasts of others with its request, and forecasts the same."""

import numpy as np
import pandas as pd

from vpp.champions import served
from vpp.champions.studies import data_hash
from vpp.forecast.external import External
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.ridge import HourlyRidge
from vpp.site.sources import Source

NOW = pd.Timestamp("2025-02-15T10:00Z")
SOURCE = Source("load-1", "load", "", "site-1", 1e3, 60, None, None, "Europe/Brussels", {})


def test_a_request_holds_the_forecasts_of_others(tmp_path):
    rng = np.random.default_rng(1)
    times = pd.date_range("2025-01-01", "2025-02-18", freq="h", tz="UTC")
    series = pd.Series(500 + 100 * rng.normal(size=len(times)), times)
    issued = times.floor("D") - pd.Timedelta(hours=20)
    external = tuple(
        External(
            name, "load", 60,
            pd.DataFrame({"issue_time": issued, "valid_time": times, "value": series + more}),
        )
        for name, more in (("a", 0.0), ("b", 7.0))
    )  # fmt: skip
    data = SourceData(SOURCE, series, external=external)
    known = known_at(data, NOW)
    model = HourlyRidge(horizon_h=24).fit(known)
    served.write_model(tmp_path / "model", model, data)
    rows = served.model_input(data, NOW)
    found = served.read_model(tmp_path / "model").predict(rows, {"steps": 24})
    assert np.array_equal(found["value"], model.predict(known, 24)["value"])
    # and the hash of a study sees them
    other = SourceData(SOURCE, series, external=external[:1])
    assert data_hash(data, NOW) != data_hash(other, NOW)
