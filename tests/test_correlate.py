from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diagnose.config import Settings
from diagnose.correlate import Readers, correlate
from diagnose.correlate.exemplars import request_expression
from diagnose.correlate.question import find_rule, window
from diagnose.correlate.representatives import representatives
from diagnose.model import Capture, Episode, utc_now
from diagnose.pprof.codec import decode
from diagnose.prometheus import ActiveAlert, AlertingRule
from diagnose.receive.otlp import decode_traces
from diagnose.store.captures import plan_captures
from diagnose.store.profiles import save_profile
from diagnose.store.spans import save_spans
from tests import otlp
from tests.fake_upstreams import FakeServer, Reply, data, profile_bytes, prometheus_at, recorded, serving

STARTS_AT = datetime(2026, 11, 23, 21, 23, 58, tzinfo=UTC)
ACTIVE_AT = datetime(2026, 11, 23, 21, 23, 43, 334779, UTC)
EXEMPLARS, RULES, TARGETS, FLAGS = (
    f"/api/v1/{path}" for path in ("query_exemplars", "rules", "targets", "status/flags")
)
BUCKETS = 'http_request_duration_seconds_bucket{job="api"}'
P99 = f"histogram_quantile(0.99, sum by (job, route, le) (rate({BUCKETS}[30s]))) > 0.5"
LEAK_LABELS = {"instance": "127.0.0.1:27001", "severity": "warning", "capture": "goroutine,heap"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    replies = {
        RULES: recorded("prometheus-rules"),
        TARGETS: recorded("prometheus-targets"),
        EXEMPLARS: data([]),
        FLAGS: data({"enable-feature": "exemplar-storage"}),
    }
    with serving(FakeServer(replies=replies)) as server:
        yield server


def test_alerts_that_stand_for_many_are_of_every_rule_and_the_worst_of_it():
    many = [
        episode("Latency", starts_at=STARTS_AT - timedelta(seconds=at), labels={"severity": severity})
        for at in range(30)
        for severity in ("info", "critical")
    ]
    single = episode("Leak", labels={"severity": "info"})
    chosen = representatives([*many, single], 4)

    assert ["Latency", "Leak", "Latency", "Latency"] == [each.alertname for each in chosen]
    assert [29, 28, 27] == [(STARTS_AT - each.starts_at).seconds for each in chosen if each.alertname == "Latency"]
    assert [single] == representatives([single], 4)


def readers(store, fake: FakeServer | None, **more: Any) -> Readers:
    return Readers(store, [prometheus_at(fake, **more)] if fake else [], Settings())


def episode(alertname: str = "P99Latency", **fields: Any) -> Episode:
    labels = {"alertname": alertname, "job": "api", "severity": "critical", "capture": "cpu", "cluster": "loop"}
    defaults: dict[str, Any] = {
        "episode_id": "epi-1",
        "incident_id": None,
        "fingerprint": "e0b5bc47fbc5c082",
        "alertname": alertname,
        "status": "firing",
        "labels": labels | fields.pop("labels", {"route": "/pay"}),
        "annotations": {},
        "generator_url": "",
        "starts_at": STARTS_AT,
        "ends_at": None,
        "received_at": STARTS_AT,
    }
    return Episode(**(defaults | fields))


def exemplar(trace: str, value: float, *, name: str = "http_request_duration_seconds_bucket", **labels: str) -> Any:
    one = {"labels": {"trace_id": trace * 32, "span_id": trace * 16}, "value": str(value), "timestamp": 1795469049.5}
    return {"seriesLabels": {"__name__": name, "job": "api", "route": "/pay"} | labels, "exemplars": [one]}


def traces_of(correlation) -> list[tuple[str, float]]:
    return [(ref.trace_id[0], ref.confidence) for ref in correlation.traces]


def test_the_exemplars_of_a_latency_rule_come_slow_ones_first(store, fake):
    fake.replies[EXEMPLARS] = recorded("prometheus-query_exemplars-p99")

    found = correlate(episode(), readers(store, fake))

    slow = [ref for ref in found.traces if ref.confidence == 1.0]
    assert {"exemplar"} == {ref.found_by for ref in found.traces}
    assert len(slow) > 3
    assert all(ref.metric_value > 0.5 for ref in slow)
    assert sorted(slow, key=lambda ref: -ref.metric_value) == slow
    assert list(range(1, 21)) == [ref.rank for ref in found.traces]
    assert found.traces[0].evidence.startswith('exemplar of http_request_duration_seconds_bucket{code="500",le="2.5"')
    assert len(found.exemplars) > 30
    assert [] == found.missing


def test_prometheus_adds_the_expression_the_value_and_since_when(store, fake):
    found = correlate(episode(), readers(store, fake))

    assert (P99, ACTIVE_AT, 2.455841836734694) == (found.expr, found.active_at, found.value)


def test_the_window_starts_before_the_condition_became_true(store, fake):
    """activeAt − the range of 30 s − a scrape interval of 1 s − a margin of 15 s."""
    fake.replies[EXEMPLARS] = data([exemplar("a", 1)])
    correlate(episode(), readers(store, fake))

    (asked,) = [each for each in fake.asked if each.path == EXEMPLARS]
    assert (ACTIVE_AT - timedelta(seconds=46)).timestamp() == pytest.approx(float(asked.query["start"]), abs=0.001)
    assert P99 == asked.query["query"]


def test_the_expression_in_the_link_is_preferred(store, fake):
    url = "http://prom.test:9090/graph?g0.expr=rate%28x_total%5B1m%5D%29+%3E+1&g0.tab=1"

    assert "rate(x_total[1m]) > 1" == correlate(episode(generator_url=url), readers(store, fake)).expr


def test_the_failed_requests_of_an_error_ratio_come_before_the_healthy_ones(store, fake):
    fake.replies[EXEMPLARS] = recorded("prometheus-query_exemplars-ratio")

    found = correlate(episode("HighErrorRatio"), readers(store, fake))

    codes = ["500" if 'code="500"' in ref.evidence else "200" for ref in found.traces]
    assert ["500"] * 6 + ["200"] * 6 == codes
    assert [1.0] * 6 + [0.5] * 6 == [ref.confidence for ref in found.traces]


def test_series_that_contradict_the_alert_are_left_out(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 1.0), exemplar("b", 9.0, route="/cart"), exemplar("c", 0.7)])

    found = correlate(episode(), readers(store, fake))

    assert [("a", 1.0), ("c", 1.0)] == traces_of(found)
    assert 2 == len(found.exemplars)


