"""The section `[operation]`: when the jobs of a plant in operation run.

python -c "from vpp.runtime.operation_settings import Operation; print(Operation())"
"""

from dataclasses import dataclass

from vpp.runtime.fields import Section, choice, number


@dataclass(frozen=True)
class Operation(Section):
    """`[operation]`: when `pipeline.py operate` plans, values and trains.

    Parameters
    ----------
    plan_every_min : a plan on the clock each so many minutes, from midnight UTC on; one more within
        a minute of an override or a measured state.
    state_max_age_min : a plan starts from a measured state that is at most so old; else from
        the last plan, carried forward to now.
    value_every_min : the newest plan whose intervals are past is valued each so many minutes; 0:
        never.
    retrain_every_h : models are trained again each so many hours; 0: never.
    follow : yes where the batteries follow the meter beside the plan, as home batteries can: where
        it has no exchange with the grid, they keep it at 0; auto: where no price is the market's.
    """

    plan_every_min: int = number(60, 1, 24 * 60)
    state_max_age_min: float = number(15.0, 0)
    value_every_min: int = number(1440, 0)
    retrain_every_h: int = number(168, 0)
    follow: str = choice("auto", "auto", "no", "yes")
