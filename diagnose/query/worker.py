"""
The child of child.py: reads questions from standard input, one line of JSON each, and answers on standard output.

It says `ready` once it can be asked. An answer is one line of JSON, `{"bytes", "row_count", "truncated", "elapsed_ms"}`
and so many bytes of body, or `{"code", "message"}`. This process trusts nothing it is given: the snapshot is attached
read-only to a database instance with locked settings and access to no other files than those of the folders that the
snapshot's views read; memory and CPU time are limited and no file can grow. The parent kills it when its time is over.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from diagnose.query.data import Data
from diagnose.query.encode import encode

OVERHEAD_BYTES = 512 * 1024 * 1024  # the answer in Python, beside what the database may take
MOST_KEPT_BYTES = 512 * 1024 * 1024  # of address space, by allocators after earlier questions
MAX_ANSWER_BYTES = 64 * 1024 * 1024
ALLOWED = {"SELECT", "EXPLAIN"}
READY = b"ready\n"
SELF_END_S = 10  # after the time limit, should the parent be gone
# Types that Arrow has no equal for, or that Python cannot read from it: they are answered as text, TIMESTAMP_NS as
# TIMESTAMP. The words are looked for in the whole type, so a list of intervals becomes text too.
AWKWARD = re.compile(r"\b(INTERVAL|BIT|UNION|VARIANT|BIGNUM|GEOMETRY|TIME_NS|TIMESTAMP_NS|TIME WITH TIME ZONE)\b")


def main() -> None:
    """Answer until the parent closes the pipe."""
    os.nice(10)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no answer
    size, shared = _size_bytes(), Data()
    answers.write(READY)
    answers.flush()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        kept = min(max(0, _size_bytes() - size), MOST_KEPT_BYTES)
        _limit(size + kept + asked["memory_bytes"] + OVERHEAD_BYTES, asked["timeout_s"])
        answers.write(_answer_or_refusal(asked, shared))
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(0)  # no cleanup: the process has done its work


def _size_bytes() -> int:
    """The address space of interpreter and libraries."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        return 2**30


def _limit(address_space_bytes: int, timeout_s: float) -> None:
    """Should the parent die, the kernel ends us."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + timeout_s) + SELF_END_S
    for which, most in (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (most, resource.getrlimit(which)[1]))
    signal.setitimer(signal.ITIMER_REAL, timeout_s + SELF_END_S)


def _answer_or_refusal(asked: dict[str, Any], shared: Data) -> bytes:
    data = shared if asked["is_saved"] else Data()
    try:
        with data.connection(asked) as connection:
            return _answer(connection, asked)
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError) as err:
        return _refusal("memory_limit", f"the query needs more than {asked['memory_bytes']} bytes: {err}")
    except duckdb.PermissionException as err:
        return _refusal("refused", str(err))
    except duckdb.InvalidInputException as err:
        return _refusal("refused" if "read-only" in str(err) else "sql_error", str(err))
    except (duckdb.Error, RuntimeError) as err:
        return _refusal("memory_limit" if "bad_alloc" in str(err) else "sql_error", str(err))
    finally:
        if data is not shared:
            data.close()


def _answer(connection: duckdb.DuckDBPyConnection, asked: dict[str, Any]) -> bytes:
    began_s = time.monotonic()
    try:
        found = connection.extract_statements(asked["sql"])
        kinds = [each.type.name for each in found]
    except ValueError:  # DuckDB 2.0 parses kinds of statements that its Python module has no name for
        return _refusal("refused", "only SELECT and EXPLAIN are run here")
    if not found:
        return _refusal("sql_error", "there is no statement")
    if len(found) != 1:
        return _refusal("refused", f"one statement at a time; there are {len(found)}")
    [kind] = kinds
    if kind not in ALLOWED:
        return _refusal("refused", f"only SELECT and EXPLAIN are run here, not {kind}")
    query, params = found[0].query, asked["params"]
    columns = _described(connection, query, params)
    if any(AWKWARD.search(kind) for _, kind in columns):
        query = _in_text(query, columns)
    connection.execute("BEGIN TRANSACTION READ ONLY").fetchall()
    shown, reader = _run(connection, query, params, min(asked["rows"] + 1, 10_000))
    table, is_cut = _first_rows(reader, asked["rows"])
    if table.nbytes > MAX_ANSWER_BYTES:
        return _refusal("memory_limit", f"the rows are larger than {MAX_ANSWER_BYTES} bytes; ask for less of them")
    about = {"truncated": is_cut, "elapsed_ms": round(1000 * (time.monotonic() - began_s), 3), "as_of": asked["as_of"]}
    body = encode(_with_types(table, [kind for _, kind in columns or shown]), asked["form"], about)
    return json.dumps({"bytes": len(body), "row_count": table.num_rows, **about}).encode() + b"\n" + body


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


def _first_rows(reader: Any, most_rows: int) -> tuple[pa.Table, bool]:
    """
    At most *most_rows*, and whether there are more.

    Reading stops there, so a cut result costs no more than a whole one; it also stops once the rows are too large.
    """
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows > most_rows or size > MAX_ANSWER_BYTES:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, most_rows), rows > most_rows


def _with_types(table: pa.Table, types: list[str]) -> pa.Table:
    """Each field with the DuckDB type of its column as metadata."""
    fields = [field.with_metadata({"duckdb": name}) for field, name in zip(table.schema, types, strict=True)]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))


def _refusal(code: str, message: str) -> bytes:
    return json.dumps({"code": code, "message": message}).encode() + b"\n"


if __name__ == "__main__":
    main()
