from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from functools import partial

import cramjam
import duckdb
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from diagnose.config import Ingest, Settings
from diagnose.store.db import Store
from tests.builders import webhook, webhook_alert
from tests.serving import Answer, Serving, data, serving
from tests.waiting import wait_until

PROTOBUF = "application/x-protobuf"
TRACES = data("otlp", "cpu-traces.bin").read_bytes()
METRICS = data("otlp", "cpu-metrics.bin").read_bytes()
CPU = data("pprof", "cpu-profile.pb.gz").read_bytes()


CONTROL_TABLES = ("message", "alert_event", "episode", "incident", "timeline_entry", "rejected_request")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings = Settings(ingest=Ingest(max_body_bytes=4_000_000, webhook_max_bytes=100_000))
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store, settings) as running:
        yield running


@pytest.fixture
def web(server: Serving) -> Serving:
    """The server of all tests here, before any alert."""
    for table in CONTROL_TABLES:
        delete = f"DELETE FROM {table}"  # noqa: S608  our own table names
        server.store.control.run(partial(duckdb.DuckDBPyConnection.execute, query=delete))
    server.service.busy = False
    return server


def rejected(store: Store) -> list[dict]:
    return store.rows("SELECT path, reason, field, repeats, body FROM rejected_request ORDER BY first_at")


# --- the webhook


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_a_webhook_is_answered_202_after_the_commit(web, method, content_type):
    body = data("alertmanager", "firing.json").read_bytes()

    answer = web.ask(method, "/webhook", body, Content_Type=content_type)

    assert 202 == answer.status
    assert (1, 0) == (answer.json["accepted"], answer.json["duplicates"])
    assert answer.json["incidents"] == [
        row["incident_id"] for row in web.store.rows("SELECT incident_id FROM incident")
    ]


def test_the_same_webhook_again_counts_as_duplicate(web):
    body = data("alertmanager", "firing.json").read_bytes()
    first = web.post("/webhook", body).json

    assert {"accepted": 0, "duplicates": 1, "incidents": first["incidents"]} == web.post("/webhook", body).json


def test_an_empty_group_is_accepted(web):
    assert (202, 0) == ((answer := web.post("/webhook", webhook() | {"alerts": []})).status, answer.json["accepted"])


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"", None, "not JSON"),
        (b"[]", None, "must be a JSON object"),
        (b'{"version": "3"}', "version", "version must be"),
        (b'{"version": "4"}', "alerts", "alerts is missing"),
    ],
)
def test_a_body_that_is_no_webhook_is_refused_and_kept_once(web, body, field, said):
    answers = [web.post("/webhook", body) for _ in range(2)]

    assert [400, 400] == [answer.status for answer in answers]
    assert ("bad_request", field) == (answers[0].error["code"], answers[0].error.get("field"))
    assert said in answers[0].error["message"]
    [kept] = rejected(web.store)
    assert ("/webhook", field, body) == (kept["path"], kept["field"], bytes(kept["body"]))
    assert kept["repeats"] == 1


def test_a_bad_alert_is_set_aside_and_the_good_one_stored(web):
    bad = webhook_alert(labels={"alertname": 7})

    answer = web.post("/webhook", webhook(webhook_alert(), bad))

    assert (202, 1) == (answer.status, answer.json["accepted"])
    assert [1] == [each["index"] for each in answer.json["rejected"]]
    [kept] = rejected(web.store)
    assert ("alerts.1", bad) == (kept["field"], json.loads(bytes(kept["body"])))


def test_what_did_not_become_durable_is_503_with_a_time_to_come_back(web):
    web.service.busy = True

    answer = web.post("/webhook", webhook())

    assert (503, "7", "busy") == (answer.status, answer.headers["Retry-After"], answer.error["code"])
    assert [] == rejected(web.store)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_methods_are_refused(web, method):
    answer = web.ask(method, "/webhook")

    assert (405, "method_not_allowed") == (answer.status, answer.error["code"])
    assert "POST" in answer.headers["Allow"]


# --- OTLP


@pytest.mark.parametrize("encoding", [None, "gzip", "zstd"])
def test_otlp_spans_are_stored_before_the_answer(web, encoding):
    body = {"gzip": gzip.compress, "zstd": cramjam.zstd.compress, None: bytes}[encoding](TRACES)
    headers = {"Content_Encoding": encoding} if encoding else {}

    answer = web.post("/v1/traces", body, Content_Type=PROTOBUF, **headers)

    assert (200, PROTOBUF) == (answer.status, answer.headers["Content-Type"])
    assert not ExportTraceServiceResponse.FromString(answer.body).HasField("partial_success")
    assert web.store.row("SELECT count(*) AS count FROM span")["count"] > 0


def test_otlp_metrics_are_stored_before_the_answer(web):
    answer = web.post("/v1/metrics", METRICS, Content_Type=PROTOBUF)

    assert (200, PROTOBUF) == (answer.status, answer.headers["Content-Type"])
    assert web.store.row("SELECT count(*) AS count FROM metric_series")["count"] > 0


def test_otlp_json_is_answered_in_json(web):
    span = {"traceId": "0" * 31 + "1", "spanId": "00", "name": "a"}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}

    answer = web.post("/v1/traces", body, Content_Type="application/json; charset=utf-8")

    assert (200, "application/json") == (answer.status, answer.headers["Content-Type"])
    assert answer.json["partialSuccess"]["rejectedSpans"] == "1"


