"""The JSON API about incidents, traces and SQL (docs/reference/http.md)."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from flask import Blueprint, Response, request, send_file

from diagnose.config import parse_duration
from diagnose.errors import DecodeError, NotFound
from diagnose.model import utc_now
from diagnose.receive.alertmanager import decode
from diagnose.store.decisions import explained
from diagnose.store.export import export_incident
from diagnose.store.incidents import get_incident, incident_detail, list_incidents, note_incident
from diagnose.store.reports import get_report
from diagnose.store.spans import find_traces, trace_spans
from diagnose.web.arguments import bool_arg, choice_arg, int_arg, required_arg, text_arg, time_arg
from diagnose.web.bodies import read_body
from diagnose.web.context import current_context, current_service
from diagnose.web.security import REPORT_POLICY, needs
from diagnose.web.shapes import answer, json_body

api = Blueprint("api", __name__, url_prefix="/api/v1")
NOTE_BYTES = 65_536
REPORT_TYPES = {"html": "text/html", "md": "text/markdown", "json": "application/json"}
REPORT_FIELDS = {"html": "html", "md": "markdown", "json": "json"}


@api.get("/incidents")
@needs("read")
def incidents() -> Response:
    """Newest first; `next` is the cursor of the following page, or null."""
    found, following = list_incidents(
        current_service().store,
        status=choice_arg("status", ("open", "resolved")),
        service=text_arg("service"),
        since=time_arg("since"),
        limit=int_arg("limit", 50, most=500),
        cursor=text_arg("cursor"),
    )
    return answer({"incidents": found, "next": following})


@api.get("/incidents/<incident_id>")
@needs("read")
def incident(incident_id: str) -> Response:
    """What is known of one: alerts, traces, captures, findings, deliveries, timeline."""
    return answer(incident_detail(current_service().store, incident_id))


@api.get("/incidents/<incident_id>/explain")
@needs("read")
def explain(incident_id: str) -> Response:
    """Which rule matched, what was planned, captured, skipped and why, and how long the steps took."""
    return answer(explained(current_service().store, incident_id))


@api.post("/simulate")
@needs("read")
def simulate() -> Response:
    """What a webhook body would lead to, alert by alert, with every decision and its reason. Nothing is stored."""
    service = current_service()
    body = read_body(request, service.settings.ingest.webhook_max_bytes)
    return answer({"alerts": service.dry_run(decode(body, received_at=utc_now()).group)})


@api.get("/incidents/<incident_id>/report.<any(html, md, json):form>")
@needs("read")
def report(incident_id: str, form: str) -> Response:
    """The newest revision, or `?revision=`, exactly as it was rendered then."""
    revision = int_arg("revision", 0, most=1_000_000) or None
    found = get_report(current_service().store, incident_id, revision=revision)
    response = Response(found[REPORT_FIELDS[form]], content_type=f"{REPORT_TYPES[form]}; charset=utf-8")
    response.headers["X-Report-Revision"] = str(found["revision"])
    if form == "html":
        response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


@api.get("/incidents/<incident_id>/incident.duckdb")
@needs("read")
def incident_database(incident_id: str) -> Response:
    """All rows of the incident as a DuckDB file with the documented views in it."""
    context = current_context()
    store = context.service.store
    get_incident(store, incident_id)
    with context.export_slots.one(), tempfile.TemporaryDirectory(dir=store.path, prefix="export-") as folder:
        file = Path(folder) / "incident.duckdb"
        export_incident(store, incident_id, file)
        opened = file.open("rb")  # the folder may go: the open file keeps its bytes
    return send_file(
        opened, mimetype="application/vnd.duckdb", as_attachment=True, download_name=f"{incident_id}.duckdb"
    )


@api.post("/incidents/<incident_id>/close")
@needs("operate")
def close(incident_id: str) -> Response:
    """For an alert whose end never comes, as when it was silenced."""
    service = current_service()
    body = json_body(read_body(request, NOTE_BYTES))
    service.close_incident(incident_id, str(body.get("reason") or "closed by hand"))
    return answer(incident_detail(service.store, incident_id))


@api.post("/incidents/<incident_id>/merge")
@needs("operate")
def merge(incident_id: str) -> Response:
    """`{"from": ["inc-…"]}`: this one takes over their alerts, captures and traces."""
    service = current_service()
    service.merge_incidents(incident_id, _ids("from"))
    return answer(incident_detail(service.store, incident_id))


@api.post("/incidents/<incident_id>/split")
@needs("operate")
def split(incident_id: str) -> tuple[Response, int]:
    """`{"episodes": ["ep-…"]}` get an incident of their own; 201 with it."""
    service = current_service()
    return answer(incident_detail(service.store, service.split_incident(incident_id, _ids("episodes")))), 201


def _ids(field: str) -> list[str]:
    """Raises DecodeError unless the body has a list of texts there."""
    ids = json_body(read_body(request, NOTE_BYTES)).get(field)
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise DecodeError(f"{field} must be a list of ids", field=field)
    return ids


@api.post("/incidents/<incident_id>/notes")
@needs("operate")
def note(incident_id: str) -> tuple[Response, int]:
    """`{"text": "…"}` becomes a line of the timeline."""
    store = current_service().store
    text = json_body(read_body(request, NOTE_BYTES)).get("text")
    if not isinstance(text, str) or not text.strip():
        raise DecodeError("text is missing", field="text")
    note_incident(store, incident_id, text.strip())
    return answer(incident_detail(store, incident_id)), 201


@api.get("/traces/<trace_id>")
@needs("read")
def trace(trace_id: str) -> Response:
    """The spans of one trace in the order of a waterfall, with `self_ns`."""
    spans = trace_spans(current_service().store, trace_id)
    if not spans:
        raise NotFound(f"no span of trace {trace_id} is stored")
    return answer({"trace_id": trace_id, "spans": spans})


@api.get("/traces")
@needs("read")
def traces() -> Response:
    """Of one service in a window, longest first; the last hour unless told otherwise."""
    until = time_arg("until") or utc_now()
    min_duration = text_arg("min_duration")
    found = find_traces(
        current_service().store,
        service=required_arg("service"),
        since=time_arg("since") or until - timedelta(hours=1),
        until=until,
        min_duration_ns=_duration_ns(min_duration) if min_duration else None,
        error=bool_arg("error"),
        route=text_arg("route"),
        limit=int_arg("limit", 50, most=500),
    )
    return answer({"traces": found})


def _duration_ns(text: str) -> int:
    try:
        return round(parse_duration(text) / timedelta(microseconds=1)) * 1000
    except ValueError as err:
        raise DecodeError(str(err), field="min_duration") from err
