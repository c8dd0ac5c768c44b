"""The report's colours and marks: one for each power, way to run the site, and model.

A colour is a name of the page's CSS, `load` for `var(--load)`, so that light and dark are the
page's choice. The colours themselves stand in colours.css.

    python -c "from vpp.report.colours import colour_of; print(colour_of('grid_import_kw'))"
"""

# Where power comes from stands above zero, where it goes below, both in stacking order from zero:
# the power of the batteries, the one thing that is decided, is read from the zero line.
SUPPLY = (
    ("discharge_kw", "Discharge"),
    ("renewables_kw", "Renewables"),
    ("grid_import_kw", "Import"),
)
DEMAND = (
    ("charge_kw", "Charge"),
    ("load_kw", "Load"),
    ("grid_export_kw", "Export"),
    ("curtailed_kw", "Curtailed"),
)

BANDS = (  # two quantiles, and the share [%] of outcomes that is expected between them
    ("q05", "q95", 90),
    ("q10", "q90", 80),
    ("q25", "q75", 50),
)

WAYS = (  # column of Money, label, colour, dash
    ("rule", "Simple rule", "load", "dash"),
    ("plan", "The plan", "discharge", "solid"),
    ("perfect_foresight", "Perfect foresight", "renewables", "dot"),
)

MODEL_COLOURS = (
    "discharge",
    "import",
    "renewables",
    "export",
    "price",
    "charge",
    "load",
    "curtailed",
    "ink",
)
MODEL_MARKS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "cross",
    "x",
    "star",
    "hexagon",
)


def colour(name: str) -> str:
    """The colour of that name, as figures and the page's CSS take it."""
    return f"var(--{name})"


def colour_of(column: str) -> str:
    """The name of the colour of a power of the schedule, such as `grid_import_kw`."""
    return column.removesuffix("_kw").removeprefix("grid_")
