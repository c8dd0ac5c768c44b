"""Small CSV files and their import."""

import pandas as pd


def write(folder, lines, name="file.csv", encoding="utf-8"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def hours(count, start="2024-01-01", step="h"):
    return [
        f"{time:%Y-%m-%dT%H:%M:%SZ}"
        for time in pd.date_range(start, periods=count, freq=step, tz="UTC")
    ]
