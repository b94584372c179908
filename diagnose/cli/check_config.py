"""`diagnose check-config`."""

from __future__ import annotations

import json

import click

from diagnose.cli.session import Session
from diagnose.config import find_file, load_settings
from diagnose.errors import ConfigError


@click.command("check-config")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_context
def check_config(ctx: click.Context, /, *, as_json: bool) -> None:
    """Validate the settings and list every mistake with its line; exit code 2 on any."""
    session: Session = ctx.obj
    file = find_file(session.config_file, session.environ)
    name = str(file) if file else "the defaults"
    mistakes = []
    try:
        load_settings(file, session.environ)
    except ConfigError as err:
        mistakes = err.mistakes
    if as_json:
        click.echo(json.dumps({"file": str(file) if file else None, "mistakes": [vars(each) for each in mistakes]}))
    elif mistakes:
        click.echo(f"{name}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}", err=True)
        for each in mistakes:
            click.echo(f"  {each}", err=True)
    else:
        click.echo(f"{name}: ok")
    if mistakes:
        ctx.exit(2)
