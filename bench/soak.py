"""
The scenarios with their full counts, one after the other, each in a process of its own.

    python -m bench.soak [NAME …]             crashes and load: is anything lost or doubled
    python -m bench.soak --measure [NAME …]   how fast and how dear

Each writes its own JSON into bench/results; which of them passed, and how long they took, goes to soak.json or
measure.json there. What would not fit into the hour any more is left out and said so. Exit code 1 when one failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from bench.environment import describe

RESULTS = Path(__file__).parent / "results"
LONGEST_S = 3540.0  # a minute less than `make soak` has
SOAK = {
    "intake-crash": ("bench.intake_crash", "--kills", "100"),
    "alert-storm": ("bench.alert_storm",),
    "disk-full": ("bench.disk_full",),
    "storage-crash": ("bench.storage_crash",),
    "collector-restarts": ("bench.collector_restarts",),
    "interoperability": ("bench.interoperability",),
    "faults": ("bench.faults", "--runs", "1", "--stop-after", "1500"),
}
MEASURE: dict[str, tuple[str, ...]] = {
    "intake": ("bench.intake",),
    "ingest": ("bench.ingest",),
    "startup": ("bench.startup",),
    "profiles": ("bench.profiles",),
    "overhead": ("bench.overhead",),
    "significance": ("bench.significance",),
    "sql": ("bench.sql",),
    "storage": ("bench.storage", "--minutes", "10"),
}


@click.command(help=__doc__)
@click.option("--measure", is_flag=True, help="Measure instead.")
@click.argument("names", nargs=-1)
def main(measure: bool, names: tuple[str, ...]) -> None:
    known = MEASURE if measure else SOAK
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    began = time.monotonic()
    outcomes: dict[str, Any] = {}
    for name in names or known:
        outcomes[name] = _run(known[name], LONGEST_S - (time.monotonic() - began))
        print(f"{name}: {outcomes[name]['outcome']} after {outcomes[name]['seconds']} s", flush=True)
    RESULTS.mkdir(exist_ok=True)
    summary = {"environment": describe(), "scenarios": outcomes}
    (RESULTS / ("measure.json" if measure else "soak.json")).write_text(json.dumps(summary, indent=1) + "\n")
    sys.exit(any(each["outcome"] == "failed" for each in outcomes.values()))


def _run(command: tuple[str, ...], left_s: float) -> dict[str, Any]:
    """`outcome`: passed, failed or no time left."""
    began = time.monotonic()
    try:
        code = subprocess.run([sys.executable, "-m", *command], check=False, timeout=max(1.0, left_s)).returncode
        outcome = "failed" if code else "passed"
    except subprocess.TimeoutExpired:
        outcome = "no time left"
    return {"outcome": outcome, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
