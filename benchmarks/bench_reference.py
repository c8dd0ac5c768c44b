"""Random problems over the whole schema: does the product find what a full-binary reference finds?

    python benchmarks/bench_reference.py --seeds 5000

Each problem of tests/random_problems.py goes to the product and to tests/reference.py, which makes
every choice a binary and shares no code with it. A problem is right where violations agree class by
class, money agrees to 1e-6, the bound is not above the best and the replay finds nothing.
"""

import argparse
import json
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from agreement import faults
from random_problems import random_problem

KINDS = (
    "batteries",
    "inverters",
    "vehicles",
    "deferrable_loads",
    "heat_stores",
    "position_kw",
    "scenarios",
    "previous",
)


def judged(seed: int) -> tuple[dict, list[str]]:
    """The problem of a seed and what is wrong with it; a crash is a fault, too."""
    raw = random_problem(seed)
    try:
        return raw, faults(raw)
    except Exception as error:
        return raw, [f"{type(error).__name__}: {error}", traceback.format_exc(limit=-3)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=5000, help="how many problems")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep", type=Path, help="folder for the problems that are wrong")
    args = parser.parse_args()
    wrong, counts, began = 0, Counter(), time.monotonic()
    for seed in range(args.first, args.first + args.seeds):
        raw, found = judged(seed)
        counts.update(kind for kind in KINDS if raw.get(kind))
        if found:
            wrong += 1
            counts.update(f"{kind}, wrong" for kind in KINDS if raw.get(kind))
            print(f"seed {seed}: {found[0][:200]}", flush=True)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                text = json.dumps({"seed": seed, "faults": found, "problem": raw}, indent=1)
                (args.keep / f"{seed}.json").write_text(text)
    print(f"{args.seeds - wrong} of {args.seeds} right in {time.monotonic() - began:.0f} s")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
