"""A contest over the load of `small_world`, and a configuration in which training takes seconds."""

from dataclasses import replace

from small_world import END, LOAD, fill, load_data, make_store

from vpp.champions.contenders import Contest
from vpp.runtime.config import load_config

QUICK = {
    "training": {"models": "daily_naive", "trials": 1, "jobs": 1, "origins": 4},
    "forecast": {"horizon_h": 24},
}


def quick_plant(config_file, tmp_path_factory, *sources):
    """The configuration of a database that holds 50 days of sources, with an empty MLflow store."""
    config = load_config(config_file(**QUICK))
    fill(config, *sources)
    make_store(config, tmp_path_factory)
    return config


def contest_of(config, models=("daily_naive",), incumbent=None, **training):
    """A contest of these models; further arguments are keys of `[training]`."""
    data = load_data(config, LOAD)
    settings = replace(config.training, models=models, **training)
    return Contest(
        data,
        END,
        config.forecast.horizon_h,
        settings,
        config.paths.state_dir / "optuna.journal",
        incumbent,
    )
