"""A past is replayed through the whole plant, with kills; then plans, rows and memory are checked.

    python benchmarks/bench_soak.py [--days 14] [--speed 1800] [--every-min 60] [--step-min 60]
                                    [--kills 6] [--late 20] [--corrected 10] [--silent-h 72]
                                    [--train-h 168] [--twice] [--seed N]
                                    [--folder FOLDER] [--minutes N]

Synthetic rows go as the clock passes them through Kafka and the sink of `pipeline.py operate` into
the database. Of two such processes one leads. A simulated device does what the newest plan says for
each step, and its state comes back as measured. Meanwhile a random process is killed with -9 and
begun again, values come late or corrected, some of them while they wait in Kafka and the leader is
killed, and a load is silent for hours. Then must hold: no plan missing for more than 2 periods,
each step obeyed by a plan made before its end, each plan from a state that was there, all rows in
the database with their newest values, and both processes ended by SIGTERM with 0. The ledger must
equal a recomputation from rows and measured states to 0.01 EUR. `--twice` replays it without the
faults first, and the savings with them must be 0.97 of those without. Models are trained every
`--train-h` hours. Memory is the last tenth over the second tenth, of each process that leads at
least half as long as the one that leads longest. Runs on embedded servers of its own in a temporary
folder; exit 1 if something does not hold. The device reads the plan from the database.

With `--folder` all is kept there, and the same command goes on where it was stopped or killed.
`--minutes` stops after so long on the wall, and checks what was replayed until then.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


import embedded
from benchmarks.soak import Soak
from vpp.runtime.tables import print_rows

LEAST_SHARE = 0.97  # of the savings without faults


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    numbers = {"--days": 14, "--every-min": 60, "--step-min": 60, "--kills": 6, "--late": 20}
    numbers |= {"--corrected": 10}
    for name, default in (numbers | {"--silent-h": 72, "--train-h": 168, "--seed": 1}).items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--speed", type=float, default=1800.0)
    parser.add_argument("--twice", action="store_true", help="without the faults, too")
    parser.add_argument("--folder", type=Path, help="where all is kept; it goes on there")
    parser.add_argument("--minutes", type=float, help="stops after so long on the wall [min]")
    return parser


def replayed(kept: Path | None, **events: Any) -> dict[str, Any]:
    """One replay, in a folder of its own unless all is kept."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    with nullcontext(kept) if kept is not None else tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder).resolve(), **events)
        try:
            return soak.run()
        finally:
            embedded.stop(soak.config.paths.state_dir, delete=kept is None)


def main(argv: Sequence[str] | None = None) -> int:
    args = vars(build_parser().parse_args(argv))
    seen, folder = [], args.pop("folder")
    if args.pop("twice"):
        calm = args | {"kills": 0, "late": 0, "corrected": 0, "silent_h": 0}
        seen.append({"faults": [], **replayed(folder and folder / "calm", **calm)})
    seen.append(replayed(folder and folder / "faults", **args))
    faults = [fault for row in seen for fault in row.pop("faults")]
    if len(seen) == 2:
        share = seen[1]["saved_eur"] / seen[0]["saved_eur"]
        seen = [row | {"share": share} for row in seen]
        if share < LEAST_SHARE:
            faults.append(f"with faults only {share:.3f} of the savings is left")
    print_rows(seen)
    for fault in faults:
        print(f"does not hold: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
