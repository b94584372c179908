"""`incidents`, `report` and `export`: what was found out, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from diagnose.cli.output import write_output
from diagnose.cli.session import Session
from diagnose.cli.tables import print_table

as_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write; default: standard output."
)


@click.group()
def incidents() -> None:
    """List, show, close, merge, split and annotate incidents."""


@incidents.command("list")
@click.option("--status", type=click.Choice(["open", "resolved"]), help="Only these.")
@click.option("--service", metavar="NAME", help="Only those of this service.")
@click.option("--since", metavar="TIME", help="Started since then: 2026-11-24T10:00:00Z, or a duration such as 2h.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Newest first, so many.")
@as_json
@click.pass_obj
def list_command(session: Session, /, *, as_json: bool, **asked: Any) -> None:
    """Incidents, newest first."""
    found = session.reader.incidents(**asked)
    if as_json:
        click.echo(json.dumps({"incidents": found}))
        return
    if not found:
        click.echo("no incidents", err=True)
        return
    rows = [
        (
            each["id"],
            each["status"],
            each["service"],
            _minute(each["started_at"]),
            each["title"],
            each["verdict"] or "-",
        )
        for each in found
    ]
    print_table(("id", "status", "service", "started", "title", "cause"), rows)


@incidents.command("show")
@click.argument("incident_id", metavar="ID")
@as_json
@click.pass_obj
def show_command(session: Session, /, *, incident_id: str, as_json: bool) -> None:
    """One incident: alerts, findings, traces, captures, timeline."""
    found = session.reader.incident(incident_id)
    if as_json:
        click.echo(json.dumps(found))
        return
    ended = _minute(found["ended_at"]) if found["ended_at"] else "now"
    click.echo(f"{found['title']}\n{found['status']}, {found['service']}, {_minute(found['started_at'])} – {ended}\n")
    for finding in found["findings"]:
        click.echo(f"{finding['rank']}. {finding['statement']} ({finding['confidence']})")
    _section(
        "alerts",
        ("alert", "status", "started", "episode"),
        [
            (
                each["alertname"],
                f"{each['status']}, {each['suppressed']}" if each["suppressed"] else each["status"],
                _minute(each["starts_at"]),
                each["episode_id"],
            )
            for each in found["alerts"]
        ],
    )
    _section(
        "traces",
        ("trace", "found by", "confidence"),
        [(each["trace_id"], each["found_by"], f"{each['confidence']:.2f}") for each in found["traces"]],
    )
    _section(
        "captures",
        ("kind", "instance", "status", "profile", "reason"),
        [
            (
                each["kind"],
                each["service_instance_id"],
                each["status"],
                each["profile_id"] or "-",
                each["reason"] or "-",
            )
            for each in found["captures"]
        ],
    )
    _section("timeline", ("at", "what"), [(_second(each["at"]), each["text"]) for each in found["timeline"]])


def _section(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        print_table(head, rows)


@incidents.command("close")
@click.argument("incident_id", metavar="ID")
@click.option("--reason", metavar="TEXT", default="closed by hand", show_default=True, help="Why, for the timeline.")
@click.pass_obj
def close_command(session: Session, /, *, incident_id: str, reason: str) -> None:
    """End an incident whose alerts never will, as when they were silenced."""
    session.api.post_json(f"/api/v1/incidents/{incident_id}/close", {"reason": reason})


@incidents.command("merge")
@click.argument("incident_id", metavar="ID")
@click.argument("others", metavar="OTHER…", nargs=-1, required=True)
@click.pass_obj
def merge_command(session: Session, /, *, incident_id: str, others: tuple[str, ...]) -> None:
    """Move the alerts, captures and traces of OTHER incidents into this one."""
    session.api.post_json(f"/api/v1/incidents/{incident_id}/merge", {"from": list(others)})


@incidents.command("split")
@click.argument("incident_id", metavar="ID")
@click.argument("episodes", metavar="EPISODE…", nargs=-1, required=True)
@click.pass_obj
def split_command(session: Session, /, *, incident_id: str, episodes: tuple[str, ...]) -> None:
    """Give some alerts an incident of their own and print its id; `incidents show` names the episodes."""
    click.echo(session.api.post_json(f"/api/v1/incidents/{incident_id}/split", {"episodes": list(episodes)})["id"])


@incidents.command("note")
@click.argument("incident_id", metavar="ID")
@click.argument("text", metavar="TEXT")
@click.pass_obj
def note_command(session: Session, /, *, incident_id: str, text: str) -> None:
    """Put a line into the timeline."""
    session.api.post_json(f"/api/v1/incidents/{incident_id}/notes", {"text": text})


@click.command()
@click.argument("incident_id", metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json"]),
    default="md",
    show_default=True,
    help="What to print.",
)
@click.option("--revision", type=click.IntRange(1), help="Default: the newest.")
@output
@click.pass_obj
def report(session: Session, /, *, incident_id: str, form: str, revision: int | None, output: Path | None) -> None:
    """The report of an incident, as it was delivered."""
    write_output(session.reader.report(incident_id, form, revision), output)


@click.command()
@click.argument("incident_id", metavar="ID")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The DuckDB file to write."
)
@click.pass_obj
def export(session: Session, /, *, incident_id: str, output: Path) -> None:
    """All rows of an incident as one DuckDB file, with the documented views and macros inside."""
    session.reader.export(incident_id, output)
    click.echo(f"wrote {output}", err=True)


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")


def _second(at: str) -> str:
    return at[:19].replace("T", " ")
