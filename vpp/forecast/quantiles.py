"""The quantile levels of every forecast, and the columns that hold them."""

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
QUANTILE_COLUMNS = tuple(f"q{round(100 * level):02d}" for level in QUANTILES)
COLUMNS = ("value", *QUANTILE_COLUMNS)
# A published price or a solar plant's night leaves a model nothing to say. A band without width
# says neither: a forecast may be certain, too.
FLAGS = ("published", "dark")
