"""`diagnose spool`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from diagnose.cli.output import Unusable
from diagnose.cli.session import Session
from diagnose.cli.tables import print_table
from diagnose.errors import DiagnoseError


@click.group()
def spool() -> None:
    """Telemetry that was put aside because the database broke on it."""


@spool.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def list_(session: Session, /, *, as_json: bool) -> None:
    """What was put aside, when and why."""
    found = session.api.get_json("/api/v1/spool")
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [[each["name"], each["at"], str(each["rows"]), each["reason"]] for each in found["spooled"]]
    print_table(["name", "at", "rows", "reason"], rows, right=["rows"])


@spool.command()
@click.argument("names", metavar="NAME", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that was put aside.")
@click.pass_context
def replay(ctx: click.Context, /, *, names: Sequence[str], everything: bool) -> None:
    """
    Store it after all, as after an upgrade of the database.

    What cannot be stored stays; then the exit code is 1.
    """
    if bool(names) == everything:
        raise Unusable("give names or --all")
    session: Session = ctx.obj
    if everything:
        names = [each["name"] for each in session.api.get_json("/api/v1/spool")["spooled"]]
    failed = False
    for name in names:
        try:
            session.api.post_json(f"/api/v1/spool/{name}/replay", {})
            click.echo(f"{name} stored")
        except DiagnoseError as err:
            failed = True
            click.echo(f"{name}: {err}", err=True)
    ctx.exit(1 if failed else 0)
