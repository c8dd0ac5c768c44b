"""A contest over the load of `small_world`, and a configuration in which training takes seconds."""

from dataclasses import replace

from small_world import END, LOAD, load_data

from vpp.champions.contenders import Contest

QUICK = {
    "training": {"models": "daily_naive", "trials": 1, "jobs": 1, "origins": 4},
    "forecast": {"horizon_h": 24},
}


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
