"""The ledger of a site: per interval what was planned, what was done and what it cost.

`update_ledger` adds the intervals whose values are known, and a new version of each whose values
were corrected; `read_ledger` gives its intervals, or sums by day, week, month or year.

    python report.py --period month

Times are UTC and label the start of an interval; money is in the site's currency, positive where it
is paid.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.ledger_intervals import intervals
from vpp.planning.ledger_plans import first_plan
from vpp.runtime.settings import Config, Site
from vpp.schedule.battery import energy_kwh
from vpp.schedule.peaks import Peak
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.site.times import DAY, day_start, from_local, local_days
from vpp.storage import ledger as stored
from vpp.storage.freshness import read_freshness
from vpp.storage.jobs import read_data_clock
from vpp.storage.measurements import read_sources

PERIODS = ("interval", "day", "week", "month", "year")
RECHECK = pd.Timedelta(hours=6)  # that an update computes again, with the rest of its local day
RECHECK_DAILY = pd.Timedelta(days=35)  # that the first update of a local day computes again
EPOCH, MINUTE = pd.Timestamp(0), pd.Timedelta(minutes=1)
OVERLAP = pd.Timedelta(seconds=30)  # by which clocks and the sink may be late
POWERS = (
    "load",
    "renewables",
    "device",
    "curtailed",
    "charge",
    "discharge",
    "grid_import",
    "grid_export",
)


def read_ledger(
    conn: connection,
    site: Site,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    by: str = "interval",
) -> pd.DataFrame:
    """The newest version of each interval of the ledger, or their sums.

    Parameters
    ----------
    conn : connection to the database.
    site : names the grid connection and the zone of its days.
    start, end : the range `[start, end)` of interval starts [UTC]; None leaves a side open.
    by : interval, day, week (from Monday on), month or year, of the local calendar.

    Returns
    -------
    By interval the columns of the table by time [UTC]. Else by the start of each period [UTC]:
    intervals, hours and measured_hours [h], energies [kWh], the highest mean import [kW], money,
    saved_eur beside no battery, self_consumption and self_sufficiency [fraction].

    Raises
    ------
    ValueError : there is no such `by`.
    """
    if by not in PERIODS:
        raise ValueError(f"by {by!r}: expected one of {', '.join(PERIODS)}")
    rows = stored.read_newest(conn, site.site_id, start, end)
    return rows if by == "interval" else summed(rows, site.time_zone, by)


def period_starts(times: pd.DatetimeIndex, zone: str, by: str) -> pd.DatetimeIndex:
    """The start of the local day, week, month or year of each time [UTC].

    Parameters
    ----------
    times : [UTC].
    zone : IANA time zone.
    by : day, week, month or year.
    """
    days = local_days(times, zone)
    back = {"day": 0, "week": days.dayofweek, "month": days.day - 1, "year": days.dayofyear - 1}[by]
    return from_local(pd.DatetimeIndex(days - back * DAY), zone)


def summed(rows: pd.DataFrame, zone: str, by: str) -> pd.DataFrame:
    """Sums of intervals by period; each is the exact sum of its intervals.

    Parameters
    ----------
    rows : as `read_ledger` gives intervals.
    zone : of the periods.
    by : day, week, month or year.
    """
    periods = period_starts(pd.DatetimeIndex(rows.index), zone, by)
    found = {start: _sums(part) for start, part in rows.groupby(periods)}
    return pd.DataFrame.from_dict(found, orient="index", columns=list(_sums(rows))).rename_axis(
        "time"
    )


def _sums(rows: pd.DataFrame) -> dict[str, float]:
    """Sums of some intervals, as `read_ledger` describes them."""
    hours = rows["step_min"].to_numpy(float) / 60
    kwh = {
        f"{name}_kwh": math.fsum(energy_kwh(rows[f"{name}_kw"].to_numpy(float), hours))
        for name in POWERS
    }
    money = {name: math.fsum(rows[name].dropna()) for name in stored.MONEY}
    planned = rows["planned_cost_eur"].notna()
    used = kwh["load_kwh"] + kwh["device_kwh"]
    made = kwh["renewables_kwh"] - kwh["curtailed_kwh"]
    return {
        "intervals": len(rows),
        "hours": math.fsum(hours),
        "measured_hours": math.fsum(hours[rows["done"] == "measured"]),
        **kwh,
        "peak_import_kw": float(rows["grid_import_kw"].max()) if len(rows) else math.nan,
        **money,
        # of the intervals that had a plan, so that both are of the same time
        "done_as_planned_eur": math.fsum((rows["energy_eur"] + rows["wear_eur"])[planned]),
        "saved_eur": money["cost_no_battery_eur"] - money["cost_eur"],
        "self_consumption": _share(kwh["grid_export_kwh"], made),
        "self_sufficiency": _share(kwh["grid_import_kwh"], used),
    }


def _share(moved_kwh: float, whole_kwh: float) -> float:
    """The part of a whole that did not cross the connection [fraction]; NaN of nothing."""
    return max(0.0, 1 - moved_kwh / whole_kwh) if whole_kwh > 0 else math.nan


def update_ledger(conn: connection, config: Config, since: pd.Timestamp | None = None) -> int:
    """Add the intervals that are known now, and new versions of those that were corrected.

    Whole local days are computed again, from the first that may have changed: that of the last six
    hours, that of the first value that was sent after the last update, and that of `since`; once a
    local day all of the last 35.

    Parameters
    ----------
    conn : connection to the database; its transactions are committed.
    config : the site.
    since : compute from this local day on, if that is earlier [UTC].

    Returns
    -------
    Number of rows added.

    Raises
    ------
    VppError : the database cannot be read, or what is stored breaks physics.
    """
    site_id = config.site.site_id
    # a replay over rows that are stored already books nothing ahead of its clock
    now = read_data_clock(conn, site_id)
    data_end = read_freshness(conn, config.forecast.stale_after_h, now).data_end
    begin = first_plan(conn, site_id)
    if begin is None or data_end is None:
        return 0
    ends = stored.read_ends(conn, site_id)
    start = begin
    if ends is not None:
        _, last, recorded = ends
        last = min(last, data_end)  # another replay came further
        zone = config.site.time_zone
        is_new_day = day_start(data_end, zone) > day_start(last, zone)
        earliest = [last - (RECHECK_DAILY if is_new_day else RECHECK)]
        changed = _changed(conn, site_id, recorded - OVERLAP)
        earliest += [time for time in (since, changed) if time is not None]
        start = max(begin, day_start(min(earliest), zone))
    rows = intervals(conn, config, start, data_end)
    if rows.empty:
        return 0
    return stored.save_versions(conn, site_id, with_sums(conn, config, rows))


def with_sums(conn: connection, config: Config, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with what each adds to its month's peak charge, and with its whole cost.

    Parameters
    ----------
    conn : connection to the database, whose ledger has the month before the rows.
    config : the site.
    rows : as `vpp.planning.ledger_intervals.intervals` gives them.

    Returns
    -------
    The columns of `vpp.storage.ledger.COLUMNS` by time.
    """
    zone = config.site.time_zone
    month = period_starts(pd.DatetimeIndex(rows.index[:1]), zone, "month")[0]
    before = stored.read_newest(conn, config.site.site_id, month, rows.index[0])
    columns = ["grid_import_kw", "import_no_battery_kw", "step_min"]
    whole = pd.concat([before[columns], rows[columns]]) if len(before) else rows[columns]
    hours = whole["step_min"].to_numpy(float) / 60
    peak_min = max(config.grid.peak_interval_min, int(rows["step_min"].max()))
    general = Peak(0.0, peak_min), rows["peak_price_eur_per_kw"]
    tariffs = dict.fromkeys(peak for peaks in rows["peaks"] for peak in peaks)
    priced = [(peak, rows["peaks"].map(_price_of(peak))) for peak in tariffs]
    own, alone = np.zeros((2, len(rows)))
    for peak, prices in (general, *priced):
        price = prices.reindex(whole.index).fillna(0.0).to_numpy(float)
        for total, name in zip((own, alone), columns, strict=False):
            total += month_peaks_eur(whole[name], hours, price, peak, zone)[len(before) :]
    cost = rows["energy_eur"] + rows["wear_eur"] + own
    found = rows.assign(
        peak_eur=own, cost_eur=cost, cost_no_battery_eur=rows["no_battery_eur"] + alone
    )
    return found[list(stored.COLUMNS)]


