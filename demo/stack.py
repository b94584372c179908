"""
The stack of the demo: which programs run, in which order they start and stop, when they are ready.

    load → gateway → checkout-1, checkout-2 → pricing, inventory
                         │ spans, metric points            │ scraped
                         ▼                                 ▼
                      otelcol ───────────────────────→ prometheus → alertmanager
                         └──────────→ diagnose ←───────────┴─ webhook ──┘
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.guard import Guard
from demo.processes import Child, Children, free_ports, wait_ready
from demo.render import DEMO_PORTS, Instance, Values, collector_environ, demo_values, render
from demo.tools import ROOT

LOAD_RPS = 20
LOAD_SEED = 1
RECEIVER_READY_S = 60.0
PROMETHEUS_FEATURES = ("--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage")


def diagnose_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "diagnose", "serve", "--config", str(config)]


class Stack:
    """
    All programs as child processes, data and logs below *folder*. Use it as a context manager: leaving it stops them.

    *programs* are the paths from demo.tools. *rules* maps file names to alert rules. *receiver* gives the command that
    stands at the end of all arrows, from the path of diagnose.yaml: diagnose, or a stand-in in tests; it has to answer
    /readyz on its address.
    """

    def __init__(
        self,
        folder: Path,
        programs: Mapping[str, Path],
        rules: Mapping[str, str],
        receiver: Callable[[Path], list[str]] = diagnose_command,
    ) -> None:
        self.folder = folder.absolute()
        self.programs = {name: str(path) for name, path in programs.items()}
        self.rules, self.receiver = rules, receiver
        self.values: Values = demo_values(free_ports(DEMO_PORTS), self.folder)
        self._guard = Guard()
        self.children = Children(self.folder, self._guard)
        self._starters: dict[str, Callable[[], Callable[[], None]]] = {
            "alertmanager": self._start_alertmanager,
            "prometheus": self._start_prometheus,
            "diagnose": self._start_receiver,
            "otelcol": self._start_collector,
            **{instance.name: partial(self.start_instance, instance) for instance in self.values.instances},
        }

    @property
    def urls(self) -> dict[str, str]:
        """What a person may want to look at."""
        return {
            "diagnose": self.values.external_url,
            "prometheus": f"http://{self.values.prometheus}",
            "alertmanager": f"http://{self.values.alertmanager}",
            "orders": self.order_url,
            **{f"{instance.name} (admin)": f"http://{instance.admin}" for instance in self.values.instances},
        }

    @property
    def order_url(self) -> str:
        return f"http://{self.values.of('gateway')[0].traffic}/checkout"

    def start(self) -> None:
        """Starts everything but the load and waits until it is ready. Raises StackError."""
        self._write_configuration()
        waits = [start() for start in self._starters.values()]
        for wait in waits:
            wait()

    def kill(self, name: str) -> None:
        """Ends one program as a crash would, with no chance to say goodbye. `start_again` brings it back."""
        self.children.kill(name)

    def start_again(self, name: str) -> None:
        """Starts a program that was killed, on the addresses and the data it had, and waits until it is ready."""
        self._starters[name]()()

    def replace(self, instance: Instance, program: str, *flags: str) -> None:
        """A deploy: the process of *instance* ends in good order and another build takes its place."""
        self.children.stop(instance.name)
        self.start_instance(instance, program, *flags)()

    def start_load(self, rps: float = LOAD_RPS) -> None:
        """Orders at *rps* on average until the stack stops; the same orders in every run."""
        command = [self.programs["target"], "load", "--url", self.order_url, "--duration", "24h"]
        self.children.start("load", [*command, "--rps", f"{rps:g}", "--seed", str(LOAD_SEED)])

    def check(self) -> None:
        """Raises StackError when a program ended by itself."""
        self.children.check()

    def stop(self) -> None:
        """In the order data flows, each one waited for, so that what is under way still arrives."""
        shop = [instance.name for instance in self.values.instances]
        self.children.stop_all(["load", *shop, "otelcol", "prometheus", "alertmanager", "diagnose"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._guard.close()

    def _write_configuration(self) -> None:
        (self.folder / "rules").mkdir(parents=True, exist_ok=True)
        for name, text in render(self.values).items():
            (self.folder / name).write_text(text)
        for name, text in self.rules.items():
            (self.folder / "rules" / name).write_text(text)

    def _start_alertmanager(self) -> Callable[[], None]:
        address = self.values.alertmanager
        command = [
            self.programs["alertmanager"],
            "--config.file=alertmanager.yml",
            "--storage.path=alertmanager",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",  # a cluster of one binds no second port
        ]
        return _ready(self.children.start("alertmanager", command), f"http://{address}/-/ready")

    def _start_prometheus(self) -> Callable[[], None]:
        address = self.values.prometheus
        command = [
            self.programs["prometheus"],
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=prometheus",
            f"--web.listen-address={address}",
            f"--web.external-url=http://{address}",
            "--rules.alert.resend-delay=5s",  # seconds, as everywhere here: an Alertmanager that died is told again
            *PROMETHEUS_FEATURES,
        ]
        return _ready(self.children.start("prometheus", command), f"http://{address}/-/ready")

    def _start_receiver(self) -> Callable[[], None]:
        child = self.children.start("diagnose", self.receiver(self.folder / "diagnose.yaml"), {"PYTHONPATH": str(ROOT)})
        return _ready(child, f"http://{self.values.diagnose}/readyz", RECEIVER_READY_S)

    def _start_collector(self) -> Callable[[], None]:
        command = [self.programs["otelcol"], f"--config={ROOT / 'collector-config' / 'collector.yaml'}"]
        child = self.children.start("otelcol", command, collector_environ(self.values))
        return _ready(child, f"http://{self.values.collector.health}/")

    def start_instance(self, instance: Instance, program: str = "target", *flags: str) -> Callable[[], None]:
        """Starts one process of the shop; the returned function waits until it is ready."""
        callees = {
            "gateway": ["--checkout", ",".join(f"http://{callee.traffic}" for callee in self.values.of("checkout"))],
            "checkout": [
                argument
                for service in ("pricing", "inventory")
                for argument in (f"--{service}", f"http://{self.values.of(service)[0].traffic}")
            ],
        }
        command = [
            self.programs[program],
            "serve",
            *("--service", instance.service, "--instance", instance.name),
            *("--listen", instance.traffic, "--admin", instance.admin),
            *("--otlp", f"http://{self.values.collector.otlp_http}"),
            *callees.get(instance.service, ()),
            *flags,
        ]
        return _ready(self.children.start(instance.name, command), f"http://{instance.admin}/healthz")


def _ready(child: Child, url: str, timeout_s: float = 30.0) -> Callable[[], None]:
    return lambda: wait_ready(child, url, timeout_s)
