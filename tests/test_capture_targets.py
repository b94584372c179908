from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from diagnose.capture.choice import Choice, Watched, choose_for
from diagnose.capture.targets import TargetDirectory, scraped_networks
from diagnose.capture.worst import per_instance
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


def chosen(directory: TargetDirectory, *labels: dict[str, str], instances: int = 2, **watched: Any) -> Choice:
    return choose_for(directory, [Watched(each, **watched) for each in labels], instances)


def names(choice: Choice) -> tuple[list[str], str | None]:
    return [target.instance for target in choice.sick], choice.peer.instance if choice.peer else None


def measuring(fake: FakeServer, **values: float | str) -> None:
    """Prometheus answers any query with these values by instance."""
    series = [{"metric": {"job": "api", "instance": each}, "value": [1, str(value)]} for each, value in values.items()]
    fake.replies["/api/v1/query"] = data({"resultType": "vector", "result": series})


def four(fake: FakeServer) -> TargetDirectory:
    answering(fake, *(discovered(f"10.0.0.{number}:1", pod=f"p{number}") for number in range(1, 5)))
    return directory(fake, API)


def test_the_instance_the_alert_names_is_sick_and_another_is_its_peer(fake):
    choice = chosen(directory(fake, API), {"job": "api", "instance": "127.0.0.1:27000"})

    assert (["127.0.0.1:27000"], "127.0.0.1:27001") == names(choice)
    assert [TARGETS] == fake.paths()


def test_several_alerts_name_several_and_no_more_than_wanted_are_taken(fake):
    alerts = [{"job": "api", "pod": f"p{number}"} for number in (1, 2, 3)]

    assert (["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"], "10.0.0.4:1") == names(chosen(four(fake), *alerts, instances=3))
    assert 2 == len(chosen(four(fake), *alerts).sick)


def test_an_aggregated_alert_takes_those_that_are_up_first_and_has_no_peer(fake):
    answering(fake, discovered("10.0.0.1:1", health="down"), discovered("10.0.0.2:1"), discovered("10.0.0.3:1"))

    assert (["10.0.0.2:1", "10.0.0.3:1"], None) == names(chosen(directory(fake, API), {"job": "api"}))


@pytest.mark.parametrize(
    ("values", "watched", "sick", "peer"),
    [
        # the worst two; the best of the others that does not fire is the peer
        ((0.1, 2.0, 0.9, 3.0), {"threshold": 0.5}, [4, 2], 1),
        # only those that fire are sick
        ((0.1, 0.1, 0.2, 3.0), {"threshold": 0.5}, [4], 1),
        # nobody fires alone: half of the worst or less is healthy
        ((9.0, 10.0, 6.0, 4.0), {"threshold": 25.0}, [2, 1], 4),
        # all alike: no healthy peer
        ((9.0, 10.0, 9.5, 8.0), {}, [2, 3], None),
        # fires when low
        ((0.99, 0.5, 0.98, 0.7), {"threshold": 0.9, "low_is_bad": True}, [2, 4], 1),
        # one is not known, one is no number
        ((0.1, None, "NaN", 3.0), {"threshold": 0.5}, [4, 2], 1),
    ],
)
def test_of_an_aggregated_alert_the_worst_instances_are_taken(fake, values, watched, sick, peer):
    targets = four(fake)
    measuring(fake, **{f"10.0.0.{at}:1": value for at, value in enumerate(values, start=1) if value is not None})

    found = names(chosen(targets, {"job": "api"}, expr="sum(rate(x_total[1m]))", **watched))

    assert ([f"10.0.0.{number}:1" for number in sick], peer and f"10.0.0.{peer}:1") == found
    assert "sum by (instance, service_instance_id, pod) (rate(x_total[1m]))" == fake.asked[-1].query["query"]


