"""The questions of an engineer on call: each answers on nothing, and on the recorded incident what the page shows."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from diagnose.errors import DecodeError
from diagnose.query.question import Question
from diagnose.query.saved import FOLDER, read_query, saved_queries, spelled_out
from diagnose.store.db import Store
from tests import on_call_page
from tests.on_call_page import Nights, nights

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "on-call-queries.md"
EXPORTED = PAGE.parent.parent / "recorded-incident" / "incident.duckdb.gz"
NAMES = list(saved_queries())


@pytest.fixture(scope="module")
def recorded() -> Iterator[Nights]:
    with nights() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("empty")) as store:
        yield store


def test_there_is_a_query_for_every_hour_of_the_night():
    assert len(NAMES) >= 30
    assert len(set(NAMES)) == len(list(FOLDER.glob("*.sql")))


@pytest.mark.parametrize("name", NAMES)
def test_its_file_is_named_after_it_and_its_head_is_complete(name: str):
    query = saved_queries()[name]
    used = set(re.findall(r"\$(\w+)", query.sql))

    assert list(FOLDER.glob(f"*_{name.replace('-', '_')}.sql"))
    assert query.question.endswith("?")
    assert used == {parameter.name for parameter in query.parameters}


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_on_an_empty_store(empty: Store, name: str):
    question = spelled_out(Question(saved=name))

    assert [] == empty.rows(question.sql, question.params or None)


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_on_the_recorded_incident_what_the_page_shows(recorded: Nights, name: str):
    """`make docs` writes the page again; read the diff."""
    written = on_call_page.section(recorded, saved_queries()[name])

    assert recorded.ask(on_call_page.FAULT_OF.get(name, on_call_page.USUAL), name)["rows"]
    assert written in PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The incident of docs/recorded-incident as it was exported; bench/interoperability.py asks other versions."""
    file = tmp_path_factory.mktemp("exported") / "another name.duckdb"
    file.write_bytes(gzip.decompress(EXPORTED.read_bytes()))
    with duckdb.connect(str(file), read_only=True) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_on_an_exported_incident(exported: duckdb.DuckDBPyConnection, name: str):
    query = saved_queries()[name]

    exported.execute(query.sql, {parameter.name: None for parameter in query.parameters} or None).fetchall()


def test_the_exported_incident_leads_to_the_guilty_line_too(exported: duckdb.DuckDBPyConnection):
    [[function, line]] = exported.execute(
        f"SELECT function, line FROM ({saved_queries()['guilty-lines'].sql}) LIMIT 1",  # noqa: S608  our own query
        {"incident": None},
    ).fetchall()

    assert function.endswith("shop.(*PriceMatcher).compareEveryPair")
    assert "shop/price_matcher.go:" in line


def test_five_queries_lead_from_the_alert_to_the_guilty_line(recorded: Nights):
    shown = on_call_page.transcript(recorded)
    lines = recorded.ask("cpu", "guilty-lines")["rows"]

    assert len(on_call_page.FIVE) <= 5
    assert lines[0][0].endswith("shop.(*PriceMatcher).compareEveryPair")
    assert lines[0][1].endswith("shop/price_matcher.go:80")
    assert shown in PAGE.read_text(encoding="utf-8")


def test_the_page_has_nothing_else():
    page = PAGE.read_text(encoding="utf-8")

    assert page.startswith(on_call_page.INTRO)
    assert ["From the alert to the guilty line in five queries"] + [
        query.question for query in saved_queries().values()
    ] == re.findall(r"^## (.*)$", page, re.MULTILINE)


def test_parameters_narrow_the_answer(recorded: Nights):
    of_pricing = recorded.ask("cpu", "slow-instances", service="pricing")["rows"]
    of_one = recorded.ask("cpu", "span-time", incident="inc-recorded")["rows"]
    of_none = recorded.ask("cpu", "span-time", incident="inc-other")["rows"]

    assert ["pricing"] == [row[0] for row in of_pricing]
    assert of_one
    assert [] == of_none


@pytest.mark.parametrize(("saved", "params"), [("no-such", {}), ("firing", {"servise": "x"})])
def test_what_is_not_there_is_named(saved: str, params: dict[str, str]):
    with pytest.raises(DecodeError):
        spelled_out(Question(saved=saved, params=params))


def test_a_head_that_cannot_be_read_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="not a line of the head"):
        read_query("-- name: x\n-- hello\nSELECT 1")
