"""The main job on the real stack: a fault is planted, the report names it first, and its evidence can be joined."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from demo.faults import FAULTS, Fault
from demo.rules import DEMO, render_rules
from demo.run import RESULTS, Outcome, Steps, tell
from demo.stack import Stack

pytestmark = pytest.mark.e2e

STEPS = {
    "webhook_to_ack",
    "webhook_to_first_exemplar",
    "webhook_to_first_capture_request",
    "webhook_to_first_report",
    "webhook_to_cpu_report",
}


def demo(fault: Fault | None, out: Path, programs: dict[str, Path], quiet_s: float = 0) -> Outcome:
    with Stack(out / "run", programs, render_rules(DEMO)) as stack:
        stack.start()
        return tell(stack, fault, out, console=Console(), steps=Steps(), quiet_s=quiet_s)


@pytest.mark.parametrize("name", ["cpu", "leak", "heap"])
def test_the_report_names_the_planted_fault(name: str, tmp_path: Path, programs: dict[str, Path]) -> None:
    outcome = demo(FAULTS[name], tmp_path, programs)

    assert outcome.named, outcome.sentence
    assert all((tmp_path / result).stat().st_size for result in RESULTS)
    report = json.loads((tmp_path / "report.json").read_text())
    assert STEPS == report["timings_ms"].keys()
    assert all(milliseconds is not None for milliseconds in report["timings_ms"].values()), report["timings_ms"]
    with duckdb.connect(str(tmp_path / "incident.duckdb"), read_only=True) as database:
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


def test_healthy_load_raises_no_incident(tmp_path: Path, programs: dict[str, Path]) -> None:
    outcome = demo(None, tmp_path, programs, quiet_s=20)

    assert outcome.named, outcome.sentence
    assert outcome.report is None
