"""A home with a battery, a car, a heat pump and a washing machine, as a problem file.

python benchmarks/bench_optimization.py
"""

import numpy as np

WASHING_KW = [2, 0.6, 0.3, 0.3, 0.5, 0.8]  # a run of 90 min


CELLAR = {
    "battery_id": "cellar",
    "capacity_kwh": 10,
    "charge_kw": 5,
    "discharge_kw": 5,
    "eta_charge": 0.95,
    "eta_discharge": 0.95,
    "soc_min": 0.05,
    "soc_initial": 0.4,
    "wear_eur_per_mwh": 20,
    "terminal_value_eur_per_mwh": 150,
    "grid_discharging": False,
}
CAR = {
    "vehicle_id": "car",
    "capacity_kwh": 60,
    "charge_kw": 11,
    "charge_min_kw": 1.4,
    "eta_charge": 0.92,
    "sessions": [
        {"arrival": 26, "departure": 80, "soc_arrival": 0.4, "soc_departure_min": 0.8},
        {"arrival": 122, "departure": 176, "soc_arrival": 0.5, "soc_departure_min": 0.8},
    ],
}


def a_home(seed: int, peak_price_eur_per_kw: float = 0.0) -> dict:
    """48 h in steps of 15 min, from noon on.

    Parameters
    ----------
    seed : of its noise.
    peak_price_eur_per_kw : on the highest mean import of a quarter-hour above 2.5 kW.

    Returns
    -------
    The content of a problem file.
    """
    noise, steps = np.random.default_rng(seed), 192
    hour = np.arange(steps) / 4 % 24
    price = 120 + 60 * np.sin((hour - 13) / 6 * np.pi) + noise.normal(0, 8, steps)
    sun = 5 * np.sin((hour - 7) / 10 * np.pi) * ((hour > 7) & (hour < 17))
    evening, morning = np.exp(-((hour - 19) ** 2) / 4), np.exp(-((hour - 7.5) ** 2) / 2)
    load = 0.4 + 0.5 * evening + 0.3 * morning + noise.uniform(0, 0.2, steps)
    outside = 5 + 3 * np.sin((hour - 9) / 12 * np.pi)
    made = {
        "step_min": 15,
        "start": "2025-01-15T11:00Z",
        "time_zone": "Europe/Brussels",
        "import_price_eur_per_mwh": (price + 120).round(2).tolist(),
        "export_price_eur_per_mwh": (0.4 * price).round(2).tolist(),
        "load_kw": load.round(3).tolist(),
        "renewables_kw": (sun * noise.uniform(0.5, 1, steps)).round(3).tolist(),
        "grid": {"import_limit_kw": 14, "export_limit_kw": 10},
        "batteries": [CELLAR],
        "vehicles": [CAR],
        "deferrable_loads": [
            {"load_id": f"washing {day}", "earliest": first, "latest": first + 56}
            | {"profile_kw": WASHING_KW}
            for day, first in ((1, 20), (2, 116))
        ],
        "heat_stores": [
            {
                "store_id": "tank",
                "capacity_kwh": 15,
                "energy_initial_kwh": 8,
                "energy_min_kwh": 2,
                "demand_kw": (0.3 * (17 - outside)).round(3).tolist(),
                "loss_per_h": 0.01,
                "heat_pump_kw": 2.5,
                "cop": (3 + 0.06 * outside).round(3).tolist(),
                "rod_kw": 3,
            }
        ],
    }
    if peak_price_eur_per_kw:
        peak = {"price_eur_per_kw": peak_price_eur_per_kw, "interval_min": 15, "so_far_kw": 2.5}
        made["grid"]["peaks"] = [peak]
    return made
