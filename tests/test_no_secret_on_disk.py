"""A secret that somebody sends under a name that says so is found nowhere in the data directory."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cramjam
import duckdb
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from diagnose.model import Exemplar
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.receive.proto import remote_pb2
from diagnose.store.export import export_incident
from diagnose.store.metrics import save_exemplars, save_series
from diagnose.store.profiles import save_profile
from tests.builders import webhook, webhook_alert
from tests.otlp import START_NS, attribute, span, traces
from tests.serving import Serving, serving
from tests.test_upkeep import breaks

SECRET = "planted-hunter2-value"
SECRETS = {"http.request.header.authorization": SECRET, "k": "v"}
MS = START_NS // 1_000_000


def every_text(folder: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of everything below *folder*: bytes as they are, and rows and bodies unpacked."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = file.read_bytes()
        yield file.name, raw.decode("latin-1")
        if file.suffix == ".parquet":
            yield from rows(f"SELECT * FROM read_parquet('{file}')", file.name)  # noqa: S608  our own file
        if file.suffix == ".duckdb":
            yield from tables(file)


def tables(file: Path) -> Iterator[tuple[str, str]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            yield from rows(f"FROM {table}", f"{file.name}: {table}", connection)


def rows(sql: str, where: str, connection: Any = duckdb) -> Iterator[tuple[str, str]]:
    for row in connection.execute(sql).fetchall():
        yield where, repr(row)
        for value in row:
            if isinstance(value, bytes) and value.startswith(b"\x1f\x8b"):
                yield f"{where}, unpacked", gzip.decompress(value).decode("latin-1")


def send_telemetry(web: Serving) -> None:
    pairs = [attribute(name, value) for name, value in SECRETS.items()]
    events = [Span.Event(time_unix_nano=START_NS, name="e", attributes=pairs)]
    links = [Span.Link(trace_id=b"\2" * 16, span_id=b"\2" * 8, attributes=pairs)]
    body = traces(span(attributes=SECRETS | {"deep": {"password": SECRET}}, events=events, links=links), **SECRETS)
    assert 200 == web.post("/v1/traces", body, Content_Type=PROTOBUF).status
    assert 200 == web.post("/v1/metrics", metric_request(), Content_Type=PROTOBUF).status
    write = remote_pb2.WriteRequest()
    series = write.timeseries.add()
    for name, value in {"__name__": "m", "job": "checkout", "password": SECRET}.items():
        series.labels.add(name=name, value=value)
    series.samples.add(value=1.0, timestamp=MS)
    packed = bytes(cramjam.snappy.compress_raw(write.SerializeToString()))
    headers = {"Content_Encoding": "snappy", "X_Prometheus_Remote_Write_Version": "0.1.0"}
    assert 204 == web.post("/api/v1/write", packed, Content_Type="application/x-protobuf", **headers).status


def metric_request() -> bytes:
    secret = attribute("api_key", SECRET)
    request = ExportMetricsServiceRequest()
    sent = request.resource_metrics.add()
    sent.resource.attributes.append(secret)
    point = sent.scope_metrics.add().metrics.add(name="m").gauge.data_points.add(as_double=1.0, time_unix_nano=START_NS)
    point.attributes.append(secret)
    point.exemplars.add(as_double=1.0, time_unix_nano=START_NS, trace_id=b"\1" * 16).filtered_attributes.append(secret)
    return request.SerializeToString()


def send_alerts(web: Serving) -> str:
    labels = {"alertname": "HighLatency", "job": "checkout", "auth_token": SECRET, "severity": "critical"}
    told = webhook(webhook_alert(labels=labels), groupKey=f'{{}}:{{auth_token="{SECRET}"}}', commonLabels=labels)
    told["alerts"][0]["annotations"] = {"summary": f"{SECRET} is slow", "secret_note": SECRET}
    told["alerts"][0]["generatorURL"] = f"http://prometheus/graph?g0.expr=up%7Bauth_token%3D%22{SECRET}%22%7D"
    told["extra"] = {"password": [SECRET, {"deep": SECRET}]}
    answer = web.post("/webhook", told)
    assert 202 == answer.status
    direct = [{"labels": labels | {"alertname": "Other"}, "startsAt": datetime.now(UTC).isoformat()}]
    assert 200 == web.post("/api/v2/alerts", json.dumps(direct).encode()).status
    return answer.json["incidents"][0]


def send_what_is_refused(web: Serving) -> None:
    for path, body, kind in (
        ("/webhook", json.dumps({"version": "4", "token": SECRET}).encode(), "application/json"),
        ("/webhook", f'{{"token": "{SECRET}", "cut'.encode(), "application/json"),
        ("/v1/traces", b"\xff\xfe password " + SECRET.encode(), PROTOBUF),
        (
            "/v1/traces",
            f'{{"resourceSpans": [{{"api-key": "{SECRET}", "scopeSpans": 3}}]}}'.encode(),
            "application/json",
        ),
        ("/api/v1/profiles?service=checkout", gzip.compress(f"cookie {SECRET}".encode()), "application/octet-stream"),
    ):
        assert 400 == web.post(path, body, Content_Type=kind).status, path


def profile() -> Profile:
    frame = Frame("main.buy", "main.go", 10, 1)
    sample = Sample((frame,), (1, 10_000_000), {"session_cookie": SECRET, "route": "/buy"})
    types = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
    return Profile(types, (sample, Sample((frame,), (2, 20_000_000))), period=10_000_000, time_ns=START_NS)


@pytest.mark.parametrize("is_moved", [False, True], ids=["as it comes", "moved, exported and spooled"])
def test_a_planted_secret_is_found_nowhere(store, tmp_path, is_moved):
    with serving(store) as web:
        send_telemetry(web)
        incident = send_alerts(web)
        send_what_is_refused(web)
        stored = web.post(f"/api/v1/profiles?service=checkout&label.api_key={SECRET}&label.zone=a", encode(profile()))
        assert 201 == stored.status
        taken = profile()
        save_profile(store, taken, encode(taken), service="b", instance="", kind="cpu", basis="interval")
        labels = {"job": "checkout", "password": SECRET}
        save_series(store, "up", "", "checkout", [(labels, [(datetime.now(UTC), 1.0)])])
        save_exemplars(store, [Exemplar("latency", labels, "ab" * 16, "", 0.5, datetime.now(UTC))])
        if is_moved:
            web.service.segments.move()
            with web.service.snapshots.newest(fresh=True):
                export_incident(store, incident, store.path / "incident.duckdb")
                texts = list(every_text(store.path / "snapshots"))
                assert [] == [where for where, text in texts if SECRET in text]
            spooled = decode_traces(traces(span(attributes=SECRETS, start_s=1)), PROTOBUF, store.redactor)
            store.telemetry.run_together(breaks, spooled, wait_s=30)
        kept = store.row("SELECT labels, annotations FROM episode WHERE alertname = 'HighLatency'")
        body = decode(web.get(f"/api/v1/profiles/{stored.json['id']}").body)
        rejected = store.rows("SELECT path, body FROM rejected_requests")
    files = [file for file in store.path.rglob("*") if file.is_file()]
    store.close()

    texts = list(every_text(store.path))
    assert [] == [where for where, text in texts if SECRET in text]
    assert len(files) <= len({where for where, _ in texts})
    # What is no secret is there.
    assert ("***", "checkout") == (kept["labels"]["auth_token"], kept["labels"]["job"])
    assert {"summary": "*** is slow", "secret_note": "***"} == kept["annotations"]
    assert [{"session_cookie": "***", "route": "/buy"}, {}] == [dict(each.labels) for each in body.samples]
    assert ["main.buy"] == [frame.function for frame in body.samples[0].frames]
    assert 5 == len(rejected)
