"""
`GET /openapi.json`: every route of the application, from the application itself.

Paths, methods, roles and sentences come from the routes and their docstrings; what Python does not say (query
parameters, bodies, answers) stands in the tables below, by endpoint. A test holds both against each other.
"""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

import diagnose
from diagnose.web.openapi_shapes import ACCEPTED, ANSWERS, BODIES, ERROR, PARAMETERS, QUERY, TEXT
from diagnose.web.security import needs
from diagnose.web.shapes import answer

openapi = Blueprint("openapi", __name__)
PAGES = {"text/html": {"schema": {"type": "string"}}}
ERRORS = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
BUSY = "Not now: too much at once, or nothing can be made durable; Retry-After says when to come back."


@openapi.get("/openapi.json")
@needs(None)
def description() -> Response:
    """This description."""
    return answer(describe(current_app))


def describe(app: Flask) -> dict[str, Any]:
    """The document, version 3.1. Requests for HEAD and OPTIONS are what HTTP makes of the others and left out."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path_of(rule), {})[method.lower()] = _operation(app, rule, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "diagnose", "version": diagnose.__version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR, "Accepted": ACCEPTED},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "user": {"type": "http", "scheme": "basic"},
            },
        },
    }


def path_of(rule: Rule) -> str:
    """`/x/<any(a, b):form>/<id>` → `/x/{form}/{id}`."""
    return re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule.rule)


def _operation(app: Flask, rule: Rule, method: str) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    role = getattr(view, "role", "admin")
    says = cleandoc(view.__doc__ or "")
    found: dict[str, Any] = {
        "operationId": f"{rule.endpoint}.{method.lower()}",
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": says.partition("\n")[0],
        "description": f"{says}\n\nRole: {role or 'none'}.",
        "parameters": [*_path_parameters(rule), *_query_parameters(rule.endpoint)],
        "responses": _responses(rule.endpoint),
        "security": [{}, {"token": []}, {"user": []}] if role else [{}],
    }
    if rule.endpoint in BODIES:
        found["requestBody"] = BODIES[rule.endpoint]
    return found


def _path_parameters(rule: Rule) -> list[dict[str, Any]]:
    choices = dict(re.findall(r"<any\(([^)]*)\):(\w+)>", rule.rule))
    named = {name: text for text, name in choices.items()}
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(named.get(name))}
        for name in re.findall(r"(\w+)>", rule.rule)
    ]


def _path_schema(choices: str | None) -> dict[str, Any]:
    if choices is None:
        return {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
    return {"type": "string", "enum": [each.strip() for each in choices.split(",")]}


def _query_parameters(endpoint: str) -> list[dict[str, Any]]:
    """A name that ends in ! is required."""
    return [
        {
            "name": name.rstrip("!"),
            "in": "query",
            "required": name.endswith("!"),
            "schema": PARAMETERS.get(name.rstrip("!"), TEXT),
        }
        for name in QUERY.get(endpoint, "").split()
    ]


def _responses(endpoint: str) -> dict[str, Any]:
    errors = PAGES if endpoint.startswith("pages.") else ERRORS
    good = ANSWERS.get(endpoint, {"200": {"application/json": {"schema": {"type": "object"}}}})
    return {
        "4XX": {"description": "The request is wrong or not allowed; says why.", "content": errors},
        "503": {"description": BUSY, "content": errors, "headers": {"Retry-After": {"schema": {"type": "integer"}}}},
        **{status: {"description": "As asked.", "content": media} for status, media in good.items()},
    }
