"""Generated plants and loads of some sites, put into a database without the stream."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd

import db
import generation
from sources import read_sources
from vpp.site.kinds import KINDS
from vpp.site.times import price_available_at


def generate(config, folder: Path) -> None:
    """The files of `[generation]` of a configuration, in a folder."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert generation.main(["--config", str(config.path), "--output", str(folder)]) == 0


def put(config, folder: Path) -> None:
    """The rows of generated files into the database, as the stream would."""
    sources = read_sources(folder / "sources.csv")
    with db.session(config) as conn:
        db.upsert_sources(conn, sources)
        for kind in KINDS.values():
            path = folder / kind.file
            if not path.exists():
                continue
            frame = pd.read_csv(path)
            ids = sorted(frame["source_id"].unique())
            columns = {"source": np.searchsorted(ids, frame["source_id"])}
            for name in kind.times:
                columns[name] = pd.DatetimeIndex(pd.to_datetime(frame[name])).as_unit("us").asi8
            columns |= {name: frame[name].to_numpy(float) for name in kind.value_names}
            columns["sent_at"] = np.full(
                len(frame), pd.Timestamp("2026-01-01T00:00Z").value // 1000
            )
            if kind.source_kind == "market":
                times = pd.DatetimeIndex(pd.to_datetime(frame["time"]))
                columns["available_at"] = price_available_at(times).as_unit("us").asi8
            db.store_measurements(conn, kind.table, ids, columns)
            conn.commit()
