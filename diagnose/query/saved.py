"""
The questions of an engineer on call, in the order they are asked: saved/*.sql, one file each.

    -- name: slow-routes
    -- question: Which routes are slower than an hour ago?
    -- parameters:
    --   service VARCHAR: only this service
    SELECT …

A parameter that is left out is NULL, and every file answers without any. Console, command line, HTTP and the how-to
page all read these files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from diagnose.errors import DecodeError
from diagnose.query.question import Question

FOLDER = Path(__file__).parent / "saved"
_FIELD = re.compile(r"^-- (name|question|parameters): *(.*)$")
_PARAMETER = re.compile(r"^--   (\w+) (\w+): (.+)$")


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    text: str


@dataclass(frozen=True)
class SavedQuery:
    name: str
    question: str
    parameters: tuple[Parameter, ...]
    sql: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def saved_queries() -> dict[str, SavedQuery]:
    """All of them by name, in the order an engineer asks."""
    found = [read_query(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.sql"))]
    return {query.name: query for query in found}


def read_query(text: str) -> SavedQuery:
    """One file. Raises ValueError for a line of the head that is none of its parts."""
    fields: dict[str, str] = {}
    parameters: list[Parameter] = []
    lines = text.splitlines()
    while lines and lines[0].startswith("--"):
        line = lines.pop(0)
        if found := _FIELD.match(line):
            fields[found[1]] = found[2]
        elif found := _PARAMETER.match(line):
            parameters.append(Parameter(found[1], found[2], found[3]))
        else:
            raise ValueError(f"not a line of the head: {line}")
    return SavedQuery(fields["name"], fields["question"], tuple(parameters), "\n".join(lines).strip())


def spelled_out(question: Question) -> Question:
    """With the SQL of the saved query it names. Raises DecodeError when there is none, or no such parameter."""
    if question.saved is None:
        return question
    query = saved_queries().get(question.saved)
    if query is None:
        raise DecodeError(f"there is no saved query {question.saved}; `diagnose sql --list` lists them", field="saved")
    return replace(question, sql=query.sql, params=_values(query, question.params))


def is_saved(question: Question) -> bool:
    """Whether its text is that of the saved query it names."""
    query = saved_queries().get(question.saved or "")
    return query is not None and query.sql == question.sql


def _values(query: SavedQuery, given: Mapping[str, Any]) -> dict[str, Any]:
    known = [parameter.name for parameter in query.parameters]
    if unknown := sorted(set(given) - set(known)):
        raise DecodeError(
            f"{query.name} has no parameter {unknown[0]}; it has: {', '.join(known) or 'none'}", field="params"
        )
    return {name: given.get(name) for name in known}
