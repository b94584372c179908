"""
CONTRIBUTING.md, checked by doing: a profile kind, a sink, a correlation strategy and a finding that nobody needs are
added to a copy of the package, each as the table there says, and then they work.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tests.builders import webhook
from tests.fake_upstreams import FakeServer, Reply, data, profile_bytes, serving
from tests.service_process import ServiceProcess

ROOT = Path(__file__).parent.parent
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TARGET = {"name": "checkout", "match": {"job": "checkout"}, "service": "checkout", "source": "static"}

STRATEGY = '''"""The alert is called after a trace."""

from __future__ import annotations

from diagnose.correlate.question import Found, Question
from diagnose.model import TraceRef


def find(question: Question) -> Found:
    """Nothing unless a label `ticket` is there."""
    ticket = question.alert.labels.get("ticket")
    return Found((TraceRef(ticket, "label", 0.9, evidence="the ticket"),) if ticket else ())
'''
FINDING = '''"""How many profiles there are, for want of a cause."""

from __future__ import annotations

from diagnose.explain.evidence import Evidence
from diagnose.explain.result import Result
from diagnose.model import Effect, Finding, Subject


def find_many_profiles(evidence: Evidence) -> Result:
    answer = evidence.ask("many_profiles", "count")
    count = float(answer.rows[0]["profiles"])
    subject, effect = Subject("service", "checkout"), Effect(count, "profiles", 0, count)
    statement = f"There are {count:.0f} profiles."
    return Result((Finding("saturation", statement, subject, effect, {}, "strong", (), answer.sql, weight=0.5),))
'''
FINDING_SQL = """-- name: count
-- All profiles, whose they are.
SELECT count(*) AS profiles FROM profiles;
"""
SINK = '''"""A file that grows: one line per revision."""

from __future__ import annotations

from diagnose.config.settings import LinesSink as Settings
from diagnose.errors import SinkError
from diagnose.notify.message import Message


class LinesSink:
    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self._file = settings.path / "lines.txt"

    def deliver(self, message: Message) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as lines:
                lines.write(f"{message.incident_id} {message.revision} {message.title}\\n")
        except OSError as err:
            raise SinkError(f"{self._file}: {err.strerror}", retryable=True) from err
'''
SINK_SAMPLE = """from diagnose.config.settings import LinesSink
FILE_SINKS = {"lines": lambda path: LinesSink(type="lines", name="lines", path=path), """
SINK_SETTINGS = """class LinesSink(Section):
    type: Literal["lines"]
    name: str = Field(description="Name in deliveries.")
    path: FolderPath = Field(description="Folder of the file.")


"""


@dataclass(frozen=True)
class Addition:
    """New files, and in those there are a text that occurs once and what takes its place."""

    files: dict[str, str] = field(default_factory=dict)
    inserted: tuple[tuple[str, str, str], ...] = ()  # file, text, new text


ADDITIONS = {
    "a profile kind": Addition(
        inserted=(
            (
                "diagnose/kinds.py",
                '        ProfileKind("cpu",',
                '        ProfileKind("requests", "requests", "goroutine", "snapshot"),\n        ProfileKind("cpu",',
            ),
        )
    ),
    "a sink": Addition(
        {"diagnose/notify/lines.py": SINK},
        (
            ("diagnose/config/settings.py", "Sink = Annotated[", f"{SINK_SETTINGS}Sink = Annotated[LinesSink | "),
            ("diagnose/notify/__init__.py", '    "file": FileSink,', '    "file": FileSink,\n    "lines": LinesSink,'),
            (
                "diagnose/notify/__init__.py",
                "from diagnose.notify.message",
                "from diagnose.notify.lines import LinesSink\nfrom diagnose.notify.message",
            ),
            (
                "tests/contracts/test_sinks.py",
                "FILE_SINKS = {",
                SINK_SAMPLE,
            ),
        ),
    ),
    "a correlation strategy": Addition(
        {"diagnose/correlate/tickets.py": STRATEGY},
        (
            (
                "diagnose/correlate/__init__.py",
                "    Strategy(labels.find),",
                "    Strategy(labels.find),\n    Strategy(tickets.find),",
            ),
            ("diagnose/correlate/__init__.py", "import exemplars, labels, ", "import tickets, exemplars, labels, "),
        ),
    ),
    "a finding": Addition(
        {
            "diagnose/explain/many_profiles.py": FINDING,
            "diagnose/explain/sql/many_profiles.sql": FINDING_SQL,
        },
        (
            ("diagnose/explain/__init__.py", "    find_gaps,\n)", "    find_gaps,\n    find_many_profiles,\n)"),
            (
                "diagnose/explain/__init__.py",
                "from diagnose.explain.ranking",
                "from diagnose.explain.many_profiles import find_many_profiles\nfrom diagnose.explain.ranking",
            ),
        ),
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests with everything added."""
    root = tmp_path_factory.mktemp("contributed")
    unwanted = shutil.ignore_patterns("__pycache__", "data", "e2e")
    for name in ("diagnose", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", root)
    for addition in ADDITIONS.values():
        for path, text in addition.files.items():
            (root / path).write_text(text)
        for path, old, new in addition.inserted:
            before = (root / path).read_text()
            assert 1 == before.count(old), (path, old)
            (root / path).write_text(before.replace(old, new))
    return root


def rows() -> dict[str, str]:
    """What is to be added → its row in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return {row.split("|")[1].strip(): row for row in re.findall(r"^\| an? .*$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", ADDITIONS)
def test_the_table_names_every_place_that_had_to_be_touched(name: str) -> None:
    addition, row = ADDITIONS[name], rows()[name]

    for path in {path for path, _, _ in addition.inserted}:
        assert f"`{path}`" in row
    for path in addition.files:
        assert f"{Path(path).parent}/<name>{Path(path).suffix}`" in row


@pytest.fixture
def running(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceProcess]:
    """The service of the copy, beside a Go process that has the new profile and a Prometheus that knows nothing."""
    monkeypatch.setenv("PYTHONPATH", str(copy))
    go = FakeServer()
    go.replies = {
        "/debug/pprof/": Reply(b"<a href='requests?debug=1'>requests</a>"),
        "/debug/pprof/requests": Reply(profile_bytes("cpu-goroutine")),
    }
    with serving(go), serving(FakeServer(missing=data({}))) as prometheus:
        target = {**TARGET, "addresses": [go.address], "pprof": "http://{address}/debug/pprof"}
        service = ServiceProcess(
            tmp_path,
            prometheus=[{"url": prometheus.url}],
            targets=[{**target, "networks": ["127.0.0.0/8"]}],
            rules=[{"matchers": ['severity!="none"'], "capture": ["requests"]}],
            sinks=[{"type": "lines", "name": "lines", "path": str(tmp_path / "lines")}],
            baseline={"first": "1h"},
        )
        with service as started:
            yield started


def test_all_of_it_works_in_the_service(running: ServiceProcess, tmp_path: Path) -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "TooSlow", "job": "checkout", "severity": "critical", "ticket": TRACE},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
    }
    status, answer = running.post("/webhook", webhook(alert))
    assert 202 == status, answer
    incident_id = answer["incidents"][0]
    report = running.report(incident_id, "profiles captured")

    assert {("requests", "done")} == {(each["kind"], each["status"]) for each in report["incident"]["captures"]}
    assert (TRACE, "the ticket") in {(each["trace_id"], each["evidence"]) for each in report["incident"]["traces"]}
    finding = next(each for each in report["findings"] if each["statement"] == "There are 1 profiles.")
    lines = tmp_path / "lines/lines.txt"
    running.wait_for(lambda: lines.exists() and f"{incident_id} {report['revision']} " in lines.read_text())

    export = tmp_path / "incident.duckdb"
    with urllib.request.urlopen(f"{running.url}/api/v1/incidents/{incident_id}/incident.duckdb", timeout=30) as answer:
        export.write_bytes(answer.read())
    with duckdb.connect(str(export), read_only=True) as database:
        assert [(1,)] == database.execute(finding["sql"]).fetchall()


def test_the_layers_still_hold(copy: Path) -> None:
    run(copy, "-c", "from importlinter.cli import lint_imports_command as lint; lint()")


def test_the_contract_of_sinks_runs_on_the_new_one(copy: Path) -> None:
    said = run(
        copy,
        "-m",
        "pytest",
        "-q",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "tests/contracts/test_sinks.py",
        "-k",
        "lines or every",
    )

    assert "passed" in said


def run(copy: Path, *arguments: str) -> str:
    """Python in the copy; what it printed. Its failure is the test's."""
    done = subprocess.run([sys.executable, *arguments], cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout
