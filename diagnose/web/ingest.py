"""What others send us: alerts, OTLP, profiles. Answered after the commit, never later and never before."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from diagnose.errors import DecodeError, StoreBusy
from diagnose.model import utc_now
from diagnose.pprof.pool import SHARED as PARSERS
from diagnose.receive.alertmanager import decode
from diagnose.receive.alerts import Decoded
from diagnose.receive.direct import decode_direct
from diagnose.receive.otlp import decode_metrics, decode_traces, encode_response, media_type, reasons
from diagnose.receive.remote_write import decode_write, inflated_size, mistake_in_headers
from diagnose.store.metrics import save_metrics
from diagnose.store.profiles import read_and_import
from diagnose.store.rejects import save_rejected
from diagnose.store.spans import save_spans
from diagnose.telemetry import ALERTS, get_logger
from diagnose.web.arguments import label_args, required_arg, text_arg
from diagnose.web.bodies import read_body
from diagnose.web.context import current_context, current_service
from diagnose.web.security import needs

log = get_logger(__name__)
ingest = Blueprint("ingest", __name__)
MAX_SET_ASIDE = 20  # alerts of one body; each costs the sender's answer a commit


@ingest.route("/webhook", methods=["POST", "PUT"])
@needs("ingest")
def webhook() -> tuple[Response, int]:
    """Alertmanager's or Grafana's webhook, whatever content type it claims. 202 once the alerts are durable."""
    service = current_service()
    received_at = utc_now()
    body = read_body(request, service.settings.ingest.webhook_max_bytes)
    return _accepted(decode(body, received_at=received_at)), 202


@ingest.post("/api/v2/alerts")
@needs("ingest")
def direct_alerts() -> Response:
    """What Prometheus and vmalert send to an Alertmanager. 200 once the alerts are durable."""
    ingest_settings = current_service().settings.ingest
    received_at = utc_now()
    body = read_body(request, ingest_settings.webhook_max_bytes)
    return _accepted(decode_direct(body, received_at=received_at, group_by=ingest_settings.group_by))


def _accepted(decoded: Decoded) -> Response:
    """The answer after the commit. Raises StoreBusy when there was none."""
    accepted = current_service().accept_alerts(decoded.group)
    answer: dict[str, Any] = {
        "accepted": accepted.accepted,
        "duplicates": accepted.duplicates,
        "incidents": list(accepted.incidents),
    }
    if decoded.rejected:
        answer["rejected"] = list(decoded.rejected)
        _keep_rejected(decoded)
    return jsonify(answer)


def _keep_rejected(decoded: Decoded) -> None:
    """The alerts that were left out, each with its reason. The good ones are stored already, so this may fail."""
    ALERTS.labels("rejected").inc(len(decoded.rejected))
    kept = list(zip(decoded.rejected, decoded.set_aside, strict=True))[:MAX_SET_ASIDE]
    try:
        for each, alert in kept:
            save_rejected(current_service().store, request.path, each["reason"], f"alerts.{each['index']}", alert)
    except StoreBusy as err:
        log.warning("rejected alerts not kept", error=str(err))


@ingest.post("/v1/traces")
@needs("ingest")
def traces() -> Response:
    """OTLP/HTTP spans; 200 once they are durable."""
    context = current_context()
    context.service.store.live_spans.check()  # before anything is read or decoded in vain
    with context.ingest_slots.one():
        batch = decode_traces(
            _otlp_body(), request.content_type or "", context.redactor, context.service.settings.ingest.decoder
        )
        save_spans(context.service.store, batch)
        return _otlp_answer(encode_response(batch, request.content_type or ""))


@ingest.post("/v1/metrics")
@needs("ingest")
def metrics() -> Response:
    """OTLP/HTTP metric points and exemplars; 200 once they are durable."""
    context = current_context()
    with context.ingest_slots.one():
        batch = decode_metrics(
            _otlp_body(), request.content_type or "", context.redactor, context.service.settings.ingest.decoder
        )
        save_metrics(context.service.store, batch)
        return _otlp_answer(encode_response(batch, request.content_type or ""))


@ingest.post("/api/v1/write")
@needs("ingest")
def write() -> Response:
    """Prometheus remote write 1.0; 204 once the samples are durable, 400 when some could not be kept (others are)."""
    context, limit = current_context(), current_service().settings.ingest.max_body_bytes
    asked = (request.headers.get(name, "") for name in ("Content-Encoding", "X-Prometheus-Remote-Write-Version"))
    if mistake := mistake_in_headers(request.content_type or "", *asked):
        raise UnsupportedMediaType(mistake)
    with context.ingest_slots.one():
        body = read_body(request, limit, as_sent="snappy")
        if inflated_size(body) > limit:
            raise RequestEntityTooLarge(f"the body is larger than {limit} bytes")
        batch = decode_write(body, context.redactor, context.service.settings.ingest.decoder)
        save_metrics(context.service.store, batch)
    if batch.refused:
        raise DecodeError(f"all but these were stored: {reasons(batch.refused)}")  # final: Prometheus does not retry it
    return Response(status=204)


def _otlp_body() -> bytes:
    if media_type(request.content_type or "") is None:
        raise UnsupportedMediaType("send application/x-protobuf or application/json")
    return read_body(request, current_service().settings.ingest.max_body_bytes)


def _otlp_answer(body: bytes) -> Response:
    return Response(body, content_type=media_type(request.content_type or ""))


@ingest.post("/api/v1/profiles")
@needs("ingest")
def profiles() -> tuple[Response, int]:
    """A pprof file from elsewhere; 201 with its id, the same one when it is sent again."""
    context = current_context()
    service_name = required_arg("service")
    with context.ingest_slots.one():
        body = read_body(request, context.service.settings.ingest.max_body_bytes)
        stored = read_and_import(
            context.service.store,
            PARSERS,
            body,
            service=service_name,
            instance=text_arg("instance") or "",
            kind=text_arg("kind"),
            labels=label_args(),
        )
    return jsonify({"id": stored.profile_id, "duplicate": stored.duplicate}), 201
