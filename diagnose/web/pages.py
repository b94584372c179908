"""The pages people look at: the list of incidents, the newest report of one, a small SQL console. No scripts."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, g, render_template, request
from markupsafe import Markup

from diagnose.errors import NotFound, QueryError
from diagnose.model import rfc3339
from diagnose.query.question import Question
from diagnose.query.saved import SavedQuery, saved_queries
from diagnose.store.incidents import incident_detail, list_incidents
from diagnose.store.reports import get_report
from diagnose.web.arguments import choice_arg, int_arg, text_arg
from diagnose.web.context import current_service
from diagnose.web.security import REPORT_POLICY, needs
from diagnose.web.sql import ask

pages = Blueprint("pages", __name__, template_folder="templates")
LISTED = 50
EXAMPLE = "SELECT incident_id, status, title, started_at, top_finding FROM incidents ORDER BY started_at DESC"


@pages.get("/")
@needs("read")
def index() -> str:
    """Incidents, newest first."""
    status = choice_arg("status", ("open", "resolved"))
    found, following = list_incidents(
        current_service().store, status=status, service=text_arg("service"), limit=LISTED, cursor=text_arg("cursor")
    )
    return render_template("index.html.j2", incidents=found, following=following, status=status)


@pages.get("/incidents/<incident_id>")
@needs("read")
def incident(incident_id: str) -> Response:
    """The newest report (`?revision=` for an older one); before the first is written, what is known so far."""
    store = current_service().store
    try:
        found = get_report(store, incident_id, revision=int_arg("revision", 0, most=1_000_000) or None)
    except NotFound:
        if text_arg("revision"):
            raise
        waiting = render_template("waiting.html.j2", incident=incident_detail(store, incident_id))
        return Response(waiting, headers={"Refresh": "2"})
    return Response(found["html"], headers={"Content-Security-Policy": REPORT_POLICY})


@pages.get("/sql")
@needs("sql")
def console() -> tuple[str, int]:
    """
    The query in `?q=`, or the saved one in `?saved=`, with its rows; `param.NAME=` are its parameters.

    Embedded in another page it is shown but not run.
    """
    saved = _saved(text_arg("saved"))
    sql = request.args.get("q") or (saved.sql if saved else "")
    answer, mistake = None, None
    if sql.strip() and request.headers.get("Sec-Fetch-Dest", "document") == "document":
        try:
            answer = ask(Question(sql, _values(sql, saved)), who=g.who).json
        except QueryError as err:
            mistake = err
    page = render_template(
        "sql.html.j2",
        sql=sql,
        saved=saved,
        given=request.args,
        queries=saved_queries().values(),
        answer=answer,
        mistake=mistake,
        example=EXAMPLE,
    )
    return page, 200 if mistake is None else 400


def _saved(name: str | None) -> SavedQuery | None:
    if name is None:
        return None
    try:
        return saved_queries()[name]
    except KeyError as err:
        raise NotFound(f"there is no saved query {name}") from err


def _values(sql: str, saved: SavedQuery | None) -> dict[str, str | None]:
    """The parameters the statement names; those of a saved query are NULL when they are left out."""
    prefix = "param."
    given = {
        name.removeprefix(prefix): value or None for name, value in request.args.items() if name.startswith(prefix)
    }
    known = {each.name: given.get(each.name) for each in saved.parameters} if saved else {}
    return {name: value for name, value in {**given, **known}.items() if f"${name}" in sql}


@pages.app_template_global()
@cache
def page_style() -> Markup:
    """The look of the report."""
    css = files("diagnose.report") / "static" / "report.css"
    return Markup(css.read_text(encoding="utf-8"))  # noqa: S704  our own file


@pages.app_template_filter()
def minute(at: Any) -> str:
    """`2026-11-24 10:02` in UTC; the API's own text works too."""
    text = rfc3339(at) if isinstance(at, datetime) else str(at or "")
    return text[:16].replace("T", " ")


@pages.app_template_filter()
def cell(value: Any) -> str:
    """A value of a row as people read it."""
    if value is None:
        return "NULL"
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return rfc3339(value) if isinstance(value, datetime) else str(value)
