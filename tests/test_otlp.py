from __future__ import annotations

import json
import random
from base64 import b64decode
from datetime import UTC, datetime

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from diagnose.config import Ingest, Redaction
from diagnose.errors import DecodeError
from diagnose.receive.otlp import JSON, PROTOBUF, decode_metrics, decode_traces, encode_response, media_type
from diagnose.redact import Redactor
from diagnose.store.metrics import save_metrics
from diagnose.store.spans import save_spans
from tests.otlp import RECORDED, SECOND, START_NS, TRACE_ID, any_value, attribute, metrics, span, traces

VALUES = [
    ("text", "text"),
    ("", ""),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-7, "-7"),
    (2**63 - 1, "9223372036854775807"),
    (0.1, "0.1"),
    (1.0, "1.0"),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    (b"\x00\xff", "AP8="),
    (["a", 1, None, 0.5, True, b"\x01"], '["a",1,null,0.5,true,"AQ=="]'),
    ([float("inf")], '["Infinity"]'),
    ({"k": {"deep": ["ä"]}, "n": None}, '{"k":{"deep":["ä"]},"n":null}'),
    ([], "[]"),
    ({}, "{}"),
    (None, None),
]


def decoded(body: bytes, redact: Redactor | None = None) -> list[dict]:
    """The rows of `live_span`, attributes as (key, value) pairs."""
    rows = decode_traces(body, PROTOBUF, redact).spans.to_pylist()
    for row in rows:
        for each in (row, *row["events"], *row["links"]):
            each["attributes"] = [(pair["key"], pair["value"]) for pair in each["attributes"]]
    return rows


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[repr(value) for value, _ in VALUES])
def test_every_kind_of_attribute_value_becomes_the_documented_text(value, text):
    [row] = decoded(traces(span(attributes={"k": value})))

    assert [("k", text)] == row["attributes"]


def test_every_kind_of_value_reaches_the_table_unchanged(store):
    save_spans(
        store,
        decode_traces(traces(span(attributes={text or str(n): v for n, (v, text) in enumerate(VALUES)})), PROTOBUF),
    )

    assert {text or str(n): text for n, (_, text) in enumerate(VALUES)} == store.row("SELECT * FROM span")["attributes"]


def test_a_span_has_the_columns_of_its_table():
    body = traces(
        span(
            "00f067aa0ba902b7",
            parent="00f067aa0ba902b8",
            duration_s=0.25,
            name="GET /buy",
            trace_state="a=b",
            status=Status(code=Status.STATUS_CODE_ERROR, message="boom"),
            attributes={"http.request.method": "GET", "http.route": "/buy", "http.response.status_code": 503},
            events=[Span.Event(time_unix_nano=START_NS + 5000, name="exception", attributes=[attribute("a", 1)])],
            links=[Span.Link(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, attributes=[attribute("b", True)])],
        )
    )
    [row] = decoded(body)
    at = datetime.fromtimestamp(START_NS // SECOND, UTC)

    assert (TRACE_ID, "00f067aa0ba902b7", "00f067aa0ba902b8") == (
        row["trace_id"],
        row["span_id"],
        row["parent_span_id"],
    )
    assert ("GET /buy", "SERVER", "a=b", "ERROR", "boom") == tuple(
        row[name] for name in ("name", "kind", "trace_state", "status_code", "status_message")
    )
    assert (at, START_NS, 250_000_000) == (row["start_time"], row["start_time_unix_nano"], row["duration_ns"])
    assert ("checkout", "checkout-1", "tests") == (row["service_name"], row["service_instance_id"], row["scope_name"])
    assert ("GET", "/buy", 503) == (row["http_request_method"], row["http_route"], row["http_response_status_code"])
    assert [("a", "1")] == row["events"][0]["attributes"]
    assert at.replace(microsecond=5) == row["events"][0]["time"]
    assert [{"trace_id": "01" * 16, "span_id": "02" * 8, "attributes": [("b", "true")]}] == row["links"]


def test_older_names_of_the_conventions_fill_the_same_columns():
    [row] = decoded(traces(span(attributes={"http.method": "PUT", "http.status_code": 404, "db.system": "redis"})))

    assert ("PUT", 404, "redis") == (
        row["http_request_method"],
        row["http_response_status_code"],
        row["db_system_name"],
    )


@pytest.mark.parametrize("status", ["abc", -1, 99999, 1.5, [200], "²"])
def test_a_status_code_that_is_none_stays_an_attribute_only(status):
    [row] = decoded(traces(span(attributes={"http.response.status_code": status})))

    assert row["http_response_status_code"] is None
    assert 1 == len(row["attributes"])


def test_of_a_repeated_key_the_last_value_wins(store):
    repeated = span(attributes={})
    repeated.attributes.extend([attribute("k", "first"), attribute("other", 1), attribute("k", "last")])
    save_spans(store, decode_traces(traces(repeated), PROTOBUF))

    assert {"k": "last", "other": "1"} == store.row("SELECT attributes FROM span")["attributes"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trace_id": ""}, "trace_id has 0 bytes"),
        ({"trace_id": "ab" * 15}, "trace_id has 15 bytes"),
        ({"trace_id": "00" * 16}, "trace_id is all zeros"),
        ({"span_id": "ab"}, "span_id has 1 bytes"),
        ({"span_id": "00" * 8}, "span_id is all zeros"),
        ({"parent": "abcd"}, "parent_span_id has 2 bytes"),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": 0}, "are 0"),
        ({"start_time_unix_nano": 2**64 - 1}, "after the year 2262"),
    ],
)
def test_a_span_that_cannot_be_kept_is_refused_and_the_others_are_stored(fields, reason):
    batch = decode_traces(traces(span("00000000000000aa"), span(**fields)), PROTOBUF)

    assert ["00000000000000aa"] == batch.spans["span_id"].to_pylist()
    assert [1] == list(batch.refused.values())
    assert reason in next(iter(batch.refused))


