"""
A reader's own SQL, run where it can do no harm: in a child process over a snapshot of the data.

The server writes a snapshot (store/export.py) when somebody asks and the last one is older than five seconds. The child
opens it read-only with external access off, settings locked and memory limited, runs exactly one SELECT or EXPLAIN, and
is killed when its time is over. Its answer comes back as an Arrow stream; this module turns it into what was asked for.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from diagnose.config import SqlSettings
from diagnose.errors import QueryError
from diagnose.model import rfc3339, utc_now
from diagnose.store.db import Store
from diagnose.store.export import export_all

MAX_AGE_S = 5.0
EXACT_INTEGER = 2**53  # JavaScript reads larger ones wrongly
START_S = 10.0  # for the child to start, beside the query's own time
MAX_ANSWER_BYTES = 256 * 1024 * 1024
KNOWN_CODES = frozenset({"sql_error", "refused", "timeout", "memory_limit", "busy"})


@dataclass(frozen=True)
class Limits:
    """What one query may take."""

    timeout_s: float
    rows: int
    memory_bytes: int

    @classmethod
    def of(cls, settings: SqlSettings, *, rows: int | None = None) -> Self:
        """The configured limits; a reader may ask for fewer rows, never for more."""
        most = min(rows, settings.rows) if rows else settings.rows
        return cls(settings.timeout.total_seconds(), most, settings.memory)


@dataclass(frozen=True)
class QueryAnswer:
    """The rows of one query, at most the limit (`truncated`: there were more), as of the time of the snapshot."""

    table: pa.Table
    truncated: bool
    elapsed_ms: float
    as_of: datetime

    @property
    def columns(self) -> list[dict[str, str]]:
        """Name and DuckDB type of each column."""
        return [
            {"name": field.name, "type": (field.metadata or {}).get(b"duckdb", b"").decode()}
            for field in self.table.schema
        ]

    @property
    def rows(self) -> list[list[Any]]:
        """Values in column order, as JSON can hold them (docs/reference: SQL answers)."""
        columns = [
            [_plain(value) for value in column.to_pylist(maps_as_pydicts="lossy")] for column in self.table.columns
        ]
        return [list(row) for row in zip(*columns, strict=True)]

    @property
    def row_count(self) -> int:
        return int(self.table.num_rows)

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "rows": self.rows,
            "row_count": self.row_count,
            "truncated": self.truncated,
            "elapsed_ms": round(self.elapsed_ms, 3),
            "as_of": rfc3339(self.as_of),
        }

    def encode(self, form: str) -> bytes:
        """The body for `json`, `csv` (nested values as JSON), `arrow` (an IPC stream) or `parquet`."""
        sink = io.BytesIO()
        if form == "json":
            return json.dumps(self.as_json(), ensure_ascii=False).encode()
        if form == "csv":
            pyarrow.csv.write_csv(_flat(self.table), sink)
        elif form == "parquet":
            pyarrow.parquet.write_table(self.table, sink, compression="zstd")
        else:
            with pa.ipc.new_stream(sink, self.table.schema) as stream:
                stream.write_table(self.table)
        return sink.getvalue()


def _plain(value: Any) -> Any:  # noqa: PLR0911  one line a type
    """
    One value as JSON holds it exactly.

    Integers beyond ±2^53, decimals, NaN and infinities become strings, times RFC 3339 with microseconds, bytes base64,
    MAP and STRUCT objects.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= EXACT_INTEGER else str(value)
        case float():
            if math.isfinite(value):
                return value
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case datetime():
            return rfc3339(value if value.tzinfo else value.replace(tzinfo=UTC))
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case timedelta():
            return value.total_seconds()
        case Decimal() | date() | time_of_day() | UUID() | _:
            return str(value)


def _flat(table: pa.Table) -> pa.Table:
    """CSV has no lists and objects: those columns become JSON text."""
    for at, field in enumerate(table.schema):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            texts = [
                None if value is None else _as_text(value)
                for value in table.column(at).to_pylist(maps_as_pydicts="lossy")
            ]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    return table


def _as_text(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


class Snapshots:
    """Copies of the whole store for readers, at most one every five seconds and only when somebody asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.path / "snapshots"
        self._lock = threading.Lock()
        self._newest: Snapshot | None = None
        self._readers: dict[Path, int] = {}

    @contextmanager
    def newest(self) -> Iterator[Snapshot]:
        """A snapshot that stays until the block ends."""
        with self._lock:
            if self._newest is None or self._newest.age_s > MAX_AGE_S:
                self._newest = self._write()
            snapshot = self._newest
            self._readers[snapshot.file] = self._readers.get(snapshot.file, 0) + 1
            self._remove_old()
        try:
            yield snapshot
        finally:
            with self._lock:
                self._readers[snapshot.file] -= 1
                self._remove_old()

    def _write(self) -> Snapshot:
        self._folder.mkdir(exist_ok=True)
        as_of = utc_now()
        file = self._folder / f"{as_of:%Y%m%dT%H%M%S%f}.duckdb"
        export_all(self._store, file)
        return Snapshot(file, as_of, time.monotonic())

    def _remove_old(self) -> None:
        for file in self._folder.glob("*.duckdb"):
            in_use = self._readers.get(file, 0) > 0 or (self._newest is not None and file == self._newest.file)
            if not in_use:
                file.unlink(missing_ok=True)
                self._readers.pop(file, None)

    def close(self) -> None:
        """Remove the files."""
        with self._lock:
            self._newest = None
            self._readers.clear()
            self._remove_old()


@dataclass(frozen=True)
class Snapshot:
    file: Path
    as_of: datetime
    written_s: float

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.written_s


def run_query(snapshot: Snapshot, sql: str, params: Mapping[str, Any], *, limits: Limits) -> QueryAnswer:
    """
    Run one statement on *snapshot* in a child process.

    Raises QueryError: `refused` for anything but one SELECT or EXPLAIN, `sql_error`, `timeout`, `memory_limit`.
    """
    asked = {
        "file": str(snapshot.file),
        "sql": sql,
        "params": dict(params),
        "rows": limits.rows,
        "memory_bytes": limits.memory_bytes,
        "timeout_s": limits.timeout_s,
    }
    began = time.monotonic()
    out = _in_child(json.dumps(asked).encode(), limits)
    head, _, body = out.partition(b"\n")
    try:
        said = json.loads(head)
    except ValueError as err:
        raise QueryError("the query was stopped: it needed too much memory", code="memory_limit") from err
    if "code" in said:
        raise QueryError(said["message"], code=said["code"] if said["code"] in KNOWN_CODES else "sql_error")
    table = pa.ipc.open_stream(body).read_all()
    return QueryAnswer(table, said["truncated"], (time.monotonic() - began) * 1000, snapshot.as_of)


def _in_child(asked: bytes, limits: Limits) -> bytes:
    """What the child wrote. It is killed when its time is over."""
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "diagnose.query_worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        try:
            out, _ = child.communicate(asked, timeout=limits.timeout_s + START_S)
        except subprocess.TimeoutExpired as err:
            child.kill()
            raise QueryError(f"the query took longer than {limits.timeout_s:g} s", code="timeout") from err
    return out
