"""
Ends what a demo started when the demo itself was killed and could not do it.

A guard is a process that reads lines `+ PGID` and `- PGID` from its standard input. The pipe closes when the demo ends,
however it ends: then every process group still on the list gets SIGTERM and, a little later, SIGKILL. Groups, so that
children of children go too. A signal on the parent's death would be shorter, but exists on Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

GRACE_S = 5.0


class Guard:
    """The demo's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo.guard"], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Has everything ended that was not forgotten, and waits for it."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def groups_left(lines: Iterable[str]) -> list[int]:
    """The process groups that were announced and not taken back, once the lines end."""
    left: dict[int, None] = {}
    for line in lines:
        sign, group = line.split()
        if sign == "+":
            left[int(group)] = None
        else:
            left.pop(int(group), None)
    return list(left)


def end(groups: Iterable[int], grace_s: float = GRACE_S) -> None:
    """SIGTERM to each group, SIGKILL to those still there after *grace_s*."""
    left = [group for group in groups if _signal(group, signal.SIGTERM)]
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [group for group in left if _signal(group, 0)]
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone; macOS says the latter of a zombie
        return False
    return True


if __name__ == "__main__":
    end(groups_left(sys.stdin))
