"""
The database instance a child answers from: locked, and with one snapshot at a time.

A reader's own statement has one for itself. Functions such as enable_logging change an instance, or show what was asked
in it; a transaction that only reads does not stop them. Opening an instance takes longer than most saved queries do,
and so does reading what the Parquet files say about themselves: those, whose text is ours, share one.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

NAME = "snapshot"
# What is remembered of some 50 million spans; part of the worker's OVERHEAD_BYTES.
MOST_GROWTH_BYTES = 192 * 1024 * 1024


class Data:
    """
    `connection` for each question; not for several at once.

    After a question that failed, or once it has become large, there is a new instance.
    """

    def __init__(self) -> None:
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._opened_for: tuple[list[str], int] | None = None
        self._attached = ""
        self._small_bytes = 0

    @contextmanager
    def connection(self, asked: dict[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
        """To the snapshot of the question: `file`, `folders`, `memory_bytes`. Raises duckdb.Error."""
        is_well = False
        try:
            connection = self._ready(asked)
            yield connection
            connection.close()
            is_well = True
        finally:
            if not is_well or _resident_bytes() > self._small_bytes + MOST_GROWTH_BYTES:
                self.close()

    def _ready(self, asked: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        file, wanted = asked["file"], (asked["folders"], asked["memory_bytes"])
        if self._instance is None or self._opened_for != wanted:
            self.close()
            self._instance = _open([*wanted[0], str(Path(file).parent)], wanted[1])
            self._opened_for, self._small_bytes = wanted, _resident_bytes()
        if self._attached != file:
            if self._attached:
                self._instance.execute(f"DETACH {NAME}").fetchall()
            self._instance.execute(f"ATTACH {_quoted(file)} AS {NAME} (READ_ONLY)").fetchall()
            self._attached = file
        connection = self._instance.cursor()
        connection.execute(f"USE {NAME}").fetchall()
        return connection

    def close(self) -> None:
        if self._instance is not None:
            self._instance.close()
        self._instance, self._attached = None, ""


def _open(folders: list[str], memory_bytes: int) -> duckdb.DuckDBPyConnection:
    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": f"{memory_bytes // 2**20}MiB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "temp_directory": "",  # nothing is spilled to disk
    }
    instance = duckdb.connect(":memory:", config=settings)
    for setting in (
        f"allowed_directories = [{', '.join(map(_quoted, folders))}]",
        "enable_external_access = false",
        "parquet_metadata_cache = true",  # of files that never change
        "enable_external_file_cache = false",  # the system has them in memory, for all children
        "TimeZone = 'UTC'",
        "lock_configuration = true",
    ):
        instance.execute(f"SET GLOBAL {setting}").fetchall()  # for every connection of it
    return instance


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:  # not Linux
        return 0