@pytest.mark.parametrize(
    ("fields", "start", "duration"),
    [
        ({"end_time_unix_nano": START_NS - 5}, START_NS, 0),
        ({"end_time_unix_nano": 0}, START_NS, 0),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": START_NS}, START_NS, 0),
        ({"end_time_unix_nano": 2**64 - 1}, START_NS, 2**63 - 1 - START_NS),
    ],
)
def test_odd_times_are_kept_with_a_duration_that_is_not_negative(fields, start, duration):
    [row] = decoded(traces(span(**fields)))

    assert (start, duration) == (row["start_time_unix_nano"], row["duration_ns"])


def test_a_parent_of_zeros_is_no_parent_and_unknown_enums_are_unspecified():
    [row] = decoded(traces(span(parent="00" * 8, kind=77, status=Status(code=9))))

    assert (None, "UNSPECIFIED", "UNSET") == (row["parent_span_id"], row["kind"], row["status_code"])


def test_secrets_are_masked_wherever_attributes_are():
    hidden = {"http.request.header.authorization": "Bearer x", "safe": {"password": "x", "user": "u"}}
    event = Span.Event(name="e", attributes=[attribute("api_key", "x")])
    link = Span.Link(attributes=[attribute("token", "x")])
    batch = decode_traces(
        traces(span(attributes=hidden, events=[event], links=[link]), **{"db.password": "x"}),
        PROTOBUF,
        Redactor(Ingest().redact),
    )

    assert '"x"' not in json.dumps([batch.spans.to_pylist(), batch.resources.to_pylist()], default=str)
    assert ["***", '{"password":"***","user":"u"}'] == [pair["value"] for pair in batch.spans["attributes"][0].as_py()]


def test_dropped_attributes_are_gone_from_their_columns_too():
    redactor = Redactor([Redaction(keys=["^http\\.route$"], action="drop")])
    [row] = decoded(traces(span(attributes={"http.route": "/secret"})), redactor)

    assert ([], None) == (row["attributes"], row["http_route"])


@pytest.mark.parametrize("body", [b"\xff", b"garbage", b"\x0a\xff\xff\xff\xff\x0f", b"[]", b"null", b"{", b"\xff{"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize("decode", [decode_traces, decode_metrics])
def test_garbage_is_a_decode_error(decode, content_type, body):
    with pytest.raises(DecodeError):
        decode(body, content_type)


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [{"resource": {"attributes": [{"key": "\\ud800"}]}}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "abc"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e400}]}]}]}',
        b'{"a": ' * 3000 + b"1" + b"}" * 3000,
        b'{"resourceSpans": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
    ids=["number", "list", "surrogate", "word", "infinite", "deep", "nested lists"],
)
def test_json_of_the_wrong_shape_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        decode_traces(body, JSON)


def test_an_empty_request_is_an_empty_batch(store):
    for body, content_type in ((b"", PROTOBUF), (b"{}", JSON)):
        assert 0 == decode_traces(body, content_type).spans.num_rows
        assert save_metrics(store, decode_metrics(body, content_type))


@pytest.mark.parametrize("name", ["text/plain", "", "application/grpc"])
def test_other_content_types_are_named(name):
    with pytest.raises(DecodeError) as caught:
        decode_traces(b"", name)

    assert "Content-Type" == caught.value.field


def test_content_types_may_have_parameters_and_any_case():
    assert (JSON, PROTOBUF) == (media_type("Application/JSON; charset=utf-8"), media_type("application/protobuf"))


