"""
The dictionaries of profiles: every function, frame, call-tree node and stack once, numbered from 1 as they come.

Profiles bring content hashes (pprof/columns.py), which are the same everywhere but do not compress; the tables join on
small numbers. Who is known already is asked of the tables themselves, inside the job of the one telemetry writer: no
copy in memory that a rolled-back job could leave wrong. Stacks are asked for first: what a known one is made of is
known too, and most profiles of a service bring few new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnose.pprof.arrays import Positions, dense, numbers_of
from diagnose.pprof.columns import ProfileColumns
from diagnose.store.arrow import append, registered
from diagnose.store.queries import load_queries

QUERIES = load_queries("dictionary")
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
        """What the new stacks are made of."""
        stacks = self._new(self.tables["stack"], "stack")
        for column, name in LISTS_OF.items():
            self.wanted[name] = self._mentioned(name, _flat(stacks[column]).flatten().to_numpy())
        functions = [
            self.tables[name]["function"].take(pa.array(self.wanted[name])).to_numpy() for name in LISTS_OF.values()
        ]
        self.wanted["function"] = self._mentioned("function", np.concatenate(functions))

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


def save_dictionaries(cursor: duckdb.DuckDBPyConnection, profiles: Sequence[ProfileColumns]) -> list[pa.Array]:
    """Add what is new in all *profiles*, with one look at each dictionary. The results number the stacks of each."""
    all_of_them = [_Profile.of(columns) for columns in profiles]
    stacks = _Wanted(all_of_them, "stack")
    with registered(cursor, wanted=stacks.table()):
        found = cursor.execute(QUERIES["known_stacks"]).fetchnumpy()
    stacks.found(found["place"], found["number"])
    if stacks.are_new.any():
        _save_new(cursor, all_of_them, stacks)
    else:
        stacks.number(last=0)
    return [pa.array(profile.numbers["stack"]) for profile in all_of_them]


def _save_new(cursor: duckdb.DuckDBPyConnection, profiles: Sequence[_Profile], stacks: _Wanted) -> None:
    [last] = cursor.execute(QUERIES["last_numbers"]).fetchall()
    stacks.number(last=last[3])
    for profile in profiles:
        profile.want_parts()
    parts = [_Wanted(profiles, name) for name in PARTS]
    with registered(cursor, wanted=pa.concat_tables(part.table(dictionary=at) for at, part in enumerate(parts))):
        found = cursor.execute(QUERIES["known_parts"]).fetchnumpy()
    for at, part in enumerate(parts):
        here = found["dictionary"] == at
        part.found(found["place"][here], found["number"][here])
        part.number(last=last[at])
    for name in (*PARTS, "stack"):
        append(cursor, name, pa.concat_tables(profile.new_rows(name) for profile in profiles))


class _Wanted:
    """The wanted rows of one table of all profiles, those with the same id together."""

    def __init__(self, profiles: Sequence[_Profile], name: str) -> None:
        self._profiles = profiles
        self._name = name
        ids = [profile.ids(name) for profile in profiles]
        self._ends = np.cumsum([len(each) for each in ids])[:-1]
        whole = np.concatenate(ids)
        self._number, self._first = dense(whole)
        self._ids = whole[self._first]
        self._known = np.zeros(len(self._ids), np.int32)

    def table(self, dictionary: int = 0) -> pa.Table:
        places = np.arange(len(self._ids), dtype=np.int32)
        return pa.table({"dictionary": np.full(len(places), dictionary, np.int32), "id": self._ids, "place": places})

    def found(self, places: Positions, numbers: NDArray[np.int32]) -> None:
        self._known[places] = numbers

    @property
    def are_new(self) -> NDArray[np.bool_]:
        return np.asarray(self._known == 0)

    def number(self, *, last: int) -> None:
        """Give the next numbers to those without one, and tell the profiles; the first to bring one inserts it."""
        is_new = self.are_new
        own = self._known.copy()
        own[is_new] = np.arange(last + 1, last + 1 + is_new.sum(), dtype=np.int32)
        to_insert = np.zeros(len(self._number), np.bool_)
        to_insert[self._first[is_new]] = True
        shares = zip(
            self._profiles, np.split(own[self._number], self._ends), np.split(to_insert, self._ends), strict=True
        )
        for profile, numbers, inserts in shares:
            wanted = profile.wanted[self._name]
            profile.numbers[self._name] = np.zeros(profile.tables[self._name].num_rows, np.int32)
            profile.numbers[self._name][wanted] = numbers
            profile.new[self._name] = wanted[inserts]


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array that starts at offset 0. Of one chunk `combine_chunks` makes a copy."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1 and column.chunk(0).offset == 0:
        return column.chunk(0)
    return column.combine_chunks()
