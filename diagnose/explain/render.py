"""
SQL templates with their values written in, so that the text that is executed is the text a human can run again.

Templates lie in sql/, one file per subject, and name their values like parameters: `$service`. Values become literals:
the rendered text needs nothing else to run in the SQL console or on an exported incident.duckdb.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from diagnose.store.queries import load_queries

FOLDER = Path(__file__).parent / "sql"
Literal = str | int | float | bool | datetime | None | Sequence[str]
_NAME = re.compile(r"\$(\w+)")


def template(subject: str, name: str) -> str:
    """The block *name* of `sql/<subject>.sql`."""
    return load_queries(subject, FOLDER)[name]


def render_sql(text: str, **literals: Literal) -> str:
    """
    *text* with every `$name` replaced by a literal. Raises KeyError for a name without a value.

        "WHERE name = $name AND n > $n", name="it's", n=3    →    "WHERE name = 'it''s' AND n > 3"
    """
    return _NAME.sub(lambda found: literal(literals[found[1]]), text)


def literal(value: Literal) -> str:
    """
    *value* as DuckDB reads it: strings quoted, times as TIMESTAMPTZ in UTC, sequences of strings as lists.

    Raises ValueError for a number that is none, and for a time without a zone.
    """
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value).lower()  # true and false are among them
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''").replace("\0", "\N{REPLACEMENT CHARACTER}") + "'"
    return "[" + ", ".join(literal(each) for each in value) + "]"


def _double(value: float) -> str:
    """With an exponent, without which DuckDB reads a DECIMAL, whose products overflow."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written in SQL")
    text = repr(value)
    return text if "e" in text else f"{text}e0"


def _time(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return f"TIMESTAMPTZ '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00'"
