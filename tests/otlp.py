"""The smallest OTLP requests a test can be about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

RECORDED = Path(__file__).parent / "data" / "otlp"
START_NS = 1_795_478_454_000_000_000  # 2026-11-24T00:00:54Z
SECOND = 1_000_000_000
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def attribute(key: str, value: Any) -> KeyValue:
    return KeyValue(key=key, value=any_value(value))


def any_value(value: Any) -> AnyValue:  # noqa: PLR0911  one per kind
    """A Python value as OTLP has it; None sets nothing."""
    match value:
        case AnyValue():
            return value
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            array = AnyValue(array_value={})
            array.array_value.values.extend(any_value(each) for each in value)
            return array
        case dict():
            pairs = AnyValue(kvlist_value={})
            pairs.kvlist_value.values.extend(attribute(key, each) for key, each in value.items())
            return pairs
    return AnyValue()


def span(
    span_id: str = "00f067aa0ba902b7",
    *,
    trace_id: str = TRACE_ID,
    parent: str = "",
    start_s: float = 0,
    duration_s: float = 1,
    attributes: dict[str, Any] | None = None,
    **fields: Any,
) -> Span:
    """One second long unless it says otherwise; ids in hex, times in seconds after START_NS."""
    start = START_NS + round(start_s * SECOND)
    given = {"name": "GET /", "kind": Span.SPAN_KIND_SERVER} | fields
    given = {"start_time_unix_nano": start, "end_time_unix_nano": start + round(duration_s * SECOND)} | given
    return Span(
        trace_id=bytes.fromhex(trace_id),
        span_id=bytes.fromhex(span_id),
        parent_span_id=bytes.fromhex(parent),
        attributes=[attribute(key, value) for key, value in (attributes or {}).items()],
        **given,
    )


def traces(*spans: Span, service: str = "checkout", instance: str = "checkout-1", **resource: Any) -> bytes:
    """A request with one resource and one scope."""
    request = ExportTraceServiceRequest()
    add_traces(request, *spans, service=service, instance=instance, **resource)
    return request.SerializeToString()


def add_traces(
    request: ExportTraceServiceRequest, *spans: Span, service: str, instance: str = "", **resource: Any
) -> None:
    of_resource = request.resource_spans.add()
    names = {"service.name": service, "service.instance.id": instance} | resource
    of_resource.resource.attributes.extend(attribute(key, value) for key, value in names.items())
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = "tests"
    of_scope.spans.extend(spans)


def metrics(*all_metrics: Metric, service: str = "checkout", **resource: Any) -> bytes:
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    names = {"service.name": service, "service.instance.id": "checkout-1"} | resource
    of_resource.resource.attributes.extend(attribute(key, value) for key, value in names.items())
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = "tests"
    of_scope.metrics.extend(all_metrics)
    return request.SerializeToString()
