"""A backtest in parts: the rows of one in a piece, to the bit, and no part twice."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, fill

import db
from vpp.champions import walking
from vpp.champions.history import load_source_data
from vpp.champions.walking import Walk, parts_of, walked
from vpp.forecast.backtest import REFIT_DAYS, backtest
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.config import load_config
from vpp.site.times import DAY


@pytest.mark.parametrize("refit_days", [0.5, 1, 3, 28, 40, np.inf])
@pytest.mark.parametrize("apart_h", [6, 24, 60])
def test_parts_begin_with_a_fit_and_lose_no_origin(refit_days, apart_h):
    origins = [END + pd.Timedelta(hours=apart_h * n) for n in range(130)]
    fits = [origins[0]]
    for at in origins:
        if (at - fits[-1]) / DAY >= refit_days:
            fits.append(at)
    parts = parts_of(origins[::-1], refit_days)
    assert [at for part in parts for at in part] == origins
    assert {part[0] for part in parts} <= set(fits)
    starts = [part[0] for part in parts]
    assert all((b - a) / DAY >= REFIT_DAYS for a, b in pairwise(starts))
    assert len(parts) == 1 or refit_days < np.inf


def test_parts_give_the_rows_of_the_whole_and_are_done_once(config_file, monkeypatch):
    config = load_config(config_file(training={"jobs": 1}, forecast={"horizon_h": 24}))
    fill(config, LOAD)
    with db.session(config) as conn:
        data = load_source_data(conn, config, LOAD)
    rules = Walk("arima", 24, 24, 10.0)
    origins = [END - pd.Timedelta(days=n) for n in range(33, 0, -1)]
    training = config.training
    model = MODELS["arima"]
    whole = backtest(
        lambda: model(horizon_h=24, seed=training.seed),
        *(data, origins, 24, 10.0, training.history_days),
    )
    pd.testing.assert_frame_equal(walked(config, data, origins, rules), whole, check_exact=True)
    walks = []

    def counted(factory, data, times, *often):
        walks.append(len(times))
        return real(factory, data, times, *often)

    real = walking.walk
    monkeypatch.setattr(walking, "walk", counted)
    pd.testing.assert_frame_equal(walked(config, data, origins, rules), whole, check_exact=True)
    assert walks == []  # all parts were done
    with db.session(config) as conn, conn.cursor() as cur:  # one was not: it alone is done
        cur.execute("""UPDATE claims SET done_at = NULL, result = NULL WHERE task = (
            SELECT max(task) FROM claims WHERE task LIKE 'walk/%')""")
        conn.commit()
    pd.testing.assert_frame_equal(walked(config, data, origins, rules), whole, check_exact=True)
    assert walks in ([30], [3])
    walked(config, data, origins, Walk("arima", 24, 24, 11.0))  # other rules
    assert sum(walks[1:]) == len(origins)
