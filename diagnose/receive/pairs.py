"""Attribute lists as Arrow columns: keys distinct, texts as documented, secrets masked; `otlp_values` for many."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from diagnose.pprof.hashing import sums
from diagnose.receive.arrays import Ints, chosen, offsets_of
from diagnose.receive.otlp_values import AttributeReader
from diagnose.receive.wire import UnusualError
from diagnose.redact import MASK, Redactor
from diagnose.store.series import Hashes, hash_of_pair

NO_TEXTS = pa.array([], pa.string())
FLAGS_AT_MOST = 1 << 24  # bytes; beyond that repeated keys are looked for by sorting
SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


@dataclass(frozen=True)
class Pairs:
    """Lists of (key, text); those of list *i* are at `offsets[i]` to `offsets[i + 1]`. No list has a key twice."""

    offsets: npt.NDArray[np.int32]
    keys: pa.DictionaryArray
    texts: pa.StringArray

    @cached_property
    def names(self) -> list[str]:
        """The distinct keys; `codes` are positions in it."""
        return list(self.keys.dictionary.to_pylist())

    @cached_property
    def codes(self) -> npt.NDArray[np.int32]:
        codes: npt.NDArray[np.int32] = self.keys.indices.to_numpy()
        return codes

    @cached_property
    def rows(self) -> Ints:
        """The list of each pair."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def lists(self) -> pa.ListArray:
        """As arrow.TEXT_PAIRS."""
        keys = self.keys.dictionary.take(self.keys.indices)
        pairs = pa.StructArray.from_arrays([keys, self.texts], ["key", "value"])
        return pa.ListArray.from_arrays(pa.array(self.offsets), pairs)

    def maps(self) -> pa.MapArray:
        """As arrow.TEXT_MAP."""
        keys = self.keys.dictionary.take(self.keys.indices)
        return pa.MapArray.from_arrays(pa.array(self.offsets), keys, self.texts)

    def column(self, name: str, count: int) -> pa.Array:
        """The text of one key for each of the *count* lists, null where it has none."""
        if name not in self.names:
            return pa.nulls(count, pa.string())
        at = np.flatnonzero(self.codes == self.names.index(name))
        positions = np.full(count, -1)
        positions[self.rows[at]] = at
        return chosen(self.texts, positions)

    def dictionaries(self) -> list[dict[str, str | None]]:
        """For a few lists, such as the resources of a request."""
        keys, texts = self.keys.to_pylist(), self.texts.to_pylist()
        ends = self.offsets.tolist()
        return [dict(zip(keys[a:b], texts[a:b], strict=True)) for a, b in pairwise(ends)]

    def hashes(self) -> Hashes:
        """For each list the sum of `hash_of_pair`, modulo 2⁶⁴; each distinct pair is hashed once."""
        texts = self.texts.dictionary_encode()
        values = [*texts.dictionary.to_pylist(), None]
        codes = texts.indices.fill_null(len(values) - 1).to_numpy()
        marks, which = np.unique(self.codes.astype(np.int64) * len(values) + codes, return_inverse=True)
        pairs = ((self.names[mark // len(values)], values[mark % len(values)]) for mark in marks.tolist())
        hashed = np.array([hash_of_pair(key, text) for key, text in pairs], np.uint64)
        return sums(hashed[which], self.offsets.astype(np.int64))

    def for_lists(self, lists: Ints, key: str, texts: pa.Array) -> Pairs:
        """
        The pairs of list `lists[i]` and (*key*, `texts[i]`), for each i.

            [[(a, 1)], []], lists [0, 0, 1], "q", [x, y, z]  →  [[(a, 1), (q, x)], [(a, 1), (q, y)], [(q, z)]]
        """
        counts = np.diff(self.offsets)[lists] + 1
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        positions = np.arange(offsets[-1]) + np.repeat(self.offsets[lists] - offsets[:-1], counts)
        positions[offsets[1:] - 1] = len(self.codes) + np.arange(len(lists))
        sources = pa.array(positions)
        keys = pa.concat_arrays([self.keys.cast(pa.string()), pa.array([key] * len(lists), pa.string())])
        found = Pairs(
            offsets, keys.take(sources).dictionary_encode(), pa.concat_arrays([self.texts, texts]).take(sources)
        )
        return _without_repeats(found)

    def kept(self, positions: Ints) -> Pairs:
        """Only the pairs at *positions*, which rise."""
        counts = np.bincount(self.rows[positions], minlength=len(self.offsets) - 1)
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        chosen_ones = pa.array(positions)
        return Pairs(offsets, self.keys.take(chosen_ones), self.texts.take(chosen_ones))


def pairs_of(lists: pa.ListArray, redactor: Redactor) -> Pairs:
    """KeyValue lists → Pairs, of a repeated key the last value. Raises UnusualError when a value is of two kinds."""
    entries = lists.values
    texts = _texts(entries.field("value"), AttributeReader(redactor)) if len(entries) else NO_TEXTS
    return text_pairs(offsets_of(lists), entries.field("key"), texts, redactor)


def text_pairs(offsets: npt.NDArray[np.int32], keys: pa.Array, texts: pa.Array, redactor: Redactor) -> Pairs:
    """Any keys and texts → Pairs without secrets and repeated keys."""
    return _without_repeats(_redacted(Pairs(offsets, keys.dictionary_encode(), texts), redactor))


def _redacted(pairs: Pairs, redactor: Redactor) -> Pairs:
    actions = [redactor.action(name) for name in pairs.names]
    if not any(actions):
        return pairs
    masked = np.array([action == "mask" for action in actions])[pairs.codes]
    hidden = Pairs(pairs.offsets, pairs.keys, pc.if_else(pa.array(masked), MASK, pairs.texts))
    dropped = np.array([action == "drop" for action in actions])[pairs.codes]
    return hidden.kept(np.flatnonzero(~dropped)) if dropped.any() else hidden


def _without_repeats(pairs: Pairs) -> Pairs:
    """A repeated key stays where it was first, with its last text, as in a dictionary."""
    if not len(pairs.codes):
        return pairs
    marks = pairs.rows * len(pairs.names) + pairs.codes
    if _all_distinct(marks, (len(pairs.offsets) - 1) * len(pairs.names)):
        return pairs
    _, first, which = np.unique(marks, return_index=True, return_inverse=True)
    last = np.empty(len(first), np.int64)
    last[which] = np.arange(len(marks))
    order = np.argsort(first)
    found = pairs.kept(first[order])
    return Pairs(found.offsets, found.keys, pairs.texts.take(pa.array(last[order])))


def _all_distinct(marks: Ints, bound: int) -> bool:
    if bound > FLAGS_AT_MOST:
        return len(np.unique(marks)) == len(marks)
    flags = np.zeros(bound, np.bool_)
    flags[marks] = True
    return int(np.count_nonzero(flags)) == len(marks)


def _texts(values: pa.StructArray, reader: AttributeReader) -> pa.Array:
    kinds = [(kind, array) for kind in TEXT_OF if (array := values.field(kind)).null_count < len(array)]
    if not kinds:
        return pa.nulls(len(values), pa.string())
    texts = pc.coalesce(*(TEXT_OF[kind](array, reader) for kind, array in kinds))
    if sum(len(array) - array.null_count for _, array in kinds) > len(texts) - texts.null_count:
        raise UnusualError("a value of two kinds")  # ptars keeps both, protobuf the last
    return texts


def _as_they_are(values: pa.Array, _: AttributeReader) -> pa.Array:
    return values


def _cast(values: pa.Array, _: AttributeReader) -> pa.Array:
    return values.cast(pa.string())


def reprs(numbers: pa.Array) -> pa.Array:
    """Shortest round trip, as Python has it: Arrow writes 1 for 1.0."""
    return pa.array(numbers.to_numpy().astype("U32"), pa.string())


def _doubles(values: pa.Array, _: AttributeReader) -> pa.Array:
    texts = reprs(values.drop_null())
    for wrong, right in SPECIAL.items():
        texts = pc.if_else(pc.equal(texts, wrong), right, texts)
    return _scattered(values, texts)


def _each(text: Callable[[AttributeReader, bytes], str | None]) -> Callable[[pa.Array, AttributeReader], pa.Array]:
    """The kinds that are rare and not flat, one by one."""

    def texts(values: pa.Array, reader: AttributeReader) -> pa.Array:
        found: Sequence[str | None] = [text(reader, value) for value in values.drop_null().to_pylist()]
        return _scattered(values, pa.array(found, pa.string()))

    return texts


def _scattered(values: pa.Array, texts: pa.Array) -> pa.Array:
    """*texts* of the values that are not null, at their places."""
    present = values.is_valid().to_numpy(zero_copy_only=False)
    return chosen(texts, np.where(present, np.cumsum(present) - 1, -1))


def _array(reader: AttributeReader, raw: bytes) -> str | None:
    return reader.text(AnyValue(array_value=_parsed(ArrayValue(), raw)))


def _list(reader: AttributeReader, raw: bytes) -> str | None:
    return reader.text(AnyValue(kvlist_value=_parsed(KeyValueList(), raw)))


def _parsed(message: Message, raw: bytes) -> Any:
    try:
        message.ParseFromString(raw)
    except ProtobufError as err:
        raise UnusualError(str(err)) from err
    return message


def _base64(_: AttributeReader, raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


TEXT_OF: dict[str, Callable[[pa.Array, AttributeReader], pa.Array]] = {
    "string_value": _as_they_are,
    "int_value": _cast,
    "bool_value": _cast,
    "double_value": _doubles,
    "bytes_value": _each(_base64),
    "array_value": _each(_array),
    "kvlist_value": _each(_list),
}
