"""Rows → Arrow tables → DuckDB tables: how telemetry gets in, many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
TEXT_MAP = pa.map_(pa.string(), pa.string())
TEXT_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))  # a map, for quick inserts


class MapColumn:
    """
    A column of maps from text to text (or nothing), as flat lists; building it from dictionaries is slower.

    Keys of one row must be distinct, or DuckDB refuses the whole table: a dictionary's are. `pairs` is the same column
    as TEXT_PAIRS, whose keys nobody compares.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._values: list[str | None] = []
        self._ends = [0]

    def add(self, row: Mapping[str, str | None]) -> None:
        self._keys.extend(row)
        self._values.extend(row.values())
        self._ends.append(len(self._keys))

    def array(self) -> pa.Array:
        return pa.MapArray.from_arrays(self._offsets(), *self._texts())

    def pairs(self) -> pa.Array:
        return pa.ListArray.from_arrays(self._offsets(), pa.StructArray.from_arrays(self._texts(), ["key", "value"]))

    def _offsets(self) -> pa.Array:
        return pa.array(self._ends, pa.int32())

    def _texts(self) -> list[pa.Array]:
        return [pa.array(self._keys, pa.string()), pa.array(self._values, pa.string())]


def table_of(rows: Sequence[tuple[Any, ...]], schema: pa.Schema, *ready: pa.Array) -> pa.Table:
    """A table out of row tuples; *ready* are finished arrays for the last columns of *schema*."""
    width = len(schema) - len(ready)
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    arrays = [pa.array(column, field.type) for column, field in zip(columns, list(schema)[:width], strict=True)]
    return pa.Table.from_arrays([*arrays, *ready], schema=schema)


@contextmanager
def registered(cursor: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Make Arrow tables visible to SQL on this cursor by their names."""
    for name, table in tables.items():
        cursor.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            cursor.unregister(name)


def insert_all(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """Append *rows*, whose columns are named as those of *table* (ours, never input)."""
    if rows.num_rows:
        with registered(cursor, incoming=rows):
            cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")  # noqa: S608  our own table name


def append(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    """The same for *rows* with all columns of the table in its order, half a millisecond quicker: there is no view."""
    if rows.num_rows:
        cursor.from_arrow(rows).insert_into(table)


def insert_new(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, *, key: str) -> None:
    """Append those of *rows* whose *key* is not in *table* yet, of equal ones the first."""
    if rows.num_rows:
        new = f"SELECT DISTINCT ON ({key}) * FROM incoming ANTI JOIN {table} USING ({key})"  # noqa: S608  our own names
        with registered(cursor, incoming=rows):
            cursor.execute(f"INSERT INTO {table} BY NAME {new}")
