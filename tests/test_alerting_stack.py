"""Real Alertmanagers and a real Prometheus: what they send, what they never say, and what their restarts look like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerting_stack import MEMBERS, AlertingStack
from tests.fake_upstreams import FakeServer, serving
from tests.service_process import ServiceProcess

EVERY = {"every": "500ms", "settle": "8s"}


@pytest.fixture
def gauge() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


def only(running: ServiceProcess) -> Any:
    """The one incident there is; None while there is none."""
    found = (running.get("/api/v1/incidents") or {}).get("incidents")
    if not found:
        return None
    assert 1 == len(found)
    return running.get(f"/api/v1/incidents/{found[0]['id']}")


def wait_until(running: ServiceProcess, **wanted: Any) -> Any:
    """The incident once it, or its newest alert, is as told."""

    def as_wanted() -> Any:
        incident = only(running)
        known = {**incident["alerts"][-1], **incident} if incident else {}
        return incident if incident and wanted.items() <= known.items() else None

    return running.wait_for(as_wanted)


def ends(incident: Any) -> int:
    return sum(line["kind"] == "resolved" for line in incident["timeline"])


def test_an_incident_ends_rightly_whatever_is_silenced_or_restarted(tmp_path: Path, gauge: FakeServer):
    running = ServiceProcess(tmp_path, reconcile=EVERY, alertmanagers=[])
    stack = AlertingStack(tmp_path, gauge, f"{running.url}/webhook")
    running.settings["alertmanagers"] = [{"url": url} for url in stack.alertmanagers]
    try:
        with running:
            stack.start()
            stack.fire()
            fired = wait_until(running, status="open")
            assert "alertmanager" == fired["alerts"][0]["source"]

            silence = stack.silence()
            wait_until(running, suppressed="silenced")
            stack.calm()  # nobody is told of this end
            silent_end = wait_until(running, status="resolved")
            assert "vanished" == silent_end["alerts"][0]["ended_by"]

            stack.unsilence(silence)
            stack.fire()
            assert fired["id"] == wait_until(running, status="open", suppressed=None)["id"]

            for member in MEMBERS:  # which forget their alerts, until Prometheus sends them again
                stack.restart(member)
                stack.wait_for(lambda: all(stack.listed(each) for each in MEMBERS), "the alert is back everywhere")
            assert 1 == ends(wait_until(running, status="open"))

            stack.restart("prometheus")
            running.kill()
            running.start()
            stack.wait_for(lambda: all(stack.listed(each) for each in MEMBERS), "Prometheus goes on sending")
            wait_until(running, status="open")
            stack.calm()
            wait_until(running, status="resolved")
    finally:
        stack.stop()


def test_prometheus_may_send_to_us_directly(tmp_path: Path, gauge: FakeServer):
    with ServiceProcess(tmp_path, reconcile=EVERY) as running:
        stack = AlertingStack(tmp_path, gauge, "", members=())
        try:
            stack.start(direct=running.url.removeprefix("http://"))
            stack.fire()
            fired = wait_until(running, status="open")
            assert "prometheus" == fired["alerts"][0]["source"]
            assert '{}:{alertname="TooMuch", job="checkout"}' == fired["alerts"][0]["group_key"]

            stack.calm()
            assert wait_until(running, status="resolved")["alerts"][0]["ended_by"] is None
        finally:
            stack.stop()
