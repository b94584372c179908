"""A trace id that the alert itself carries, in a label or an annotation."""

from __future__ import annotations

from diagnose.correlate.question import Found, Question, Readers
from diagnose.model import TraceRef
from diagnose.prometheus import trace_id_of


def find(question: Question, readers: Readers, so_far: Found) -> Found:  # noqa: ARG001  the signature of a strategy
    """At most two traces: the label's and the annotation's."""
    episode = question.episode
    ids = {"label": trace_id_of(episode.labels), "annotation": trace_id_of(episode.annotations)}
    traces = [
        TraceRef(trace_id, "label", 1.0, evidence=f"{where} of {episode.alertname}")
        for where, trace_id in ids.items()
        if trace_id
    ]
    return Found(tuple(traces))
