"""
A storm of alerts beside ingest: 10,000 distinct ones, 100 a message, from 16 connections, with 20,000 spans/s.

    python -m bench.alert_storm [--alerts 10000] [--spans 20000]

A message that is answered 503 is sent again, as Alertmanager does. Prints how many were acknowledged and found, and the
latencies; writes bench/results/alert_storm.json. Exit code 1 when one is lost or doubled.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from bench.alert_load import alert, message, press
from bench.environment import describe
from bench.intake import sending_spans
from diagnose.store.db import Store
from tests.service_process import ServiceProcess

RESULTS = Path(__file__).parent / "results" / "alert_storm.json"
A_MESSAGE = 100
CLIENTS = 16


@dataclass(frozen=True)
class Storm:
    """`found` alerts of those `acknowledged`, `doubled` ones that are there twice, `posts` as `Tally.summary`."""

    acknowledged: int
    found: int
    doubled: int
    incidents: int
    spans_sent: int
    spans_found: int
    posts: dict[str, Any]

    @property
    def all_is_well(self) -> bool:
        return self.acknowledged == self.found and not self.doubled and self.spans_sent <= self.spans_found


def storm(folder: Path, alerts: int, spans_per_s: int) -> Storm:
    """Over a data directory of its own in *folder*."""
    bodies = [
        message(*(alert(number, "storm") for number in range(start, start + A_MESSAGE)), group_key=f"storm-{start}")
        for start in range(0, alerts, A_MESSAGE)
    ]
    service = ServiceProcess(folder).start()
    host, port = service.url.removeprefix("http://").split(":")
    with sending_spans(host, int(port), spans_per_s) as sent:
        time.sleep(0.5 if spans_per_s else 0)
        tally = press(host, int(port), iter(bodies), clients=CLIENTS, stop=lambda: False)
    service.kill_for_good()  # the investigation of what the storm opened is not waited for
    with Store.open(folder / "data") as store:
        found = store.row("SELECT count(*) AS n, count(DISTINCT labels['instance']) AS distinct_n FROM episode")
        incidents = store.row("SELECT count(*) AS n FROM incident")["n"]
        spans = store.row("SELECT count(*) AS n FROM spans")["n"]
    return Storm(
        acknowledged=tally.accepted * A_MESSAGE,
        found=found["distinct_n"],
        doubled=found["n"] - found["distinct_n"],
        incidents=incidents,
        spans_sent=sent[0],
        spans_found=spans,
        posts=tally.summary(),
    )


@click.command(help=__doc__)
@click.option("--alerts", default=10_000)
@click.option("--spans", default=20_000, help="Per second.")
def main(alerts: int, spans: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = storm(Path(folder), alerts, spans)
    print(json.dumps(asdict(result), indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"environment": describe(), **asdict(result)}, indent=1) + "\n")
    sys.exit(not result.all_is_well)


if __name__ == "__main__":
    main()
