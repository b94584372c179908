"""A real Prometheus and two clustered Alertmanagers around one gauge that a test turns up and down."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import yaml

from demo.guard import Guard
from demo.processes import Children, free_ports, wait_ready
from demo.tools import Tools
from tests.fake_upstreams import FakeServer, Reply

MEMBERS = ("alertmanager-1", "alertmanager-2")
RESEND = "2s"  # how often Prometheus sends what fires


class AlertingStack:
    """
    Start with `start`, end with `stop`. `fire` and `calm` change what the rule TooMuch watches.

    *webhook* is where the receiver diagnose of the Alertmanagers posts to. *fake* must be served: it is scraped.
    """

    def __init__(self, folder: Path, fake: FakeServer, webhook: str, *, members: tuple[str, ...] = MEMBERS) -> None:
        self._folder = folder
        self._fake = fake
        self._webhook = webhook
        self.members = members
        self._programs = Tools().locate(("prometheus", "alertmanager"))
        ports = free_ports(1 + 2 * len(members))
        self.prometheus = f"http://127.0.0.1:{ports[0]}"
        self._web = dict(zip(members, ports[1 : 1 + len(members)], strict=True))
        self._cluster = dict(zip(members, ports[1 + len(members) :], strict=True))
        self._guard = Guard()
        self._children = Children(folder, self._guard)
        self._started: set[str] = set()
        self.calm()

    @property
    def alertmanagers(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._web.values()]

    def start(self, direct: str | None = None) -> Self:
        """With *direct* (host:port), Prometheus sends its alerts there too."""
        self._configure(direct)
        for member in self.members:
            self.start_alertmanager(member)
        self.start_prometheus()
        return self

    def stop(self) -> None:
        for name in ("prometheus", *self.members):
            if name in self._started:
                self._children.kill(name)
        self._guard.close()

    def fire(self) -> None:
        self._gauge(1)

    def calm(self) -> None:
        self._gauge(0)

    def _gauge(self, value: int) -> None:
        body = f"# TYPE too_much gauge\ntoo_much {value}\n".encode()
        self._fake.replies["/metrics"] = Reply(body, headers={"Content-Type": "text/plain; version=0.0.4"})

    def restart(self, name: str) -> None:
        """Ended by force and started again with the same data. A member of a cluster takes its time to leave it."""
        self._children.kill(name)
        if name == "prometheus":
            self.start_prometheus()
        else:
            self.start_alertmanager(name)

    def _configure(self, direct: str | None) -> None:
        route = {"receiver": "diagnose", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
        receivers = [{"name": "diagnose", "webhook_configs": [{"url": self._webhook, "send_resolved": True}]}]
        self._write("alertmanager.yml", {"route": {**route, "repeat_interval": "4h"}, "receivers": receivers})
        expr, labels = "too_much > 0", {"severity": "critical"}
        rule = {"alert": "TooMuch", "expr": expr, "labels": labels}
        self._write("rules.yml", {"groups": [{"name": "test", "rules": [rule]}]})
        served = [url.removeprefix("http://") for url in self.alertmanagers] + ([direct] if direct else [])
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": served}]}]},
            "scrape_configs": [{"job_name": "checkout", "static_configs": [{"targets": [self._fake.address]}]}],
        }
        self._write("prometheus.yml", config)

    def _write(self, name: str, config: dict[str, Any]) -> None:
        (self._folder / name).write_text(yaml.safe_dump(config))

    def start_alertmanager(self, member: str) -> None:
        peers = [f"--cluster.peer=127.0.0.1:{port}" for name, port in self._cluster.items() if name != member]
        command = [
            str(self._programs["alertmanager"]),
            "--config.file=alertmanager.yml",
            f"--storage.path={member}",
            f"--web.listen-address=127.0.0.1:{self._web[member]}",
            f"--web.external-url=http://{member}.test",
            f"--cluster.listen-address=127.0.0.1:{self._cluster[member]}",
            "--cluster.gossip-interval=50ms",
            "--cluster.pushpull-interval=500ms",
            "--cluster.peer-timeout=500ms",
            *peers,
        ]
        self._launch(member, command, f"http://127.0.0.1:{self._web[member]}/-/ready")

    def start_prometheus(self) -> None:
        command = [
            str(self._programs["prometheus"]),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus",
            f"--web.listen-address={self.prometheus.removeprefix('http://')}",
            f"--rules.alert.resend-delay={RESEND}",
        ]
        self._launch("prometheus", command, f"{self.prometheus}/-/ready")

    def _launch(self, name: str, command: list[str], ready: str) -> None:
        self._started.add(name)
        wait_ready(self._children.start(name, command), ready)

    def listed(self, member: str) -> list[dict[str, Any]]:
        """What that Alertmanager has now."""
        found: list[dict[str, Any]] = _ask("GET", f"http://127.0.0.1:{self._web[member]}/api/v2/alerts")
        return found

    def silence(self) -> str:
        """Of everything, told to the first member; its id."""
        now = datetime.now(UTC)
        matcher = {"name": "alertname", "value": ".+", "isRegex": True, "isEqual": True}
        body = {
            "matchers": [matcher],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "being worked on",
        }
        return str(_ask("POST", f"{self.alertmanagers[0]}/api/v2/silences", body)["silenceID"])

    def unsilence(self, silence: str) -> None:
        _ask("DELETE", f"{self.alertmanagers[0]}/api/v2/silence/{silence}")

    def wait_for(self, found: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 30
        while not found():
            self._children.check()
            assert time.monotonic() < deadline, what
            time.sleep(0.05)


def _ask(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        answered = response.read()
    return json.loads(answered) if answered else None
