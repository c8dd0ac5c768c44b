"""Tuning with Optuna: where it goes on, and when it ends."""

import fcntl
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_contest import contest_of
from small_world import END, START

from vpp.champions import tuning
from vpp.champions.contenders import silence
from vpp.champions.origins import split_origins
from vpp.champions.studies import open_storage
from vpp.champions.tuning import tune
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.files import FileLock


def test_tuning_goes_on_where_it_was_and_repeats_itself(quick_world):
    import optuna

    silence()
    made = contest_of(quick_world, trials=3)
    origins = split_origins(START, END, 24, 4)
    model = MODELS["arima"]
    best, count, backtest = tune(made, model, origins.tuning, np.inf)
    assert count == 3
    assert len(backtest) == 24 * len(origins.tuning)
    storage = open_storage(made.storage)
    name = optuna.get_all_study_names(storage)[0]
    study = optuna.load_study(study_name=name, storage=storage)
    first = study.trials[0].params
    assert first == {key: model.defaults[key] for key in first}  # the defaults come first
    study.ask()  # as a killed process leaves a trial
    assert tune(made, model, origins.tuning, np.inf)[:2] == (best, 3)
    fresh = replace(made, storage=made.storage.with_name("other.journal"))
    one, two = replace(fresh, training=replace(fresh.training, trials=1)), fresh
    tune(one, model, origins.tuning, np.inf)  # interrupted after the first
    assert tune(two, model, origins.tuning, np.inf)[:2] == (best, 3)


def parameters_of(made):
    """The parameters of the trials that ended, in their order."""
    import optuna

    storage = open_storage(made.storage)
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [trial.params for trial in trials if trial.state.is_finished()]


@pytest.mark.parametrize("killed_at", [[0], [1], [0, 0, 1, 2]])
def test_a_search_that_is_killed_ends_as_one_without_a_break(quick_world, monkeypatch, killed_at):
    silence()
    made, model = contest_of(quick_world, trials=3), MODELS["arima"]
    origins = split_origins(START, END, 24, 4)
    broken = replace(made, storage=made.storage.with_name("broken.journal"))
    best = tune(made, model, origins.tuning, np.inf)[:2]
    real = tuning.run_trial
    for place in killed_at:

        def run_trial(contest, model, parameters, origins, study, trial, deadline, place=place):
            if tuning.count_finished(study) == place:
                raise KeyboardInterrupt  # as SIGKILL: the trial stays as it is
            return real(contest, model, parameters, origins, study, trial, deadline)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(tuning, "run_trial", run_trial)
            tune(broken, model, origins.tuning, np.inf)
    assert tune(broken, model, origins.tuning, np.inf)[:2] == best
    assert parameters_of(broken) == parameters_of(made)


def test_no_trial_starts_after_the_deadline(quick_world):
    silence()
    made, origins = contest_of(quick_world, trials=3), split_origins(START, END, 24, 4)
    assert tune(made, MODELS["arima"], origins.tuning, -np.inf) == ({}, 0, None)


def test_a_trial_that_the_deadline_cuts_short_is_made_again(quick_world, monkeypatch):
    silence()
    made, model = contest_of(quick_world, trials=2), MODELS["arima"]
    origins = split_origins(START, END, 24, 4)
    clock = iter(range(100))
    with monkeypatch.context() as patched:
        patched.setattr(tuning.time, "monotonic", lambda: next(clock))
        # started at 0, after its first origin it is 1
        assert tune(made, model, origins.tuning, 0.5) == ({}, 0, None)
    once = replace(made, training=replace(made.training, trials=1))
    best, count, _ = tune(once, model, origins.tuning, np.inf)
    assert count == 1
    assert best == {key: model.defaults[key] for key in best}  # again with the defaults
    assert tune(made, model, origins.tuning, np.inf)[1] == 2


@pytest.mark.parametrize(("scores", "best"), [((10, 9.5, 9.1), 0), ((10, 9.5, 8.9), 2)])
def test_tuned_parameters_are_taken_where_they_are_a_tenth_better(
    quick_world, monkeypatch, scores, best
):
    silence()
    made, model, tried = contest_of(quick_world, trials=3), MODELS["arima"], []

    def told(contest, model, parameters, origins, study, trial, deadline):
        tried.append(parameters)
        study.tell(trial, scores[trial.number])
        return trial.number

    monkeypatch.setattr(tuning, "run_trial", told)
    origins = split_origins(START, END, 24, 4)
    assert tune(made, model, origins.tuning, np.inf) == (tried[best], 3, best)
    assert tune(made, model, origins.tuning, np.inf) == (tried[best], 3, None)  # goes on


def test_a_killed_process_leaves_no_lock(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from vpp.runtime.files import FileLock; "
        f"lock = FileLock(Path({str(path)!r})); lock.acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with open(path, "ab") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with FileLock(path):
        pass
