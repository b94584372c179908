"""What a route takes and answers, by endpoint, in the words of OpenAPI 3.1; the routes know nothing of it."""

from __future__ import annotations

from typing import Any

from diagnose.kinds import PROFILE_KINDS

Schema = dict[str, Any]
Media = dict[str, Any]

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "description": "RFC 3339, or a duration that long ago: `1h`."}
YES_NO: Schema = {"type": "string", "enum": ["true", "false"]}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
IDS: Schema = {"type": "array", "items": {"type": "string"}}

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": TEXT, "message": TEXT, "field": TEXT},
        }
    },
}
ACCEPTED: Schema = {
    "type": "object",
    "required": ["accepted", "duplicates", "incidents"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "duplicates": {"type": "integer", "minimum": 0},
        "incidents": IDS,
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "reason"],
                "properties": {"index": {"type": "integer"}, "reason": TEXT},
            },
        },
    },
}

# --- query parameters: those of an endpoint, then what each may be; a name with ! is required

SELECTION = "service instance kind since until"
BASE = "base base_service base_instance base_kind base_since base_until"
SAMPLES = "trace_id span_id focus"
QUERY: dict[str, str] = {
    "api.incidents": "status service since limit cursor",
    "api.report": "revision",
    "api.traces": "service! since until min_duration error route limit",
    "ingest.profiles": "service! instance kind",
    "pages.index": "status service cursor",
    "pages.incident": "revision",
    "pages.console": "q saved",
    "profiles.listing": f"{SELECTION} limit",
    "profiles.functions": f"value by n {SAMPLES}",
    "profiles.merged_functions": f"profile {SELECTION} value by n {SAMPLES}",
    "profiles.flamegraph": f"profile {SELECTION} {BASE} value lines format {SAMPLES}",
    "profiles.difference": f"new {SELECTION} {BASE} value relative by n {SAMPLES}",
}
PARAMETERS: dict[str, Schema] = {
    "since": TIME,
    "until": TIME,
    "base_since": TIME,
    "base_until": TIME,
    "status": {"type": "string", "enum": ["open", "resolved"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 500},
    "revision": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    "min_duration": {"type": "string", "description": "A duration: `250ms`."},
    "error": YES_NO,
    "lines": YES_NO,
    "relative": YES_NO,
    "by": {"type": "string", "enum": ["flat", "cum"]},
    "n": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    "format": {"type": "string", "enum": ["json", "html"]},
}


# --- bodies


def _json(schema: Schema, *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _bytes(*content_types: str) -> dict[str, Any]:
    return {
        "required": True,
        "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in content_types},
    }


def _object(required: str = "", /, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


ALERT = _object(
    "labels startsAt",
    labels=LABELS,
    annotations=LABELS,
    startsAt={"type": "string", "format": "date-time"},
    endsAt={"type": "string", "format": "date-time"},
    generatorURL=TEXT,
)
WEBHOOK = _object(
    "version groupKey receiver status alerts",
    version={"type": "string", "enum": ["4", "1"]},
    groupKey=TEXT,
    receiver=TEXT,
    status={"type": "string", "enum": ["firing", "resolved"]},
    truncatedAlerts={"type": "integer", "minimum": 0},
    alerts={
        "type": "array",
        "items": ALERT | {"properties": ALERT["properties"] | {"status": TEXT, "fingerprint": TEXT}},
    },
)
WANTED: dict[str, Schema] = {
    "kinds": {"type": "array", "items": {"type": "string", "enum": list(PROFILE_KINDS)}},
    "seconds": {"type": "integer", "minimum": 1, "maximum": 300},
}
SQL_QUESTION = _object(
    sql=TEXT,
    saved=TEXT,
    params={"type": "object"},
    format={"type": "string", "enum": ["json", "csv", "arrow", "parquet"]},
    limit={"type": "integer", "minimum": 1},
    fresh={"type": "boolean"},
)
BODIES: dict[str, dict[str, Any]] = {
    "ingest.webhook": _json(WEBHOOK),
    "api.simulate": _json(WEBHOOK),
    "ingest.direct_alerts": _json({"type": "array", "items": ALERT}),
    "ingest.traces": _bytes("application/x-protobuf", "application/json"),
    "ingest.metrics": _bytes("application/x-protobuf", "application/json"),
    "ingest.write": _bytes("application/x-protobuf"),
    "ingest.profiles": _bytes("application/octet-stream"),
    "api.close": _json(_object(reason=TEXT), required=False),
    "api.note": _json(_object("text", text=TEXT)),
    "api.merge": _json(_object("from", **{"from": IDS})),
    "api.split": _json(_object("episodes", episodes=IDS)),
    "captures.capture": _json(_object("", **WANTED), required=False),
    "captures.capture_targets": _json(
        _object("", target=TEXT, match=LABELS, instances={"type": "integer", "minimum": 1, "maximum": 50}, **WANTED)
    ),
    "sql.query": _json(SQL_QUESTION),
}

# --- answers: status → media; what is not here answers 200 with a JSON object

OBJECT: Media = {"application/json": {"schema": {"type": "object"}}}
PAGE: Media = {"text/html": {"schema": TEXT}}
ACCEPTED_JSON: Media = {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}


def _list_of(name: str, **more: Schema) -> Media:
    items = {"type": "array", "items": {"type": "object"}}
    return {"application/json": {"schema": _object(name, **{name: items}, **more)}}


def _file(*content_types: str) -> Media:
    return {each: {"schema": {"type": "string", "format": "binary"}} for each in content_types}


ANSWERS: dict[str, dict[str, Media]] = {
    "ingest.webhook": {"202": ACCEPTED_JSON},
    "ingest.direct_alerts": {"200": ACCEPTED_JSON},
    "ingest.traces": {"200": _file("application/x-protobuf", "application/json")},
    "ingest.metrics": {"200": _file("application/x-protobuf", "application/json")},
    "ingest.write": {"204": {}},
    "ingest.profiles": {
        "201": {"application/json": {"schema": _object("id duplicate", id=TEXT, duplicate={"type": "boolean"})}}
    },
    "api.incidents": {"200": _list_of("incidents", next={"type": ["string", "null"]})},
    "api.simulate": {"200": _list_of("alerts")},
    "api.report": {"200": _file("text/html", "text/markdown", "application/json")},
    "api.incident_database": {"200": _file("application/vnd.duckdb")},
    "api.split": {"201": OBJECT},
    "api.note": {"201": OBJECT},
    "api.traces": {"200": _list_of("traces")},
    "captures.capture": {"202": OBJECT},
    "captures.capture_targets": {"202": OBJECT},
    "captures.artefact": {"200": _file("application/octet-stream")},
    "profiles.listing": {"200": _list_of("profiles")},
    "profiles.body": {"200": _file("application/octet-stream")},
    "profiles.flamegraph": {"200": OBJECT | PAGE},
    "sql.queries": {"200": _list_of("queries")},
    "sql.query": {
        "200": OBJECT | _file("text/csv", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"),
        "504": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    },
    "upkeep.spool": {"200": _list_of("spooled")},
    "health.readyz": {"200": OBJECT, "503": OBJECT},
    "health.metrics": {"200": _file("text/plain", "application/openmetrics-text")},
    "pages.index": {"200": PAGE},
    "pages.incident": {"200": PAGE},
    "pages.console": {"200": PAGE},
}
