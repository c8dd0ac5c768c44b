"""The sections of flexible loads: `[vehicle:NAME]`, `[deferrable:NAME]`, `[heat:NAME]`.

The comments of config.ini say the same of each key. `vpp.planning.flexible` makes devices of a plan
of them. Powers are electric and at the AC terminals [kW], energies [kWh].
"""

from dataclasses import dataclass

from vpp.runtime.errors import FieldError
from vpp.runtime.fields import Section, choice, number
from vpp.runtime.windows import EXPECTED, Window, parse_windows

HOURS_OF_DAY = 24


def _checked_windows(key: str, text: str) -> None:
    try:
        windows = parse_windows(text)
    except ValueError:
        windows = ()
    if not windows:
        raise FieldError(key, text, EXPECTED)


def _checked_numbers(key: str, values: tuple[str, ...], counts: tuple[int, ...] = ()) -> None:
    """Refuse texts that are no numbers of 0 or more, or another number of them."""
    try:
        wrong = any(not 0 <= float(value) < float("inf") for value in values)
    except ValueError:
        wrong = True
    if wrong or not values or (counts and len(values) not in counts):
        how_many = f"{' or '.join(map(str, counts))} " if counts else ""
        raise FieldError(key, ", ".join(values), f"{how_many}numbers of 0 or more, with commas")


@dataclass(frozen=True)
class VehicleParameters(Section):
    """An electric vehicle, its charger and its usual stays.

    Parameters
    ----------
    vehicle_id : the NAME of its section.
    stays : when it is connected, in local time, such as Mon-Fri 18:00-07:00; Sat,Sun 20:00-10:00.
    capacity_kwh : energy between a state of charge of 0 and of 1.
    charge_kw : largest charging power.
    charge_min_kw : it charges at 0 or at least at this power.
    discharge_kw : largest power that it gives to the site; 0: none.
    eta_charge : stored energy over charged energy.
    eta_discharge : delivered energy over energy taken from its battery.
    soc_min : lowest state of charge that plans use while it is connected.
    soc_max : highest state of charge that plans use.
    soc_arrival : state of charge with which it comes, where nothing measured says another.
    soc_departure_min : least state of charge wanted when it leaves.
    wear_eur_per_mwh : cost of ageing for each MWh that it gives.
    """

    vehicle_id: str
    stays: str = "17:00-07:00"
    capacity_kwh: float = number(60.0, above=0)
    charge_kw: float = number(11.0, 0)
    charge_min_kw: float = number(0.0, 0)
    discharge_kw: float = number(0.0, 0)
    eta_charge: float = number(0.92, high=1, above=0)
    eta_discharge: float = number(0.92, high=1, above=0)
    soc_min: float = number(0.0, 0, 1)
    soc_max: float = number(1.0, 0, 1)
    soc_arrival: float = number(0.5, 0, 1)
    soc_departure_min: float = number(0.8, 0, 1)
    wear_eur_per_mwh: float = number(0.0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked_windows("stays", self.stays)
        if self.soc_min > self.soc_max:
            expected = f"a fraction not above soc_max = {self.soc_max:g}"
            raise FieldError("soc_min", self.soc_min, expected)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of its stays."""
        return parse_windows(self.stays)


@dataclass(frozen=True)
class DeferrableParameters(Section):
    """A load that runs once in each of its windows.

    Parameters
    ----------
    load_id : the NAME of its section.
    window : when it may run, in local time, such as Mon-Sat 20:00-07:00.
    energy_kwh : energy of a run.
    power_kw : largest power while it is on.
    min_power_kw : least power while it is on.
    contiguous : yes where it must run without a break, which takes a least power; else no.
    profile_kw : powers of a run from its start on, with commas, in place of the four keys above.
    profile_min : length of each power of the profile.
    """

    load_id: str
    window: str = "20:00-07:00"
    energy_kwh: float = number(1.0, above=0)
    power_kw: float = number(2.0, above=0)
    min_power_kw: float = number(0.0, 0)
    contiguous: str = choice("no", "no", "yes")
    profile_kw: tuple[str, ...] = ()
    profile_min: int = number(15, 1, 1440)

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked_windows("window", self.window)
        if self.min_power_kw > self.power_kw:
            expected = f"at most power_kw = {self.power_kw:g}"
            raise FieldError("min_power_kw", self.min_power_kw, expected)
        if self.contiguous == "yes" and not self.min_power_kw and not self.profile_kw:
            raise FieldError("min_power_kw", 0, "more than 0, as contiguous needs it")
        if self.profile_kw:
            _checked_numbers("profile_kw", self.profile_kw)
            if not max(self.powers_kw) > 0:
                raise FieldError("profile_kw", ", ".join(self.profile_kw), "a power above 0")

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows in which it runs."""
        return parse_windows(self.window)

    @property
    def powers_kw(self) -> tuple[float, ...]:
        """The powers of its profile [kW]; none where it has no profile."""
        return tuple(map(float, self.profile_kw))


@dataclass(frozen=True)
class HeatParameters(Section):
    """A tank or a building with its heat pump, its heating rod and its demand.

    Parameters
    ----------
    store_id : the NAME of its section.
    capacity_kwh : heat that it holds when it is full.
    energy_initial_kwh : heat in it where no plan before says another.
    energy_min_kwh : least heat that is of use.
    demand_kw : heat that is drawn; one number, or 24 of the local hours from 0 on, with commas.
    loss_per_h : fraction of its heat lost in an hour.
    heat_pump_kw : largest electric power of the heat pump.
    cop : heat over electricity of the heat pump; one number, or 24 of the local hours.
    rod_kw : largest electric power of the heating rod; 0: none.
    """

    store_id: str
    capacity_kwh: float = number(20.0, above=0)
    energy_initial_kwh: float = number(10.0, 0)
    energy_min_kwh: float = number(0.0, 0)
    demand_kw: tuple[str, ...] = ("2",)
    loss_per_h: float = number(0.01, 0, 1)
    heat_pump_kw: float = number(2.0, 0)
    cop: tuple[str, ...] = ("3",)
    rod_kw: float = number(0.0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("energy_initial_kwh", "energy_min_kwh"):
            if getattr(self, name) > self.capacity_kwh:
                expected = f"at most capacity_kwh = {self.capacity_kwh:g}"
                raise FieldError(name, getattr(self, name), expected)
        for name in ("demand_kw", "cop"):
            _checked_numbers(name, getattr(self, name), (1, HOURS_OF_DAY))

    def by_hour(self, key: str) -> list[float]:
        """A number for each local hour of the day.

        Parameters
        ----------
        key : `demand_kw` [kW] or `cop`.

        Returns
        -------
        24 numbers.
        """
        values = [float(value) for value in getattr(self, key)]
        return values * HOURS_OF_DAY if len(values) == 1 else values
