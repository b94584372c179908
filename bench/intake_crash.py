"""
Kill the service under load, again and again: is everything it acknowledged still there, and nothing twice?

    python -m bench.intake_crash [--kills 100] [--seed 1]

Sixteen clients post one new alert after the other; every message that got no answer is sent again after the restart, as
a sender would. After each kill (SIGKILL, at a random moment) the files are opened and counted. Prints acknowledged,
found and doubled; writes bench/results/intake_crash.json. Exit code 1 when one is lost or doubled.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.alert_load import Client, one_alert
from bench.environment import describe
from diagnose.store.db import Store
from tests.service_process import ServiceProcess

RESULTS = Path(__file__).parent / "results" / "intake_crash.json"
CLIENTS = 16
LONGEST_S = 1.5  # under load before the kill


@dataclass
class Figures:
    """Alerts: acknowledged, found of those, and alerts that are there twice. `unanswered` counts requests cut off."""

    kills: int = 0
    acknowledged: int = 0
    found: int = 0
    doubled: int = 0
    unanswered: int = 0
    reopened_s: list[float] = field(default_factory=list)

    @property
    def all_is_well(self) -> bool:
        return self.acknowledged == self.found and not self.doubled


class Senders:
    """Clients whose messages are numbered; a message without an answer is sent again by whoever comes next."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.acknowledged: set[int] = set()
        self.unanswered: list[int] = []
        self.cut_off = 0
        self._next = 0
        self._lock = threading.Lock()

    def press(self, host: str, port: int) -> list[threading.Thread]:
        """Threads that post until the connection breaks."""
        threads = [threading.Thread(target=self._work, args=(host, port)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _work(self, host: str, port: int) -> None:
        client = Client(host, port)
        while True:
            number = self._take()
            try:
                status, _ = client.post("/webhook", one_alert(number, self.run))
            except OSError:
                status = 0
            with self._lock:
                if status == 202:
                    self.acknowledged.add(number)
                    continue
                self.unanswered.append(number)
                self.cut_off += 1
            if status == 0:
                client.close()
                return

    def _take(self) -> int:
        with self._lock:
            if self.unanswered:
                return self.unanswered.pop()
            self._next += 1
            return self._next


def crash(folder: Path, kills: int, seed: int, **settings: Any) -> Figures:
    """*kills* rounds of load and SIGKILL over one data directory."""
    dice = random.Random(seed)  # noqa: S311  repeatable moments
    figures, senders = Figures(), Senders(f"crash-{seed}")
    service = ServiceProcess(folder, **settings)
    service.patience_s = 300.0  # beside other work a start takes its time
    host, port = service.url.removeprefix("http://").split(":")
    for _ in range(kills):
        began = time.monotonic()
        service.start()
        figures.reopened_s.append(round(time.monotonic() - began, 2))
        before = len(senders.acknowledged)
        threads = senders.press(host, int(port))
        service.wait_for(lambda known=before: len(senders.acknowledged) > known)
        time.sleep(dice.uniform(0, LONGEST_S))
        service.kill()
        for thread in threads:
            thread.join()
        figures.kills += 1
        _count(folder / "data", senders, figures)
        if not figures.all_is_well:
            break
        print(f"kill {figures.kills}: {figures.acknowledged} acknowledged, {figures.found} found", file=sys.stderr)
    service.kill_for_good()
    figures.unanswered = senders.cut_off
    return figures


def _count(data: Path, senders: Senders, figures: Figures) -> None:
    with Store.open(data) as store:
        instances = [row["instance"] for row in store.rows("SELECT labels['instance'] AS instance FROM episode")]
        events = store.rows("SELECT event_key FROM alert_event GROUP BY event_key HAVING count(*) > 1")
    stored = set(instances)
    expected = {number: _instance(number) for number in senders.acknowledged}
    figures.acknowledged = len(expected)
    figures.found = sum(instance in stored for instance in expected.values())
    figures.doubled = len(instances) - len(stored) + len(events)


def _instance(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:6060"


@click.command(help=__doc__)
@click.option("--kills", default=100)
@click.option("--seed", default=1)
def main(kills: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = crash(Path(folder), kills, seed)
    print(json.dumps(asdict(figures), indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"environment": describe(), **asdict(figures)}, indent=1) + "\n")
    sys.exit(not figures.all_is_well)


if __name__ == "__main__":
    main()
