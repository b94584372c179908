"""That nothing but allowed targets is ever connected to: one table, with a real server that must not be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from diagnose.capture.fetch import Connection, fetch
from diagnose.capture.locks import Turns
from diagnose.capture.network import Unreachable, allowed_address
from diagnose.capture.round import RoundRequest, run_round
from diagnose.errors import CaptureError
from diagnose.kinds import PROFILE_KINDS
from diagnose.model import Target, new_id
from diagnose.store.captures import captures_of
from diagnose.store.db import Store
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving

ANYTHING = ("0.0.0.0/0", "::/0")
LOOPBACK = ("127.0.0.0/8",)
GOROUTINE = PROFILE_KINDS["goroutine"]


@pytest.fixture
def forbidden() -> Iterator[FakeServer]:
    """A process that is up and would answer."""
    with serving(FakeServer(missing=Reply(profile_bytes("leak-goroutine")))) as server:
        yield server


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the whole table."""
    with Store.open(tmp_path_factory.mktemp("refusals") / "data") as opened:
        yield opened


def target(url: str, networks: Sequence[str]) -> Target:
    return Target("checkout", "checkout", "checkout-1", url, tuple(networks), {})


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        # addresses that are never asked, whatever the configuration allows
        ("http://169.254.169.254/latest", ANYTHING),
        ("http://[fe80::1]/", ANYTHING),
        ("http://[fe80::1%25eth0]/", ANYTHING),
        ("http://[fd00:ec2::254]/", ANYTHING),
        ("http://[fd20:ce::254]/", ANYTHING),
        ("http://100.100.100.200/", ANYTHING),
        ("http://192.0.0.192/", ANYTHING),
        ("http://168.63.129.16/", ANYTHING),
        ("http://[::ffff:169.254.169.254]/", ANYTHING),
        ("http://[::ffff:a9fe:a9fe]/", ANYTHING),
        ("http://[64:ff9b::a9fe:a9fe]/", ANYTHING),
        ("http://[2002:a9fe:a9fe::]/", ANYTHING),
        ("http://[::169.254.169.254]/", ANYTHING),
        ("http://2852039166/", ANYTHING),
        ("http://0xa9fea9fe/", ANYTHING),
        ("http://0251.0376.0251.0376/", ANYTHING),
        ("http://224.0.0.1/", ANYTHING),
        ("http://255.255.255.255/", ANYTHING),
        ("http://0.0.0.0:{port}/", ANYTHING),
        ("http://[::]:{port}/", ANYTHING),
        # this machine, when the entry means another network
        ("http://127.0.0.1:{port}/", ["10.0.0.0/8"]),
        ("http://127.1:{port}/", ["10.0.0.0/8"]),
        ("http://2130706433:{port}/", ["10.0.0.0/8"]),
        ("http://localhost:{port}/", ["10.0.0.0/8"]),
        ("http://[::ffff:127.0.0.1]:{port}/", ["10.0.0.0/8"]),
        ("http://[::1]:{port}/", ["10.0.0.0/8"]),
        ("http://127.0.0.1:{port}/", []),
        ("http://127.0.0.2:{port}/", ["127.0.0.1/32"]),
        # URLs that are something else than they look
        ("http://10.0.0.1@127.0.0.1:{port}/", ANYTHING),
        ("http://user:password@127.0.0.1:{port}/", ANYTHING),
        ("http://127.0.0.1:{port}/x?y=1", ANYTHING),
        ("http://127.0.0.1:{port}/#x", ANYTHING),
        ("http://127.0.0.1:99999/", ANYTHING),
        ("http:///debug/pprof", ANYTHING),
        ("file:///etc/passwd", ANYTHING),
        ("unix:///var/run/docker.sock", ANYTHING),
        ("gopher://127.0.0.1:{port}/", ANYTHING),
        ("ftp://127.0.0.1:{port}/", ANYTHING),
        ("//127.0.0.1:{port}/", ANYTHING),
    ],
)
def test_what_is_not_allowed_is_a_refusal_with_its_reason_and_no_connection(rows, forbidden, url, networks):
    incident = new_id("inc")
    url = url.replace("{port}", forbidden.address.rpartition(":")[2])
    run_round(
        rows,
        target(url, networks),
        RoundRequest(incident, "alert", ("goroutine", "cpu", "wall", "trace"), 1),
        on_cheap=lambda: None,
        stop=threading.Event(),
        turns=Turns(),
    )

    captures = captures_of(rows, incident)
    assert {"goroutine", "cpu", "wall", "trace"} == {each.kind for each in captures}
    assert {"refused"} == {each.status for each in captures}, captures
    assert all(each.reason and each.requests is None for each in captures)
    assert [] == forbidden.asked


def test_the_address_that_was_checked_is_the_one_connected_to(forbidden):
    """A name that answers differently the second time (DNS rebinding) is not asked a second time."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    def resolver(host: str, _: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    port = forbidden.address.rpartition(":")[2]
    with Connection(target(f"http://checkout.test:{port}", LOOPBACK), resolver=resolver) as connection:
        fetch(connection, GOROUTINE)
        fetch(connection, GOROUTINE)

    assert ["checkout.test"] == asked
    assert f"checkout.test:{port}" == forbidden.asked[0].headers["Host"]


def test_of_several_addresses_the_first_allowed_is_taken():
    def resolver(*_: object) -> list[str]:
        return ["169.254.169.254", "192.168.0.1", "10.0.0.9"]

    assert "10.0.0.9" == allowed_address("x.test", 80, ["10.0.0.0/8"], resolver)
    with pytest.raises(CaptureError, match=r"192\.168\.0\.1, 10\.0\.0\.9: not in the networks"):
        allowed_address("x.test", 80, ["172.16.0.0/12"], resolver)


@pytest.mark.parametrize("where", ["http://169.254.169.254/", "http://127.0.0.1:1/", "/elsewhere"])
@pytest.mark.parametrize("status", [301, 302, 307])
def test_redirects_are_not_followed(status, where):
    replies = {"/goroutine": Reply(status=status, headers={"Location": where})}
    with serving(FakeServer(replies=replies)) as server, Connection(target(server.url, LOOPBACK)) as connection:
        with pytest.raises(CaptureError, match="redirects are not followed") as caught:
            fetch(connection, GOROUTINE)
        assert ["/goroutine"] == server.paths()

    assert ("refused", status) == (caught.value.status, caught.value.http_status)


def test_a_name_without_an_address_is_a_failure():
    def resolver(*_: object) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Unreachable, match=r"gone\.test cannot be resolved"):
        allowed_address("gone.test", 80, ANYTHING, resolver)
    with pytest.raises(CaptureError, match="cannot be resolved"):
        allowed_address("x" * 70 + ".test", 80, ANYTHING)


def test_proxies_of_the_environment_are_ignored(monkeypatch, forbidden):
    with serving(FakeServer(replies={"/goroutine": Reply(profile_bytes("leak-goroutine"))})) as server:
        monkeypatch.setenv("http_proxy", forbidden.url)
        with Connection(target(server.url, LOOPBACK)) as connection:
            fetch(connection, GOROUTINE)

    assert [] == forbidden.asked
