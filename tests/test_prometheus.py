from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from diagnose.config import Authorization, BasicAuth
from diagnose.errors import UpstreamError
from diagnose.prometheus import ask_all, normal_id, span_id_of, trace_id_of
from tests.fake_upstreams import FakeServer, Reply, data, prometheus_at, recorded, serving

NOW = datetime(2026, 11, 23, 21, 24, 15, tzinfo=UTC)
TRACE = "c8247d1670682a022fe9e5b37069e010"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeServer()) as server:
        yield server


def test_exemplars_come_with_the_labels_of_their_series(fake):
    fake.replies["/api/v1/query_exemplars"] = recorded("prometheus-query_exemplars-p99")

    found = prometheus_at(fake).query_exemplars('rate(x_bucket{job="api"}[30s]) > 1', NOW - timedelta(minutes=1), NOW)

    first = found[0]
    assert len(found) > 30
    assert ("http_request_duration_seconds_bucket", TRACE, "a303653b329b6703") == (
        first.metric_name,
        first.trace_id,
        first.span_id,
    )
    assert ("0.005", "/pay", None) == tuple(first.labels.get(name) for name in ("le", "route", "__name__"))
    assert 0.0005117158828731281 == first.value
    assert datetime(2026, 11, 23, 21, 24, 9, 806000, UTC) == first.at
    assert {"query": 'rate(x_bucket{job="api"}[30s]) > 1', "start": "1795468995.000", "end": "1795469055.000"} == (
        fake.asked[0].query
    )


def test_rules_come_with_their_alerts_and_the_time_the_condition_became_true(fake):
    fake.replies["/api/v1/rules"] = recorded("prometheus-rules")

    rules = {rule.name: rule for rule in prometheus_at(fake).rules()}

    latency = rules["P99Latency"]
    assert 2.0 == latency.duration_s
    assert latency.expr.startswith("histogram_quantile(0.99, sum by (job, route, le)")
    assert {"capture": "cpu", "severity": "critical"} == latency.labels
    assert datetime(2026, 11, 23, 21, 23, 43, 334779, UTC) == latency.alerts[0].active_at
    assert (2.455841836734694, "firing") == (latency.alerts[0].value, latency.alerts[0].state)


def test_targets_keep_the_address_from_before_relabelling(fake):
    fake.replies["/api/v1/targets"] = recorded("prometheus-targets")

    first, _, down = prometheus_at(fake).targets()

    assert ("127.0.0.1:27001", "up", 1.0) == (
        first.discovered_labels["__address__"],
        first.health,
        first.scrape_interval_s,
    )
    assert ("down", "down") == (down.labels["job"], down.health)


def test_values_are_points_in_time(fake):
    vector = {"resultType": "vector", "result": [{"metric": {"job": "api"}, "value": [1795469055, "7e+02"]}]}
    matrix = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"], [2.5, "+Inf"]]}]}
    fake.replies |= {"/api/v1/query": [data(vector), data({"resultType": "scalar", "result": [1, "3"]})]}
    fake.replies |= {"/api/v1/query_range": data(matrix)}
    prometheus = prometheus_at(fake)

    (series,) = prometheus.query("go_goroutines", NOW)
    (scalar,) = prometheus.query("3", NOW)
    (ranged,) = prometheus.query_range("x", NOW, NOW, 5)

    assert ({"job": "api"}, ((NOW, 700.0),)) == (series.labels, series.points)
    assert ({}, 3.0) == (scalar.labels, scalar.points[0][1])
    assert [1.0, float("inf")] == [value for _, value in ranged.points]
    assert "5" == fake.asked[-1].query["step"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"enable-feature": "exemplar-storage,native-histograms"}, True),
        ({"enable-feature": ""}, False),
        ({"web.listen-address": ":9090"}, None),
    ],
)
def test_it_can_be_asked_whether_exemplars_are_stored(fake, flags, expected):
    fake.replies["/api/v1/status/flags"] = data(flags)

    assert expected is prometheus_at(fake).stores_exemplars()


def test_a_long_expression_travels_in_the_body(fake):
    fake.replies["/api/v1/query"] = data({"resultType": "vector", "result": []})
    expr = " + ".join(["go_goroutines"] * 300)

    assert [] == prometheus_at(fake).query(expr, NOW)
    assert ("POST", expr) == (fake.asked[0].method, fake.asked[0].query["query"])


