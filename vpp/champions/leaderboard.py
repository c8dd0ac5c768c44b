"""The leaderboard of a source's models: of a training that ends, and of the newest in MLflow.

    python train_forecast.py

MAE in kW or EUR/MWh.
"""

import logging
from collections.abc import Sequence

from vpp.champions.contenders import NAIVE, Contender
from vpp.champions.contest import Decision
from vpp.champions.registry import ModelStoreError, open_store
from vpp.runtime.settings import EMBEDDED, Config

log = logging.getLogger("report")

SCORES = ("rmse", "nmae", "pinball", "coverage_80", "width_80", "captured_share", "kendall_tau")
COLUMNS = (
    *("source_id", "model", "champion", "mae", "mae_ratio_naive"),
    *SCORES,
    *("trials", "seconds", "note"),
)


def ratio_to_naive(mae: float | None, naive_mae: float | None) -> float | None:
    """The MAE of a model over that of last week's same local hour; None where either is missing.

    Parameters
    ----------
    mae, naive_mae : of the same rows [kW or EUR/MWh].
    """
    return mae / naive_mae if mae is not None and naive_mae is not None and naive_mae > 0 else None


def leaderboard(decision: Decision) -> list[dict]:
    """A row for each model of a source, the best first."""
    naive = decision.contenders[0].scores.get("mae")
    rows = []
    for contender in sorted(
        decision.contenders, key=lambda each: (each.score, each.model != NAIVE)
    ):
        found, mae = contender.scores, contender.scores.get("mae")
        rows.append(
            {
                "source_id": decision.contest.data.source.source_id,
                "model": contender.model,
                "champion": contender is decision.champion,
                "mae": mae,
                "mae_ratio_naive": ratio_to_naive(mae, naive),
                **{name: found.get(name) for name in SCORES},
                "trials": contender.trials,
                "seconds": round(contender.seconds, 2),
                "note": note_of(decision, contender),
            }
        )
    return rows


def not_trained(source_id: str, reason: str) -> dict:
    """The row of a source that was left out.

    Parameters
    ----------
    source_id : its name.
    reason : why.
    """
    row = dict.fromkeys(COLUMNS)
    return row | {"source_id": source_id, "champion": False, "trials": 0, "note": reason}


def note_of(decision: Decision, contender: Contender) -> str:
    """The words beside a model: why it is champion, why it failed or was not tuned, or that it was
    champion.

    Parameters
    ----------
    decision, contender : of the source, and the model.
    """
    untuned = f"not tuned: {contender.untuned}" if contender.untuned else ""
    if contender is decision.champion:
        return "; ".join(filter(None, [decision.verdict, untuned]))
    if contender.reason:
        return f"failed: {contender.reason}"
    return "former champion" if contender.incumbent else untuned


def read_leaderboard(config: Config, source_ids: Sequence[str]) -> list[dict]:
    """Read the models of the newest training of each source from the MLflow store, best first.

    Parameters
    ----------
    config : the configuration.
    source_ids : the sources, in the order of the rows.

    Returns
    -------
    Rows as `newest_training` gives them; none where nothing was trained or no store answers.
    """
    if not source_ids or (
        config.mlflow.tracking_uri == EMBEDDED
        and not (config.paths.state_dir / "mlflow.db").is_file()
    ):
        return []
    rows = []
    try:
        client = open_store(config)
        experiment = client.get_experiment_by_name(config.mlflow.experiment).experiment_id
        for source_id in source_ids:
            wanted = f"tags.source_id = '{source_id}'"  # a source_id has no quotation mark
            rows += newest_training(
                client.search_runs(
                    [experiment], wanted, order_by=["attributes.start_time DESC"], max_results=100
                )
            )
    except ModelStoreError as error:
        log.warning("the report shows no leaderboard: %s", error)
    return rows


def newest_training(runs: Sequence) -> list[dict]:
    """The models of the newest of a source's trainings, best first.

    Parameters
    ----------
    runs : MLflow runs of the source, newest first; a model's is a child of its training's.

    Returns
    -------
    source_id, model, champion, mae [kW or EUR/MWh] and mae_ratio_naive of each model.
    """
    parent = "mlflow.parentRunId"
    models = [run for run in runs if parent in run.data.tags and "mae" in run.data.metrics]
    models = [run for run in models if run.data.tags[parent] == models[0].data.tags[parent]]
    naive = next(
        (run.data.metrics["mae"] for run in models if run.data.params["model"] == NAIVE),
        None,
    )
    return [
        {
            "source_id": run.data.tags["source_id"],
            "model": run.data.params["model"],
            "champion": run.data.tags["champion"] == run.data.params["model"],
            "mae": run.data.metrics["mae"],
            "mae_ratio_naive": ratio_to_naive(run.data.metrics["mae"], naive),
        }
        for run in sorted(models, key=lambda run: run.data.metrics["mae"])
    ]
