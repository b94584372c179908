"""`diagnose explain`: why an incident was treated as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from diagnose.cli.session import Session
from diagnose.cli.tables import print_table


@click.command()
@click.argument("incident_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def explain(session: Session, /, *, incident_id: str, as_json: bool) -> None:
    """Which rule matched, what was planned, captured, skipped and why, and how long the steps took."""
    told = session.reader.explain(incident_id)
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(told)


def print_decisions(decisions: Sequence[dict[str, Any]]) -> None:
    """Also for a dry run."""
    rows = [(each["step"], each["subject"], each["outcome"], each["reason"]) for each in decisions]
    print_table(("step", "about", "decision", "why"), rows)


def _print(told: dict[str, Any]) -> None:
    click.echo(told["title"])
    for origin, count in told["traces"].items():
        click.echo(f"  {count} traces by {origin}")
    if told["decisions"]:
        click.echo("\ndecisions")
        print_decisions(told["decisions"])
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
