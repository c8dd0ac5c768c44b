"""The section `[serve]` of the configuration: where `serve.py` listens, and what it computes.

python serve.py
"""

from dataclasses import dataclass

from vpp.runtime.fields import Section, number


@dataclass(frozen=True)
class Serve(Section):
    """`[serve]`: the page and the HTTP API.

    Parameters
    ----------
    host : address to listen on; 0.0.0.0 opens it to other machines, without encryption.
    port : port to listen on; 0: one that is free.
    token : opens the page and the API, of 20 characters or more; empty: one that is made at the
        first start, in the state folder.
    solve_jobs : so many problems are solved at the same time; others wait.
    solve_limit_s : the solver gets so many seconds for a problem at most.
    """

    host: str = "127.0.0.1"
    port: int = number(8080, 0, 65535)
    token: str = ""
    solve_jobs: int = number(2, 1, 64)
    solve_limit_s: float = number(60.0, 1, 3600)
