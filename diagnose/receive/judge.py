"""Which rows of a request cannot be kept, and why."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from diagnose.receive.arrays import Bools, lengths_of


class Judge:
    """What is still fine of *count* rows, and how many are not for which reason. The first mistake of each counts."""

    def __init__(self, count: int) -> None:
        self.fine: Bools = np.ones(count, np.bool_)
        self.refused: Counter[str] = Counter()

    def refuse(self, wrong: Bools, reason: str) -> None:
        if count := int(np.count_nonzero(wrong & self.fine)):
            self.refused[reason] += count
            self.fine &= ~wrong

    def refuse_lengths(self, name: str, ids: pa.Array, size: int, *, unless: Bools | None = None) -> None:
        lengths = lengths_of(ids)
        wrong = lengths != size if unless is None else (lengths != size) & ~unless
        for length in np.unique(lengths[wrong]):
            self.refuse(wrong & (lengths == length), f"{name} has {length} bytes, not {size}")
