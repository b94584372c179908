"""
Parquet copies of the tables that stay in the telemetry database, for readers that cannot open it.

These tables only grow, and what refers to their rows by number never changes. A copy gets one more file with the new
numbers; after MAX_PIECES files, or when rows were removed, it is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import duckdb

from diagnose.store.manifest import quoted

MAX_PIECES = 16


@dataclass(frozen=True)
class Copy:
    """Of one table: its files, and how many rows and which last number they have."""

    files: tuple[Path, ...] = ()
    row_count: int = 0
    last_number: int = 0


class Mirror:
    """
    Not for several threads at once.

    Files that are no longer part of a copy are the caller's to remove, once nobody reads them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[str, Copy] = {}
        self._names = count(1)

    @property
    def files(self) -> frozenset[Path]:
        return frozenset(file for each in self._copies.values() for file in each.files)

    def refresh(self, cursor: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
        """Bring the copies of *tables* up to what *cursor* sees."""
        for table in tables:
            known = self._copies.get(table, Copy())
            found = self._state(cursor, table)
            if (found.row_count, found.last_number) != (known.row_count, known.last_number):
                self._copies[table] = self._copied(cursor, table, known, found)

    def of(self, table: str) -> tuple[Path, ...]:
        """The files of its copy; none when the table is empty."""
        return self._copies.get(table, Copy()).files

    def _state(self, cursor: duckdb.DuckDBPyConnection, table: str) -> Copy:
        last = f"coalesce(max({table}_no), 0)" if _is_numbered(cursor, table) else "0"
        [(row_count, last_number)] = cursor.execute(f"SELECT count(*), {last} FROM telemetry.{table}").fetchall()  # noqa: S608
        return Copy((), row_count, last_number)

    def _copied(self, cursor: duckdb.DuckDBPyConnection, table: str, known: Copy, found: Copy) -> Copy:
        if found.last_number and known.files and len(known.files) < MAX_PIECES:
            file, new = self._write(cursor, table, f"WHERE {table}_no > {known.last_number}")
            if known.row_count + new == found.row_count:
                return Copy((*known.files, file), found.row_count, found.last_number)
        file, _ = self._write(cursor, table, "")
        return Copy((file,), found.row_count, found.last_number)

    def _write(self, cursor: duckdb.DuckDBPyConnection, table: str, where: str) -> tuple[Path, int]:
        file = self._folder / f"{table}-{next(self._names)}.parquet"
        shown = without_bodies(cursor, "telemetry", table)
        rows = f"SELECT {shown} FROM telemetry.{table} {where}"  # noqa: S608  our own names
        [(row_count,)] = cursor.execute(f"COPY ({rows}) TO {quoted(str(file))} (FORMAT parquet)").fetchall()
        return file, int(row_count)


def _is_numbered(cursor: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether its rows have numbers of their own that only rise."""
    return f"{table}_no" in _columns(cursor, "telemetry", table)


def without_bodies(cursor: duckdb.DuckDBPyConnection, database: str, table: str) -> str:
    """All columns of *table*, those empty that are large and that no view shows."""
    columns = _columns(cursor, database, table)
    large = [f"''::{kind} AS {name}" for name, kind in columns.items() if kind == "BLOB" or (table, name) in PAGES]
    return f"* REPLACE ({', '.join(large)})" if large else "*"


PAGES = frozenset({("report", "html"), ("report", "markdown")})


def _columns(cursor: duckdb.DuckDBPyConnection, database: str, table: str) -> dict[str, str]:
    """Type by name."""
    rows = cursor.execute(f"DESCRIBE {database}.{table}").fetchall()
    return {name: kind for name, kind, *_ in rows}
