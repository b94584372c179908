"""
Who may be profiled. The only place that forms a URL.

A target comes from an entry in `targets` of the configuration, and its address from Prometheus' target list or from the
entry itself. Alert labels only choose among these targets; no label, annotation or URL of an alert becomes an address.
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from diagnose.capture.network import Resolver, resolve
from diagnose.config import Client, Settings, TargetSettings
from diagnose.errors import UpstreamError
from diagnose.model import Labels, Target, utc_now
from diagnose.prometheus import DiscoveredTarget, Prometheus, Series, ask_all
from diagnose.telemetry import get_logger

log = get_logger(__name__)

MAX_AGE_S = 15.0
RETRY_S = 1.0  # how soon an empty list is looked up again

# These name one process of a service; the others say which service it is.
INSTANCE_LABELS = frozenset({"instance", "pod", "service_instance_id", "host", "node", "uid"})
SERVICE_LABELS = ("service_name", "service")
# How `target_info` says where a process runs; several may share a host, so a pod or an address says more.
INFO_LABELS = ("k8s_pod_name", "k8s_pod_ip", "container_id", "host_name", "host_ip", "host_id", "service_instance_id")

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class AllowedTarget(Target):
    """A target with what belongs to its entry: how to authenticate, and whether Prometheus can scrape it at present."""

    client: Client = field(default_factory=Client, repr=False)
    up: bool = True


class TargetDirectory:
    """
    All targets, as of at most *max_age_s* ago; an empty list is looked up again at once.

    When a Prometheus server does not answer, what it said last stays: a sick network must not hide the sick process.
    """

    def __init__(
        self,
        settings: Settings,
        prometheus: Sequence[Prometheus],
        *,
        max_age_s: float = MAX_AGE_S,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries = settings.targets
        self._prometheus = prometheus
        self._max_age_s = max_age_s
        self._resolver = resolver
        self._clock = clock
        self._lock = threading.Lock()
        self._discovered: dict[str, list[DiscoveredTarget]] = {}
        self._targets: list[AllowedTarget] = []
        self._looked_up_at: float | None = None

    def all(self) -> list[AllowedTarget]:
        """Every process that may be profiled, each once, in the order of the configuration."""
        with self._lock:
            if self._is_old():
                self._look_up()
            return list(self._targets)

    def for_labels(self, labels: Labels) -> list[AllowedTarget]:
        """The targets of the service that an alert with *labels* is about: all its instances, see `choose`."""
        verdicts = [(target, belongs(target, labels)) for target in self.all()]
        services = {target.service for target, verdict in verdicts if verdict}
        return [target for target, verdict in verdicts if verdict is not False and target.service in services]

    def named(self, labels: Labels, targets: Sequence[AllowedTarget]) -> list[AllowedTarget]:
        """
        Those of *targets* that an alert with *labels* names.

        Metrics that came over OTLP have a UUID as `instance`, which no scraped target has. What Prometheus keeps beside
        them as `target_info` says on which host or pod that is; it counts when it leaves one target.
        """
        by_label = [target for target in targets if is_instance(target, labels)]
        instance = labels.get("instance") or labels.get("service_instance_id")
        if by_label or not instance or not targets:
            return by_label
        told = [series.labels for series in self.ask(f"target_info{{instance={json.dumps(instance)}}}")]
        found = [target for target in targets if any(is_described(target, info) for info in told)]
        return found if len(found) == 1 else []

    def ask(self, expr: str) -> list[Series]:
        """What *expr* is now, from every server that answers it; nothing when none does."""
        answers = ask_all(self._prometheus, lambda server: server.query(expr, utc_now()))
        return [series for _, answer in answers if not isinstance(answer, UpstreamError) for series in answer]

    def _is_old(self) -> bool:
        if self._looked_up_at is None:
            return True
        age_s = self._clock() - self._looked_up_at
        return age_s > (self._max_age_s if self._targets else RETRY_S)

    def _look_up(self) -> None:
        if any(entry.source == "prometheus" for entry in self._entries):
            for server, answer in ask_all(self._prometheus, Prometheus.targets):
                if isinstance(answer, UpstreamError):
                    log.warning("targets not refreshed", prometheus=server.name, error=str(answer))
                else:
                    self._discovered[server.name] = answer
        discovered = [target for targets in self._discovered.values() for target in targets]
        found: dict[str, AllowedTarget] = {}
        for entry in self._entries:
            for target in self._of_entry(entry, discovered):
                found.setdefault(target.pprof_url, target)
        self._targets = list(found.values())
        self._looked_up_at = self._clock()

    def _of_entry(self, entry: TargetSettings, discovered: Iterable[DiscoveredTarget]) -> list[AllowedTarget]:
        if entry.source == "static":
            found = [_target(entry, address, {**entry.match, "instance": address}) for address in entry.addresses]
        else:
            found = [
                _target(entry, _scraped_address(each), each.labels, up=each.health != "down")
                for each in discovered
                if all(each.labels.get(name) == value for name, value in entry.match.items())
            ]
        return [self._confined(target, host) for target, host in filter(None, found)]

    def _confined(self, target: AllowedTarget, host: str) -> AllowedTarget:
        """Without networks of its own, to the addresses that *host* has now: those Prometheus itself scrapes."""
        return target if target.networks else _with_networks(target, scraped_networks(host, self._resolver))


def _with_networks(target: AllowedTarget, networks: tuple[str, ...]) -> AllowedTarget:
    return AllowedTarget(**{**vars(target), "networks": networks})


def _scraped_address(target: DiscoveredTarget) -> str:
    """`host:port` from before relabelling; the scheme gives the port where there is none."""
    address = target.discovered_labels.get("__address__", "")
    found = _ADDRESS.fullmatch(address)
    if found and found[2] is None:
        return f"{address}:{_DEFAULT_PORTS.get(target.discovered_labels.get('__scheme__', ''), '80')}"
    return address


def _target(
    entry: TargetSettings, address: str, labels: Labels, *, up: bool = True
) -> tuple[AllowedTarget, str] | None:
    """The target at *address* with its plain host; None when that is not exactly a host and a port."""
    found = _ADDRESS.fullmatch(address)
    if found is None or found[2] is None or not 0 < int(found[2]) < 65536:
        log.warning("address of a target not understood", target=entry.name, address=address)
        return None
    host, port = found[1], found[2]
    url = entry.pprof.replace("{host}", host).replace("{port}", port).replace("{address}", address).rstrip("/")
    target = AllowedTarget(
        name=entry.name,
        service=entry.service,
        instance=labels.get("service_instance_id") or labels.get("instance") or address,
        pprof_url=url,
        networks=tuple(entry.networks),
        labels=labels,
        client=entry,
        up=up,
    )
    return target, host.strip("[]")


def scraped_networks(host: str, resolver: Resolver) -> tuple[str, ...]:
    """
    The addresses of *host* as networks of one address each.

    A name other than localhost that answers with a loopback address is lying: that would be a way to our own ports.
    """
    try:
        addresses = [ipaddress.ip_address(address) for address in resolver(host, 0)]
    except (OSError, UnicodeError, ValueError):
        return ()
    literal = host == "localhost" or _is_address(host)
    return tuple(str(ipaddress.ip_network(each)) for each in addresses if literal or not each.is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def belongs(target: AllowedTarget, labels: Labels) -> bool | None:
    """
    Whether an alert with *labels* is about the service of *target*; None when they do not say which service.

    Labels that both have must be equal, apart from those that name an instance. What says which service: its name, its
    job, a label of the entry's `match`, or the instance itself. A name outweighs the job, which may be the collector's.

        target {job=checkout, env=prod, instance=a} of service checkout
        {job=checkout, route=/pay}         yes          {job=checkout, env=test}     no, another environment
        {service_name=checkout, job=otel}  yes          {env=prod, severity=page}    does not say
    """
    shared = labels.keys() & target.labels.keys() - INSTANCE_LABELS
    if any(labels[name] != target.labels[name] for name in shared - {"job", *SERVICE_LABELS}):
        return False
    by_name = [verdict for name in SERVICE_LABELS if (verdict := _named_so(target, labels, name)) is not None]
    if by_name:
        return all(by_name)
    if "job" in shared:
        return _same_job(target, labels["job"])
    return True if shared & _match(target).keys() or is_instance(target, labels) else None


def _named_so(target: AllowedTarget, labels: Labels, name: str) -> bool | None:
    """What a label with a service's name says; None when it is missing, or is a `service` that means something else."""
    value, own = labels.get(name), target.labels.get(name)
    if not value:
        return None
    if value in (target.service, own):
        return True
    return None if name == "service" and own is None else False


