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
from diagnose.query.question import Question
from diagnose.query.saved import saved_queries

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
@click.argument("text", metavar="[SQL]", required=False)
@click.option("--saved", metavar="NAME", help="The saved query of that name instead.")
@click.option("--list", "is_list", is_flag=True, help="The saved queries, in the order they are asked on call.")
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
@click.option("--fresh", is_flag=True, help="With all that is committed now, instead of up to five seconds ago.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@click.pass_obj
def sql(
    session: Session,
    /,
    *,
    text: str | None,
    saved: str | None,
    is_list: bool,
    form: str,
    params: dict[str, Any],
    limit: int | None,
    fresh: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """One SELECT over the documented views, or a saved query; - reads it from standard input."""
    form = "json" if as_json else form
    if is_list:
        _print_saved(form)
        return
    if (text is None) == (saved is None):
        raise Unusable("give either a SELECT or --saved NAME")
    if form in BINARY and output is None and sys.stdout.isatty():
        raise Unusable(f"{form} is not for a terminal; give -o FILE")
    asked = Question(
        sys.stdin.read() if text == "-" else text or "",
        params,
        saved=saved,
        form="json" if form == "table" else form,
        limit=limit,
        fresh=fresh,
    )
    body = session.reader.sql(asked)
    if form == "table":
        print_answer(json.loads(body))
    else:
        write_output(body + (b"\n" if form == "json" else b""), output)


def _print_saved(form: str) -> None:
    found = saved_queries().values()
    if form == "json":
        click.echo(json.dumps({"queries": [query.as_json() for query in found]}))
        return
    rows = [
        (query.name, query.question, " ".join(f"--param {each.name}=" for each in query.parameters)) for query in found
    ]
    print_table(("name", "question", "parameters"), rows)


def print_answer(answer: dict[str, Any]) -> None:
    """A table as people read it."""
    numbers = [
        column["name"] for column in answer["columns"] if column["type"].endswith("INT") or column["type"] == "DOUBLE"
    ]
    rows = [[_cell(value) for value in row] for row in answer["rows"]]
    print_table([column["name"] for column in answer["columns"]], rows, right=numbers)
    if answer["truncated"]:
        click.echo(f"cut after {len(rows)} rows", err=True)


def _cell(value: Any) -> str:
    """On one line."""
    if value is None:
        return "NULL"
    return " ".join(value.splitlines()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
