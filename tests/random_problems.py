"""Random problem files over the whole schema: few intervals, every feature, limits that bend.

The same seed gives the same problem. Numbers have few digits, as people write them.
"""

import datetime
import random

STEPS = (5, 15, 15, 30, 60, 60, 60)
ZONES = ("UTC", "Europe/Luxembourg", "Europe/Brussels", "America/New_York", "Australia/Adelaide")
# the hours around which local clocks change, and days on which they do not
STARTS = ("2025-03-29T22:00", "2025-10-25T22:00", "2025-11-02T03:00", "2025-04-05T14:00")
DAYS = ("2025-01-15T16:00", "2025-06-30T20:00", "2024-12-31T21:00")


class Maker:
    """Draws the parts of one problem."""

    def __init__(self, seed: int, step_min: int | None = None):
        self.random = random.Random(seed)
        self.count = self.random.randint(3, 12)
        drawn = self.random.choice(STEPS)
        self.step_min = step_min or drawn
        self.hours = self.step_min / 60

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def number(self, low: float, high: float, digits: int = 1) -> float:
        return round(self.random.uniform(low, high), digits)

    def values(self, low: float, high: float, digits: int = 1) -> list:
        return [self.number(low, high, digits) for _ in range(self.count)]

    def series(self, low: float, high: float, digits: int = 1):
        """A number or a list."""
        return self.values(low, high, digits) if self.maybe(0.6) else self.number(low, high, digits)

    def limits(self, low: float, high: float) -> list:
        return [None if self.maybe(0.3) else self.number(low, high) for _ in range(self.count)]

    def prices(self) -> list:
        """Levels with equal neighbours, at times below 0."""
        levels = [self.random.choice((-60, 0, 20, 50, 100, 150, 200, 300)) for _ in range(4)]
        if self.maybe(0.5):
            levels = [abs(level) for level in levels]
        jitter = self.maybe(0.5)
        chosen = [self.random.choice(levels) for _ in range(self.count)]
        return [x + self.random.randint(-9, 9) * jitter for x in chosen]

    def efficiency(self) -> float:
        return self.random.choice((1, 1, 0.95, 0.9, 0.8))

    def problem(self) -> dict:
        start = self.random.choice(STARTS if self.maybe(0.4) else DAYS)
        begins = datetime.datetime.fromisoformat(start).replace(tzinfo=datetime.UTC)
        begins += datetime.timedelta(minutes=self.step_min * self.random.randint(0, 12))
        made = {
            "step_min": self.step_min,
            "start": begins.isoformat().replace("+00:00", "Z"),
            "time_zone": self.random.choice(ZONES),
            "import_price_eur_per_mwh": self.prices(),
            "gap": 1e-8,
            "curtailable": self.maybe(0.7),
        }
        if self.maybe(0.8):
            made["load_kw"] = self.values(0, 8) if self.maybe(0.9) else self.values(-2, 6)
        if self.maybe(0.7):
            made["renewables_kw"] = self.values(0, 9)
        made |= self._exports(made["import_price_eur_per_mwh"])
        if self.maybe(0.15):
            made |= {"co2_kg_per_mwh": self.values(0, 500), "co2_price_eur_per_t": 80}
        made["grid"] = self.grid()
        self.devices(made)
        self.plan_before(made)
        self.money_beside(made)
        return made

    def _exports(self, imports: list) -> dict:
        kind = self.random.random()
        if kind < 0.2:
            return {}
        if kind < 0.6:
            return {
                "export_price_eur_per_mwh": [x - self.random.choice((0, 10, 60)) for x in imports]
            }
        if kind < 0.8:
            return {"export_price_eur_per_mwh": [x + 15 for x in imports]}
        return {"export_price_eur_per_mwh": self.random.choice((0, 50, 80))}

    def grid(self) -> dict:
        grid = {}
        for name in ("import_limit_kw", "export_limit_kw"):
            if self.maybe(0.35):
                grid[name] = self.limits(0, 9) if self.maybe(0.4) else self.number(1, 14)
        if self.maybe(0.15):
            grid |= {"peak_price_eur_per_kw": self.number(0.1, 3), "peak_so_far_kw": 1}
        if self.maybe(0.3) and self.step_min <= 60:
            grid["peaks"] = [self.peak() for _ in range(self.random.randint(1, 2))]
        return grid

    def peak(self) -> dict:
        lengths = [x for x in (5, 10, 15, 20, 30, 60) if x % self.step_min == 0]
        peak = {
            "price_eur_per_kw": self.number(0.1, 4),
            "interval_min": self.random.choice(lengths),
        }
        if self.maybe(0.5):
            peak["so_far_kw"] = self.number(0, 3)
        if self.maybe(0.5):
            peak["running_interval_kwh"] = self.number(0, 2)
        if self.maybe(0.5):
            window = {}
            if self.maybe(0.3):
                window["months"] = self.random.sample(range(1, 13), 6)
            if self.maybe(0.3):
                window["weekdays"] = self.random.sample(range(1, 8), 4)
            if self.maybe(0.6):
                window["hours"] = sorted(self.random.sample(range(24), 12))
            peak["window"] = window
        return peak

    def devices(self, made: dict) -> None:
        counts = {kind: self.maybe(chance) for kind, chance in DEVICES.items()}
        for kind, wanted in counts.items():
            if wanted:
                number = 2 if self.maybe(0.25) else 1
                made[kind] = [getattr(self, kind)(f"{kind}-{i}") for i in range(number)]
        batteries = made.get("batteries", [])
        if batteries and self.maybe(0.25):
            names = [battery["battery_id"] for battery in batteries]
            share = self.random.choice((0, 0.5, 1)) if "renewables_kw" in made else 0
            inverter = {"inverter_id": "hybrid", "ac_kw": self.number(1, 8), "batteries": names}
            made["inverters"] = [inverter | {"renewables_share": share}]

    def batteries(self, name: str) -> dict:
        fraction = lambda: self.number(0, 1, 2)  # noqa: E731
        low, high = sorted((self.number(0, 0.4, 2), self.number(0.5, 1, 2)))
        battery = {
            "battery_id": name,
            "capacity_kwh": self.number(2, 15),
            "charge_kw": self.values(0, 6) if self.maybe(0.2) else self.number(1, 6),
            "discharge_kw": self.values(0, 6) if self.maybe(0.2) else self.number(0, 6),
            "eta_charge": self.efficiency(),
            "eta_discharge": self.efficiency(),
        }
        inside = self.number(low, high, 2)
        fields = {
            "soc_initial": (0.8, lambda: inside if self.maybe(0.8) else fraction()),
            "soc_min": (0.5, lambda: self.values(0, 0.4, 2) if self.maybe(0.2) else low),
            "soc_max": (0.5, lambda: self.values(0.5, 1, 2) if self.maybe(0.2) else high),
            "wear_eur_per_mwh": (0.3, lambda: self.random.choice((5, 30))),
            "self_discharge_per_h": (0.15, lambda: 0.02),
            "cycles_per_day_max": (0.2, lambda: self.random.choice((0.3, 1))),
            "cycles_so_far": (0.1, lambda: 0.2),
            "charge_min_kw": (0.2, lambda: self.number(0.2, 2)),
            "grid_charging": (0.15, lambda: False),
            "grid_discharging": (0.15, lambda: False),
            "charge_curve": (0.15, lambda: self.curve(battery["charge_kw"])),
            "discharge_curve": (0.1, lambda: self.curve(battery["discharge_kw"], rising=True)),
            "wear_curve": (0.15, self.wear_curve),
        }
        return self._with(battery, fields) | self._targets(fraction)

    def _with(self, device: dict, fields: dict) -> dict:
        """The device and those of the fields that are drawn."""
        for name, (chance, make) in fields.items():
            if self.maybe(chance):
                device[name] = make()
        return device

    def _targets(self, fraction) -> dict:
        kind, targets = self.random.random(), {}
        if kind < 0.2:
            targets["soc_final"] = fraction()
        elif kind < 0.4:
            targets["soc_final_min"] = fraction()
        elif kind < 0.6:
            targets["terminal_value_eur_per_mwh"] = self.random.choice((0, 80, 200))
        if self.maybe(0.2):
            interval = self.random.randrange(self.count)
            targets["soc_targets"] = [{"interval": interval, "soc_min": fraction()}]
        return targets

    def curve(self, rating, rising: bool = False) -> list:
        """Full power up to a knee, then less; or the mirror image of it."""
        full = max(rating) if isinstance(rating, list) else rating
        knee, end = self.number(0.3, 0.8, 2), round(full * self.random.choice((0.1, 0.4)), 2)
        if rising:
            return [[0, end], [knee, full], [1, full]]
        return [[0, full], [knee, full], [1, end]]

    def wear_curve(self) -> list:
        return [[self.number(0.2, 0.6, 2), self.random.choice((0, 10))], [1, 60]]

    def vehicles(self, name: str) -> dict:
        vehicle = {
            "vehicle_id": name,
            "capacity_kwh": self.number(10, 40),
            "charge_kw": self.number(2, 11),
            "eta_charge": self.efficiency(),
            "sessions": self.sessions(),
        }
        fields = {
            "discharge_kw": (0.3, lambda: self.number(1, 6)),
            "eta_discharge": (0.5, self.efficiency),
            "charge_min_kw": (0.4, lambda: self.random.choice((1.4, 2))),
            "charge_curve": (0.15, lambda: self.curve(vehicle["charge_kw"])),
            "soc_min": (0.2, lambda: 0.15),
            "soc_max": (0.2, lambda: 0.9),
            "wear_eur_per_mwh": (0.3, lambda: 20),
        }
        return self._with(vehicle, fields)

    def sessions(self) -> list:
        found, arrival = [], self.random.randint(0, 2)
        while arrival < self.count and len(found) < 3:
            departure = arrival + self.random.randint(1, self.count)
            session = {
                "arrival": arrival,
                "departure": departure,
                "soc_arrival": self.number(0, 0.8, 2),
            }
            if self.maybe(0.8):
                session["soc_departure_min"] = self.number(0, 1, 2)
            found.append(session)
            arrival = departure + self.random.randint(0, 3)
        return found

    def deferrable_loads(self, name: str) -> dict:
        load = {"load_id": name}
        if self.maybe(0.7):
            load["earliest"] = self.random.randint(0, self.count - 2)
        if self.maybe(0.7):
            load["latest"] = self.random.randint(load.get("earliest", 0) + 1, self.count)
        if self.maybe(0.35):
            length = self.random.randint(1, 4)
            return load | {"profile_kw": [self.number(0, 3) for _ in range(length)][:-1] + [1.2]}
        runs, most = self.random.randint(1, self.count), self.number(1, 4)
        least = self.random.choice((0, 0.5, 1)) * most
        power = self.random.uniform(least, most)
        load |= {"energy_kwh": round(runs * self.hours * power, 6), "power_kw": most}
        if least:
            load |= {"min_power_kw": least, "contiguous": self.maybe(0.5)}
            if least == most:
                load["energy_kwh"] = runs * self.hours * most
        return load

    def heat_stores(self, name: str) -> dict:
        capacity = self.number(4, 20)
        store = {
            "store_id": name,
            "capacity_kwh": capacity,
            "energy_initial_kwh": self.number(0, capacity),
            "demand_kw": self.series(0, 5),
            "heat_pump_kw": self.number(0.5, 3),
            "cop": self.series(2, 4.5),
        }
        fields = {
            "energy_min_kwh": (0.4, lambda: self.number(0, capacity / 2)),
            "energy_final_min_kwh": (0.4, lambda: self.number(0, capacity)),
            "loss_per_h": (0.5, lambda: self.random.choice((0.01, 0.1))),
            "rod_kw": (0.5, lambda: self.number(0.5, 3)),
        }
        return self._with(store, fields)

    def plan_before(self, made: dict) -> None:
        batteries = made.get("batteries", [])
        if not batteries or self.maybe(0.75):
            return
        plans = []
        for battery in batteries:
            charge = [self.random.choice((None, 0, 0, 1.5)) for _ in range(self.count)]
            discharge = [
                None if c is None else self.random.choice((0, 0 if c else 1)) for c in charge
            ]
            plan = {"battery_id": battery["battery_id"], "charge_kw": charge}
            plans.append(plan | {"discharge_kw": discharge})
        made["previous"] = {"batteries": plans}
        if self.maybe(0.7):
            made["change_price_eur_per_mwh"] = self.random.choice((5, 40))

    def money_beside(self, made: dict) -> None:
        """A fee, a position with deviation prices, scenarios."""
        if self.maybe(0.15):
            made["import_fee_eur_per_mwh"] = self.values(0, 80)
        imports = made["import_price_eur_per_mwh"]
        export = made.get("export_price_eur_per_mwh", imports)
        exports = export if isinstance(export, list) else [export] * self.count
        with_scenarios, with_position = self.maybe(0.15), self.maybe(0.15)
        if with_position:
            self.position(made, imports, exports)
        if with_scenarios:
            self.scenarios(made, imports, exports)

    def position(self, made: dict, imports: list, exports: list) -> None:
        made["position_kw"] = self.values(-4, 6)
        if self.maybe(0.5):
            made["position_price_eur_per_mwh"] = [x - 5 for x in imports]
        pairs = list(zip(imports, exports, strict=True))
        if self.maybe(0.7) or any(a < b for a, b in pairs):
            made["deviation_short_eur_per_mwh"] = [max(pair) + 20 for pair in pairs]
            made["deviation_long_eur_per_mwh"] = [min(pair) - 20 for pair in pairs]

    def scenarios(self, made: dict, imports: list, exports: list) -> None:
        made["common"] = self.random.choice(("first", "first", "all", "position"))
        chances = self.random.choice(([0.5, 0.5], [0.3, 0.7], [0.5, 0.3, 0.2]))
        made["scenarios"] = [self.scenario(chance, made) for chance in chances]
        if self.maybe(0.4):
            made |= {"risk_weight": self.random.choice((0.3, 1)), "risk_level": 0.6}
        if made["common"] == "position":
            made.pop("position_kw", None)
            made.pop("position_price_eur_per_mwh", None)
            made["grid"] |= {"import_limit_kw": self.number(2, 14), "export_limit_kw": 6}
        sided = made["common"] == "position" or "position_kw" in made
        if sided:  # no scenario may have short below long
            own = [s.get("import_price_eur_per_mwh", imports) for s in made["scenarios"]]
            highest = [max(column) for column in zip(*own, imports, exports, strict=True)]
            made["deviation_short_eur_per_mwh"] = [x + 20 for x in highest]
            made["deviation_long_eur_per_mwh"] = [x - 20 for x in exports]

    def scenario(self, chance: float, made: dict) -> dict:
        scenario = {"probability": chance}
        if self.maybe(0.6):
            scenario["import_price_eur_per_mwh"] = self.prices()
        if "load_kw" in made and self.maybe(0.5):
            scenario["load_kw"] = self.values(0, 8)
        if "renewables_kw" in made and self.maybe(0.5):
            scenario["renewables_kw"] = self.values(0, 9)
        return scenario


DEVICES = {"batteries": 0.8, "vehicles": 0.25, "deferrable_loads": 0.25, "heat_stores": 0.25}


def random_problem(seed: int, step_min: int | None = None) -> dict:
    """The problem of a seed.

    Parameters
    ----------
    seed : any whole number.
    step_min : length of its intervals [min]; default drawn.

    Returns
    -------
    The content of a problem file.
    """
    return Maker(seed, step_min).problem()
