"""
ExportTraceServiceRequest → the columns of the tables `live_span` and `resource`.

Kept whenever it can be: an unknown kind is UNSPECIFIED, an end before the start makes a duration of 0, a parent of
zeros is no parent. Refused: a span without a usable trace id, span id, parent id or time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from diagnose.model import utc_now
from diagnose.receive.otlp_values import SPAN_ID_BYTES, TRACE_ID_BYTES, AttributeReader, id_mistake, micros
from diagnose.redact import Redactor
from diagnose.store.arrow import TIME, MapColumn, table_of
from diagnose.store.resources import Resource, resource_of, resource_table
from diagnose.store.spans import SPANS, SpanBatch

MAX_UNIX_NANO = 2**63 - 1  # in the year 2262
KINDS = {number: name.removeprefix("SPAN_KIND_") for name, number in Span.SpanKind.items()}
STATUS_CODES = {number: name.removeprefix("STATUS_CODE_") for name, number in Status.StatusCode.items()}
# The attributes that have columns of their own, newest name of the semantic conventions first.
METHOD = ("http.request.method", "http.method")
ROUTE = ("http.route",)
RESPONSE = ("http.response.status_code", "http.status_code")
SERVER = ("server.address", "net.peer.name")
PATH = ("url.path", "http.target")
DATABASE = ("db.system.name", "db.system")


def read_spans(request: ExportTraceServiceRequest, redactor: Redactor, body_id: int) -> SpanBatch:
    reader = _SpanReader(AttributeReader(redactor))
    for of_resource in request.resource_spans:
        resource = resource_of(reader.attributes_of.read(of_resource.resource.attributes))
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                reader.add(span, resource, of_scope.scope.name)
    return SpanBatch(
        spans=reader.table(),
        resources=resource_table(reader.resources.values(), utc_now()),
        refused=reader.refused,
        body_id=body_id,
    )


class _SpanReader:
    def __init__(self, attributes_of: AttributeReader) -> None:
        self.attributes_of = attributes_of
        self.refused: Counter[str] = Counter()
        self.resources: dict[int, Resource] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._attributes = MapColumn()
        self._events = _Nested("time", "name", types=(TIME, pa.string()))
        self._links = _Nested("trace_id", "span_id", types=(pa.string(), pa.string()))

    def add(self, span: Span, resource: Resource, scope_name: str) -> None:
        mistake = _mistake(span)
        if mistake is not None:
            self.refused[mistake] += 1
            return
        attributes = self.attributes_of.read(span.attributes)
        self.resources[resource.resource_id] = resource
        self._rows.append((*_core(span, resource), *_hot(attributes), resource.resource_id, scope_name))
        self._attributes.add(attributes)
        for event in span.events:
            self._events.add(self.attributes_of.read(event.attributes), micros(event.time_unix_nano), event.name)
        self._events.end_row()
        for link in span.links:
            self._links.add(self.attributes_of.read(link.attributes), link.trace_id.hex(), link.span_id.hex())
        self._links.end_row()

    def table(self) -> pa.Table:
        return table_of(self._rows, SPANS, self._attributes.pairs(), self._events.array(), self._links.array())


class _Nested:
    """A column of lists of structs: two plain fields and attributes."""

    def __init__(self, *names: str, types: tuple[pa.DataType, pa.DataType]) -> None:
        self._names, self._types = names, types
        self._first: list[Any] = []
        self._second: list[Any] = []
        self._attributes = MapColumn()
        self._ends = [0]

    def add(self, attributes: dict[str, str | None], first: Any, second: Any) -> None:
        self._first.append(first)
        self._second.append(second)
        self._attributes.add(attributes)

    def end_row(self) -> None:
        self._ends.append(len(self._first))

    def array(self) -> pa.Array:
        first, second = pa.array(self._first, self._types[0]), pa.array(self._second, self._types[1])
        structs = pa.StructArray.from_arrays([first, second, self._attributes.pairs()], [*self._names, "attributes"])
        return pa.ListArray.from_arrays(pa.array(self._ends, pa.int32()), structs)


def _mistake(span: Span) -> str | None:
    """Why *span* cannot be kept."""
    mistake = id_mistake("trace_id", span.trace_id, TRACE_ID_BYTES) or id_mistake(
        "span_id", span.span_id, SPAN_ID_BYTES
    )
    if mistake is not None:
        return mistake
    parent = span.parent_span_id
    if any(parent) and len(parent) != SPAN_ID_BYTES:
        return f"parent_span_id has {len(parent)} bytes, not {SPAN_ID_BYTES}"
    start = span.start_time_unix_nano or span.end_time_unix_nano
    if not start:
        return "start_time_unix_nano and end_time_unix_nano are 0"
    return "start_time_unix_nano is after the year 2262" if start > MAX_UNIX_NANO else None


def _core(span: Span, resource: Resource) -> tuple[Any, ...]:
    start = span.start_time_unix_nano or span.end_time_unix_nano
    parent = span.parent_span_id
    return (
        span.trace_id.hex(),
        span.span_id.hex(),
        parent.hex() if any(parent) else None,
        span.trace_state or None,
        span.name,
        KINDS.get(span.kind, "UNSPECIFIED"),
        resource.service_name,
        resource.service_instance_id,
        start // 1000,
        start,
        max(0, min(span.end_time_unix_nano, MAX_UNIX_NANO) - start),
        STATUS_CODES.get(span.status.code, "UNSET"),
        span.status.message or None,
    )


def _hot(attributes: dict[str, str | None]) -> tuple[Any, ...]:
    """The attributes with columns of their own, in the order of SPANS."""
    if not attributes:
        return (None,) * 8
    get = attributes.get
    return (
        get(METHOD[0]) or get(METHOD[1]),
        get(ROUTE[0]),
        _small_number(get(RESPONSE[0]) or get(RESPONSE[1])),
        get(SERVER[0]) or get(SERVER[1]),
        get(PATH[0]) or get(PATH[1]),
        get(DATABASE[0]) or get(DATABASE[1]),
        get("rpc.method"),
        get("error.type"),
    )


def _small_number(text: str | None) -> int | None:
    """An HTTP status code; anything that is none, or does not fit the column, is nothing."""
    return int(text) if text and len(text) <= 4 and text.isascii() and text.isdigit() else None
