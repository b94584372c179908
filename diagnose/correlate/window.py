"""Slow and failed spans of the alert's service in its window: right place and time, but a guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnose.correlate.expression import comparison
from diagnose.correlate.question import Found, Question
from diagnose.model import TraceRef
from diagnose.store.incidents import get_incident
from diagnose.store.spans import find_traces

FAILED, SLOW = 0.4, 0.3
MAX_FAILED, MAX_SLOW = 5, 10


def find(question: Question) -> Found:
    """The failed ones first. A `route` label of the alert narrows the search when spans have that route."""
    service = service_of(question)
    if not service:
        return Found()
    labels = question.alert.labels
    route = labels.get("http_route") or labels.get("route")
    rows = _search(question, service, route) or (_search(question, service, None) if route else [])
    return Found(tuple(rows))


def service_of(question: Question) -> str:
    """The incident's service; for an alert that opened none, what its labels say."""
    alert = question.alert
    if alert.incident_id:
        return get_incident(question.readers.store, alert.incident_id).service_name
    labels = alert.labels
    return labels.get("service_name") or labels.get("job", "").rpartition("/")[2] or labels.get("service", "")


def _search(question: Question, service: str, route: str | None) -> list[TraceRef]:
    def rows(limit: int, *, error: bool, min_duration_ns: int | None = None) -> list[dict[str, Any]]:
        return find_traces(
            question.readers.store,
            service=service,
            since=question.since,
            until=question.until,
            min_duration_ns=min_duration_ns,
            error=error,
            route=route,
            limit=limit,
        )

    failed = rows(MAX_FAILED, error=True)
    slow = rows(MAX_SLOW, error=False, min_duration_ns=_threshold_ns(question))
    return [_ref(row, FAILED, "failed") for row in failed] + [_ref(row, SLOW, "slow") for row in slow]


def _threshold_ns(question: Question) -> int | None:
    """A latency rule in seconds says what slow means."""
    compared = comparison(question.expr)
    if compared is None or "histogram_quantile" not in question.expr or "_seconds" not in question.expr:
        return None
    return int(compared.threshold * 1e9)


def _ref(row: Mapping[str, Any], confidence: float, what: str) -> TraceRef:
    return TraceRef(
        trace_id=row["trace_id"],
        found_by="span_search",
        confidence=confidence,
        metric_value=row["duration_ns"] / 1e9,
        seen_at=row["start_time"],
        evidence=f"{what} span {row['root_name']} of {row['service_name']} in the window of the alert",
    )
