"""
The pages of docs/reference, written from the code they describe: settings, commands, HTTP, tables, metrics.

`python -m diagnose.cli.reference docs/reference` writes them; a test compares them with what is committed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from inspect import cleandoc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin

import click
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from diagnose.app import Service
from diagnose.cli.main import EVERYWHERE, commands_of, main
from diagnose.config import Section, Settings, StoreSettings, parse_size
from diagnose.config.shape import bare, item_type, sections_in, tag
from diagnose.config.units import format_duration, format_size
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.telemetry import REGISTRY
from diagnose.web import create_app

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=False,  # noqa: S701  Markdown; everything in it is ours
    trim_blocks=True,
    undefined=StrictUndefined,
)
VIEWS = """
SELECT view_name AS name, coalesce(comment, '') AS "text" FROM duckdb_views()
WHERE database_name = 'memory' AND NOT internal AND comment IS NOT NULL ORDER BY view_name
"""
VIEW_COLUMNS = """
SELECT duckdb_views.view_name, column_name AS name, data_type AS "type", coalesce(duckdb_columns.comment, '') AS "text"
FROM duckdb_columns() JOIN duckdb_views() ON duckdb_views.view_oid = duckdb_columns.table_oid
  AND duckdb_views.database_name = duckdb_columns.database_name
WHERE duckdb_columns.database_name = 'memory' AND NOT duckdb_views.internal AND duckdb_views.comment IS NOT NULL
ORDER BY view_name, column_index
"""
MACROS = """
SELECT function_name AS name, array_to_string(parameters, ', ') AS parameters, comment AS "text" FROM duckdb_functions()
WHERE database_name = 'memory' AND function_type IN ('macro', 'table_macro') AND comment IS NOT NULL AND NOT internal
ORDER BY function_name
"""
TYPE_NAMES = {str: "text", int: "number", bool: "true or false", timedelta: "duration", Path: "path"}
COMMON = {name.removeprefix("--").replace("-", "_") for name, *_ in EVERYWHERE}


@dataclass(frozen=True)
class Row:
    name: str
    type: str
    default: str
    text: str


@dataclass(frozen=True)
class Table:
    """The settings of one class; `title` is the path they have in the file."""

    title: str
    note: str
    rows: list[Row]


def settings_reference(kind: type[Section]) -> str:
    """One table per section, in the order of the classes."""
    return TEMPLATES.get_template("settings.md.j2").render(sections=[each for each in _tables(kind) if each.rows])


def _tables(kind: type[Section], path: str = "") -> Iterator[Table]:
    rows = [
        Row(name, _type(info.annotation, info), _default(info), _cell(info.description or ""))
        for name, info in kind.model_fields.items()
        if not sections_in(info.annotation)
    ]
    yield Table(path or "Lists at the top", _cell(kind.__dict__.get("__doc__") or "") if path else "", rows)
    for name, info in kind.model_fields.items():
        item = item_type(info.annotation)
        where = (f"{path}.{name}" if path else name) + ("[]" if item is not None else "")
        kinds = sections_in(info.annotation if item is None else item)
        for below in kinds:
            yield from _tables(below, f"{where} (type: {tag(below)})" if len(kinds) > 1 else where)


def _type(annotation: Any, info: FieldInfo) -> str:
    plain, item = bare(annotation), item_type(annotation)
    if item is not None:
        return f"list of {_type(item, info)}"
    if sections_in(annotation):
        return "sections, below"
    if get_origin(plain) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(plain))
    if get_origin(plain) is dict:
        return "map"
    return "size" if _is_size(info) else TYPE_NAMES[plain]


def _default(info: FieldInfo) -> str:
    value = info.default
    if info.is_required():
        return "required"
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        return "<br>".join(f"`{_cell(_text(each))}`" for each in value)
    return f"`{format_size(value) if _is_size(info) else _text(value)}`"


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Section):
        given = value.model_dump(mode="json", exclude_unset=True)
        return yaml.safe_dump(given, default_flow_style=True, sort_keys=False, width=1000).strip()
    return str(value)


def _is_size(info: FieldInfo) -> bool:
    return any(isinstance(each, BeforeValidator) and each.func is parse_size for each in info.metadata)


def _cell(text: str) -> str:
    """One line, and nothing that would end the cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def cli_reference() -> str:
    """Every command with click's own usage and help."""
    commands = [_command(name, command) for name, command in commands_of(main, click.Context(main))]
    return TEMPLATES.get_template("cli.md.j2").render(commands=commands)


def _command(name: str, command: click.Command) -> dict[str, Any]:
    ctx = click.Context(command, info_name=f"diagnose {name}")
    own = [each for each in command.params if isinstance(each, click.Option) and each.name not in COMMON]
    records = [record for option in own if (record := option.get_help_record(ctx))]
    return {
        "name": ctx.info_name,
        "usage": f"{ctx.info_name} {' '.join(command.collect_usage_pieces(ctx))}",
        "text": cleandoc(command.help or ""),
        "options": [(_cell(option), _cell(text)) for option, text in records],
    }


def schema_reference() -> str:
    """Every view with its columns and an example, and every macro that has a comment, from an empty database."""
    with TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        views = store.rows(VIEWS)
        columns = store.rows(VIEW_COLUMNS)
        macros = store.rows(MACROS)
    shown = [
        {**view, "columns": [_cells(column) for column in columns if column["view_name"] == view["name"]]}
        for view in views
    ]
    cells = [_cells(each) for each in macros]
    return TEMPLATES.get_template("schema.md.j2").render(views=shown, macros=cells, examples=schema_examples())


def schema_examples() -> dict[str, str]:
    """SQL by the name of the view it is an example for; `macros` are statements, one a line."""
    return load_queries("schema_examples", Path(__file__).parent / "templates")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {name: _cell(text or "") for name, text in row.items()}


def http_reference() -> str:
    """Every endpoint with what its view says."""
    with TemporaryDirectory() as folder:
        service = Service(Settings(store=StoreSettings(path=Path(folder))))  # not started
        app = create_app(service, service.settings)
        service.store.close()
    endpoints = [
        {
            "methods": " ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})),
            "path": _path(rule.rule),
            "role": getattr(app.view_functions[rule.endpoint], "role", "admin") or "none",
            "text": _cell(cleandoc(app.view_functions[rule.endpoint].__doc__ or "")),
        }
        for rule in app.url_map.iter_rules()
    ]
    return TEMPLATES.get_template("http.md.j2").render(endpoints=endpoints)


def _path(rule: str) -> str:
    """`/x/<any(a, b):form>/<id>` → `/x/{form: a, b}/{id}`."""
    return re.sub(r"<(?:any\(([^)]*)\):)?(\w+)>", lambda m: f"{{{m[2]}: {m[1]}}}" if m[1] else f"{{{m[2]}}}", rule)


def metrics_reference() -> str:
    """Every metric of our own as /metrics shows it."""
    metrics = [
        {
            "name": family.name + ("_total" if family.type == "counter" else ""),
            "type": family.type,
            "text": _cell(family.documentation),
        }
        for family in REGISTRY.collect()
    ]
    return TEMPLATES.get_template("metrics.md.j2").render(metrics=metrics)


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_reference(Settings), encoding="utf-8")
    (folder / "cli.md").write_text(cli_reference(), encoding="utf-8")
    (folder / "schema.md").write_text(schema_reference(), encoding="utf-8")
    (folder / "http.md").write_text(http_reference(), encoding="utf-8")
    (folder / "metrics.md").write_text(metrics_reference(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