def test_labels_of_the_rule_itself_do_not_tell_series_apart(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 1.0, capture="something else", cluster="loop")])

    assert [("a", 1.0)] == traces_of(correlate(episode(), readers(store, fake)))


def test_when_no_series_agrees_all_are_taken_with_less_confidence(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 1.0, route="/cart")])

    assert [("a", 0.6)] == traces_of(correlate(episode(), readers(store, fake)))


def test_an_aggregated_alert_takes_the_exemplars_of_all_instances(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 1.0, instance="x"), exemplar("b", 2.0, instance="y")])

    assert [("b", 1.0), ("a", 1.0)] == traces_of(correlate(episode(labels={}), readers(store, fake)))


def test_a_rule_on_a_gauge_takes_the_slow_requests_of_the_same_process(store, fake):
    slow = exemplar("a", 900, name="traces_span_metrics_duration_milliseconds_bucket")
    slower = exemplar("b", 1.5)
    fake.replies[EXEMPLARS] = [data([]), data([slow, slower])]
    alert = episode("GoroutineLeak", labels=LEAK_LABELS)

    found = correlate(alert, readers(store, fake))

    assert [("b", 0.5), ("a", 0.5)] == traces_of(found)
    asked = fake.asked[-1].query["query"]
    assert asked.startswith('{__name__=~"http_request_duration_seconds_bucket|')
    assert asked.endswith('job="api"}')
    assert 700.0 == found.value


@pytest.mark.parametrize(
    ("labels", "selected"),
    [
        ({"job": "api"}, ['job="api"']),
        ({"service": 'a"b'}, ['service_name="a\\"b"', 'job="a\\"b"']),
        ({"job": "otel", "service_name": "api"}, ['job="otel"', 'service_name="api"']),
        ({"severity": "page"}, None),
    ],
)
def test_the_requests_of_a_service_are_selected_by_what_names_it(labels, selected):
    expected = selected and " or ".join(f'{{__name__=~"m",{each}}}' for each in selected)

    assert expected == request_expression(labels, ["m"])


def test_a_trace_id_in_the_alert_itself_is_the_surest(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 0.1)])
    alert = episode(labels={"traceID": TRACE.upper(), "route": "/pay"}, annotations={"otel_trace_id": "b" * 32})

    found = correlate(alert, readers(store, fake))

    assert [(TRACE, "label", 1.0), ("b" * 32, "label", 1.0), ("a" * 32, "exemplar", 0.5)] == [
        (ref.trace_id, ref.found_by, ref.confidence) for ref in found.traces
    ]
    assert "a label of P99Latency" == found.traces[0].evidence


