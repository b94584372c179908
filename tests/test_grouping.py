from __future__ import annotations

from typing import Any

import pytest

from diagnose.config import Incidents, Rule, Settings, TargetSettings
from diagnose.receive.grouping import capture_kinds, incident_key, matching_rule, service_of


def target(service: str, **match: str) -> TargetSettings:
    return TargetSettings(name=service, service=service, match=match)


TARGETS = [
    target("checkout-svc", job="checkout", env="prod"),
    target("checkout-canary", job="checkout", env="canary"),
    target("pricing-svc", job="pricing", env="prod"),
    target("anything"),
]


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({"job": "checkout", "env": "prod", "service_name": "x"}, "checkout-svc"),
        ({"job": "checkout", "env": "canary"}, "checkout-canary"),
        ({"job": "pricing"}, "pricing-svc"),
        ({"job": "pricing", "env": "test"}, "pricing"),
        ({"job": "checkout"}, "checkout"),
        ({"env": "prod", "service": "ledger"}, "ledger"),
        ({"service_name": "named", "job": "shop/api"}, "named"),
        ({"job": "shop/eu/api", "service": "other"}, "api"),
        ({"job": "shop/", "service": "other"}, "other"),
        ({"alertname": "TargetDown"}, "TargetDown"),
        ({}, ""),
    ],
)
def test_the_service_comes_from_the_target_then_from_the_labels(labels, service):
    assert service == service_of(labels, Settings(targets=TARGETS))


def test_alerts_of_one_service_belong_together_whatever_their_rule():
    settings = Settings()
    latency = incident_key({"alertname": "HighLatency", "job": "checkout", "instance": "a"}, settings)
    errors = incident_key({"alertname": "ErrorRatio", "job": "shop/checkout", "namespace": ""}, settings)

    assert latency == errors
    assert "checkout" == latency.service


@pytest.mark.parametrize("label", ["namespace", "cluster", "environment"])
def test_another_place_is_another_incident(label):
    here = incident_key({"job": "checkout", label: "a"}, Settings())
    there = incident_key({"job": "checkout", label: "b"}, Settings())

    assert here.group_id != there.group_id


def test_what_tells_incidents_apart_is_a_setting():
    settings = Settings(incidents=Incidents(group_by=["team"]))

    assert (
        incident_key({"job": "a", "team": "x"}, settings).group_id
        == incident_key({"job": "b", "team": "x"}, settings).group_id
    )


def rules(*rules: dict[str, Any]) -> Settings:
    return Settings(rules=[Rule(**rule) for rule in rules])


def test_the_first_rule_whose_matchers_all_accept_wins():
    settings = rules(
        {"matchers": ['alertname=~"High.*"', 'severity!="info"'], "seconds": 1},
        {"matchers": ['alertname="HighLatency"'], "seconds": 2},
        {"matchers": [], "seconds": 3},
    )

    assert [1, 2, 3] == [
        rule.seconds
        for labels in (
            {"alertname": "HighLatency", "severity": "critical"},
            {"alertname": "HighLatency", "severity": "info"},
            {"alertname": "NotHighLatency"},
        )
        if (rule := matching_rule(labels, settings))
    ]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({"alertname": "HighLatency", "severity": "warning"}, True),
        ({"alertname": "HighLatency"}, True),
        ({"alertname": "HighLatency", "severity": "info"}, False),
        ({"alertname": "Watchdog", "severity": "critical"}, False),
        ({"alertname": "InfoInhibitor"}, False),
    ],
)
def test_by_default_all_but_the_harmless_open_an_incident(labels, wanted):
    assert wanted == (matching_rule(labels, Settings()) is not None)


@pytest.mark.parametrize(
    ("route", "annotation", "kinds"),
    [
        ({}, {}, ("goroutine", "heap", "cpu")),
        ({}, {"diagnose": ""}, ("goroutine", "heap", "cpu")),
        ({}, {"diagnose": "cpu, heap"}, ("heap", "cpu")),
        ({"diagnose": "cpu,wall"}, {}, ("cpu",)),
        ({"diagnose": "cpu,heap"}, {"diagnose": "heap,goroutine"}, ("heap",)),
        ({}, {"diagnose": "none"}, ()),
    ],
)
def test_labels_narrow_what_a_rule_captures_and_never_widen_it(route, annotation, kinds):
    assert kinds == capture_kinds(Rule(capture=["goroutine", "heap", "cpu"]), route, annotation)
