"""Prometheus remote write 1.0, from recorded requests and from requests nobody would send."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cramjam import snappy
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.config import Ingest, Redaction, Settings
from diagnose.errors import DecodeError
from diagnose.receive.otlp import Decoder
from diagnose.receive.proto.remote_pb2 import Exemplar, Label, MetricMetadata, Sample, TimeSeries, WriteRequest
from diagnose.receive.remote_write import decode_write, mistake_in_headers
from diagnose.redact import KEEP_ALL, Redactor
from diagnose.store.db import Store
from diagnose.store.metrics import MetricBatch, save_metrics
from tests.serving import Serving, data, serving
from tests.test_decoders import assert_same_metrics

NOW_MS = 1_795_478_454_000
STALE = bytes.fromhex("020000000000f07f")
HEADERS = {"Content_Type": "application/x-protobuf", "Content_Encoding": "snappy"}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
RECORDED = json.loads(data("prometheus", "remote-write-v1-requests.json").read_text())
DECODERS: list[Decoder] = ["columns", "objects"]


def series(name: str = "up", *samples: tuple[int, float], exemplars: list[Exemplar] = [], **labels: str) -> TimeSeries:  # noqa: B006
    named = {"__name__": name, "job": "shop/checkout", **labels}
    return TimeSeries(
        labels=[Label(name=key, value=value) for key, value in named.items()],
        samples=[Sample(timestamp=at, value=value) for at, value in samples],
        exemplars=exemplars,
    )


def packed(*all_series: TimeSeries, metadata: list[MetricMetadata] | None = None) -> bytes:
    return pack(WriteRequest(timeseries=all_series, metadata=metadata or []).SerializeToString())


def pack(message: bytes) -> bytes:
    return bytes(snappy.compress_raw(message))


def recorded(number: int) -> bytes:
    return b64decode(RECORDED[number]["body_snappy_block_base64"])


def stored_points(store: Store) -> list[tuple]:
    rows = store.rows('SELECT name, service_name, value, stale FROM metrics ORDER BY name, "time"')
    return [tuple(row.values()) for row in rows]


labels = st.lists(
    st.builds(
        Label,
        name=st.sampled_from(["__name__", "job", "service_name", "le", "token", "trace_id", "spanID"])
        | st.text(max_size=4),
        value=st.sampled_from(["", "a", "x/y\n", "/", TRACE_ID]) | st.text(max_size=4),
    ),
    max_size=5,
)
times = st.sampled_from([0, -1, 1, NOW_MS, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1, -(2**63)])
requests = st.builds(
    WriteRequest,
    timeseries=st.lists(
        st.builds(
            TimeSeries,
            labels=labels,
            samples=st.lists(st.builds(Sample, value=st.floats(), timestamp=times), max_size=3),
            exemplars=st.lists(st.builds(Exemplar, labels=labels, value=st.floats(), timestamp=times), max_size=2),
            histograms=st.lists(st.binary(max_size=3), max_size=2),
        ),
        max_size=4,
    ),
    metadata=st.lists(
        st.builds(
            MetricMetadata, type=st.integers(0, 9), metric_family_name=st.text(max_size=3), unit=st.text(max_size=1)
        ),
        max_size=3,
    ),
)
REDACTORS = [KEEP_ALL, Redactor(Ingest().redact), Redactor([Redaction(keys=["__name__|job"], action="drop")])]


def assert_same(first: MetricBatch, second: MetricBatch) -> None:
    assert_same_metrics(first, second)
    assert first.families == second.families


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("redactor", REDACTORS)
def test_recorded_requests_are_read_the_same_in_both_ways(number, redactor):
    assert_same(*(decode_write(recorded(number), redactor, decoder) for decoder in DECODERS))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(request=requests, redactor=st.sampled_from(REDACTORS))
def test_any_request_is_read_the_same_in_both_ways(request, redactor):
    body = pack(request.SerializeToString())

    assert_same(*(decode_write(body, redactor, decoder) for decoder in DECODERS))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_recorded_request_is_kept_whole(store, decoder):
    save_metrics(store, decode_write(recorded(1), decoder=decoder))

    found = store.row("SELECT count(*) AS points, count(DISTINCT series_id) AS series FROM metrics")
    services = {row["service_name"] for row in store.rows("SELECT service_name FROM metrics")}
    assert ({"points": 332, "series": 67}, {"api", "down"}) == (found, services)
    exemplars = store.row(
        "SELECT count(*) AS n, count(trace_id) AS traces, bool_and(len(trace_id) = 32) AS whole, "
        "bool_and(len(map_keys(filtered_attributes)) = 0) AS only_ids FROM exemplars"
    )
    assert {"n": 60, "traces": 60, "whole": True, "only_ids": True} == exemplars


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_stale_marker_is_a_point_without_a_value_and_another_nan_is_a_value(store, decoder):
    request = WriteRequest(timeseries=[series("up", (NOW_MS, 1.0), (NOW_MS + 1, 123456.5), (NOW_MS + 2, math.nan))])
    marked = request.SerializeToString().replace(Sample(value=123456.5).SerializeToString(), b"\x09" + STALE)
    save_metrics(store, decode_write(pack(marked), decoder=decoder))

    [first, second, third] = stored_points(store)
    assert [("up", "checkout", 1.0, False), ("up", "checkout", None, True)] == [first, second]
    assert math.isnan(third[2])
    assert not third[3]


def test_metadata_tells_the_types_of_what_came_before(store):
    save_metrics(store, decode_write(packed(series("jobs_total", (NOW_MS, 1.0)), series("other", (NOW_MS, 1.0)))))
    described = MetricMetadata(type=MetricMetadata.COUNTER, metric_family_name="jobs", unit="jobs")
    save_metrics(store, decode_write(packed(metadata=[described])))

    rows = store.rows('SELECT name, "type", unit, is_monotonic, temporality FROM metrics ORDER BY name')
    assert [("jobs_total", "counter", "jobs", True, "cumulative"), ("other", "unknown", "", False, "")] == [
        tuple(row.values()) for row in rows
    ]


@pytest.mark.parametrize(
    ("content_type", "encoding", "version", "said"),
    [
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", "2.0.0", "remote write 2.0"),
        ("application/x-protobuf", "snappy", "2.0.0", "remote write 2.0"),
        ("application/json", "snappy", "0.1.0", "is not application/x-protobuf"),
        ("application/x-protobuf", "", "0.1.0", "is not snappy"),
        ("application/x-protobuf", "gzip", "0.1.0", "is not snappy"),
        ("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", "0.1.0", None),
        ("application/x-protobuf", "snappy", "", None),
    ],
)
def test_headers_say_whether_it_is_remote_write_1(content_type, encoding, version, said):
    mistake = mistake_in_headers(content_type, encoding, version)

    assert mistake is None if said is None else said in (mistake or "")


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff\xff\xff\xff", b"\x05abc", pack(b"\xff"), pack(b"\x0a\x05abc")])
def test_garbage_is_a_decode_error(body, decoder):
    with pytest.raises(DecodeError):
        decode_write(body, decoder=decoder)


# --- over HTTP


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings = Settings(ingest=Ingest(max_body_bytes=100_000))
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store, settings) as running:
        yield running


def test_samples_are_stored_before_the_answer_and_once(web):
    body = packed(series("twice", (NOW_MS, 1.0)))

    assert [(204, b""), (204, b"")] == [
        (answer.status, answer.body) for answer in (web.post("/api/v1/write", body, **HEADERS) for _ in range(2))
    ]
    assert {"n": 1} == web.store.row("SELECT count(*) AS n FROM metrics WHERE name = 'twice'")


def test_what_cannot_be_kept_is_said_and_the_rest_is_stored(web):
    body = packed(series("kept", (NOW_MS, 1.0), (0, 1.0)), TimeSeries(samples=[Sample(timestamp=NOW_MS)]))
    answer = web.post("/api/v1/write", body, **HEADERS)

    assert 400 == answer.status
    assert "1 refused: a series without __name__" in answer.error["message"]
    assert "1 refused: a sample whose time is not between 1970 and 9999" in answer.error["message"]
    assert {"n": 1} == web.store.row("SELECT count(*) AS n FROM metrics WHERE name = 'kept'")


def test_remote_write_2_is_told_what_to_set(web):
    kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    answer = web.post("/api/v1/write", b"\x00", **HEADERS | {"Content_Type": kind})

    assert 415 == answer.status
    assert "protobuf_message: prometheus.WriteRequest" in answer.error["message"]


def test_a_block_that_would_grow_above_the_limit_is_not_inflated(web):
    body = pack(bytes(200_000))

    assert len(body) < 100_000
    assert 413 == web.post("/api/v1/write", body, **HEADERS).status


def test_no_snappy_is_a_bad_request(web):
    answer = web.post("/api/v1/write", b"\xff\xff\xff\xff\xff\xff", **HEADERS)

    assert (400, "Content-Encoding") == (answer.status, answer.error["field"])


# --- generated code


@pytest.mark.parametrize(
    "proto", ["receive/proto/remote.proto", "receive/proto/status.proto", "pprof/proto/profile.proto"]
)
def test_the_generated_classes_are_those_of_the_proto_file(tmp_path, proto):
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(root), f"--python_out={tmp_path}"]
    subprocess.run([*command, str(root / "diagnose" / proto)], check=True, cwd=root)
    generated = f"diagnose/{proto}".replace(".proto", "_pb2.py")

    assert (root / generated).read_text() == (tmp_path / generated).read_text()
