"""How the model of a kind does for each of its sources: its errors of the last three weeks, the
bands that they ask for, and its rows of the leaderboard.

Power in kW; times are UTC."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from vpp.champions.contenders import NAIVE, silence
from vpp.champions.history import load_source_data
from vpp.champions.leaderboard import COLUMNS, SCORES, not_trained, ratio_to_naive
from vpp.champions.registry import ModelStoreError
from vpp.champions.requests import stand_ins
from vpp.champions.surroundings import Surroundings
from vpp.champions.tasks import cut
from vpp.forecast.backtest import CALIBRATION_DAYS, rolling_calibration
from vpp.forecast.calibration import calibration_of
from vpp.forecast.intraday import intraday_of
from vpp.forecast.known import Known, SourceData, history_problem, known_at
from vpp.forecast.models.pooled import Global
from vpp.forecast.models.pools import Member, Pool
from vpp.forecast.scores import scores
from vpp.runtime.settings import Config, Training
from vpp.runtime.words import in_words
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.connection import session

SHARD = 50  # sources of a task


@dataclass(frozen=True)
class Shard:
    """Some sources of a kind.

    Parameters
    ----------
    config : the configuration.
    sources : of one kind.
    issue_time : nothing known later is used [UTC].
    training : the rules.
    cuts : as of which rows are made [UTC].
    most : rows of each source.
    pools : of the newest times by which the sources are assessed: that of then, and that of now.
    """

    config: Config
    sources: tuple[Source, ...]
    issue_time: pd.Timestamp
    training: Training
    cuts: tuple[pd.Timestamp, ...]
    most: int
    pools: tuple[Pool, ...] = ()

    def model(self) -> Global:
        """A new model with the horizon and the seed of the configuration."""
        made = Global(self.config.forecast.horizon_h, self.training.seed)
        made.pools = self.pools
        return made


def parts_of(sources: Sequence[Source]) -> list[tuple[Source, ...]]:
    """The sources in shards, those of a site together."""
    ordered = sorted(sources, key=lambda source: (source.site_id, source.source_id))
    return [tuple(ordered[at : at + SHARD]) for at in range(0, len(ordered), SHARD)]


class LeftOut(NamedTuple):
    """A source that a pool does not forecast: why, and the model that stands in."""

    why: str
    stand_in: str = NAIVE


def left_out(known: Known) -> LeftOut | None:
    """Why a pool learns nothing from a source; None where it does.

    Parameters
    ----------
    known : of the source.
    """
    problem = history_problem(known)
    return LeftOut(problem, stand_ins(known, problem)[0]) if problem else None


def loaded(shard: Shard, reasons: dict[str, LeftOut]) -> Iterator[tuple[Source, SourceData]]:
    """The data of each source of a shard, as known at its issue time, one at a time.

    Parameters
    ----------
    shard : the sources.
    reasons : is told why one cannot be read.

    Yields
    ------
    The source, and its data.
    """
    with session(shard.config) as conn:
        around = Surroundings(conn)
        for source in shard.sources:
            try:
                data = load_source_data(conn, shard.config, source, around)
            except (ModelStoreError, OSError):
                raise
            except Exception as error:
                reasons[source.source_id] = LeftOut(in_words(error))
                continue
            yield source, cut(data, shard.issue_time)


@dataclass
class Assessed:
    """How a pool did for a source.

    Parameters
    ----------
    source_id : its name.
    member : what the model keeps of it.
    scores : of the model, and of last week's same local hour.
    naive_scores : the MAE of the latter [kW].
    reason : why it could not be assessed; None where it was.
    """

    source_id: str
    member: Member
    scores: dict
    naive_scores: dict
    reason: LeftOut | None = None


def assess_shard(shard: Shard) -> list[Assessed]:
    """The forecasts of the pool of three weeks ago since then, for some sources.

    Parameters
    ----------
    shard : the sources, and the pool.
    """
    silence()
    found, reasons = [], dict[str, LeftOut]()
    for source, data in loaded(shard, reasons):
        try:
            found.append(assess_source(shard, source, data))
        except Exception as error:  # whatever is wrong with it, the others are assessed
            reasons[source.source_id] = LeftOut(in_words(error))
    return found + [Assessed(name, Member(), {}, {}, why) for name, why in reasons.items()]


def assess_source(shard: Shard, source: Source, data: SourceData) -> Assessed:
    """The forecasts of the pool for one source: their scores, and the bands that they ask for.

    Parameters
    ----------
    shard : with the pool.
    source, data : its description, and what is known of it.
    """
    known = known_at(data, shard.issue_time, shard.training.history_days)
    reason = left_out(known)
    if reason:
        return Assessed(source.source_id, Member(), {}, {}, reason)
    model = shard.model()
    model.pool = shard.pools[0]
    origins = [shard.issue_time - day * DAY for day in range(CALIBRATION_DAYS, 0, -1)]
    raw = model.backtest(known, origins)
    own = scores(rolling_calibration(raw, data), data.source, data.zone)
    naive = float((raw["actual"] - raw["naive"]).abs()[~raw["dark"]].mean())
    member = Member(
        calibration_of(raw, data.source, data.zone),
        intraday_of(raw, data.source),
        is_better=own["mae"] is None or own["mae"] <= naive,
    )
    return Assessed(source.source_id, member, own, {"mae": naive})


def rows_of(
    pooled: Sequence[Source], assessed: Sequence[Assessed], reasons: dict[str, LeftOut]
) -> list[dict]:
    """Rows of the leaderboard for the sources without models of their own.

    Parameters
    ----------
    pooled : the sources.
    assessed : what the pool did for them.
    reasons : why a source was left out.
    """
    by_source = {each.source_id: each for each in assessed}
    rows = []
    for source in pooled:
        found = by_source.get(source.source_id)
        if found is None or found.reason:
            left = found and found.reason
            left = left or reasons.get(source.source_id, LeftOut("no pool to learn from"))
            row = not_trained(source.source_id, f"fallback: {left.why}")
            rows.append(row | {"model": left.stand_in, "champion": True})
            continue
        naive, better = found.naive_scores["mae"], found.member.is_better
        for name, score in ((Global.name, found.scores), (NAIVE, found.naive_scores)):
            row = dict.fromkeys(COLUMNS) | {key: score.get(key) for key in SCORES}
            champion = (name == Global.name) == better
            row |= {"source_id": source.source_id, "model": name, "champion": champion}
            row |= {"mae": score["mae"], "mae_ratio_naive": ratio_to_naive(score["mae"], naive)}
            note = "one model for its kind" if champion and better else ""
            rows.append(row | {"trials": 0, "seconds": 0.0, "note": note})
    return rows
