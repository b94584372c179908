"""
From an alert to traces, each with how it was found and how sure that is.

STRATEGIES run in the order of trust. A fallback runs only while the ones before it found fewer traces than it says. Ask
at once when an alert arrives, because exemplars are overwritten within minutes, and again after the captures: the
requests that ran meanwhile are the ones found in the profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from diagnose.correlate import exemplars, labels, profile_labels, window
from diagnose.correlate.question import Found, Question, Readers, question_about
from diagnose.model import Episode, Exemplar, Note, TraceRef

__all__ = ["STRATEGIES", "Correlation", "Readers", "Strategy", "correlate"]


@dataclass(frozen=True)
class Correlation:
    """
    `traces` are distinct, best first, ranked from 1. `exemplars` are what they came from: Prometheus forgets them.

    `expr`, `active_at` and `value` are what Prometheus knows about the alert beyond what it sent, as far as it does.
    """

    traces: list[TraceRef]
    exemplars: list[Exemplar]
    missing: list[Note]
    expr: str | None
    active_at: datetime | None
    value: float | None


@dataclass(frozen=True)
class Strategy:
    """`unless`: it does not run when so many traces are known already; None: it always runs."""

    find: Callable[[Question], Found]
    unless: int | None = None


STRATEGIES = (
    Strategy(labels.find),
    Strategy(exemplars.of_the_expression),
    Strategy(exemplars.of_the_requests, unless=1),
    Strategy(window.find, unless=5),
    Strategy(profile_labels.find),
)


def correlate(alert: Episode, readers: Readers) -> Correlation:
    """
    The traces of *alert* as of now. What kept them from being found is in `missing`, with the remedy.

    A Prometheus server that is down is such a note. Raises only what the store raises.
    """
    question = question_about(alert, readers)
    best: dict[str, TraceRef] = {}
    kept: list[Exemplar] = []
    missing = list(question.missing)
    for strategy in STRATEGIES:
        if strategy.unless is not None and len(best) >= strategy.unless:
            continue
        found = strategy.find(question)
        for ref in found.traces:
            known = best.get(ref.trace_id)
            if known is None or ref.confidence > known.confidence:
                best[ref.trace_id] = ref
        kept += found.exemplars
        missing += found.missing
    traces = sorted(best.values(), key=lambda ref: -ref.confidence)
    if not traces:
        missing.append(_no_traces(question))
    return Correlation(
        traces=[replace(ref, rank=rank) for rank, ref in enumerate(traces, start=1)],
        exemplars=kept,
        missing=list(dict.fromkeys(missing)),
        expr=question.expr or None,
        active_at=question.active_at,
        value=question.value if question.value is not None and math.isfinite(question.value) else None,
    )


def _no_traces(question: Question) -> Note:
    statement = (
        f"No trace of {question.alert.alertname} was found, neither as an exemplar nor among the spans stored here."
    )
    return Note(statement, "send spans over OTLP, and let the service record exemplars")
