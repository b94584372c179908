"""
Stands where diagnose stands, for tests of everything before it: keeps what arrives and shows it.

    python receiver.py HOST:PORT

POST anything: kept; GET /seen: a list of {"path", "bytes", "alerts"}; GET anything else: 200.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen: list[dict[str, object]] = []


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(json.dumps(seen).encode() if self.path == "/seen" else b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        alerts = json.loads(body)["alerts"] if self.path == "/webhook" else []
        seen.append({"path": self.path, "bytes": len(body), "alerts": alerts})
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    ThreadingHTTPServer((host, int(port)), Receiver).serve_forever()
