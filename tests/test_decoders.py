"""The two ways to read protobuf make the same rows, of recorded bytes and of bytes nobody would send."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from diagnose.config import Ingest, Redaction
from diagnose.errors import DecodeError
from diagnose.receive.otlp import PROTOBUF, Decoder, decode_traces
from diagnose.receive.span_columns import read_span_columns
from diagnose.receive.wire import UnusualError
from diagnose.redact import KEEP_ALL, Redactor
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


def assert_same(first: SpanBatch, second: SpanBatch) -> None:
    assert dict(first.refused) == dict(second.refused)
    assert first.body_id == second.body_id
    for ours, theirs in ((first.spans, second.spans), (first.resources, second.resources)):
        ours.validate(full=True)
        assert rows(ours) == rows(theirs)


def rows(table: pa.Table) -> list[dict]:
    return table.drop(["first_seen"] if "first_seen" in table.column_names else []).to_pylist()


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


@settings(max_examples=250, deadline=None, derandomize=True)
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
    for _ in range(3000):
        broken = damaged(body, dice)
        quick = outcome("columns", broken)
        slow = outcome("objects", broken)
        if quick is not None and slow is not None:
            assert rows(quick.spans) == rows(slow.spans), broken.hex()
            compared += 1
    assert compared > 100


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
