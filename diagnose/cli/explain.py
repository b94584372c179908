"""`diagnose explain`: why an incident was treated as it was."""

from __future__ import annotations

import json
from typing import Any

import click

from diagnose.cli.session import Session
from diagnose.cli.tables import print_table
from diagnose.config import Settings
from diagnose.errors import NotFound
from diagnose.receive.grouping import matching_rule


@click.command()
@click.argument("incident_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def explain(session: Session, /, *, incident_id: str, as_json: bool) -> None:
    """Which rule matched, what was captured, skipped and why, and how long the steps took."""
    detail = session.reader.incident(incident_id)
    told = {
        "id": detail["id"],
        "title": detail["title"],
        "rules": [] if session.named_server else _rules(session.settings, detail["alerts"]),
        "captures": detail["captures"],
        "traces": _by_origin(detail["traces"]),
        "timings_ms": _timings(session, incident_id),
    }
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(told)


def _rules(settings: Settings, alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the settings as they are now; those of another machine's server are not known here."""
    found = []
    for alert in alerts:
        rule = matching_rule(alert["labels"], settings)
        number = settings.rules.index(rule) + 1 if rule else None
        found.append({"alertname": alert["alertname"], "rule": number, "matchers": rule.matchers if rule else []})
    return found


def _by_origin(traces: list[dict[str, Any]]) -> dict[str, int]:
    origins = [str(trace["found_by"]) for trace in traces]
    return {origin: origins.count(origin) for origin in sorted(set(origins))}


def _timings(session: Session, incident_id: str) -> dict[str, float]:
    try:
        report = json.loads(session.reader.report(incident_id, "json", None))
    except NotFound:  # the first one is not written yet
        return {}
    return {step: ms for step, ms in report.get("timings_ms", {}).items() if ms is not None}


def _print(told: dict[str, Any]) -> None:
    click.echo(told["title"])
    for each in told["rules"]:
        which = f"rule {each['rule']} ({', '.join(each['matchers']) or 'everything'})" if each["rule"] else "no rule"
        click.echo(f"  {each['alertname']}: {which}")
    for origin, count in told["traces"].items():
        click.echo(f"  {count} traces by {origin}")
    if told["captures"]:
        click.echo("\ncaptures")
        rows = [
            (
                each["target"],
                each["service_instance_id"],
                each["kind"],
                each["trigger"],
                each["status"],
                each["reason"] or "-",
            )
            for each in told["captures"]
        ]
        print_table(("target", "instance", "kind", "trigger", "status", "why"), rows)
    if told["timings_ms"]:
        click.echo("\nafter the webhook")
        rows_ms = [
            (step.removeprefix("webhook_to_").replace("_", " "), f"{ms:,.0f} ms")
            for step, ms in told["timings_ms"].items()
        ]
        print_table(("step", "time"), rows_ms, right=("time",))
