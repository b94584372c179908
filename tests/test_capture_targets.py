from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from diagnose.capture.targets import TargetDirectory, choose, scraped_networks
from diagnose.config import Settings
from tests.fake_upstreams import FakeServer, Reply, data, prometheus_at, recorded, serving

API = {"name": "api", "match": {"job": "api"}, "service": "checkout", "pprof": "http://{address}/debug/pprof"}
TARGETS = "/api/v1/targets"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeServer(replies={TARGETS: recorded("prometheus-targets")})) as server:
        yield server


def directory(fake: FakeServer, *entries: dict[str, Any], **more: Any) -> TargetDirectory:
    return TargetDirectory(Settings(targets=list(entries)), [prometheus_at(fake)], **more)


def discovered(address: str, *, health: str = "up", scheme: str = "http", **labels: str) -> dict[str, Any]:
    labels = {"job": "api"} | labels
    hidden = {"__address__": address, "__scheme__": scheme, **labels}
    return {"labels": {"instance": address} | labels, "discoveredLabels": hidden, "health": health}


def answering(fake: FakeServer, *targets: dict[str, Any]) -> None:
    fake.replies[TARGETS] = data({"activeTargets": list(targets)})


def test_targets_come_from_prometheus_through_the_entry_that_matches(fake):
    found = directory(fake, API).all()

    assert ["127.0.0.1:27001", "127.0.0.1:27000"] == [target.instance for target in found]
    assert "http://127.0.0.1:27001/debug/pprof" == found[0].pprof_url
    assert ("api", "checkout", ("127.0.0.1/32",), True) == (
        found[0].name,
        found[0].service,
        found[0].networks,
        found[0].up,
    )


def test_the_address_is_the_one_before_relabelling(fake):
    answering(fake, discovered("10.0.0.7:8080", instance="checkout-1"))
    entry = API | {"pprof": "https://{host}:6060/x/pprof/", "networks": ["10.0.0.0/8"]}

    (target,) = directory(fake, entry).all()

    assert ("checkout-1", "https://10.0.0.7:6060/x/pprof", ("10.0.0.0/8",)) == (
        target.instance,
        target.pprof_url,
        target.networks,
    )


def test_static_addresses_need_no_prometheus():
    entry = API | {"source": "static", "addresses": ["10.0.0.7:6060", "[::1]:6061"], "pprof": "http://{host}:{port}/p"}

    first, second = TargetDirectory(Settings(targets=[entry]), []).all()

    assert ("http://10.0.0.7:6060/p", "10.0.0.7:6060", ("10.0.0.7/32",)) == (
        first.pprof_url,
        first.instance,
        first.networks,
    )
    assert ("http://[::1]:6061/p", ("::1/128",)) == (second.pprof_url, second.networks)
    assert "api" == first.labels["job"]


def test_a_scrape_address_without_a_port_has_that_of_its_scheme(fake):
    answering(fake, discovered("a.test", scheme="https"), discovered("b.test"))

    found = directory(fake, API, resolver=lambda *_: ["10.0.0.1"]).all()

    assert ["http://a.test:443/debug/pprof", "http://b.test:80/debug/pprof"] == [each.pprof_url for each in found]


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1@169.254.169.254:80",
        "host/path:80",
        "host:80/x",
        "host:0",
        "host:99999",
        "a b:80",
        "[::1]x:80",
        "",
        "-a:1",
    ],
)
def test_an_address_that_is_not_host_and_port_is_no_target(fake, address):
    answering(fake, discovered(address))

    assert [] == directory(fake, API).all()


def test_a_target_that_two_servers_or_entries_know_is_one(fake):
    entries = [API, API | {"name": "again"}]
    settings = Settings(targets=entries)

    found = TargetDirectory(settings, [prometheus_at(fake), prometheus_at(fake)]).all()

    assert ["api", "api"] == [target.name for target in found]


def test_the_list_is_looked_up_again_when_it_is_old_and_at_once_when_it_is_empty(fake):
    answering(fake)
    clock = Clock()
    targets = directory(fake, API, clock=clock)
    assert [] == targets.all()

    fake.replies[TARGETS] = recorded("prometheus-targets")
    clock.now_s += 1.1
    assert 2 == len(targets.all())

    clock.now_s += 14
    targets.all()
    assert 2 == len(fake.asked)

    clock.now_s += 2
    targets.all()
    assert 3 == len(fake.asked)