def test_when_prometheus_cannot_tell_the_worst_something_is_taken(fake):
    targets = four(fake)
    fake.replies["/api/v1/query"] = Reply(b'{"status":"error","errorType":"bad_data","error":"no"}', 400)

    assert (["10.0.0.1:1", "10.0.0.2:1"], None) == names(chosen(targets, {"job": "api"}, expr="sum(x)"))


GROUPED = "instance, service_instance_id, pod"


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("sum by (job) (rate(x[1m]))", f"sum by (job, {GROUPED}) (rate(x[1m]))"),
        ("sum(rate(x[1m])) by (job)", f"sum(rate(x[1m])) by (job, {GROUPED})"),
        ("sum(rate(x[1m]))", f"sum by ({GROUPED}) (rate(x[1m]))"),
        (
            "histogram_quantile(0.9, sum by (le) (rate(x[1m])))",
            f"histogram_quantile(0.9, sum by (le, {GROUPED}) (rate(x[1m])))",
        ),
        ("avg without (instance, zone) (x)", "avg without (zone) (x)"),
        ("sum(a) / sum(b)", f"sum by ({GROUPED}) (a) / sum by ({GROUPED}) (b)"),
        ("a / on (job) group_left sum(b) by (job)", f"a / on (job, {GROUPED}) group_left sum(b) by (job, {GROUPED})"),
        ('sum(x{path="by (a) sum(b)"})', f'sum by ({GROUPED}) (x{{path="by (a) sum(b)"}})'),
        ("sum(max(x))", f"sum by ({GROUPED}) (max by ({GROUPED}) (x))"),
        ("go_goroutines", "go_goroutines"),
        ("sum(((", f"sum by ({GROUPED}) ((("),
        ("", ""),
    ],
)
def test_an_expression_gets_the_instance_into_every_grouping(expr, expected):
    assert expected == per_instance(expr)


UUID = "627cc493-f310-47de-96bd-71410b7dec09"


def describing(fake: FakeServer, **info: str) -> None:
    series = {"metric": {"__name__": "target_info", "instance": UUID, **info}, "value": [1, "1"]}
    fake.replies["/api/v1/query"] = data({"resultType": "vector", "result": [series]})


@pytest.mark.parametrize(
    ("info", "sick"),
    [
        ({"k8s_pod_name": "p3"}, "10.0.0.3:1"),
        ({"k8s_pod_ip": "10.0.0.2"}, "10.0.0.2:1"),
        ({"host_ip": "10.0.0.4", "k8s_pod_name": "unknown"}, "10.0.0.4:1"),
    ],
)
def test_a_uuid_for_an_instance_is_looked_up_in_target_info(fake, info, sick):
    targets = four(fake)
    describing(fake, **info)

    choice = chosen(targets, {"job": "shop/checkout", "instance": UUID}, instances=1)

    assert [sick] == names(choice)[0]
    assert choice.peer is not None
    assert f'target_info{{instance="{UUID}"}}' == fake.asked[-1].query["query"]


@pytest.mark.parametrize("info", [{"host_name": "elsewhere"}, {}, {"host_ip": "127.0.0.1"}])
def test_an_instance_nobody_knows_counts_as_aggregated(fake, info):
    describing(fake, **info)

    sick, peer = names(chosen(directory(fake, API), {"job": "api", "instance": UUID}, instances=1))

    assert (1, None) == (len(sick), peer)


def test_a_lone_sick_instance_has_no_peer(fake):
    answering(fake, discovered("10.0.0.1:1", pod="a"), discovered("10.0.0.2:1", health="down", pod="b"))

    assert (["10.0.0.1:1"], None) == names(chosen(directory(fake, API), {"pod": "a"}))


def test_no_target_is_no_choice(fake):
    assert ([], None) == names(chosen(directory(fake), {"job": "api"}))


def test_credentials_do_not_show(fake):
    entry = API | {"basic_auth": {"username": "u", "password": "s3cret"}}

    (target, _) = directory(fake, entry).all()

    assert "s3cret" not in repr(target)
    assert "s3cret" in json.dumps(target.client.model_dump(), default=str)
