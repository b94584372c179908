"""
The exported incident in other versions of DuckDB. `python -m bench.interoperability`

Installs each version into a folder of the user's cache (once), opens docs/recorded-incident/incident.duckdb there under
another name, and counts what works: views, macros, comments, saved queries, the SQL of the findings. Exits 1 when
anything does not.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.environment import describe
from diagnose.query.saved import saved_queries

VERSIONS = ("1.4.4", "1.5.5", "2.0.0")
RESULT = Path("bench/results/interoperability.json")
RECORDED = Path("docs/recorded-incident/incident.duckdb.gz")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diagnose" / "duckdb"
PROGRAM = """
import json, sys, duckdb
asked = json.load(sys.stdin)
connection = duckdb.connect(asked["file"], read_only=True)
connection.execute("SET TimeZone = 'UTC'")
failed = {}
def answered(name, sql, params):
    try:
        connection.execute(sql, params).fetchall()
        return 1
    except duckdb.Error as err:
        failed[name] = str(err)[:200]
        return 0
one = lambda sql: connection.execute(sql).fetchone()[0]
views = [row[0] for row in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
answer = {
    "version": duckdb.__version__,
    "views": sum(answered(view, f'SELECT * FROM "{view}" LIMIT 1', None) for view in views),
    "views_with_comment": one("SELECT count(comment) FROM duckdb_views() WHERE NOT internal"),
    "column_comments": one("SELECT count(comment) FROM duckdb_columns() WHERE NOT internal"),
    "macros": one("SELECT count(*) FROM duckdb_functions() WHERE function_type LIKE '%macro' AND NOT internal"),
    "saved_queries": sum(answered(name, sql, params) for name, sql, params in asked["queries"]),
}
findings = connection.execute("SELECT finding_id, sql FROM findings").fetchall()
answer["findings"] = sum(answered(name, sql, None) for name, sql in findings)
print(json.dumps({**answer, "failed": failed}))
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "another name.duckdb"
        file.write_bytes(gzip.decompress(RECORDED.read_bytes()))
        found = [try_version(version, file) for version in VERSIONS]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": describe(), "versions": found}, indent=1))
    print(json.dumps(found, indent=1))
    return 1 if any(each["failed"] for each in found) else 0


def try_version(version: str, file: Path) -> dict[str, Any]:
    """What of *file* works there."""
    queries = [
        (query.name, query.sql, {each.name: None for each in query.parameters} or None)
        for query in saved_queries().values()
    ]
    asked = json.dumps({"file": str(file), "queries": queries})
    environment = {**os.environ, "PYTHONPATH": str(_installed(version)), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=asked, env=environment, capture_output=True, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["version"] == version
    return answer


def _installed(version: str) -> Path:
    folder = CACHE / version
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, f"duckdb=={version}", "pytz"], check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
