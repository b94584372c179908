"""
The story `make demo` tells: healthy load, a baseline, a fault, an alert, a report that names the fault.

`tell` does all of it on a stack that is ready; `python -m demo` and tests/e2e start the stack around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import requests
from rich.console import Console

from demo.api import Api
from demo.errors import StackError, StoryError
from demo.faults import Fault
from demo.render import QUIET_S, Instance
from demo.stack import Stack

T = TypeVar("T")

BASELINE_TIMEOUT_S = 120.0
CALM_TIMEOUT_S = 120.0
INCIDENT_TIMEOUT_S = 60.0
REPORT_TIMEOUT_S = 60.0
SPANS_TIMEOUT_S = 20.0
DEGRADE_AFTER = "3s"  # what a new build does well before its fault shows
FAULT_S = 180  # the fault ends by itself then, should the demo be killed
HEALTHY_S = 60.0  # what FAULT=none has to stay without an incident
RESULTS = ("report.html", "report.md", "report.json", "incident.duckdb")

HEALTHY_CAPTURES = """
SELECT service_instance_id, count(*) FILTER (status = 'done'), count(*) FILTER (status IN ('planned', 'running')),
       string_agg(DISTINCT kind || ': ' || reason, '; ') FILTER (status NOT IN ('done', 'planned', 'running'))
