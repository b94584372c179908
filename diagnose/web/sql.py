"""`POST /api/v1/sql`: a reader's query in, rows out as JSON, CSV, Arrow or Parquet. Who asked what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, g, request

from diagnose.errors import DecodeError, QueryError
from diagnose.query import QueryAnswer
from diagnose.store.audit import save_query
from diagnose.web.bodies import read_body
from diagnose.web.context import current_context
from diagnose.web.security import needs
from diagnose.web.shapes import json_body

sql = Blueprint("sql", __name__, url_prefix="/api/v1")
SQL_BYTES = 1_048_576
FORMATS = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


@sql.post("/sql")
@needs("sql")
def query() -> Response:
    """`{"sql", "params", "format", "limit"}`; only `sql` is needed."""
    asked = json_body(read_body(request, SQL_BYTES))
    text, params, limit = asked.get("sql"), asked.get("params") or {}, asked.get("limit")
    form = asked.get("format") or "json"
    if not isinstance(text, str) or not text.strip():
        raise DecodeError("sql is missing", field="sql")
    if not isinstance(params, dict):
        raise DecodeError("params must be an object of names and values", field="params")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise DecodeError("limit must be a whole number above 0", field="limit")
    if form not in FORMATS:
        raise DecodeError(f"format must be one of {', '.join(FORMATS)}", field="format")
    answer = ask(text, params, limit=limit, who=g.who)
    return Response(answer.encode(form), mimetype=FORMATS[form])


def ask(text: str, params: Mapping[str, Any], *, limit: int | None, who: str) -> QueryAnswer:
    """Run it and write down who asked what and how it ended. Raises QueryError; StoreBusy when too many run."""
    context = current_context()
    service = context.service
    try:
        with context.sql_slots.one():
            found = service.run_sql(text, params, limit)
    except QueryError as err:
        save_query(service.store, who, text, outcome=err.code)
        raise
    save_query(service.store, who, text, elapsed_ms=found.elapsed_ms, row_count=found.row_count)
    return found
