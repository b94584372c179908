"""
The files that profiles were read from, gzipped: `profiles/<first two digits>/<sha256>.pb.gz` in the data directory.

A row of table profile names its file by the hash of what came; rows of several processes may name one. The file is
durable before the row is. In the table, bodies were rewritten with every checkpoint, which held up all writing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb

from diagnose.errors import NotFound, StoreBusy
from diagnose.store import durable
from diagnose.telemetry import get_logger

log = get_logger(__name__)
FOLDER = "profiles"
SUFFIX = ".pb.gz"
_LOCK = threading.Lock()  # between finding a file there and removing it


def save_body(data: Path, sha256: str, gzipped: bytes) -> None:
    """Returns when the file is durable; one that is there is as good as new. Raises StoreBusy."""
    file = _file(data, sha256)
    try:
        with _LOCK:
            if file.exists():
                os.utime(file)
                return
        durable.write(file, gzipped)
    except OSError as err:
        raise StoreBusy(f"{file} cannot be written: {err.strerror}") from err


def read_body(data: Path, sha256: str) -> bytes:
    """Raises NotFound."""
    try:
        return _file(data, sha256).read_bytes()
    except OSError as err:
        raise NotFound(f"the file of the profile cannot be read: {err.strerror}") from err


def remove_bodies(data: Path, before_s: float, named: Callable[[], set[str]]) -> int:
    """
    Remove files that are older than *before_s* (Unix seconds) and whose hash is not among *named*; how many.

    A young one may be about to be named, and so may an old one that `save_body` found: it makes it young.
    """
    old = [file for file in (data / FOLDER).glob("*/*") if _written_s(file) < before_s]
    wanted = named() if old else set()
    unnamed = [file for file in old if file.name.removesuffix(SUFFIX) not in wanted]
    for file in unnamed:
        with _LOCK:
            if _written_s(file) < before_s:
                file.unlink(missing_ok=True)
    return len(unnamed)


def move_bodies_into_files(cursor: duckdb.DuckDBPyConnection, data: Path) -> None:
    """For data from before version 6 of the telemetry database."""
    found = cursor.execute("SELECT sha256, body FROM profile")
    count = 0
    while rows := found.fetchmany(64):
        for sha256, body in rows:
            durable.write(_file(data, sha256), bytes(body))
        count += len(rows)
    if count:
        log.info("profiles moved out of the database", files=count)


def _file(data: Path, sha256: str) -> Path:
    return data / FOLDER / sha256[:2] / f"{sha256}{SUFFIX}"


def _written_s(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
