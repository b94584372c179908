"""
The bytes of a profile → flat arrays, checked, without a Python object per sample.

ptars turns the message into Arrow columns; ids and indexes of the file become positions here. What `go tool pprof`
refuses is refused (dangling or repeated ids, indexes outside the string table, values that do not match the types).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ptars import HandlerPool

from diagnose.errors import DecodeError
from diagnose.pprof.arrays import Positions, dense, is_counted, numbers_of, positions_of
from diagnose.pprof.profile import ValueType
from diagnose.pprof.proto import profile_pb2 as pb

UNKNOWN = "<unknown>"
MAX_VALUE_TYPES = 64  # table weight numbers them; a profile of Go has four at most
_HANDLER = HandlerPool([pb.DESCRIPTOR]).get_for_message(pb.Profile.DESCRIPTOR)


class Texts:
    """
    The string table. Equal texts have one code, whatever their index; `codes` maps indexes to codes.

    Bytes that are no UTF-8 are replaced.
    """

    def __init__(self, table: pa.BinaryArray) -> None:
        encoded = _decoded(table).dictionary_encode()
        self.codes: Positions = numbers_of(encoded.indices)
        self._texts = encoded.dictionary

    def add(self, texts: Sequence[str]) -> Positions:
        """The codes of further *texts*, which need not be new."""
        first = len(self._texts)
        self._texts = pa.concat_arrays([self._texts, pa.array(texts, pa.string())])
        return np.arange(first, first + len(texts))

    def take(self, codes: Positions) -> pa.Array:
        """The texts of these codes; nothing for -1."""
        return self._texts.take(pa.array(codes, mask=codes < 0))

    def list(self, codes: Positions) -> list[str]:
        return list(self._texts.take(pa.array(codes)).to_pylist())


def _decoded(table: pa.BinaryArray) -> pa.StringArray:
    try:
        return table.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([entry.decode("utf-8", "replace") for entry in table.to_pylist()], pa.string())


@dataclass(frozen=True)
class Lines:
    """
    What stands at each location, innermost first; those of location *i* are `ends[i]:ends[i + 1]`, at least one.

    `name` and `file` are codes of `texts`.
    """

    name: Positions
    file: Positions
    start_line: Positions
    line: Positions
    inlined: NDArray[np.bool_]
    ends: Positions


@dataclass(frozen=True)
class Labels:
    """One entry per label of any sample; `owner` is the sample, texts are codes, 0 of `number` may be none."""

    owner: Positions
    key: Positions
    text: Positions
    number: Positions
    unit: Positions


@dataclass(frozen=True)
class Wire:
    """
    A whole file. `locations[ends[i]:ends[i + 1]]` are the positions in `lines` of sample *i*, leaf first; `values` has
    a row per sample and a column per value type.
    """

    texts: Texts
    value_types: tuple[ValueType, ...]
    lines: Lines
    locations: Positions
    ends: Positions
    values: NDArray[np.int64]
    labels: Labels
    head: Head


@dataclass(frozen=True)
class Head:
    """What the file says about itself besides its samples."""

    default_type: str
    period_type: ValueType | None
    period: int
    time_ns: int
    duration_ns: int
    binary: str
    build_id: str
    comments: tuple[str, ...]


def read_wire(raw: bytes) -> Wire:
    """Read the plain (not gzipped) bytes of a profile. Raises DecodeError."""
    try:
        row = _HANDLER.list_to_record_batch([raw])
    except ValueError as err:
        raise DecodeError(f"not a pprof profile: {err}", field="body") from err
    return _Reader(row).wire()


def ends_of(lists: pa.ListArray) -> Positions:
    return numbers_of(lists.offsets)


class _Reader:
    """Resolves the ids and string indexes of one message."""

    def __init__(self, row: pa.RecordBatch) -> None:
        self.row = row
        table = self.entries("string_table")
        self.texts = Texts(table if len(table) else pa.array([b""], pa.binary()))
        self.string_count = len(self.texts.codes)
        if self.texts.list(self.texts.codes[:1]) != [""]:
            raise DecodeError("entry 0 of the string table is not empty", field="string_table")

    def wire(self) -> Wire:
        samples = self.entries("sample")
        value_types = self._value_types(self.entries("sample_type"))
        location_ids = samples.field("location_id")
        return Wire(
            texts=self.texts,
            value_types=value_types,
            lines=self._lines(),
            locations=self._places(numbers_of(location_ids.values), "location", "a sample names location"),
            ends=ends_of(location_ids),
            values=_matrix(samples.field("value"), len(value_types)),
            labels=self._labels(samples.field("label")),
            head=self._head(),
        )

    def entries(self, name: str) -> Any:
        return self.row.column(name).values

    def codes(self, indexes: pa.Array) -> Positions:
        """String indexes as codes of `texts`."""
        wanted = numbers_of(indexes)
        outside = (wanted < 0) | (wanted >= self.string_count)
        if outside.any():
            index = wanted[outside][0]
            raise DecodeError(f"string {index} is outside the table of {self.string_count}", field="string_table")
        return self.texts.codes[wanted]

    def _text(self, name: str) -> str:
        return self.texts.list(self.codes(self.row.column(name)))[0]

    def _value_types(self, entries: pa.StructArray) -> tuple[ValueType, ...]:
        types, units = (self.texts.list(self.codes(entries.field(name))) for name in ("type", "unit"))
        if not types or "" in types:
            raise _unusable("a profile needs at least one value type, each with a name")
        if len(types) > MAX_VALUE_TYPES:
            raise _unusable(f"it has more than {MAX_VALUE_TYPES} value types")
        if len(set(types)) != len(types):
            raise _unusable(f"value types repeat: {', '.join(types)}")
        return tuple(map(ValueType, types, units))

    def _places(self, ids: Positions, table: str, what: str) -> Positions:
        """Ids of *table* as positions in it."""
        places = positions_of(numbers_of(self.entries(table).field("id")), ids)
        missing = np.flatnonzero(places < 0)
        if len(missing):
            raise DecodeError(f"{what} {ids[missing[0]]}, which is missing", field=table)
        return places

    def _check_ids(self, table: str) -> None:
        ids = numbers_of(self.entries(table).field("id"))
        if (ids == 0).any():
            raise DecodeError(f"a {table} has the reserved id 0", field=table)
        if not is_counted(ids) and len(dense(ids)[1]) != len(ids):
            raise DecodeError(f"two of the {table}s have the same id", field=table)

    def _lines(self) -> Lines:
        for table in ("function", "mapping", "location"):
            self._check_ids(table)
        lists = self.entries("location").field("line")
        lines, counts = lists.values, np.diff(ends_of(lists))
        source, out_ends = _at_least_one(counts)
        functions = self._places(numbers_of(lines.field("function_id")), "function", "a location names function")
        location = np.repeat(np.arange(len(counts)), np.maximum(counts, 1))
        name, file, start_line, line = self._line_columns(lines, functions, source)
        nameless = name == self.texts.codes[0]
        if nameless.any():
            name = np.where(nameless, self._unsymbolised()[location], name)
        last = out_ends[1:] - 1
        inlined = np.ones(len(source), np.bool_)
        inlined[last] = False
        return Lines(name, file, start_line, line, inlined, out_ends)

    def _line_columns(self, lines: Any, functions: Positions, source: Positions) -> list[Positions]:
        """Name, file, start line and line at each *source*, which is -1 where a location has no line."""
        table = self.entries("function")
        names, system_names = self.codes(table.field("name")), self.codes(table.field("system_name"))
        empty = self.texts.codes[0]
        names = np.where(names == empty, system_names, names)
        of_function = (names, self.codes(table.field("filename")), numbers_of(table.field("start_line")))
        columns = [column[functions] for column in of_function] + [numbers_of(lines.field("line"))]
        nothing = (empty, empty, 0, 0)
        if len(source) == len(functions):
            return columns
        return [
            np.where(source < 0, none, np.append(column, none)[source])
            for column, none in zip(columns, nothing, strict=True)
        ]

    def _unsymbolised(self) -> Positions:
        """How a frame without a name is called at each location, after its binary: `[libc.so.6]`."""
        table, mappings = self.entries("location"), self.entries("mapping")
        binaries = self.texts.list(self.codes(mappings.field("filename")))
        names = [f"[{binary.rsplit('/', 1)[-1]}]" if binary else UNKNOWN for binary in binaries]
        codes = self.texts.add([*names, UNKNOWN])
        at = positions_of(numbers_of(mappings.field("id")), numbers_of(table.field("mapping_id")))
        return codes[at]  # the last one where there is no mapping

    def _labels(self, lists: pa.ListArray) -> Labels:
        entries, counts = lists.values, np.diff(ends_of(lists))
        key, text, unit = (self.codes(entries.field(name)) for name in ("key", "str", "num_unit"))
        owner = np.repeat(np.arange(len(counts)), counts)
        return Labels(owner, key, text, numbers_of(entries.field("num")), unit)

    def _head(self) -> Head:
        mappings = self.entries("mapping")
        main = [self.texts.list(self.codes(mappings.field(name)[:1])) for name in ("filename", "build_id")]
        binary, build_id = (found[0] if found else "" for found in main)
        for name in ("doc_url", "drop_frames", "keep_frames"):
            self._text(name)
        return Head(
            default_type=self._text("default_sample_type"),
            period_type=self._period_type(),
            period=self.row.column("period")[0].as_py(),
            time_ns=self.row.column("time_nanos")[0].as_py(),
            duration_ns=self.row.column("duration_nanos")[0].as_py(),
            binary=binary,
            build_id=build_id,
            comments=tuple(self.texts.list(self.codes(self.entries("comment")))),
        )

    def _period_type(self) -> ValueType | None:
        column = self.row.column("period_type")
        if column.null_count:
            return None
        both = [self.texts.list(self.codes(column.field(name)))[0] for name in ("type", "unit")]
        return ValueType(*both)


def _at_least_one(counts: Positions) -> tuple[Positions, Positions]:
    """
    (source of each line, new ends) when every location without a line gets one, whose source is -1.

        counts 2 0 1  →  sources 0 1 -1 2, ends 0 2 3 4
    """
    new_ends = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])
    missing = np.repeat(counts == 0, np.maximum(counts, 1))
    source = np.cumsum(~missing) - 1
    return np.where(missing, -1, source), new_ends


def _matrix(lists: pa.ListArray, width: int) -> NDArray[np.int64]:
    counts = np.diff(ends_of(lists))
    wrong = np.flatnonzero(counts != width)
    if len(wrong):
        raise _unusable(f"sample {wrong[0]} has {counts[wrong[0]]} values for {width} value types")
    return numbers_of(lists.values).reshape(len(counts), width)


def _unusable(why: str) -> DecodeError:
    return DecodeError(f"not a usable profile: {why}", field="sample")
