"""
Profiles are read in child processes, so that a damaged or hostile file can take neither the memory nor the time of the
service: a child that dies, or takes longer than it may, is replaced, and the file is refused with the reason.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, Self, cast

from diagnose.errors import DecodeError, StoreBusy
from diagnose.pprof.child import READY, read_message, unpack, write_message
from diagnose.pprof.parse import Parsed

MEMORY_BYTES = 1_400_000_000
MAX_INFLATED_BYTES = 256 * 1024 * 1024
CPU_S = 30
WALL_S = 60.0  # a busy machine gives a child less than one processor
WAIT_S = 30.0  # for a free child
START_S = 60.0
ANSWERS_PER_CHILD = 2000  # then another one, should memory leak in a library
# No threads of the libraries' own; memory that was used once is kept for the next file, asking the kernel again takes a
# fifth longer.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",  # of two threads; with one each they took 40 MB more
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


@dataclass(frozen=True)
class Limits:
    """What reading one file may take: bytes inflated, bytes of memory, seconds on a processor and by the clock."""

    inflated_bytes: int = MAX_INFLATED_BYTES
    memory_bytes: int = MEMORY_BYTES
    cpu_s: int = CPU_S
    wall_s: float = WALL_S


class Wall(NamedTuple):
    """A wall-clock profile (pprof/wall.py), the same as a pprof file, and the observations left out of it."""

    profile: Parsed
    body: bytes
    left_out: int


class ParserPool:
    """
    At most *size* children, started when they are needed and kept. Safe from many threads; `close` it at the end.

    All methods raise DecodeError when a file cannot be read, with the reason; StoreBusy when no child was free in time.
    """

    def __init__(self, size: int = 2, limits: Limits = Limits()) -> None:
        self.peak_rss_bytes = 0  # the most memory that any child had when it answered
        self._limits = limits
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()  # None: a child may be started
        self._is_closed = False
        for _ in range(size):
            self._slots.put(None)

    def parse(self, body: bytes, *, max_inflated_bytes: int | None = None, whole: bool = True) -> Parsed:
        """
        One profile, gzipped or plain.

        Not *whole*, it leaves out what those stacks are made of that the child spelled out in such an answer before
        (ProfileColumns): for whoever stores all of them.
        """
        most = {} if max_inflated_bytes is None else {"max_inflated_bytes": max_inflated_bytes}
        return unpack(self._ask({"operation": "parse", "whole": whole, **most}, [body]))

    def subtract(self, after: bytes, before: bytes) -> tuple[Parsed, bytes]:
        """(what happened between two snapshots of one process, the same as a pprof file): see pprof/subtract.py."""
        *parts, body = self._ask({"operation": "subtract"}, [after, before])
        return unpack(parts), body

    def combine(self, snapshots: Sequence[tuple[int, bytes]]) -> Wall:
        """The wall-clock profile out of goroutine snapshots: (Unix ns, file) pairs in the order they were taken."""
        asked = {"operation": "combine", "taken_ns": [taken_ns for taken_ns, _ in snapshots]}
        *parts, body = self._ask(asked, [snapshot for _, snapshot in snapshots])
        return Wall(unpack(parts), body, json.loads(parts[0])["left_out"])

    def warm(self) -> None:
        """Start one child, so that the first file need not wait for that."""
        with suppress(StoreBusy), self._child():
            pass

    def close(self) -> None:
        """End the children; those at work end with an error."""
        self._is_closed = True
        while True:
            try:
                child = self._slots.get_nowait()
            except queue.Empty:
                return
            if child is not None:
                child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, asked: dict[str, Any], bodies: Sequence[bytes]) -> list[bytes]:
        head = json.dumps({"max_inflated_bytes": self._limits.inflated_bytes} | asked).encode()
        with self._child() as child:
            *answer, peak_rss_bytes = child.ask([head, *bodies])
        self.peak_rss_bytes = max(self.peak_rss_bytes, int(peak_rss_bytes))
        said = json.loads(answer[0])
        if "refused" in said:
            raise DecodeError(said["refused"], field=said["field"])
        return answer

    @contextmanager
    def _child(self) -> Iterator[_Child]:
        try:
            child = self._slots.get(timeout=WAIT_S)
        except queue.Empty as err:
            raise StoreBusy("too many profiles are being read") from err
        try:
            if child is None:
                child = _Child(self._limits)
            yield child
        finally:
            if child is not None and (self._is_closed or not child.is_usable):
                child.kill()
                child = None
            self._slots.put(child)


SHARED = ParserPool()  # of this process; starts nothing before it is asked
atexit.register(SHARED.close)


class _Child:
    """One process. After anything unusual it is not used again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        python_path = os.pathsep.join(path for path in sys.path if path)
        told = json.dumps({"memory_bytes": limits.memory_bytes, "cpu_s": limits.cpu_s})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "diagnose.pprof.child", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "PYTHONPATH": python_path, **ENVIRONMENT},
            process_group=0,  # Ctrl-C in a terminal is for the server, which ends its children
        )
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._answered = 0
        self.is_usable = True
        if self._answer(START_S) != [json.dumps(READY).encode()]:
            raise StoreBusy(f"the process that reads profiles did not start: {self._end()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, message: Sequence[bytes]) -> list[bytes]:
        """Raises DecodeError when the child does not survive it."""
        self._answered += 1
        with suppress(OSError):  # it died before it read all; the reason is below
            write_message(self._questions, message)
        answer = self._answer(self._limits.wall_s)
        if answer is None:
            raise DecodeError(f"the profile could not be read: {self._end()}", field="body")
        said = json.loads(answer[0])
        if said.get("out_of_memory"):
            self.is_usable = False
            raise DecodeError(f"the profile could not be read: {self._out_of_memory()}", field="body")
        self.is_usable = self._answered < ANSWERS_PER_CHILD
        return answer

    def _answer(self, wall_s: float) -> list[bytes] | None:
        """None when the process ended instead, by itself or because its time was over."""
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        if not poller.poll(wall_s * 1000):  # it says nothing before it has its whole answer
            self._process.kill()
        return read_message(self._answers)

    def _end(self) -> str:
        """Why it ended."""
        self.is_usable = False
        self.kill()
        code = self._process.returncode
        if code == -signal.SIGXCPU:
            return f"it took more than {self._limits.cpu_s} s"
        if code == -signal.SIGKILL:
            return f"it took longer than {self._limits.wall_s:g} s, or the machine had no memory left"
        if code == -signal.SIGABRT:  # how Rust ends when an allocation fails
            return self._out_of_memory()
        ended = signal.Signals(-code).name if code < 0 else f"code {code}"
        return f"the process that read it ended with {ended}"

    def _out_of_memory(self) -> str:
        return f"it needs more than {self._limits.memory_bytes} bytes of memory"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):  # what is left of a question that nobody will read
            self._questions.close()
        self._answers.close()
