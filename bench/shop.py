"""The sample system without telemetry around it: gateway, one checkout, pricing, inventory, and load on them."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.processes import free_ports
from diagnose.model import Target

PROGRAM = Path(__file__).parent.parent / ".tools" / "bin" / "target"
READY_S = 20.0
SERVICES = ("pricing", "inventory", "checkout", "gateway")


@dataclass(frozen=True)
class Shop:
    """Base URLs by service: of traffic and of the admin listener, which has /debug/pprof and /faults; process ids."""

    traffic: Mapping[str, str]
    admin: Mapping[str, str]
    pids: Mapping[str, int]

    @property
    def checkout(self) -> Target:
        url = f"{self.admin['checkout']}/debug/pprof"
        return Target("checkout", "checkout", "checkout-1", url, ("127.0.0.1/32",), {})

    def switch_on(self, fault: str, duration: str = "10m") -> None:
        self._faults("PUT", f"/faults/{fault}?duration={duration}")

    def switch_off(self) -> None:
        self._faults("DELETE", "/faults")

    def _faults(self, method: str, path: str) -> None:
        request = urllib.request.Request(self.admin["checkout"] + path, method=method)
        urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def running_shop(*, cpus: int = 1) -> Iterator[Shop]:
    """The four services, ready; they end with the block."""
    ports = [f"127.0.0.1:{port}" for port in free_ports(2 * len(SERVICES))]
    traffic = dict(zip(SERVICES, ports, strict=False))
    admin = dict(zip(SERVICES, ports[len(SERVICES) :], strict=True))
    pids: dict[str, int] = {}
    with ExitStack() as stack:
        for service in SERVICES:
            command = [
                *(PROGRAM, "serve", "--service", service, "--instance", f"{service}-1", "--cpus", str(cpus)),
                *("--listen", traffic[service], "--admin", admin[service], "--otlp", "http://127.0.0.1:9"),
                *_callees(service, traffic),
            ]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)
            pids[service] = process.pid
        shop = Shop(_urls(traffic), _urls(admin), pids)
        for url in shop.admin.values():
            _wait_for(f"{url}/healthz")
        yield shop


def _urls(addresses: Mapping[str, str]) -> dict[str, str]:
    return {name: f"http://{address}" for name, address in addresses.items()}


def _callees(service: str, traffic: Mapping[str, str]) -> list[str]:
    names = {"gateway": ("checkout",), "checkout": ("pricing", "inventory")}.get(service, ())
    return [part for name in names for part in (f"--{name}", f"http://{traffic[name]}")]


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def load(shop: Shop, rps: float, *, seed: int = 1) -> Iterator[None]:
    """Orders at *rps* on average until the block ends."""
    with subprocess.Popen(load_command(shop, rps, "24h", seed=seed), stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def load_command(shop: Shop, rps: float, duration: str, *, seed: int) -> list[str]:
    """Prints one line with requests, failures, p50 and p99 at its end."""
    url = f"{shop.traffic['gateway']}/checkout"
    return [str(PROGRAM), "load", "--url", url, "--duration", duration, "--rps", f"{rps:g}", "--seed", str(seed)]
