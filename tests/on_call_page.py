"""
docs/how-to/on-call-queries.md: every saved query with what it answers on the recorded incident.

`python -m tests.on_call_page docs/how-to/on-call-queries.md` (part of `make docs`) writes it; test_saved_queries.py
compares it, section by section: it is the golden file of the queries.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diagnose.cli.sql import print_answer
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, Question
from diagnose.query.saved import SavedQuery, saved_queries, spelled_out
from diagnose.store.db import Store
from diagnose.store.snapshots import Snapshot, Snapshots
from tests.recorded_night import load_night

LIMITS = Limits(timeout_s=120.0, rows=10_000, memory_bytes=2**30)
SHOWN_ROWS = 8
USUAL = "cpu"
FAULT_OF = {  # the recorded fault that makes a query worth reading; the others are shown with USUAL
    "firing": "errors",
    "failing-routes": "errors",
    "error-origin": "errors",
    "exceptions": "errors",
    "waiting": "lock",
    "lock-holders": "lock",
    "lock-waiters": "lock",
    "leaked-goroutines": "leak",
    "memory-growth": "heap",
    "allocation-sites": "heap",
    "garbage-collection": "heap",
    "slow-dependencies": "dependency",
}
FIVE = ("incidents", "span-time", "slow-trace-functions", "guilty-lines", "code-changed")
INTRO = (Path(__file__).parent / "on_call_intro.md").read_text(encoding="utf-8")


class Nights:
    """The recorded faults as snapshots, each loaded when it is asked for first."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._pool = WorkerPool(1)
        self._loaded: dict[str, tuple[Snapshot, str]] = {}
        stack.callback(self._pool.close)

    def ask(self, fault: str, name: str, **params: Any) -> dict[str, Any]:
        """The answer of a saved query; parameters it has are given the time of the recording."""
        snapshot, at = self._night(fault)
        times = {"at": at, "since": "2026-01-01T00:00:00Z"}
        known = {each.name for each in saved_queries()[name].parameters}
        given = {key: value for key, value in times.items() if key in known} | params
        with self._pool.worker(None) as worker:
            return worker.ask(spelled_out(Question(saved=name, params=given)), snapshot, LIMITS).json

    def _night(self, fault: str) -> tuple[Snapshot, str]:
        if fault not in self._loaded:
            store = self._stack.enter_context(Store.open(self._folder / fault))
            at = load_night(store, fault)
            snapshots = Snapshots(store)
            self._stack.callback(snapshots.close)
            self._loaded[fault] = (self._stack.enter_context(snapshots.newest(fresh=True)), at)
        return self._loaded[fault]


@contextmanager
def nights() -> Iterator[Nights]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        yield Nights(Path(folder), stack)


def section(recorded: Nights, query: SavedQuery) -> str:
    """One query: the question, how to ask it, its answer, its SQL."""
    fault = FAULT_OF.get(query.name, USUAL)
    parts = [f"## {query.question}\n"]
    if query.parameters:
        parts.append("".join(f"- `{each.name}` ({each.type}): {each.text}\n" for each in query.parameters))
    parts.append(_asked(query.name, recorded.ask(fault, query.name), fault))
    parts.append(f"<details><summary>SQL</summary>\n\n```sql\n{query.sql}\n```\n\n</details>\n")
    return "\n".join(parts)


def transcript(recorded: Nights) -> str:
    return "\n".join(_asked(name, recorded.ask(USUAL, name), USUAL) for name in FIVE)


def _asked(name: str, answer: Mapping[str, Any], fault: str) -> str:
    shown = {**answer, "rows": answer["rows"][:SHOWN_ROWS], "truncated": False}
    with redirect_stdout(io.StringIO()) as printed:
        print_answer(shown)
    more = len(answer["rows"]) - SHOWN_ROWS
    rest = f"… {more} more\n" if more > 0 else ""
    planted = "" if fault == USUAL else f"Recorded with the fault `{fault}`:\n\n"
    return f"{planted}```\n$ diagnose sql --saved {name}\n{printed.getvalue()}{rest}```\n"


def page() -> str:
    with nights() as recorded:
        sections = [section(recorded, query) for query in saved_queries().values()]
        return "\n".join([INTRO, transcript(recorded), *sections])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
