"""The two ways to read protobuf make the same rows, of recorded bytes and of bytes nobody would send."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    SummaryDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from diagnose.config import Ingest, Redaction
from diagnose.errors import DecodeError
from diagnose.receive.metric_columns import read_metric_columns
from diagnose.receive.otlp import PROTOBUF, Decoder, decode_metrics, decode_traces
from diagnose.receive.span_columns import read_span_columns
from diagnose.receive.wire import UnusualError
from diagnose.redact import KEEP_ALL, Redactor
from diagnose.store.metrics import MetricBatch
from diagnose.store.spans import SpanBatch, save_spans
from tests.otlp import RECORDED, any_value, attribute, span, traces

REDACTORS = [
    KEEP_ALL,
    Redactor(Ingest().redact),
    Redactor([Redaction(keys=["^k$", "secret"], action="drop"), Redaction(keys=["^http"], action="mask")]),
]
EDGES = (0, 1, 999, 1000, 2**63 - 1, 2**63, 2**64 - 1, 1_795_478_454_000_000_000)

keys = st.sampled_from(
    [
        "k",
        "a",
        "",
        'ä\x00"\\',
        "http.route",
        "http.method",
        "http.request.method",
        "http.status_code",
        "http.response.status_code",
        "db.system",
        "password",
        "service.name",
        "service.instance.id",
        "error.type",
    ]
) | st.text(max_size=5)
values = st.recursive(
    st.none()
    | st.text(max_size=8)
    | st.sampled_from(["", "200", "²", "99999"])
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
).map(any_value)
attributes = st.lists(st.builds(KeyValue, key=keys, value=values | st.none()), max_size=5)
trace_ids = st.sampled_from([b"\x01" * 16, bytes(16), b"", b"\x02" * 15, b"\xff" * 17]) | st.binary(
    min_size=16, max_size=16
)
span_ids = st.sampled_from([b"\x01" * 8, bytes(8), b"", b"\x02" * 7]) | st.binary(min_size=8, max_size=8)
times = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**64 - 1)
exemplars = st.builds(
    Exemplar,
    time_unix_nano=times,
    trace_id=trace_ids,
    span_id=span_ids,
    filtered_attributes=attributes,
    as_double=st.none() | st.floats(),
)
events = st.builds(Span.Event, time_unix_nano=times, name=st.text(max_size=3), attributes=attributes)
links = st.builds(Span.Link, trace_id=trace_ids, span_id=span_ids, attributes=attributes)
spans = st.builds(
    Span,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=span_ids,
    trace_state=st.sampled_from(["", "a=b"]),
    name=st.text(max_size=3),
    kind=st.integers(-1, 9),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=attributes,
    events=st.lists(events, max_size=2),
    links=st.lists(links, max_size=2),
    status=st.none() | st.builds(Status, code=st.integers(-1, 4), message=st.sampled_from(["", "boom"])),
)
requests = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=st.none() | st.builds(lambda pairs: {"attributes": pairs}, attributes),
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=st.none() | st.just({"name": "s"}), spans=st.lists(spans, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=3,
    ),
)


numbers = st.builds(
    NumberDataPoint,
    time_unix_nano=times,
    start_time_unix_nano=times,
    attributes=attributes,
    flags=st.integers(0, 3),
    exemplars=st.lists(exemplars, max_size=2),
    as_double=st.none() | st.floats(),
) | st.builds(
    NumberDataPoint,
    time_unix_nano=times,
    as_int=st.integers(-(2**63), 2**63 - 1),
    exemplars=st.lists(exemplars, max_size=2),
)
shared = {
    "time_unix_nano": times,
    "start_time_unix_nano": times,
    "attributes": attributes,
    "flags": st.integers(0, 1),
    "count": counts,
    "exemplars": st.lists(exemplars, max_size=2),
}
extremes = {name: st.none() | st.floats() for name in ("sum", "min", "max")}
histograms = st.builds(
    HistogramDataPoint,
    **shared,
    **extremes,
    explicit_bounds=st.sampled_from([[], [1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [float("nan"), 1.0]]),
    bucket_counts=st.sampled_from([[], [1, 2], [1, 2, 2**64 - 1]]),
)
buckets = st.none() | st.builds(
    ExponentialHistogramDataPoint.Buckets,
    offset=st.integers(-(2**31), 2**31 - 1),
    bucket_counts=st.lists(counts, max_size=3),
)
exponentials = st.builds(
    ExponentialHistogramDataPoint,
    **shared,
    **extremes,
    scale=st.integers(-10, 20),
    zero_count=counts,
    positive=buckets,
    negative=buckets,
)
summaries = st.builds(
    SummaryDataPoint,
    **{name: shared[name] for name in ("time_unix_nano", "start_time_unix_nano", "attributes", "flags", "count")},
    sum=st.floats(),
    quantile_values=st.lists(
        st.builds(SummaryDataPoint.ValueAtQuantile, quantile=st.floats(0, 1), value=st.floats()), max_size=3
    ),
)


def data_of(kind: str, points: st.SearchStrategy, **fields: st.SearchStrategy) -> st.SearchStrategy:
    inner = st.fixed_dictionaries({"data_points": st.lists(points, max_size=3), **fields})
    return st.builds(Metric, name=st.sampled_from(["m", "n"]), unit=st.sampled_from(["", "s"]), **{kind: inner})


temporality = {"aggregation_temporality": st.integers(0, 3)}
all_metrics = (
    st.just(Metric(name="none"))
    | data_of("gauge", numbers)
    | data_of("sum", numbers, is_monotonic=st.booleans(), **temporality)
    | data_of("histogram", histograms, **temporality)
    | data_of("exponential_histogram", exponentials, **temporality)
    | data_of("summary", summaries)
)
metric_requests = st.builds(
    ExportMetricsServiceRequest,
    resource_metrics=st.lists(
        st.builds(
            ResourceMetrics,
            resource=st.none() | st.builds(lambda pairs: {"attributes": pairs}, attributes),
            scope_metrics=st.lists(
                st.builds(
                    ScopeMetrics, scope=st.none() | st.just({"name": "s"}), metrics=st.lists(all_metrics, max_size=3)
                ),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)


def assert_same(first: SpanBatch, second: SpanBatch) -> None:
    assert dict(first.refused) == dict(second.refused)
    for ours, theirs in ((first.spans, second.spans), (first.resources, second.resources)):
        ours.validate(full=True)
        assert rows(ours) == rows(theirs)


def rows(table: pa.Table) -> list[dict]:
    return table.drop(["first_seen"] if "first_seen" in table.column_names else []).to_pylist()


def assert_same_metrics(first: MetricBatch, second: MetricBatch) -> None:
    """Their order, and that of the attributes of a series, is nobody's business."""
    assert dict(first.refused) == dict(second.refused)
    for ours, theirs in zip(first.tables, second.tables, strict=True):
        ours.validate(full=True)
        assert ours.schema == theirs.schema
        assert unordered(ours) == unordered(theirs)


