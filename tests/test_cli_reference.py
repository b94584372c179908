from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from diagnose.cli import reference
from diagnose.cli.main import commands_of, main
from diagnose.config import Settings
from diagnose.config.shape import item_type, sections_in

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


@pytest.mark.parametrize("name", ["settings", "cli", "schema", "http", "metrics"])
def test_the_reference_is_what_the_code_says(name, tmp_path):
    """`make docs` writes it again."""
    reference.write(tmp_path)

    assert (REFERENCE / f"{name}.md").read_text() == (tmp_path / f"{name}.md").read_text()


def test_every_setting_says_what_it_is():
    def unsaid(kind, path):
        for name, info in kind.model_fields.items():
            below = sections_in(item_type(info.annotation) or info.annotation)
            if not below and not info.description and name != "type":
                yield f"{path}.{name}"
            for each in below:
                yield from unsaid(each, f"{path}.{name}")

    assert [] == list(unsaid(Settings, ""))


def test_the_settings_reference_shows_type_unit_and_default():
    text = reference.settings_reference(Settings)

    assert "| `max_bytes` | size | `20GiB` |" in text
    assert "| `quiet` | duration | `15m` |" in text
    assert "| `type` | `webhook` | required |" in text
    assert "## sinks[] (type: file)" in text


def test_every_command_and_option_has_a_help_text():
    for name, command in commands_of(main, click.Context(main)):
        assert command.help, name
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, f"{name} {parameter.name}"


def test_every_command_is_in_the_reference():
    text = reference.cli_reference()

    for name, _ in commands_of(main, click.Context(main)):
        assert re.search(rf"^## diagnose {name}$", text, re.MULTILINE)


def test_every_column_of_every_view_says_what_it_is():
    rows = re.findall(r"^\| `.*$", reference.schema_reference(), re.MULTILINE)

    assert rows
    assert [] == [row for row in rows if re.search(r"\|\s*\|$", row)]