def _price_of(peak: Peak) -> Callable[[Sequence[Peak]], float]:
    """Gives the price of one peak [EUR/kW] among those of a contract: twice where it has two."""
    return lambda peaks: peak.price_eur_per_kw * sum(one == peak for one in peaks)


def _changed(conn: connection, site_id: str, since: pd.Timestamp) -> pd.Timestamp | None:
    """The first interval of which a value was sent after a time."""
    sources = [source for source in read_sources(conn) if source.kind in SERIES_KINDS]
    tables = dict.fromkeys(KINDS[source.kind].table for source in sources)
    ids = [source.source_id for source in sources]
    return stored.first_changed(conn, site_id, list(tables), ids, since)


def month_peaks_eur(
    imports_kw: pd.Series,
    hours: np.ndarray,
    price_eur_per_kw: np.ndarray,
    peak: Peak,
    zone: str,
) -> np.ndarray:
    """By which each interval raises the peak charge of its local month.

    Parameters
    ----------
    imports_kw : mean imports by the start of the intervals [kW], from the start of a month on.
    hours : length of each interval [h].
    price_eur_per_kw : of the highest mean import of a month, one an interval.
    peak : says the clock intervals of that mean, and which of them count; not its price.
    zone : of the months and the clock.

    Returns
    -------
    Money [EUR]; the last interval of a clock interval has what that adds. They sum up to the
    charge of each month.
    """
    if not price_eur_per_kw.any():
        return np.zeros(len(imports_kw))
    times = pd.DatetimeIndex(imports_kw.index)
    peak_min, local = peak.interval_min, times.tz_convert(zone).tz_localize(None)
    into = (local - local.normalize()) % pd.Timedelta(minutes=peak_min)
    block, begins_min = times - into, np.asarray((local - into - EPOCH) // MINUTE)
    energy = pd.Series(imports_kw.to_numpy() * hours, times).groupby(block).sum()
    covered = pd.Series(hours, times).groupby(block).sum()
    counts = pd.Series(peak.window.has(begins_min), times).groupby(block).first()
    counts &= covered >= peak_min / 60 - 1e-9
    means = energy.where(counts, 0.0) / (peak_min / 60)
    month = period_starts(pd.DatetimeIndex(means.index), zone, "month")
    highest = means.groupby(month).cummax()
    added = highest - highest.groupby(month).shift(fill_value=0.0)
    is_last = np.append(block[1:] != block[:-1], True)
    return np.where(is_last, added.reindex(block).to_numpy() * price_eur_per_kw, 0.0)
