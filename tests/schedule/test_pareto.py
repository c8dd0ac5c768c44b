"""The front of cost, CO2 and cycles, as rows, table and picture."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from small_problem import PROBLEM

import optimization
from vpp.schedule.pareto import cleanest, front
from vpp.schedule.problem_file import parse_problem


def asked(folder, raw, points):
    """The arguments for a front of a problem file in a folder."""
    (folder / "problem.json").write_text(json.dumps(raw))
    (folder / "config.ini").write_text("")
    named = ["--config", str(folder / "config.ini"), "pareto", "--points", str(points)]
    return [*named, "--input", str(folder / "problem.json")]


def test_the_front_ends_at_the_least_co2_also_where_that_needs_more_cycles():
    battery = PROBLEM["batteries"][0] | {
        "soc_final": 0.0,
        "eta_charge": 0.95,
        "eta_discharge": 0.95,
    }
    raw = {
        "step_min": 60,
        "load_kw": [1000] * 4,
        "co2_kg_per_mwh": [100, 900, 100, 900],
        "import_price_eur_per_mwh": [50] * 4,
    }
    problem = parse_problem(raw | {"batteries": [battery]})
    rows, least_kg = front(problem), cleanest(problem, {}, "highs")["co2_kg"]
    assert rows[0]["cycles"] == pytest.approx(0, abs=1e-6)  # a flat price is no reason to cycle
    assert min(row["co2_kg"] for row in rows) == pytest.approx(least_kg, rel=1e-5)
    assert least_kg < rows[0]["co2_kg"] / 2


def test_nothing_but_json_on_stdout(tmp_path, script):
    """In a process of its own: what a solver's library prints goes past Python's sys.stdout."""
    arguments = asked(tmp_path, PROBLEM, 2)
    command = script("optimization.py", *arguments, "--output", tmp_path, "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) >= 2


def test_a_front_that_cannot_be_written_is_one_line(tmp_path, capsys):
    arguments = asked(tmp_path, PROBLEM, 2)
    (tmp_path / "taken").touch()
    assert optimization.main([*arguments, "--output", str(tmp_path / "taken")]) == 2
    assert capsys.readouterr().err.endswith(
        "cannot be written: File exists; name a file in a folder you may write\n"
    )


def test_the_front_has_no_schedule_that_another_beats(tmp_path, capsys):
    generator = np.random.default_rng(3)
    raw = PROBLEM | {
        "load_kw": generator.integers(0, 3000, 24).tolist(),
        "import_price_eur_per_mwh": generator.integers(20, 120, 24).tolist(),
        "co2_kg_per_mwh": generator.integers(50, 600, 24).tolist(),
    }
    rows = front(parse_problem(raw), points=4)
    assert len(rows) > 4
    assert rows[-1]["cycles"] == pytest.approx(0, abs=1e-6)
    for row in rows:
        assert not any(
            all(other[aim] < row[aim] - 1e-6 for aim in ("cost_eur", "co2_kg", "cycles"))
            for other in rows
        )
    assert rows[0]["cost_eur"] == min(row["cost_eur"] for row in rows)
    assert optimization.main([*asked(tmp_path, raw, 4), "--output", str(tmp_path)]) == 0
    assert "pareto.csv" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "pareto.csv")["cost_eur"].tolist() == pytest.approx(
        [row["cost_eur"] for row in rows]
    )
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
