"""What a detector gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnose.model import Finding, Note

STRONG_Z = 5.0
LIKELY_Z = 4.0  # for single tests; of many functions at once the false discovery rate decides (sql/functions.sql)


@dataclass(frozen=True)
class Result:
    """
    What one look at the evidence found: causes, what is ruled out, and what could not be known.

    A `weight` is the part of the symptom that a finding explains, from 0 to 1; ranking.py puts them in order.
    """

    findings: tuple[Finding, ...] = ()
    ruled_out: tuple[Note, ...] = ()
    missing: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The rows of one query and its text, which runs again anywhere."""

    rows: list[dict[str, Any]]
    sql: str
