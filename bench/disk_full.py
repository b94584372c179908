"""
A disk that is full for real: a small tmpfs. Is what was acknowledged there afterwards, and does it go on by itself?

    python -m bench.disk_full [--rounds 3]

Alerts and spans are sent until neither is taken any more; then something else on the disk is removed, the service has
to become ready without a restart, takes more, is ended with kill -9 and started again. Prints how many were
acknowledged and found each round; writes bench/results/disk_full.json. Exit code 1 when one is lost or doubled. Needs
the right to mount; without it the script starts itself again in a user namespace of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import click

from bench.alert_load import Client, alert, message
from bench.environment import describe
from bench.telemetry import trace_request
from diagnose.store.db import Store
from tests.service_process import ServiceProcess

RESULTS = Path(__file__).parent / "results" / "disk_full.json"
DISK, BALLAST = 256 << 20, 120 << 20
A_MESSAGE, A_REQUEST = 100, 500
FULL = 20  # refusals of each kind in a row
NO_INCIDENTS = [{"matchers": ['alertname="nothing"']}]  # this is about the door


@dataclass
class Round:
    """`refused` messages of either kind; what was acknowledged before and after, and what was found at the end."""

    refused: int = 0
    alerts: int = 0
    alerts_found: int = 0
    spans: int = 0
    spans_found: int = 0
    doubled: int = 0
    ready_again_s: float = 0.0

    @property
    def all_is_well(self) -> bool:
        lost = (self.alerts, self.spans) != (self.alerts_found, self.spans_found)
        return self.refused >= FULL and not lost and not self.doubled


@click.command(help=__doc__)
@click.option("--rounds", default=3)
def main(rounds: int) -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        again = ["unshare", "-rm", sys.executable, "-m", "bench.disk_full", "--rounds", str(rounds)]
        sys.exit(subprocess.run(again, check=False).returncode)
    found = [_round(number) for number in range(rounds)]
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"environment": describe(), "rounds": [asdict(each) for each in found]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.exit(not all(each.all_is_well for each in found))


def _round(number: int) -> Round:
    with tempfile.TemporaryDirectory() as name, _small_disk(Path(name) / "data") as disk:
        tally = Round()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(BALLAST))
        service = ServiceProcess(Path(name), rules=NO_INCIDENTS).start()
        sender = _Sender(service, number, tally)
        sender.fill()
        ballast.unlink()
        began = time.monotonic()
        service.wait_for(lambda: service.get("/readyz"))
        tally.ready_again_s = round(time.monotonic() - began, 1)
        if not (sender.alerts() and sender.spans()):
            raise AssertionError("nothing is taken although there is room again")
        service.kill()
        service.start()
        service.kill_for_good()
        with Store.open(disk) as store:
            episodes = store.row("SELECT count(*) AS n, count(DISTINCT fingerprint) AS distinct_n FROM episode")
            spans = store.row("SELECT count(*) AS n, count(DISTINCT (trace_id, span_id)) AS distinct_n FROM spans")
    tally.alerts_found, tally.spans_found = episodes["distinct_n"], spans["distinct_n"]
    tally.doubled = episodes["n"] + spans["n"] - episodes["distinct_n"] - spans["distinct_n"]
    print(json.dumps(asdict(tally)), flush=True)
    return tally


class _Sender:
    def __init__(self, service: ServiceProcess, run: int, tally: Round) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self._client = Client(host, int(port))
        self._run, self._tally = run, tally
        self._numbers = count()

    def fill(self) -> None:
        """Until so many of each kind in a row are refused."""
        alerts, spans = 0, 0
        while min(alerts, spans) < FULL:
            alerts = 0 if self.alerts() else alerts + 1
            spans = 0 if self.spans() else spans + 1

    def alerts(self) -> bool:
        first = next(self._numbers) * A_MESSAGE
        alerts = (alert(number, f"disk-{self._run}") for number in range(first, first + A_MESSAGE))
        taken = self._post("/webhook", message(*alerts, group_key=f"disk-{first}"), "application/json")
        self._tally.alerts += A_MESSAGE * taken
        return taken

    def spans(self) -> bool:
        taken = self._post("/v1/traces", trace_request(A_REQUEST, next(self._numbers)), "application/x-protobuf")
        self._tally.spans += A_REQUEST * taken
        return taken

    def _post(self, path: str, body: bytes, content_type: str) -> bool:
        status, answer = self._client.post(path, body, content_type)
        if status not in {200, 202, 503}:
            raise AssertionError(f"{path} is answered {status}: {answer[:500]!r}")
        self._tally.refused += status == 503
        return status != 503


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


if __name__ == "__main__":
    main()
