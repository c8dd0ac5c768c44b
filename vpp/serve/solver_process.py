"""A process that solves problem files for the server, one after the other, until its input ends.

It reads a problem from stdin and writes a status and a result to stdout, each after its length in
four bytes. So a solve never holds the server up, and the server may kill it at any time.

    python -m vpp.serve.solver_process 60 highs

with the longest time of a solve [s] and the solver's name.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vpp.runtime.errors import FieldError, VppError
from vpp.runtime.words import in_one_line, in_words

MOST_BYTES = (
    6 << 30
)  # of address space: a problem that needs more is refused, and nothing else dies
LENGTH_BYTES = 4
WARM_UP = b'{"step_min": 60, "import_price_eur_per_mwh": [1, 2], "batteries": []}'


def answer(body: bytes, limit_s: float, solver: str) -> tuple[int, bytes]:
    """The HTTP status and the JSON text that answer a problem file.

    Parameters
    ----------
    body : the problem file.
    limit_s : the solver's longest time [s].
    solver : `highs` or `cbc`.

    Returns
    -------
    200 with a result file, 422 where the problem cannot be used, 503 where it is too large.
    """
    from vpp.schedule.problem_file import problem_of_text, result_json
    from vpp.schedule.solver import solve

    try:
        problem = problem_of_text(body.decode("utf-8-sig"))
        problem = replace(problem, time_limit_s=min(problem.time_limit_s, limit_s))
        result = solve(problem, solver)
        return 200, json.dumps(result_json(problem, result), allow_nan=False).encode()
    except UnicodeDecodeError:
        return 422, refusal("not a JSON file: expected text in UTF-8")
    except (VppError, FieldError) as error:
        return 422, refusal(str(error))
    except Exception as error:
        return 503, refusal(f"the problem could not be solved: {in_words(error)}")


def refusal(why: str) -> bytes:
    """The JSON text of a refusal: one line."""
    return json.dumps({"detail": in_one_line(why)}).encode()


def read_block(source: BinaryIO) -> bytes | None:
    """The bytes after a length; None at the end of the input."""
    head = source.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    return source.read(int.from_bytes(head, "big"))


def main() -> int:
    """Solve what comes until the input ends."""
    limit_s, solver = float(sys.argv[1]), sys.argv[2]
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints writes to the log, not into an answer
    with suppress(OSError):  # where memory runs out, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    answer(WARM_UP, limit_s, solver)  # imports what it needs
    output.write(b"\0" * LENGTH_BYTES)  # it is ready
    output.flush()
    while (body := read_block(sys.stdin.buffer)) is not None:
        status, text = answer(body, limit_s, solver)
        output.write((len(text) + 2).to_bytes(LENGTH_BYTES, "big") + status.to_bytes(2, "big"))
        output.write(text)
        output.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
