"""
The dictionaries of profiles: every function, frame, call-tree node and stack once, numbered from 1 as they come.

Profiles bring content hashes (pprof/columns.py), which are the same everywhere but do not compress; the tables join on
small numbers. Stacks are looked up first: what a known one is made of is known too, and most profiles of a service
bring few new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnose.errors import StacksUnknown
from diagnose.pprof.arrays import Positions, dense, numbers_of
from diagnose.pprof.columns import ProfileColumns
from diagnose.pprof.hashtable import HashTable
from diagnose.store.arrow import append, registered
from diagnose.store.queries import load_queries

QUERIES = load_queries("dictionary")
MOST_IN_MEMORY = 2_000_000
PARTS = ("function", "frame", "node")  # of stacks
POINTS_TO = {"function": "function", "parent": "node", "leaf": "node", "own": "function"}  # columns that are positions
LISTS_OF = {"nodes": "node", "frames": "frame"}


@dataclass
class _Profile:
    """
    The tables of one profile; `wanted` are the rows of each that matter, `numbers` what they are called in the database
    (0: nobody asked), `new` those of them that have to be inserted.
    """

    tables: Mapping[str, pa.Table]
    wanted: dict[str, Positions] = field(default_factory=dict)
    numbers: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    new: dict[str, Positions] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: ProfileColumns) -> _Profile:
        tables = {"function": columns.functions, "frame": columns.frames, "node": columns.nodes}
        return cls({**tables, "stack": columns.stacks}, {"stack": np.arange(columns.stacks.num_rows)})

    def ids(self, name: str) -> Positions:
        return numbers_of(_flat(self.tables[name][f"{name}_id"]))[self.wanted[name]]

    def want_parts(self) -> None:
        """What the new stacks are made of. Raises StacksUnknown when that was left out of some."""
        stacks = self._new(self.tables["stack"], "stack")
        if stacks["nodes"].null_count:
            raise StacksUnknown("the profile leaves out stacks that are not stored")
        for column, name in LISTS_OF.items():
            self.wanted[name] = self._mentioned(name, _flat(stacks[column]).flatten().to_numpy())
        functions = [
            self.tables[name]["function"].take(pa.array(self.wanted[name])).to_numpy() for name in LISTS_OF.values()
        ]
        self.wanted["function"] = self._mentioned("function", np.concatenate(functions))

    def number(self, name: str, numbers: NDArray[np.int32], are_new: NDArray[np.bool_]) -> None:
        """Of those that are wanted."""
        wanted = self.wanted[name]
        self.numbers[name] = np.zeros(self.tables[name].num_rows, np.int32)
        self.numbers[name][wanted] = numbers
        self.new[name] = wanted[are_new]

    def _mentioned(self, name: str, positions: NDArray[np.int32]) -> Positions:
        """Each once and in order; sorting millions of them would take longer than all the rest."""
        is_mentioned = np.zeros(self.tables[name].num_rows, np.bool_)
        is_mentioned[positions] = True
        return np.flatnonzero(is_mentioned)

    def _new(self, rows: pa.Table, name: str) -> pa.Table:
        """Mostly few, of the first profile all of them: those are not copied."""
        return rows if len(self.new[name]) == rows.num_rows else rows.take(pa.array(self.new[name]))

    def numbered(self, name: str, positions: pa.ChunkedArray) -> pa.Array:
        """The numbers of rows of *name*; nothing stays nothing."""
        return pa.array(self.numbers[name]).take(_flat(positions))

    def new_rows(self, name: str) -> pa.Table:
        """Rows to insert, with numbers in place of positions."""
        rows = self._new(self.tables[name], name)
        columns = {
            f"{name}_no": self.numbered(name, pa.array(self.new[name])),
            f"{name}_id": rows[f"{name}_id"].cast(pa.int64()),
        }
        for column in rows.column_names:
            if column in POINTS_TO:
                columns[f"{column}_no"] = self.numbered(POINTS_TO[column], rows[column])
            elif column in LISTS_OF:
                lists = _flat(rows[column])
                numbers = self.numbered(LISTS_OF[column], lists.values)
                columns[column] = pa.ListArray.from_arrays(lists.offsets, numbers)
            elif column != f"{name}_id":
                columns[column] = rows[column]
        return pa.table(columns)


class Dictionaries:
    """
    What the telemetry writer knows of the four tables: the number of every hash, in memory.

    Asked of the tables, each import would read all their hashes. A table of more than *most_in_memory* rows is asked
    all the same: an entry takes 24 to 48 bytes.
    """

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most_in_memory = most_in_memory
        self._known: dict[str, _InMemory | _InTable] = {}
        self._as_of: int | None = None

    def save(
        self, cursor: duckdb.DuckDBPyConnection, profiles: Sequence[ProfileColumns], *, first: int, last: int
    ) -> list[pa.Array]:
        """
        Add what is new in all *profiles*, which get the numbers from *first* to *last*. The results number the stacks
        of each.

        The numbers tell whether the transaction of the last call was committed: when it was not, what it left in memory
        is forgotten. Raises StacksUnknown.
        """
        if self._as_of != first - 1:
            self._known.clear()
        self._as_of = last
        all_of_them = [_Profile.of(columns) for columns in profiles]
        if self._number(cursor, all_of_them, "stack"):
            for profile in all_of_them:
                profile.want_parts()
            for name in PARTS:
                self._number(cursor, all_of_them, name)
            for name in (*PARTS, "stack"):
                append(cursor, name, pa.concat_tables(profile.new_rows(name) for profile in all_of_them))
        return [pa.array(profile.numbers["stack"]) for profile in all_of_them]

    def _number(self, cursor: duckdb.DuckDBPyConnection, profiles: Sequence[_Profile], name: str) -> bool:
        """
        Tell the *profiles* the numbers of what they want of one table; whether any is new.

        What is new gets the next numbers, and the first profile that brings it inserts it.
        """
        known = self._table(cursor, name)
        ids = [profile.ids(name) for profile in profiles]
        whole = np.concatenate(ids)
        place, first = dense(whole)
        numbers = known.find(cursor, whole[first])
        is_new = numbers == 0
        numbers[is_new] = np.arange(known.last + 1, known.last + 1 + is_new.sum(), dtype=np.int32)
        known.add(whole[first[is_new]], numbers[is_new])
        to_insert = np.zeros(len(whole), np.bool_)
        to_insert[first[is_new]] = True
        ends = np.cumsum([len(each) for each in ids])[:-1]
        for profile, own, inserts in zip(
            profiles, np.split(numbers[place], ends), np.split(to_insert, ends), strict=True
        ):
            profile.number(name, own, inserts)
        return bool(is_new.any())

    def _table(self, cursor: duckdb.DuckDBPyConnection, name: str) -> _InMemory | _InTable:
        known = self._known.get(name)
        if known is None or (known.last > self._most_in_memory and isinstance(known, _InMemory)):
            [(last,)] = cursor.execute(QUERIES[f"last_{name}"]).fetchall()
            known = self._known[name] = (
                _InMemory(cursor, name, last) if last <= self._most_in_memory else _InTable(name, last)
            )
        return known


class _InMemory:
    """The numbers of one table; `last` is the largest."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, name: str, last: int) -> None:
        self.last = last
        self._numbers = HashTable()
        rows = cursor.execute(QUERIES[f"all_of_{name}"]).fetchnumpy()
        self._numbers.add(rows["id"], rows["number"])

    def find(self, _cursor: duckdb.DuckDBPyConnection, hashes: Positions) -> NDArray[np.int32]:
        """0 for those that are not there."""
        return self._numbers.find(hashes)

    def add(self, hashes: Positions, numbers: NDArray[np.int32]) -> None:
        self.last += len(hashes)
        self._numbers.add(hashes, numbers)


class _InTable:
    """The same of a table that is too large for memory."""

    def __init__(self, name: str, last: int) -> None:
        self.last = last
        self._name = name

    def find(self, cursor: duckdb.DuckDBPyConnection, hashes: Positions) -> NDArray[np.int32]:
        with registered(cursor, wanted=pa.table({"id": hashes, "place": np.arange(len(hashes), dtype=np.int32)})):
            rows = cursor.execute(QUERIES[f"some_of_{self._name}"]).fetchnumpy()
        numbers = np.zeros(len(hashes), np.int32)
        numbers[rows["place"]] = rows["number"]
        return numbers

    def add(self, hashes: Positions, _numbers: NDArray[np.int32]) -> None:
        """They are in the table as soon as they were inserted."""
        self.last += len(hashes)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array that starts at offset 0. Of one chunk `combine_chunks` makes a copy."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1 and column.chunk(0).offset == 0:
        return column.chunk(0)
    return column.combine_chunks()