def _same_job(target: AllowedTarget, job: str) -> bool:
    """Metrics sent over OTLP have `namespace/name` as their job."""
    return job == target.labels["job"] or job.rpartition("/")[2] == target.service


def _match(target: AllowedTarget) -> Labels:
    return target.client.match if isinstance(target.client, TargetSettings) else {}


def is_instance(target: AllowedTarget, labels: Labels) -> bool:
    """Whether *labels* name this very process."""
    if labels.get("instance") and labels["instance"] in (target.instance, target.labels.get("instance")):
        return True
    return any(labels.get(name) and labels[name] == target.labels.get(name) for name in INSTANCE_LABELS)


def is_described(target: AllowedTarget, info: Labels) -> bool:
    """
    Whether a series of `target_info` is about *target*: they have a name or an address in common.

        info {k8s_pod_name=checkout-7d9f, k8s_pod_ip=10.0.0.7}      target {pod=checkout-7d9f} or at 10.0.0.7:8080
    """
    host = urlsplit(target.pprof_url).hostname or ""
    told = {info[name] for name in INFO_LABELS if info.get(name)}
    names = {target.labels[name] for name in INSTANCE_LABELS if target.labels.get(name)}
    hosts = {name.rpartition(":")[0].strip("[]") for name in names} | {host}
    return bool(told & (names | {each for each in hosts if each and not _is_loopback(each)}))


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