def save_requests(store, *spans: Any) -> None:
    save_spans(store, decode_traces(otlp.traces(*spans, service="api"), "application/x-protobuf"))


def at_span_time(**fields: Any) -> Episode:
    return episode(starts_at=datetime.fromtimestamp(otlp.START_NS / 1e9 + 60, UTC), **fields)


def test_without_exemplars_failed_and_slow_spans_of_the_service_are_a_guess(store):
    save_requests(
        store,
        otlp.span(trace_id="a" * 32, duration_s=0.1, attributes={"http.route": "/pay"}),
        otlp.span(trace_id="b" * 32, duration_s=3, attributes={"http.route": "/pay"}),
        otlp.span(trace_id="c" * 32, duration_s=0.2, attributes={"http.route": "/pay"}, status={"code": 2}),
        otlp.span(trace_id="d" * 32, duration_s=9, attributes={"http.route": "/cart"}),
        otlp.span(trace_id="e" * 32, start_s=-7200, duration_s=9, attributes={"http.route": "/pay"}),
    )
    url = "http://p/graph?g0.expr=histogram_quantile%280.99%2C+x_seconds_bucket%29+%3E+0.5"

    found = correlate(at_span_time(generator_url=url), readers(store, None))

    assert [("c", 0.4), ("b", 0.3)] == traces_of(found)
    assert {"span_search"} == {ref.found_by for ref in found.traces}
    assert 3.0 == found.traces[1].metric_value
    assert "No Prometheus server is configured, so no exemplars were asked for." == found.missing[0].statement


def test_a_route_that_no_span_has_does_not_hide_the_others(store):
    save_requests(store, otlp.span(trace_id="a" * 32))

    assert [("a", 0.3)] == traces_of(correlate(at_span_time(labels={"route": "/x"}), readers(store, None)))


def test_traces_in_the_captured_profiles_are_found_once_they_are_stored(store):
    body = profile_bytes("cpu-profile")
    stored = save_profile(
        store, decode(body), body, service="api", instance="a", kind="cpu", basis="interval", capture_id="cap-1"
    )
    capture = Capture(
        "cap-1", "inc-1", "api", "api", "a", "cpu", "first", "alert", "done", "", utc_now(),
        profile_id=stored.profile_id,
    )  # fmt: skip
    plan_captures(store, [capture])
    store.control.run(
        lambda cursor: cursor.execute(
            "INSERT INTO incident VALUES ('inc-1', 'g', 'open', 't', 'api', 'critical', now(), NULL, now(), 0, NULL)"
        )
    )

    found = correlate(episode(incident_id="inc-1"), readers(store, None))

    assert {"profile_label"} == {ref.found_by for ref in found.traces}
    assert {0.6} == {ref.confidence for ref in found.traces}
    assert 20 == len(found.traces)
    assert found.traces[0].evidence.endswith("stacks in a cpu profile of this incident")
    labelled = {sample.labels.get("trace_id") for sample in decode(body).samples}
    assert {ref.trace_id for ref in found.traces} <= labelled


def test_a_prometheus_that_is_down_is_a_note_and_asked_once(store, fake):
    fake.replies[RULES] = Reply(b"", 503)
    with serving(FakeServer()) as gone:
        down = readers(store, gone)
    url = "http://prom.test/graph?g0.expr=up+%3D%3D+0"

    found = correlate(episode(generator_url=url), down)

    assert ([], "up == 0", None) == (found.traces, found.expr, found.active_at)
    assert [
        "Prometheus main is unreachable: Connection refused.",
        "No trace of P99Latency was found, neither as an exemplar nor among the spans stored here.",
    ] == [note.statement for note in found.missing]
    assert "check prometheus.url" in found.missing[0].fix


def test_a_prometheus_that_hangs_costs_one_time_limit(store, fake):
    released = threading.Event()
    for path in (RULES, EXEMPLARS, TARGETS):
        fake.replies[path] = Reply(before=lambda: released.wait(10))
    slow = readers(store, fake)
    slow.prometheus[0].timeout_s = 0.2

    found = correlate(episode(), slow)
    released.set()

    assert "Prometheus main did not answer within 0.2 s." == found.missing[0].statement
    assert [RULES] == fake.paths()


def test_a_prometheus_without_rules_is_still_asked_for_exemplars(store, fake):
    fake.replies |= {RULES: Reply(b"", 404), EXEMPLARS: data([exemplar("a", 1.0)])}
    url = "http://prom.test/graph?g0.expr=rate%28x_total%5B1m%5D%29+%3E+1"

    found = correlate(episode(generator_url=url), readers(store, fake))

    assert [("a", 1.0)] == traces_of(found)
    assert ["Prometheus main answered HTTP 404."] == [note.statement for note in found.missing]