def test_json_with_hex_ids_decodes_to_the_same_rows_as_protobuf():
    body = (RECORDED / "cpu-traces.bin").read_bytes()
    content = MessageToDict(ExportTraceServiceRequest.FromString(body), use_integers_for_enums=True)
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
            for name in {"traceId", "spanId", "parentSpanId"} & part.keys():
                part[name] = _hex(part[name])
        elif isinstance(part, list):
            waiting += part
    from_json = decode_traces(json.dumps(content).encode(), JSON)

    assert decode_traces(body, PROTOBUF).spans.equals(from_json.spans)


def _hex(base64_text: str) -> str:
    return b64decode(base64_text).hex().upper()


def test_an_attribute_named_like_an_id_field_is_not_touched():
    content = {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": TRACE_ID,
                                "spanId": "00f067aa0ba902b7",
                                "startTimeUnixNano": str(START_NS),
                                "attributes": [{"key": "traceId", "value": {"stringValue": "zz"}}],
                                "unknownField": {"x": 1},
                            },
                            {"traceId": "nonsense", "spanId": 7, "startTimeUnixNano": "1"},
                        ]
                    }
                ]
            }
        ]
    }
    batch = decode_traces(json.dumps(content).encode(), JSON)

    assert [[{"key": "traceId", "value": "zz"}]] == batch.spans["attributes"].to_pylist()
    assert {"trace_id has 0 bytes, not 16": 1} == batch.refused


def test_the_answer_counts_what_was_refused_in_the_encoding_of_the_request():
    batch = decode_traces(traces(span(span_id=""), span(span_id=""), span()), PROTOBUF)
    answer = ExportTraceServiceResponse.FromString(encode_response(batch, PROTOBUF))

    assert (2, "2 refused: span_id has 0 bytes, not 8") == (
        answer.partial_success.rejected_spans,
        answer.partial_success.error_message,
    )
    assert "2" == json.loads(encode_response(batch, JSON))["partialSuccess"]["rejectedSpans"]
    assert b"" == encode_response(decode_traces(b"", PROTOBUF), PROTOBUF)
    assert {} == json.loads(encode_response(decode_metrics(b"", PROTOBUF), JSON))


# metrics


def gauge(*points: dict, name: str = "queue") -> Metric:
    return Metric(name=name, unit="1", gauge={"data_points": points})


def test_points_of_gauges_and_sums_and_stale_markers():
    batch = decode_metrics(
        metrics(
            gauge({"time_unix_nano": START_NS, "as_int": 7, "attributes": [attribute("a", 1)]}),
            gauge({"time_unix_nano": START_NS, "flags": 1}),
            Metric(
                name="requests",
                sum={
                    "data_points": [{"time_unix_nano": START_NS, "start_time_unix_nano": 1_000_000, "as_double": 0.5}],
                    "aggregation_temporality": 2,
                    "is_monotonic": True,
                },
            ),
        ),
        PROTOBUF,
    )

    assert [(7.0, False), (None, True), (0.5, False)] == [(p["value"], p["stale"]) for p in batch.points.to_pylist()]
    assert [("gauge", "", False), ("gauge", "", False), ("sum", "cumulative", True)] == [
        (s["type"], s["temporality"], s["is_monotonic"]) for s in batch.series.to_pylist()
    ]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (gauge({"as_int": 1}), "a point without time_unix_nano"),
        (gauge({"time_unix_nano": 1000}), "a point without a value"),
        (Metric(name="empty"), "a metric without data"),
        (
            Metric(
                name="h",
                histogram={"data_points": [{"time_unix_nano": 1, "explicit_bounds": [1], "bucket_counts": [1]}]},
            ),
            "a histogram of 1 buckets for 1 bounds",
        ),
        (
            Metric(
                name="h",
                histogram={
                    "data_points": [{"time_unix_nano": 1, "explicit_bounds": [2, 1], "bucket_counts": [1, 1, 1]}]
                },
            ),
            "a histogram whose bounds do not rise",
        ),
    ],
)
def test_a_point_that_cannot_be_kept_is_refused_and_counted(metric, reason):
    batch = decode_metrics(metrics(metric, gauge({"time_unix_nano": START_NS, "as_int": 1})), PROTOBUF)
    answer = ExportMetricsServiceResponse.FromString(encode_response(batch, PROTOBUF))

    assert ({reason: 1}, 1, 1) == (batch.refused, batch.points.num_rows, answer.partial_success.rejected_data_points)


