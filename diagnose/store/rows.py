"""Rows as dictionaries, out of statements and into them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

Params = Mapping[str, Any] | Sequence[Any] | None


def fetch(cursor: duckdb.DuckDBPyConnection, sql: str, params: Params = None) -> list[dict[str, Any]]:
    """All rows of one statement on *cursor*, as dictionaries by column name."""
    result = cursor.execute(sql, params) if params is not None else cursor.execute(sql)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def insert(cursor: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """
    Insert a few dictionaries whose keys are column names, the same in all; a column that is left out is NULL.

    *table* and the names are ours, never input.
    """
    together = list(rows)
    if not together:
        return
    columns = ", ".join(f'"{name}"' for name in together[0])
    values = ", ".join(f"({', '.join(f'${name}_{at}' for name in row)})" for at, row in enumerate(together))
    params = {f"{name}_{at}": value for at, row in enumerate(together) for name, value in row.items()}
    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES {values}", params)  # noqa: S608  names are ours


def as_map(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """*labels* as DuckDB takes a MAP parameter; a plain dictionary would become a STRUCT."""
    return {"key": list(labels), "value": list(labels.values())}


def as_json(value: Any) -> str:
    """
    Many rows as one parameter, read with `from_json($rows, '[{"name": "VARCHAR", "at": "TIMESTAMPTZ"}]')`.

    Binding their values one by one takes thirty times as long. Text must be free of half surrogate pairs.
    """
    return json.dumps(value, default=lambda at: at.isoformat())