def test_a_wrong_content_type_is_415(web):
    answer = web.post("/v1/traces", TRACES, Content_Type="text/plain")

    assert (415, "unsupported_media_type") == (answer.status, answer.error["code"])
    assert ["/v1/traces"] == [kept["path"] for kept in rejected(web.store)]


def test_a_body_that_is_no_otlp_is_400(web):
    answer = web.post("/v1/metrics", b"\xff\xff no protobuf", Content_Type=PROTOBUF)

    assert (400, "bad_request") == (answer.status, answer.error["code"])


# --- bodies


def in_chunks(web: Serving, path: str, body: bytes, headers: dict[str, str], size: int = 1000) -> Answer:
    connection = web.connect()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    connection.request("POST", path, iter(pieces), headers, encode_chunked=True)
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


def test_chunked_bodies_are_normal(web):
    packed = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}

    assert 200 == in_chunks(web, "/v1/traces", gzip.compress(TRACES), packed).status
    chunked = {"Transfer-Encoding": "chunked"}
    assert 202 == in_chunks(web, "/webhook", json.dumps(webhook()).encode(), chunked, size=7).status


def test_a_zstd_bomb_ends_at_the_cap_and_half_a_frame_is_none(web):
    packed = bytes(cramjam.zstd.compress(bytes(50_000_000)))
    headers = {"Content_Type": PROTOBUF, "Content_Encoding": "zstd"}

    assert 413 == web.post("/v1/traces", packed, **headers).status
    half = web.post("/v1/traces", bytes(cramjam.zstd.compress(TRACES))[:-9], **headers)
    assert (400, "Content-Encoding") == (half.status, half.error["field"])


def test_several_gzip_members_are_one_body(web):
    half = len(TRACES) // 2
    body = gzip.compress(TRACES[:half]) + gzip.compress(TRACES[half:])

    assert 200 == web.post("/v1/traces", body, Content_Type=PROTOBUF, Content_Encoding="gzip").status


@pytest.mark.parametrize("path", ["/webhook", "/v1/traces", "/api/v1/profiles?service=a"])
def test_a_gzip_bomb_ends_at_the_cap(web, path):
    bomb = gzip.compress(b"\0" * 50_000_000)

    answer = web.post(path, bomb, Content_Type=PROTOBUF, Content_Encoding="gzip")

    assert (413, "request_entity_too_large") == (answer.status, answer.error["code"])
    assert ["the body is larger than"] == [kept["reason"][:23] for kept in rejected(web.store)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_cap_is_413(web, chunked):
    body = b" " * 150_000
    if chunked:
        answer = in_chunks(web, "/webhook", body, {"Transfer-Encoding": "chunked"})
    else:
        answer = web.post("/webhook", body)

    assert 413 == answer.status
    assert answer.error["message"] == "the body is larger than 100000 bytes"


def test_one_chunk_above_the_cap_is_never_read_whole(web):
    with socket.create_connection((web.host, web.port), timeout=10) as connection:
        connection.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b" " * 1000
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n", b"malformed"),
        (b"Content-Length: 9\r\nContent-Encoding: gzip\r\n", b"123456789", b"no gzip"),
        (b"Content-Length: 10\r\nContent-Encoding: gzip\r\n", gzip.compress(b"{}")[:10], b"middle of the gzip"),
    ],
)
def test_a_broken_body_is_400(web, headers, body, said):
    with socket.create_connection((web.host, web.port), timeout=10) as connection:
        connection.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n" + body
        )
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert said in answer


def test_a_body_that_ends_early_stores_nothing(web):
    with socket.create_connection((web.host, web.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: 100\r\n\r\n"
        )
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert b"the body ended after 0 of 100 bytes" in answer


def test_an_unknown_encoding_is_415(web):
    assert 415 == web.post("/webhook", b"{}", Content_Encoding="br").status


# --- profiles


def test_a_profile_is_stored_once(web):
    path = "/api/v1/profiles?service=checkout&instance=checkout-1&label.origin=drill"
    first = web.post(path, CPU)

    assert 201 == first.status
    assert first.json["id"].startswith("cpu-")
    assert not first.json["duplicate"]
    assert {"id": first.json["id"], "duplicate": True} == web.post(path, CPU).json
    stored = web.store.row("SELECT service_name, basis, labels FROM profile")
    assert ("checkout", "interval", {"origin": "drill"}) == tuple(stored.values())


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [("/api/v1/profiles", CPU, "service"), ("/api/v1/profiles?service=a", b"no profile", "body")],
)
def test_a_wrong_profile_is_400(web, path, body, field):
    answer = web.post(path, body)

    assert (400, field) == (answer.status, answer.error.get("field"))


def test_uploads_never_take_all_threads(web):
    """Eight uploads that hang in the middle: one more is told to come back, webhooks get through."""
    hanging = []
    for _ in range(8):
        connection = socket.create_connection((web.host, web.port), timeout=10)
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
            b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
        )
        assert b"100 Continue" in connection.recv(100)
        hanging.append(connection)
    # The last of them may not have its slot yet; the same spans again are not stored again.
    wait_until(lambda: web.post("/v1/traces", TRACES, Content_Type=PROTOBUF).status == 503)

    assert 202 == web.post("/webhook", webhook()).status
    for connection in hanging:
        connection.close()
