"""A report as large as a real one, made by hand; figures invented. Names and labels in it may be hostile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sin
from pathlib import Path
from typing import Any

from diagnose.model import Effect, Episode, Finding, Incident, Note, Subject
from diagnose.pprof.codec import decode
from diagnose.pprof.diff import diff
from diagnose.report.flamegraph import flame_data
from diagnose.report.shape import (
    CaptureRow,
    Chart,
    Figure,
    Flame,
    FunctionRow,
    InstanceRow,
    Line,
    Link,
    Mark,
    ProfileRef,
    Report,
    TimelineRow,
    TraceRow,
    Waterfall,
    WaterfallRow,
)

PROFILES = Path(__file__).parent / "data" / "pprof"
ONSET = datetime(2026, 11, 24, 10, 2, 11, tzinfo=UTC)
FIRED = ONSET + timedelta(seconds=139)
ENDED = ONSET + timedelta(minutes=17, seconds=53)
MATCH = "main.(*Matcher).match"
TRACE = "7c0e1f5a9b3d4c2e8f60718293a491d2"

EPISODE = Episode(
    episode_id="ep-1",
    incident_id="inc-1q2w3e4r5t",
    fingerprint="00f00ba4c0ffee11",
    alertname="HighLatency",
    status="resolved",
    labels={"alertname": "HighLatency", "job": "checkout", "route": "/checkout", "severity": "critical"},
    annotations={"runbook_url": "https://runbooks.example/latency", "summary": "p99 above half a second"},
    generator_url="http://127.0.0.1:9090/graph?g0.expr=up",
    starts_at=FIRED,
    ends_at=ENDED,
    received_at=FIRED,
    active_at=ONSET,
    expr="histogram_quantile(0.99, sum by (le, route) (rate(http_server_request_duration_seconds_bucket[1m]))) > 0.5",
    value=2.3,
)
INCIDENT = Incident(
    incident_id="inc-1q2w3e4r5t",
    status="resolved",
    title="HighLatency · checkout",
    service_name="checkout",
    severity="critical",
    started_at=ONSET,
    ended_at=ENDED,
    opened_at=FIRED,
)
FINDINGS = (
    Finding(
        kind="hot_code",
        statement=f"71 % of on-CPU time is in `{MATCH}`; in healthy time it was 3 %.",
        subject=Subject("function", MATCH, "matcher.go", 88),
        effect=Effect(68.0, "percent", 3.0, 71.0),
        significance={"method": "rates and shares of CPU samples", "z": 41.2},
        confidence="strong",
        evidence=("cpu-during", "cpu-before"),
        sql="SELECT function, base_share, new_share, z\nFROM profile_diff('cpu-before', 'cpu-during', 'cpu')\n"
        "WHERE significant ORDER BY z DESC LIMIT 5",
        weight=0.9,
        rank=1,
    ),
    Finding(
        kind="latency",
        statement="The added 2.1 s per request are 96 % self time of span `price.match`; inventory adds 4 %.",
        subject=Subject("span", "price.match"),
        effect=Effect(2003.0, "ms", 21.0, 2024.0),
        significance={"method": "15 slow against 240 normal traces", "p": 0.0004},
        confidence="likely",
        evidence=(),
        sql="SELECT name, added_ms FROM added_time ORDER BY added_ms DESC",
        weight=0.7,
        rank=2,
    ),
    Finding(
        kind="instance",
        statement="Only checkout-2 is affected.",
        subject=Subject("instance", "checkout-2"),
        effect=Effect(1.0, "instances", None, None),
        significance={},
        confidence="hint",
        evidence=(),
        sql="",
        rank=3,
    ),
)


def span_row(name: str, service: str, depth: int, start: float, length: float, **more: Any) -> WaterfallRow:
    """Times in shares of the trace, which takes 2.31 s."""
    ns = int(length * 2.31e9)
    return WaterfallRow(name, service, f"{service}-2", depth, start, length, ns, ns, **more)


def series() -> tuple[tuple[datetime, float], ...]:
    """One value every 15 s for an hour: flat, a plateau while it lasted, flat."""
    start = ONSET - timedelta(minutes=30)
    points = []
    for step in range(240):
        at = start + timedelta(seconds=15 * step)
        points.append((at, (2.2 if ONSET <= at <= ENDED else 0.21) * (1 + 0.06 * sin(step))))
    return tuple(points)


def flame(kind: str, during: str, before: str | None) -> Flame:
    now = decode((PROFILES / during).read_bytes())
    then = decode((PROFILES / before).read_bytes()) if before else None
    rows = []
    if then is not None:
        changes = diff(then, now)
        rows = [
            FunctionRow(
                each.name,
                each.base_flat / changes.base_total,
                each.new_flat / changes.new_total,
                each.z,
                each.significant,
            )
            for each in changes.functions[:6]
        ]
    unit = now.sample_types[now.value_index()].unit
    return Flame(
        kind,
        ProfileRef(f"{kind}-during", "checkout-2", FIRED, 5_000_000_000, now.total(), unit),
        ProfileRef(f"{kind}-before", "checkout-2", ONSET - timedelta(minutes=40), 5_000_000_000, then.total(), unit)
        if then
        else None,
        flame_data(now, then),
        tuple(rows),
    )


def full() -> Report:
    """An incident where everything was found."""
    slowest = (
        span_row("POST /checkout", "gateway", 0, 0, 1),
        span_row("HTTP POST", "gateway", 1, 0.002, 0.996, is_client=True),
        span_row("POST /checkout", "checkout", 2, 0.004, 0.992),
        span_row("price.match", "checkout", 3, 0.006, 0.876, is_hottest=True),
        span_row("inventory.reserve", "checkout", 3, 0.884, 0.085, is_client=True, count=12),
        span_row("POST /reserve", "inventory", 4, 0.887, 0.013, is_error=True),
        span_row("render", "checkout", 3, 0.97, 0.026),
    )
    return Report(
        incident=INCIDENT,
        detail={"id": INCIDENT.incident_id, "status": "resolved", "title": INCIDENT.title, "service": "checkout"},
        revision=3,
        reason="resolved",
        created_at=ENDED + timedelta(seconds=11),
        external_url="http://127.0.0.1:9095",
        findings=FINDINGS,
        alerts=(EPISODE,),
        ruled_out=(
            Note("Garbage collection: 2 % of CPU (9 % before)", sql="SELECT 1"),
            Note("Lock wait: 0.3 ms per request, unchanged"),
        ),
        missing=(
            Note("3 of 15 traces have no CPU sample: they ended before the capture began."),
            Note("The block profile is empty.", "Call `runtime.SetBlockProfileRate(10000)` in the program."),
        ),
        timings_ms={
            "webhook_to_ack": 4.2,
            "webhook_to_first_exemplar": 61.0,
            "webhook_to_first_capture_request": 88.0,
            "webhook_to_first_report": 1240.0,
            "webhook_to_cpu_report": 10_600.0,
        },
        headline=(
            Figure("HighLatency", "2.3 s", "← 0.21 s"),
            Figure("CPU in match", "71 %", "← 3 %"),
            Figure("certainty", "strong", "z = 41"),
            Figure("webhook → this cause", "10.6 s"),
        ),
        links=(
            Link("rule", "http://127.0.0.1:9090/graph?g0.expr=up"),
            Link("runbook", "https://runbooks.example/latency"),
            Link("incident.duckdb", "http://127.0.0.1:9095/api/v1/incidents/inc-1q2w3e4r5t/incident.duckdb"),
        ),
        routes=("POST /checkout",),
        chart=Chart(
            title="value of HighLatency",
            unit="s",
            source="alert",
            lines=(Line("checkout", series()),),
            threshold=0.5,
            since=ONSET - timedelta(minutes=30),
            until=ONSET + timedelta(minutes=30),
            started_at=ONSET,
            ended_at=ENDED,
            marks=(
                Mark(ONSET, "onset 10:02:11"),
                Mark(FIRED, "fired 10:04:30"),
                Mark(FIRED + timedelta(seconds=1), "profiled +0.6 s"),
                Mark(ENDED, "resolved 10:20:04"),
            ),
        ),
        flames=(
            flame("cpu", "cpu-profile.pb.gz", "error-profile.pb.gz"),
            flame("heap", "leak-heap.pb.gz", "cpu-heap.pb.gz"),
            flame("mutex", "lock-mutex.pb.gz", None),
        ),
        waterfalls=(
            Waterfall(TRACE, "slowest", 2_310_000_000, slowest, hidden=4),
            Waterfall("b" * 32, "normal", 214_000_000, slowest[:3]),
        ),
        traces=(
            TraceRow(TRACE, "exemplar", 1.0, FIRED, 2_310_000_000, False, "price.match", 0.88, 0.91, 188, "cpu-during"),
            TraceRow("a41b" + "0" * 24 + "03fe", "label", 1.0, FIRED, 2_204_000_000, True, "price.match", 0.87),
            TraceRow(
                "0d77" + "0" * 24 + "5c18",
                "span_search",
                0.6,
                FIRED,
                1_998_000_000,
                False,
                "price.match",
                0.9,
                profile_note="ended before the capture",
            ),
            TraceRow("1" * 32, "exemplar", 1.0),
        ),
        trace_count=15,
        captures=(
            CaptureRow(FIRED, "checkout", "checkout-2", "goroutine", "alert", "done", "212 goroutines", 412, 31, 5120),
            CaptureRow(FIRED, "checkout", "checkout-2", "heap", "alert", "done", "83.9 MiB live", 503, 4, 58_000),
            CaptureRow(
                FIRED,
                "checkout",
                "checkout-2",
                "cpu",
                "alert",
                "done",
                "1,989 samples, 93 % labelled",
                600,
                10_050,
                1000,
            ),
            CaptureRow(
                FIRED, "checkout", "checkout-1", "cpu", "alert", "refused", "HTTP 500: CPU profiler in use", 611
            ),
            CaptureRow(ENDED, "checkout", "checkout-2", "cpu", "resolved", "skipped", "6 rounds in the last hour"),
        ),
        instances=(
            InstanceRow(
                "checkout-2",
                "sick",
                1412,
                3,
                214_000_000,
                2_310_000_000,
                0.4,
                1.9,
                180,
                212,
                80 << 20,
                84 << 20,
                "9f3c1d2e",
            ),
            InstanceRow("checkout-1", "peer", 1390, 0, 211_000_000, 219_000_000, None, 0.41),
            InstanceRow("checkout-3", "", 1401, 0, 209_000_000, 216_000_000),
        ),
        timeline=(
            TimelineRow(ONSET, "alert", "onset (the rule's condition became true)"),
            TimelineRow(FIRED, "alert", "webhook received: 1 alert"),
            TimelineRow(FIRED + timedelta(seconds=0.14), "traces", "15 traces found for HighLatency"),
            TimelineRow(FIRED + timedelta(seconds=10.6), "report", "revision 2: profiles captured"),
        ),
    )


def bare() -> Report:
    """Nothing could be had: Prometheus down, no targets, no traces; the alert alone."""
    return Report(
        incident=replace(INCIDENT, status="open", ended_at=None, severity=""),
        detail={"id": INCIDENT.incident_id, "status": "open"},
        revision=1,
        reason="first evidence",
        created_at=FIRED + timedelta(seconds=4),
        external_url="http://127.0.0.1:9095",
        alerts=(replace(EPISODE, status="firing", ends_at=None, expr=None, value=None),),
        missing=(
            Note(
                "No trace was found: Prometheus at http://127.0.0.1:9090 did not answer.",
                "Check the setting `prometheus` with `diagnose check-config`.",
            ),
            Note("No profile was taken: no target of the allow-list belongs to these alerts.", "Add it to `targets`."),
        ),
    )


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>`|*_[x](javascript:alert(3)) @all \"'&\n# big"


def hostile() -> Report:
    """Every text that comes from outside tries to break out."""
    report = full()
    subject = Subject("function", HOSTILE, HOSTILE, 1)
    finding = replace(FINDINGS[0], statement=f"71 % in `{HOSTILE}`, {HOSTILE}", subject=subject, sql=HOSTILE)
    episode = replace(EPISODE, alertname=HOSTILE, expr=HOSTILE)
    data = flame_data(
        replace(
            decode((PROFILES / "cpu-profile.pb.gz").read_bytes()),
            samples=tuple(
                replace(sample, frames=tuple(replace(frame, function=HOSTILE) for frame in sample.frames))
                for sample in decode((PROFILES / "cpu-profile.pb.gz").read_bytes()).samples
            ),
        )
    )
    return replace(
        report,
        incident=replace(INCIDENT, title=HOSTILE, service_name=HOSTILE, severity=HOSTILE),
        reason=HOSTILE,
        findings=(finding,),
        alerts=(episode,),
        ruled_out=(Note(HOSTILE, HOSTILE, HOSTILE),),
        missing=(Note(HOSTILE, HOSTILE, HOSTILE),),
        headline=(Figure(HOSTILE, HOSTILE, HOSTILE),),
        links=(Link(HOSTILE, "http://x.test/)(\"'<>"),),
        routes=(HOSTILE,),
        chart=replace(report.chart, title=HOSTILE, lines=(Line(HOSTILE, series()),), marks=(Mark(ONSET, HOSTILE),)),
        flames=(replace(report.flames[0], data=data, functions=(FunctionRow(HOSTILE, 0, 1, None, True),)),),
        waterfalls=(
            replace(report.waterfalls[0], trace_id=HOSTILE, rows=(span_row(HOSTILE, HOSTILE, 1, 0, 1, is_error=True),)),
        ),
        traces=(TraceRow(HOSTILE, "exemplar", 1.0, FIRED, 1, True, HOSTILE, 1.0, profile_note=HOSTILE),),
        captures=(CaptureRow(FIRED, HOSTILE, HOSTILE, HOSTILE, "alert", "failed", HOSTILE),),
        instances=(InstanceRow(HOSTILE, "sick", build_id=HOSTILE), InstanceRow(HOSTILE, "peer")),
        timeline=(TimelineRow(FIRED, "alert", HOSTILE),),
    )
