"""
Rows move out of the live tables into Parquet files, and small files into larger ones.

    live table → one file a minute (every 5 s while SQL is asked, sooner when there are many rows)
               → merged by minute, ten minutes, hour and day of arrival, as long as that does not make them too large

Each step is one transaction of the telemetry database: it writes the new file, deletes the rows or the old files from
the tables and replaces the views (manifest.py). A crash before the commit leaves a file that nobody names, one after it
old files that nobody names any more; both are removed at the next start. Files stay a while after they were replaced,
because a query that began before still opens them, and for as long as a snapshot names them.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from diagnose.errors import StoreError
from diagnose.model import utc_now
from diagnose.periodic import Periodic
from diagnose.store import durable
from diagnose.store.db import Store
from diagnose.store.manifest import (
    FOLDER,
    QUERIES,
    TABLES,
    Segment,
    SegmentTable,
    parquet,
    quoted,
    read_segments,
    show_segments,
)
from diagnose.store.span_file import write_live_spans

MIB = 1024 * 1024

MAX_LIVE_ROWS = 80_000
MOST_LIVE_ROWS = 160_000  # spans beyond that are refused until some have moved
STEP_S = 1.0
MAX_LIVE_AGE_S = 60.0
TAIL_AGE_S = 5.0  # while somebody reads
READER_GONE_S = 60.0
GRACE_S = 60.0  # how long a query may take that began before its files were replaced
SORTED_ROWS = 1_000_000  # larger merges keep the order of their parts: sorting them would take too much memory and disk
MERGE_MEMORY = "256MiB"
CHECKPOINT_WAL_BYTES = 64 * MIB

# A row group is what a lookup of one trace must unpack, and what the Bloom filter of trace_id answers for. Only columns
# with a dictionary get such a filter: half as many traces as rows is what spans of a service come to.
PARQUET = (
    "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {rows}, DICTIONARY_SIZE_LIMIT {distinct}, "
    "USE_TMP_FILE false"
)


@dataclass(frozen=True)
class Tier:
    """Files that arrived in one window of so many seconds become one, unless that would be larger than *max_bytes*."""

    window_s: int
    max_bytes: int


TIERS = (Tier(60, 16 * MIB), Tier(600, 64 * MIB), Tier(3600, 256 * MIB), Tier(86_400, 64 * MIB))
PINNED_TIERS = (Tier(86_400, 256 * MIB), Tier(30 * 86_400, 256 * MIB))
FULL_BYTES = 128 * MIB  # neighbours that come to this are merged without waiting for their window to end


class Segments:
    """`start` moves and merges in a thread of its own until `stop`; all methods may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.path / FOLDER
        self._lock = threading.RLock()  # one change of the manifest at a time
        self._merging = threading.RLock()  # whoever takes files out of it; taken before the other
        self._moved: datetime | None = None
        self._moved_at = time.monotonic()
        self._read_at: float | None = None
        self._held: Counter[str] = Counter()
        self._replaced: dict[str, float] = {}
        self._thread = Periodic("segments", self._step, lambda: STEP_S, niceness=5)
        remove_orphans(store)
        with self._cursor() as cursor:
            store.live_spans.watch(_count(cursor, "live_span"), MOST_LIVE_ROWS)

    # --- what is there ------------------------------------------------------------------------------------------------

    def all(self) -> list[Segment]:
        """Oldest arrival first."""
        with self._cursor() as cursor:
            return read_segments(cursor)

    @contextmanager
    def hold(self, segments: Iterable[Segment]) -> Iterator[None]:
        """Their files stay until the block ends."""
        files = [each.file for each in segments]
        self._held.update(files)
        try:
            yield
        finally:
            self._held.subtract(files)

    # --- moving -------------------------------------------------------------------------------------------------------

    def move(self) -> datetime:
        """
        Empty the live tables; the result is the moment before which every committed row is in a segment.

        The transaction deletes what it sees; rows that come meanwhile stay. Raises StoreError.
        """
        with self._lock:
            as_of = utc_now()
            moved_at = time.monotonic()
            names: list[str] = []
            spans = 0
            with self._removed_on_error(names):
                if self._live_rows():
                    with self._change() as change:
                        spans = _count(change.cursor, "live_span")
                        names += [name for table in TABLES if (name := self._move_rows(change, table, as_of))]
                    self.store.live_spans.left(spans)
                    self._checkpoint()
            self._moved, self._moved_at = as_of, moved_at
            return as_of

    def _move_rows(self, change: Change, table: SegmentTable, at: datetime) -> str | None:
        if not _count(change.cursor, table.live):
            return None
        if table.name == "span":
            change.cursor.execute(QUERIES["remember_traces"], {"now": at})
        name = self._new_name(table, at)
        if table.name == "span":
            write_live_spans(change.cursor, table.sorting, self.folder / name, row_group=table.row_group)
            durable.sync(self.folder / name)
        else:
            rows = f"SELECT * FROM ({table.live_rows}) {table.sorting}"  # noqa: S608  our own names
            _write(change.cursor, table, rows, self.folder / name)
        change.add(table, name, at, at, pinned=False)
        change.cursor.execute(f"DELETE FROM telemetry.{table.live}")  # noqa: S608  our own names
        return name

    def _live_rows(self) -> int:
        """Of the longest live table."""
        with self._cursor() as cursor:
            return max(_count(cursor, table.live) for table in TABLES)

    def _checkpoint(self) -> None:
        """Nearly free while the live tables are nearly empty, and gives the memory of the moved rows back."""
        log_file = self.store.path / "telemetry.duckdb.wal"
        if log_file.exists() and log_file.stat().st_size > CHECKPOINT_WAL_BYTES:
            with self._cursor() as cursor, suppress(duckdb.TransactionException):  # somebody else writes: next time
                cursor.execute("CHECKPOINT telemetry")

    def read(self, max_age_s: float = TAIL_AGE_S) -> datetime:
        """
        Somebody reads segments: rows move more often for a while, and at once when the last time is too long ago.

        The result is as that of `move`.
        """
        self._read_at = time.monotonic()
        with self._lock:
            is_recent = self._moved is not None and self._read_at - self._moved_at < max_age_s
            return self._moved if self._moved is not None and is_recent else self.move()

    # --- merging ------------------------------------------------------------------------------------------------------

    def merge(self, now: datetime | None = None, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """Merge all that is due; the number of files that were replaced."""
        replaced = 0
        while not stopping() and (group := next(due(self.all(), now or utc_now()), None)):
            self.replace(group)
            replaced += len(group)
        return replaced

    def replace(self, group: Sequence[Segment]) -> None:
        """One file with the rows of *group* (of one table) takes its place. Raises StoreError."""
        table = _table_of(group)
        rows = f"SELECT * FROM {self._files_of(group)}"  # noqa: S608  our own file names
        if sum(each.row_count for each in group) <= SORTED_ROWS:
            rows += f" {table.sorting}"
        with self._merger() as merger:  # nobody waits for the copying: the manifest is changed afterwards
            self._put_in_place(group, merger, rows, pinned=group[0].pinned)

    def keep_only(self, group: Sequence[Segment], condition: str) -> int:
        """
        One pinned file with those rows of *group* (of one table) that meet *condition* takes its place.

        *condition* is SQL of ours over the tables of the store and a row `old`. The result is how many rows stay: none,
        no file. Raises StoreError.
        """
        rows = f"SELECT old.* FROM {self._files_of(group)} AS old WHERE ({condition}) {_table_of(group).sorting}"  # noqa: S608
        with self._cursor() as cursor:
            return self._put_in_place(group, cursor, rows, pinned=True)

    def _put_in_place(
        self,
        group: Sequence[Segment],
        copier: duckdb.DuckDBPyConnection,
        rows: str,
        *,
        pinned: bool,
    ) -> int:
        since, until = min(each.arrived_since for each in group), max(each.arrived_until for each in group)
        table = _table_of(group)
        with self._merging:
            name = self._new_name(table, since)
            with self._removed_on_error([name]):
                _write(copier, table, rows, self.folder / name)
                with self._change() as change:
                    change.remove(group)
                    return change.add(table, name, since, until, pinned=pinned)

    def _files_of(self, group: Sequence[Segment]) -> str:
        return parquet(self.folder / each.file for each in group)

    def drop(self, group: Sequence[Segment]) -> None:
        """They do not belong to the data any more."""
        if group:
            with self._merging, self._change() as change:
                change.remove(group)

    @contextmanager
    def _merger(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A database of its own, so that merging takes one thread (this one) and little memory."""
        folder = self.store.path / "tmp"
        settings = {"threads": 1, "memory_limit": MERGE_MEMORY, "temp_directory": str(folder)}
        with duckdb.connect(":memory:", config=settings) as merger:
            merger.execute("SET TimeZone = 'UTC'")
            yield merger

    @contextmanager
    def _change(self) -> Iterator[Change]:
        """A transaction that changes the manifest and the views with it."""
        with self._lock, self._cursor() as cursor:
            change = Change(cursor, self.folder)
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield change
                show_segments(cursor, self.folder, read_segments(cursor), database="telemetry")
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise
            self._replaced.update(dict.fromkeys(change.removed, time.monotonic()))

    @contextmanager
    def _removed_on_error(self, names: list[str]) -> Iterator[None]:
        """Files of a change that did not happen. Raises StoreError."""
        try:
            yield
        except BaseException as err:
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
            if isinstance(err, duckdb.Error | OSError):
                raise StoreError(f"segments cannot be written: {err}") from err
            raise

    def _new_name(self, table: SegmentTable, since: datetime) -> str:
        """In the folder of its arrival."""
        name = f"{table.name}/{since:%Y-%m-%d/%H}/{since:%M%S}-{secrets.token_hex(6)}.parquet"
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return name

    # --- files nobody names any more ----------------------------------------------------------------------------------

    def sweep(self, grace_s: float = GRACE_S) -> None:
        """Remove files that were replaced long enough ago and that no snapshot names."""
        now = time.monotonic()
        for file, at in list(self._replaced.items()):
            if now - at >= grace_s and self._held[file] <= 0:
                (self.folder / file).unlink(missing_ok=True)
                _remove_empty(self.folder / file)
                del self._replaced[file]
                del self._held[file]

    # --- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the step that runs."""
        self._thread.stop()

    def _step(self) -> None:
        if self._is_move_due():
            self.move()
        self.merge(stopping=self._thread.stopping.is_set)
        self.sweep()

    def _is_move_due(self) -> bool:
        now = time.monotonic()
        is_read = self._read_at is not None and now - self._read_at < READER_GONE_S
        is_old = now - self._moved_at >= (TAIL_AGE_S if is_read else MAX_LIVE_AGE_S)
        return is_old or self._live_rows() >= MAX_LIVE_ROWS

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self.store.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


class Change:
    """What one transaction adds to and removes from the manifest."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.cursor = cursor
        self.removed: list[str] = []
        self._folder = folder

    def add(self, table: SegmentTable, name: str, since: datetime, until: datetime, *, pinned: bool) -> int:
        """The file *name*, whose rows arrived between *since* and *until*. Without rows (the result) it is removed."""
        file = self._folder / name
        column = table.time or "NULL::TIMESTAMPTZ"
        shape = f"SELECT count(*), min({column}), max({column}) FROM {parquet([file])}"  # noqa: S608  our own names
        [(row_count, first, last)] = self.cursor.execute(shape).fetchall()
        if not row_count:
            file.unlink()
            return 0
        size = file.stat().st_size
        segment = Segment(name, table.name, pinned, since, until, first, last, row_count, size)
        self.cursor.execute(QUERIES["add_segment"], asdict(segment))
        return int(row_count)

    def remove(self, segments: Iterable[Segment]) -> None:
        files = [each.file for each in segments]
        self.removed += files
        self.cursor.execute(QUERIES["remove_segments"], {"files": files})


def due(segments: Sequence[Segment], now: datetime) -> Iterator[list[Segment]]:
    """Groups of files to be merged, the largest windows first: an hour that is over is merged at once, not in steps."""
    for table in TABLES:
        for pinned, tiers in ((False, TIERS), (True, PINNED_TIERS)):
            mine = [each for each in segments if each.table == table.name and each.pinned == pinned]
            for tier in reversed(tiers):
                for window in _windows(mine, tier, now):
                    yield from _groups(window, tier.max_bytes)
            yield from (group for group in _groups(mine, 2 * FULL_BYTES, FULL_BYTES) if _size(group) >= FULL_BYTES)


def _windows(segments: Sequence[Segment], tier: Tier, now: datetime) -> Iterator[list[Segment]]:
    """Files by window; those of windows that are not over, or that reach over two, are left out."""
    found: dict[int, list[Segment]] = {}
    for each in segments:
        window = int(each.arrived_since.timestamp()) // tier.window_s
        if each.arrived_until < datetime.fromtimestamp((window + 1) * tier.window_s, UTC) <= now:
            found.setdefault(window, []).append(each)
    yield from found.values()


def _groups(segments: Sequence[Segment], max_bytes: int, full_bytes: int | None = None) -> Iterator[list[Segment]]:
    """
    Neighbours that come to *max_bytes* at most, two or more; with *full_bytes* none that has half of it alone.

        sizes 5 5 9 2 2, at most 10     →     5 5 · 2 2
    """
    group: list[Segment] = []
    for each in segments:
        is_large = full_bytes is not None and each.bytes >= full_bytes // 2
        if is_large or _size(group) + each.bytes > max_bytes:
            if len(group) > 1:
                yield group
            group = []
        if not is_large:
            group.append(each)
        if full_bytes is not None and _size(group) >= full_bytes:
            yield group
            group = []
    if len(group) > 1:
        yield group


def _size(group: Iterable[Segment]) -> int:
    return sum(each.bytes for each in group)


def remove_orphans(store: Store) -> None:
    """At start: files of steps that a crash cut off."""
    folder = store.path / FOLDER
    cursor = store.cursor()
    named = {each.file for each in read_segments(cursor)}
    cursor.close()
    for file in list(folder.rglob("*.parquet")):
        if str(file.relative_to(folder)) not in named:
            file.unlink()
            _remove_empty(file)


def _remove_empty(file: Path) -> None:
    """The folders above *file*, hour and day, if nothing is left in them."""
    with suppress(OSError):
        file.parent.rmdir()
        file.parent.parent.rmdir()


def _count(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    [(count,)] = cursor.execute(f"SELECT count(*) FROM telemetry.{table}").fetchall()  # noqa: S608  our own names
    return int(count)


def _table_of(group: Sequence[Segment]) -> SegmentTable:
    return next(each for each in TABLES if each.name == group[0].table)


def _write(cursor: duckdb.DuckDBPyConnection, table: SegmentTable, rows: str, file: Path) -> None:
    form = PARQUET.format(rows=table.row_group, distinct=table.row_group // 2)
    cursor.execute(f"COPY ({rows}) TO {quoted(str(file))} ({form})")
    durable.sync(file)
