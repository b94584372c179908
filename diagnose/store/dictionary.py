"""
The dictionaries of profiles: every function, frame, call-tree node and stack once, numbered from 1 as they come.

Profiles bring content hashes (pprof/columns.py), which are the same everywhere but do not compress; the tables join on
small numbers. Who is known already is asked of the tables themselves, inside the job of the one telemetry writer: no
copy in memory that a rolled-back job could leave wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnose.pprof.columns import ProfileColumns
from diagnose.store.arrow import insert_all, registered
from diagnose.store.queries import load_queries

QUERIES = load_queries("dictionary")
DICTIONARIES = ("function", "frame", "node", "stack")
POINTS_TO = {"function": "function", "parent": "node", "leaf": "node", "own": "function"}  # columns that are positions
LISTS_OF = {"nodes": "node", "frames": "frame"}


@dataclass(frozen=True)
class Numbers:
    """The number of each row of one table of a profile; `is_new` says which ones have no row in the database yet."""

    numbers: NDArray[np.int32]
    is_new: NDArray[np.bool_]

    def of(self, positions: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Number by number; nothing stays nothing."""
        return pa.array(self.numbers).take(_flat(positions))

    def of_lists(self, lists: pa.ChunkedArray | pa.Array) -> pa.Array:
        """The same for a column of lists."""
        plain = _flat(lists)
        return pa.ListArray.from_arrays(plain.offsets, self.of(plain.values))


def save_dictionaries(cursor: duckdb.DuckDBPyConnection, columns: ProfileColumns) -> Numbers:
    """Add what is new in *columns*. The result gives the number of each of its stacks."""
    tables = dict(zip(DICTIONARIES, (columns.functions, columns.frames, columns.nodes, columns.stacks), strict=True))
    numbers = _numbers(cursor, tables)
    for name, rows in tables.items():
        _insert_new(cursor, name, rows, numbers)
    return numbers["stack"]


def _numbers(cursor: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> dict[str, Numbers]:
    """The numbers the rows of each table have in the database, or will have: the next ones in order."""
    wanted = {f"wanted_{name}": _wanted(rows[f"{name}_id"]) for name, rows in tables.items()}
    with registered(cursor, **wanted):
        found = cursor.execute(QUERIES["known_numbers"]).fetchnumpy()
    [last] = cursor.execute(QUERIES["last_numbers"]).fetchall()
    numbers = {}
    for at, (name, rows) in enumerate(tables.items()):
        here = found["dictionary"] == at
        own = np.zeros(rows.num_rows, np.int32)
        own[found["place"][here]] = found["number"][here]
        is_new = own == 0
        own[is_new] = np.arange(last[at] + 1, last[at] + 1 + is_new.sum(), dtype=np.int32)
        numbers[name] = Numbers(own, is_new)
    return numbers


def _wanted(ids: pa.ChunkedArray) -> pa.Table:
    return pa.table({"id": ids.cast(pa.int64()), "place": pa.array(np.arange(len(ids), dtype=np.int32))})


def _insert_new(cursor: duckdb.DuckDBPyConnection, name: str, rows: pa.Table, numbers: Mapping[str, Numbers]) -> None:
    """The new ones of *rows*, with numbers in place of positions."""
    new = np.flatnonzero(numbers[name].is_new)
    if not len(new):
        return
    chosen = rows if len(new) == rows.num_rows else rows.take(pa.array(new))
    columns = {f"{name}_no": pa.array(numbers[name].numbers[new]), f"{name}_id": chosen[f"{name}_id"].cast(pa.int64())}
    for column in chosen.column_names:
        if column in POINTS_TO:
            columns[f"{column}_no"] = numbers[POINTS_TO[column]].of(chosen[column])
        elif column in LISTS_OF:
            columns[column] = numbers[LISTS_OF[column]].of_lists(chosen[column])
        elif column != f"{name}_id":
            columns[column] = chosen[column]
    insert_all(cursor, name, pa.table(columns))


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array that starts at offset 0."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
