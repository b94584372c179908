"""Everything before diagnose, with a stand-in at the end: what the real programs hand each other."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
import yaml

from demo.errors import StackError
from demo.stack import Stack

pytestmark = pytest.mark.e2e

T = TypeVar("T")

ALWAYS_FIRING = """
groups:
  - name: test
    rules:
      - {alert: AlwaysFiring, expr: 'up{job="checkout"} == 1', labels: {severity: warning}}
"""


def stand_in(config: Path) -> list[str]:
    listen = yaml.safe_load(config.read_text())["server"]["listen"]
    return [sys.executable, str(Path(__file__).parent / "receiver.py"), listen]


@pytest.fixture(scope="module")
def stack(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), programs, {"test.yaml": ALWAYS_FIRING}, stand_in) as started:
        started.start()
        started.start_load()
        yield started


def eventually(look: Callable[[], T], timeout_s: float = 20) -> T:
    """The first true value of *look*."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
    return seen


def seen_by_diagnose(stack: Stack, path: str) -> list[dict[str, Any]]:
    seen = requests.get(f"{stack.values.external_url}/seen", timeout=10).json()
    return [request for request in seen if request["path"] == path]


def exemplars(stack: Stack, query: str) -> list[dict[str, Any]]:
    now = time.time()
    answer = requests.get(
        f"{stack.urls['prometheus']}/api/v1/query_exemplars",
        params={"query": query, "start": str(now - 60), "end": str(now)},
        timeout=10,
    )
    return [exemplar for series in answer.json()["data"] for exemplar in series["exemplars"]]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
def test_spans_and_points_arrive(stack: Stack, path: str) -> None:
    assert eventually(lambda: seen_by_diagnose(stack, path))


def test_a_firing_alert_arrives_with_the_instance_the_traces_name(stack: Stack) -> None:
    def instances() -> bool:
        webhooks = seen_by_diagnose(stack, "/webhook")
        return {"checkout-1", "checkout-2"} == {
            each["labels"]["instance"] for hook in webhooks for each in hook["alerts"]
        }

    assert eventually(instances)


@pytest.mark.parametrize(
    "query",
    [
        'http_request_duration_seconds_bucket{job="checkout"}',  # scraped
        "traces_span_metrics_duration_seconds_bucket",  # made of spans by the collector
        "http_server_request_duration_seconds_bucket",  # pushed by the OTel SDK
    ],
)
def test_prometheus_has_exemplars(stack: Stack, query: str) -> None:
    assert eventually(lambda: exemplars(stack, query))[0]["labels"]["trace_id"]


def test_every_program_is_scraped(stack: Stack) -> None:
    def up() -> dict[str, str]:
        answer = requests.get(f"{stack.urls['prometheus']}/api/v1/query", params={"query": "up"}, timeout=10)
        found = {row["metric"]["job"]: row["value"][1] for row in answer.json()["data"]["result"]}
        return found if "0" not in found.values() and len(found) == 6 else {}

    assert {"gateway", "checkout", "pricing", "inventory", "diagnose", "otelcol"} == eventually(up).keys()


def test_a_port_in_use_is_named_with_the_programs_own_words(programs: dict[str, Path], tmp_path: Path) -> None:
    with Stack(tmp_path, programs, {}, stand_in) as stack:
        stack.start_instance(stack.values.of("pricing")[0])()
        taken = stack.values.of("pricing")[0]
        second = type(taken)("inventory", "inventory-1", stack.values.of("inventory")[0].traffic, taken.admin)

        with pytest.raises(StackError, match=r"inventory-1 ended with exit code 1[\s\S]*address already in use"):
            wait_until_ended(stack, second)


def wait_until_ended(stack: Stack, instance: Any) -> None:
    """The port answers, but it is the other program that does, so the check has to see the end of this one."""
    stack.start_instance(instance)
    eventually(lambda: not stack.children[instance.name].running)
    stack.check()
