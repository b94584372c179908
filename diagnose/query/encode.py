"""Rows → the body of an answer, in the child: the server only passes it on."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diagnose.query.values import json_column


def encode(table: pa.Table, form: str, about: dict[str, Any]) -> bytes:
    """
    The body as `json`, `csv` (values as in JSON, nested ones as JSON text), `arrow` (IPC stream) or `parquet`.

    *about* (`truncated`, `elapsed_ms`, `as_of`) stands in JSON, and as metadata in Arrow and Parquet. Each field of
    *table* has its DuckDB type as metadata.
    """
    if form == "json":
        shape = {"columns": _columns(table), "rows": _rows(table), "row_count": table.num_rows, **about}
        return json.dumps(shape, ensure_ascii=False).encode()
    if form == "csv":
        return _csv(table).encode()
    sink = io.BytesIO()
    table = table.replace_schema_metadata({name: json.dumps(value) for name, value in about.items()})
    if form == "parquet":
        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def _columns(table: pa.Table) -> list[dict[str, str]]:
    """Name and DuckDB type of each column."""
    return [{"name": field.name, "type": (field.metadata or {}).get(b"duckdb", b"").decode()} for field in table.schema]


def _rows(table: pa.Table) -> list[list[Any]]:
    """Values in column order, as JSON can hold them."""
    types = [column["type"] for column in _columns(table)]
    columns = [json_column(column, kind) for column, kind in zip(table.columns, types, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _csv(table: pa.Table) -> str:
    """RFC 4180 with a head; nothing is an empty field, an empty text a quoted one."""
    lines = [table.column_names, *_rows(table)]
    return "".join(",".join(map(_csv_field, line)) + "\n" for line in lines)


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return '"' + text.replace('"', '""') + '"'
