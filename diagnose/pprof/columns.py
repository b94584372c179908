"""
Profile → Arrow tables, as they are stored: one dictionary each of functions, frames, call-tree nodes and stacks, and
the samples that point to stacks.

Ids are 64-bit content hashes (BLAKE2b), the same in every profile, process and version, so the dictionaries of many
profiles merge by id:

    function   name, file, start line                        a file moved or a line added above makes another one
    frame      function, line, inlined
    node       names of the functions from the root to here  a comment above a function changes nothing
    stack      its frames from the leaf to the root
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from diagnose.pprof.names import Origin, origin_of, own_frame, trace_and_span
from diagnose.pprof.profile import Frame, Profile, Sample

FOLDED_NUMBERS = frozenset({"bytes"})  # the allocation size in heap profiles: splits equal stacks, says little
_ROOT = -1

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
        pa.field("function_id", pa.uint64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("inlined", pa.bool_(), nullable=False),
    ]
)
NODES = pa.schema(
    [
        pa.field("node_id", pa.uint64(), nullable=False),
        pa.field("parent_id", pa.uint64()),
        pa.field("function_id", pa.uint64(), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("outer_most", pa.bool_(), nullable=False),
    ]
)
STACKS = pa.schema(
    [
        pa.field("stack_id", pa.uint64(), nullable=False),
        pa.field("leaf_id", pa.uint64()),
        pa.field("own_id", pa.uint64()),
        pa.field("nodes", pa.list_(pa.uint64()), nullable=False),
        pa.field("frames", pa.list_(pa.uint64()), nullable=False),
    ]
)
SAMPLES = pa.schema(
    [
        pa.field("stack_id", pa.uint64(), nullable=False),
        pa.field("values", pa.list_(pa.int64()), nullable=False),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("labels", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("numbers", pa.map_(pa.string(), pa.int64()), nullable=False),
    ]
)


@dataclass(frozen=True)
class ProfileColumns:
    """
    One profile as five tables with the schemas above.

    A node of depth 1 is a root and has no parent; `outer_most` is false when an ancestor has the same function name, so
    cum of a function = Σ totals of its outermost nodes. `function_id` of a node is the first function of that name seen
    there. `nodes` of a stack run root → leaf, `frames` leaf → root (they are as many); `leaf_id` and `own_id` (the
    function `names.own_frame` picks) are NULL for an empty stack. Samples of equal stack, ids and labels are one row.
    """

    functions: pa.Table
    frames: pa.Table
    nodes: pa.Table
    stacks: pa.Table
    samples: pa.Table


def to_columns(profile: Profile) -> ProfileColumns:
    """The tables of *profile*; about a second for 50,000 distinct stacks of 50 frames."""
    dictionary = _Dictionary()
    rows = _merge_samples(profile.samples, dictionary)
    return ProfileColumns(
        functions=dictionary.function_table(),
        frames=dictionary.frame_table(),
        nodes=dictionary.nodes.table(),
        stacks=dictionary.stack_table(),
        samples=_sample_table(rows),
    )


def hash64(data: bytes) -> int:
    """The first 8 bytes of BLAKE2b, little endian: stable for ever, unlike `hash()` of Python or DuckDB."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _bytes8(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=number < 0)


def function_id(frame: Frame) -> int:
    text = f"{frame.function}\0{frame.file}\0{frame.start_line}"
    return hash64(text.encode("utf-8", "surrogatepass"))


