"""Changes the code a little, everywhere, and tells how many changes a test has seen, by module.

    python tests/mutants.py --max-children 4 "vpp.stream.*"

Without a name all modules that pyproject.toml lists are changed; results that are there already
are kept. Tests of the stream find servers that live as long as the run. Everything is written to
`mutants/`. Exit 1 where fewer changes are seen than must be.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

ROOT = Path(__file__).resolve().parent.parent
SEEN_MIN = 0.85
SEEN = {"killed", "timeout", "segfault", "suspicious"}


def run(arguments: list[str]) -> int:
    """Run mutmut, with servers for the tests that need them; its exit code."""
    import embedded

    with tempfile.TemporaryDirectory(prefix="vpp-") as place:
        try:
            servers = embedded.ensure_running(Path(place), wait_s=60)
            addresses = {
                "VPP_TEST_DATABASE_URL": servers.database_url,
                "VPP_TEST_KAFKA": servers.bootstrap_servers,
            }
            command = [sys.executable, "-m", "mutmut", "run", *arguments]
            return subprocess.call(command, cwd=ROOT, env={**os.environ, **addresses})
        finally:
            embedded.stop(Path(place), delete=True)


def results() -> dict[str, Counter]:
    """How many changes of each module had which fate."""
    found = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found[str(path)] = Counter(
            status_by_exit_code[code] for code in data.exit_code_by_key.values()
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--max-children",
        default=str(6 * (os.cpu_count() or 1)),
        help="changes tested at once; tests of the stream mostly wait",
    )
    parser.add_argument("names", nargs="*", help="only these changes")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    failed = run(["--max-children", args.max_children, *args.names])
    if failed:
        return failed
    total: Counter = Counter()
    for path, fates in {**results(), "all": total}.items():
        total += fates if fates is not total else Counter()
        tried = fates.total() - fates["not checked"]
        seen = sum(fates[fate] for fate in SEEN)
        share = f"{seen / tried:6.1%}" if tried else "     -"
        print(f"{share} of {tried:5}  {path}  {dict(fates - Counter(killed=fates['killed']))}")
    tried = total.total() - total["not checked"]
    return int(sum(total[fate] for fate in SEEN) < SEEN_MIN * tried)


if __name__ == "__main__":
    raise SystemExit(main())
