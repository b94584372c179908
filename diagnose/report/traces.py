"""Traces of an incident: where the time of each went, and waterfalls of the slowest and of a normal one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from diagnose.model import TraceRef
from diagnose.report.shape import TraceRow, Waterfall, WaterfallRow

MOST_ROWS = 16
FEWEST_ALIKE = 3  # so many like calls in a row become one line


@dataclass(frozen=True)
class Span:
    """A span with its place in the trace. `self_ns`: its duration without the time in which a child ran."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    instance: str
    start_ns: int
    duration_ns: int
    is_error: bool
    depth: int
    self_ns: int

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


@dataclass(frozen=True)
class CpuWindow:
    """One CPU profile: of which instance, and when."""

    profile_id: str
    instance: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class CpuShare:
    """What one CPU profile holds of one trace."""

    profile_id: str
    cpu_ns: int
    samples: int


def build_trace(rows: Iterable[Mapping[str, Any]]) -> list[Span]:
    """
    The spans of one trace depth first, children by start; rows as `spans_of_traces` gives them.

    A span whose parent is not here is a root. A span that was sent twice counts once.
    """
    by_id: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        by_id.setdefault(row["span_id"], row)
    children: dict[str | None, list[str]] = defaultdict(list)
    for span_id, row in sorted(by_id.items(), key=lambda each: (each[1]["start_time_unix_nano"], each[0])):
        parent = row["parent_span_id"]
        children[parent if parent in by_id and parent != span_id else None].append(span_id)
    spans: list[Span] = []
    waiting = [(span_id, 0) for span_id in reversed(children[None])]
    while waiting:
        span_id, depth = waiting.pop()
        spans.append(_span(by_id[span_id], depth, [by_id[child] for child in children[span_id]]))
        waiting += [(child, depth + 1) for child in reversed(children[span_id])]
    return spans


def _span(row: Mapping[str, Any], depth: int, children: Sequence[Mapping[str, Any]]) -> Span:
    start, duration = row["start_time_unix_nano"], row["duration_ns"]
    intervals = [
        (child["start_time_unix_nano"], child["start_time_unix_nano"] + child["duration_ns"]) for child in children
    ]
    return Span(
        span_id=row["span_id"],
        parent_id=row["parent_span_id"],
        name=row["name"],
        kind=row["kind"],
        service=row["service_name"],
        instance=row["service_instance_id"],
        start_ns=start,
        duration_ns=duration,
        is_error=row["status_code"] == "ERROR",
        depth=depth,
        self_ns=duration - covered(intervals, start, start + duration),
    )


def covered(intervals: Iterable[tuple[int, int]], start: int, end: int) -> int:
    """
    How much of [start, end) the *intervals* cover together.

        [(2, 5), (4, 7)] of [0, 10)   →   5
    """
    total, reached = 0, start
    for first, last in sorted(intervals):
        total += max(0, min(last, end) - max(first, reached))
        reached = max(reached, min(last, end))
    return total


def root_of(spans: Sequence[Span]) -> Span:
    """The longest of the spans without a parent here."""
    return max((span for span in spans if span.depth == 0), key=lambda span: span.duration_ns)


def hottest(spans: Sequence[Span]) -> Span:
    """The span with the largest self time."""
    return max(spans, key=lambda span: span.self_ns)


def waterfall(trace_id: str, spans: Sequence[Span], label: Literal["slowest", "failed", "normal"]) -> Waterfall:
    """At most MOST_ROWS lines: like calls next to each other are one, then the shortest leaves go."""
    start = min(span.start_ns for span in spans)
    length = max(1, max(span.end_ns for span in spans) - start)
    hot = hottest(spans)
    groups = _without_shortest(_grouped(spans))
    rows = [_row(group, start, length, hot) for group in groups]
    shown = sum(len(group) for group in groups)
    return Waterfall(trace_id, label, root_of(spans).duration_ns, tuple(rows), len(spans) - shown)


