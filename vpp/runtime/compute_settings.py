"""The section `[compute]`: which machines do the work."""

from dataclasses import dataclass

from vpp.runtime.fields import Section, choice


@dataclass(frozen=True)
class Compute(Section):
    """`[compute]`: where trainings and forecasts run.

    Parameters
    ----------
    engine : local: processes of this machine; dask: the workers of a Dask scheduler, which reach
        the servers of [database] and [mlflow] under the same addresses.
    address : of the scheduler, such as tcp://10.0.0.5:8786, or tls://.
    """

    engine: str = choice("local", "local", "dask")
    address: str = ""
