"""Captures by hand, and what a capture brought that is no profile."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request, send_file

from diagnose.by_hand import INSTANCES, Wanted
from diagnose.errors import DecodeError
from diagnose.kinds import PROFILE_KINDS
from diagnose.store.artefacts import find_artefact
from diagnose.web.bodies import read_body
from diagnose.web.context import current_service
from diagnose.web.security import needs
from diagnose.web.shapes import answer, json_body

captures = Blueprint("captures", __name__, url_prefix="/api/v1")
BODY_BYTES = 65_536
MOST_SECONDS = 300
MOST_INSTANCES = 50


@captures.post("/incidents/<incident_id>/capture")
@needs("operate")
def capture(incident_id: str) -> tuple[Response, int]:
    """Once more, of the targets of its alerts: `{"kinds": ["cpu"], "seconds": 10}`, both optional. A report follows."""
    body = json_body(read_body(request, BODY_BYTES))
    current_service().capture(incident_id, _wanted(body))
    return answer({"incident": incident_id}), 202


@captures.post("/captures")
@needs("operate")
def capture_targets() -> tuple[Response, int]:
    """Without an alert: `{"target": "checkout"}` or `{"match": {"job": "checkout"}}`, and `instances`; as above."""
    body = json_body(read_body(request, BODY_BYTES))
    name, match = body.get("target"), body.get("match") or {}
    if not isinstance(match, dict) or not all(isinstance(each, str) for each in match.values()):
        raise DecodeError("match is a map of labels", field="match")
    if not isinstance(name, str | None) or bool(name) == bool(match):
        raise DecodeError("give either target or match", field="target")
    instances = _number(body, "instances", MOST_INSTANCES) or INSTANCES
    incident_id = current_service().capture_targets(name, match, _wanted(body), instances)
    return answer({"incident": incident_id}), 202


@captures.get("/captures/<capture_id>/artefact")
@needs("read")
def artefact(capture_id: str) -> Response:
    """The file of a capture of kind trace, for `go tool trace`."""
    file = find_artefact(current_service().store, capture_id)
    return send_file(file.absolute(), mimetype="application/octet-stream", as_attachment=True)


def _wanted(body: dict[str, Any]) -> Wanted:
    kinds = body.get("kinds") or []
    if not isinstance(kinds, list) or not all(isinstance(each, str) and each in PROFILE_KINDS for each in kinds):
        raise DecodeError(f"kinds are some of {', '.join(PROFILE_KINDS)}", field="kinds")
    return Wanted(tuple(kinds), _number(body, "seconds", MOST_SECONDS))


def _number(body: dict[str, Any], name: str, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise DecodeError(f"{name} is a number from 1 to {most}", field=name)
    return value
