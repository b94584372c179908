"""One place turns what was raised into an answer: `{"error": {"code", "message", "field"}}` with the right status."""

from __future__ import annotations

import re

from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from diagnose.errors import (
    ConfigError,
    DecodeError,
    DiagnoseError,
    NotFound,
    QueryError,
    StoreBusy,
    Unstorable,
    UpstreamError,
)
from diagnose.store.rejects import save_rejected
from diagnose.telemetry import FAILURES, REJECTED, get_logger
from diagnose.web.context import current_service

log = get_logger(__name__)
KEPT_STATUSES = (400, 413, 415)
KEPT_BYTES = 65_536
RETRY_AFTER_S = 2
QUERY_STATUSES = {"sql_error": 400, "refused": 403, "memory_limit": 422, "busy": 503, "timeout": 504, "cancelled": 499}
STATUSES: tuple[tuple[type[DiagnoseError], int], ...] = (
    (DecodeError, 400),
    (ConfigError, 400),
    (NotFound, 404),
    (StoreBusy, 503),
    (Unstorable, 422),
    (UpstreamError, 502),
)


def register(app: Flask) -> None:
    app.register_error_handler(DiagnoseError, _on_ours)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_unexpected)


def _on_ours(err: DiagnoseError) -> Response:
    if isinstance(err, QueryError):
        status = QUERY_STATUSES.get(err.code, 500)
    else:
        status = next((status for kind, status in STATUSES if isinstance(err, kind)), 500)
    if status == 500:
        return _on_unexpected(err)
    field = err.field if isinstance(err, DecodeError) else None
    _keep(status, str(err), field)
    response = _answer(status, err.code, str(err), field)
    if status == 503:
        response.headers["Retry-After"] = str(getattr(err, "retry_after_s", RETRY_AFTER_S))
    return response


def _on_http(err: HTTPException) -> Response:
    status = err.code or 500
    message = str(err.description or err.name)
    _keep(status, message, None)
    response = _answer(status, re.sub(r"\W+", "_", err.name.lower()), message)
    for name, value in err.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers.add(name, value)
    return response


def _on_unexpected(err: Exception) -> Response:
    """A mistake of ours: counted, logged with its traceback, and not shown to whoever asked."""
    FAILURES.labels("web").inc()
    log.exception("request failed", method=request.method, path=request.path, error=repr(err))  # noqa: LOG004  Flask handles it now
    return _answer(500, "internal", "an unexpected error; the log of the server has more")


def _answer(status: int, code: str, message: str, field: str | None = None) -> Response:
    if request.blueprint == "pages":
        return Response(render_template("error.html.j2", status=status, message=message), status)
    error = {"code": code, "message": message, **({"field": field} if field else {})}
    response = jsonify({"error": error})
    response.status_code = status
    return response


def _keep(status: int, reason: str, field: str | None) -> None:
    """A refused body is kept with the reason, so that whoever sent it can be told what is wrong."""
    if request.blueprint != "ingest" or status not in KEPT_STATUSES:
        return
    REJECTED.labels(request.path).inc()
    log.warning("body refused", path=request.path, status=status, reason=reason, field=field or "")
    try:
        save_rejected(current_service().store, request.path, reason, field, g.get("body", b""), limit_bytes=KEPT_BYTES)
    except StoreBusy as err:
        log.warning("refused body not kept", path=request.path, error=str(err))
