"""
Each program killed in the middle of a run: the loop goes on or recovers, and the report says what is missing.

One stack for all of it, in the order of the file. Whatever a test kills it starts again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.faults import FAULTS
from demo.run import Narrator
from demo.tools import ROOT
from tests.e2e.running import Inbox, eventually, prepared_stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def narrator(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Narrator]:
    inbox = Inbox()
    try:
        with prepared_stack(tmp_path_factory.mktemp("killed"), programs, inbox) as ready:
            yield ready
    finally:
        inbox.close()


@pytest.fixture(autouse=True)
def calm(narrator: Narrator) -> None:
    """What the test before left behind is over."""
    narrator.wait_for_calm()


def report_that_misses(narrator: Narrator, incident_id: str, *words: str) -> dict[str, Any]:
    """The first report of which one missing piece of evidence has all *words*."""

    def look() -> dict[str, Any] | None:
        report = narrator.api.report(incident_id)
        said = [note["statement"] for note in report["missing_evidence"]] if report else []
        return report if any(all(word in statement for word in words) for statement in said) else None

    return eventually(f"a report of {incident_id} that misses {words}", look)


def status(narrator: Narrator, incident_id: str) -> str:
    return str(narrator.api.incident(incident_id)["status"])


def alertnames(narrator: Narrator, incident_id: str) -> set[str]:
    return {alert["alertname"] for alert in narrator.api.incident(incident_id)["alerts"]}


def test_the_report_names_what_leaks(narrator: Narrator, tmp_path: Path) -> None:
    outcome = narrator.diagnose(FAULTS["leak"], tmp_path)

    assert outcome.named, outcome.sentence


def test_diagnose_and_then_alertmanager(narrator: Narrator) -> None:
    """What was accepted is there afterwards, in one incident; captures that were cut off are said to be lost."""
    fault, stack = FAULTS["dependency"], narrator.stack
    narrator.plant(fault)
    incident_id = narrator.wait_for_incident("pricing")
    eventually("the CPU profile is being taken", lambda: profiling(narrator, incident_id))
    stack.kill("diagnose")
    stack.start_again("diagnose")
    narrator.wait_for_reports(incident_id)

    verdict = eventually("the cause has a name", lambda: named(narrator, incident_id))
    assert fault.named_by(verdict), verdict
    assert report_that_misses(narrator, incident_id, "lost", "pricing-1")

    stack.kill("alertmanager")
    stack.start_again("alertmanager")
    eventually("Alertmanager knows the alert again", lambda: alertmanager_knows(narrator, "pricing"))
    narrator.heal(fault)
    eventually("the incident ends", lambda: status(narrator, incident_id) == "resolved")
    began, ended = (narrator.api.incident(incident_id)[name] for name in ("started_at", "ended_at"))
    during = [each["id"] for each in narrator.api.incidents("pricing") if began <= each["started_at"] <= ended]
    assert [incident_id] == during


def profiling(narrator: Narrator, incident_id: str) -> bool:
    captures = narrator.api.incident(incident_id)["captures"]
    return any(each["kind"] == "cpu" and each["status"] == "running" for each in captures)


def named(narrator: Narrator, incident_id: str) -> dict[str, Any] | None:
    report = narrator.api.report(incident_id)
    return report["verdict"] if report else None


def alertmanager_knows(narrator: Narrator, job: str) -> bool:
    answer = requests.get(f"{narrator.stack.urls['alertmanager']}/api/v2/alerts", timeout=10)
    return any(each["labels"]["job"] == job for each in answer.json())


def test_the_collector(narrator: Narrator) -> None:
    """Exemplars still name the traces; their spans are gone, and said to be."""
    fault, stack = FAULTS["errors"], narrator.stack
    stack.kill("otelcol")
    narrator.plant(fault)
    incident_id = narrator.wait_for_incident("inventory")
    report = report_that_misses(narrator, incident_id, "traces", "spans")
    assert report["incident"]["traces"]

    stack.start_again("otelcol")
    back_at = datetime.now(UTC).isoformat()
    eventually("spans arrive again", lambda: spans_since(narrator, back_at))
    narrator.heal(fault)
    eventually("the incident ends", lambda: status(narrator, incident_id) == "resolved")


def spans_since(narrator: Narrator, moment: str) -> int:
    rows = narrator.api.sql("SELECT count(*) FROM spans WHERE start_time > CAST($moment AS TIMESTAMPTZ)", moment=moment)
    return int(rows[0][0])


def test_one_instance_of_the_target(narrator: Narrator) -> None:
    stack = narrator.stack
    stack.kill("checkout-2")
    incident_id = narrator.wait_for_incident("checkout")
    report_that_misses(narrator, incident_id, "checkout-2", "refused")
    eventually("TargetDown joins what failed calls raised", lambda: "TargetDown" in alertnames(narrator, incident_id))

    stack.start_again("checkout-2")
    eventually("the incident ends", lambda: status(narrator, incident_id) == "resolved")


def test_prometheus(narrator: Narrator) -> None:
    """The targets it told before are still known, so profiles come; exemplars do not. Alerts come when it is back."""
    stack = narrator.stack
    stack.kill("prometheus")
    simulate(narrator, "job=gateway", "route=/checkout")
    incident_id = narrator.wait_for_incident("gateway")
    report = report_that_misses(narrator, incident_id, "Prometheus")
    narrator.wait_for_reports(incident_id)
    assert "done" in {each["status"] for each in narrator.api.incident(incident_id)["captures"]}, report

    stack.start_again("prometheus")
    narrator.plant(FAULTS["errors"])
    assert narrator.wait_for_incident("inventory")
    narrator.heal(FAULTS["errors"])


def simulate(narrator: Narrator, *labels: str) -> None:
    server = ("--server", narrator.stack.urls["diagnose"])
    options = [part for label in labels for part in ("--label", label)]
    command = [sys.executable, "-m", "diagnose", "simulate", *server, "--alertname", "GatewaySlow", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
