"""Captures that somebody asks for, in the real service in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving
from tests.service_process import ServiceProcess

PROFILES = {"goroutine": "cpu-goroutine", "heap": "cpu-heap", "profile": "cpu-profile"}
TRACE = b"go 1.26 trace\x00\x00\x00 of a second"


@pytest.fixture(scope="module")
def process() -> Iterator[FakeServer]:
    fake = FakeServer()
    fake.replies = {f"/{path}": Reply(profile_bytes(name)) for path, name in PROFILES.items()}
    fake.replies["/trace"] = Reply(TRACE)
    with serving(fake):
        yield fake


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, process: FakeServer) -> Iterator[ServiceProcess]:
    target = {
        "name": "checkout",
        "match": {"job": "checkout"},
        "service": "checkout",
        "source": "static",
        "addresses": [process.address],
        "pprof": "http://{address}",
    }
    folder = tmp_path_factory.mktemp("service")
    with ServiceProcess(folder, targets=[target], rules=[], baseline={"first": "1h"}) as service:
        yield service


def captured(running: ServiceProcess, incident: str, revision: int = 1) -> dict[str, Any]:
    """The incident once it has a report of that revision or later."""

    def reported() -> Any:
        found = running.get(f"/api/v1/incidents/{incident}")
        return found if found and found["revision"] >= revision else None

    return dict(running.wait_for(reported))


def by_kind(incident: dict[str, Any]) -> dict[str, list[str]]:
    kinds = dict.fromkeys(each["kind"] for each in incident["captures"])
    return {kind: [each["status"] for each in incident["captures"] if each["kind"] == kind] for kind in kinds}


def ask(running: ServiceProcess, **body: Any) -> str:
    status, answer = running.post("/api/v1/captures", body)
    assert 202 == status, answer
    return str(answer["incident"])


def test_a_capture_without_an_alert_is_an_incident_that_ends_with_its_report(running):
    incident = ask(running, target="checkout", kinds=["goroutine", "cpu"], seconds=1)

    found = captured(running, incident)
    assert ("checkout", {"goroutine": ["done", "done"], "cpu": ["done"]}) == (found["service"], by_kind(found))
    assert {"manual"} == {each["trigger"] for each in found["captures"]}
    assert ["ManualCapture"] == [each["alertname"] for each in found["alerts"]]
    running.wait_for(lambda: running.get(f"/api/v1/incidents/{incident}")["status"] == "resolved")
    assert "captured by hand" == running.get(f"/api/v1/incidents/{incident}/report.json")["reason"]


def test_an_incident_can_be_captured_again(running):
    incident = ask(running, match={"job": "checkout"}, kinds=["goroutine"])
    captured(running, incident)

    status, answer = running.post(f"/api/v1/incidents/{incident}/capture", {"kinds": ["heap"], "seconds": 1})

    assert (202, {"incident": incident}) == (status, answer)
    assert {"goroutine", "heap"} <= by_kind(captured(running, incident, revision=2)).keys()


def test_an_execution_trace_can_be_had_as_a_file(running):
    found = captured(running, ask(running, target="checkout", kinds=["trace"], seconds=1))

    (trace,) = found["captures"]
    assert ("done", len(TRACE)) == (trace["status"], trace["bytes"])
    assert TRACE.decode() == running._get(f"/api/v1/captures/{trace['capture_id']}/artefact")[1]
    assert 404 == running._get("/api/v1/captures/cap-none/artefact")[0]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "target"),
        ({"target": "checkout", "match": {"job": "checkout"}}, 400, "target"),
        ({"target": 5}, 400, "target"),
        ({"match": {"job": 5}}, 400, "match"),
        ({"match": ["job"]}, 400, "match"),
        ({"target": "checkout", "kinds": ["nonsense"]}, 400, "kinds"),
        ({"target": "checkout", "kinds": "cpu"}, 400, "kinds"),
        ({"target": "checkout", "kinds": [["cpu"]]}, 400, "kinds"),
        ({"target": "checkout", "seconds": 0}, 400, "seconds"),
        ({"target": "checkout", "seconds": 301}, 400, "seconds"),
        ({"target": "checkout", "seconds": True}, 400, "seconds"),
        ({"target": "checkout", "instances": "all"}, 400, "instances"),
        ({"target": "billing"}, 404, None),
        ({"match": {"job": "billing"}}, 404, None),
        ({"match": {"pprof": "http://169.254.169.254/"}}, 404, None),
    ],
)
def test_what_cannot_be_captured_is_said(running, process, body, status, field):
    asked = len(process.asked)
    answered, answer = running.post("/api/v1/captures", body)

    assert (status, field) == (answered, answer["error"].get("field"))
    assert asked == len(process.asked)


def test_an_unknown_incident_is_not_found(running):
    assert 404 == running.post("/api/v1/incidents/inc-none/capture", {})[0]


def command(running: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "diagnose", "--server", running.url, "capture", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=running.folder)


def test_the_command_prints_the_incident(running: ServiceProcess, tmp_path: Path):
    asked = command(running, "--match", "job=checkout", "--kinds", "goroutine, heap", "--seconds", "1", "--json")

    assert 0 == asked.returncode, asked.stderr
    found = captured(running, json.loads(asked.stdout)["incident"])
    assert {"goroutine", "heap"} == by_kind(found).keys()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "give --target or --match"),
        (("--target", "billing"), 1, "no target of the allow-list"),
        (("--target", "checkout", "--kinds", "x"), 2, "kinds are some of"),
    ],
)
def test_the_command_says_what_is_wrong(running, arguments, code, says):
    asked = command(running, *arguments)

    assert (code, True) == (asked.returncode, says in asked.stderr)
