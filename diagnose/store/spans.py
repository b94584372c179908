"""Spans: stored as they arrive, found by trace or by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from diagnose.model import utc_now
from diagnose.store.arrow import TEXT_PAIRS, TIME, append
from diagnose.store.db import Store
from diagnose.store.manifest import FOLDER, SPAN_FILES, files_between, rows_in
from diagnose.store.queries import load_queries
from diagnose.store.received import remember_bodies
from diagnose.store.resources import insert_resources
from diagnose.store.rows import fetch
from diagnose.telemetry import INGESTED

QUERIES = load_queries("spans")
SEGMENT_QUERIES = load_queries("segments")
GATHER_S = 0.02  # under load, small requests that come a little later share the commit
SMALL_BYTES = 262_144  # some 300 spans: then a commit of its own costs more than the rows
EVENTS = pa.list_(pa.struct([("time", TIME), ("name", pa.string()), ("attributes", TEXT_PAIRS)]))
LINKS = pa.list_(pa.struct([("trace_id", pa.string()), ("span_id", pa.string()), ("attributes", TEXT_PAIRS)]))

SPANS = pa.schema(
    [
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("trace_state", pa.string()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("service_name", pa.string()),
        ("service_instance_id", pa.string()),
        ("start_time", TIME),
        ("start_time_unix_nano", pa.int64()),
        ("duration_ns", pa.int64()),
        ("status_code", pa.string()),
        ("status_message", pa.string()),
        ("http_request_method", pa.string()),
        ("http_route", pa.string()),
        ("http_response_status_code", pa.int16()),
        ("server_address", pa.string()),
        ("url_path", pa.string()),
        ("db_system_name", pa.string()),
        ("rpc_method", pa.string()),
        ("error_type", pa.string()),
        ("resource_id", pa.int64()),
        ("scope_name", pa.string()),
        ("attributes", TEXT_PAIRS),
        ("events", EVENTS),
        ("links", LINKS),
    ]
)


@dataclass(frozen=True)
class SpanBatch:
    """
    The spans of one request as the rows of the tables `live_span` (SPANS) and `resource` (resources.RESOURCES).

    `refused` counts what could not be kept, by reason. `body_id` tells the request from others (received.body_id).
    """

    spans: pa.Table
    resources: pa.Table
    refused: Mapping[str, int]
    body_id: int

    @property
    def size_bytes(self) -> int:
        return int(self.spans.nbytes + self.resources.nbytes)


def save_spans(store: Store, batch: SpanBatch) -> bool:
    """
    Returns after the commit; False when the same body was stored within the last half hour (nothing is stored then).

    Raises StoreBusy when it did not become durable, and when too many wait to be moved into files.
    """
    store.live_spans.check()
    resources = store.known_resources.unknown(batch.resources, "resource_id")
    batch = replace(batch, resources=resources)
    gather_s = GATHER_S if batch.size_bytes < SMALL_BYTES else 0.0
    stored = store.telemetry.run_together(insert_spans, batch, size_bytes=batch.size_bytes, gather_s=gather_s)
    if stored:
        store.live_spans.arrived(batch.spans.num_rows)
        store.known_resources.add(resources, "resource_id")
        INGESTED.labels(table="span").inc(batch.spans.num_rows)
    return stored


def insert_spans(cursor: duckdb.DuckDBPyConnection, batches: Sequence[SpanBatch]) -> list[bool]:
    """All requests that wait, with as few statements as one."""
    is_new = remember_bodies(cursor, [batch.body_id for batch in batches], utc_now())
    new = list(compress(batches, is_new))
    if new:
        insert_resources(cursor, pa.concat_tables([batch.resources for batch in new]))
        append(cursor, "live_span", pa.concat_tables([batch.spans for batch in new]).combine_chunks())
    return is_new


def trace_spans(store: Store, trace_id: str) -> list[dict[str, Any]]:
    """
    All spans of one trace in the order of a waterfall (macro `trace`); empty when there is none.

    Whoever asks again gets the same list, not to be changed, until something of it arrives, moves or goes.
    """
    trace_id = trace_id.lower()
    cursor = store.cursor()
    try:
        cursor.execute("BEGIN TRANSACTION")
        [times] = fetch(cursor, SEGMENT_QUERIES["time_of_trace"], {"trace_id": trace_id})
        if times["since"] is None:
            return []
        files = files_between(cursor, SPAN_FILES, store.path / FOLDER, times["since"], times["until"])
        source = (*times.values(), *files)
        spans = store.recent_traces.get(trace_id, source)
        if spans is None:
            spans = _read_trace(cursor, files, {"trace_id": trace_id, "since": times["since"], "until": times["until"]})
            store.recent_traces.add(trace_id, source, spans)
        return spans
    finally:
        cursor.close()


def _read_trace(
    cursor: duckdb.DuckDBPyConnection, files: Sequence[Path], asked: dict[str, Any]
) -> list[dict[str, Any]]:
    """The macro reads what is called span: here only what may have spans of the trace."""
    return fetch(cursor, f"WITH span AS ({rows_in(SPAN_FILES, files)}) {QUERIES['trace_spans']}", asked)


def find_traces(
    store: Store,
    *,
    service: str,
    since: datetime,
    until: datetime,
    min_duration_ns: int | None = None,
    error: bool | None = None,
    route: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """
    Traces in which *service* had a span that started in [since, until), longest first, at most *limit*.

    Keys: trace_id, start_time, duration_ns, root_name, service_name, error. They describe the longest such span of each
    trace; *error* True asks for failed ones, False for those that did not fail.
    """
    params = {
        "service": service,
        "since": since,
        "until": until,
        "min_duration_ns": min_duration_ns,
        "error": error,
        "route": route,
        "limit": limit,
    }
    return store.rows(QUERIES["find_traces"], params)