class _Dictionary:
    """
    Collects each distinct function, frame, node and stack once.

    Inside, frames, names and nodes are numbered as they come; ids are put in place of the numbers by Arrow at the end.
    Objects are looked up by identity, because hashing a Frame costs more than all the rest.
    """

    def __init__(self) -> None:
        self.functions: dict[int, tuple[Frame, Origin]] = {}  # function_id → its first frame
        self.frame_numbers: dict[int, int] = {}  # id(frame) → frame number
        self.numbers_by_id: dict[int, int] = {}  # frame_id → frame number
        self.frames: list[Frame] = []
        self.frame_ids = array("Q")
        self.frame_functions = array("Q")
        self.nodes = _Nodes()
        self.stack_ids: dict[int, int] = {}  # id(frames) → stack_id
        self.stacks: dict[int, tuple[int | None, int | None]] = {}  # stack_id → leaf node number, own_id
        self.stack_nodes = array("I")
        self.stack_frames = array("I")
        self.stack_ends = array("i", [0])

    def stack_id(self, frames: tuple[Frame, ...]) -> int:
        known = self.stack_ids.get(id(frames))
        if known is not None:
            return known
        numbers = self._frame_numbers(frames)
        ids = array("Q", map(self.frame_ids.__getitem__, numbers))
        stack_id = self.stack_ids[id(frames)] = hash64(ids.tobytes())
        if stack_id not in self.stacks:
            self._add_stack(stack_id, frames, numbers)
        return stack_id

    def _frame_numbers(self, frames: tuple[Frame, ...]) -> list[int]:
        try:
            return list(map(self.frame_numbers.__getitem__, map(id, frames)))
        except KeyError:
            return [self._frame_number(frame) for frame in frames]

    def _frame_number(self, frame: Frame) -> int:
        number = self.frame_numbers.get(id(frame))
        if number is None:
            number = self.frame_numbers[id(frame)] = self._add_frame(frame)
        return number

    def _add_frame(self, frame: Frame) -> int:
        owner = function_id(frame)
        self.functions.setdefault(owner, (frame, origin_of(frame.function, frame.file)))
        frame_id = hash64(_bytes8(owner) + _bytes8(frame.line) + bytes([frame.inlined]))
        number = self.numbers_by_id.setdefault(frame_id, len(self.frames))
        if number == len(self.frames):
            self.frames.append(frame)
            self.frame_ids.append(frame_id)
            self.frame_functions.append(owner)
            self.nodes.add_frame(frame.function, owner)
        return number

    def _add_stack(self, stack_id: int, frames: tuple[Frame, ...], numbers: list[int]) -> None:
        path = self.nodes.path(numbers)
        own = own_frame(frames)
        own_id = None if own is None else self.frame_functions[self._frame_number(own)]
        self.stacks[stack_id] = (path[-1] if path else None, own_id)
        self.stack_nodes.extend(path)
        self.stack_frames.extend(numbers)
        self.stack_ends.append(len(self.stack_nodes))

    def function_table(self) -> pa.Table:
        rows = self.functions.values()
        columns = [
            list(self.functions),
            [frame.function for frame, _ in rows],
            [frame.file for frame, _ in rows],
            [frame.start_line for frame, _ in rows],
            [origin.package for _, origin in rows],
            [origin.is_std for _, origin in rows],
            [origin.is_runtime for _, origin in rows],
            [origin.is_own for _, origin in rows],
        ]
        return _table(columns, FUNCTIONS)

    def frame_table(self) -> pa.Table:
        lines, inlined = [frame.line for frame in self.frames], [frame.inlined for frame in self.frames]
        return _table([_from_array(self.frame_ids), _from_array(self.frame_functions), lines, inlined], FRAMES)

    def stack_table(self) -> pa.Table:
        ends, node_ids = _from_array(self.stack_ends), self.nodes.id_column()
        leaves = pa.array([leaf for leaf, _ in self.stacks.values()], pa.uint32())
        nodes = node_ids.take(_from_array(self.stack_nodes))
        frames = _from_array(self.frame_ids).take(_from_array(self.stack_frames))
        columns = [
            list(self.stacks),
            node_ids.take(leaves),
            [own for _, own in self.stacks.values()],
            pa.ListArray.from_arrays(ends, nodes),
            pa.ListArray.from_arrays(ends, frames),
        ]
        return _table(columns, STACKS)


