"""
Spans out of the live table into a Parquet file, their lists of pairs written as what they are: maps.

A list of pairs and a map are the same in Arrow but for the name of the type. To DuckDB they are not: making a map of a
list compares all keys with each other, which costs more than all the rest (decision 6), and one key that is there twice
would keep every row from moving. Nothing is compared here: 5.7 CPU seconds a million spans in place of 10.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

Change = Callable[[Any], Any]

# Columns with few values; the others are shorter without a dictionary.
WITH_DICTIONARY = (
    "trace_id",
    "name",
    "kind",
    "service_name",
    "service_instance_id",
    "status_code",
    "http_request_method",
    "http_route",
    "http_response_status_code",
    "server_address",
    "url_path",
    "db_system_name",
    "rpc_method",
    "error_type",
    "resource_id",
    "scope_name",
    "attributes.key_value.key",
    "events.list.element.name",
    "events.list.element.attributes.key_value.key",
    "links.list.element.attributes.key_value.key",
)
WITH_STATISTICS = ("trace_id", "service_name", "start_time")  # what files are searched by


def write_live_spans(cursor: duckdb.DuckDBPyConnection, sorting: str, file: Path, *, row_group: int) -> None:
    """All rows that *cursor* sees in the live table. Raises OSError when the file cannot be written."""
    rows = cursor.sql(f"SELECT * FROM live_span {sorting}").to_arrow_reader(row_group)  # noqa: S608  our own
    with pq.ParquetWriter(
        file,
        _as_shown(rows.schema.empty_table()).schema,
        compression="zstd",
        use_dictionary=list(WITH_DICTIONARY),
        write_statistics=list(WITH_STATISTICS),
        store_schema=False,
    ) as writer:
        for batch in rows:  # never all at once: a span has a kilobyte here
            writer.write_table(_as_shown(pa.table(batch)), row_group)


def _as_shown(rows: pa.Table) -> pa.Table:
    columns = {name: rows[name] for name in rows.column_names}
    columns["attributes"] = _each_chunk(columns["attributes"], _as_map)
    for name in ("events", "links"):
        columns[name] = _each_chunk(columns[name], _with_maps)
    return pa.table(columns)


def _each_chunk(column: pa.ChunkedArray, change: Change) -> pa.ChunkedArray:
    if not column.num_chunks:
        return pa.chunked_array([change(column.combine_chunks())])
    return pa.chunked_array([change(chunk) for chunk in column.chunks])


def _as_map(pairs: pa.ListArray) -> pa.MapArray:
    keys, values = pairs.values.flatten()
    return pa.MapArray.from_arrays(pairs.offsets, keys, values)


def _with_maps(lists: pa.ListArray) -> pa.ListArray:
    """Lists of structs whose last field is a list of pairs."""
    structs = lists.values
    *others, attributes = structs.flatten()
    fields = [field.name for field in structs.type]
    return pa.ListArray.from_arrays(lists.offsets, pa.StructArray.from_arrays([*others, _as_map(attributes)], fields))
