"""
Does the report name what was planted? Every fault of the demo, several times, one run after the other.

    python -m bench.faults [--runs 3] [--fault cpu --fault leak …] [--stop-after 3600]

Each run is what `make demo FAULT=…` does, from an empty folder, in a process of its own. Exit code 0: every run of the
six everyday faults named its fault, and healthy load raised nothing. Writes bench/results/faults.json after each run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.environment import describe
from demo.faults import FAULTS, NONE
from demo.tools import ROOT

EVERYDAY = ("cpu", "leak", "heap", "lock", "dependency", "errors")
RESULTS = ROOT / "bench/results/faults.json"
STEP = re.compile(r"^│ (.+?) +│ ([\d.]+) s +│ +(?:([\d.]+) s)? +│", re.MULTILINE)
LONGEST_S = 600


@dataclass(frozen=True)
class Run:
    """`since_fault_s` maps the steps of the demo to seconds after the fault was on; `timings_ms` is report.json's."""

    fault: str
    exit_code: int
    took_s: float
    first_finding: str
    since_fault_s: dict[str, float] = field(default_factory=dict)
    timings_ms: dict[str, float | None] = field(default_factory=dict)
    said: str = ""


def run(fault: str) -> Run:
    """One demo, in a folder that is kept only if it did not go as it should: to see why."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"{fault}-"))
    command = [sys.executable, "-m", "demo", "--fault", fault, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    written = folder / "report.json"
    report: dict[str, Any] = json.loads(written.read_text()) if written.exists() else {}
    if done.returncode == 0:
        shutil.rmtree(folder)
    verdict = report.get("verdict") or {}
    return Run(
        fault=fault,
        exit_code=done.returncode,
        took_s=round(time.monotonic() - started, 1),
        first_finding=f"{verdict['kind']}: {verdict['subject']['name']}" if verdict else "",
        since_fault_s={step: float(after) for step, _, after in STEP.findall(done.stdout) if after},
        timings_ms=report.get("timings_ms", {}),
        said="" if done.returncode == 0 else (done.stdout + done.stderr)[-3000:],
    )


def in_turn(faults: Sequence[str], runs: int) -> Iterator[Run]:
    """All faults, then all again: a run never follows one of the same fault."""
    for _ in range(runs):
        for fault in faults:
            yield run(fault)


def as_row(each: Run) -> str:
    opened = each.since_fault_s.get("alert received, incident opened")
    after_alert = [each.timings_ms.get(f"webhook_to_{step}") for step in ("first_report", "cpu_report")]
    figures = [f"{opened:5.1f} s" if opened else "", *(f"{value / 1000:5.1f} s" for value in after_alert if value)]
    return f"{each.fault:12} exit {each.exit_code}  {each.took_s:5.1f} s  {'  '.join(figures):26}  {each.first_finding}"


@click.command()
@click.option("--runs", default=3, show_default=True, help="How often each fault is planted.")
@click.option("--fault", "faults", multiple=True, type=click.Choice([*FAULTS, NONE]), help="Only these.")
@click.option("--stop-after", default=3600, show_default=True, help="Seconds after which no new run begins.")
def main(runs: int, faults: tuple[str, ...], stop_after: int) -> None:
    environment = describe()
    click.echo(json.dumps(environment))
    click.echo(
        "fault        exit      whole    to the alert, to the first report, to that with the CPU profile; finding"
    )
    done: list[Run] = []
    started = time.monotonic()
    for each in in_turn(faults or (*EVERYDAY, NONE), runs):
        done.append(each)
        click.echo(as_row(each))
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps({"environment": environment, "runs": [asdict(one) for one in done]}, indent=1))
        if time.monotonic() - started > stop_after:
            click.echo("stopped: the time is up")
            break
    wrong = [one for one in done if one.exit_code and one.fault in (*EVERYDAY, NONE)]
    for one in wrong:
        click.echo(f"--- {one.fault}, exit {one.exit_code}\n{one.said}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
