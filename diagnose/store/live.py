"""
How many spans lie in the live table, and when that is enough.

They leave it as Parquet files (segments.py), which takes longer than their arrival when all senders push at once. Each
takes about a kilobyte of memory until then, so whoever comes when there are too many is told to come back.
"""

from __future__ import annotations

import threading

from diagnose.errors import StoreBusy


class LiveSpans:
    """Safe for several threads. Without a limit (nobody moves them) there are never too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self.limit: int | None = None

    def watch(self, count: int, limit: int) -> None:
        """So many there are now, and so many there may be."""
        with self._lock:
            self._count, self.limit = count, limit

    def check(self) -> None:
        """Raises StoreBusy when there are too many."""
        if self.limit is not None and self._count >= self.limit:
            raise StoreBusy(f"{self._count} spans wait to be moved into files")

    def arrived(self, count: int) -> None:
        with self._lock:
            self._count += count

    def left(self, count: int) -> None:
        with self._lock:
            self._count = max(0, self._count - count)