def test_exemplar_storage_that_is_off_is_said_with_the_remedy(store, fake):
    fake.replies[FLAGS] = data({"enable-feature": ""})

    (note, _) = correlate(episode(), readers(store, fake)).missing

    assert "Exemplar storage is off in Prometheus main, so it cannot name a single request." == note.statement
    assert "start it with --enable-feature=exemplar-storage" == note.fix


def test_series_without_exemplars_are_said_only_where_there_could_be_some(store, fake):
    latency = correlate(episode(), readers(store, fake)).missing
    gauge = correlate(episode("GoroutineLeak", labels={"severity": "warning"}), readers(store, fake)).missing

    assert "The series of P99Latency have no exemplars in Prometheus main." == latency[0].statement
    assert "EnableOpenMetrics" in latency[0].fix
    assert ["No trace of GoroutineLeak was found"] == [note.statement.split(",")[0] for note in gauge]


def test_only_the_servers_responsible_for_the_alert_are_asked(store, fake):
    found = correlate(episode(), readers(store, fake, match={"cluster": "other"}))

    assert [] == fake.asked
    assert "No Prometheus server is responsible for the labels of this alert." == found.missing[0].statement


def test_every_server_is_asked_and_what_both_know_counts_once(store, fake):
    fake.replies[EXEMPLARS] = data([exemplar("a", 1.0)])
    both = Readers(store, [prometheus_at(fake), prometheus_at(fake)], Settings())

    found = correlate(episode(), both)

    assert (1, 2) == (len(found.exemplars), fake.paths().count(EXEMPLARS))


def test_a_value_that_is_no_number_is_left_out(store, fake):
    rules = json.loads(recorded("prometheus-rules").body)["data"]
    rules["groups"][1]["rules"][2]["alerts"][0]["value"] = "NaN"
    fake.replies[RULES] = data(rules)

    found = correlate(episode(), readers(store, fake))

    assert (None, ACTIVE_AT) == (found.value, found.active_at)


def test_an_alert_that_has_left_the_rules_keeps_what_was_known(store, fake):
    alert = episode(labels={"route": "/gone"}, active_at=ACTIVE_AT, value=3.0)

    found = correlate(alert, readers(store, fake))

    assert (P99, ACTIVE_AT, 3.0) == (found.expr, found.active_at, found.value)


def rule(expr: str, *alerts: dict[str, str], **labels: str) -> AlertingRule:
    active = tuple(ActiveAlert({"alertname": "X"} | each, ACTIVE_AT, 1.0, "firing") for each in alerts)
    return AlertingRule("X", expr, 60.0, labels, active)


def test_of_several_rules_and_alerts_of_a_name_the_one_that_agrees_is_meant():
    labels = {"job": "api", "route": "/pay", "cluster": "external", "alertname": "X"}
    other = rule("a", {"job": "api", "route": "/cart"}, {"job": "api"})
    same = rule("b", {"job": "api", "route": "/pay"})

    found, active = find_rule(episode("X", labels=labels), [other, same])

    assert found is same
    assert active is same.alerts[0]


def test_between_rules_with_the_same_alert_the_link_decides():
    warning, critical = rule("x > 1", {"job": "api"}), rule("x > 2", {"job": "api"})
    alert = episode("X", labels={"job": "api"}, generator_url="http://p/graph?g0.expr=x+%3E+2")

    assert critical is find_rule(alert, [warning, critical])[0]


def test_without_an_active_alert_the_rule_is_found_by_its_labels():
    fitting = rule("b", severity="critical")

    assert (fitting, None) == find_rule(episode("X"), [rule("a", severity="info"), fitting])
    assert (None, None) == find_rule(episode("Y"), [fitting])


def test_the_window_of_a_rule_nobody_knows_is_wider():
    since, until = window(episode(), "x[2m] > 1", None, None)

    assert STARTS_AT - timedelta(minutes=7, seconds=15) == since
    assert until > utc_now()


def test_the_window_of_a_resolved_alert_ends_with_it():
    ended = STARTS_AT + timedelta(minutes=3)
    alert = episode(status="resolved", ends_at=ended)

    since, until = window(alert, "x", ACTIVE_AT, rule("x"))

    assert (ACTIVE_AT - timedelta(seconds=15), ended + timedelta(seconds=15)) == (since, until)
