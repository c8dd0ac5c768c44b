"""The site of the soak: Luxembourg 2024 by quarter-hours, or synthetic hourly loads.

    python -c "from benchmarks.soak_site import luxembourg; print(luxembourg(3).begin)"

Luxembourg is lu_2024_15min_utc.csv of the folder VPP_TEST_DATA (default ../shared/data); MW count
as kW, and the load is that of two meters. A replay has 30 days of history before it. Times are UTC.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sources import Source, write_sources
from vpp.site.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
HISTORY = pd.Timedelta(days=30)
DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
ZONE = "Europe/Brussels"
PLACE = (49.6, 6.1, ZONE)
SPRING = pd.Timestamp("2024-03-29T00:00Z")  # a short replay begins here: a day of 23 h is in it
SURCHARGE, EXPORT = 150.0, 50.0  # beside the market's price of imports; of exports [EUR/MWh]
SHARES = {"load-1": 0.6, "load-2": 0.4}  # of the meters in the load
BATTERY = {"capacity_kwh": 400, "charge_kw": 200, "discharge_kw": 200}


@dataclass(frozen=True)
class Site:
    """What is replayed.

    Parameters
    ----------
    begin, end : of the replay [UTC].
    step_min : of all sources, plans and the device [min].
    sources : plants, loads and the market.
    values : by source_id [kW or EUR/MWh], from `HISTORY` before the begin on.
    sections : of the configuration.
    price : of imports, at a time [EUR/MWh].
    """

    begin: pd.Timestamp
    end: pd.Timestamp
    step_min: int
    sources: list[Source]
    values: dict[str, pd.Series]
    sections: dict[str, dict[str, object]]
    price: Callable[[pd.Timestamp], float]

    @property
    def step(self) -> pd.Timedelta:
        """The step."""
        return pd.Timedelta(minutes=self.step_min)

    @property
    def powers(self) -> dict[tuple[pd.Timestamp, str], float]:
        """The powers by time and source_id [kW]."""
        return {
            (time, source.source_id): value
            for source in self.sources
            if source.kind != "market"
            for time, value in self.values[source.source_id].items()
        }

    def cost_eur(self, time: pd.Timestamp, energy_kwh: float) -> float:
        """Cost of an interval's import; an export is paid for."""
        return energy_kwh / 1000 * (self.price(time) if energy_kwh > 0 else EXPORT)

    def write(self, folder: Path, left_out: set, until: pd.Timestamp | None = None) -> None:
        """Write the CSV files.

        Parameters
        ----------
        folder : the data folder.
        left_out : rows that come later or never, by time and source_id.
        until : only rows before this time [UTC].
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_sources(folder / "sources.csv", self.sources)
        for kind in {source.kind for source in self.sources}:
            rows = [
                (f"{time:%Y-%m-%dT%H:%M:%SZ}", source.source_id, value)
                for source in self.sources
                if source.kind == kind
                for time, value in self.values[source.source_id][:until].items()
                if (time, source.source_id) not in left_out and (until is None or time < until)
            ]
            frame = pd.DataFrame(sorted(rows), columns=["time", "source_id", KINDS[kind].value])
            frame.to_csv(folder / f"{kind}.csv", index=False)


def _source(name: str, kind: str, step_min: int, capacity_kw: float | None) -> Source:
    return Source(name, kind, name, "site-1", capacity_kw, step_min, *PLACE, {})


def luxembourg(days: int) -> Site:
    """Luxembourg 2024.

    Parameters
    ----------
    days : so many are replayed; the last ones, or from `SPRING` on.

    Raises
    ------
    ValueError : there are fewer.
    OSError : the file is not there.
    """
    frame = pd.read_csv(FILE)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("time_utc"), utc=True)).as_unit("ns")
    last, most = frame.index[-1] + pd.Timedelta(minutes=15), len(frame) // 96 - HISTORY.days
    if days > most:
        raise ValueError(f"--days {days}: {FILE.name} has {most} after {HISTORY.days} of history")
    begin = min(SPRING, last - days * DAY)
    frame = frame[(frame.index >= begin - HISTORY) & (frame.index < begin + (days + 2) * DAY)]
    values = {name: (frame["load_mw"] * share).round(3) for name, share in SHARES.items()}
    values |= {"wind-1": frame["wind_mw"], "solar-1": frame["pv_mw"]}
    kinds = {"load-1": "load", "load-2": "load", "wind-1": "wind", "solar-1": "solar"}
    sources = [_source(name, kind, 15, 1500.0) for name, kind in kinds.items()]
    end = begin + days * DAY
    values = {name: series[series.index < end].astype(float) for name, series in values.items()}
    prices = frame["price_da_eur_mwh"].astype(float)
    tariff = {"import_surcharge_eur_per_mwh": SURCHARGE, "export_eur_per_mwh": EXPORT}
    return Site(
        begin,
        end,
        15,
        [*sources, _source("market-1", "market", 15, None)],
        values | {"market-1": prices},
        {"tariff": tariff, "battery:store": BATTERY},
        lambda time: prices[time] + SURCHARGE,
    )


def synthetic(days: int, seed: int = 1) -> Site:
    """Two hourly loads of noise about a daily swing, and a tariff of two zones.

    Parameters
    ----------
    days : so many are replayed.
    seed : of the noise.
    """
    begin, names = pd.Timestamp("2025-03-22T00:00Z"), tuple(SHARES)
    index = pd.date_range(begin - HISTORY, begin + days * DAY, freq="h", inclusive="left")
    noise = np.random.default_rng(seed).normal(0, 5, (2, len(index)))
    shape = 100 + 40 * np.sin(np.arange(len(index)) / 24 * 2 * np.pi)
    values = {
        name: pd.Series(np.round(shape + row, 1), index)
        for name, row in zip(names, noise, strict=True)
    }
    tariff = {"import_eur_per_mwh": "300 06:00-20:00; 150", "export_eur_per_mwh": EXPORT}
    return Site(
        begin,
        index[-1] + HOUR,
        60,
        [_source(name, "load", 60, 500.0) for name in names],
        values,
        {"tariff": tariff, "battery:store": BATTERY},
        lambda time: 300.0 if 6 <= time.tz_convert(ZONE).hour < 20 else 150.0,
    )
