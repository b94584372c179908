"""
OTLP: request bodies → batches the store takes, and the answer to them.

Protobuf and JSON. What cannot be kept is refused one by one and counted by reason; the rest of the request is stored,
and the answer says so (`partial_success`). Source: opentelemetry-proto, docs/specification.md, "OTLP/HTTP".

Protobuf is read in one of two ways that make the same rows: `columns` (ptars and Arrow kernels; nothing happens per
span in Python) or `objects` (protobuf's own classes), six times slower, which also takes what the first finds unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TypeVar

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from diagnose.errors import DecodeError
from diagnose.receive.metric_columns import read_metric_columns
from diagnose.receive.otlp_json import parse_json
from diagnose.receive.otlp_metrics import read_metrics
from diagnose.receive.otlp_spans import read_spans
from diagnose.receive.span_columns import read_span_columns
from diagnose.receive.turns import TURN
from diagnose.receive.wire import UnusualError
from diagnose.redact import KEEP_ALL, Redactor
from diagnose.store.metrics import MetricBatch
from diagnose.store.received import body_id
from diagnose.store.spans import SpanBatch

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
Request = TypeVar("Request", bound=Message)
Decoder = Literal["columns", "objects"]


def decode_traces(
    body: bytes, content_type: str, redact: Redactor | None = None, decoder: Decoder = "columns"
) -> SpanBatch:
    """
    The spans of an ExportTraceServiceRequest, already inflated. Raises DecodeError when the body is none.

    The field of the error is `Content-Type` when that is neither PROTOBUF nor JSON.
    """
    redactor, number = redact or KEEP_ALL, body_id(body)
    if decoder == "columns" and media_type(content_type) == PROTOBUF:
        with suppress(UnusualError), TURN:
            return read_span_columns(body, redactor, number)
    return read_spans(_parse(body, content_type, ExportTraceServiceRequest()), redactor, number)


def decode_metrics(
    body: bytes, content_type: str, redact: Redactor | None = None, decoder: Decoder = "columns"
) -> MetricBatch:
    """The points of an ExportMetricsServiceRequest; else as `decode_traces`."""
    redactor, number = redact or KEEP_ALL, body_id(body)
    if decoder == "columns" and media_type(content_type) == PROTOBUF:
        with suppress(UnusualError), TURN:
            return read_metric_columns(body, redactor, number)
    return read_metrics(_parse(body, content_type, ExportMetricsServiceRequest()), redactor, number)


def encode_response(batch: SpanBatch | MetricBatch, content_type: str) -> bytes:
    """The body of the answer 200, in the encoding of the request."""
    response = _trace_response(batch) if isinstance(batch, SpanBatch) else _metric_response(batch)
    if media_type(content_type) == JSON:
        return MessageToJson(response, indent=None).encode()
    return response.SerializeToString()


def _trace_response(batch: SpanBatch) -> ExportTraceServiceResponse:
    response = ExportTraceServiceResponse()
    if batch.refused:
        response.partial_success.rejected_spans = sum(batch.refused.values())
        response.partial_success.error_message = reasons(batch.refused)
    return response


def _metric_response(batch: MetricBatch) -> ExportMetricsServiceResponse:
    response = ExportMetricsServiceResponse()
    if batch.refused:
        response.partial_success.rejected_data_points = sum(batch.refused.values())
        response.partial_success.error_message = reasons(batch.refused)
    return response


def reasons(refused: Mapping[str, int]) -> str:
    """For the sender."""
    return "; ".join(f"{count} refused: {reason}" for reason, count in refused.items())


def media_type(content_type: str) -> str | None:
    """PROTOBUF, JSON, or None for what OTLP/HTTP does not know (answered with 415)."""
    plain = content_type.split(";", 1)[0].strip().lower()
    if plain == "application/protobuf":  # some senders leave the x- out
        return PROTOBUF
    return plain if plain in (PROTOBUF, JSON) else None


def _parse(body: bytes, content_type: str, message: Request) -> Request:
    kind = media_type(content_type)
    if kind is None:
        raise DecodeError(f"{content_type!r} is neither {PROTOBUF} nor {JSON}", field="Content-Type")
    if kind == JSON:
        return parse_json(body, message)
    try:
        message.ParseFromString(body)
    except ProtobufError as err:
        raise DecodeError(f"not OTLP: {err}", field="body") from err
    return message
