"""Traces named by the labels of captured profiles: what the processes were working on while they were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnose.correlate.question import Found, Question, Readers
from diagnose.model import TraceRef
from diagnose.store.profiles import labelled_traces

CONFIDENCE = 0.3


def find(question: Question, readers: Readers, so_far: Found) -> Found:  # noqa: ARG001  the signature of a strategy
    """Those with the most samples first; nothing before the first profile is there."""
    incident_id = question.episode.incident_id
    rows = labelled_traces(readers.store, incident_id, question.trace_limit) if incident_id else []
    return Found(tuple(_ref(row) for row in rows))


def _ref(row: Mapping[str, Any]) -> TraceRef:
    evidence = f"{row['samples']} samples of kind {row['kind']}"
    return TraceRef(row["trace_id"], "profile_label", CONFIDENCE, evidence=evidence)
