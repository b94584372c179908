"""
What a capture brought that is no profile: files as they came, `artefacts/<capture>.trace` in the data directory.

No table has them and no query reads them; `go tool trace` does.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from diagnose.errors import NotFound, StoreError
from diagnose.store.db import Store

FOLDER = "artefacts"
SUFFIX = ".trace"
_NAME = re.compile(r"[a-z0-9-]+")


def save_artefact(store: Store, capture_id: str, body: bytes) -> Path:
    """Returns when the file has its name. Raises StoreError."""
    file = _file(store, capture_id)
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(exist_ok=True)
        part.write_bytes(body)
        part.replace(file)
    except OSError as err:
        raise StoreError(f"{file} cannot be written: {err.strerror}") from err
    return file


def find_artefact(store: Store, capture_id: str) -> Path:
    """Raises NotFound."""
    file = _file(store, capture_id)
    if not file.is_file():
        raise NotFound(f"capture {capture_id!r} has no file")
    return file


def forget_artefacts(store: Store, before: datetime) -> int:
    """Remove files that were written before then; how many."""
    old = [file for file in (store.path / FOLDER).glob(f"*{SUFFIX}") if file.stat().st_mtime < before.timestamp()]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)


def _file(store: Store, capture_id: str) -> Path:
    if not _NAME.fullmatch(capture_id):
        raise NotFound("no such capture")
    return store.path / FOLDER / f"{capture_id}{SUFFIX}"
