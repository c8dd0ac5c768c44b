"""A small problem, as a problem file has it."""

PROBLEM = {
    "step_min": 60,
    "load_kw": [0, 0, 0, 0, 0],
    "import_price_eur_per_mwh": [10, 50, 10, 5000, 10],
    "batteries": [
        {
            "battery_id": "b",
            "capacity_kwh": 6000,
            "charge_kw": 4000,
            "discharge_kw": 4000,
            "soc_final": 0,
        }
    ],
}
