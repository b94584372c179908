"""Where answers go."""

from __future__ import annotations

from pathlib import Path

import click


class Unusable(click.ClickException):
    """The argument cannot be used: exit code 2, like every mistake in how a command is called."""

    exit_code = 2


def write_output(body: bytes, output: Path | None) -> None:
    """To *output*, or to standard output. Raises Unusable when the file cannot be written."""
    if output is None:
        click.echo(body, nl=False)
        return
    try:
        output.write_bytes(body)
    except OSError as err:
        raise Unusable(f"{output}: {err.strerror}") from err


def read_input(file: Path) -> bytes:
    """Raises Unusable."""
    try:
        return file.read_bytes()
    except OSError as err:
        raise Unusable(f"{file}: {err.strerror}") from err
