"""`diagnose sql`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from diagnose.cli.output import Unusable, write_output
from diagnose.cli.session import Session
from diagnose.cli.tables import print_table

BINARY = ("arrow", "parquet")


def _params(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    """A value that is a JSON number, true, false or null is that; everything else is text."""
    pairs: dict[str, Any] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name:
            raise click.BadParameter("write name=value")
        try:
            read = json.loads(text)
        except ValueError:
            read = text
        pairs[name] = text if isinstance(read, str | list | dict) else read
    return pairs


@click.command()
@click.argument("text", metavar="SQL")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "arrow", "parquet"]),
    default="table",
    show_default=True,
    help="arrow is an IPC stream.",
)
@click.option("--param", "params", metavar="K=V", multiple=True, callback=_params, help="Value of $K in the query.")
@click.option("--limit", type=click.IntRange(1), help="Most rows; never above the server's own limit.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@click.pass_obj
def sql(
    session: Session,
    /,
    *,
    text: str,
    form: str,
    params: dict[str, Any],
    limit: int | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """One SELECT over the documented views; - reads it from standard input."""
    form = "json" if as_json else form
    if form in BINARY and output is None and sys.stdout.isatty():
        raise Unusable(f"{form} is not for a terminal; give -o FILE")
    if text == "-":
        text = sys.stdin.read()
    body = session.reader.sql(text, params, "json" if form == "table" else form, limit)
    if form == "table":
        _print(json.loads(body))
    else:
        write_output(body + (b"\n" if form == "json" else b""), output)


def _print(answer: dict[str, Any]) -> None:
    numbers = [
        column["name"] for column in answer["columns"] if column["type"].endswith("INT") or column["type"] == "DOUBLE"
    ]
    rows = [[_cell(value) for value in row] for row in answer["rows"]]
    print_table([column["name"] for column in answer["columns"]], rows, right=numbers)
    if answer["truncated"]:
        click.echo(f"cut after {len(rows)} rows", err=True)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
