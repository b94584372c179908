"""Span search: the failed and the slowest requests of the service in the window of the alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from diagnose.correlate.question import Found, Question, Readers
from diagnose.model import TraceRef
from diagnose.store.spans import find_traces

CONFIDENCE = 0.4
ENOUGH = 10  # traces that surer strategies found: then a search adds nothing but noise


def find(question: Question, readers: Readers, so_far: Found) -> Found:
    """Nothing when enough traces are known already, or no span of the service has arrived."""
    if len(so_far.traces) >= ENOUGH:
        return Found()
    asked = partial(
        find_traces,
        readers.store,
        service=question.service,
        since=question.since,
        until=question.until,
        limit=ENOUGH,
    )
    failed, slow = asked(error=True), asked()
    traces = [*_refs(failed, "failed span in the window"), *_refs(slow, "slow span in the window")]
    return Found(tuple({ref.trace_id: ref for ref in reversed(traces)}.values()))


def _refs(rows: Iterable[Mapping[str, Any]], evidence: str) -> list[TraceRef]:
    return [
        TraceRef(
            trace_id=row["trace_id"],
            found_by="span_search",
            confidence=CONFIDENCE,
            metric_value=row["duration_ns"] / 1e9,
            seen_at=row["start_time"],
            evidence=evidence,
        )
        for row in rows
    ]
