"""Names that stay importable from the scripts, wherever their code lives, and `--help` of each.

`import battery; battery.replay(...)` is in programs and notebooks that are not ours. A name leaves
this list only with a line in CHANGELOG.md.
"""

import importlib
import inspect
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

NAMES = {
    "generation": """
        GenerationError Source generate generate_files make_fleet make_place make_world
        market_series plant_series
    """,
    "sources": """
        ADDED DataFileError IMPORTED SOURCES_FILE Source SourceError read_sources
        replacing_files time_text write_sources
    """,
    "communication": """
        consume list_dead_letters register_sources replay_dead_letters status stream
    """,
    "db": """
        DataGapError DatabaseError ForecastRun Source after_import check_run connect connect_url
        count_measurements count_rows data_end delete_source is_compressing read_available_at
        read_forecast_runs read_forecasts read_last_state read_latest read_resampled
        read_schedule read_series read_sources read_states read_weather_forecasts reset run_id
        save_battery_states save_forecasts save_schedule save_stream_status session
        store_measurements upsert_batteries upsert_sources
    """,
    "train_forecast": """
        train
    """,
    "forecasting": """
        CALIBRATION_DAYS ForecastError REFIT_DAYS backtest battery_day check_issue_time
        day_ahead_origins fit_calibrated load_source_data pick_sources price_scores
        rolling_calibration scores walk
    """,
    "forecast_and_save": """
        forecast_all
    """,
    "battery": """
        Battery Replay Step carry_out energy_kwh idle keep_fraction money_eur peak_import_kw
        replay self_consumption settle simulate_day stored_kwh within_cycles within_grid
    """,
    "optimization": """
        plan plan_problem value_plan
    """,
    "report": """
        OUTPUT battery_actions next_day_in_words render write_report
    """,
    "pipeline": """
        HELD_BACK_H check_stored run_stages watch
    """,
    "embedded": """
        Addresses EmbeddedError describe ensure_running find_places stop
    """,
}
EVERY = ("build_parser", "main")
# A script shows its help without these: together they take half a minute to import.
HEAVY = """
    darts torch mlflow prophet sklearn statsmodels lightgbm optuna pvlib windpowerlib demandlib
    scipy pulp highspy matplotlib plotly holidays rich fastapi pydantic
"""


@pytest.mark.parametrize("script", NAMES)
def test_public_names_stay_importable_from_their_script(script):
    module = importlib.import_module(script)
    names = NAMES[script].split()
    assert names == sorted(names, key=lambda name: (not name[0].isupper(), name))
    missing = [name for name in (*EVERY, *names) if not hasattr(module, name)]
    assert missing == [], f"{script}.py has no {', '.join(missing)}"
    for name in (*EVERY, *names):
        if not name.isupper():
            assert callable(getattr(module, name)), f"{script}.{name} is no function and no class"


def test_each_name_is_of_the_same_thing_everywhere():
    """Two scripts that share a name of a class share the class: `except` and isinstance work."""
    classes = {}
    for script, names in NAMES.items():
        module = importlib.import_module(script)
        for name in names.split():
            if inspect.isclass(getattr(module, name)):
                classes.setdefault(name, set()).add(getattr(module, name))
    assert {name: found for name, found in classes.items() if len(found) > 1} == {}


def test_help_of_each_script_works(script):
    """In a process of its own, as a person runs it; two at a time."""

    def show(name):
        command = script(f"{name}.py", "--help")
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    with ThreadPoolExecutor(2) as pool:
        shown = dict(zip(NAMES, pool.map(show, NAMES), strict=True))
    for name, result in shown.items():
        assert (result.returncode, result.stderr) == (0, ""), name
        assert result.stdout.startswith(f"usage: {name}.py"), name
        assert "--config" in result.stdout, name


def test_no_script_imports_a_heavy_library_before_it_needs_it():
    code = (
        f"import json, sys, {', '.join(NAMES)}\n"
        "print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(HEAVY.split()) & set(json.loads(done.stdout)) == set()
