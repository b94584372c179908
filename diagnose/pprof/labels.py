"""
The labels of samples → their trace and span ids, and the rest as JSON objects, each distinct one once.

A CPU profile with a label per request has nearly as many label sets as samples; only ids differ, so they are taken out
first, by the rules of `names.trace_and_span`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnose.pprof.arrays import Positions, dense, slices
from diagnose.pprof.hashing import mix, sums
from diagnose.pprof.names import SPAN_KEYS, TRACE_KEYS, normalised_id
from diagnose.pprof.wire import Labels, Texts

FOLDED_NUMBERS = ("bytes",)  # the allocation size in heap profiles: splits equal stacks, says little
_NONE = -1
_IS_HEX = np.isin(np.arange(256), list(b"0123456789abcdef"))


@dataclass(frozen=True)
class Column:
    """Per sample the position of its value in `values`, -1 for none."""

    of_sample: Positions
    values: pa.Array

    def at(self, samples: Positions) -> pa.Array:
        places = self.of_sample[samples]
        return self.values.take(pa.array(places, mask=places < 0))


@dataclass(frozen=True)
class SampleLabels:
    """`labels` and `numbers` are JSON objects with sorted keys; they have a value for every sample, be it `{}`."""

    trace_ids: Column
    span_ids: Column
    labels: Column
    numbers: Column


def read_labels(labels: Labels, texts: Texts, count: int) -> SampleLabels:
    """Of *count* samples. Of a repeated key the last wins; a label without text, number and unit is none."""
    empty = texts.codes[0]
    is_text = labels.text != empty
    is_number = ~is_text & ((labels.number != 0) | (labels.unit != empty))
    keys = _keys(labels, texts)
    for name in FOLDED_NUMBERS:
        is_number &= labels.key != keys.get(name, _NONE)
    taker = _Taker(labels, texts, keys, count, is_text)
    trace_ids, span_ids = taker.take(TRACE_KEYS, digits=32), taker.take(SPAN_KEYS, digits=16)
    return SampleLabels(
        trace_ids=trace_ids,
        span_ids=span_ids,
        labels=_objects(_Entries.of(labels, texts, taker.left), labels.text, texts, count),
        numbers=_objects(_Entries.of(labels, texts, is_number), labels.number, None, count),
    )


def _keys(labels: Labels, texts: Texts) -> dict[str, int]:
    """The codes of the keys that occur."""
    codes = labels.key[dense(labels.key)[1]]
    return dict(zip(texts.list(codes), codes.tolist(), strict=True))


class _Taker:
    """Takes ids out of text labels; `left` says which entries are still there."""

    def __init__(
        self, labels: Labels, texts: Texts, keys: Mapping[str, int], count: int, is_text: NDArray[np.bool_]
    ) -> None:
        self.labels = labels
        self.texts = texts
        self.keys = keys
        self.count = count
        self.left = is_text.copy()

    def take(self, keys: Sequence[str], *, digits: int) -> Column:
        """The first of *keys* a sample has with a valid id decides."""
        found, ids = np.full(self.count, _NONE), pa.array([], pa.string())
        for key in keys:
            if key not in self.keys:
                continue
            here = np.flatnonzero((self.labels.key == self.keys[key]) & self.left)
            if len(here):
                places, valid = self._valid_ids(here, key, digits)
                places[found >= 0] = _NONE
                found = np.where(places >= 0, places + len(ids), found)
                ids = pa.concat_arrays([ids, valid])
                self.left[here] = places[self.labels.owner[here]] < 0
        return Column(found, ids)

    def _valid_ids(self, here: Positions, key: str, digits: int) -> tuple[Positions, pa.Array]:
        """(per sample the position of its id, -1 for none; the ids)."""
        last = np.full(self.count, _NONE)
        last[self.labels.owner[here]] = here  # of several, the last assignment stays
        owners = np.flatnonzero(last >= 0)
        number, first = dense(self.labels.text[last[owners]])
        ids = _normalised(self.texts.take(self.labels.text[last[owners]][first]), key, digits)
        is_valid = ids.is_valid().to_numpy(zero_copy_only=False)
        places = np.full(self.count, _NONE)
        places[owners] = np.where(is_valid[number], number, _NONE)
        return places, ids


def _normalised(texts: pa.Array, key: str, digits: int) -> pa.Array:
    """As names.normalised_id, which is asked only when one of them is not written the usual way."""
    if " " not in key and _are_ids(texts, digits):
        return texts
    ids = [normalised_id(text, digits=digits, decimal=" " in key) for text in texts.to_pylist()]
    return pa.array(ids, pa.string())


def _are_ids(texts: pa.Array, digits: int) -> bool:
    """Whether all are so many lower-case hex digits, not only zeros. *texts* is no slice."""
    if not len(texts) or not pc.all(pc.equal(pc.binary_length(texts), digits)).as_py():
        return False
    letters = np.frombuffer(texts.buffers()[2], np.uint8, len(texts) * digits)
    is_zero = letters.reshape(-1, digits) == ord("0")
    return bool(_IS_HEX[letters].all() and not is_zero.all(axis=1).any())


@dataclass(frozen=True)
class _Entries:
    """Some of the labels, sorted by owner, then by the text of the key; of a repeated key the last."""

    places: Positions
    owners: Positions
    keys: pa.Array
    key_numbers: Positions

    @classmethod
    def of(cls, labels: Labels, texts: Texts, chosen: NDArray[np.bool_]) -> Self:
        entries = np.flatnonzero(chosen)
        number, first = dense(labels.key[entries])
        names = texts.list(labels.key[entries][first])
        rank = np.empty(len(names), np.int64)
        rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        owners, ranks = labels.owner[entries], rank[number]
        order = np.lexsort((entries, ranks, owners))
        owners, ranks = owners[order], ranks[order]
        is_last = np.ones(len(order), np.bool_)
        is_last[:-1] = (owners[1:] != owners[:-1]) | (ranks[1:] != ranks[:-1])
        return cls(entries[order][is_last], owners[is_last], pa.array(sorted(names), pa.string()), ranks[is_last])


def _objects(entries: _Entries, values: Positions, texts: Texts | None, count: int) -> Column:
    """`{"key":value}` per sample, the value a code of *texts* or a number; each distinct object once."""
    if not len(entries.places):
        return Column(np.zeros(count, np.int64), pa.array(["{}"]))
    ends = np.searchsorted(entries.owners, np.arange(count + 1))
    chosen = values[entries.places]
    pairs = mix(entries.key_numbers.astype(np.uint64), chosen)
    of_sample, first = dense(sums(pairs, ends))
    places, object_ends = slices(ends, first)
    keys = _json(entries.keys).take(pa.array(entries.key_numbers[places]))
    items = pa.array(chosen[places]).cast(pa.string()) if texts is None else _json_of(texts, chosen[places])
    members = pc.binary_join_element_wise(keys, items, ":")
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(object_ends, pa.int32()), members), ",")
    return Column(of_sample, pc.binary_join_element_wise("{", joined, "}", ""))


def _json_of(texts: Texts, codes: Positions) -> pa.Array:
    number, first = dense(codes)
    return _json(texts.take(codes[first])).take(pa.array(number))


def _json(texts: pa.Array) -> pa.Array:
    return pa.array([json.dumps(text, ensure_ascii=False) for text in texts.to_pylist()], pa.string())
