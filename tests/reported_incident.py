"""
An incident in a real store, out of what was recorded while a fault burned CPU in `checkout` (tests/data).

The rule's series is invented: a window of it was not recorded. Of the profiles before the fault only the time is moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from diagnose.model import (
    Alert,
    AlertGroup,
    Capture,
    Effect,
    Finding,
    IncidentKey,
    Note,
    Subject,
    TraceRef,
    Trigger,
    from_unix_ns,
)
from diagnose.pprof.codec import decode
from diagnose.receive.otlp import decode_traces
from diagnose.report.series import watched
from diagnose.store.alerts import save_enrichment, save_group
from diagnose.store.captures import finish_capture, plan_captures
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline, episodes_of, save_timing, save_traces
from diagnose.store.metrics import save_series
from diagnose.store.profiles import Basis, save_profile
from diagnose.store.spans import save_spans

DATA = Path(__file__).parent / "data"
SERVICE, INSTANCE = "checkout", "127.0.0.1:19080"
ACTIVE = datetime(2026, 11, 24, 0, 1, 0, 475118, UTC)
FIRED = ACTIVE + timedelta(seconds=2)
RECEIVED = datetime(2026, 11, 24, 0, 1, 2, 483492, UTC)
EXPR = (
    'histogram_quantile(0.5, sum by (job, route, le) (rate(http_request_duration_seconds_bucket{job="checkout"}[10s])))'
    " > 0.03"
)
LABELS = {"alertname": "HTTPP50High", "job": "checkout", "route": "/checkout", "severity": "critical"}
EXEMPLARS = ("d0945193fe2d6d20a80fe37f42aad5f3", "05f3d8bfa276f32ae4d75cc53e2eef0e", "f8bb5d8946a48556588f8db212bb9b0a")


@dataclass(frozen=True)
class Explained:
    """What explain would return."""

    findings: list[Finding] = field(default_factory=list)
    ruled_out: list[Note] = field(default_factory=list)
    missing: list[Note] = field(default_factory=list)


def hot_code(before: str, during: str) -> Finding:
    return Finding(
        kind="hot_code",
        statement="98 % of on-CPU time is in `main.faultBurnCPU`; in healthy time it was 0 %.",
        subject=Subject("function", "main.faultBurnCPU", "main.go", 120),
        effect=Effect(98.1, "percent", 0.0, 98.1),
        significance={"method": "rates and shares of CPU samples", "z": 23.4},
        confidence="strong",
        evidence=(during, before),
        sql=f"SELECT * FROM profile_diff('{before}', '{during}', 'cpu') WHERE significant",  # noqa: S608  shown, not run
        weight=0.9,
        rank=1,
    )


def open_incident(store: Store, **labels: str) -> str:
    """The alert alone, as it arrives."""
    alert = Alert(
        fingerprint="7da8ca1e87b73df4",
        status="firing",
        labels=LABELS | labels,
        annotations={"runbook_url": "https://runbooks.example/latency", "dashboard_url": "javascript:alert(1)"},
        starts_at=FIRED,
        ends_at=None,
        generator_url="http://127.0.0.1:9090/graph?g0.expr=up",
    )
    group = AlertGroup("alertmanager", "{}", "diagnose", "firing", "http://am.test", (alert,), RECEIVED, b"{}")
    accepted = save_group(store, group, lambda _: IncidentKey("g", SERVICE), quiet=timedelta(minutes=15))
    return accepted.opened[0]


def record(store: Store) -> tuple[str, Explained]:
    """The incident after its CPU profile, and what explain says about it."""
    incident_id = open_incident(store)
    episode = episodes_of(store, incident_id)[0]
    save_enrichment(store, episode.episode_id, expr=EXPR, active_at=ACTIVE, value=0.071)
    save_spans(store, decode_traces((DATA / "otlp" / "cpu-traces.bin").read_bytes(), "application/x-protobuf"))
    refs = [TraceRef(each, "exemplar", 1.0, metric_value=0.25, seen_at=FIRED) for each in EXEMPLARS]
    refs.append(TraceRef("f" * 32, "span_search", 0.6, metric_value=0.2, seen_at=FIRED))
    save_traces(store, incident_id, refs)
    _save_values(store)
    before = capture(store, None, "cpu", "error-profile.pb.gz", "interval", at=ACTIVE - timedelta(minutes=40))
    capture(store, None, "heap", "error-heap.pb.gz", "snapshot", at=ACTIVE - timedelta(minutes=40))
    capture(store, incident_id, "goroutine", "cpu-goroutine.pb.gz", "snapshot")
    capture(store, incident_id, "heap", "cpu-heap.pb.gz", "snapshot")
    during = capture(store, incident_id, "cpu", "cpu-profile.pb.gz", "interval")
    refuse(store, incident_id, "block")
    for step, ms in (("webhook_to_ack", 4.0), ("webhook_to_first_exemplar", 61.0), ("webhook_to_first_report", 900.0)):
        save_timing(store, incident_id, step, ms)
    add_timeline(store, incident_id, "traces", "4 traces found for HTTPP50High", RECEIVED + timedelta(seconds=0.1))
    missing = [Note("The block profile could not be taken.", "Free the profiler.")]
    return incident_id, Explained([hot_code(before, during)], [Note("Garbage collection: 1 % of CPU")], missing)


def _save_values(store: Store) -> None:
    number = watched(EXPR)
    assert number is not None
    points = [(ACTIVE + timedelta(seconds=5 * step), 0.07 if step > -1 else 0.0025) for step in range(-120, 5)]
    save_series(store, number.expr, number.unit, SERVICE, [({"job": "checkout", "route": "/checkout"}, points)])


def capture(
    store: Store,
    incident_id: str | None,
    kind: str,
    file: str,
    basis: Basis,
    *,
    at: datetime | None = None,
    trigger: Trigger = "alert",
) -> str:
    """One capture that went well; a baseline without an incident. Returns the id of its profile."""
    body = (DATA / "pprof" / file).read_bytes()
    profile = decode(body)
    if at:
        profile = replace(profile, time_ns=int(at.timestamp()) * 1_000_000_000)
    started_at = at or from_unix_ns(profile.time_ns)
    planned = _planned(incident_id, kind, started_at, trigger)
    plan_captures(store, [planned])
    stored = save_profile(
        store,
        profile,
        body,
        service=SERVICE,
        instance=INSTANCE,
        kind=kind,
        basis=basis,
        capture_id=planned.capture_id,
    )
    took = timedelta(seconds=profile.duration_ns / 1e9, milliseconds=40)
    lag_ms = None if at else (started_at - RECEIVED).total_seconds() * 1000
    done = replace(planned, status="done", http_status=200, started_at=started_at, ended_at=started_at + took)
    finish_capture(store, replace(done, lag_ms=lag_ms, bytes=len(body), profile_id=stored.profile_id))
    return stored.profile_id


def refuse(store: Store, incident_id: str, kind: str) -> None:
    """One capture that the target refused."""
    planned = _planned(incident_id, kind, RECEIVED + timedelta(milliseconds=60))
    plan_captures(store, [planned])
    finish_capture(
        store, replace(planned, status="refused", reason="the profiler is in use", http_status=500, ended_at=RECEIVED)
    )


def _planned(incident_id: str | None, kind: str, at: datetime, trigger: Trigger = "alert") -> Capture:
    return Capture(
        capture_id=f"cap-{kind}-{trigger if incident_id else 'before'}",
        incident_id=incident_id,
        target="checkout",
        service_name=SERVICE,
        service_instance_id=INSTANCE,
        kind=kind,
        phase="first",
        trigger=trigger if incident_id else "baseline",
        status="planned",
        reason="",
        requested_at=at,
    )
