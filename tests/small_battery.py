"""A problem of one battery in two hours, and powers of it."""

import numpy as np

from vpp.schedule.problem_file import parse_problem


def a_problem(**changes):
    raw = {
        "step_min": 60,
        "load_kw": [3, 3],
        "renewables_kw": [0, 5],
        "import_price_eur_per_mwh": [100, 200],
        "export_price_eur_per_mwh": [50, 80],
        "batteries": [
            {
                "battery_id": "cell",
                "capacity_kwh": 10,
                "charge_kw": 4,
                "discharge_kw": 5,
                "soc_initial": 0.5,
            }
        ],
    }
    return parse_problem(raw | changes)


def powers(*charge_less_discharge):
    power = np.array([charge_less_discharge], dtype=float)
    return np.maximum(power, 0), np.maximum(-power, 0)