def unordered(table: pa.Table) -> list[str]:
    """NaN is equal to itself in text; a series may be mentioned several times."""
    found = [row | {"attributes": sorted(row.get("attributes") or [], key=repr)} for row in rows(table)]
    texts = [repr(row) for row in found]
    return sorted(set(texts) if "first_seen" in table.column_names else texts)


def both(body: bytes, redactor: Redactor = KEEP_ALL) -> tuple[SpanBatch, SpanBatch]:
    """Without the way out by which the quick decoder hands over what it finds unusual."""
    return read_span_columns(body, redactor, 7), decode_with("objects", body, redactor)


def decode_with(decoder: Decoder, body: bytes, redactor: Redactor = KEEP_ALL) -> SpanBatch:
    batch = decode_traces(body, PROTOBUF, redactor, decoder)
    return SpanBatch(batch.spans, batch.resources, batch.refused, 7)


@pytest.mark.parametrize("name", ["cpu-traces.bin", "error-traces.bin"])
@pytest.mark.parametrize("redactor", REDACTORS)
def test_recorded_spans_are_read_the_same(name, redactor):
    assert_same(*both((RECORDED / name).read_bytes(), redactor))


@pytest.mark.parametrize("name", ["cpu-metrics.bin", "error-metrics.bin"])
@pytest.mark.parametrize("redactor", REDACTORS)
def test_recorded_metrics_are_read_the_same(name, redactor):
    body = (RECORDED / name).read_bytes()

    assert_same_metrics(
        read_metric_columns(body, redactor, 7), decode_metrics(body, PROTOBUF, redactor, decoder="objects")
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(request=metric_requests, redactor=st.sampled_from(REDACTORS))
def test_any_metrics_are_read_the_same(request, redactor):
    body = request.SerializeToString()

    assert_same_metrics(
        read_metric_columns(body, redactor, 7), decode_metrics(body, PROTOBUF, redactor, decoder="objects")
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(request=requests, redactor=st.sampled_from(REDACTORS))
def test_any_request_is_read_the_same(request, redactor):
    assert_same(*both(request.SerializeToString(), redactor))


def damaged(body: bytes, dice: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        match dice.randrange(3):
            case 0:
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            case 1:
                del changed[dice.randrange(len(changed)) :][: dice.randint(1, 9)]
            case _:
                changed.insert(dice.randrange(len(changed)), dice.randrange(256))
        if not changed:
            return b"\x00"
    return bytes(changed)


def outcome(decoder: Decoder, body: bytes) -> SpanBatch | None:
    try:
        return decode_with(decoder, body)
    except DecodeError:
        return None


def test_damaged_bytes_are_stored_or_refused_with_a_reason():
    body = traces(
        span(attributes={"k": "text", "n": [1, {"a": b"b"}]}, events=[Span.Event(name="e")], links=[Span.Link()]),
        span("00000000000000aa", attributes={"http.response.status_code": 200, "d": 0.5}),
    )
    dice = random.Random(20261124)  # noqa: S311  the same damage every time
    compared = 0
    for _ in range(1000):
        broken = damaged(body, dice)
        quick = outcome("columns", broken)
        slow = outcome("objects", broken)
        if quick is not None and slow is not None:
            assert rows(quick.spans) == rows(slow.spans), broken.hex()
            compared += 1
    assert compared > 50


def test_a_value_of_two_kinds_is_for_the_other_decoder():
    twice = AnyValue(string_value="sss").SerializeToString() + AnyValue(int_value=3).SerializeToString()
    body = traces(span(attributes={"k": "12345"})).replace(AnyValue(string_value="12345").SerializeToString(), twice)

    with pytest.raises(UnusualError):
        read_span_columns(body, KEEP_ALL, 1)
    assert [{"key": "k", "value": "3"}] == decode_with("columns", body).spans["attributes"][0].as_py()


def test_of_many_keys_in_many_spans_the_last_value_wins():
    """More marks than are flagged one by one."""
    many = [span(f"{number:016x}", attributes={f"k{number}": 1}) for number in range(1, 4200)]
    many[77].attributes.append(attribute("k78", 2))
    quick, slow = both(traces(*many))

    assert [{"key": "k78", "value": "2"}] == quick.spans["attributes"][77].as_py()
    assert rows(quick.spans) == rows(slow.spans)


def test_what_was_decoded_quickly_is_stored(store):
    save_spans(store, decode_with("columns", traces(span(attributes={"k": [1]}))))

    assert {"k": "[1]"} == store.row("SELECT attributes FROM spans")["attributes"]
