"""What Arrow has no kernel for: parents of list entries, hex of bytes, which bytes are all zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from diagnose.store.arrow import TIME

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)  # two digits in each


def offsets_of(lists: pa.Array) -> npt.NDArray[np.int32]:
    """Where the entries of each list, text or byte string begin, and where the last ends."""
    if not len(lists):
        return np.zeros(1, np.int32)  # of nothing there may be no buffer
    return np.frombuffer(lists.buffers()[1], np.int32, len(lists) + 1, lists.offset * 4)


def parents_of(lists: pa.ListArray) -> Ints:
    """
    For each entry of `lists.values`, the list it is in.

        [[a, b], [], [c]]  →  [0, 0, 2]
    """
    return np.repeat(np.arange(len(lists)), np.diff(offsets_of(lists)))


def numbers(array: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The values of an array of numbers without nulls, seen as *dtype* of the same width."""
    if not len(array):
        return np.empty(0, dtype)
    wanted = np.dtype(dtype)
    return np.frombuffer(array.buffers()[1], wanted, len(array), array.offset * wanted.itemsize)


def _bytes_of(binary: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    offsets = offsets_of(binary)
    data = binary.buffers()[2]
    whole = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    return whole[offsets[0] : offsets[-1]], offsets - offsets[0]


def hex_of(binary: pa.Array) -> pa.StringArray:
    """Byte strings of any length as hexadecimal digits; no nulls."""
    data, offsets = _bytes_of(binary)
    digits = pa.py_buffer(HEX[data].tobytes())
    return pa.StringArray.from_buffers(len(binary), pa.py_buffer((offsets * 2).astype(np.int32).tobytes()), digits)


def any_set(binary: pa.Array) -> Bools:
    """Whether a byte string has a byte that is not zero."""
    data, offsets = _bytes_of(binary)
    seen = np.concatenate(([0], np.cumsum(data != 0)))
    return seen[offsets[1:]] > seen[offsets[:-1]]


def lengths_of(binary: pa.Array) -> npt.NDArray[np.int32]:
    return np.diff(offsets_of(binary))


def chosen(values: pa.Array, positions: Ints) -> pa.Array:
    """Those of *values* at *positions*; null where the position is negative."""
    return values.take(pa.array(positions, mask=positions < 0))


def micros_of(unix_nano: pa.Array) -> pa.Array:
    """Nanoseconds since 1970 as arrow.TIME; null where unknown (0)."""
    micros = (numbers(unix_nano, np.uint64) // 1000).astype(np.int64)
    return pa.array(micros, mask=micros == 0).cast(TIME)


def text_or_null(texts: pa.Array) -> pa.Array:
    """An empty text is none."""
    return pc.if_else(pc.not_equal(texts, ""), texts, None)
