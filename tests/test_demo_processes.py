"""Programs of the demo say why they did not start, stop in order, and never outlive a demo that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.errors import StackError
from demo.guard import Guard, groups_left
from demo.processes import Children, free_ports, wait_ready
from demo.tools import ROOT

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
KILLED_DEMO = """
import sys, time
from pathlib import Path
from demo.guard import Guard
from demo.processes import Children
children = Children(Path(sys.argv[1]), Guard())
program = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
print(children.start("parent", [sys.executable, "-c", program]).process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    guard = Guard()
    started = Children(tmp_path, guard)
    yield started
    started.stop_all()
    guard.close()


def wait_until(condition: object, timeout_s: float = 10) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """A zombie is not: who reaps orphans is the machine's business."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_program_that_ends_is_reported_with_its_last_lines(children: Children) -> None:
    child = children.start("broken", [sys.executable, "-c", "print('port 80: permission denied'); raise SystemExit(3)"])

    with pytest.raises(StackError, match=r"broken ended with exit code 3[\s\S]*port 80: permission denied"):
        wait_ready(child, "http://127.0.0.1:1/ready")
    with pytest.raises(StackError, match="broken ended with exit code 3"):
        children.check()


def test_a_program_that_does_not_get_ready_is_reported_with_what_it_answers(children: Children) -> None:
    class NotYet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"no prometheus")

        def log_message(self, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), NotYet)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    child = children.start("slow", SLEEP)
    wait_until(lambda: "up" in child.last_lines())

    with pytest.raises(StackError, match=r"slow is not ready after 0 s: .* gave 503 no prometheus[\s\S]*up"):
        wait_ready(child, f"http://127.0.0.1:{server.server_port}/readyz", timeout_s=0.3)

    server.shutdown()
    serving.join()
    server.server_close()


def test_a_program_that_is_not_there_is_named(children: Children) -> None:
    with pytest.raises(StackError, match="ghost cannot be started"):
        children.start("ghost", ["/no/such/program"])


def test_a_program_that_ignores_the_signal_is_ended_by_force(children: Children) -> None:
    child = children.start("stubborn", STUBBORN)
    wait_until(lambda: "up" in child.last_lines())

    assert -signal.SIGKILL == children.stop("stubborn", timeout_s=0.2)
    assert children.stop("stubborn") is None


def test_nothing_outlives_a_demo_that_was_killed(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-c", KILLED_DEMO, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    assert demo.stdout
    child = int(demo.stdout.readline())
    log = tmp_path / "parent.log"
    wait_until(lambda: log.read_text().strip())
    grandchild = int(log.read_text())
    assert alive(child)
    assert alive(grandchild)

    demo.kill()
    demo.wait()
    demo.stdout.close()

    wait_until(lambda: not alive(child) and not alive(grandchild))


def test_the_guard_ends_only_what_was_not_taken_back() -> None:
    assert [2, 4] == groups_left(["+ 1", "+ 2", "- 1", "+ 4", "- 9"])


def test_free_ports_differ() -> None:
    assert 20 == len(set(free_ports(20)))
