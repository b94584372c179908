"""What a reader asks, what one query may take, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from diagnose.config import SqlSettings

FORMATS = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Question:
    """
    One statement with its `$name` parameters, or the name of a saved one.

    *form* is one of FORMATS; *limit*: fewer rows than the settings allow; *fresh*: everything committed before the
    question is in the answer, else it may be five seconds old.
    """

    sql: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    saved: str | None = None
    form: str = "json"
    limit: int | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Limits:
    """What one query may take."""

    timeout_s: float
    rows: int
    memory_bytes: int

    @classmethod
    def of(cls, settings: SqlSettings, *, rows: int | None = None) -> Self:
        """The configured limits; a reader may ask for fewer rows, never for more."""
        most = min(rows, settings.rows) if rows else settings.rows
        return cls(settings.timeout.total_seconds(), most, settings.memory)


@dataclass(frozen=True)
class QueryAnswer:
    """The rows in the form asked for, at most the limit (`truncated`: there were more); *as_of* is the snapshot's."""

    body: bytes
    form: str
    row_count: int
    truncated: bool
    elapsed_ms: float
    as_of: datetime

    @property
    def json(self) -> dict[str, Any]:
        """The documented shape: columns, rows, row_count, truncated, elapsed_ms, as_of. Of an answer in JSON only."""
        found: dict[str, Any] = json.loads(self.body)
        return found
