"""Files that are damaged, or made to hurt: refused with a reason or read right, and the next one is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.profile_corpus import BOMBS, mutated
from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode
from diagnose.pprof.pool import Limits, ParserPool
from tests.pprof.small import RECORDED, seeded

# Making the others takes longer than refusing them; bench/profiles.py tries all.
QUICK = ("40 million value types", "one stack of 10 million locations", "200 million frames in 20,000 samples")
LIMITS = Limits(inflated_bytes=100 * 2**20, memory_bytes=400_000_000)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, LIMITS) as made:
        yield made


@pytest.mark.parametrize("name", QUICK)
def test_a_bomb_is_refused_and_the_service_reads_on(name, pool):
    with pytest.raises(DecodeError):
        pool.parse(BOMBS[name]())

    assert pool.parse(RECORDED[0].read_bytes()).value_types


def test_damaged_files_are_refused_or_read_like_any_other(pool):
    """`make bench` reads 6,000 of them."""
    chance = seeded(5)
    bodies = [mutated(chance.choice(RECORDED).read_bytes(), chance) for _ in range(200)]
    read, reasons = 0, []
    for body in bodies:
        try:
            parsed = pool.parse(body)
        except DecodeError as err:
            reasons.append(str(err))
        else:
            read += 1
            same = _in_memory(body)
            assert same is None or same == parsed.totals

    assert read > 10
    assert len(reasons) > 10
    assert all(reasons)


def _in_memory(body: bytes) -> tuple[int, ...] | None:
    """The totals as the other reader finds them; None where it refuses, which it may do earlier or later than ours."""
    try:
        profile = decode(body)
    except DecodeError:
        return None
    totals = [profile.total(value_type.type) for value_type in profile.sample_types]
    return tuple((total + 2**63) % 2**64 - 2**63 for total in totals)
