"""The data set of the data folder: its sources, and whether the database holds another one's data.

python -c "from vpp.stream import data_set; print(data_set.register_sources.__doc__)"
"""

from vpp.runtime.settings import Config
from vpp.site.sources import SOURCES_FILE, Source, read_sources
from vpp.storage.connection import session
from vpp.storage.measurements import upsert_sources


def register_sources(config: Config) -> list[Source]:
    """Write the sources of `sources.csv` to the database; none where there is no such file."""
    path = config.paths.data_dir / SOURCES_FILE
    sources = read_sources(path) if path.exists() else []
    with session(config) as conn:
        upsert_sources(conn, sources)
    return sources
