"""Solves of problem files in processes of their own, so many at a time, each within a time limit.

python -c "from vpp.serve.solves import Solves; print(Solves.__doc__)"
"""

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

from vpp.runtime.parallel import module_command
from vpp.serve.solver_process import LENGTH_BYTES, refusal

MOST_WAITING = 64  # problems that wait for a process; more are refused
START_S = 120.0  # until a process has imported what it needs, on a busy machine
TIMES_THE_LIMIT, GRACE_S = 1.5, 10.0  # after the solver's time comes the check of its schedule


class Solves:
    """Processes that solve problem files.

    Parameters
    ----------
    jobs : so many processes.
    limit_s : longest time of the solver [s].
    solver : `highs` or `cbc`.
    """

    def __init__(self, jobs: int, limit_s: float, solver: str) -> None:
        self.jobs, self.limit_s, self.solver = jobs, limit_s, solver
        self.ready: asyncio.Queue[Process] = asyncio.Queue()
        self.waiting = 0
        self.processes: set[Process] = set()
        self.starting: set[asyncio.Task] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The processes for one block."""
        for _ in range(self.jobs):
            self._start_another()
        try:
            yield
        finally:
            for task in self.starting:
                task.cancel()
            for process in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _start_another(self) -> None:
        task = asyncio.create_task(self._start())
        self.starting.add(task)
        task.add_done_callback(self.starting.discard)

    async def _start(self) -> None:
        command, environment = module_command("vpp.serve.solver_process")
        arguments = (str(self.limit_s), self.solver)
        own = environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdin=PIPE, stdout=PIPE, env=own, cwd=os.sep
        )
        self.processes.add(process)
        assert process.stdout is not None
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(process.stdout.readexactly(LENGTH_BYTES), START_S)
        self.ready.put_nowait(process)

    async def solve(self, body: bytes) -> tuple[int, bytes]:
        """The HTTP status and the JSON text that answer a problem file.

        Cancelled, it ends the process that solves.

        Parameters
        ----------
        body : the problem file.
        """
        if self.waiting >= MOST_WAITING:
            return 503, refusal(f"{self.waiting} problems wait already; try again in a minute")
        self.waiting += 1
        try:
            process = await self.ready.get()
        finally:
            self.waiting -= 1
        is_usable = False
        try:
            answer = await asyncio.wait_for(
                self._exchange(process, body), TIMES_THE_LIMIT * self.limit_s + GRACE_S
            )
            is_usable = True
        except TimeoutError:
            answer = (
                503,
                refusal(
                    f"no schedule in {self.limit_s:g} s; ask for fewer intervals or devices, or "
                    "raise [serve] solve_limit_s"
                ),
            )
        except (asyncio.IncompleteReadError, ConnectionError):
            answer = (
                503,
                refusal(
                    "the solver's process ended; the problem may be too large for this machine"
                ),
            )
        finally:
            if is_usable:
                self.ready.put_nowait(process)
            else:
                self._replace(process)
        return answer

    async def _exchange(self, process: Process, body: bytes) -> tuple[int, bytes]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        content = await process.stdout.readexactly(length)
        return int.from_bytes(content[:2], "big"), content[2:]

    def _replace(self, process: Process) -> None:
        """Kill a process, and start another one."""
        self.processes.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        self._start_another()
