"""Flat arrays: rows numbered, and work done block by block."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.pprof.arrays import BLOCK, by_blocks, dense

SMALL = st.integers(-1, 3)
ANY = st.integers(-(2**63), 2**63 - 1)


@given(
    st.lists(st.tuples(SMALL, SMALL, SMALL)) | st.lists(st.tuples(SMALL, ANY, SMALL)) | st.lists(st.tuples(ANY, ANY))
)
def test_rows_are_numbered_in_order_of_appearance(rows: list[tuple[int, ...]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.zeros(0, np.int64)]
    numbers, first = dense(*columns)
    distinct = list(dict.fromkeys(rows))
    assert numbers.tolist() == [distinct.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in distinct]


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_hashes_are_numbered_like_any_number(hashes: list[int]) -> None:
    numbers, first = dense(np.array(hashes, np.uint64))
    distinct = list(dict.fromkeys(hashes))
    assert [distinct[number] for number in numbers] == hashes
    assert [hashes[place] for place in first] == distinct


@pytest.mark.parametrize("lengths", [[], [0], [3, 0, BLOCK + 1, 0, 2], [BLOCK // 3] * 11, [0] * 5])
def test_blocks_cover_every_slice_once_and_in_order(lengths: list[int]) -> None:
    ends = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
    blocks = by_blocks(ends, lambda block: block)
    parts = [(block.slices.start, block.slices.stop) for block in blocks]
    assert all(first < last for first, last in parts)
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    assert [parts[0][0], parts[-1][1]] == [0, len(lengths)] if lengths else not parts
    assert lengths == [length for block in blocks for length in np.diff(block.ends)]
    assert all(block.ends[-1] == block.elements.stop - block.elements.start for block in blocks)


def test_what_goes_wrong_in_a_block_is_raised() -> None:
    ends = np.arange(4) * BLOCK
    with pytest.raises(ZeroDivisionError):
        by_blocks(ends, lambda block: 1 // block.slices.start)