def _grouped(spans: Sequence[Span]) -> list[list[Span]]:
    """Runs of at least FEWEST_ALIKE siblings of one name as one group each; what lies below them is left out."""
    below: dict[str | None, list[Span]] = defaultdict(list)
    for span in spans:
        below[span.parent_id if span.depth else None].append(span)
    alike: dict[str, list[Span]] = {}
    for siblings in below.values():
        for run in _runs(siblings):
            if len(run) >= FEWEST_ALIKE:
                alike |= {span.span_id: run if at == 0 else [] for at, span in enumerate(run)}
    groups: list[list[Span]] = []
    hidden_below = -1
    for span in spans:
        if hidden_below >= 0 and span.depth > hidden_below:
            continue
        hidden_below = span.depth if span.span_id in alike else -1
        group = alike.get(span.span_id, [span])
        if group:
            groups.append(group)
    return groups


def _runs(siblings: Sequence[Span]) -> Iterable[list[Span]]:
    run: list[Span] = []
    for span in siblings:
        if run and (run[-1].name, run[-1].service, run[-1].kind) != (span.name, span.service, span.kind):
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _without_shortest(groups: list[list[Span]]) -> list[list[Span]]:
    """Drops the shortest line that has none below it, until few enough are left."""
    groups = list(groups)
    while len(groups) > MOST_ROWS:
        leaves = [
            at
            for at in range(1, len(groups))
            if at + 1 == len(groups) or groups[at + 1][0].depth <= groups[at][0].depth
        ]
        del groups[min(leaves, key=lambda at: sum(span.duration_ns for span in groups[at]))]
    return groups


def _row(group: Sequence[Span], start: int, length: int, hot: Span) -> WaterfallRow:
    first, end = group[0], max(span.end_ns for span in group)
    return WaterfallRow(
        name=first.name,
        service=first.service,
        instance=first.instance,
        depth=first.depth,
        offset=(first.start_ns - start) / length,
        length=(end - first.start_ns) / length,
        duration_ns=sum(span.duration_ns for span in group),
        self_ns=sum(span.self_ns for span in group),
        count=len(group),
        is_client=first.kind in ("CLIENT", "PRODUCER"),
        is_error=any(span.is_error for span in group),
        is_hottest=hot in group,
    )


def trace_row(
    ref: TraceRef, spans: Sequence[Span], windows: Sequence[CpuWindow], shares: Sequence[CpuShare]
) -> TraceRow:
    """One line about one trace. *windows* are all CPU profiles of the incident, *shares* those this trace is in."""
    best = max(shares, key=lambda share: share.samples, default=None)
    samples = sum(share.samples for share in shares)
    if not spans:
        return TraceRow(ref.trace_id, ref.found_by, ref.confidence, ref.seen_at, samples=samples)
    root, hot = root_of(spans), hottest(spans)
    profiled_ns = sum(_profiled_ns(spans, window) for window in windows)
    on_cpu = sum(share.cpu_ns for share in shares) / profiled_ns if samples and profiled_ns else None
    return TraceRow(
        trace_id=ref.trace_id,
        found_by=ref.found_by,
        confidence=ref.confidence,
        started_at=ref.seen_at,
        duration_ns=root.duration_ns,
        is_error=any(span.is_error for span in spans),
        slowest_span=hot.name,
        slowest_share=hot.self_ns / root.duration_ns if root.duration_ns else None,
        on_cpu=on_cpu,
        samples=samples,
        profile_id=best.profile_id if best else None,
        profile_note="" if samples else _why_none(spans, windows, profiled_ns),
    )


def _profiled_ns(spans: Sequence[Span], window: CpuWindow) -> int:
    """How long the trace was in the profiled process while the profile was taken."""
    intervals = [(span.start_ns, span.end_ns) for span in spans if span.instance == window.instance]
    return covered(intervals, window.start_ns, window.end_ns)


def _why_none(spans: Sequence[Span], windows: Sequence[CpuWindow], profiled_ns: int) -> str:
    if not windows:
        return "no CPU profile"
    if profiled_ns:
        return f"none: {profiled_ns / 1e6:.0f} ms profiled, sampled every 10 ms of CPU"
    if max(span.end_ns for span in spans) <= min(window.start_ns for window in windows):
        return "none: ended before the capture"
    if min(span.start_ns for span in spans) >= max(window.end_ns for window in windows):
        return "none: began after the capture"
    return "none: not in a profiled process then"


def moment_ns(at: datetime) -> int:
    """Unix time, exact to the microsecond."""
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
