"""The alert itself carries a trace id, in a label or an annotation."""

from __future__ import annotations

from diagnose.correlate.question import Found, Question
from diagnose.model import TraceRef
from diagnose.prometheus import trace_id_of


def find(question: Question) -> Found:
    """At most two: one from the labels, one from the annotations."""
    alert = question.alert
    traces = [
        TraceRef(trace_id, "label", 1.0, seen_at=alert.starts_at, evidence=f"a {where} of {alert.alertname}")
        for where, pairs in (("label", alert.labels), ("annotation", alert.annotations))
        if (trace_id := trace_id_of(pairs))
    ]
    return Found(tuple(traces))
