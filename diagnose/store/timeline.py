"""What happened to an incident, a line each. Written in the transaction of whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from diagnose.store.prepared import insert_rows
from diagnose.store.queries import load_queries

SQL = load_queries("timeline")


@dataclass(frozen=True)
class Line:
    """
    `kind` is a word: started, opened, alert, suppressed, reopened, resolved, closed, merged, split, note, traces,
    capture, report, delivery.
    """

    incident_id: str
    at: datetime
    kind: str
    text: str


def save_lines(cursor: duckdb.DuckDBPyConnection, lines: Sequence[Line]) -> None:
    insert_rows(cursor, "save_lines", SQL["save_lines"], map(vars, lines))
