"""
What a report holds, before it becomes HTML, Markdown or JSON.

All texts are as they came (function names and labels are hostile until rendered), times aware UTC, shares 0 to 1.
`build_report` fills it from stored rows; a part that could not be had is empty, and `Report.missing` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from diagnose.model import Episode, Finding, Incident, Note

SCHEMA_VERSION = 1


class Explanation(Protocol):
    """What explain() returns: findings ranked, the most telling first."""

    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def ruled_out(self) -> Sequence[Note]: ...
    @property
    def missing(self) -> Sequence[Note]: ...


@dataclass(frozen=True)
class Figure:
    """One number under the verdict, ready to read: `p99` · `2.3 s` · `← 0.21 s`."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class Line:
    """One series; points are (time, value), oldest first."""

    label: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True)
class Mark:
    at: datetime
    text: str


@dataclass(frozen=True)
class Chart:
    """The alert's value over time. `unit` as in `text.amount`; `source` says where the points come from."""

    title: str
    unit: str
    source: Literal["alert", "spans"]
    lines: tuple[Line, ...]
    threshold: float | None
    since: datetime
    until: datetime
    started_at: datetime
    ended_at: datetime | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class ProfileRef:
    """One stored profile: whose, when, how long and how much is in it (`total` in `unit` of its default value)."""

    profile_id: str
    instance: str
    started_at: datetime
    duration_ns: int
    total: int
    unit: str


@dataclass(frozen=True)
class FunctionRow:
    """One function of a flame graph in numbers: its share of the total before, during and after the incident."""

    name: str
    before: float | None
    during: float
    z: float | None
    significant: bool
    after: float | None = None


@dataclass(frozen=True)
class Flame:
    """
    A profile of the incident, beside a healthy one when there is one (from before, else from after it).

    `data` is what static/flame.js draws.
    """

    kind: str
    during: ProfileRef
    before: ProfileRef | None
    data: Mapping[str, Any]
    functions: tuple[FunctionRow, ...]
    after: ProfileRef | None = None


@dataclass(frozen=True)
class WaterfallRow:
    """One span, or `count` like ones in a row below the same parent. `offset` and `length` are shares of the trace."""

    name: str
    service: str
    instance: str
    depth: int
    offset: float
    length: float
    duration_ns: int
    self_ns: int
    count: int = 1
    is_client: bool = False
    is_error: bool = False
    is_hottest: bool = False


@dataclass(frozen=True)
class Waterfall:
    """Where the time of one trace went. `hidden` shorter spans are left out."""

    trace_id: str
    label: Literal["slowest", "failed", "normal"]
    duration_ns: int
    rows: tuple[WaterfallRow, ...]
    hidden: int = 0


@dataclass(frozen=True)
class TraceRow:
    """
    One trace of the incident. `duration_ns` is None while its spans are not here.

    `on_cpu` is the CPU time sampled in it over the part of it that was profiled; None: `profile_note` says why.
    `slowest_span` has the largest self time of the trace, `slowest_share` of its duration.
    """

    trace_id: str
    found_by: str
    confidence: float
    started_at: datetime | None = None
    duration_ns: int | None = None
    is_error: bool = False
    slowest_span: str = ""
    slowest_share: float | None = None
    on_cpu: float | None = None
    samples: int = 0
    profile_id: str | None = None
    profile_note: str = ""


@dataclass(frozen=True)
class CaptureRow:
    """One attempt to take a profile: when, from whom, what it cost and what came of it, in words (`outcome`)."""

    at: datetime
    target: str
    instance: str
    kind: str
    trigger: str
    status: str
    outcome: str
    lag_ms: float | None = None
    took_ms: float | None = None
    bytes: int | None = None
    profile_id: str | None = None


@dataclass(frozen=True)
class InstanceRow:
    """One instance of the service, before and during. None where nothing was measured."""

    instance: str
    role: Literal["sick", "peer", ""]
    requests: int = 0
    errors: int = 0
    p99_before_ns: int | None = None
    p99_during_ns: int | None = None
    cores_before: float | None = None
    cores_during: float | None = None
    goroutines_before: int | None = None
    goroutines_during: int | None = None
    heap_before: int | None = None
    heap_during: int | None = None
    build_id: str = ""


@dataclass(frozen=True)
class TimelineRow:
    at: datetime
    kind: str
    text: str


@dataclass(frozen=True)
class Report:
    """One revision. `detail` is the incident as the API has it; `url` where people find it."""

    incident: Incident
    detail: Mapping[str, Any]
    revision: int
    reason: str
    created_at: datetime
    external_url: str
    findings: tuple[Finding, ...] = ()
    alerts: tuple[Episode, ...] = ()
    ruled_out: tuple[Note, ...] = ()
    missing: tuple[Note, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    headline: tuple[Figure, ...] = ()
    links: tuple[Link, ...] = ()
    routes: tuple[str, ...] = ()
    chart: Chart | None = None
    flames: tuple[Flame, ...] = ()
    waterfalls: tuple[Waterfall, ...] = ()
    traces: tuple[TraceRow, ...] = ()
    trace_count: int = 0
    captures: tuple[CaptureRow, ...] = ()
    instances: tuple[InstanceRow, ...] = ()
    timeline: tuple[TimelineRow, ...] = ()

    @property
    def verdict(self) -> Finding | None:
        return self.findings[0] if self.findings else None

    @property
    def url(self) -> str:
        return f"{self.external_url.rstrip('/')}/incidents/{self.incident.incident_id}"
