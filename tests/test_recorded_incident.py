"""docs/recorded-incident, which the README shows: its database answers its report and the tutorial."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "docs/recorded-incident"
REPORT: dict[str, Any] = json.loads((RECORDED / "report.json").read_text())


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    file = tmp_path_factory.mktemp("recorded") / "any name will do.duckdb"
    file.write_bytes(gzip.decompress((RECORDED / "incident.duckdb.gz").read_bytes()))
    return duckdb.connect(str(file), read_only=True)


def test_it_names_the_function_that_was_planted() -> None:
    assert "hot_code" == REPORT["verdict"]["kind"]
    assert REPORT["verdict"]["subject"]["name"].endswith(".compareEveryPair")
    assert REPORT["findings"][0] == REPORT["verdict"]


@pytest.mark.parametrize("finding", REPORT["findings"], ids=lambda finding: f"{finding['rank']}-{finding['kind']}")
def test_the_sql_of_every_finding_runs_on_it(database: duckdb.DuckDBPyConnection, finding: dict[str, Any]) -> None:
    assert database.execute(finding["sql"]).fetchall()


@pytest.mark.parametrize("note", [note for note in REPORT["ruled_out"] + REPORT["missing_evidence"] if note.get("sql")])
def test_the_sql_of_what_is_ruled_out_or_missing_runs_too(
    database: duckdb.DuckDBPyConnection, note: dict[str, Any]
) -> None:
    database.execute(note["sql"]).fetchall()


def test_the_question_of_the_tutorial_is_answered_as_it_shows(database: duckdb.DuckDBPyConnection) -> None:
    page = (ROOT / "docs/tutorial.md").read_text()
    asked = re.search(r'incident\.sql\("""\n(.*?)"""\)', page, re.DOTALL)
    assert asked
    assert str(database.sql(asked[1])).strip() in page
    function, traces, cpu_ms = database.execute(asked[1]).fetchall()[0]

    assert function.endswith(".compareEveryPair")
    assert traces > 1
    assert cpu_ms > 0


def test_its_page_needs_no_network() -> None:
    page = (RECORDED / "report.html").read_text()

    assert REPORT["verdict"]["statement"].partition(" is in")[0] in page
    assert [] == re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?https?:", page)