def test_what_prometheus_said_last_stays_while_it_is_down(fake):
    clock = Clock()
    targets = directory(fake, API, clock=clock)
    targets.all()
    fake.replies[TARGETS] = Reply(b"", 503)
    clock.now_s += 60

    assert 2 == len(targets.all())
    assert 2 == len(fake.asked)


def test_a_name_is_confined_to_its_addresses_of_now():
    networks = scraped_networks("api.test", lambda *_: ["10.0.0.1", "fd00::1"])

    assert ("10.0.0.1/32", "fd00::1/128") == networks


def test_a_name_that_claims_to_be_this_machine_is_not_believed():
    assert () == scraped_networks("evil.test", lambda *_: ["127.0.0.1"])
    assert ("127.0.0.1/32",) == scraped_networks("localhost", lambda *_: ["127.0.0.1"])


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ({"job": "api", "instance": "127.0.0.1:27001"}, 2),
        ({"job": "api", "route": "/pay", "severity": "critical"}, 2),
        ({"job": "shop/checkout"}, 2),
        ({"job": "api", "env": "prod"}, 0),
        ({"job": "down"}, 0),
        ({"service_name": "checkout", "job": "otel-collector"}, 2),
        ({"service_name": "pricing", "job": "api"}, 0),
        ({"service": "checkout"}, 2),
        ({"service": "pricing", "job": "api"}, 0),
        ({"instance": "127.0.0.1:27000"}, 2),
        ({"instance": "127.0.0.1:9"}, 0),
        ({"env": "test", "severity": "critical"}, 0),
        ({}, 0),
        ({"alertname": "X", "pprof_url": "http://169.254.169.254/", "__address__": "169.254.169.254:80"}, 0),
    ],
)
def test_an_alert_chooses_among_the_targets_by_the_labels_both_have(fake, labels, count):
    assert count == len(directory(fake, API).for_labels(labels))


def test_a_rule_label_called_service_does_not_hide_a_target_without_one(fake):
    answering(fake, discovered("10.0.0.1:1"))

    assert 1 == len(directory(fake, API).for_labels({"service": "team-payments", "job": "api"}))


def test_the_instance_the_alert_names_is_sick_and_another_is_its_peer(fake):
    targets = directory(fake, API).all()

    sick, peer = choose(targets, {"job": "api", "instance": "127.0.0.1:27000"}, 2)

    assert ["127.0.0.1:27000"] == [target.instance for target in sick]
    assert peer is not None
    assert "127.0.0.1:27001" == peer.instance


def test_an_aggregated_alert_takes_those_that_are_up_first_and_has_no_peer(fake):
    answering(fake, discovered("10.0.0.1:1", health="down"), discovered("10.0.0.2:1"), discovered("10.0.0.3:1"))
    targets = directory(fake, API).all()

    sick, peer = choose(targets, {"job": "api"}, 2)

    assert (["10.0.0.2:1", "10.0.0.3:1"], None) == ([target.instance for target in sick], peer)


def test_an_instance_nobody_knows_counts_as_aggregated(fake):
    sick, peer = choose(directory(fake, API).all(), {"instance": "8f5e2c1a-uuid"}, 1)

    assert (1, None) == (len(sick), peer)


def test_a_lone_sick_instance_has_no_peer(fake):
    answering(fake, discovered("10.0.0.1:1", pod="a"), discovered("10.0.0.2:1", health="down", pod="b"))

    sick, peer = choose(directory(fake, API).all(), {"pod": "a"}, 2)

    assert (["10.0.0.1:1"], None) == ([target.instance for target in sick], peer)


def test_credentials_do_not_show(fake):
    entry = API | {"basic_auth": {"username": "u", "password": "s3cret"}}

    (target, _) = directory(fake, entry).all()

    assert "s3cret" not in repr(target)
    assert "s3cret" in json.dumps(target.client.model_dump(), default=str)
