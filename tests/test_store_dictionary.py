"""The dictionaries of profiles by themselves, in transactions of the test's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from diagnose.pprof.columns import ProfileColumns
from diagnose.pprof.parse import parse
from diagnose.store.db import Store
from diagnose.store.dictionary import Dictionaries
from tests.pprof.small import RECORDED

TABLES = ("function", "frame", "node", "stack")
COLUMNS = [parse(file.read_bytes()).columns for file in RECORDED[:8]]


def save(
    store: Store, dictionaries: Dictionaries, first: int, profiles: Sequence[ProfileColumns], *, end: str = "COMMIT"
) -> list[list[int]]:
    """The numbers of their stacks."""
    cursor = store.cursor()
    cursor.execute("BEGIN TRANSACTION")
    numbers = dictionaries.save(cursor, profiles, first=first, last=first + len(profiles) - 1)
    cursor.execute(end)
    cursor.close()
    return [each.to_pylist() for each in numbers]


def assert_right(store: Store, profiles: Sequence[ProfileColumns], numbers: Sequence[list[int]]) -> None:
    """Everything is there once, numbered without gaps, and every stack has its own number."""
    for table in TABLES:
        row = store.row(
            f"SELECT count(*) AS n, count(DISTINCT {table}_no) AS numbers, count(DISTINCT {table}_id) AS ids, "  # noqa: S608
            f"min({table}_no) AS least, max({table}_no) AS most FROM {table}"
        )

        assert (row["n"], row["n"], 1, row["n"]) == (row["numbers"], row["ids"], row["least"], row["most"])
    stored = {row["stack_id"]: row["stack_no"] for row in store.rows("SELECT stack_id, stack_no FROM stack")}
    for columns, own in zip(profiles, numbers, strict=True):
        assert [stored[each] for each in columns.stacks["stack_id"].to_pylist()] == own
    everything = {each for columns in profiles for each in columns.stacks["stack_id"].to_pylist()}
    assert everything == set(stored)


@pytest.mark.parametrize("most_in_memory", [2_000_000, 500, 0])
def test_the_numbers_are_the_same_whether_they_are_kept_in_memory_or_asked_for(store, most_in_memory):
    dictionaries = Dictionaries(most_in_memory)
    numbers = save(store, dictionaries, 1, COLUMNS[:3])
    numbers += save(store, dictionaries, 4, COLUMNS[3:4])
    numbers += save(store, dictionaries, 5, COLUMNS[4:])

    assert_right(store, COLUMNS, numbers)
    assert numbers == save(store, Dictionaries(most_in_memory), 9, COLUMNS)


@pytest.mark.parametrize("first", [1, 4])
def test_what_was_rolled_back_is_forgotten(store, first):
    dictionaries = Dictionaries()
    known = COLUMNS[: first - 1]
    numbers = save(store, dictionaries, 1, known) if known else []
    save(store, dictionaries, first, COLUMNS[4:], end="ROLLBACK")
    save(store, dictionaries, first, COLUMNS[4:6], end="ROLLBACK")
    numbers += save(store, dictionaries, first, COLUMNS[5:])

    assert_right(store, [*known, *COLUMNS[5:]], numbers)