class _Nodes:
    """The call tree by function name. A node's id is the hash of its parent's id and its function's name."""

    def __init__(self) -> None:
        self.name_numbers: dict[str, int] = {}
        self.name_hashes: list[bytes] = []
        self.names_of_frames: list[int] = []  # frame number → name number
        self.functions_of_frames: list[int] = []  # frame number → function_id
        self.children: dict[int, int] = {}  # parent number << 32 | name number → node number
        self.parents = array("i")
        self.names = array("I")
        self.ids = array("Q")
        self.functions = array("Q")
        self.depths = array("i")
        self.outer_most: list[bool] = []

    def add_frame(self, function: str, owner: int) -> None:
        number = self.name_numbers.setdefault(function, len(self.name_hashes))
        if number == len(self.name_hashes):
            self.name_hashes.append(blake2b(function.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        self.names_of_frames.append(number)
        self.functions_of_frames.append(owner)

    def path(self, frame_numbers: list[int]) -> list[int]:
        """The node numbers of one stack, root → leaf; new nodes are added on the way."""
        children, names = self.children, self.names_of_frames
        node = _ROOT
        path: list[int] = []
        for frame in reversed(frame_numbers):
            child = children.get(node << 32 | names[frame])
            if child is None:
                child = self._add(node, frame, depth=len(path) + 1)
            path.append(child)
            node = child
        return path

    def _add(self, parent: int, frame: int, depth: int) -> int:
        name, node = self.names_of_frames[frame], len(self.ids)
        parent_id = _bytes8(0 if parent == _ROOT else self.ids[parent])
        self.children[parent << 32 | name] = node
        self.outer_most.append(not self._is_above(parent, name))
        self.parents.append(parent)
        self.names.append(name)
        self.ids.append(hash64(parent_id + self.name_hashes[name]))
        self.functions.append(self.functions_of_frames[frame])
        self.depths.append(depth)
        return node

    def _is_above(self, node: int, name: int) -> bool:
        names, parents = self.names, self.parents
        while node != _ROOT:
            if names[node] == name:
                return True
            node = parents[node]
        return False

    def id_column(self) -> pa.Array:
        return _from_array(self.ids)

    def table(self) -> pa.Table:
        parents = pa.array([None if parent == _ROOT else parent for parent in self.parents], pa.int32())
        columns = [
            self.id_column(),
            self.id_column().take(parents),
            _from_array(self.functions),
            _from_array(self.depths),
            self.outer_most,
        ]
        return _table(columns, NODES)


_ARROW_TYPES = {"Q": pa.uint64(), "I": pa.uint32(), "i": pa.int32()}


def _from_array(numbers: array[int]) -> pa.Array:
    """The numbers as an Arrow array on the same memory."""
    return pa.Array.from_buffers(_ARROW_TYPES[numbers.typecode], len(numbers), [None, pa.py_buffer(numbers)])


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """*columns* in the order of *schema*: Arrow arrays as they are, anything else converted to the field's type."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


_Labels = tuple[tuple[str, str], ...]
_Numbers = tuple[tuple[str, int], ...]
_RowKey = tuple[int, str | None, str | None, _Labels, _Numbers]


def _merge_samples(samples: Iterable[Sample], dictionary: _Dictionary) -> dict[_RowKey, tuple[int, ...]]:
    """(stack_id, trace_id, span_id, labels, numbers) → the sums of the values."""
    rows: dict[_RowKey, tuple[int, ...]] = {}
    for sample in samples:
        key = (dictionary.stack_id(sample.frames), *_identity(sample))
        known = rows.get(key)
        rows[key] = sample.values if known is None else tuple(map(int.__add__, known, sample.values))
    return rows


def _identity(sample: Sample) -> tuple[str | None, str | None, _Labels, _Numbers]:
    numbers: _Numbers = ()
    if sample.numbers:
        numbers = tuple(sorted(item for item in sample.numbers.items() if item[0] not in FOLDED_NUMBERS))
    if not sample.labels:
        return None, None, (), numbers
    trace_id, span_id, rest = trace_and_span(sample.labels)
    return trace_id, span_id, tuple(sorted(rest.items())), numbers


def _sample_table(rows: Mapping[_RowKey, tuple[int, ...]]) -> pa.Table:
    stack_ids, trace_ids, span_ids, labels, numbers = zip(*rows, strict=True) if rows else [()] * 5
    return _table([stack_ids, list(rows.values()), trace_ids, span_ids, labels, numbers], SAMPLES)
