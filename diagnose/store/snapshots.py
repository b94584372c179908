"""
States of the store for readers in other processes, which cannot open the live files.

A snapshot is a small database file: copies of the control tables, and views over the Parquet segments and over Parquet
copies of what stays in the telemetry database (mirror.py). One is written when somebody asks and the last one is older
than five seconds; when nothing has changed since, the last one is still the state of now.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from diagnose.model import utc_now
from diagnose.store.db import Store, fetch
from diagnose.store.export import write_database
from diagnose.store.manifest import FOLDER, TABLES, Segment, parquet, read_segments, show_segments
from diagnose.store.mirror import Mirror, without_bodies
from diagnose.store.segments import Segments

MAX_AGE_S = 5.0
# The service's own business.
PRIVATE = frozenset({"schema_version", "sql_audit", "rejected_request", "received_body", "segment", "trace_time"})
LIVE = frozenset(table.live for table in TABLES)


@dataclass(frozen=True)
class Snapshot:
    """
    A database file as it was at *as_of*. *folders* hold the Parquet its views read; readers need no other files.

    *segments* and *mirrored* are the files of those folders that it names.
    """

    file: Path
    as_of: datetime
    written_s: float
    folders: tuple[Path, ...] = ()
    segments: tuple[Segment, ...] = ()
    mirrored: frozenset[Path] = frozenset()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.written_s


class Snapshots:
    """The newest snapshot for whoever asks; files that nobody reads any more are removed."""

    def __init__(self, store: Store, segments: Segments | None = None, *, max_age_s: float = MAX_AGE_S) -> None:
        self._store = store
        self._segments = segments or Segments(store)
        self._max_age_s = max_age_s
        self._folder = store.path / "snapshots"
        shutil.rmtree(self._folder, ignore_errors=True)  # what a crash left
        self._mirror = Mirror(self._folder)
        self._lock = threading.Lock()
        self._newest: Snapshot | None = None
        self._control_state: object = None
        self._readers: Counter[Snapshot] = Counter()

    @contextmanager
    def newest(self, *, fresh: bool = False) -> Iterator[Snapshot]:
        """A snapshot that stays until the block ends; *fresh*: everything committed before this call is in it."""
        with self._lock:
            if fresh or self._newest is None or self._newest.age_s > self._max_age_s:
                self._newest = self._renewed(max_age_s=0.0 if fresh else self._max_age_s)
            snapshot = self._newest
            self._readers[snapshot] += 1
            self._remove_old()
        try:
            with self._segments.hold(snapshot.segments):
                yield snapshot
        finally:
            with self._lock:
                self._readers[snapshot] -= 1
                self._remove_old()

    def _renewed(self, max_age_s: float) -> Snapshot:
        """
        The last snapshot, if it is still the state of now, or a new one.

        Profiles are copied before their samples move and what samples refer to afterwards: no profile without samples,
        no sample without a stack.
        """
        self._folder.mkdir(exist_ok=True)
        self._segments.folder.mkdir(exist_ok=True)
        control_state = self._state_of_control()
        cursor = self._store.cursor()
        try:
            self._mirror.refresh(cursor, ["profile"])
            as_of = self._segments.read(max_age_s)
            self._mirror.refresh(cursor, [table for table in _shown(cursor, "telemetry") if table != "profile"])
        finally:
            cursor.close()
        segments, last = tuple(self._segments.all()), self._newest
        now = Snapshot(
            file=self._folder / f"{utc_now():%Y%m%dT%H%M%S%f}.duckdb",
            as_of=as_of,
            written_s=time.monotonic(),
            folders=(self._segments.folder, self._folder),
            segments=segments,
            mirrored=self._mirror.files,
        )
        if last and (last.segments, last.mirrored, self._control_state) == (segments, now.mirrored, control_state):
            return replace(now, file=last.file)
        self._write(now)
        self._control_state = control_state
        return now

    def _write(self, snapshot: Snapshot) -> None:
        def fill(cursor: duckdb.DuckDBPyConnection) -> None:
            _copy(cursor, "control", _shown(cursor, "control"))
            show_segments(cursor, self._segments.folder, snapshot.segments)
            for table in _shown(cursor, "telemetry"):
                if files := self._mirror.of(table):
                    cursor.execute(f"DROP TABLE {table}")
                    cursor.execute(f"CREATE VIEW {table} AS SELECT * FROM {parquet(files)}")  # noqa: S608  our own names

        write_database(self._store, snapshot.file, fill)

    def _state_of_control(self) -> object:
        """Differs after every commit, which changes the file or its log."""
        names = ("control.duckdb", "control.duckdb.wal")
        files = [self._store.path / name for name in names]
        return [(stat.st_size, stat.st_mtime_ns) for file in files if file.exists() and (stat := file.stat())]

    def _remove_old(self) -> None:
        self._readers = +self._readers
        used = {*self._readers, *([self._newest] if self._newest else [])}
        files = self._mirror.files.union(*({each.file, *each.mirrored} for each in used))
        for file in self._folder.glob("[!.]*"):
            if file not in files:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the files."""
        with self._lock:
            self._newest = None
            self._readers.clear()
            shutil.rmtree(self._folder, ignore_errors=True)


def write_snapshot(store: Store, folder: Path) -> Snapshot:
    """A snapshot in *folder* of a store that is open for reading only: what is in no segment is copied."""
    segments = tuple(read_segments(cursor := store.cursor()))
    cursor.close()
    written_s, as_of = time.monotonic(), utc_now()
    segment_folder = store.path / FOLDER

    def fill(cursor: duckdb.DuckDBPyConnection) -> None:
        _copy(cursor, "control", _shown(cursor, "control"))
        _copy(cursor, "telemetry", [*LIVE, *_shown(cursor, "telemetry")])
        show_segments(cursor, segment_folder, segments)

    file = folder / "snapshot.duckdb"
    write_database(store, file, fill)
    folders = (segment_folder,) if segment_folder.exists() else ()
    return Snapshot(file, as_of, written_s, folders, segments)


def _shown(cursor: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    """Tables of which readers see the rows, but for those whose rows move into segments."""
    known = "SELECT table_name FROM duckdb_tables() WHERE database_name = $database ORDER BY table_oid"
    names = [row["table_name"] for row in fetch(cursor, known, {"database": database})]
    return [name for name in names if name not in PRIVATE | LIVE]


def _copy(cursor: duckdb.DuckDBPyConnection, database: str, tables: list[str]) -> None:
    for table in tables:
        shown = without_bodies(cursor, database, table)
        cursor.execute(f"INSERT INTO {table} SELECT {shown} FROM {database}.{table}")  # noqa: S608  our own names
