"""
The words everyone shares, as frozen dataclasses (docs/design.md, "Words").

Times are aware UTC datetimes, durations end in `_ns`, `_s` or `_ms`, sizes in `_bytes`. Nothing here does I/O.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

Labels = Mapping[str, str]
AlertStatus = Literal["firing", "resolved"]
FoundBy = Literal["label", "exemplar", "span_search", "profile_label"]
Trigger = Literal["alert", "resolved", "baseline", "manual"]
CaptureStatus = Literal["planned", "running", "done", "refused", "failed", "skipped", "lost"]
Confidence = Literal["strong", "likely", "hint"]

PRESENT_SOURCES = frozenset({"prometheus", "reconciled"})

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def utc_now() -> datetime:
    return datetime.now(UTC)


def from_unix_ns(unix_ns: int) -> datetime:
    """Microsecond resolution, as the tables have it; never goes through a float."""
    seconds, ns = divmod(unix_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def new_id(prefix: str) -> str:
    """A short id that sorts by second: `inc-1q2w3e4r5t` is seven base-32 digits of unix time and four of chance."""
    number = (int(time.time()) << 20) | secrets.randbits(20)
    digits = []
    while number:
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return f"{prefix}-{''.join(reversed(digits))}"


def fingerprint_of(labels: Labels) -> str:
    """
    What Alertmanager calls the fingerprint of a label set: FNV-1a (64 bit) of its sorted names and values, each + 0xFF.

    Source: prometheus/common model/signature.go, labelSetToFingerprint.
    """
    parts = (part.encode() + b"\xff" for name in sorted(labels) for part in (name, labels[name]))
    number = 0xCBF29CE484222325
    for byte in b"".join(parts):
        number = ((number ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{number:016x}"


def identity_of(fingerprint: str, labels: Labels, ignored: Collection[str]) -> str:
    """The fingerprint that alerts share which differ only in the *ignored* labels."""
    kept = {name: value for name, value in labels.items() if name not in ignored}
    return fingerprint if len(kept) == len(labels) else fingerprint_of(kept)


@dataclass(frozen=True)
class Alert:
    """
    One label set of one rule, as received.

    `group_key` is that of the message unless the alert has its own. `expires_at` is when it counts as ended unless
    it is sent again, which only senders of the present do. `rule_uid` and `values` (by query) are Grafana's.
    """

    fingerprint: str
    status: AlertStatus
    labels: Labels
    annotations: Labels
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str = ""
    group_key: str = ""
    expires_at: datetime | None = None
    rule_uid: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def alertname(self) -> str:
        return self.labels.get("alertname", "")


@dataclass(frozen=True)
class AlertGroup:
    """What one message carried. `body` is the request as received; it is kept."""

    source: str
    group_key: str
    receiver: str
    status: AlertStatus
    external_url: str
    alerts: tuple[Alert, ...]
    received_at: datetime
    body: bytes
    truncated_alerts: int = 0
    notification_reason: str = ""
    route_labels: Labels = field(default_factory=dict)

    @property
    def tells_the_present(self) -> bool:
        """Whether what it says held when it arrived. A notification may be late; a state that was asked for is not."""
        return self.source in PRESENT_SOURCES

    def key_of(self, alert: Alert) -> str:
        return alert.group_key or self.group_key


@dataclass(frozen=True)
class Episode:
    """One firing period of one alert."""

    episode_id: str
    incident_id: str | None
    fingerprint: str
    alertname: str
    status: AlertStatus
    labels: Labels
    annotations: Labels
    generator_url: str
    starts_at: datetime
    ends_at: datetime | None
    received_at: datetime
    active_at: datetime | None = None
    expr: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class IncidentKey:
    """What an alert belongs to: alerts of one `group_id` that are open together are one incident of `service`."""

    group_id: str
    service: str


@dataclass(frozen=True)
class Accepted:
    """What one message changed, after the commit. The tuples hold incident ids; one may be in several."""

    accepted: int
    duplicates: int
    incidents: tuple[str, ...]
    opened: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()


@dataclass(frozen=True)
class Incident:
    """All episodes of one service that are open together."""

    incident_id: str
    status: Literal["open", "resolved"]
    title: str
    service_name: str
    severity: str
    started_at: datetime
    ended_at: datetime | None
    opened_at: datetime


@dataclass(frozen=True)
class TraceRef:
    """
    A trace of this alert, how it was found and how sure that is.

    `confidence` is 1.0 for an id the alert or an exemplar of its own series carries, less for a search by window.
    `metric_value` is the exemplar's observation (or the span's duration in seconds); `seen_at` its time.
    """

    trace_id: str
    found_by: FoundBy
    confidence: float
    rank: int = 0
    metric_value: float | None = None
    seen_at: datetime | None = None
    evidence: str = ""


@dataclass(frozen=True)
class Exemplar:
    """One exemplar as Prometheus answered it."""

    metric_name: str
    labels: Labels
    trace_id: str
    span_id: str
    value: float
    at: datetime


@dataclass(frozen=True)
class Target:
    """
    A Go process that may be profiled.

    `pprof_url` ends without a slash (`http://10.0.0.7:6060/debug/pprof`); it was formed from the allow-list entry
    `name` and the address discovered for it, never from an alert. `networks`: CIDR blocks its address must be in.
    """

    name: str
    service: str
    instance: str
    pprof_url: str
    networks: tuple[str, ...]
    labels: Labels


@dataclass(frozen=True)
class Capture:
    """
    One attempt to fetch one profile from one target: planned, then its outcome. A refusal is a row too.

    What it cost the target: `seconds` it was profiled for (kinds that take their time), `requests` it was sent, and how
    long they took together.
    """

    capture_id: str
    incident_id: str | None
    target: str
    service_name: str
    service_instance_id: str
    kind: str
    phase: Literal["first", "again"]
    trigger: Trigger
    status: CaptureStatus
    reason: str
    requested_at: datetime
    http_status: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    lag_ms: float | None = None
    bytes: int | None = None
    profile_id: str | None = None
    seconds: int | None = None
    requests: int | None = None
    took_ms: float | None = None


@dataclass(frozen=True)
class Delivery:
    """One revision of a report for one sink, as the outbox has it."""

    delivery_id: str
    incident_id: str
    revision: int
    sink: str
    attempts: int
    external_ref: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Subject:
    """What a finding is about."""

    type: Literal["function", "span", "service", "instance", "route", "attribute", "dependency"]
    name: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Effect:
    """The size of what was found: `value` in `unit`, with the healthy and the sick figure it comes from."""

    value: float
    unit: str
    before: float | None
    during: float | None

    @classmethod
    def of_cpu(cls, before_share: float, during_share: float) -> Self:
        """Of shares of the time on CPU, 0 to 1."""
        before, during = 100 * before_share, 100 * during_share
        return cls(during - before, "points of on-CPU time", before, during)


@dataclass(frozen=True)
class Finding:
    """
    A claim about the cause that anybody can check: `sql` runs unchanged on the incident's database.

    `weight` (0 to 1) is the part of the symptom that it explains; it ranks findings and is not shown.
    """

    kind: str
    statement: str
    subject: Subject
    effect: Effect
    significance: Mapping[str, Any]
    confidence: Confidence
    evidence: tuple[str, ...]
    sql: str
    weight: float = 0.0
    rank: int = 0


@dataclass(frozen=True)
class Decision:
    """
    One decision about an incident: of which `step`, about what, how it went and why.

    Steps are rule, service, kinds, target and capture.
    """

    step: Literal["rule", "service", "kinds", "target", "capture"]
    subject: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class Note:
    """A sentence that is not a cause: what was ruled out, or could not be known, with its remedy if there is one."""

    statement: str
    fix: str = ""
    sql: str = ""