def test_histograms_of_both_kinds_reach_their_table(store):
    explicit = {"time_unix_nano": START_NS, "count": 3, "sum": 1.5, "explicit_bounds": [1], "bucket_counts": [2, 1]}
    exponential = {
        "time_unix_nano": START_NS,
        "count": 2**64 - 1,
        "scale": -3,
        "zero_count": 1,
        "positive": {"offset": -2, "bucket_counts": [1, 2]},
        "negative": {"offset": 4, "bucket_counts": [2**63]},
        "min": -1.0,
    }
    body = metrics(
        Metric(name="a", histogram={"data_points": [explicit], "aggregation_temporality": 1}),
        Metric(name="b", exponential_histogram={"data_points": [exponential]}),
    )
    save_metrics(store, decode_metrics(body, PROTOBUF))
    first, second = store.rows("SELECT * FROM metric_histogram JOIN metric_series USING (series_id) ORDER BY name")

    assert ([1.0], [2, 1], 1.5, "delta") == (
        first["bounds"],
        first["bucket_counts"],
        first["sum"],
        first["temporality"],
    )
    assert (None, None, 2**64 - 1, -1.0) == (second["bounds"], second["sum"], second["count"], second["min"])
    assert (-3, 1, -2, [1, 2], 4, [2**63]) == tuple(
        second[name]
        for name in ("scale", "zero_count", "positive_offset", "positive_counts", "negative_offset", "negative_counts")
    )


def test_a_summary_becomes_points_as_prometheus_has_them(store):
    point = {"time_unix_nano": START_NS, "count": 9, "sum": 4.5, "quantile_values": [{"quantile": 0.99, "value": 3.0}]}
    save_metrics(store, decode_metrics(metrics(Metric(name="gc", summary={"data_points": [point]})), PROTOBUF))
    rows = store.rows(
        "SELECT name, attributes, value FROM metric_point JOIN metric_series USING (series_id) ORDER BY name"
    )

    assert [("gc", {"quantile": "0.99"}, 3.0), ("gc_count", {}, 9.0), ("gc_sum", {}, 4.5)] == [
        tuple(row.values()) for row in rows
    ]


def test_an_exemplar_keeps_its_trace_when_the_id_is_one(store):
    exemplars = [
        {"time_unix_nano": START_NS, "as_double": 0.7, "trace_id": bytes.fromhex(TRACE_ID), "span_id": b"\x01" * 8},
        {"as_int": 1, "trace_id": b"short", "filtered_attributes": [attribute("user", "u")]},
        {"time_unix_nano": START_NS},
    ]
    body = metrics(gauge({"time_unix_nano": START_NS, "as_int": 1, "exemplars": exemplars}))
    save_metrics(store, decode_metrics(body, PROTOBUF))
    rows = store.rows("SELECT metric_name, value, trace_id, span_id, attributes FROM exemplar ORDER BY value")

    assert [
        ("queue", 0.7, TRACE_ID, "01" * 8, {}),
        ("queue", 1.0, None, None, {"user": "u"}),
    ] == [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("name", ["cpu", "error"])
def test_recorded_requests_are_kept_whole(store, name):
    spans = decode_traces((RECORDED / f"{name}-traces.bin").read_bytes(), PROTOBUF)
    points = decode_metrics((RECORDED / f"{name}-metrics.bin").read_bytes(), PROTOBUF)

    assert (True, True) == (save_spans(store, spans), save_metrics(store, points))
    assert ({}, {}) == (spans.refused, points.refused)
    assert {"spans": spans.spans.num_rows, "services": 1} == store.row(
        "SELECT count(*) AS spans, count(DISTINCT service_name) AS services "
        "FROM span JOIN resource USING (resource_id, service_name)"
    )
    assert 0 == store.row("SELECT count(*) AS n FROM metric_point ANTI JOIN metric_series USING (series_id)")["n"]
    found = store.row("SELECT count(*) AS n FROM (SELECT DISTINCT trace_id FROM exemplar) JOIN span USING (trace_id)")
    assert found["n"] > 0


@pytest.mark.parametrize(
    ("decode", "save", "file"),
    [(decode_traces, save_spans, "cpu-traces.bin"), (decode_metrics, save_metrics, "cpu-metrics.bin")],
    ids=["traces", "metrics"],
)
def test_whatever_a_mutated_request_decodes_to_can_be_stored(store, decode, save, file):
    chance = random.Random(11)  # noqa: S311  the same every time is the point
    whole = (RECORDED / file).read_bytes()
    outcomes = []
    for _ in range(120):
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 30)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        try:
            batch = decode(bytes(mutated), PROTOBUF)
        except DecodeError:
            outcomes.append("refused")
        else:
            outcomes.append("stored" if save(store, batch) else "known")

    assert {"refused", "stored"} == set(outcomes)


def test_any_value_from_the_future_has_no_text():
    assert any_value(None).WhichOneof("value") is None
    assert None is decoded(traces(span(attributes={"k": None})))[0]["attributes"][0][1]
