"""One child process for queries, seen from the server: started, asked, waited for, killed when its time is over."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, Any, cast

from diagnose.errors import QueryError
from diagnose.model import rfc3339
from diagnose.query.question import Limits, QueryAnswer, Question
from diagnose.query.saved import is_saved
from diagnose.store.snapshots import Snapshot

START_S = 20.0  # for the child to start, beside the query's own time
GRACE_S = 0.5  # to send what was found in time
PIECE_BYTES = 1 << 20
HUNG_UP = getattr(select, "POLLRDHUP", 0)  # Linux; elsewhere a client that is gone is noticed when it is answered
LAST_WORDS = {"timeout", "memory_limit"}  # after these the process is not used again
SPARSE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


class Child:
    """
    A process that answers one question after the other; none can see what another one left.

    Starting returns at once. `is_usable` is false once it must not be asked again.
    """

    def __init__(self) -> None:
        environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **SPARSE}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "diagnose.query.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,  # Ctrl-C in a terminal is for the server, which ends its children
        )
        self._questions = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        os.set_blocking(self._answers.fileno(), False)
        self._received = bytearray()
        self._is_ready = False
        self.is_usable = True

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Question, snapshot: Snapshot, limits: Limits, *, client: int | None = None) -> QueryAnswer:
        """
        Run the statement of *question* on *snapshot*.

        *client* is the socket of whoever asks: when its other side closes, the query is stopped. Raises QueryError:
        `refused` for anything but one SELECT or EXPLAIN and for what reaches beyond the snapshot, `sql_error`,
        `timeout`, `memory_limit`, `cancelled`.
        """
        try:
            self._wait_until_ready(client)
            message = _message(question, snapshot, limits)
            self._send(message)
            deadline_s = time.monotonic() + limits.timeout_s + GRACE_S
            head = json.loads(self._receive(None, deadline_s, client))
            body = self._receive(head.get("bytes", 0), deadline_s, client)
        except _TimeOver as err:
            self.kill()
            raise QueryError(f"the query took longer than {limits.timeout_s:g} s", code="timeout") from err
        except QueryError:
            self.kill()
            raise
        if "code" in head:
            self.is_usable = head["code"] not in LAST_WORDS
            raise QueryError(head["message"], code=head["code"])
        return QueryAnswer(
            body, question.form, head["row_count"], head["truncated"], head["elapsed_ms"], snapshot.as_of
        )

    def stop(self) -> None:
        """End the process; whoever waits for its answer is told and kills it."""
        self.is_usable = False
        self._process.kill()

    def kill(self) -> None:
        """By whoever has it; calling it twice is harmless."""
        self.stop()
        self._process.wait()
        with suppress(BrokenPipeError):  # what is left of a question that nobody will read
            self._questions.close()
        self._answers.close()

    def _wait_until_ready(self, client: int | None) -> None:
        """How long a process takes to start is not the reader's business."""
        if self._is_ready:
            return
        try:
            self._receive(None, time.monotonic() + START_S, client)
        except _TimeOver as err:
            raise QueryError("the process for the query did not start in time", code="busy") from err
        self._is_ready = True

    def _send(self, message: bytes) -> None:
        try:
            self._questions.write(message)
            self._questions.flush()
        except OSError as err:
            raise QueryError(self._how_it_ended(), code="busy") from err

    def _receive(self, size: int | None, deadline_s: float, client: int | None) -> bytes:
        """So many bytes; with None, one line. Raises _TimeOver and QueryError."""
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        if client is not None and HUNG_UP:
            poller.register(client, HUNG_UP)
        while (found := self._taken(size)) is None:
            ready = poller.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
            if not ready:
                raise _TimeOver
            if any(place == client for place, _ in ready):
                raise QueryError("whoever asked is gone", code="cancelled")
            piece = os.read(self._answers.fileno(), PIECE_BYTES)
            if not piece:
                raise self._ended()
            self._received += piece
        return found

    def _taken(self, size: int | None) -> bytes | None:
        if size is None:
            size = self._received.find(b"\n") + 1 or len(self._received) + 1
        if len(self._received) < size:
            return None
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    def _ended(self) -> QueryError:
        """It died in the middle of its work."""
        how = self._how_it_ended()
        if self._process.returncode in (-signal.SIGXCPU, -signal.SIGALRM):
            return QueryError(how, code="timeout")
        return QueryError(f"{how}: it needed too much memory", code="memory_limit")

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        return f"the process of the query ended with {signal.Signals(-code).name if code < 0 else code}"


class _TimeOver(Exception):
    """The deadline has passed."""


def _message(question: Question, snapshot: Snapshot, limits: Limits) -> bytes:
    """One line of JSON, as the worker reads it."""
    asked: dict[str, Any] = {
        "file": str(snapshot.file),
        "folders": [str(folder) for folder in snapshot.folders],
        "as_of": rfc3339(snapshot.as_of),
        "sql": question.sql,
        "is_saved": is_saved(question),
        "params": dict(question.params),
        "form": question.form,
        "rows": limits.rows,
        "memory_bytes": limits.memory_bytes,
        "timeout_s": limits.timeout_s,
    }
    return json.dumps(asked).encode() + b"\n"
