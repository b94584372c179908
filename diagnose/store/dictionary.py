"""
The dictionaries of profiles: every function, frame, call-tree node and stack once, numbered from 1 as they come.

Profiles bring content hashes (pprof/columns.py), which are the same everywhere but do not compress; the tables join on
small numbers. Who is known already is asked of the tables themselves, inside the job of the one telemetry writer: no
copy in memory that a rolled-back job could leave wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnose.pprof.columns import ProfileColumns
from diagnose.pprof.names import is_profiler
from diagnose.store.arrow import insert_all, registered


@dataclass(frozen=True)
class Numbers:
    """
    The numbers of some ids. `is_new` says, in the order the ids were given, which ones have no row yet.
    """

    sorted_ids: NDArray[np.int64]
    sorted_numbers: NDArray[np.int32]
    numbers: NDArray[np.int32]
    is_new: NDArray[np.bool_]

    def of(self, ids: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Number by number; nothing stays nothing. All *ids* must be known."""
        plain = _flat(ids)
        missing = plain.is_null().to_numpy(zero_copy_only=False)
        wanted = plain.fill_null(0).to_numpy().astype(np.int64)
        places = np.searchsorted(self.sorted_ids, wanted)
        found = self.sorted_numbers[np.minimum(places, len(self.sorted_numbers) - 1)] if len(wanted) else places
        return pa.array(found, pa.int32(), mask=missing)

    def of_lists(self, lists: pa.Array | pa.ChunkedArray) -> pa.Array:
        """The same for a column of lists."""
        plain = _flat(lists)
        return pa.ListArray.from_arrays(plain.offsets, self.of(plain.values))


def save_dictionaries(cursor: duckdb.DuckDBPyConnection, columns: ProfileColumns) -> Numbers:
    """Add what is new in *columns*. The result gives the number of each of its stacks."""
    functions = _numbers(cursor, "function", columns.functions)
    _insert(cursor, "function", columns.functions, functions)
    frames = _numbers(cursor, "frame", columns.frames)
    _insert(cursor, "frame", _replace(columns.frames, function_no=functions.of(columns.frames["function_id"])), frames)
    nodes = _numbers(cursor, "node", columns.nodes)
    _insert(cursor, "node", _node_rows(columns.nodes, functions, nodes), nodes)
    stacks = _numbers(cursor, "stack", columns.stacks)
    profiler = _profiler_stacks(columns)
    _insert(cursor, "stack", _stack_rows(columns.stacks, functions, frames, nodes, profiler), stacks)
    return stacks


def _node_rows(rows: pa.Table, functions: Numbers, nodes: Numbers) -> pa.Table:
    return _replace(rows, parent_no=nodes.of(rows["parent_id"]), function_no=functions.of(rows["function_id"]))


def _stack_rows(
    rows: pa.Table, functions: Numbers, frames: Numbers, nodes: Numbers, profiler: NDArray[np.bool_]
) -> pa.Table:
    return _replace(
        rows,
        leaf_no=nodes.of(rows["leaf_id"]),
        own_no=functions.of(rows["own_id"]),
        is_profiler=pa.array(profiler),
        nodes=nodes.of_lists(rows["nodes"]),
        frames=frames.of_lists(rows["frames"]),
    )


def _profiler_stacks(columns: ProfileColumns) -> NDArray[np.bool_]:
    """Which stacks exist only because a profile was being taken (names.is_profiler_itself)."""
    names = columns.functions["name"].to_pylist()
    of_profiler = columns.functions["function_id"].filter(pa.array([is_profiler(name) for name in names], pa.bool_()))
    frames = columns.frames.filter(pc.is_in(columns.frames["function_id"], of_profiler))["frame_id"]
    lists = _flat(columns.stacks["frames"])
    hits = pc.is_in(lists.values, frames).to_numpy(zero_copy_only=False)
    before = np.concatenate([[0], np.cumsum(hits)])
    ends = lists.offsets.to_numpy()
    return np.asarray(before[ends[1:]] > before[ends[:-1]])


def _numbers(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> Numbers:
    """The numbers the ids of *rows* have in *table*, or will have: the next ones in order."""
    ids = _flat(rows[f"{table}_id"]).cast(pa.int64())
    numbers = np.zeros(len(ids), np.int32)
    with registered(cursor, wanted=pa.table({"id": ids, "place": pa.array(np.arange(len(ids), dtype=np.int32))})):
        known = f"SELECT place, {table}_no AS no FROM wanted JOIN {table} ON {table}_id = id"  # noqa: S608  our names
        found = cursor.execute(known).fetchnumpy()
    numbers[found["place"]] = found["no"]
    is_new = numbers == 0
    [(last,)] = cursor.execute(f"SELECT coalesce(max({table}_no), 0) FROM {table}").fetchall()  # noqa: S608  our names
    numbers[is_new] = np.arange(last + 1, last + 1 + is_new.sum(), dtype=np.int32)
    order = np.argsort(ids.to_numpy())
    return Numbers(ids.to_numpy()[order], numbers[order], numbers, is_new)


def _insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, numbers: Numbers) -> None:
    """The new ones of *rows*, whose further ids were replaced by numbers already."""
    own_id = _flat(rows[f"{table}_id"]).cast(pa.int64())
    numbered = _replace(rows, **{f"{table}_no": pa.array(numbers.numbers), f"{table}_id": own_id})
    insert_all(cursor, table, numbered.filter(pa.array(numbers.is_new)))


def _replace(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    """
    *rows* with these columns added or replaced. An id for which there is now a number is dropped:

        parent_no takes the place of parent_id, but node_no stands beside node_id
    """
    kept = {name: rows[name] for name in rows.column_names} | columns
    for name in columns:
        subject = name.removesuffix("_no")
        if name.endswith("_no") and f"{subject}_id" not in columns:
            kept.pop(f"{subject}_id", None)
    return pa.table(kept)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One contiguous array that starts at offset 0."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
