"""From the webhook to the report, in the real service in its own process, with loopback servers around it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.processes import free_port
from tests.builders import webhook
from tests.fake_upstreams import FakeServer, Reply, data, profile_bytes, serving
from tests.service_process import ServiceProcess

PROFILES = {
    "goroutine": "cpu-goroutine",
    "heap": "cpu-heap",
    "mutex": "cpu-mutex",
    "block": "cpu-block",
    "profile": "cpu-profile",
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def go_process() -> Iterator[FakeServer]:
    """Answers like net/http/pprof, with recorded profiles and at once."""
    fake = FakeServer()
    fake.replies = {f"/debug/pprof/{path}": Reply(profile_bytes(name)) for path, name in PROFILES.items()}
    fake.replies["/debug/pprof/"] = Reply(b"<a href='goroutine?debug=1'>goroutine</a>")
    with serving(fake):
        yield fake


@pytest.fixture
def prometheus() -> Iterator[FakeServer]:
    """Knows one exemplar of any series and nothing else."""
    now = datetime.now(UTC).timestamp()
    exemplar = {"labels": {"trace_id": TRACE}, "value": "2.3", "timestamp": now}
    series = {"__name__": "http_request_duration_seconds_bucket", "job": "checkout", "le": "+Inf"}
    fake = FakeServer(missing=data({}))
    fake.replies["/api/v1/query_exemplars"] = data([{"seriesLabels": series, "exemplars": [exemplar]}])
    with serving(fake):
        yield fake


def target(address: str) -> dict[str, Any]:
    return {
        "name": "checkout",
        "match": {"job": "checkout"},
        "service": "checkout",
        "source": "static",
        "addresses": [address],
        "pprof": "http://{address}/debug/pprof",
        "networks": ["127.0.0.0/8"],
    }


def service(folder: Path, *, prometheus: str, pprof: str) -> ServiceProcess:
    return ServiceProcess(
        folder,
        prometheus=[{"url": prometheus}],
        targets=[target(pprof)],
        rules=[{"matchers": ['severity!="none"'], "seconds": 1, "cooldown": "1s"}],
        baseline={"first": "1h"},
    )


def alert(name: str = "HighLatency", *, ended: bool = False, **labels: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "status": "resolved" if ended else "firing",
        "labels": {"alertname": name, "job": "checkout", "severity": "critical", **labels},
        "annotations": {},
        "startsAt": (START - timedelta(seconds=5)).isoformat(),
        "endsAt": now.isoformat() if ended else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prom.test/graph?g0.expr=histogram_quantile%280.99%2C+rate%28x_bucket%5B1m%5D%29%29+%3E+1",
    }


START = datetime.now(UTC)


def post(running: ServiceProcess, *alerts: dict[str, Any]) -> str:
    """The one incident of the answer."""
    firing = any(each["status"] == "firing" for each in alerts)
    status, answer = running.post("/webhook", webhook(*alerts, status="firing" if firing else "resolved"))

    assert 202 == status, answer
    assert 1 == len(answer["incidents"])
    return str(answer["incidents"][0])


def outcomes(detail: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(each["kind"], each["phase"]): each["status"] for each in detail["captures"]}


def test_an_alert_becomes_a_report_and_its_end_the_last_revision(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        incident = post(running, alert())
        report = running.report(incident, "profiles captured")

        assert [TRACE] == [each["trace_id"] for each in report["incident"]["traces"] if each["found_by"] == "exemplar"]
        assert {"done"} == set(outcomes(report["incident"]).values())
        assert {"goroutine", "heap", "mutex", "block", "cpu", "wall"} <= {
            kind for kind, _ in outcomes(report["incident"])
        }
        assert all(report["timings_ms"][f"webhook_to_{step}"] >= 0 for step in ("ack", "first_report", "cpu_report"))

        post(running, alert(ended=True))
        last = running.report(incident, "resolved")

        assert "resolved" == last["incident"]["status"]
        assert (running.reports / incident / "report.html").exists()
        running.wait_for(
            lambda: running.get(f"/api/v1/incidents/{incident}")["deliveries"][-1]["status"] == "delivered"
        )


def test_several_alerts_of_one_service_are_one_incident(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        incidents = {post(running, alert(name)) for name in ("HighLatency", "CPUSaturation", "SchedulerLatency")}
        incident = incidents.pop()
        running.report(incident, "profiles captured")

        assert not incidents
        assert 3 == len(running.get(f"/api/v1/incidents/{incident}")["alerts"])


def test_with_prometheus_down_the_report_says_so(tmp_path, go_process):
    with service(tmp_path, prometheus=f"http://127.0.0.1:{free_port()}", pprof=go_process.address) as running:
        report = running.report(post(running, alert()), "profiles captured")

        assert any("Prometheus" in each["statement"] for each in report["missing_evidence"])
        assert "done" == outcomes(report["incident"])["cpu", "first"]


def test_without_a_collector_the_report_says_that_spans_are_missing(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        report = running.report(post(running, alert()), "profiles captured")

        assert TRACE in {each["trace_id"] for each in report["incident"]["traces"]}
        assert any("span" in each["statement"] for each in report["missing_evidence"]), report["missing_evidence"]


def test_with_the_target_down_the_report_says_so(tmp_path, prometheus):
    with service(tmp_path, prometheus=prometheus.url, pprof=f"127.0.0.1:{free_port()}") as running:
        report = running.report(post(running, alert()), "profiles captured")

        assert "done" not in outcomes(report["incident"]).values()
        assert any("refused" in each["statement"] for each in report["missing_evidence"])


def test_an_alert_that_no_target_belongs_to_still_gets_a_report(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        incident = post(running, alert(job="billing"))
        report = running.report(incident, "first evidence")

        assert [] == report["incident"]["captures"]
        assert report["missing_evidence"]


def test_the_end_of_the_process_does_not_wait_for_the_traces_of_every_alert(tmp_path, prometheus, go_process):
    """It stops while the first of forty alerts is looked at; the report comes after the next start."""
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        assert go_on.wait(60)

    exemplars = prometheus.replies["/api/v1/query_exemplars"]
    prometheus.replies["/api/v1/query_exemplars"] = Reply(exemplars.body, before=hang)
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        incident = post(running, *[alert(f"Alert{number}") for number in range(40)])
        assert asked.wait(60)
        ending = threading.Thread(target=running.stop)
        ending.start()
        running.wait_for(lambda: running.status("/healthz")[0] == 0)
        go_on.set()
        ending.join()
        looked_at = prometheus.paths().count("/api/v1/query_exemplars")
        running.start()
        running.report(incident, "profiles captured")

    assert looked_at < 20
    assert 24 <= prometheus.paths().count("/api/v1/query_exemplars")


def test_of_very_many_alerts_the_worst_of_each_rule_are_asked_about(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        alerts = [alert(instance=str(number), severity="warning") for number in range(50)]
        report = running.report(post(running, *alerts, alert("OneOfItsKind", severity="info")), "first evidence")

    assert 24 <= prometheus.paths().count("/api/v1/rules") <= 2 * 24  # before and after the captures
    assert any("24 of 51 alerts" in each["statement"] for each in report["missing_evidence"])


def test_kill_9_after_the_answer_loses_nothing(tmp_path, prometheus, go_process):
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        go_on.wait(20)

    go_process.replies["/debug/pprof/profile"] = [
        Reply(profile_bytes("cpu-profile"), before=hang),
        Reply(profile_bytes("cpu-profile")),
    ]
    running = service(tmp_path, prometheus=prometheus.url, pprof=go_process.address).start()
    incident = post(running, alert())
    assert asked.wait(20)
    running.kill()
    go_on.set()

    with running:
        report = running.report(incident, "profiles captured")
        captures = report["incident"]["captures"]

        assert "lost" in {each["status"] for each in captures if each["kind"] == "cpu"}
        assert "done" in {each["status"] for each in captures if each["kind"] == "cpu"}
        assert 1 == len(running.get("/api/v1/incidents")["incidents"])


def test_it_ends_at_once_when_told_to(tmp_path, prometheus, go_process):
    with service(tmp_path, prometheus=prometheus.url, pprof=go_process.address) as running:
        post(running, alert())

        assert 0 == running.stop()
