"""
A profile as Arrow tables, the way it is stored: one dictionary each of functions, frames, call-tree nodes and stacks,
and the samples that point to stacks.

Tables point to each other by position (`function`, `parent`, `stack` …, from 0). Ids are content hashes (hashing.py),
the same everywhere, so the dictionaries of many profiles merge by id.

    function   name, file, start line                        a file moved or a line added above makes another one
    frame      function, line, inlined
    node       names of the functions from the root to here  a comment above a function changes nothing
    stack      its frames from the leaf to the root

Everything is done for whole arrays at once: a profile of 50,000 samples has two million frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnose.pprof.arrays import Positions, dense, first_places
from diagnose.pprof.hashing import Hashes, hash_text
from diagnose.pprof.hashtable import HashTable
from diagnose.pprof.kinds import observation_counts
from diagnose.pprof.labels import SampleLabels, read_labels
from diagnose.pprof.names import is_profiler, origin_of
from diagnose.pprof.nodes import Nodes, build_nodes
from diagnose.pprof.stacks import Frames, Functions, Program, Stacks
from diagnose.pprof.wire import Wire

POSITION = pa.int32()
FUNCTIONS = pa.schema(
    [
        pa.field("function_id", pa.uint64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("start_line", pa.int64(), nullable=False),
        pa.field("package", pa.string(), nullable=False),
        pa.field("is_std", pa.bool_(), nullable=False),
        pa.field("is_runtime", pa.bool_(), nullable=False),
        pa.field("is_own", pa.bool_(), nullable=False),
    ]
)
FRAMES = pa.schema(
    [
        pa.field("frame_id", pa.uint64(), nullable=False),
        pa.field("function", POSITION, nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("inlined", pa.bool_(), nullable=False),
    ]
)
NODES = pa.schema(
    [
        pa.field("node_id", pa.uint64(), nullable=False),
        pa.field("parent", POSITION),
        pa.field("function", POSITION, nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("outer_most", pa.bool_(), nullable=False),
    ]
)
STACKS = pa.schema(
    [
        pa.field("stack_id", pa.uint64(), nullable=False),
        pa.field("leaf", POSITION),
        pa.field("own", POSITION),
        pa.field("is_profiler", pa.bool_()),
        pa.field("nodes", pa.list_(POSITION)),
        pa.field("frames", pa.list_(POSITION)),
    ]
)
SAMPLES = pa.schema(
    [
        pa.field("stack", POSITION, nullable=False),
        pa.field("values", pa.list_(pa.int64()), nullable=False),
        pa.field("observations", pa.list_(pa.float64()), nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("labels", pa.string(), nullable=False),
        pa.field("numbers", pa.string(), nullable=False),
    ]
)
WEIGHTS = pa.schema(
    [
        pa.field("stack", POSITION, nullable=False),
        pa.field("place", pa.int32(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
        pa.field("observations", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class ProfileColumns:
    """
    One profile as six tables with the schemas above.

    A node of depth 1 is a root and has no parent; parents stand before their children. `outer_most` is false when an
    ancestor has the same function name, so cum of a function = Σ totals of its outermost nodes. `function` of a node is
    the first function of that name seen there.

    `nodes` of a stack run root → leaf, `frames` leaf → root (they are as many); `leaf` (a node) and `own` (the function
    `names.own_frame` picks) are NULL for an empty stack; `is_profiler`: it exists only because a profile was taken. Of
    a stack that was told of before there is only the id.

    Samples of equal stack, ids and labels are one row; labels and numbers are JSON objects: as lists of structs they
    cost as much to insert as half of all the rest. `observations` are those of `kinds.observations` for each value
    type, without the negative ones, as in `diff`. Weights are the samples added up per stack and value type (`place`,
    from 0), those of a value type together, none of them nothing.
    """

    functions: pa.Table
    frames: pa.Table
    nodes: pa.Table
    stacks: pa.Table
    samples: pa.Table
    weights: pa.Table

    @property
    def nbytes(self) -> int:
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))


def columns_of(wire: Wire, program: Program, told: HashTable | None = None) -> ProfileColumns:
    """The tables of one file. Of stacks that are in *told* there is only the id; the others are added to it."""
    stacks = program.stacks
    chosen = np.arange(len(stacks.ids)) if told is None else np.flatnonzero(told.find(stacks.ids) == 0)
    new = program if len(chosen) == len(stacks.ids) else program.only(chosen)
    nodes = _nodes(new)
    if told is not None:
        told.add(new.stacks.ids, np.ones(len(chosen), np.int32))
    origins = _origins(new.functions)
    observations = _observations(wire)
    return ProfileColumns(
        functions=_function_table(new.functions, origins),
        frames=_table([new.frames.ids, new.frames.function, new.frames.line, new.frames.inlined], FRAMES),
        nodes=_node_table(nodes, new.frames),
        stacks=_among(stacks.ids, chosen, _stack_table(new, origins, nodes)),
        samples=_sample_table(wire, stacks, observations),
        weights=_weight_table(wire, stacks, observations),
    )


def _nodes(program: Program) -> Nodes:
    """Nodes are told apart by name, not by function."""
    names = np.array([hash_text(name) for name in program.functions.names], np.uint64)
    name_of_function, first = dense(names)
    stacks = program.stacks
    return build_nodes(stacks.frames, stacks.ends, name_of_function[program.frames.function], names[first])


@dataclass(frozen=True)
class _Origins:
    """Columns of `names.Origin`."""

    package: list[str]
    is_std: NDArray[np.bool_]
    is_runtime: NDArray[np.bool_]
    is_own: NDArray[np.bool_]


def _origins(functions: Functions) -> _Origins:
    origins = list(map(origin_of, functions.names, functions.files))
    package, *flags = zip(*origins, strict=True) if origins else ((),) * 4
    return _Origins(list(package), *(np.array(each, np.bool_) for each in flags))


def _function_table(functions: Functions, origins: _Origins) -> pa.Table:
    of_file = [functions.ids, functions.names, functions.files, functions.start_lines]
    return _table([*of_file, origins.package, origins.is_std, origins.is_runtime, origins.is_own], FUNCTIONS)


def _node_table(nodes: Nodes, frames: Frames) -> pa.Table:
    function = frames.function[nodes.first_frames]
    return _table([nodes.ids, _or_null(nodes.parents), function, nodes.depths, nodes.outer_most], NODES)


def _stack_table(program: Program, origins: _Origins, nodes: Nodes) -> pa.Table:
    function, stacks, ends = program.frames.function, program.stacks, program.stacks.ends
    is_profiling = np.array([is_profiler(name) for name in program.functions.names], np.bool_)
    own = _own_places(origins.is_own[function], origins.is_runtime[function], stacks)
    is_empty = ends[1:] == ends[:-1]
    offsets = pa.array(ends, pa.int32())
    columns = [
        stacks.ids,
        _or_null(_taken(nodes.flat, np.where(is_empty, -1, ends[1:] - 1))),
        _or_null(_taken(function, _taken(stacks.frames, own))),
        first_places(is_profiling[function], stacks.frames, ends) >= 0,
        pa.ListArray.from_arrays(offsets, pa.array(nodes.flat)),
        pa.ListArray.from_arrays(offsets, pa.array(stacks.frames)),
    ]
    return _table(columns, STACKS)


def _among(ids: Hashes, chosen: Positions, rows: pa.Table) -> pa.Table:
    """*rows* at their places among all stacks; the others have an id and nothing else."""
    if len(chosen) == len(ids):
        return rows
    places = np.full(len(ids), -1)
    places[chosen] = np.arange(len(chosen))
    return rows.take(pa.array(places, mask=places < 0)).set_column(0, rows.schema.field(0), pa.array(ids))


def _own_places(is_own: NDArray[np.bool_], is_runtime: NDArray[np.bool_], stacks: Stacks) -> Positions:
    """As `names.own_frame`, by frame: where the one to name to a human stands; -1 in an empty stack."""
    own = first_places(is_own, stacks.frames, stacks.ends)
    outside = first_places(~is_runtime, stacks.frames, stacks.ends)
    leaf = np.where(stacks.ends[1:] > stacks.ends[:-1], stacks.ends[:-1], -1)
    return np.where(own >= 0, own, np.where(outside >= 0, outside, leaf))


def _observations(wire: Wire) -> NDArray[np.float64]:
    """Per sample and value type."""
    return np.column_stack(
        [
            np.maximum(0.0, observation_counts(wire.value_types, wire.values, wire.head.period, each.type))
            for each in wire.value_types
        ]
    )


def _weight_table(wire: Wire, stacks: Stacks, observations: NDArray[np.float64]) -> pa.Table:
    count = len(stacks.ids)
    values = _added_up(wire.values, stacks.of_sample, count)
    observed = _added_up(observations, stacks.of_sample, count)
    place, stack = np.nonzero((values.T != 0) | (observed.T != 0))
    columns = [stack.astype(np.int32), place.astype(np.int32), values[stack, place], observed[stack, place]]
    return _table(columns, WEIGHTS)


def _sample_table(wire: Wire, stacks: Stacks, observations: NDArray[np.float64]) -> pa.Table:
    labels = read_labels(wire.labels, wire.texts, len(wire.values))
    row_of_sample, first = _rows(stacks, labels)
    columns = [
        stacks.of_sample[first],
        _lists(_added_up(wire.values, row_of_sample, len(first))),
        _lists(_added_up(observations, row_of_sample, len(first))),
        labels.trace_ids.at(first),
        labels.span_ids.at(first),
        labels.labels.at(first),
        labels.numbers.at(first),
    ]
    return _table(columns, SAMPLES)


def _rows(stacks: Stacks, labels: SampleLabels) -> tuple[Positions, Positions]:
    """(which row each sample goes to, the first sample of each row)."""
    parts = (labels.trace_ids, labels.span_ids, labels.labels, labels.numbers)
    return dense(stacks.of_sample, *(part.of_sample for part in parts))


def _added_up(values: NDArray[Any], row_of_sample: Positions, rows: int) -> NDArray[Any]:
    if rows == len(values):
        return values
    order = np.argsort(row_of_sample, kind="stable")
    starts = np.searchsorted(row_of_sample[order], np.arange(rows))
    return np.add.reduceat(values[order], starts, axis=0)


def _lists(matrix: NDArray[Any]) -> pa.Array:
    rows, width = matrix.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(matrix.ravel()))


def _taken(values: NDArray[Any], places: Positions) -> Positions:
    """-1 where there is no place."""
    taken = np.full(len(places), -1)
    there = places >= 0
    taken[there] = values[places[there]]
    return taken


def _or_null(places: Positions) -> pa.Array:
    return pa.array(places.astype(np.int32), mask=places < 0)


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """*columns* in the order of *schema*: Arrow arrays as they are, anything else converted to the field's type."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
