"""Whether we live, whether we can work, and our own metrics."""

from __future__ import annotations

from flask import Blueprint, Response, request
from prometheus_client.exposition import choose_encoder

from diagnose.telemetry import REGISTRY
from diagnose.web.context import current_service
from diagnose.web.security import needs
from diagnose.web.shapes import answer

health = Blueprint("health", __name__)


@health.get("/healthz")
@needs(None)
def healthz() -> Response:
    """200 while the process answers at all."""
    return answer({"status": "alive"})


@health.get("/readyz")
@needs(None)
def readyz() -> tuple[Response, int]:
    """503 with the reasons while alerts cannot be taken."""
    reasons = current_service().ready_problems()
    return answer({"status": "not ready" if reasons else "ready", "reasons": reasons}), 503 if reasons else 200


@health.post("/-/reload")
@needs("admin")
def reload() -> Response:
    """Read the settings again, as on SIGHUP. A mistake in them is a 400 with all mistakes; then the old ones stay."""
    return answer(current_service().reload())


@health.get("/metrics")
@needs(None)
def metrics() -> Response:
    """Prometheus or OpenMetrics text, as the scraper asks."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(REGISTRY), content_type=content_type)
