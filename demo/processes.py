"""
Child processes with log files, in process groups of their own.

A Ctrl-C in the terminal therefore reaches the demo alone, which then stops the others in the order that loses nothing.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from demo.errors import StackError
from demo.guard import Guard

TAIL_LINES = 15
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Child:
    """A program that was started; its output goes to *log*."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


class Children:
    """Starts programs below one folder and stops them, in the order of starting unless told otherwise."""

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder, self._guard = folder, guard
        self._children: dict[str, Child] = {}

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Child:
        """Runs *command* in the folder with *environ* added to ours. Raises StackError when it cannot be executed."""
        log = self._folder / f"{name}.log"
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env={**os.environ, **(environ or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as err:
                raise StackError(f"{name} cannot be started: {err}") from err
        self._guard.watch(process.pid)
        self._children[name] = Child(name, process, log)
        return self._children[name]

    def check(self) -> None:
        """Raises StackError with the last log lines of a program that ended by itself."""
        for child in self._children.values():
            if not child.running:
                raise ended(child)

    def stop(self, name: str, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """Ends one program, by force after *timeout_s*, and returns its exit code; None if it was not started."""
        child = self._children.get(name)
        if child is None:
            return None
        _signal(child, signal.SIGTERM)
        try:
            child.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill(name)
        return self._forget(child)

    def kill(self, name: str) -> int:
        """Ends one program by force, its own children too, and returns its exit code. Raises KeyError."""
        child = self._children[name]
        _signal(child, signal.SIGKILL)
        child.process.wait()
        return self._forget(child)

    def _forget(self, child: Child) -> int:
        self._guard.forget(child.process.pid)
        del self._children[child.name]
        return int(child.process.returncode)

    def stop_all(self, order: Sequence[str] = ()) -> None:
        """Ends everything: *order* first, then the rest as started."""
        for name in (*order, *list(self._children)):
            self.stop(name)


def wait_ready(child: Child, url: str, timeout_s: float = 30.0) -> None:
    """Returns once *url* answers 200. Raises StackError when the program ends or *timeout_s* passes before."""
    deadline, said = time.monotonic() + timeout_s, "nothing"
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline:
            if not child.running:
                raise ended(child)
            try:
                answer = session.get(url, timeout=2)
            except requests.RequestException as err:
                said = f"no answer ({type(err).__name__})"
            else:
                if answer.status_code == requests.codes.ok:
                    return
                said = f"{answer.status_code} {answer.text.strip()[:500]}"
            time.sleep(0.05)
    raise StackError(
        f"{child.name} is not ready after {timeout_s:.0f} s: {url} gave {said}\n"
        f"its last log lines ({child.log}):\n{child.last_lines()}"
    )


def ended(child: Child) -> StackError:
    return StackError(
        f"{child.name} ended with exit code {child.process.returncode}\n"
        f"its last log lines ({child.log}):\n{child.last_lines()}"
    )


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """
    Ports on loopback that nobody listens on.

    They lie below the range the kernel gives to outgoing connections (32768 and up on Linux), so that none of those can
    take one between this look and the program's bind.
    """
    taken: list[int] = []
    for port in random.sample(range(20000, 32000), 4000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.append(port)
        if len(taken) == count:
            return taken
    raise StackError(f"no {count} free ports between 20000 and 32000 on 127.0.0.1")


def _signal(child: Child, number: signal.Signals) -> None:
    if child.running:
        os.killpg(child.process.pid, number)
