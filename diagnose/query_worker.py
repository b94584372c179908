"""
The child of query.py: reads one question as JSON from standard input, answers on standard output, ends.

It says `ready` once the database is open and everything is locked, then one line of JSON, `{"truncated", "elapsed_ms"}`
or `{"code", "message"}`, then the rows as an Arrow stream. This process trusts nothing it is given: the database is
opened read-only without access to other files, its settings are locked, memory and CPU time are limited and no file can
grow before the statement is looked at. The parent kills it when its time is over.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import sys
from typing import Any

import duckdb

OVERHEAD_BYTES = 1024 * 1024 * 1024  # interpreter, libraries and thread stacks count as address space
MAX_ANSWER_BYTES = 64 * 1024 * 1024
ALLOWED = {"SELECT", "EXPLAIN"}
READY = b"ready\n"
# Types that Arrow has no equal for, or that Python cannot read from it: they are answered as text, TIMESTAMP_NS as
# TIMESTAMP. The words are looked for in the whole type, so a list of intervals becomes text too.
AWKWARD = re.compile(r"\b(INTERVAL|BIT|UNION|VARIANT|BIGNUM|GEOMETRY|TIME_NS|TIMESTAMP_NS|TIME WITH TIME ZONE)\b")


def main() -> None:
    """Answer one question."""
    asked = json.load(sys.stdin)
    try:
        connection = _connect(asked["file"], asked["memory_bytes"])
        _limit(asked["memory_bytes"], asked["timeout_s"])
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        answer = _answer(connection, asked)
    except (duckdb.OutOfMemoryException, MemoryError) as err:
        answer = _refusal("memory_limit", f"the query needs more than {asked['memory_bytes']} bytes: {err}")
    except duckdb.PermissionException as err:
        answer = _refusal("refused", str(err))
    except duckdb.InvalidInputException as err:
        answer = _refusal("refused" if "read-only" in str(err) else "sql_error", str(err))
    except (duckdb.Error, RuntimeError) as err:
        answer = _refusal("memory_limit" if "bad_alloc" in str(err) else "sql_error", str(err))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    os._exit(0)  # no cleanup: the file is read-only and the process has done its work


def _connect(file: str, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": f"{memory_bytes // 2**20}MiB",
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "max_temp_directory_size": "0B",
    }
    connection = duckdb.connect(file, read_only=True, config=settings)
    for setting in ("TimeZone = 'UTC'", "enable_progress_bar = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}").fetchall()
    return connection


def _limit(memory_bytes: int, timeout_s: float) -> None:
    seconds = int(timeout_s) + 10  # should the parent die, the kernel ends us
    limits = {
        resource.RLIMIT_AS: memory_bytes + OVERHEAD_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))
    os.nice(10)


def _answer(connection: duckdb.DuckDBPyConnection, asked: dict[str, Any]) -> bytes:
    found = connection.extract_statements(asked["sql"])
    if not found:
        return _refusal("sql_error", "there is no statement")
    if len(found) != 1:
        return _refusal("refused", f"one statement at a time; there are {len(found)}")
    kind = found[0].type.name
    if kind not in ALLOWED:
        return _refusal("refused", f"only SELECT and EXPLAIN are run here, not {kind}")
    query, params = found[0].query, asked["params"]
    columns = _described(connection, query, params)
    if any(AWKWARD.search(kind) for _, kind in columns):
        query = _in_text(query, columns)
    connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()
    shown, reader = _run(connection, query, params, min(asked["rows"] + 1, 10_000))
    return _stream(reader, [kind for _, kind in columns or shown], asked["rows"])


def _described(connection: duckdb.DuckDBPyConnection, query: str, params: Any) -> list[tuple[str, str]]:
    """Name and type of each column, without running the query; nothing for SHOW and its like, and for wrong ones."""
    try:
        rows = connection.execute(f"DESCRIBE {query}", params).fetchall()
    except duckdb.Error:
        return []
    return [(name, kind) for name, kind, *_ in rows]


def _run(
    connection: duckdb.DuckDBPyConnection, query: str, params: Any, size: int
) -> tuple[list[tuple[str, str]], Any]:
    """The columns, and a reader of batches of *size* rows that computes them as they are read."""
    if duckdb.__version__.startswith("1."):  # there a relation with parameters is computed at once
        result = connection.execute(query, params)
        return [(column[0], str(column[1])) for column in result.description], result.to_arrow_reader(size)
    relation = connection.sql(query, params=params)  # here a result of execute is
    columns = [(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
    return columns, relation.to_arrow_reader(size)


def _in_text(query: str, columns: list[tuple[str, str]]) -> str:
    """The same rows, with the awkward columns cast: #1 is the first column of what stands in FROM."""
    shown = []
    for number, (name, kind) in enumerate(columns, start=1):
        quoted = name.replace('"', '""')
        target = "TIMESTAMP" if kind == "TIMESTAMP_NS" else "VARCHAR"
        value = f"CAST(#{number} AS {target})" if AWKWARD.search(kind) else f"#{number}"
        shown.append(f'{value} AS "{quoted}"')
    return f"SELECT {', '.join(shown)} FROM (\n{_without_end(query)}\n) AS answer"  # noqa: S608  theirs to ask


def _without_end(query: str) -> str:
    """Cut before the semicolons that end the statement; the tokens' places are counted in bytes."""
    text = query.encode()
    places = [place for place, kind in duckdb.tokenize(query) if kind != duckdb.token_type.comment]
    end = len(text)
    while places and text[places[-1] : places[-1] + 1] == b";":
        end = places.pop()
    return text[:end].decode()


def _stream(reader: Any, types: list[str], most_rows: int) -> bytes:
    """The first *most_rows* rows; reading stops there, so a cut result costs no more than a whole one."""
    import pyarrow as pa  # noqa: PLC0415  half of the time to start, and a refused statement needs none of it

    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if size > MAX_ANSWER_BYTES:
            return _refusal("memory_limit", f"the rows are larger than {MAX_ANSWER_BYTES} bytes; ask for less of them")
        if rows > most_rows:
            break
    table = pa.Table.from_batches(batches, reader.schema).slice(0, most_rows)
    fields = [field.with_metadata({"duckdb": name}) for field, name in zip(table.schema, types, strict=True)]
    table = pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
    sink = io.BytesIO()
    sink.write(json.dumps({"truncated": rows > most_rows}).encode() + b"\n")
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _refusal(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "message": message}).encode() + b"\n"


if __name__ == "__main__":
    main()
