"""OTLP over gRPC and on listeners of its own, as the SDKs speak it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, Status, StatusCode

from demo.processes import free_ports
from diagnose.config import Auth, Ingest, Server, Settings, Token
from diagnose.errors import ConfigError
from diagnose.receive.proto.status_pb2 import RetryInfo
from diagnose.receive.proto.status_pb2 import Status as RpcStatus
from diagnose.store.db import Store
from diagnose.web.context import INGEST_AT_ONCE, Context
from diagnose.web.listeners import Listeners
from diagnose.web.otlp_grpc import GrpcServer
from tests.otlp import span, traces
from tests.serving import SmallService

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Listening:
    """A store behind all listeners."""

    def __init__(self, store: Store, **settings: object) -> None:
        self.store = store
        self.http, self.grpc = (f"127.0.0.1:{port}" for port in free_ports(2))
        ingest = Ingest(otlp_http=self.http, otlp_grpc=self.grpc, max_body_bytes=200_000)
        self.settings = Settings(server=Server(listen="127.0.0.1:0"), ingest=ingest, **settings)
        self.service = SmallService(store, self.settings)

    @contextmanager
    def running(self) -> Iterator[Listening]:
        listeners = Listeners(self.service, self.settings)
        listeners.start()
        try:
            yield self
        finally:
            listeners.stop()
            self.service.queries.close()
            self.service.snapshots.close()

    def count(self, view: str) -> int:
        return self.store.row(f"SELECT count(*) AS n FROM {view}")["n"]  # noqa: S608


@pytest.fixture
def open_to_all(store: Store) -> Iterator[Listening]:
    with Listening(store).running() as listening:
        yield listening


@pytest.fixture
def guarded(store: Store) -> Iterator[Listening]:
    tokens = [Token(name="sender", token="s3cret", roles=["ingest"]), Token(name="reader", token="r", roles=["read"])]
    with Listening(store, auth=Auth(tokens=tokens)).running() as listening:
        yield listening


def export(listening: Listening, body: bytes, *, compression: grpc.Compression | None = None, **metadata: str) -> bytes:
    """The raw call, waiting for a server that has just begun to listen. Raises RpcError."""
    with grpc.insecure_channel(listening.grpc) as channel:
        call = channel.unary_unary(EXPORT)
        return call(body, timeout=30, metadata=tuple(metadata.items()), compression=compression, wait_for_ready=True)


def refused(listening: Listening, body: bytes, **metadata: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        export(listening, body, **metadata)
    return caught.value


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_the_python_sdk_sends_is_stored_whole(open_to_all, protocol):
    where = {"http": f"http://{open_to_all.http}/v1/", "grpc": f"http://{open_to_all.grpc}"}[protocol]
    resource = Resource.create({"service.name": "checkout", "service.instance.id": "checkout-1"})
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(
        SimpleSpanProcessor(HttpSpanExporter(f"{where}traces") if protocol == "http" else GrpcSpanExporter(where))
    )
    tracer = spans.get_tracer("tests")
    with (
        tracer.start_as_current_span("parent") as parent,
        tracer.start_as_current_span("child", links=[Link(parent.get_span_context(), {"why": "test"})]) as child,
    ):
        child.set_attributes({"http.route": "/buy", "sizes": [1, 2], "ratio": 0.5})
        child.add_event("exception", {"exception.type": "ValueError"})
        child.set_status(Status(StatusCode.ERROR, "boom"))
    spans.shutdown()
    reader = PeriodicExportingMetricReader(
        HttpMetricExporter(f"{where}metrics") if protocol == "http" else GrpcMetricExporter(where)
    )
    metrics = MeterProvider([reader], resource=resource)
    metrics.get_meter("tests").create_counter("orders", unit="1").add(3, {"kind": "card"})
    metrics.get_meter("tests").create_histogram("latency", unit="s").record(0.2)
    metrics.shutdown()

    child_row = open_to_all.store.row("SELECT * FROM spans WHERE name = 'child'")
    assert ("checkout", "ERROR", "boom", "/buy") == tuple(
        child_row[name] for name in ("service_name", "status_code", "status_message", "http_route")
    )
    assert {"http.route": "/buy", "sizes": "[1,2]", "ratio": "0.5"} == child_row["attributes"]
    assert ("exception", {"exception.type": "ValueError"}) == (
        child_row["events"][0]["name"],
        child_row["events"][0]["attributes"],
    )
    assert {"why": "test"} == child_row["links"][0]["attributes"]
    assert (
        child_row["parent_span_id"]
        == open_to_all.store.row("SELECT span_id FROM spans WHERE name = 'parent'")["span_id"]
    )
    assert {"value": 3.0, "attributes": {"kind": "card"}} == open_to_all.store.row(
        "SELECT value, attributes FROM metrics WHERE name = 'orders'"
    )
    assert {"count": 1, "sum": 0.2} == open_to_all.store.row("SELECT count, sum FROM histograms WHERE name = 'latency'")


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_a_call_is_answered_after_the_commit_and_the_same_body_counts_once(open_to_all, compression):
    body = traces(span())

    assert [b"", b""] == [export(open_to_all, body, compression=compression) for _ in range(2)]
    assert 1 == open_to_all.count("spans")


def test_what_cannot_be_kept_is_a_partial_success(open_to_all):
    with grpc.insecure_channel(open_to_all.grpc) as channel:
        request = ExportTraceServiceRequest.FromString(traces(span(), span(trace_id="")))
        answer = TraceServiceStub(channel).Export(request, timeout=30, wait_for_ready=True)

    assert 1 == answer.partial_success.rejected_spans
    assert "trace_id has 0 bytes" in answer.partial_success.error_message
    assert 1 == open_to_all.count("spans")


def test_what_is_no_otlp_is_final(open_to_all):
    assert grpc.StatusCode.INVALID_ARGUMENT == refused(open_to_all, b"\xff").code()


def test_what_is_too_large_is_final(open_to_all):
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused(open_to_all, bytes(200_001)).code()


def test_a_bomb_is_not_inflated(open_to_all):
    with pytest.raises(grpc.RpcError) as caught:
        export(open_to_all, bytes(5_000_000), compression=grpc.Compression.Gzip)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()


def test_who_comes_when_all_are_busy_is_told_when_to_come_back(store):
    listening = Listening(store)
    context = Context.of(listening.service)
    for _ in range(INGEST_AT_ONCE):
        context.ingest_slots.take()
    server = GrpcServer(context, listening.settings, listening.grpc)
    server.start()
    try:
        err = refused(listening, traces(span()))
    finally:
        server.stop()
        listening.service.queries.close()
        listening.service.snapshots.close()

    [details] = [value for key, value in err.trailing_metadata() if key == "grpc-status-details-bin"]
    status = RpcStatus.FromString(details)
    assert (grpc.StatusCode.UNAVAILABLE, 14) == (err.code(), status.code)
    assert "type.googleapis.com/google.rpc.RetryInfo" == status.details[0].type_url
    assert 2 == RetryInfo.FromString(status.details[0].value).retry_delay.seconds


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({}, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": "Bearer wrong"}, grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": "Bearer r"}, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_credentials_are_asked_for_as_over_http(guarded, metadata, code):
    assert code == refused(guarded, traces(span()), **metadata).code()
    assert b"" == export(guarded, traces(span()), authorization="Bearer s3cret")


def test_there_is_nothing_else_on_the_listener(open_to_all):
    with grpc.insecure_channel(open_to_all.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/other.Service/Export")(b"", timeout=30, wait_for_ready=True)

    assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


@pytest.mark.parametrize("setting", ["otlp_http", "otlp_grpc"])
def test_an_address_in_use_is_named_by_its_setting(store, setting):
    first = Listening(store)
    with first.running():
        second = Listening(store)
        taken = second.settings.ingest.model_copy(update={setting: getattr(first.settings.ingest, setting)})
        settings = second.settings.model_copy(update={"ingest": taken})
        listeners = Listeners(second.service, settings)
        try:
            with pytest.raises(ConfigError) as caught:
                listeners.start()
        finally:
            listeners.stop()
            second.service.queries.close()
            second.service.snapshots.close()

    assert f"ingest.{setting}" == caught.value.mistakes[0].path
