"""
The configuration of every program, from one set of templates and two sets of values.

`demo_values` is this machine, with seconds instead of minutes; `compose_values` is containers that call each other by
name. Rendering touches no file but the templates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

QUIET_S = 5  # of the demo: what comes later than this is another incident, and may be profiled again
TEMPLATES = ("prometheus.yml", "alertmanager.yml", "diagnose.yaml")


@dataclass(frozen=True)
class Instance:
    """One process of the shop: where orders go to, and its operator's side (/metrics, /debug/pprof, /faults)."""

    service: str
    name: str
    traffic: str
    admin: str


@dataclass(frozen=True)
class Collector:
    """Addresses (host:port) of the collector: OTLP over HTTP and gRPC, readiness, its own metrics."""

    otlp_http: str
    otlp_grpc: str
    health: str
    telemetry: str


@dataclass(frozen=True)
class Values:
    """What differs between one stack and another. Addresses are host:port as the other programs reach them."""

    name: str
    prometheus: str
    alertmanager: str
    diagnose: str
    listen_host: str
    external_url: str
    collector: Collector
    instances: tuple[Instance, ...]
    networks: tuple[str, ...]
    rule_files: str
    data: str
    reports: str
    queue: str
    token_file: str | None
    scrape_interval: str
    group_interval: str
    quiet: str
    cooldown: str
    rounds_per_hour: int
    seconds_per_hour: int
    cpu_seconds: int
    baseline_first: str
    baseline_seconds: int

    @property
    def services(self) -> tuple[str, ...]:
        """In the order a request meets them."""
        return tuple(dict.fromkeys(instance.service for instance in self.instances))

    def listen(self, address: str) -> str:
        """Where a program binds that others reach at *address*."""
        return f"{self.listen_host}:{address.rsplit(':', 1)[1]}"

    def of(self, service: str) -> tuple[Instance, ...]:
        return tuple(instance for instance in self.instances if instance.service == service)


SHOP = (
    ("gateway", "gateway-1"),
    ("checkout", "checkout-1"),
    ("checkout", "checkout-2"),
    ("pricing", "pricing-1"),
    ("inventory", "inventory-1"),
)
DEMO_PORTS = 7 + 2 * len(SHOP)


def demo_values(ports: list[int], folder: Path) -> Values:
    """Everything on loopback, on *ports* (DEMO_PORTS of them); data below *folder*."""
    addresses = iter([f"127.0.0.1:{port}" for port in ports])
    diagnose = next(addresses)
    return Values(
        name="demo",
        prometheus=next(addresses),
        alertmanager=next(addresses),
        diagnose=diagnose,
        listen_host="127.0.0.1",
        external_url=f"http://{diagnose}",
        collector=Collector(*(next(addresses) for _ in range(4))),
        instances=tuple(Instance(service, name, next(addresses), next(addresses)) for service, name in SHOP),
        networks=("127.0.0.0/8",),
        rule_files="rules/*.yaml",
        data=str(folder / "data"),
        reports=str(folder / "reports"),
        queue=str(folder / "collector-queue"),
        token_file=None,
        scrape_interval="1s",
        group_interval="2s",
        quiet=f"{QUIET_S}s",
        cooldown=f"{QUIET_S}s",
        rounds_per_hour=100,
        seconds_per_hour=3600,
        cpu_seconds=5,
        baseline_first="5s",
        baseline_seconds=5,
    )


def compose_values() -> Values:
    """Containers on one network, each called by its service name; diagnose asks for a token there."""
    return Values(
        name="compose",
        prometheus="prometheus:9090",
        alertmanager="alertmanager:9093",
        diagnose="diagnose:9095",
        listen_host="0.0.0.0",  # noqa: S104  inside a container
        external_url="http://127.0.0.1:9095",
        collector=Collector("otelcol:4318", "otelcol:4317", "otelcol:13133", "otelcol:8888"),
        instances=tuple(Instance(service, name, f"{name}:8080", f"{name}:8081") for service, name in SHOP),
        networks=("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        rule_files="/etc/prometheus/rules/*.yaml",
        data="/var/lib/diagnose",
        reports="/var/lib/diagnose-reports",
        queue="/var/lib/otelcol",
        token_file="/run/secrets/diagnose_token",  # noqa: S106  a path
        scrape_interval="5s",
        group_interval="30s",
        quiet="15m",
        cooldown="10m",
        rounds_per_hour=6,
        seconds_per_hour=300,
        cpu_seconds=10,
        baseline_first="60s",
        baseline_seconds=5,
    )


def render(values: Values) -> dict[str, str]:
    """File name → text of every configuration file. Raises jinja2.UndefinedError when a template asks for too much."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  it is YAML; every value is quoted by tojson
    )
    return {name: environment.get_template(f"{name}.j2").render(v=values) for name in TEMPLATES}


def collector_environ(values: Values, *, token: str | None = None) -> dict[str, str]:
    """What collector.yaml reads from the environment."""
    collector = values.collector
    environ = {
        "OTLP_HTTP_LISTEN": values.listen(collector.otlp_http),
        "OTLP_GRPC_LISTEN": values.listen(collector.otlp_grpc),
        "HEALTH_LISTEN": values.listen(collector.health),
        "TELEMETRY_HOST": values.listen_host,
        "TELEMETRY_PORT": collector.telemetry.rsplit(":", 1)[1],
        "DIAGNOSE_URL": f"http://{values.diagnose}",
        "PROMETHEUS_URL": f"http://{values.prometheus}",
        "QUEUE_DIRECTORY": values.queue,
        "SPAN_METRICS_INTERVAL": values.scrape_interval,
    }
    return {**environ, "DIAGNOSE_AUTHORIZATION": f"Bearer {token}"} if token else environ
