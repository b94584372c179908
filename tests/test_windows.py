"""The metrics around an incident, asked of Prometheus and kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from diagnose.capture.targets import TargetDirectory
from diagnose.config import Incidents, Settings
from diagnose.correlate.question import Readers
from diagnose.correlate.windows import MOST_POINTS, Span, metric_windows, selector_of
from diagnose.pipeline import Pipeline
from diagnose.prometheus import Prometheus
from diagnose.store.db import Store
from diagnose.store.incidents import episodes_of
from tests.fake_upstreams import FakeServer, Reply, data, prometheus_at, serving
from tests.recorded_incident import open_incident

AT = datetime(2026, 11, 24, 10, 0, 7, tzinfo=UTC)
NAMES = ["go_.*", "up"]


@pytest.mark.parametrize(
    ("lasted", "scrape_s", "step_s"),
    [
        (timedelta(minutes=10), 15.0, 15.0),
        (timedelta(minutes=10), 5.0, 5.0),
        (timedelta(days=2), 15.0, 120.0),
        (timedelta(0), 60.0, 60.0),
    ],
)
def test_a_window_starts_an_hour_before_at_the_scrape_interval_or_a_multiple_of_it(lasted, scrape_s, step_s):
    span = Span.of(AT, AT + lasted, scrape_s)

    assert step_s == span.step_s
    assert timedelta(0) <= span.start - (AT - timedelta(hours=1)) < timedelta(seconds=step_s)
    assert (span.end - span.start).total_seconds() / step_s <= MOST_POINTS
    assert 0 == span.start.timestamp() % step_s == span.end.timestamp() % step_s


def test_asking_again_later_brings_the_same_times_and_new_ones():
    first, again = (Span.of(AT, AT + timedelta(minutes=minutes), 15.0) for minutes in (1, 9))

    assert (first.start, first.step_s) == (again.start, again.step_s)


@pytest.mark.parametrize(
    ("labels", "names", "selector"),
    [
        ({"job": "shop/checkout", "alertname": "A"}, NAMES, '{__name__=~"go_.*|up", job="shop/checkout"}'),
        ({"service_name": "a", "namespace": "n"}, ["up"], '{__name__=~"up", service_name="a", namespace="n"}'),
        ({"job": 'a"} or vector(1) or {x="'}, ["up"], '{__name__=~"up", job="a\\"} or vector(1) or {x=\\""}'),
        ({"job": "a\\"}, [r"go_\d"], '{__name__=~"go_\\\\d", job="a\\\\"}'),
        ({"alertname": "A"}, NAMES, ""),
        ({"job": ""}, NAMES, ""),
        ({"job": "a"}, [], ""),
    ],
)
def test_the_selector_names_the_metrics_and_the_service_whatever_its_labels_hold(labels, names, selector):
    assert selector == selector_of(labels, names)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeServer()) as server:
        server.replies["/api/v1/targets"] = data({"activeTargets": [{"scrapeInterval": "5s"}]})
        server.replies["/api/v1/query"] = data({"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]})
        server.replies["/api/v1/query_range"] = data(
            {
                "resultType": "matrix",
                "result": [
                    {"metric": {"__name__": "go_goroutines", "job": "checkout"}, "values": [[1, "7"], [6, "8"]]},
                    {"metric": {"__name__": "up", "job": "checkout"}, "values": [[1, "1"]]},
                ],
            }
        )
        yield server


def readers(store: Store, *servers: Prometheus, names: list[str] | None = None) -> Readers:
    chosen = NAMES if names is None else names
    return Readers(store, servers, Settings(incidents=Incidents(metrics=chosen)))


def windows(store: Store, *servers: Prometheus, names: list[str] | None = None, exprs=()):
    open_incident(store, AT, AT + timedelta(minutes=5))
    episodes = episodes_of(store, store.row("SELECT incident_id AS id FROM incident")["id"])
    asked = dict.fromkeys(exprs, episodes[0].labels)
    return list(metric_windows(episodes, asked, readers(store, *servers, names=names), AT, AT + timedelta(minutes=5)))


def test_what_alerts_watch_and_the_metrics_of_their_service_are_asked_for_once(store, fake):
    found = windows(store, prometheus_at(fake), exprs=["rate(x[5m])"])

    assert ["rate(x[5m])", "go_goroutines", "up"] == [window.name for window in found]
    assert {"job": "checkout"} == found[1].series[0].labels
    assert [7.0, 8.0] == [value for _, value in found[1].series[0].points]
    ranges = [asked.query for asked in fake.asked if asked.path == "/api/v1/query_range"]
    assert ["rate(x[5m])", '{__name__=~"go_.*|up", service="checkout"}'] == [asked["query"] for asked in ranges]
    assert {"5.0"} == {asked["step"] for asked in ranges}


def test_a_service_with_too_many_series_is_left_out(store, fake):
    many = {"resultType": "vector", "result": [{"metric": {}, "value": [1, "2001"]}]}
    fake.replies["/api/v1/query"] = data(many)

    assert [] == windows(store, prometheus_at(fake))


def test_without_names_only_what_alerts_watch_is_asked_for(store, fake):
    assert ["up == 0"] == [window.name for window in windows(store, prometheus_at(fake), names=[], exprs=["up == 0"])]


def test_a_server_that_is_not_responsible_is_not_asked(store, fake):
    assert [] == windows(store, prometheus_at(fake, match={"cluster": "other"}), exprs=["up"])
    assert [] == fake.asked


def test_a_server_that_fails_brings_nothing(store, fake):
    fake.replies["/api/v1/query"] = Reply(b"no", 500)
    fake.replies["/api/v1/query_range"] = Reply(b"no", 500)

    assert [("up", ())] == [
        (window.name, window.series) for window in windows(store, prometheus_at(fake), exprs=["up"])
    ]


class Nobody:
    def wake(self) -> None: ...


def test_an_incident_keeps_its_metrics_and_asking_again_adds_what_is_new(store, fake):
    incident = open_incident(store, AT, AT + timedelta(minutes=5))
    settings = Settings(incidents=Incidents(metrics=NAMES))
    servers = [prometheus_at(fake)]
    pipeline = Pipeline(store, settings, servers, TargetDirectory(settings, servers), Nobody())
    counted = "SELECT name, service_name, count(*) AS n FROM metrics GROUP BY ALL ORDER BY name"
    for _ in range(2):
        pipeline.keep_windows(incident)
        assert [("go_goroutines", "checkout", 2), ("up", "checkout", 1)] == [
            tuple(row.values()) for row in store.rows(counted)
        ]
    pipeline.stop()
