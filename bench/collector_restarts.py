"""
Spans at a steady rate through a real collector while it and the service are stopped and started: is each there, once?

    python -m bench.collector_restarts [--minutes 5] [--a-second 20000] [--every 10]

The OpenTelemetry SDK for Go sends, over gRPC; the collector keeps what it cannot deliver in its queue on disk. Prints
how many spans the sender counts and how many are found; writes bench/results/collector_restarts.json. Exit code 1 when
a span is missing or there twice.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import click

from bench.environment import describe
from tests.otlp_collector import build_sender, stop_and_start

RESULTS = Path(__file__).parent / "results" / "collector_restarts.json"


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True)
@click.option("--a-second", type=int, default=20_000, show_default=True, help="Spans.")
@click.option("--every", type=float, default=10.0, show_default=True, help="Seconds until the next of the two stops.")
def main(minutes: float, a_second: int, every: float) -> None:
    """Stop and start, count and compare."""
    environment = describe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        began = time.monotonic()
        spans = int(60 * minutes * a_second)
        numbers = stop_and_start(path, build_sender(path), spans=spans, a_second=a_second, every_s=every)
        result = numbers | {"a_second": a_second, "seconds": round(time.monotonic() - began)}
    print(result)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"environment": environment} | result, indent=2) + "\n")
    sys.exit(not spans == numbers["sent"] == numbers["found"] == numbers["different"])


if __name__ == "__main__":
    main()
