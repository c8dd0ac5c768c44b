"""Rows into the plant: a sink that stores what arrives, and the data folder's new rows.

python pipeline.py operate
"""

import logging
import threading

import pandas as pd

from vpp.operation.sent_before import leave_out_sent
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.site.kinds import KINDS
from vpp.stream.data_set import register_sources
from vpp.stream.feed import Feed
from vpp.stream.producer import produce
from vpp.stream.sent import Ledger
from vpp.stream.sink import STOP_S, Sink

log = logging.getLogger("operate")

REST_S = 5.0  # a sink that failed begins again after so long


class Ingest:
    """The way of rows into the plant.

    Parameters
    ----------
    config : names the data folder and the servers.
    stop : ends it.
    feed : sends the rows as a clock on data passes them; None: rows that are new in the folder.
    """

    def __init__(self, config: Config, stop: threading.Event, feed: Feed | None) -> None:
        self.config, self.stop, self.feed = config, stop, feed
        self.is_unsure = True  # rows may have been sent, such as by a process that has died
        self.changed: int | None = None  # newest change of the folder that was sent [ns]
        self.thread = threading.Thread(target=self._store, name="sink", daemon=True)

    def start(self) -> None:
        """Begin to store what arrives."""
        self.thread.start()

    def is_alive(self) -> bool:
        """Whether the sink still works."""
        return self.thread.is_alive()

    def _store(self) -> None:
        while not self.stop.is_set():
            sink = Sink(self.config, stop=threading.Event())
            watcher = threading.Thread(target=self._end, args=[sink], daemon=True)
            watcher.start()
            try:
                sink.run()
            except Exception as error:  # whatever it is, the next one stores on
                log.error("sink failed, trying again in %g s: %s", REST_S, in_words(error))
            sink.stop.set()
            self.stop.wait(REST_S)

    def _end(self, sink: Sink) -> None:
        """Stop a sink with the plant; one whose database hangs is cancelled."""
        while not self.stop.wait(0.2):
            if sink.stop.is_set():
                return
        sink.stop.set()
        if not threading.Event().wait(STOP_S - 1.5):
            sink.store.cancel()

    def send(self, now: pd.Timestamp) -> None:
        """Send what the clock has passed, or what is new in the data folder.

        Parameters
        ----------
        now : of the plant's clock [UTC].

        Raises
        ------
        VppError : the broker does not take it, or a file cannot be read.
        """
        if self.feed is not None:
            if self.is_unsure:
                leave_out_sent(self.config, self.feed, now)
            self.is_unsure = True
            self.feed.send(now, self.stop.is_set)
            self.is_unsure = False
            return
        files = self.config.paths.data_dir.glob("*.csv")
        changed = max((path.stat().st_mtime_ns for path in files), default=None)
        if changed is None or changed == self.changed:
            return
        register_sources(self.config)
        ledger = Ledger(self.config, list(KINDS))
        if ledger.kinds:
            sent = produce(self.config, ledger.kinds, stop=self.stop.is_set, starts=ledger.starts)
            if not self.stop.is_set():
                ledger.save(sent)
        self.changed = changed
