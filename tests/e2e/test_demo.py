"""
The main job on the real stack: a fault is planted, the report names it first, and its evidence can be joined.

One stack for all of it, in the order of the file: healthy, then faults of two services.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from demo.__main__ import STEP_NAMES
from demo.faults import FAULTS
from demo.run import RESULTS, Narrator
from demo.tools import ROOT
from tests.e2e import tutorial
from tests.e2e.running import Inbox, eventually, prepared_stack

pytestmark = pytest.mark.e2e

STEPS = {
    "webhook_to_ack",
    "webhook_to_first_exemplar",
    "webhook_to_first_capture_request",
    "webhook_to_first_report",
    "webhook_to_cpu_report",
}


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    opened = Inbox()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def narrator(programs: dict[str, Path], inbox: Inbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Narrator]:
    with prepared_stack(tmp_path_factory.mktemp("demo"), programs, inbox) as ready:
        yield ready


def test_healthy_load_raises_no_incident(narrator: Narrator) -> None:
    """A machine that stops for seconds is slow and not healthy: that may be so once or twice, not always."""
    for _ in range(4):
        narrator.wait_for_calm()
        outcome = narrator.stay_quiet(15)
        if outcome.named:
            break

    assert outcome.named, outcome.sentence
    assert outcome.report is None


@pytest.fixture(scope="module")
def reader(narrator: Narrator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader of the tutorial stands: a folder with .venv, the settings and a demo-out to be filled."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "demo-out").mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "diagnose.yaml").symlink_to(narrator.stack.folder / "diagnose.yaml")
    return folder


def test_the_report_names_what_burns_cpu_and_its_evidence_joins(narrator: Narrator, reader: Path) -> None:
    out = reader / "demo-out"
    outcome = narrator.diagnose(FAULTS["cpu"], out)

    assert outcome.named, outcome.sentence
    assert outcome.sentence.partition(", ")[0].endswith(
        tutorial.verdict().partition("time is in")[2].partition(", ")[0]
    )
    assert all((out / result).stat().st_size for result in RESULTS)
    report = json.loads((out / "report.json").read_text())
    assert STEPS == report["timings_ms"].keys()
    assert all(milliseconds is not None for milliseconds in report["timings_ms"].values()), report["timings_ms"]
    with duckdb.connect(str(out / "incident.duckdb"), read_only=True) as database:
        check_the_traces(database, {trace["trace_id"] for trace in report["incident"]["traces"]})
        check_the_finding(database, report["findings"][0]["sql"])


def check_the_traces(database: duckdb.DuckDBPyConnection, trace_ids: set[str]) -> None:
    """Each trace of the report has spans, and CPU samples carry the id of at least one."""
    spans = {row[0] for row in database.execute("SELECT DISTINCT trace_id FROM spans").fetchall()}
    joined = database.execute(
        "SELECT DISTINCT trace_id FROM profile_samples JOIN spans USING (trace_id) WHERE profile_samples.kind = 'cpu'"
    ).fetchall()

    assert trace_ids
    assert trace_ids <= spans
    assert trace_ids & {row[0] for row in joined}


def check_the_finding(database: duckdb.DuckDBPyConnection, sql: str) -> None:
    """The SQL behind the first finding runs unchanged on the export."""
    assert database.execute(sql).fetchall()


def test_the_commands_of_the_tutorial_answer(narrator: Narrator, reader: Path) -> None:
    incident_id = json.loads((reader / "demo-out/report.json").read_text())["incident"]["id"]
    environ = {**os.environ, "DIAGNOSE_URL": narrator.stack.urls["diagnose"], "COLUMNS": "120", "PYTHONPATH": str(ROOT)}
    said = []
    for typed in tutorial.commands():
        command = ["bash", "-c", typed.replace("INCIDENT", incident_id)]
        done = subprocess.run(command, cwd=reader, env=environ, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, f"{typed}\n{done.stdout}{done.stderr}"
        print(f"$ {typed}\n{done.stdout}")
        said.append(done.stdout)

    assert len(said) >= 6
    assert "compareEveryPair" in said[0]


def test_the_transcript_of_the_tutorial_has_the_steps_of_the_demo(narrator: Narrator) -> None:
    taken = [tutorial.figureless(step) for step, _, _ in narrator.steps.rows]
    story = taken[taken.index("fault cpu on") : taken.index("results written") + 1]

    last = [tutorial.figureless(step) for step in STEP_NAMES.values()]
    assert tutorial.steps() == ["stack ready", *taken[:2], *story, *last]


def test_the_alerts_of_that_fault_are_one_incident_with_one_message_per_sink_and_revision(
    narrator: Narrator, inbox: Inbox, reader: Path
) -> None:
    incident_id = json.loads((reader / "demo-out/report.json").read_text())["incident"]["id"]
    incident = eventually(
        "every alert ends and the last report is delivered", lambda: concluded(narrator, incident_id), timeout_s=120
    )
    revisions = [revision for revision, _ in sent(incident, "folder")]

    assert [incident_id] == [each["id"] for each in narrator.api.incidents("checkout") if began_during(incident, each)]
    assert {"HighLatency"} < {alert["alertname"] for alert in incident["alerts"]}
    assert list(range(1, len(revisions) + 1)) == sorted(revisions)
    assert len(revisions) >= 3
    assert {"delivered"} == {status for sink in ("folder", "inbox") for _, status in sent(incident, sink)}
    assert sorted(revisions) == sorted(revision for revision, _ in sent(incident, "inbox"))
    assert sorted(revisions) == sorted(inbox.revisions(incident_id))


def began_during(incident: dict[str, Any], other: dict[str, Any]) -> bool:
    """Before and after it, a busy machine may have raised others."""
    return bool(incident["started_at"] <= other["started_at"] <= incident["ended_at"])


def concluded(narrator: Narrator, incident_id: str) -> dict[str, Any] | None:
    """The incident once it is resolved, its last report is there and nothing waits to be sent."""
    report, incident = narrator.api.report(incident_id), narrator.api.incident(incident_id)
    if report is None or report["reason"] != "resolved" or incident["status"] != "resolved":
        return None
    waiting = [each for each in incident["deliveries"] if each["status"] != "delivered"]
    newest = {sink: max((revision for revision, _ in sent(incident, sink)), default=0) for sink in ("folder", "inbox")}
    return incident if not waiting and {report["revision"]} == set(newest.values()) else None


def sent(incident: dict[str, Any], sink: str) -> list[tuple[int, str]]:
    """(revision, status) of what one sink was given."""
    return [(each["revision"], each["status"]) for each in incident["deliveries"] if each["sink"] == sink]


def test_the_report_names_the_attribute_that_fails(narrator: Narrator, tmp_path: Path) -> None:
    outcome = narrator.diagnose(FAULTS["errors"], tmp_path)

    assert outcome.named, outcome.sentence
    assert "sku-13" in outcome.sentence
