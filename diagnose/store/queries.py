"""Named statements out of the .sql files: one file per subject in sql/, views and macros in views/."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load_queries(subject: str, folder: Path = HERE / "sql") -> dict[str, str]:
    """
    The statements of `<folder>/<subject>.sql` by name.

    A block starts with a line `-- name: find_open`; the comment below it is its contract and stays in the statement.
    """
    parts = _NAME.split((folder / f"{subject}.sql").read_text(encoding="utf-8"))[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
