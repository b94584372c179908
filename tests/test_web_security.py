from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from diagnose.config import Auth, BasicUser, Server, Settings, Token
from diagnose.store.db import Store
from tests.builders import webhook
from tests.serving import Serving, serving


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_web(store: Store) -> Iterator[Serving]:
    """Without credentials, as on a loopback listener."""
    settings = Settings(server=Server(external_url="https://diagnose.example:8443", hosts=["alias.example"]))
    with serving(store, settings) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(store: Store) -> Iterator[Serving]:
    auth = Auth(
        tokens=[
            Token(name="am", token="t-ingest", roles=["ingest"]),
            Token(name="reader", token="t-read", roles=["read"]),
            Token(name="root", token="t-admin", roles=["admin"]),
        ],
        basic=[BasicUser(user="eve", password="pass:word", roles=["read", "sql"])],
    )
    with serving(store, Settings(auth=auth)) as running:
        yield running


def basic(credentials: str) -> str:
    return "Basic " + b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9095",
        "localhost.",
        "127.0.0.1:1",
        "127.8.9.1",
        "[::1]:9095",
        "diagnose.example",
        "diagnose.example:8443",
        "alias.example:80",
    ],
)
def test_our_own_names_are_served(open_web, host):
    assert 200 == open_web.get("/healthz", Host=host).status


@pytest.mark.parametrize(
    "host", ["evil.example", "10.0.0.1:9095", "localhost.evil.example", "", "[::2]", "127.0.0.1.evil"]
)
def test_other_names_are_not(open_web, host):
    answer = open_web.get("/healthz", Host=host)

    assert (403, "forbidden") == (answer.status, answer.error["code"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
)
def test_requests_from_other_sites_are_refused_the_webhook_included(open_web, headers):
    assert 403 == open_web.post("/webhook", webhook(), **headers).status
    assert 200 == open_web.get("/", **headers).status


def test_requests_from_our_own_pages_are_served(open_web):
    for origin in (open_web.url, "https://diagnose.example:8443"):
        assert 202 == open_web.post("/webhook", webhook(), Origin=origin, Sec_Fetch_Site="same-origin").status


@pytest.mark.parametrize(
    ("method", "path", "credentials", "status"),
    [
        ("POST", "/webhook", "", 401),
        ("POST", "/webhook", "Bearer wrong", 401),
        ("POST", "/webhook", "Bearer t-ingest", 202),
        ("POST", "/webhook", "bearer  t-ingest", 202),
        ("POST", "/webhook", "Bearer t-read", 403),
        ("POST", "/webhook", "Bearer t-admin", 202),
        ("POST", "/webhook", basic("eve:pass:word"), 403),
        ("GET", "/api/v1/incidents", "", 401),
        ("GET", "/api/v1/incidents", "Bearer t-read", 200),
        ("GET", "/api/v1/incidents", "Bearer t-ingest", 403),
        ("GET", "/api/v1/incidents", basic("eve:pass:word"), 200),
        ("GET", "/api/v1/incidents", basic("eve:wrong"), 401),
        ("GET", "/api/v1/incidents", basic("mallory:pass:word"), 401),
        ("GET", "/api/v1/incidents", "Basic %%%", 401),
        ("GET", "/api/v1/incidents", "Digest x", 401),
        ("GET", "/", "", 401),
        ("GET", "/sql", "Bearer t-read", 403),
        ("GET", "/sql", basic("eve:pass:word"), 200),
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
        ("GET", "/metrics", "", 200),
        ("GET", "/nowhere", "", 404),
    ],
)
def test_every_endpoint_asks_for_its_role(guarded, method, path, credentials, status):
    body = webhook() if method == "POST" else None
    headers = {"Authorization": credentials} if credentials else {}

    assert status == guarded.ask(method, path, body, **headers).status


def test_a_401_says_which_credentials_are_taken(guarded):
    answer = guarded.get("/api/v1/incidents")

    assert ["Basic realm=diagnose", "Bearer realm=diagnose"] == answer.headers.get_all("WWW-Authenticate")
    assert "t-read" not in answer.text


def test_a_refused_body_is_read_off_and_not_kept(guarded):
    """The connection can be used again; what strangers send is not worth a row."""
    connection = guarded.connect()
    for _ in range(2):
        connection.request("POST", "/webhook", b"x" * 300_000)
        response = connection.getresponse()
        response.read()
        assert (401, None) == (response.status, response.headers.get("Connection"))
    connection.close()
    assert [] == guarded.store.rows("SELECT * FROM rejected_request")


def test_a_refused_body_without_end_costs_the_connection(guarded):
    connection = guarded.connect()
    connection.request("POST", "/webhook", b"x" * 6_000_000)
    response = connection.getresponse()

    assert (401, "close") == (response.status, response.headers["Connection"])
    connection.close()


@pytest.mark.parametrize("path", ["/", "/sql", "/healthz", "/api/v1/incidents", "/nowhere"])
def test_every_answer_has_the_safe_headers(open_web, path):
    headers = open_web.get(path).headers

    assert "nosniff" == headers["X-Content-Type-Options"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "no-store" == headers["Cache-Control"]


def test_every_view_says_which_role_it_asks_for(open_web):
    views = open_web.server.app.view_functions.items()

    assert [] == [name for name, view in views if not hasattr(view, "role")]
