"""`[portfolio]`: limits and position that all sites have in common.

python -c "from vpp.runtime.portfolio_settings import Portfolio; print(Portfolio())"
"""

import math
from dataclasses import dataclass

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, number

HOURS_OF_DAY = 24


@dataclass(frozen=True)
class Portfolio(Section):
    """`[portfolio]`: limits and position that the sites of a price area have in common.

    They speak of the exchange of all these sites together: their imports less their exports.

    Parameters
    ----------
    price_area : the sites of this bidding zone are the portfolio; empty: all sites.
    import_limit_kw : largest exchange from the grid of all sites together; inf: no limit.
    export_limit_kw : largest exchange to the grid of all sites together; inf: no limit.
    position_kw : net purchase already made for all sites, below 0 where sold; one number, or 24 of
        the local hours from 0 on, with commas; empty: none.
    short_surcharge_eur_per_mwh : paid, beside the sites' prices, for what they take beyond the
        position.
    long_discount_eur_per_mwh : kept back, beside the sites' prices, from what they leave of it.
    """

    price_area: str = ""
    import_limit_kw: float = number(math.inf, 0)
    export_limit_kw: float = number(math.inf, 0)
    position_kw: tuple[str, ...] = ()
    short_surcharge_eur_per_mwh: float = number(0.0, 0)
    long_discount_eur_per_mwh: float = number(0.0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        told, wanted = ", ".join(self.position_kw), "one number, 24 numbers with commas, or nothing"
        try:
            values = [float(value) for value in self.position_kw]
        except ValueError:
            raise FieldError("position_kw", told, wanted) from None
        if len(values) not in (0, 1, HOURS_OF_DAY) or not all(map(math.isfinite, values)):
            raise FieldError("position_kw", told, wanted)

    @property
    def position_by_hour(self) -> tuple[float, ...]:
        """The position in each local hour of the day [kW]; empty where there is none."""
        values = tuple(map(float, self.position_kw))
        return values * HOURS_OF_DAY if len(values) == 1 else values

    @property
    def couples(self) -> bool:
        """Whether the sites have anything in common."""
        limits = (self.import_limit_kw, self.export_limit_kw)
        priced = self.short_surcharge_eur_per_mwh or self.long_discount_eur_per_mwh
        return not all(map(math.isinf, limits)) or bool(self.position_kw and priced)
