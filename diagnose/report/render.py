"""
A report → one self-contained HTML page, Markdown to paste into an issue, or report.json.

Whatever came from outside is escaped where it is written: HTML by autoescape, Markdown by `text.plain_md` and
`text.code_md`, scripts by `flamegraph.to_json`; the page's own policy lets only the two scripts in it run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diagnose import __version__
from diagnose.model import Note, rfc3339
from diagnose.pprof.units import format_value
from diagnose.report import flamegraph, text
from diagnose.report.chart import draw
from diagnose.report.shape import SCHEMA_VERSION, Chart, Flame, Report
from diagnose.store.reports import finding_shape

HERE = Path(__file__).parent
WIDE, NARROW = (1080, 200), (360, 190)
MARKDOWN_LINES = 60
STEPS = {
    "webhook_to_ack": "answer",
    "webhook_to_first_exemplar": "first exemplar",
    "webhook_to_first_capture_request": "first byte asked of the target",
    "webhook_to_first_report": "first report",
    "webhook_to_cpu_report": "report with CPU profile",
}
PROFILE_NAMES = {
    "cpu": "CPU",
    "wall": "Wall clock",
    "heap": "Live heap",
    "allocs": "Allocations",
    "goroutine": "Goroutines",
    "goroutineleak": "Leaked goroutines",
    "mutex": "Lock wait caused",
    "block": "Blocked time",
}
FOUND_BY = {
    "label": "label of the alert",
    "exemplar": "exemplar",
    "span_search": "span search",
    "profile_label": "label in the profile",
}


def render_html(report: Report) -> str:
    """One file that opens from a folder with the network off."""
    scripts = [_script(flamegraph.script()), _script(_static("report.js"))]
    return _HTML.get_template("report.html.j2").render(
        **_context(report),
        style=Markup(_static("report.css")),  # noqa: S704  our own file
        flame_style=flamegraph.style(),
        scripts=scripts,
        script_hashes=Markup(" ".join(_hash(script) for script in scripts)),  # noqa: S704  base64 of our own files
        wide_chart=draw(report.chart, *WIDE) if report.chart else None,
        narrow_chart=draw(report.chart, *NARROW) if report.chart else None,
        timings=[(STEPS[step], ms) for step, ms in report.timings_ms.items() if step in STEPS],
    )


def render_markdown(report: Report) -> str:
    """At most MARKDOWN_LINES lines."""
    rendered = _MARKDOWN.get_template("report.md.j2").render(**_context(report))
    lines: list[str] = []
    for line in rendered.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    if len(lines) > MARKDOWN_LINES:
        lines = [*lines[: MARKDOWN_LINES - 1], f"… the rest is in [the report]({report.url})."]
    return "\n".join(lines) + "\n"


def render_json(report: Report) -> str:
    """report.json (docs/reference): the incident as the API has it, the findings, what the page shows in numbers."""
    findings = [{**finding_shape(each), "rank": rank} for rank, each in enumerate(report.findings, start=1)]
    content = {
        "schema_version": SCHEMA_VERSION,
        "incident": {**report.detail, "findings": findings},
        "revision": report.revision,
        "reason": report.reason,
        "created_at": report.created_at,
        "url": report.url,
        "verdict": findings[0] if findings else None,
        "findings": findings,
        "ruled_out": [_note(each) for each in report.ruled_out],
        "missing_evidence": [_note(each) for each in report.missing],
        "timings_ms": {step: report.timings_ms.get(step) for step in STEPS},
        "headline": [asdict(each) for each in report.headline],
        "traces": [asdict(each) for each in report.traces],
        "instances": [asdict(each) for each in report.instances],
        "captures": [asdict(each) for each in report.captures],
        "profiles": [_flame(each) for each in report.flames],
        "chart": _chart(report.chart) if report.chart else None,
    }
    return json.dumps(_plain(content), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _context(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "incident": report.incident,
        "alerts": report.alerts,
        "verdict": report.verdict,
        "version": __version__,
        "schema_version": SCHEMA_VERSION,
    }


def _note(note: Note) -> dict[str, Any]:
    return {name: value for name, value in asdict(note).items() if value}


def _flame(flame: Flame) -> dict[str, Any]:
    """Without the call tree: that is in the stored profile."""
    fields = asdict(flame)
    del fields["data"]
    return fields


def _chart(chart: Chart) -> dict[str, Any]:
    fields = asdict(chart)
    del fields["marks"]
    return fields


def _plain(value: Any) -> Any:
    """*value* as JSON has it: times as RFC 3339, and null for a number that is none."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _script(source: str) -> Markup:
    """With the newlines an HTML parser would see, which is what the hash is taken of."""
    return Markup(source.replace("\r\n", "\n"))  # noqa: S704  our own files


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _static(name: str) -> str:
    return (HERE / "static" / name).read_text(encoding="utf-8")


