"""What keeps the data directory in order: retention now, and what was put aside because the database broke on it."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response

from diagnose.web.context import current_service
from diagnose.web.security import needs
from diagnose.web.shapes import answer

upkeep = Blueprint("upkeep", __name__, url_prefix="/api/v1")


@upkeep.post("/retention")
@needs("admin")
def retention() -> Response:
    """Remove what is old now: `{"files", "pinned_rows", "profiles", "incidents", "bytes"}`."""
    return answer(asdict(current_service().run_retention()))


@upkeep.get("/spool")
@needs("admin")
def spool() -> Response:
    """Telemetry on which the database broke: `{"spooled": [{"name", "at", "reason", "rows", "bytes"}]}`."""
    return answer({"spooled": [each.as_json() for each in current_service().spool.list()]})


@upkeep.post("/spool/<name>/replay")
@needs("admin")
def replay(name: str) -> Response:
    """Store it now; it stays spooled when the database still breaks on it."""
    current_service().spool.replay(name)
    return answer({"name": name})
