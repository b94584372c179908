"""SQL templates with their values written in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from diagnose.explain.render import FOLDER, literal, render_sql
from diagnose.store.db import Store
from diagnose.store.queries import load_queries


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("checkout", "'checkout'"),
        ("it's; DROP TABLE span --", "'it''s; DROP TABLE span --'"),
        ("$name", "'$name'"),
        (3, "3"),
        (True, "true"),
        (2.5, "2.5e0"),
        (1e-9, "1e-09"),
        (None, "NULL"),
        (["a", "b'c"], "['a', 'b''c']"),
        ([], "[]"),
        (datetime(2026, 11, 24, 12, 0, 0, 5, UTC), "TIMESTAMPTZ '2026-11-24 12:00:00.000005+00'"),
        (
            datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2))),
            "TIMESTAMPTZ '2026-11-24 10:00:00.000000+00'",
        ),
    ],
)
def test_a_value_becomes_a_literal(value, text):
    assert text == literal(value)


def test_the_database_reads_back_what_was_written(store: Store):
    for value in ("it's", "a\\b", "line\nbreak", "$x", 'say "yes"', "ü", "; --", 3, -1, 2.5, True, None):
        assert value == store.row(f"SELECT {literal(value)} AS it")["it"]


def test_a_double_does_not_become_a_decimal(store: Store):
    assert store.row(f"SELECT typeof({literal(5.000254507)}) AS it")["it"] == "DOUBLE"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), datetime(2026, 11, 24)])  # noqa: DTZ001  that is the point
def test_what_has_no_literal_is_refused(value):
    with pytest.raises(ValueError, match=r"cannot be written|no time zone"):
        literal(value)


def test_values_are_not_searched_for_names_again():
    assert render_sql("SELECT $a, $b", a="$b", b=1) == "SELECT '$b', 1"


def test_a_name_without_a_value_is_a_mistake():
    with pytest.raises(KeyError, match="service"):
        render_sql("SELECT $service")


def test_every_template_says_what_it_answers():
    for file in FOLDER.glob("*.sql"):
        for name, text in load_queries(file.stem, FOLDER).items():
            assert text, f"{file.stem}: {name}"
            assert file.stem == "evidence" or text.startswith("-- "), f"{file.stem}: {name}"
