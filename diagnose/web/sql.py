"""`POST /api/v1/sql`: a reader's query in, rows out as JSON, CSV, Arrow or Parquet. Who asked what is kept."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request

from diagnose.errors import DecodeError, QueryError
from diagnose.model import rfc3339
from diagnose.query.question import FORMATS, QueryAnswer, Question
from diagnose.query.saved import saved_queries, spelled_out
from diagnose.store.audit import save_query
from diagnose.telemetry import QUERIES
from diagnose.web.bodies import read_body
from diagnose.web.context import current_service
from diagnose.web.security import EVERYBODY, needs
from diagnose.web.server import CLIENT
from diagnose.web.shapes import answer, json_body

sql = Blueprint("sql", __name__, url_prefix="/api/v1")
SQL_BYTES = 1_048_576


@sql.get("/queries")
@needs("sql")
def queries() -> Response:
    """The saved queries in the order an engineer asks them: name, question, parameters, sql."""
    return answer({"queries": [query.as_json() for query in saved_queries().values()]})


@sql.post("/sql")
@needs("sql")
def query() -> Response:
    """
    `{"sql" or "saved", "params", "format", "limit", "fresh"}`; one of the first two is needed.

    With `fresh` nothing committed before the request is missing. Other forms than JSON say in the headers what JSON has
    beside the rows: `X-Query-Rows`, `-Truncated`, `-As-Of`, `-Elapsed-Ms`.
    """
    found = ask(_question(json_body(read_body(request, SQL_BYTES))), who=g.who)
    return Response(found.body, mimetype=FORMATS[found.form], headers=_about(found))


def _question(asked: dict[str, Any]) -> Question:
    """Raises DecodeError that names the field."""
    sql, saved = asked.get("sql"), asked.get("saved")
    if saved is not None and not isinstance(saved, str):
        raise DecodeError("saved must be the name of a saved query", field="saved")
    if saved is not None and sql is not None:
        raise DecodeError("give sql or saved, not both", field="saved")
    if saved is None and (not isinstance(sql, str) or not sql.strip()):
        raise DecodeError("sql is missing", field="sql")
    params, limit, form = asked.get("params") or {}, asked.get("limit"), asked.get("format") or "json"
    fresh = asked.get("fresh") or False
    if not isinstance(params, dict):
        raise DecodeError("params must be an object of names and values", field="params")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise DecodeError("limit must be a whole number above 0", field="limit")
    if form not in FORMATS:
        raise DecodeError(f"format must be one of {', '.join(FORMATS)}", field="format")
    if not isinstance(fresh, bool):
        raise DecodeError("fresh must be true or false", field="fresh")
    return Question(sql or "", params, saved=saved, form=form, limit=limit, fresh=fresh)


def _about(found: QueryAnswer) -> dict[str, str]:
    return {
        "X-Query-Rows": str(found.row_count),
        "X-Query-Truncated": str(found.truncated).lower(),
        "X-Query-As-Of": rfc3339(found.as_of),
        "X-Query-Elapsed-Ms": f"{found.elapsed_ms:.3f}",
    }


def ask(question: Question, *, who: str) -> QueryAnswer:
    """
    Run it and write down who asked what and how it ended. Raises QueryError, and DecodeError for a saved query that is
    not there.
    """
    service = current_service()
    spelled = spelled_out(question)
    client = request.environ.get(CLIENT)
    try:
        found = service.run_sql(spelled, who=None if who == EVERYBODY.name else who, client=client)
    except QueryError as err:
        _write_down(who, spelled.sql, outcome=err.code)
        raise
    _write_down(who, spelled.sql, elapsed_ms=found.elapsed_ms, row_count=found.row_count)
    return found


def _write_down(who: str, text: str, *, outcome: str = "done", elapsed_ms: float = 0.0, row_count: int = 0) -> None:
    QUERIES.labels(outcome).inc()
    save_query(current_service().store, who, text, elapsed_ms=elapsed_ms, row_count=row_count, outcome=outcome)
