from __future__ import annotations

import gzip
import os
import signal
import threading

import pytest

from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.parse import lay_out
from diagnose.pprof.pool import Limits, ParserPool
from diagnose.pprof.subtract import subtract
from tests.pprof.small import RECORDED, cpu_profile, goroutines

GOOD = encode(cpu_profile({"main.main > main.work": 3}))
MANY_TYPES = gzip.compress(bytes([0x0A, 0]) * (40 * 2**20))  # 40 million value types in 80 KB
LITTLE_MEMORY = Limits(memory_bytes=300_000_000)


@pytest.fixture(scope="module")
def pool():
    with ParserPool(size=1) as made:
        yield made


def child_of(pool: ParserPool) -> int:
    with pool._child() as child:
        return child.pid


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_a_child_gives_what_is_read_in_process(file, pool):
    body = file.read_bytes()
    parsed, expected = pool.parse(body), lay_out(decode(body))

    assert (expected.kind, expected.value_types, expected.default_value, expected.build_id) == (
        parsed.kind,
        parsed.value_types,
        parsed.default_value,
        parsed.build_id,
    )
    assert expected.columns.samples.num_rows == parsed.columns.samples.num_rows
    assert set(expected.columns.stacks["stack_id"].to_pylist()) == set(parsed.columns.stacks["stack_id"].to_pylist())


def test_one_child_reads_many_files(pool):
    pool.parse(GOOD)
    first = child_of(pool)
    with pytest.raises(DecodeError, match="the profile is empty"):
        pool.parse(b"")
    pool.parse(GOOD)

    assert first == child_of(pool)


def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_one_is_read():
    with ParserPool(1, LITTLE_MEMORY) as pool:
        with pytest.raises(DecodeError, match="more than 300000000 bytes"):
            pool.parse(MANY_TYPES)

        assert "cpu" == pool.parse(GOOD).kind


def test_a_gzip_that_inflates_to_too_much_is_refused(pool):
    with pytest.raises(DecodeError, match="inflates to more than"):
        pool.parse(gzip.compress(bytes(300 * 2**20)))


def test_a_child_that_is_killed_is_replaced(pool):
    pool.parse(GOOD)
    first = child_of(pool)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(DecodeError, match="no memory left"):
        pool.parse(GOOD)

    assert "cpu" == pool.parse(GOOD).kind
    assert first != child_of(pool)


def test_a_child_whose_time_is_over_is_killed():
    with ParserPool(1, Limits(wall_s=1)) as pool:
        pool.warm()
        stopped = child_of(pool)
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(DecodeError, match="longer than 1 s"):
            pool.parse(GOOD)

        assert stopped != child_of(pool)


def test_two_snapshots_are_subtracted_in_the_child(pool):
    before, after = goroutines({"main.main > main.a": 5}), goroutines({"main.main > main.a": 8, "main.b": 1})
    growth, body = pool.subtract(encode(after), encode(before))

    assert subtract(after, before) == decode(body)
    assert (2, "goroutine") == (growth.columns.samples.num_rows, growth.kind)


def test_goroutine_snapshots_become_a_wall_profile_in_the_child(pool):
    snapshot = encode(goroutines({"main.main > main.wait": 2}))
    wall, body, left_out = pool.combine([(1_000_000_000, snapshot), (2_000_000_000, snapshot)])

    assert ("wall", 0, 4_000_000_000) == (wall.kind, left_out, decode(body).total("wall"))


def test_many_threads_share_the_children():
    counts: list[int] = []
    with ParserPool(2) as pool:
        threads = [
            threading.Thread(target=lambda: counts.append(pool.parse(GOOD).columns.samples.num_rows)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [1] * 8 == counts
