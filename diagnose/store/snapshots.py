"""
States of the store for readers in other processes, which cannot open the live files.

The server writes one (export.py) when somebody asks and the last one is older than five seconds.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from diagnose.model import utc_now
from diagnose.store.db import Store
from diagnose.store.export import export_all

MAX_AGE_S = 5.0


class Snapshots:
    """Copies of the whole store for readers, at most one every five seconds and only when somebody asks."""

    def __init__(self, store: Store, *, max_age_s: float = MAX_AGE_S) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._folder = store.path / "snapshots"
        shutil.rmtree(self._folder, ignore_errors=True)  # what a crash left
        self._lock = threading.Lock()
        self._newest: Snapshot | None = None
        self._readers: dict[Path, int] = {}

    @contextmanager
    def newest(self, *, fresh: bool = False) -> Iterator[Snapshot]:
        """A snapshot that stays until the block ends; *fresh*: everything committed before this call is in it."""
        with self._lock:
            if fresh or self._newest is None or self._newest.age_s > self._max_age_s:
                self._newest = self._write()
            snapshot = self._newest
            self._readers[snapshot.file] = self._readers.get(snapshot.file, 0) + 1
            self._remove_old()
        try:
            yield snapshot
        finally:
            with self._lock:
                self._readers[snapshot.file] -= 1
                self._remove_old()

    def _write(self) -> Snapshot:
        self._folder.mkdir(exist_ok=True)
        written_s = time.monotonic()
        file = self._folder / f"{utc_now():%Y%m%dT%H%M%S%f}.duckdb"
        return Snapshot(file, export_all(self._store, file, bodies=False), written_s)

    def _remove_old(self) -> None:
        for file in self._folder.glob("*.duckdb"):
            in_use = self._readers.get(file, 0) > 0 or (self._newest is not None and file == self._newest.file)
            if not in_use:
                file.unlink(missing_ok=True)
                self._readers.pop(file, None)

    def close(self) -> None:
        """Remove the files."""
        with self._lock:
            self._newest = None
            self._readers.clear()
            self._remove_old()


@dataclass(frozen=True)
class Snapshot:
    """A database file as it was at *as_of*. *folders* hold the Parquet its views read; readers need no other files."""

    file: Path
    as_of: datetime
    written_s: float
    folders: tuple[Path, ...] = ()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.written_s
