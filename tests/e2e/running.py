"""A whole stack for tests: with a place that counts messages, and waits that say what did not happen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import yaml
from rich.console import Console

from demo.rules import DEMO, render_rules
from demo.run import Narrator, Steps
from demo.stack import Stack, diagnose_command

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T], timeout_s: float = 90) -> T:
    """The first true value of *look*."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not in {timeout_s:.0f} s: {what}"
        time.sleep(0.1)
    return seen


class Inbox:
    """Where the webhook sink of diagnose delivers to: (incident, revision) of every message, as they came."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int]] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inbox.messages.append((message["incident_id"], message["revision"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._serving.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/inbox"

    def command(self, config: Path) -> list[str]:
        """diagnose with one sink more."""
        settings = yaml.safe_load(config.read_text())
        sinks = [*(sink for sink in settings["sinks"] if sink["name"] != "inbox")]
        settings["sinks"] = [*sinks, {"type": "webhook", "name": "inbox", "url": self.url}]
        config.write_text(yaml.safe_dump(settings))
        return diagnose_command(config)

    def revisions(self, incident_id: str) -> list[int]:
        return [revision for incident, revision in self.messages if incident == incident_id]

    def close(self) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()


@contextmanager
def prepared_stack(folder: Path, programs: dict[str, Path], inbox: Inbox) -> Iterator[Narrator]:
    """The rules of the demo, under load, with profiles of the healthy state."""
    with Stack(folder, programs, render_rules(DEMO), inbox.command) as stack:
        stack.start()
        narrator = Narrator(stack, Console(), Steps())
        try:
            narrator.prepare()
            yield narrator
        finally:
            narrator.api.close()
