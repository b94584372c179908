"""
The child of query.py: reads one question as JSON from standard input, answers on standard output, ends.

The answer is one line of JSON, `{"truncated": …}` or `{"code", "message"}`, then the rows as an Arrow stream. This
process trusts nothing it is given: the memory it may have is set before the question is read, the database is opened
read-only without access to other files, its settings are locked before the statement runs.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import threading
from typing import Any

import duckdb
import pyarrow as pa

OVERHEAD_BYTES = 1024 * 1024 * 1024  # interpreter, libraries and thread stacks count as address space
MAX_ANSWER_BYTES = 256 * 1024 * 1024
ALLOWED = {"SELECT", "EXPLAIN"}


def main() -> None:
    """Answer one question."""
    asked = json.load(sys.stdin)
    try:
        _limit(asked["memory_bytes"])
        answer = _answer(asked)
    except duckdb.InterruptException:
        answer = _refusal("timeout", f"the query took longer than {asked['timeout_s']:g} s")
    except (duckdb.OutOfMemoryException, MemoryError) as err:
        answer = _refusal("memory_limit", f"the query needs more than {asked['memory_bytes']} bytes: {err}")
    except duckdb.PermissionException as err:
        answer = _refusal("refused", str(err))
    except duckdb.Error as err:
        answer = _refusal("memory_limit" if "bad_alloc" in str(err) else "sql_error", str(err))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    os._exit(0)  # no cleanup: the file is read-only and the process has done its work


def _limit(memory_bytes: int) -> None:
    most = memory_bytes + OVERHEAD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)


def _answer(asked: dict[str, Any]) -> bytes:
    connection = duckdb.connect(asked["file"], read_only=True, config=_settings(asked["memory_bytes"]))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")
    found = connection.extract_statements(asked["sql"])
    if len(found) != 1:
        return _refusal("refused", f"one statement at a time; there are {len(found)}")
    kind = found[0].type.name
    if kind not in ALLOWED:
        return _refusal("refused", f"only SELECT and EXPLAIN are run here, not {kind}")
    connection.execute("BEGIN TRANSACTION READ ONLY")
    timer = threading.Timer(asked["timeout_s"], connection.interrupt)
    timer.daemon = True
    timer.start()
    result = connection.execute(found[0], asked["params"])
    return _stream(result, asked["rows"])


def _settings(memory_bytes: int) -> dict[str, Any]:
    return {
        "threads": 1,
        "memory_limit": f"{memory_bytes // 2**20}MiB",
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "max_temp_directory_size": "0B",
    }


def _stream(result: Any, most_rows: int) -> bytes:
    """The first *most_rows* rows; reading stops there, so a cut result costs no more than a whole one."""
    types = [str(column[1]) for column in result.description]
    batches: list[pa.RecordBatch] = []
    reader = result.to_arrow_reader(min(most_rows + 1, 10_000))
    rows = size = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if size > MAX_ANSWER_BYTES:
            return _refusal("memory_limit", f"the rows are larger than {MAX_ANSWER_BYTES} bytes")
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
