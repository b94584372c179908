"""
Arrow columns → values JSON can hold exactly (docs/reference: SQL answers).

Integers beyond ±2^53 and decimals become strings, NaN and infinities `NaN`, `Infinity`, `-Infinity`, times RFC 3339 UTC
with microseconds, bytes base64, MAP and STRUCT objects. pyarrow's own conversion fails on times outside the years 1 to
9999, on maps with keys that are lists, and shows 0.1 of 32 bits as 0.10000000149011612.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from diagnose.model import rfc3339

EXACT_INTEGER = 2**53  # JavaScript reads larger ones wrongly
MICROS_PER = {"s": 1_000_000, "ms": 1000, "us": 1}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = {"us": 2**63 - 1, "day": 2**31 - 1}  # how DuckDB writes infinity


def json_column(column: pa.ChunkedArray, duckdb_type: str) -> list[Any]:
    """The values of one column of a result."""
    values = [value for chunk in column.chunks for value in json_values(chunk)]
    # Arrow brings these as decimals
    return [_whole(value) for value in values] if duckdb_type in ("HUGEINT", "UHUGEINT") else values


def json_values(array: pa.Array) -> list[Any]:
    """The values of one array, nested ones included."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return json_values(array.dictionary_decode())
    if pa.types.is_map(kind):
        return _nested(array, _map_entries(array), dict)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _nested(array, json_values(array.values), list)
    if pa.types.is_fixed_size_list(kind):
        return _fixed(array, kind.list_size)
    if pa.types.is_struct(kind):
        return _objects(array)
    return [None if value is None else _leaf(value, kind) for value in _plain(array)]


def _nested(array: pa.Array, values: list[Any], make: Callable[[list[Any]], Any]) -> list[Any]:
    ends = array.offsets.to_pylist()
    there = array.is_valid().to_pylist()
    return [make(values[ends[at] : ends[at + 1]]) if there[at] else None for at in range(len(array))]


def _map_entries(array: pa.Array) -> list[tuple[str, Any]]:
    keys = [key if isinstance(key, str) else json.dumps(key, ensure_ascii=False) for key in json_values(array.keys)]
    return list(zip(keys, json_values(array.items), strict=True))


def _fixed(array: pa.Array, size: int) -> list[Any]:
    values = json_values(array.values)
    start = array.offset
    there = array.is_valid().to_pylist()
    return [values[(start + at) * size : (start + at + 1) * size] if there[at] else None for at in range(len(array))]


def _objects(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [json_values(column) for column in array.flatten()]
    there = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else [()] * len(array)
    make = _named(names) if any(names) else list  # row(1, 2) has no names
    return [make(row) if is_there else None for row, is_there in zip(rows, there, strict=True)]


def _named(names: list[str]) -> Callable[[tuple[Any, ...]], Any]:
    return lambda row: dict(zip(names, row, strict=True))


def _plain(array: pa.Array) -> list[Any]:
    """Times as the numbers they are stored as, everything else as Python has it."""
    if pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    return list(array.to_pylist())


def _leaf(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind):
        return _moment(value, kind.unit)
    if pa.types.is_date32(kind):
        return _day(value)
    if pa.types.is_float32(kind):
        return _number(float(str(np.float32(value))))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case bool() | str():
            return value
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case _:  # decimals, times of day
            return str(value)


def _integer(value: int) -> int | str:
    return value if abs(value) <= EXACT_INTEGER else str(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else _infinite(value)


def _infinite(value: float) -> str:
    return "Infinity" if value > 0 else "-Infinity"


def _moment(value: int, unit: str) -> str:
    micros = value * MICROS_PER[unit] if unit in MICROS_PER else value // 1000
    if abs(micros) >= FOREVER["us"]:
        return _infinite(micros)
    try:
        return rfc3339(EPOCH + timedelta(microseconds=micros))
    except OverflowError:  # RFC 3339 has years of four digits only
        return f"{micros} microseconds since 1970"


def _day(days: int) -> str:
    if abs(days) >= FOREVER["day"]:
        return _infinite(days)
    try:
        return (EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return f"{days} days since 1970"


def _whole(text: str | None) -> int | str | None:
    return None if text is None else _integer(int(text))
