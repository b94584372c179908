"""`diagnose retention`."""

from __future__ import annotations

import json

import click

from diagnose.cli.session import Session


@click.group()
def retention() -> None:
    """What is kept for how long (setting store.retention)."""


@retention.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def run(session: Session, /, *, as_json: bool) -> None:
    """
    Remove what is old now; the server also does it every ten minutes.

    What incidents need stays as long as they do.
    """
    removed = session.api.post_json("/api/v1/retention", {})
    if as_json:
        click.echo(json.dumps(removed))
        return
    click.echo(
        f"{removed['files']} files, {removed['profiles']} profiles and {removed['incidents']} incidents removed; "
        f"{removed['pinned_rows']} rows stay for incidents; {removed['bytes'] / 2**20:.1f} MiB in use"
    )
