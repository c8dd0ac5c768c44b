"""A virtual power plant on a day-ahead market: what its scripts stand on."""

import os

# One thread each: the small models of this project run 4 to 10 times faster so on few cores, and
# sources are trained in parallel processes. It has to be set before numpy and OpenMP libraries
# load, hence here.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
