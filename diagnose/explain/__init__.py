"""
Rows → findings: sentences that name a cause, each with its size, its significance and the query that shows it.

Deterministic, no model, no network. A detector is one file with one function `(evidence) -> Result`; a new one is added
to DETECTORS. How findings are ordered is told in ranking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diagnose.explain.change import find_change
from diagnose.explain.coverage import find_gaps
from diagnose.explain.downstream import find_downstream
from diagnose.explain.errors import find_errors
from diagnose.explain.evidence import Evidence
from diagnose.explain.gc import find_gc
from diagnose.explain.hot_code import find_hot_code
from diagnose.explain.instance import find_instance
from diagnose.explain.latency import find_latency
from diagnose.explain.leak import find_leak
from diagnose.explain.lock import find_lock
from diagnose.explain.memory import find_memory
from diagnose.explain.ranking import rank
from diagnose.explain.result import Result
from diagnose.explain.retry_storm import find_retry_storm
from diagnose.explain.waiting import find_waiting
from diagnose.model import Finding, Note
from diagnose.store.db import Store

Detector = Callable[[Evidence], Result]
DETECTORS: tuple[Detector, ...] = (
    find_change,
    find_hot_code,
    find_instance,
    find_leak,
    find_memory,
    find_lock,
    find_downstream,
    find_retry_storm,
    find_errors,
    find_latency,
    find_waiting,
    find_gc,
    find_gaps,
)


@dataclass(frozen=True)
class Explanation:
    """`findings` ranked, the verdict first; what is ruled out, and what could not be known, with the remedy."""

    findings: list[Finding]
    ruled_out: list[Note]
    missing: list[Note]


def explain(store: Store, incident_id: str) -> Explanation:
    """
    What the stored rows say about the cause of an incident, now. Stores nothing; the same rows give the same answer.

    Every part of the evidence may be missing: what needs it is left out, and `missing` says so. Raises NotFound.
    """
    evidence = Evidence.gather(store, incident_id)
    results = [detect(evidence) for detect in DETECTORS]
    return Explanation(
        findings=rank(evidence, (finding for result in results for finding in result.findings)),
        ruled_out=_distinct(note for result in results for note in result.ruled_out),
        missing=_distinct(note for result in results for note in result.missing),
    )


def _distinct(notes: Iterable[Note]) -> list[Note]:
    return list({note.statement: note for note in notes}.values())
