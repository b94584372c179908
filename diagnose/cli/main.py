"""The group all commands belong to, the options all of them accept, and what errors become."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from diagnose import __version__
from diagnose.cli.session import Session, exit_code_of
from diagnose.errors import DiagnoseError

COMMANDS = {  # name → where it is; in the order `--help` lists them
    "serve": "diagnose.cli.serve:serve",
    "check-config": "diagnose.cli.check_config:check_config",
    "incidents": "diagnose.cli.incidents:incidents",
    "report": "diagnose.cli.incidents:report",
    "export": "diagnose.cli.incidents:export",
    "explain": "diagnose.cli.explain:explain",
    "simulate": "diagnose.cli.simulate:simulate",
    "capture": "diagnose.cli.capture:capture",
    "profile": "diagnose.cli.profile:profile",
    "sql": "diagnose.cli.sql:sql",
    "mcp": "diagnose.cli.mcp:mcp",
    "retention": "diagnose.cli.retention:retention",
    "spool": "diagnose.cli.spool:spool",
}
EVERYWHERE = (
    (
        "--config",
        click.Path(dir_okay=False, path_type=Path),
        "FILE",
        "Settings; default: $DIAGNOSE_CONFIG or diagnose.yaml.",
    ),
    ("--server", str, "URL", "Server to ask; default: $DIAGNOSE_URL or the one the settings describe."),
    ("--token-file", click.Path(dir_okay=False, path_type=Path), "FILE", "File with the bearer token for the server."),
)


class Commands(click.Group):
    """Loads a command when it is asked for; `profile` must not wait for the database to be imported."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        return accepting_common(getattr(import_module(module), name))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DiagnoseError as err:
            click.echo(f"Error: {err}", err=True)
            ctx.exit(exit_code_of(err))


def accepting_common(command: click.Command) -> click.Command:
    """*command*, and all below it, with the options of EVERYWHERE."""
    known = {option for parameter in command.params for option in parameter.opts}
    command.params += [
        click.Option([name], type=kind, metavar=metavar, help=text, expose_value=False, callback=_remember)
        for name, kind, metavar, text in EVERYWHERE
        if name not in known
    ]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accepting_common(below)
    return command


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Options may stand before or behind the command's name; the one behind wins."""
    if value is not None:
        ctx.meta[f"diagnose.{parameter.name}"] = value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diagnose")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Names the cause of a firing alert on a Go service."""
    session = Session(ctx.meta, os.environ)
    ctx.obj = session
    ctx.call_on_close(session.close)


accepting_common(main)


def commands_of(group: click.Group, ctx: click.Context, path: Sequence[str] = ()) -> list[tuple[str, click.Command]]:
    """Every command with its full name, depth first: what the reference is written from."""
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None:
            found.append((" ".join((*path, name)), command))
            if isinstance(command, click.Group):
                found += commands_of(command, ctx, (*path, name))
    return found
