"""
The two database files and everything that opens, migrates and closes them.

    control.duckdb     alerts, incidents, captures, findings, deliveries     small, commits in milliseconds
    telemetry.duckdb   spans, metrics, profiles                              large, commits in batches

Both are attached to one DuckDB instance in memory, which holds the documented views and macros (views/*.sql) over them,
so a query may join across the files. Tables are named without the database: every cursor has both on its search path.
Readers take a cursor of their own per use; writing goes through `Store.control` and `Store.telemetry` only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Self

import duckdb

from diagnose.errors import NotFound, StoreError
from diagnose.redact import KEEP_ALL
from diagnose.store.bodies import move_bodies_into_files
from diagnose.store.failures import is_cut_off, is_invalid
from diagnose.store.instance import Instance
from diagnose.store.known import KnownIds
from diagnose.store.live import LiveSpans
from diagnose.store.manifest import (
    FOLDER,
    TABLES,
    quoted,
    read_segments,
    show_samples_of_version_3,
    show_segments,
)
from diagnose.store.profile_batch import ProfileTables
from diagnose.store.queries import HERE
from diagnose.store.recent import RecentTraces
from diagnose.store.rows import Params, fetch
from diagnose.store.writer import Writer

FILES = ("control", "telemetry")
STORAGE_VERSION = "v1.5.0"
CHECKPOINT_THRESHOLD = "512MB"
MEMORY_LIMIT = "2GiB"
GATHER_S = 0.008  # under load, alerts that come a little later share the commit


class Store:
    """Open with `Store.open`; close when done. One process at a time may have a data directory open."""

    def __init__(self, instance: Instance, path: Path, *, queue_bytes: int, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._instance = instance
        self.redactor = KEEP_ALL  # of what is stored besides OTLP and remote write, which their decoders redact
        self.control = Writer("control", self.cursor, instance.reopen, gather_s=GATHER_S)
        self.telemetry = Writer("telemetry", self.cursor, instance.reopen, max_waiting_bytes=queue_bytes)
        self.live_spans = LiveSpans()
        self.known_resources = KnownIds()
        self.known_series = KnownIds()
        self.recent_traces = RecentTraces()
        self.profile_tables = ProfileTables()

    @classmethod
    def open(cls, path: Path, *, queue_bytes: int = 268_435_456, read_only: bool = False) -> Self:
        """
        Open the files in the folder *path*, creating and migrating them as needed, and start the writers.

        *read_only* needs existing, up-to-date files and starts no writer. Raises StoreError when another process has
        them open, or they come from a newer version.
        """
        if not read_only:
            path.mkdir(parents=True, exist_ok=True)
        instance = Instance(partial(_open, path, read_only=read_only))
        store = cls(instance, path, queue_bytes=queue_bytes, read_only=read_only)
        if not read_only:
            store.control.start()
            store.telemetry.start()
        return store

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """
        A connection for one thread. Close it after use.

        A database that turns out to be invalid is opened again. Raises StoreBusy while it cannot be.
        """
        cursor = self._instance.cursor()
        try:
            return _at_home(cursor)
        except duckdb.Error as err:
            if not (is_invalid(err) or is_cut_off(err)):
                raise
            self._instance.reopen(cursor)
        return _at_home(self._instance.cursor())

    def rows(self, sql: str, params: Params = None) -> list[dict[str, Any]]:
        """All rows of one query, as dictionaries by column name. Asked once more when the database was invalid."""
        try:
            return self._ask(sql, params)
        except duckdb.Error as err:
            if not (is_invalid(err) or is_cut_off(err)):
                raise
        return self._ask(sql, params)

    def _ask(self, sql: str, params: Params) -> list[dict[str, Any]]:
        cursor = self.cursor()
        try:
            return fetch(cursor, sql, params)
        finally:
            cursor.close()

    def row(self, sql: str, params: Params = None) -> dict[str, Any]:
        """The first row. Raises NotFound when there is none."""
        found = self.rows(sql, params)
        if not found:
            raise NotFound("no such row")
        return found[0]

    def close(self) -> None:
        """Commit what is queued and close the files. Calling it twice is harmless."""
        if not self.read_only:
            self.control.stop()
            self.telemetry.stop()
        self._instance.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    instance = duckdb.connect(":memory:")
    try:
        _configure(instance, path)
        for name in FILES:
            _attach(instance, path / f"{name}.duckdb", name, read_only=read_only)
        for name in FILES:
            _migrate(instance, path, name, read_only=read_only)
        _create_views(instance, path, read_only=read_only)
    except BaseException:
        instance.close()
        raise
    return instance


def _at_home(cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    cursor.execute("SET search_path = 'memory,control,telemetry'")
    cursor.execute("SET TimeZone = 'UTC'")
    return cursor


def _migrate(instance: duckdb.DuckDBPyConnection, path: Path, name: str, *, read_only: bool) -> None:
    cursor = instance.cursor()
    cursor.execute(f"USE {name}")
    known = migrations(name)
    version = _schema_version(cursor)
    if version > len(known):
        raise StoreError(f"{name}.duckdb has schema version {version}; this program knows {len(known)}")
    if read_only and version < len(known):
        raise StoreError(f"{name}.duckdb has schema version {version}: let the server migrate it to {len(known)}")
    if name == "telemetry" and version == 3:
        show_samples_of_version_3(cursor, path / FOLDER)
    for number, script in enumerate(known[version:], start=version + 1):
        if name == "telemetry" and number == 6:
            move_bodies_into_files(cursor, path)
        cursor.execute("BEGIN TRANSACTION")
        cursor.execute(script)
        cursor.execute("INSERT INTO schema_version VALUES (?, now())", [number])
        cursor.execute("COMMIT")
    cursor.close()


def _create_views(instance: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """The folder may be another one than last time, so the paths in the views over segments are written again."""
    cursor = _at_home(instance.cursor())
    if read_only:
        show_segments(cursor, path / FOLDER, read_segments(cursor), database="memory")
    else:
        show_segments(cursor, path / FOLDER, read_segments(cursor), database="telemetry")
        for table in TABLES:
            cursor.execute(f"CREATE VIEW memory.{table.name} AS SELECT * FROM telemetry.{table.name}")  # noqa: S608
    create_views(cursor)
    cursor.close()


def _configure(instance: duckdb.DuckDBPyConnection, path: Path) -> None:
    instance.execute(f"SET GLOBAL checkpoint_threshold = '{CHECKPOINT_THRESHOLD}'")
    instance.execute(f"SET GLOBAL memory_limit = '{MEMORY_LIMIT}'")  # what is known of Parquet files goes at this limit
    instance.execute(f"SET GLOBAL temp_directory = {quoted(str(path / 'tmp'))}")
    instance.execute("SET GLOBAL parquet_metadata_cache = true")
    instance.execute("SET GLOBAL enable_external_file_cache = false")  # the system's page cache does that
    # One thread for each statement: the others look for work in vain at every small insert, which doubles its cost
    # (docs/performance/ingest.md). Statements of several cursors run beside each other all the same.
    instance.execute("SET GLOBAL threads = 1")
    for setting in ("python_enable_replacements", "autoinstall_known_extensions", "enable_progress_bar"):
        instance.execute(f"SET {setting} = false")


def _attach(instance: duckdb.DuckDBPyConnection, file: Path, name: str, *, read_only: bool) -> None:
    if read_only and not file.exists():
        raise StoreError(f"{file} does not exist")
    options = "READ_ONLY" if read_only else f"STORAGE_VERSION '{STORAGE_VERSION}'"
    quoted = str(file).replace("'", "''")
    try:
        instance.execute(f"ATTACH '{quoted}' AS {name} ({options})")
    except duckdb.Error as err:
        if "lock" in str(err).lower() or "already attached" in str(err):
            raise StoreError(f"{file} is open already (is a server running?)") from err
        raise StoreError(f"{file} cannot be opened: {err}") from err


def migrations(name: str) -> list[str]:
    """The numbered scripts of one database, oldest first; a file at version n has had the first n."""
    return [file.read_text(encoding="utf-8") for file in sorted((HERE / "migrations" / name).glob("[0-9]*.sql"))]


def _schema_version(cursor: duckdb.DuckDBPyConnection) -> int:
    exists = cursor.execute(
        "SELECT count(*) FROM duckdb_tables() "
        "WHERE table_name = 'schema_version' AND database_name = current_database()"
    ).fetchone()
    if not exists or not exists[0]:
        cursor.execute("CREATE TABLE schema_version (version INTEGER NOT NULL, applied_at TIMESTAMPTZ NOT NULL)")
        return 0
    found = cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(found[0]) if found else 0


def create_views(cursor: duckdb.DuckDBPyConnection) -> None:
    """
    The documented views and macros, in the first database on the cursor's search path.

    One call a file: statement by statement takes six times as long.
    """
    for file in sorted((HERE / "views").glob("*.sql")):
        cursor.execute(file.read_text(encoding="utf-8"))
