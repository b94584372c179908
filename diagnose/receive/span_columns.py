"""
ExportTraceServiceRequest → the columns of `live_span` and `resource`, without a Python object per span.

The same rows and refusals as `otlp_spans`, which does it with protobuf's objects; tests hold them against each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from diagnose.model import utc_now
from diagnose.receive.arrays import (
    Ints,
    any_set,
    hex_of,
    micros_of,
    numbers,
    parents_of,
    text_or_null,
)
from diagnose.receive.judge import Judge
from diagnose.receive.origins import Origins, scope_names
from diagnose.receive.otlp_spans import (
    DATABASE,
    KINDS,
    MAX_UNIX_NANO,
    METHOD,
    PATH,
    RESPONSE,
    SERVER,
    STATUS_CODES,
)
from diagnose.receive.otlp_values import SPAN_ID_BYTES, TRACE_ID_BYTES
from diagnose.receive.pairs import Pairs, pairs_of
from diagnose.receive.wire import WireReader
from diagnose.redact import Redactor
from diagnose.store.arrow import TIME
from diagnose.store.resources import resource_table
from diagnose.store.spans import SPANS, SpanBatch

REQUESTS = WireReader(ExportTraceServiceRequest.DESCRIPTOR)
KIND_NAMES = pa.array([name for _, name in sorted(KINDS.items())])  # numbered from 0 without a gap
STATUS_NAMES = pa.array([name for _, name in sorted(STATUS_CODES.items())])
Columns = dict[str, pa.Array]


def read_span_columns(body: bytes, redactor: Redactor, body_id: int) -> SpanBatch:
    """Raises UnusualError when the body is for `otlp_spans`."""
    of_resource = REQUESTS.read(body).column("resource_spans").values
    of_scope = of_resource.field("scope_spans")
    lists = of_scope.values.field("spans")
    spans, scopes, refused = _usable(lists.values, parents_of(lists))
    origins = Origins.of(of_resource.field("resource"), parents_of(of_scope)[scopes], redactor)
    if not len(spans):
        return SpanBatch(SPANS.empty_table(), resource_table(origins.resources, utc_now()), refused, body_id)
    attributes = pairs_of(spans.field("attributes"), redactor)
    columns = {
        **_core(spans),
        **_hot(attributes, len(spans)),
        **origins.columns(),
        "scope_name": scope_names(of_scope.values.field("scope"), scopes),
        "attributes": attributes.lists(),
        "events": _events(spans.field("events"), redactor),
        "links": _links(spans.field("links"), redactor),
    }
    table = pa.Table.from_arrays([columns[name] for name in SPANS.names], schema=SPANS)
    return SpanBatch(table, resource_table(origins.resources, utc_now()), refused, body_id)


def _usable(spans: pa.StructArray, scopes: Ints) -> tuple[pa.StructArray, Ints, Counter[str]]:
    """The spans that can be kept with their scopes, and how many cannot for which reason."""
    judge = Judge(len(spans))
    for name, size in (("trace_id", TRACE_ID_BYTES), ("span_id", SPAN_ID_BYTES)):
        judge.refuse_lengths(name, spans.field(name), size)
        judge.refuse(~any_set(spans.field(name)), f"{name} is all zeros")
    parent = spans.field("parent_span_id")
    judge.refuse_lengths("parent_span_id", parent, SPAN_ID_BYTES, unless=~any_set(parent))
    start = _start(spans)
    judge.refuse(start == 0, "start_time_unix_nano and end_time_unix_nano are 0")
    judge.refuse(start > MAX_UNIX_NANO, "start_time_unix_nano is after the year 2262")
    if judge.refused:
        return spans.filter(pa.array(judge.fine)), scopes[judge.fine], judge.refused
    return spans, scopes, judge.refused


def _start(spans: pa.StructArray) -> Any:
    """Unsigned; the end stands in for a start that is 0."""
    start, end = (numbers(spans.field(f"{name}_time_unix_nano"), np.uint64) for name in ("start", "end"))
    return np.where(start == 0, end, start)


def _core(spans: pa.StructArray) -> Columns:
    start = _start(spans).astype(np.int64)
    end = np.minimum(numbers(spans.field("end_time_unix_nano"), np.uint64), MAX_UNIX_NANO).astype(np.int64)
    parent = spans.field("parent_span_id")
    return {
        "trace_id": hex_of(spans.field("trace_id")),
        "span_id": hex_of(spans.field("span_id")),
        "parent_span_id": pc.if_else(pa.array(any_set(parent)), hex_of(parent), None),
        "trace_state": text_or_null(spans.field("trace_state")),
        "name": spans.field("name"),
        "kind": _named(spans.field("kind"), KIND_NAMES),
        "start_time": pa.array(start // 1000).cast(TIME),
        "start_time_unix_nano": pa.array(start),
        "duration_ns": pa.array(np.maximum(end - start, 0)),
        "status_code": _named(pc.struct_field(spans, ["status", "code"]).fill_null(0), STATUS_NAMES),
        "status_message": text_or_null(pc.struct_field(spans, ["status", "message"])),
    }


def _named(enum: pa.Array, names: pa.Array) -> pa.Array:
    """The name of each number; one from the future has that of 0."""
    codes = numbers(enum, np.int32)
    return names.take(pa.array(np.where((codes >= 0) & (codes < len(names)), codes, 0)))


def _hot(attributes: Pairs, count: int) -> Columns:
    """The attributes with columns of their own."""
    response = _first(attributes, RESPONSE, count)
    return {
        "http_request_method": _first(attributes, METHOD, count),
        "http_route": attributes.column("http.route", count),
        "http_response_status_code": _small_number(response),
        "server_address": _first(attributes, SERVER, count),
        "url_path": _first(attributes, PATH, count),
        "db_system_name": _first(attributes, DATABASE, count),
        "rpc_method": attributes.column("rpc.method", count),
        "error_type": attributes.column("error.type", count),
    }


def _first(attributes: Pairs, names: tuple[str, str], count: int) -> pa.Array:
    """The newer name, unless it is missing or empty."""
    newer, older = names
    if newer not in attributes.names:
        return attributes.column(older, count)
    found = text_or_null(attributes.column(newer, count))
    return pc.coalesce(found, attributes.column(older, count)) if older in attributes.names else found


def _small_number(texts: pa.Array) -> pa.Array:
    """An HTTP status code; anything that is none, or does not fit the column, is nothing."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), pa.int16())
    fits = pc.match_substring_regex(texts, "^[0-9]{1,4}$")
    return pc.if_else(fits, texts, None).cast(pa.int16())


def _events(lists: pa.ListArray, redactor: Redactor) -> pa.Array:
    events = lists.values
    times = micros_of(events.field("time_unix_nano"))
    columns = [times, events.field("name"), pairs_of(events.field("attributes"), redactor).lists()]
    return pa.ListArray.from_arrays(lists.offsets, pa.StructArray.from_arrays(columns, ["time", "name", "attributes"]))


def _links(lists: pa.ListArray, redactor: Redactor) -> pa.Array:
    links = lists.values
    ids = [hex_of(links.field(name)) for name in ("trace_id", "span_id")]
    columns = [*ids, pairs_of(links.field("attributes"), redactor).lists()]
    names = ["trace_id", "span_id", "attributes"]
    return pa.ListArray.from_arrays(lists.offsets, pa.StructArray.from_arrays(columns, names))
