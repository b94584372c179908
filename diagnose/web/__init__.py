"""
HTTP in and out; no logic.

    ingest     alerts, OTLP, profiles            api, captures, profiles, sql    the JSON API
    pages      what people look at               health                /healthz, /readyz, /metrics
    security   who may ask what                  bodies                request bodies under a cap
    errors     what was raised → an answer       server, connections   the listener
    lanes      how many of a kind at once
"""

from __future__ import annotations

from flask import Flask
from jinja2 import StrictUndefined

from diagnose.config import Settings
from diagnose.web import errors
from diagnose.web.api import api
from diagnose.web.captures import captures
from diagnose.web.context import EXTENSION, Context
from diagnose.web.health import health
from diagnose.web.ingest import ingest
from diagnose.web.lanes import Lanes
from diagnose.web.openapi import openapi
from diagnose.web.pages import pages
from diagnose.web.profiles import profiles
from diagnose.web.security import Guard
from diagnose.web.service import Service
from diagnose.web.sql import sql
from diagnose.web.upkeep import upkeep

__all__ = ["Service", "create_app"]


def create_app(service: Service, settings: Settings, context: Context | None = None) -> Flask:
    """The WSGI application over a running *service*; several share what they may do at once by sharing *context*."""
    app = Flask("diagnose.web", static_folder=None)
    app.jinja_options = {"autoescape": True, "trim_blocks": True, "undefined": StrictUndefined}
    app.extensions[EXTENSION] = context or Context.of(service)
    Guard(settings).register(app)
    Lanes().register(app)
    errors.register(app)
    for blueprint in (ingest, api, captures, profiles, sql, upkeep, health, openapi, pages):
        app.register_blueprint(blueprint)
    return app