FROM captures WHERE trigger = 'baseline' GROUP BY ALL HAVING count(*) FILTER (kind = 'cpu') > 0
"""
KNOWN_TRACES = "SELECT DISTINCT trace_id FROM spans WHERE list_contains($trace_ids, trace_id)"
JOIN = """
SELECT count(*), count(DISTINCT trace_id)
FROM profile_samples JOIN (SELECT DISTINCT trace_id FROM spans) USING (trace_id)
JOIN incident_traces USING (trace_id) WHERE profile_samples.kind = 'cpu'
"""


@dataclass
class Steps:
    """What happened when. `since_fault` counts from the moment the fault was on."""

    started: float = field(default_factory=time.monotonic)
    fault_on: float | None = None
    rows: list[tuple[str, float, float | None]] = field(default_factory=list)

    def reached(self, step: str) -> None:
        now = time.monotonic()
        self.rows.append((step, now - self.started, None if self.fault_on is None else now - self.fault_on))

    def plant(self, step: str) -> None:
        self.fault_on = time.monotonic()
        self.reached(step)


@dataclass(frozen=True)
class Outcome:
    """How a demo ended. Without an incident there is no report and no file."""

    named: bool
    sentence: str
    report: Mapping[str, Any] | None = None
    joined: tuple[int, int] = (0, 0)  # CPU samples that carry a trace of the report; of how many of its traces


class Narrator:
    """Waits for events of a running stack and tells what it sees."""

    def __init__(self, stack: Stack, console: Console, steps: Steps) -> None:
        self.stack, self.console, self.steps = stack, console, steps
        self.api = Api(stack.values.external_url)

    def wait_for(self, what: str, look: Callable[[], T | None], timeout_s: float, poll_s: float = 0.2) -> T:
        """
        What *look* returns once that is not None.

        Raises StackError when a program ended, StoryError when *timeout_s* passed.
        """
        deadline = time.monotonic() + timeout_s
        with self.console.status(f"waiting for {what}"):
            while (seen := look()) is None:
                self.stack.check()
                if time.monotonic() > deadline:
                    raise StoryError(f"no {what} within {timeout_s:.0f} s; logs and data are in {self.stack.folder}")
                time.sleep(poll_s)
        return seen

    def prepare(self) -> None:
        """Load, and profiles of every instance while it is healthy."""
        self.stack.start_load()
        self.steps.reached("load on")
        self.wait_for_baseline()
        self.wait_for_calm()

    def diagnose(self, fault: Fault, out: Path) -> Outcome:
        """From the fault to the judgement; the results are written into *out*."""
        self.plant(fault)
        incident_id = self.wait_for_incident(fault.service)
        self.wait_for_reports(incident_id)
        self.heal(fault)
        self.wait_for_spans(incident_id)
        self.save(incident_id, out)
        return _judge(fault, self.api.report(incident_id), out / "incident.duckdb")

    def wait_for_baseline(self) -> None:
        """Every instance was profiled while healthy."""
        instances = {instance.name for instance in self.stack.values.instances}

        def look() -> bool | None:
            rows = self.api.sql(HEALTHY_CAPTURES)
            return True if instances <= {name for name, done, pending, _ in rows if done and not pending} else None

        self.wait_for("baseline profiles of every healthy instance", look, BASELINE_TIMEOUT_S, poll_s=1)
        self.steps.reached("healthy baseline captured")

    def wait_for_calm(self) -> None:
        """
        Nothing is open, and what was has ended long enough ago for a fault to be an incident of its own.

        A machine with too much to do is slow for a while, which is an incident like any other.
        """

        def look() -> bool | None:
            ended = [each["ended_at"] for each in self.api.incidents()]
            return True if all(at and _seconds_since(at) > 2 * QUIET_S for at in ended) else None

        self.wait_for("moment without an incident; this machine may be too busy", look, CALM_TIMEOUT_S, poll_s=1)

    def plant(self, fault: Fault) -> None:
        for instance in self._sick(fault):
            if fault.build:
                self.stack.replace(instance, fault.build, "--degrade-after", DEGRADE_AFTER)
            else:
                _admin("PUT", f"http://{instance.admin}/faults/{fault.name}?duration={FAULT_S}s")
        self.steps.plant(f"fault {fault.name} on")

    def heal(self, fault: Fault) -> None:
        for instance in self._sick(fault):
            _admin("DELETE", f"http://{instance.admin}/faults")

    def wait_for_incident(self, service: str) -> str:
        """Id of the incident of *service* that is open."""

        def look() -> str | None:
            found = [each["id"] for each in self.api.incidents(service) if each["status"] == "open"]
            return str(found[0]) if found else None

        incident_id = self.wait_for(f"incident of {service}", look, INCIDENT_TIMEOUT_S)
        self.steps.reached("alert received, incident opened")
        return incident_id

    def wait_for_reports(self, incident_id: str) -> None:
        """The first report, then the one with the CPU profile after which nothing is being captured any more."""
        self.wait_for("first report", lambda: self.api.report(incident_id), REPORT_TIMEOUT_S)
        self.steps.reached("first report")

        def look() -> bool | None:
            report = self.api.report(incident_id)
            if report is None or report["timings_ms"]["webhook_to_cpu_report"] is None:
                return None
            busy = [each for each in report["incident"]["captures"] if each["status"] in ("planned", "running")]
            return None if busy else True

        self.wait_for("report with the CPU profile", look, REPORT_TIMEOUT_S)
        self.steps.reached("report with the CPU profile")

    def wait_for_spans(self, incident_id: str) -> None:
        """The spans of every trace in the report are stored; the last of them come a second after the request."""
        wanted = {trace["trace_id"] for trace in self.api.incident(incident_id)["traces"]}

        def look() -> bool | None:
            stored = {row[0] for row in self.api.sql(KNOWN_TRACES, trace_ids=sorted(wanted))}
            return True if wanted <= stored else None

        self.wait_for(f"spans of the {len(wanted)} traces in the report", look, SPANS_TIMEOUT_S, poll_s=1)
        self.steps.reached(f"spans of all {len(wanted)} traces stored")

    def save(self, incident_id: str, out: Path) -> None:
        for name in RESULTS:
            self.api.download(incident_id, name, out / name)
        self.steps.reached("results written")

    def stay_quiet(self, seconds: float) -> Outcome:
        """No incident has to appear within *seconds*; ends at the first."""
        deadline = time.monotonic() + seconds
        before = len(self.api.incidents())
        with self.console.status(f"watching {seconds:.0f} s of healthy load"):
            while not (found := self.api.incidents()[: -before or None]) and time.monotonic() < deadline:
                self.stack.check()
                time.sleep(0.5)
        self.steps.reached(f"{seconds:.0f} s of healthy load watched")
        if found:
            return Outcome(False, f"healthy load raised an incident: {found[0]['title']}")
        return Outcome(True, f"no incident in {seconds:.0f} s of healthy load, as it should be")

    def _sick(self, fault: Fault) -> list[Instance]:
        instances = self.stack.values.of(fault.service)
        return [each for each in instances if not fault.instances or each.name in fault.instances]


def tell(
    stack: Stack, fault: Fault | None, out: Path, *, console: Console, steps: Steps, quiet_s: float = HEALTHY_S
) -> Outcome:
    """
    The whole story on a stack that is ready; the four results of a fault are written into the folder *out*.

    Without a fault, *quiet_s* of healthy load have to pass without an incident. Raises StackError or StoryError when it
    cannot go on.
    """
    narrator = Narrator(stack, console, steps)
    try:
        narrator.prepare()
        return narrator.stay_quiet(quiet_s) if fault is None else narrator.diagnose(fault, out)
    except requests.RequestException as err:
        stack.check()  # the likely reason, and it says more
        raise StackError(f"a program of the stack does not answer: {err}") from err
    finally:
        narrator.api.close()


def _judge(fault: Fault, report: dict[str, Any] | None, database: Path) -> Outcome:
    verdict = report["verdict"] if report else None
    sentence = verdict["statement"] if verdict else "the report names no cause"
    with duckdb.connect(str(database), read_only=True) as opened:
        row = opened.execute(JOIN).fetchone() or (0, 0)
    return Outcome(fault.named_by(verdict), sentence, report, (row[0], row[1]))


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def _admin(method: str, url: str) -> None:
    answer = requests.request(method, url, timeout=10)
    if not answer.ok:
        raise StoryError(f"{method} {url} gave {answer.status_code}: {answer.text[:500]}")
