"""
A reader's own SQL, run where it can do no harm: in a child process over a snapshot of the data.

The server writes a snapshot (store/export.py) when somebody asks and the last one is older than five seconds. The child
opens it read-only with external access off, settings locked and memory limited, runs exactly one SELECT or EXPLAIN, and
is killed when its time is over. Its answer comes back as an Arrow stream, which becomes what was asked for here.
"""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Self, cast

import pyarrow as pa
import pyarrow.parquet

from diagnose.config import SqlSettings
from diagnose.errors import QueryError
from diagnose.model import rfc3339
from diagnose.query_values import json_column
from diagnose.query_worker import READY
from diagnose.store.snapshots import Snapshot

START_S = 10.0  # for the child to start, beside the query's own time


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
        """Values in column order, as JSON can hold them (query_values)."""
        types = [column["type"] for column in self.columns]
        columns = [json_column(column, kind) for column, kind in zip(self.table.columns, types, strict=True)]
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
        """The body as `json`, `csv` (values as in JSON, nested ones as JSON text), `arrow` (IPC) or `parquet`."""
        if form == "json":
            return json.dumps(self.as_json(), ensure_ascii=False).encode()
        if form == "csv":
            return self._as_csv().encode()
        sink = io.BytesIO()
        if form == "parquet":
            pyarrow.parquet.write_table(self.table, sink, compression="zstd")
        else:
            with pa.ipc.new_stream(sink, self.table.schema) as stream:
                stream.write_table(self.table)
        return sink.getvalue()

    def _as_csv(self) -> str:
        """RFC 4180 with a head; nothing is an empty field, an empty text a quoted one."""
        lines = [[column["name"] for column in self.columns], *self.rows]
        return "".join(",".join(map(_csv_field, line)) + "\n" for line in lines)


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return '"' + text.replace('"', '""') + '"'


def run_query(snapshot: Snapshot, sql: str, params: Mapping[str, Any], *, limits: Limits) -> QueryAnswer:
    """
    Run one statement on *snapshot* in a child process; *params* are its `$name` parameters.

    Raises QueryError: `refused` for anything but one SELECT or EXPLAIN and for what reaches beyond the snapshot,
    `sql_error`, `timeout`, `memory_limit`.
    """
    asked = {
        "file": str(snapshot.file),
        "sql": sql,
        "params": dict(params),
        "rows": limits.rows,
        "memory_bytes": limits.memory_bytes,
        "timeout_s": limits.timeout_s,
    }
    out, elapsed_s = _in_child(json.dumps(asked).encode(), limits)
    head, _, body = out.removeprefix(READY).partition(b"\n")
    try:
        said = json.loads(head)
    except ValueError as err:  # it died in the middle: there was no more memory or stack
        raise QueryError("the query was stopped: it needed too much memory", code="memory_limit") from err
    if "code" in said:
        raise QueryError(said["message"], code=said["code"])
    table = pa.ipc.open_stream(body).read_all()
    return QueryAnswer(table, said["truncated"], elapsed_s * 1000, snapshot.as_of)


def _in_child(asked: bytes, limits: Limits) -> tuple[bytes, float]:
    """What the child wrote, and the seconds its query took. It is killed when its time is over."""
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "diagnose.query_worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        try:
            return _ask(child, asked, limits)
        except subprocess.TimeoutExpired as err:
            raise QueryError(f"the query took longer than {limits.timeout_s:g} s", code="timeout") from err
        finally:
            child.kill()


def _ask(child: subprocess.Popen[bytes], asked: bytes, limits: Limits) -> tuple[bytes, float]:
    """Its time starts when it is ready: how long a process takes to start is not the reader's business."""
    question, answer = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
    try:
        question.write(asked)
        question.close()
    except OSError as err:
        raise QueryError(f"the process for the query did not start: {err}", code="busy") from err
    child.stdin = None  # communicate would use it again
    if not select.select([answer], [], [], START_S)[0]:
        raise QueryError("the process for the query did not start in time", code="busy")
    began = time.monotonic()
    out, _ = child.communicate(timeout=limits.timeout_s)
    return out, time.monotonic() - began
