"""Time and memory of an import: 70,000 rows of 4 columns, and a long file of one.

    python benchmarks/bench_import.py
    python benchmarks/bench_import.py --rows 10000000

Each import is a process of its own, `sources.py import`, from file to data folder. The table
states the processor's seconds, start and writing included, and the largest memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vpp.runtime.tables import print_rows

PART = 500_000


def write(path: Path, rows: int, step_s: int, columns: Sequence[str]) -> None:
    """Write a file of quarter-hours, or of shorter steps, with a clock of Berlin's winter time."""
    rng = np.random.default_rng(1)
    with path.open("w", encoding="utf-8") as file:
        file.write(";".join(["Zeit", *columns]) + "\n")
        for first in range(0, rows, PART):
            count = min(PART, rows - first)
            start = pd.Timestamp("2020-01-01") + pd.Timedelta(seconds=first * step_s)
            times = pd.date_range(start, periods=count, freq=f"{step_s}s")
            frame = pd.DataFrame({"Zeit": times.strftime("%d.%m.%Y %H:%M:%S")})
            for name in columns:
                frame[name] = rng.uniform(0, 3000, count).round(2)
            frame.to_csv(file, sep=";", decimal=",", header=False, index=False)


def measured(name: str, words: Sequence[str], rows: int) -> dict:
    """Import a file; returns its row of the table."""
    command = [sys.executable, str(ROOT / "sources.py"), "import", *words, "--tz", "Etc/GMT-1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "file": name,
        "rows": rows,
        "exit": process.returncode,
        "cpu_s": used.ru_utime + used.ru_stime,
        "memory_mb": used.ru_maxrss / 1024,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the long file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        wide, long = folder / "wide.csv", folder / "long.csv"
        write(wide, 70_000, 900, ("Last", "PV", "Wind", "Preis"))
        words = ["--load", "Last:kW:l", "--solar", "PV:kW:s", "--wind", "Wind:kW:w"]
        words += ["--price", "Preis:EUR/MWh:p", "--output", str(folder / "a")]
        found.append(measured("4 columns", [str(wide), *words], 70_000))
        write(long, args.rows, 10, ("Last",))
        words = [str(long), "--load", "Last:kW:l", "--output", str(folder / "b")]
        found.append(measured("1 column", words, args.rows))
    print_rows(found, "Imports")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
