"""A problem file is solved, and its result file written, without a database.

python optimization.py solve --input problem.json --output result.json
"""

import json
import logging
from pathlib import Path

from vpp.runtime.files import check_writable, replacing_file
from vpp.schedule.problem import InfeasibleScheduleError
from vpp.schedule.problem_file import read_problem, result_json

logger = logging.getLogger("optimization")


def solve_file(source: Path, output: Path, solver: str) -> dict:
    """Solve a problem file and write the result file.

    Parameters
    ----------
    source : the problem file.
    output : the result file.
    solver : highs or cbc.

    Returns
    -------
    status, certificate, binaries, gap, cost_eur, objective_eur, violations and seconds.

    Raises
    ------
    ConfigError : a file cannot be read or written.
    InfeasibleScheduleError : there is no schedule; the result file says so too.
    """
    problem = read_problem(source)
    check_writable(output, "--output")
    from vpp.schedule.hints import hints
    from vpp.schedule.solver import solve

    for hint in hints(problem):
        logger.warning("%s: %s; planned as it is", source, hint)
    result = solve(problem, solver)
    text = json.dumps(result_json(problem, result), indent=1, allow_nan=False)
    with replacing_file(output, "--output") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    if result.schedule is None:
        raise InfeasibleScheduleError(f"{source}: infeasible: {result.cause}")
    return {
        "status": result.status,
        "certificate": result.certificate.word,
        "binaries": result.certificate.binaries,
        "gap": result.certificate.gap,
        "cost_eur": result.cost_eur,
        "objective_eur": result.objective_eur,
        "violations": len(result.violations),
        "seconds": result.certificate.seconds,
    }
