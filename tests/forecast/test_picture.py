"""The picture of a forecast: every kind of file that it can be, and the history that it shows."""

import numpy as np
import pandas as pd
import pytest

from vpp.forecast import picture
from vpp.forecast.quantiles import COLUMNS
from vpp.site.times import DAY

NOW = pd.Timestamp("2025-04-02", tz="UTC")


def forecast() -> pd.DataFrame:
    times = pd.date_range(NOW, periods=24, freq="h", name="valid_time")
    return pd.DataFrame(np.full((24, len(COLUMNS)), 5.0), times, COLUMNS)


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_it_is_written_into_a_folder_that_there_was_not(tmp_path, ending, begins):
    path = tmp_path / "new" / f"load.{ending}"
    history = pd.Series(4.0, pd.date_range(NOW - 9 * DAY, NOW, freq="h"))
    picture.plot_forecast(forecast(), history, "load-1", "kW", path)
    assert path.read_bytes().startswith(begins)


def test_it_shows_three_days_of_history_and_actual_values_of_the_time_forecast(
    tmp_path, monkeypatch
):
    from matplotlib.axes import Axes

    drawn, step = {}, Axes.step

    def keep(self, x, y, **look):
        drawn[look["label"]] = (x, y)
        return step(self, x, y, **look)

    monkeypatch.setattr(Axes, "step", keep)
    history = pd.Series(4.0, pd.date_range(NOW - 9 * DAY, NOW + 9 * DAY, freq="h"))
    picture.plot_forecast(forecast(), history, "load-1", "kW", tmp_path / "load.png")
    actual, _ = drawn["actual"]
    assert (actual[0], actual[-1]) == (NOW - 3 * DAY, NOW + pd.Timedelta(hours=23))
    assert (drawn["forecast"][1] == 5.0).all()
