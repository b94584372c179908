"""
Small statements that run often are planned once, not every time: planning takes two thirds of their time.

A plan is made for the tables as they are at that moment, so it is made anew every RENEW_AFTER uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import duckdb

from diagnose.store.rows import as_json, fetch

RENEW_AFTER = 256
SPELLED_OUT = 1_000_000  # characters

_uses: WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, int]] = WeakKeyDictionary()


def insert_rows(cursor: duckdb.DuckDBPyConnection, name: str, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run *sql*, whose one parameter `$rows::VARCHAR` is JSON, if there are any rows. *name* is its own."""
    together = list(rows)
    if not together:
        return
    text = as_json(together)
    if len(text) > SPELLED_OUT:  # planning is nothing beside such a text, reading it as SQL is not
        cursor.execute(sql, {"rows": text})
    else:
        cursor.execute(_execute(cursor, name, sql, {"rows": text}))


def fetch_prepared(
    cursor: duckdb.DuckDBPyConnection, name: str, sql: str, params: Mapping[str, str]
) -> list[dict[str, Any]]:
    """As `fetch`, for text parameters; *sql* casts them (`$keys::VARCHAR`). *name* is its own."""
    return fetch(cursor, _execute(cursor, name, sql, params))


def _execute(cursor: duckdb.DuckDBPyConnection, name: str, sql: str, params: Mapping[str, str]) -> str:
    """EXECUTE takes no parameters from outside, hence the literals; a text needs no more than its quotes doubled."""
    uses = _uses.setdefault(cursor, {})
    if uses.get(name, RENEW_AFTER) >= RENEW_AFTER:
        cursor.execute(f"PREPARE {name} AS {sql}")
        uses[name] = 0
    uses[name] += 1
    given = ", ".join(f"{key} := '{_quoted(value)}'" for key, value in params.items())
    return f"EXECUTE {name}({given})"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
