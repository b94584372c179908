"""Files that must outlive a power cut before the database names them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write(file: Path, body: bytes) -> None:
    """The whole file or none. Its folder is made. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(body)
        _sync(part)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    _sync(file.parent)
    _sync(file.parent.parent)


def sync(file: Path) -> None:
    """What was written there by somebody else, and its name. Raises OSError."""
    _sync(file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