def test_credentials_are_read_at_each_request(fake, tmp_path: Path):
    fake.replies["/api/v1/status/flags"] = data({})
    token = tmp_path / "token"
    token.write_text("first\n")
    prometheus = prometheus_at(fake, authorization=Authorization(credentials_file=token), http_headers={"X-Org": "a"})

    prometheus.flags()
    token.write_text("second\n")
    prometheus.flags()

    assert ["Bearer first", "Bearer second"] == [asked.headers["Authorization"] for asked in fake.asked]
    assert "a" == fake.asked[0].headers["X-Org"]


def test_proxies_and_netrc_of_the_environment_are_ignored(fake, monkeypatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    for name, value in {
        "http_proxy": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
    fake.replies["/api/v1/status/flags"] = data({})

    prometheus_at(fake).flags()

    assert "Authorization" not in fake.asked[0].headers


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (
            Reply(b'{"status":"error","errorType":"bad_data","error":"1:5: parse error"}', 400),
            "bad_data: 1:5: parse error",
        ),
        (Reply(b"<html>gone</html>", 502), "HTTP 502"),
        (Reply(b"", 302, {"Location": "http://127.0.0.1:9/"}), "HTTP 302"),
        (Reply(b"hello"), "unknown shape"),
        (Reply(b'{"status":"success","data":[1]}'), "unknown shape"),
        (Reply(b'{"status":"success","data":{"groups":[{"rules":[{"name":"x"}]}]}}'), "unknown shape"),
        (Reply(b'{"status":"success"', cut_after=5), "unreachable"),
    ],
)
def test_every_failure_is_named(fake, reply, says):
    fake.replies["/api/v1/rules"] = reply

    with pytest.raises(UpstreamError, match=says) as caught:
        prometheus_at(fake, basic_auth=BasicAuth(username="u", password="s3cret")).rules()

    assert caught.value.retryable
    assert "s3cret" not in str(caught.value)


def test_a_server_that_is_down_is_unreachable(fake):
    prometheus = prometheus_at(fake)
    with serving(FakeServer()) as gone:
        down = prometheus_at(gone)
    fake.replies["/api/v1/status/flags"] = data({"a": "b"})

    up, failed = ask_all([prometheus, down], lambda server: server.flags())

    assert (prometheus, {"a": "b"}) == up
    assert "Prometheus main is unreachable: Connection refused" == str(failed[1])
    assert [] == ask_all([], lambda server: server.flags())


def test_a_server_that_hangs_is_left_after_the_time_limit(fake):
    released = threading.Event()
    fake.replies["/api/v1/rules"] = Reply(before=lambda: released.wait(10))
    prometheus = prometheus_at(fake)
    prometheus.timeout_s = 0.1

    with pytest.raises(UpstreamError, match=r"did not answer within 0\.1 s"):
        prometheus.rules()
    released.set()


@pytest.mark.parametrize(
    ("labels", "trace_id"),
    [
        ({"trace_id": TRACE}, TRACE),
        ({"traceID": TRACE.upper()}, TRACE),
        ({"TraceID": TRACE}, TRACE),
        ({"traceId": TRACE}, TRACE),
        ({"otel_trace_id": TRACE}, TRACE),
        ({"trace id": TRACE}, TRACE),
        ({"trace_id": "463ac35c9f6413ad"}, "0000000000000000463ac35c9f6413ad"),
        ({"trace_id": "0" * 32}, ""),
        ({"trace_id": "{{ $labels.trace_id }}"}, ""),
        ({"trace_id": TRACE + "00"}, ""),
        ({"trace_id": ""}, ""),
        ({"traceroute": TRACE}, ""),
    ],
)
def test_trace_ids_are_found_under_all_their_names(labels, trace_id):
    assert trace_id == trace_id_of(labels)


def test_span_ids_are_normal_too():
    assert "00000000000000ab" == span_id_of({"spanID": "0xAB"})
    assert "" == normal_id("xyz", 16)


def test_the_empty_and_the_failed_answer_are_told_apart(fake):
    answers = json.loads(recorded("prometheus-query_exemplars-empty-and-error").body)
    fake.replies["/api/v1/query_exemplars"] = [
        Reply(json.dumps(answers["feature_disabled"]).encode()),
        Reply(json.dumps(answers["bad_query"]).encode(), 400),
    ]
    prometheus = prometheus_at(fake)

    assert [] == prometheus.query_exemplars("x", NOW, NOW)
    with pytest.raises(UpstreamError, match="unclosed left parenthesis"):
        prometheus.query_exemplars("x(", NOW, NOW)
