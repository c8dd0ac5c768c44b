"""The report's colours and marks: one for each kind of source, way to run the site, and model."""

KIND_COLOUR = {"solar": "solar", "wind": "wind", "load": "load", "market": "market"}
KIND_ORDER = ("load", "solar", "wind", "market")

# what stands above zero (where power comes from) and below it (where it goes), in stacking order
# from zero: the batteries' power, the one thing that is decided, is read from the zero line
SUPPLY = (
    ("discharge_kw", "Discharge"),
    ("renewables_kw", "Renewables"),
    ("grid_import_kw", "Import"),
)
BANDS = (
    ("q05", "q95", 90),
    ("q10", "q90", 80),
    ("q25", "q75", 50),
)  # quantiles and the share [%] of outcomes between them
DEMAND = (
    ("charge_kw", "Charge"),
    ("load_kw", "Load"),
    ("grid_export_kw", "Export"),
    ("curtailed_kw", "Curtailed"),
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
    return f"var(--{name})"


def colour_of(column: str) -> str:
    """The colour's name of a power of the schedule."""
    return column.removesuffix("_kw").removeprefix("grid_")
