"""
Requests as applications send them, made up from a seed: OTLP spans and metric points, Prometheus samples.

A span has 12 attributes (4 of few values, 3 of many, 4 numbers, 1 id) and 2 events with 2 attributes; ten spans are a
trace. Of the metric points 40 % are histograms of 15 buckets, the others sums and gauges; 80 % carry an exemplar.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from diagnose.receive.proto.remote_pb2 import Label, TimeSeries, WriteRequest

SERVICES = ("frontend", "checkout", "cart", "payment", "shipping", "catalog", "email", "currency")
ROUTES = tuple(
    f"/api/v1/{noun}/{{id}}/{verb}"
    for noun in ("cart", "order", "user", "item", "quote")
    for verb in ("get", "put", "list", "del")
)
START_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
SPANS_A_TRACE = 10
METRICS = (
    ("http.server.request.duration", "histogram"),
    ("http.client.request.duration", "histogram"),
    ("http.server.requests", "sum"),
    ("rpc.server.calls", "sum"),
    ("go.goroutine.count", "gauge"),
)


def trace_request(spans: int, seed: int) -> bytes:
    """An ExportTraceServiceRequest of eight services."""
    dice = random.Random(seed)  # noqa: S311  the same request for the same seed
    request = ExportTraceServiceRequest()
    at = START_NS + seed * SECOND_NS
    for number, count in _shares(spans):
        of_resource = request.resource_spans.add()
        of_resource.resource.attributes.extend(_resource(number))
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name = "go.opentelemetry.io/contrib/net/http/otelhttp"
        for position in range(count):
            if position % SPANS_A_TRACE == 0:
                trace_id, parent = dice.randbytes(16), b""
            at += dice.randrange(1000, 200_000)
            span = _span(dice, SERVICES[number], trace_id, parent, at)
            parent = span.span_id
            of_scope.spans.append(span)
    return request.SerializeToString()


def _shares(count: int) -> Iterator[tuple[int, int]]:
    """(number of the service, how many of *count* it has)."""
    each, rest = divmod(count, len(SERVICES))
    for number in range(len(SERVICES)):
        yield number, each + (number < rest)


def _resource(number: int) -> list[KeyValue]:
    service = SERVICES[number]
    return _pairs(
        {
            "service.name": service,
            "service.version": "1.4.2",
            "service.instance.id": f"{service}-{number}",
            "deployment.environment.name": "prod",
            "k8s.pod.name": f"{service}-7d9f-{number}",
            "host.name": f"node-{number}",
        }
    )


def _span(dice: random.Random, service: str, trace_id: bytes, parent: bytes, at: int) -> Span:
    route, failed = dice.choice(ROUTES), dice.random() < 0.02
    span_id, duration = dice.randbytes(8), int(dice.lognormvariate(16, 1.2))
    attributes = {
        "http.request.method": dice.choice(("GET", "POST", "PUT")),
        "http.route": route,
        "http.response.status_code": 500 if failed else 200,
        "url.scheme": "https",
        "server.address": f"{service}.svc.cluster.local",
        "server.port": 8080,
        "client.address": f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
        "user_agent.original": "Go-http-client/1.1",
        "http.request.body.size": dice.randrange(100_000),
        "enduser.id": f"user-{dice.randrange(100_000)}",
        "thread.id": dice.randrange(64),
        "pyroscope.profile.id": span_id.hex(),
    }
    events = [
        Span.Event(
            name=name,
            time_unix_nano=at + duration // 3 * place,
            attributes=_pairs({"message.type": kind, "message.id": dice.randrange(1 << 30)}),
        )
        for place, name, kind in ((1, "message", "RECEIVED"), (2, "exception" if failed else "message", "SENT"))
    ]
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        name=f"GET {route}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=at,
        end_time_unix_nano=at + duration,
        attributes=_pairs(attributes),
        events=events,
        status=Status(code=Status.STATUS_CODE_ERROR, message="boom") if failed else None,
    )


def _pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    fields = {str: "string_value", int: "int_value"}
    return [KeyValue(key=key, value={fields[type(value)]: value}) for key, value in attributes.items()]


def metric_request(points: int, seed: int) -> bytes:
    """An ExportMetricsServiceRequest: the same series for every seed, at another time."""
    dice = random.Random(seed)  # noqa: S311
    routes = random.Random(1)  # noqa: S311  the series are the same in every request
    request = ExportMetricsServiceRequest()
    at = START_NS + seed * 15 * SECOND_NS
    for number, count in _shares(points):
        of_resource = request.resource_metrics.add()
        of_resource.resource.attributes.extend(_resource(number))
        of_scope = of_resource.scope_metrics.add()
        of_scope.scope.name = "otelhttp"
        for first in range(0, count, 10):
            name, kind = METRICS[first // 10 % len(METRICS)]
            metric = of_scope.metrics.add(name=name, unit="s")
            for position in range(first, min(first + 10, count)):
                _add_point(metric, kind, dice, at, f"{routes.choice(ROUTES)}/{position}")
    return request.SerializeToString()


def _add_point(metric: Metric, kind: str, dice: random.Random, at: int, route: str) -> None:
    data = getattr(metric, kind)
    point = data.data_points.add(time_unix_nano=at, start_time_unix_nano=at - 60 * SECOND_NS)
    point.attributes.extend(
        _pairs(
            {
                "http.request.method": "GET",
                "http.route": route,
                "http.response.status_code": 200,
                "url.scheme": "https",
                "server.address": "10.0.0.1",
                "network.protocol.version": "1.1",
            }
        )
    )
    if kind == "histogram":
        counts = [dice.randrange(50) for _ in range(len(BOUNDS) + 1)]
        point.bucket_counts.extend(counts)
        point.explicit_bounds.extend(BOUNDS)
        point.count, point.sum = sum(counts), dice.random() * 100
    else:
        point.as_int = dice.randrange(1 << 20)
    if kind != "gauge":
        data.aggregation_temporality = 2
        point.exemplars.add(
            time_unix_nano=at, as_double=dice.random(), trace_id=dice.randbytes(16), span_id=dice.randbytes(8)
        )


def write_request(series: int, seed: int) -> bytes:
    """A remote-write 1.0 request: a sample of each series, every tenth with an exemplar; always the same series."""
    dice = random.Random(seed)  # noqa: S311
    at_ms = START_NS // 1_000_000 + seed * 15_000
    request = WriteRequest()
    for number in range(series):
        labels = {
            "__name__": "http_server_request_duration_seconds_bucket",
            "http_request_method": "GET",
            "http_response_status_code": "200",
            "http_route": ROUTES[number % len(ROUTES)],
            "instance": f"{SERVICES[number % 8]}-{number % 8}:8080",
            "job": SERVICES[number % 8],
            "le": str(BOUNDS[number % len(BOUNDS)]),
            "pod": f"{SERVICES[number % 8]}-7d9f-{number}",
        }
        one = TimeSeries(labels=[Label(name=name, value=value) for name, value in labels.items()])
        one.samples.add(value=dice.random() * 1e4, timestamp=at_ms)
        if number % 10 == 0:
            example = one.exemplars.add(value=0.2, timestamp=at_ms)
            example.labels.add(name="trace_id", value=dice.randbytes(16).hex())
        request.timeseries.append(one)
    return request.SerializeToString()
