"""A page of another site in a real browser: it can neither post to us nor read from us, under any name."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from diagnose.store.db import Store
from tests.builders import webhook
from tests.serving import Serving, serving

pytestmark = pytest.mark.browser

# Each answers what a script of the page got: the text it could read, or why it got none.
ATTEMPTS = {
    "post": "fetch(url + '/webhook', {method: 'POST', body})",
    "post without asking": "fetch(url + '/webhook', {method: 'POST', mode: 'no-cors', body})",
    "beacon": "Promise.resolve(new Response(String(navigator.sendBeacon(url + '/webhook', body))))",
    "put": "fetch(url + '/webhook', {method: 'PUT', body})",
    "read": "fetch(url + '/api/v1/incidents')",
    "read with cookies": "fetch(url + '/api/v1/incidents', {credentials: 'include'})",
    "sql": "fetch(url + '/api/v1/sql', {method: 'POST', body: JSON.stringify({sql: 'SELECT 1'})})",
}
SCRIPT = "([url, body]) => %s.then(answer => answer.text(), error => 'refused: ' + error)"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store) as running:
        running.post("/webhook", webhook())
        yield running


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of another site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """In a browser for which every name is this machine, as after a DNS rebinding."""
    installed = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP *.example 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed, args=arguments)
        yield browser.new_page()
        browser.close()


def messages(web: Serving) -> int:
    return int(web.store.row("SELECT count(*) AS n FROM message")["n"])


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_page_of_another_site_gets_nothing_in_and_nothing_out(web, elsewhere, page, attempt):
    before = messages(web)
    page.goto(f"http://evil.example:{elsewhere}/")

    got = page.evaluate(SCRIPT % ATTEMPTS[attempt], [web.url, json.dumps(webhook(groupKey="evil"))])

    assert "HighLatency" not in got
    assert '"rows"' not in got
    assert before == messages(web)


def test_a_form_of_another_site_is_refused(web, elsewhere, page):
    before = messages(web)
    page.goto(f"http://evil.example:{elsewhere}/")
    page.set_content(
        f'<form method="post" enctype="text/plain" action="{web.url}/webhook">'
        f"<input name='{json.dumps(webhook(groupKey='form'))[:-1]}, \"x\": \"' value='\"}}'><button>go</button></form>"
    )
    with page.expect_navigation() as navigation:
        page.click("button")

    assert 403 == navigation.value.status
    assert before == messages(web)


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/", "/healthz", "/openapi.json", "/metrics"])
def test_a_name_that_was_pointed_at_us_reads_nothing(web, page, path):
    """The page's own origin: same-origin rules protect nobody here, only the Host header tells."""
    answer = page.goto(f"http://rebound.example:{web.port}{path}")

    assert 403 == answer.status
    assert "HighLatency" not in page.content()


def test_a_name_that_was_pointed_at_us_posts_nothing(web, page):
    before = messages(web)
    page.goto(f"http://rebound.example:{web.port}/")
    url = f"http://rebound.example:{web.port}"

    got = page.evaluate(SCRIPT % ATTEMPTS["post"], [url, json.dumps(webhook(groupKey="rebound"))])

    assert '"accepted"' not in got
    assert before == messages(web)
