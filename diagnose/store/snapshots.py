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

from diagnose.errors import StoreError
from diagnose.model import utc_now
from diagnose.store.db import Store
from diagnose.store.export import write_database
from diagnose.store.manifest import FOLDER, TABLES, Segment, parquet, read_segments, show_segments
from diagnose.store.mirror import Mirror, without_bodies
from diagnose.store.rows import fetch
from diagnose.store.segments import Segments
from diagnose.telemetry import get_logger

log = get_logger(__name__)
MAX_AGE_S = 5.0
# The service's own business.
PRIVATE = frozenset({"schema_version", "sql_audit", "rejected_request", "received_body", "segment", "trace_time"})
LIVE = frozenset(table.live for table in TABLES)


@dataclass(frozen=True)
class Snapshot:
    """
    A database file as it was at *as_of*; *written_s* is the same on the monotonic clock.

    *folders* hold the Parquet its views read; readers need no other files.

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
        self._empty = self._folder / "empty.duckdb"  # with all tables and views
        self._mirror = Mirror(self._folder)
        self._lock = threading.Lock()  # of the fields below; taken after the other
        self._renewing = threading.Lock()  # one snapshot is written at a time
        self._newest: Snapshot | None = None
        self._control_state: object = None
        self._readers: Counter[Snapshot] = Counter()

    @contextmanager
    def newest(self, *, fresh: bool = False) -> Iterator[Snapshot]:
        """
        A snapshot that stays until the block ends; *fresh*: everything committed before this call is in it.

        Once it is half as old as it may become it is renewed beside the readers: making one takes longer than a query.
        """
        snapshot = self._young_enough(fresh) or self._renew(utc_now() if fresh else None)
        try:
            with self._segments.hold(snapshot.segments):
                yield snapshot
        finally:
            with self._lock:
                self._readers[snapshot] -= 1
            self._remove_old_unless_renewing()

    def _young_enough(self, fresh: bool) -> Snapshot | None:
        """The newest with one more reader, if it will do."""
        with self._lock:
            newest = self._newest
            if fresh or newest is None or newest.age_s > self._max_age_s:
                return None
            self._readers[newest] += 1
            is_ageing = newest.age_s > self._max_age_s / 2
        if is_ageing and not self._renewing.locked():
            threading.Thread(target=self._renew_early, name="snapshot", daemon=True).start()
        return newest

    def _renew(self, wanted: datetime | None) -> Snapshot:
        """
        A snapshot not older than it may be, *wanted* or later, with one more reader.

        One at a time: whoever waited for another's takes that if it will do.
        """
        with self._renewing:
            newest = self._newest
            if newest is None or (newest.age_s > self._max_age_s if wanted is None else newest.as_of < wanted):
                newest = self._renewed(max_age_s=self._max_age_s / 2 if wanted is None else 0.0)
            with self._lock:
                self._newest = newest
                self._readers[newest] += 1
                self._remove_old()
            return newest

    def _renew_early(self) -> None:
        if not self._renewing.acquire(blocking=False):
            return
        try:
            if self._newest is not None:
                renewed = self._renewed(max_age_s=self._max_age_s / 2)
                with self._lock:
                    self._newest = renewed
                    self._remove_old()
        except (StoreError, duckdb.Error, OSError) as err:
            log.warning("snapshot not renewed", error=str(err))  # the next reader tries again, and is told
        finally:
            self._renewing.release()

    def _remove_old_unless_renewing(self) -> None:
        """What is being written is not named yet; whoever writes it removes the old when it is."""
        if self._renewing.acquire(blocking=False):
            try:
                with self._lock:
                    self._remove_old()
            finally:
                self._renewing.release()

    def _renewed(self, max_age_s: float) -> Snapshot:
        """
        The last snapshot, if it is still the state of now, or a new one.

        Profiles are copied before their samples move and what samples refer to afterwards: no profile without samples,
        no sample without a stack.
        """
        self._segments.folder.mkdir(exist_ok=True)
        if not self._empty.exists():
            self._folder.mkdir(exist_ok=True)
            write_database(self._store, self._empty, lambda _: None)
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
            written_s=time.monotonic() - (utc_now() - as_of).total_seconds(),
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

        write_database(self._store, snapshot.file, fill, empty=self._empty)

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
            if file not in files and file != self._empty:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the files."""
        with self._renewing, self._lock:
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
