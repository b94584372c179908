from __future__ import annotations

import numpy as np
import pytest

from diagnose.pprof.hashtable import HashTable


def hashes(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_what_was_added_is_found_and_nothing_else():
    table = HashTable()
    table.add(hashes(7, 0, 2**63 - 1), numbers(1, 2, 3))

    assert [3, 0, 1, 2, 3] == table.find(hashes(2**63 - 1, 8, 7, 0, 2**63 - 1)).tolist()
    assert 3 == len(table)
    assert [] == table.find(hashes()).tolist()


def test_hashes_that_want_the_same_place_are_told_apart():
    wanted = np.arange(300, dtype=np.uint64) << np.uint64(40)  # equal in all the bits that say where to look
    table = HashTable()
    table.add(wanted[:200], np.arange(1, 201, dtype=np.int32))

    assert list(range(1, 201)) == table.find(wanted[:200]).tolist()
    assert [0] * 100 == table.find(wanted[200:]).tolist()


@pytest.mark.parametrize("step", [1, 7, 4096, 50_000])
def test_it_grows_as_a_dictionary_does(step):
    chance = np.random.default_rng(step)
    wanted = np.unique(chance.integers(0, 2**63, 50_000, dtype=np.uint64))
    count = len(wanted) if step > 1 else 3000
    given = chance.permutation(np.arange(1, count + 1, dtype=np.int32))
    table = HashTable()
    for start in range(0, count, step):
        table.add(wanted[start : start + step][: count - start], given[start : start + step])
    strangers = chance.integers(0, 2**63, 1000, dtype=np.uint64)
    expected = dict(zip(wanted[:count].tolist(), given.tolist(), strict=True))

    assert given.tolist() == table.find(wanted[:count]).tolist()
    assert [expected.get(each, 0) for each in strangers.tolist()] == table.find(strangers).tolist()
    assert count == len(table)
