"""
All listeners of the service, started and stopped together.

    server.listen       everything
    ingest.otlp_http    /v1/traces and /v1/metrics only, for senders that shall reach nothing else
    ingest.otlp_grpc    the same over gRPC
"""

from __future__ import annotations

from flask import Flask, abort, request

from diagnose.config import Settings
from diagnose.web import create_app
from diagnose.web.context import Context
from diagnose.web.otlp_grpc import GrpcServer
from diagnose.web.server import HttpServer
from diagnose.web.service import Service

OTLP_PATHS = frozenset({"/v1/traces", "/v1/metrics"})


class Listeners:
    """`start` binds all of them or none."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        context = Context.of(service)
        self._all = HttpServer(create_app(service, settings, context), settings)
        self._otlp_http: HttpServer | None = None
        self._otlp_grpc: GrpcServer | None = None
        if settings.ingest.otlp_http:
            app = _otlp_only(create_app(service, settings, context))
            self._otlp_http = HttpServer(app, settings, listen=settings.ingest.otlp_http, setting="ingest.otlp_http")
        if settings.ingest.otlp_grpc:
            self._otlp_grpc = GrpcServer(context, settings, settings.ingest.otlp_grpc)

    def start(self) -> None:
        """Raises ConfigError, which names the setting, when an address cannot be had."""
        self._all.start()
        for each in (self._otlp_http, self._otlp_grpc):
            if each is not None:
                each.start()

    def use(self, settings: Settings) -> None:
        """Answer the next requests by other settings; addresses stay."""
        context = Context.of(self._service)
        self._all.use(create_app(self._service, settings, context))
        if self._otlp_http is not None:
            self._otlp_http.use(_otlp_only(create_app(self._service, settings, context)))
        if self._otlp_grpc is not None:
            self._otlp_grpc.use(context, settings)

    def stop(self) -> None:
        """No new requests; running ones may end. Calling it twice, or before `start`, is harmless."""
        for each in (self._otlp_grpc, self._otlp_http, self._all):
            if each is not None:
                each.stop()


def _otlp_only(app: Flask) -> Flask:
    def check() -> None:
        if request.path not in OTLP_PATHS:
            abort(404)

    app.before_request_funcs.setdefault(None, []).insert(0, check)
    return app
