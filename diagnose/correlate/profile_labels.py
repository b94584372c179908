"""Traces that the captured profiles themselves name: what those requests did is in the profile, line by line."""

from __future__ import annotations

from diagnose.correlate.question import Found, Question
from diagnose.model import TraceRef
from diagnose.store.profiles import labelled_traces

CONFIDENCE = 0.6
MAX_TRACES = 20


def find(question: Question) -> Found:
    """Nothing before the first capture of the incident is stored."""
    incident_id = question.alert.incident_id
    if incident_id is None:
        return Found()
    rows = labelled_traces(question.readers.store, incident_id, MAX_TRACES)
    return Found(
        tuple(
            TraceRef(row["trace_id"], "profile_label", CONFIDENCE, evidence=_evidence(row["samples"], row["kind"]))
            for row in rows
        )
    )


def _evidence(samples: int, kind: str) -> str:
    return f"label of {samples} {'stack' if samples == 1 else 'stacks'} in a {kind} profile of this incident"
