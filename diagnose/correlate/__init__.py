"""
The traces of an alert, and how sure each is.

Strategies run in order of trust; each gets what the surer ones found. A trace found by several keeps the surest. No
strategy raises because a server is down: it says what is missing instead.

    labels          the alert carries the id                                  1.0
    exemplars       of the rule's own expression                              0.95
                    of the request metrics of the same service                0.6
    window          slow and failed spans of the service in the window        0.4
    profile_labels  what the captured profiles were working on                0.3
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from diagnose.correlate import exemplars, labels, profile_labels, window
from diagnose.correlate.question import Found, Question, Readers
from diagnose.correlate.rule import range_of, read_rule
from diagnose.model import Episode, Exemplar, Note, TraceRef, utc_now

__all__ = ["STRATEGIES", "Correlation", "Readers", "correlate"]

STRATEGIES = (labels.find, exemplars.find, window.find, profile_labels.find)
MARGIN = timedelta(seconds=15)  # scrapes are late, clocks differ
LONGEST_WINDOW = timedelta(hours=2)


@dataclass(frozen=True)
class Correlation:
    """Traces best first, the exemplars they came from, what the rule said, and what could not be had."""

    traces: tuple[TraceRef, ...]
    exemplars: tuple[Exemplar, ...]
    missing: tuple[Note, ...]
    expr: str | None
    active_at: datetime | None
    value: float | None


def correlate(episode: Episode, readers: Readers, service: str) -> Correlation:
    """The traces of one alert, as of now. Ask again after the capture: those stamped meanwhile are in the profiles."""
    rule = read_rule(episode, readers)
    until = utc_now()
    since = (rule.active_at or episode.starts_at) - range_of(rule.expr) - MARGIN
    question = Question(episode, service, rule.expr, max(since, until - LONGEST_WINDOW), until + MARGIN)
    found = Found(missing=rule.missing)
    for strategy in STRATEGIES:
        more = strategy(question, readers, found)
        found = Found(
            (*found.traces, *_unknown(more, found)),
            (*found.exemplars, *more.exemplars),
            (*found.missing, *more.missing),
        )
    return Correlation(found.traces, found.exemplars, found.missing, rule.expr or None, rule.active_at, rule.value)


def _unknown(more: Found, found: Found) -> list[TraceRef]:
    known = {ref.trace_id for ref in found.traces}
    return [ref for ref in more.traces if ref.trace_id not in known]
