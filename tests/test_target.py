"""The sample system as diagnose meets it: real processes, profiles read by our own decoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests

from demo.guard import Guard
from demo.processes import Children, free_ports, wait_ready
from demo.tools import Tools
from diagnose.pprof import codec
from diagnose.pprof.names import own_frame
from diagnose.pprof.profile import Profile
from diagnose.pprof.top import top

SHOP = "diagnose.example/target/internal/shop."


@dataclass(frozen=True)
class Shop:
    """A running shop with one instance of each service."""

    traffic: dict[str, str]
    admin: dict[str, str]

    def order(self, count: int, at_once: int = 4) -> list[int]:
        """Places orders and returns the status of each."""
        skus = [f"sku-{1 + number % 30:02}" for number in range(count)]
        with ThreadPoolExecutor(at_once) as customers:
            return list(customers.map(self._order, skus))

    def _order(self, sku: str) -> int:
        return requests.post(f"{self.traffic['gateway']}/checkout", params={"sku": sku}, timeout=10).status_code

    def profile(self, service: str, path: str) -> Profile:
        answer = requests.get(f"{self.admin[service]}/debug/pprof/{path}", timeout=20)
        answer.raise_for_status()
        return codec.decode(answer.content)

    @contextmanager
    def fault(self, service: str, name: str) -> Iterator[None]:
        switch = f"{self.admin[service]}/faults/{name}"
        assert requests.put(switch, params={"duration": "60s"}, timeout=5).json()["active"]
        try:
            yield
        finally:
            requests.delete(f"{self.admin[service]}/faults", timeout=5)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    program = Tools().find("target")
    if program is None:
        pytest.fail("the sample system is neither in $DIAGNOSE_TOOLS nor built into .tools/bin: run `make tools`")
    services = ("pricing", "inventory", "checkout", "gateway")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2 * len(services))]
    traffic = dict(zip(services, addresses[::2], strict=True))
    admin = dict(zip(services, addresses[1::2], strict=True))
    callees = {"gateway": ("checkout",), "checkout": ("pricing", "inventory")}
    guard = Guard()
    children = Children(tmp_path_factory.mktemp("shop"), guard)
    try:
        for service in services:
            own = ("--service", service, "--instance", f"{service}-1", "--otlp", "http://127.0.0.1:1")
            listen = ("--listen", traffic[service], "--admin", admin[service])
            calls = [
                part for callee in callees.get(service, ()) for part in (f"--{callee}", f"http://{traffic[callee]}")
            ]
            child = children.start(service, [str(program), "serve", *own, *listen, *calls])
            wait_ready(child, f"http://{admin[service]}/healthz")
        yield Shop(*({name: f"http://{address}" for name, address in part.items()} for part in (traffic, admin)))
    finally:
        children.stop_all()
        guard.close()


def share(profile: Profile, function: str, value_type: str | None = None) -> float:
    """How much of *profile* has *function* as the first frame of the program's own packages."""
    index = profile.value_index(value_type)
    own = [sample for sample in profile.samples if getattr(own_frame(sample.frames), "function", "") == SHOP + function]
    return sum(sample.values[index] for sample in own) / profile.total(value_type)


def traces(profile: Profile) -> set[str]:
    return {sample.labels["trace_id"] for sample in profile.samples if "trace_id" in sample.labels}


def test_every_profile_of_the_contract_is_there_and_says_its_build(shop: Shop) -> None:
    kinds = ("heap", "allocs", "goroutine", "goroutineleak", "mutex", "block", "profile?seconds=1")

    assert {shop.profile("checkout", kind).build_id for kind in kinds} != {""}


def test_metrics_have_exemplars_that_name_traces(shop: Shop) -> None:
    assert {200} == set(shop.order(4))
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = requests.get(f"{shop.admin['checkout']}/metrics", headers=accept, timeout=5).text
    exemplar = re.compile(
        r'^(http_request_duration_seconds_bucket|http_requests_total)\{.* # \{.*trace_id="[0-9a-f]{32}"', re.M
    )

    assert {"http_request_duration_seconds_bucket", "http_requests_total"} == set(exemplar.findall(text))


def test_the_fault_cpu_fills_the_cpu_profile_with_samples_of_traces(shop: Shop) -> None:
    with shop.fault("checkout", "cpu"), ThreadPoolExecutor(1) as other:
        profile = other.submit(shop.profile, "checkout", "profile?seconds=2")
        while not profile.done():
            shop.order(4, at_once=1)
    hot = top(profile.result(), "cpu").functions[0]

    assert SHOP + "(*PriceMatcher).compareEveryPair" == hot.name
    assert hot.cum > 0.8 * profile.result().total("cpu")  # a preempted loop has a runtime frame on top
    assert len(traces(profile.result())) > 3


def test_a_leaked_goroutine_keeps_the_trace_that_started_it(shop: Shop) -> None:
    with shop.fault("checkout", "leak"):
        shop.order(20)
        profile = shop.profile("checkout", "goroutine")
        leaked = profile.where(
            lambda sample: any(frame.function.endswith(".awaitConfirmation") for frame in sample.frames)
        )

    assert 20 == leaked.total()
    assert 20 == len(traces(leaked))


def test_the_fault_heap_is_found_below_a_leaf_of_the_runtime(shop: Shop) -> None:
    with shop.fault("checkout", "heap"):
        shop.order(60)
        profile = shop.profile("checkout", "heap?gc=1")

    assert share(profile, "(*SessionStore).retainEveryCart", "inuse_space") > 0.7
    assert top(profile, "inuse_space").functions[0].name == "internal/bytealg.MakeNoZero"


def test_the_fault_lock_is_in_the_mutex_profile_and_not_in_the_cpu_profile(shop: Shop) -> None:
    with shop.fault("checkout", "lock"), ThreadPoolExecutor(2) as other:
        cpu = other.submit(shop.profile, "checkout", "profile?seconds=1")
        mutex = other.submit(shop.profile, "checkout", "mutex?seconds=1")
        while not (cpu.done() and mutex.done()):
            shop.order(8)

    assert share(mutex.result(), "(*OrderLedger).storeAndSyncHoldingLock", "delay") > 0.9
    assert SHOP + "(*OrderLedger).storeAndSyncHoldingLock" not in {each.name for each in top(cpu.result()).functions}
