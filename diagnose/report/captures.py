"""What captures came to, in words: `10 s, 1,989 samples, 93 % with a trace id`, or why there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from diagnose.model import Capture
from diagnose.report.shape import CaptureRow
from diagnose.report.text import amount, duration, number, share
from diagnose.store.db import Store
from diagnose.store.queries import load_queries

SQL = load_queries("report", Path(__file__).parent / "sql")


@dataclass(frozen=True)
class Head:
    """A stored profile without its samples; sums are of its default value, without the profiler's own work."""

    profile_id: str
    instance: str
    kind: str
    basis: str
    started_at: datetime
    duration_ns: int
    build_id: str
    value_type: str
    unit: str
    bytes: int
    total: int
    samples: int
    labelled: int


def heads_of(store: Store, profile_ids: Iterable[str]) -> dict[str, Head]:
    """By profile id; ids that are not here are left out."""
    wanted = list(dict.fromkeys(profile_ids))
    rows = store.rows(SQL["profiles"], {"profile_ids": wanted}) if wanted else []
    return {row["profile_id"]: Head(**row) for row in rows}


def capture_rows(captures: Sequence[Capture], heads: Mapping[str, Head]) -> list[CaptureRow]:
    """In the order they were planned."""
    return [_capture_row(each, heads.get(each.profile_id or "")) for each in captures]


def _capture_row(capture: Capture, head: Head | None) -> CaptureRow:
    took_ms = None
    if capture.started_at and capture.ended_at:
        took_ms = (capture.ended_at - capture.started_at).total_seconds() * 1000
    return CaptureRow(
        at=capture.started_at or capture.requested_at,
        target=capture.target,
        instance=capture.service_instance_id,
        kind=capture.kind + (" again" if capture.phase == "again" else ""),
        trigger=capture.trigger,
        status=capture.status,
        outcome=outcome(head) if head and capture.status == "done" else _refusal(capture),
        lag_ms=capture.lag_ms,
        took_ms=took_ms,
        bytes=capture.bytes,
        profile_id=capture.profile_id,
    )


def _refusal(capture: Capture) -> str:
    if capture.http_status and str(capture.http_status) not in capture.reason:
        return f"HTTP {capture.http_status}: {capture.reason}"
    return capture.reason


def outcome(head: Head) -> str:
    """What is in a profile, in a few words: `10 s, 1,989 samples, 93 % labelled`, `212 goroutines`, `83.9 MiB live`."""
    if head.kind in ("cpu", "wall"):
        labelled = f", {share(head.labelled / head.total)} with a trace id" if head.total else ""
        return f"{duration(head.duration_ns)}, {number(head.samples)} samples{labelled}"
    if head.kind == "goroutineleak":
        return f"{number(head.total)} leaked goroutines"
    if head.kind == "goroutine":
        return f"{number(head.total)} goroutines"
    if head.kind == "heap" and head.value_type == "inuse_space":
        return f"{amount(head.total, 'bytes')} {'live' if head.basis == 'snapshot' else 'more live'}"
    what = {"mutex": " waited for locks", "block": " blocked"}.get(head.kind, f" {head.value_type}")
    return f"{amount(head.total, head.unit)}{what}{_over(head)}"


def _over(head: Head) -> str:
    if head.basis == "since_start":
        return " since the process began"
    return f" in {duration(head.duration_ns)}" if head.duration_ns else ""