# ---- what the templates call


def _lasted(report: Report) -> str:
    end = report.incident.ended_at or report.created_at
    return text.duration(round((end - report.incident.started_at).total_seconds()) * 1e9)


def _sick_instances(report: Report) -> list[str]:
    return [row.instance for row in report.instances if row.role == "sick"]


def _about(report: Report, word: str) -> Note | None:
    """The first missing piece of evidence that is about *word*."""
    return next((note for note in report.missing if word in note.statement.lower()), None)


def _captures_line(report: Report) -> str:
    if not report.captures:
        return "No profile was taken."
    done = [row for row in report.captures if row.status == "done"]
    line = f"{len(done)} of {len(report.captures)} profiles taken"
    others = [
        f"{row.kind} of {row.instance or row.target} {row.status}: {row.outcome}"
        for row in report.captures
        if row.status != "done"
    ]
    return text.plain_md("; ".join([line, *others[:3]])) + "."


def _percent_of(value: float, full: float) -> float:
    return round(min(100.0, 100 * abs(value) / full), 2) if full else 0.0


def _short_id(trace_id: str) -> str:
    return f"{trace_id[:4]}…{trace_id[-4:]}" if len(trace_id) > 12 else trace_id


def _found_by(found_by: str, confidence: float) -> str:
    return FOUND_BY.get(found_by, found_by) + (", exact" if confidence >= 1 else "")


def _trace_link(trace_id: str, external_url: str) -> str:
    return f"{external_url.rstrip('/')}/api/v1/traces/{quote(trace_id, safe='')}"


def _profile_link(profile_id: str, external_url: str) -> str:
    return f"{external_url.rstrip('/')}/api/v1/profiles/{quote(profile_id, safe='')}"


def _export_link(report: Report) -> str:
    return f"{report.external_url.rstrip('/')}/api/v1/incidents/{report.incident.incident_id}/incident.duckdb"


def _show(value: float | None, filter_name: str) -> str:
    if value is None:  # measured before, but not this time
        return "–"
    return {"duration": text.duration, "number": text.number, "size": _size}[filter_name](value)


def _size(value: float) -> str:
    return format_value(round(value), "bytes")


def _link_md(url: str) -> str:
    """*url* inside `[…](…)`: nothing in it may end the parenthesis."""
    return quote(url, safe="%/:=?&#+,;@!$*~-._[]'")


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=html,  # noqa: S701  Markdown is escaped by its own filters
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "about": _about,
        "amount": text.amount,
        "clock": text.clock,
        "day": text.day,
        "duration": text.duration,
        "export_link": _export_link,
        "found_by": _found_by,
        "captures_line": _captures_line,
        "kind_name": text.kind_name,
        "lasted": _lasted,
        "milliseconds": text.milliseconds,
        "percent_of": _percent_of,
        "period": text.period,
        "profile_link": _profile_link,
        "profile_name": lambda kind: PROFILE_NAMES.get(kind, kind),
        "prose": text.prose if html else text.prose_md,
        "share": text.share,
        "short_id": _short_id,
        "show": _show,
        "sick_instances": _sick_instances,
        "size": _size,
        "sql_link": lambda sql, external_url: text.sql_link(external_url, sql),
        "to_json": flamegraph.to_json,
        "trace_link": _trace_link,
        "why": text.why,
        "abs": abs,
        "code": text.code_md,
        "cell": text.cell_md,
        "plain": text.plain_md,
        "link": _link_md,
    }
    return environment


_HTML = _environment(html=True)
_MARKDOWN = _environment(html=False)
