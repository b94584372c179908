"""Recorded faults through the real store: is the planted cause the first sentence?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from diagnose.errors import NotFound
from diagnose.explain import Explanation, explain
from diagnose.pprof import codec
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.store.db import Store
from tests.pprof.small import cpu_profile
from tests.recorded_incident import DATA, FAULTS, load_recorded, open_incident, save_capture

CAUSE = {
    "cpu": ("hot_code", ".compareEveryPair"),
    "leak": ("leak", ".awaitConfirmation"),
    "heap": ("memory", ".retainEveryCart"),
    "lock": ("lock", ".storeAndSyncHoldingLock"),
    "dependency": ("downstream", "pricing"),
    "errors": ("errors", "stock.reserve"),
}
IN_PROFILE = {"cpu": ("cpu",), "leak": ("goroutine",), "heap": ("heap",), "lock": ("mutex",)}


Explained = Callable[..., tuple[Store, str, Explanation]]


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explained]:
    """Stores a recorded fault (arguments as load_recorded) and explains it: store, incident, explanation; each once."""
    opened: dict[str, tuple[Store, str, Explanation]] = {}

    def explained(fault: str, **options: object) -> tuple[Store, str, Explanation]:
        key = f"{fault} {options}"
        if key not in opened:
            store = Store.open(tmp_path_factory.mktemp("recorded") / "data")
            incident = load_recorded(store, fault, **options)
            opened[key] = store, incident, explain(store, incident)
        return opened[key]

    yield explained
    for store, _, _ in opened.values():
        store.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_planted_cause_comes_first(explained: Explained, fault: str):
    store, incident, explanation = explained(fault)

    first = explanation.findings[0]
    kind, name = CAUSE[fault]
    assert (kind, "strong") == (first.kind, first.confidence)
    assert first.subject.name.endswith(name)
    assert list(range(1, len(explanation.findings) + 1)) == [finding.rank for finding in explanation.findings]
    for finding in explanation.findings:
        assert 0 < finding.weight <= 1
        assert finding.significance["z"] >= 3
        assert finding.evidence
    runs_again(store, explanation)
    assert explanation == explain(store, incident)


def runs_again(store: Store, explanation: Explanation) -> None:
    """Every query stands for itself and still answers something."""
    for finding in explanation.findings:
        assert finding.sql.startswith("-- ")
        assert store.rows(finding.sql)
    for note in (*explanation.ruled_out, *explanation.missing):
        assert not note.sql or store.rows(note.sql)


def test_a_healthy_run_has_no_finding_and_says_what_was_looked_at(explained: Explained):
    store, _, explanation = explained("none")

    assert explanation.findings == []
    looked_at = [note.statement.split(":")[0] for note in explanation.ruled_out]
    assert {"CPU", "Goroutines", "Memory", "Locks", "Errors", "Latency", "Garbage collection"} <= set(looked_at)
    runs_again(store, explanation)


@pytest.mark.parametrize("fault", ["cpu", "lock"])
def test_a_span_comes_after_the_function_that_runs_in_it(explained: Explained, fault: str):
    first, span = explained(fault)[2].findings[:2]

    name = span.subject.name
    assert (span.kind, span.subject.type) == ("latency", "span")
    assert f"belongs to span `{name}`" in first.statement
    assert span.statement.endswith(f"{first.subject.name.rpartition('/')[2]}` runs.")
    assert span.weight <= first.weight / 2


@pytest.mark.parametrize("fault", IN_PROFILE)
def test_without_spans_the_profiles_tell_the_cause(explained: Explained, fault: str):
    _, _, explanation = explained(fault, spans=False, kinds=IN_PROFILE[fault])

    assert explanation.findings[0].subject.name.endswith(CAUSE[fault][1])
    assert any("no spans of this service" in note.statement for note in explanation.missing)


@pytest.mark.parametrize("fault", ["errors", "none"])
def test_without_spans_nothing_is_made_up(explained: Explained, fault: str):
    assert explained(fault, spans=False)[2].findings == []


@pytest.mark.parametrize("fault", ["dependency", "errors"])
def test_without_any_profile_the_spans_tell_the_cause(explained: Explained, fault: str):
    _, _, explanation = explained(fault, phases=())

    assert explanation.findings[0].subject.name == CAUSE[fault][1]
    assert any(note.statement.startswith("No profile was captured") for note in explanation.missing)


def test_waiting_without_spans_is_found_in_polled_goroutines(explained: Explained):
    (finding,) = explained("dependency", spans=False, kinds=("wall",))[2].findings

    assert (finding.kind, finding.confidence) == ("latency", "likely")
    assert finding.subject.name.endswith("shop.call")
    assert "(select)" in finding.statement


@pytest.mark.parametrize("fault", ["cpu", "heap", "lock"])
def test_without_a_baseline_nothing_on_a_profile_is_strong(explained: Explained, fault: str):
    _, _, explanation = explained(fault, spans=False, phases=("during",), kinds=IN_PROFILE[fault])

    (finding,) = explanation.findings
    assert finding.subject.name.endswith(CAUSE[fault][1])
    assert finding.confidence in ("likely", "hint")
    assert any("no healthy profile" in note.statement for note in explanation.missing)


def test_a_leak_needs_no_baseline_when_it_grows_between_two_snapshots(explained: Explained):
    (finding,) = explained("leak", spans=False, phases=("during",), kinds=("goroutine",))[2].findings

    assert (finding.kind, finding.confidence) == ("leak", "strong")
    assert finding.effect.before is None


def test_a_healthy_process_without_a_baseline_gets_no_finding(explained: Explained):
    assert explained("none", spans=False, phases=("during",))[2].findings == []


@pytest.mark.parametrize(
    ("fault", "service", "kind", "subject"),
    [
        ("dependency", "pricing", "downstream", "prices-db"),
        ("dependency", "gateway", "downstream", "pricing"),
        ("cpu", "gateway", "downstream", "checkout"),
        ("errors", "inventory", "errors", "stock.reserve"),
        ("errors", "gateway", "errors", "stock.reserve"),
    ],
)
def test_seen_from_another_service_the_trail_leads_to_the_same_place(
    explained: Explained, fault: str, service: str, kind: str, subject: str
):
    first = explained(fault, service=service, phases=())[2].findings[0]

    assert (kind, subject) == (first.kind, first.subject.name)


def test_failures_are_led_to_the_value_they_have_in_common(explained: Explained):
    first = explained("errors")[2].findings[0]

    assert "`app.sku = sku-13`: 100 % of those fail, of the others 0 %" in first.statement
    assert "`stock of sku-13 is -1 boxes`" in first.statement


def test_a_leak_tells_the_requests_that_started_it_and_how_fast_it_grows(explained: Explained):
    first = explained("leak")[2].findings[0]

    assert "(chan receive)" in first.statement
    assert "came in the" in first.statement
    assert "requests." in first.statement


def test_the_hottest_line_is_named(explained: Explained):
    first = explained("cpu")[2].findings[0]

    assert first.subject.file is not None
    assert first.subject.file.endswith("shop/price_matcher.go")
    assert f"price_matcher.go:{first.subject.line}" in first.statement


def test_the_runtimes_own_leak_detection_makes_a_leak_certain(store: Store):
    start = datetime.now(UTC) - timedelta(minutes=1)
    incident = open_incident(store, start, None)
    for kind in ("goroutine", "goroutineleak"):
        body = (DATA / "goroutineleak" / f"{kind}.pb.gz").read_bytes()
        save_capture(store, incident, kind, profile=codec.decode(body), body=body)

    (finding,) = explain(store, incident).findings

    assert (finding.kind, finding.confidence) == ("leak", "strong")
    assert finding.subject.name == "main.faultLeakGoroutine"
    assert "The runtime's leak detection confirms 138" in finding.statement


def test_what_could_not_be_captured_is_said_with_its_reason(store: Store):
    incident = open_incident(store, datetime.now(UTC) - timedelta(minutes=1), None)
    busy = "cpu profiling already in use"
    save_capture(store, incident, "cpu", status="refused", reason=busy)
    save_capture(store, incident, "heap", status="failed", reason="timed out")
    save_capture(store, incident, "mutex", status="failed", reason="timed out")

    missing = {note.statement: note.fix for note in explain(store, incident).missing}

    assert "wall-clock polling" in missing[f"Profile cpu of checkout-2 was refused: {busy}"]
    assert "Profile heap and mutex of checkout-2 was not got: timed out" in missing


def test_an_incident_about_which_nothing_is_known_is_explained_as_that(store: Store):
    explanation = explain(store, open_incident(store, datetime.now(UTC), None))

    assert explanation.findings == []
    assert len(explanation.missing) >= 2


def test_an_unknown_incident_is_an_error(store: Store):
    with pytest.raises(NotFound):
        explain(store, "inc-nothing")


def test_a_lock_nobody_waited_for_before_is_found_all_the_same(store: Store):
    """A share of nothing cannot be tested; the rate can."""
    start = datetime.now(UTC) - timedelta(minutes=1)
    incident = open_incident(store, start, None)
    holder = Frame("main.(*Ledger).Store", "main/ledger.go", 12)
    waits = Sample((Frame("sync.(*Mutex).Unlock", "sync/mutex.go", 200), holder), (60, 4_000_000_000))
    sick = contention((waits,), start)
    save_capture(
        store, None, "mutex", trigger="baseline", profile=contention((), start - timedelta(hours=1)), basis="interval"
    )
    save_capture(store, incident, "mutex", profile=sick, basis="interval")

    (finding,) = explain(store, incident).findings

    assert (finding.kind, finding.confidence, finding.subject.name) == ("lock", "strong", "main.(*Ledger).Store")
    assert finding.effect.during == pytest.approx(0.4)


def contention(samples: tuple[Sample, ...], at: datetime) -> Profile:
    """A mutex profile over ten seconds."""
    types = (ValueType("contentions", "count"), ValueType("delay", "nanoseconds"))
    return Profile(types, samples, time_ns=int(at.timestamp() * 1e9), duration_ns=10_000_000_000, period=1)


@pytest.mark.parametrize(("busier", "says"), [(1, "no function changed"), (4, "more work, not slower code")])
def test_more_load_is_no_hot_code(store: Store, busier: int, says: str):
    start = datetime.now(UTC) - timedelta(minutes=1)
    incident = open_incident(store, start, None)
    counts = {"main.serve > main.match": 300, "main.serve > main.render": 200, "main.serve > main.store": 100}
    for trigger, factor, at in (("baseline", 1, start - timedelta(hours=1)), ("alert", busier, start)):
        scaled = {path: count * factor for path, count in counts.items()}
        profile = replace(cpu_profile(scaled), time_ns=int(at.timestamp() * 1e9))
        save_capture(
            store, incident if trigger == "alert" else None, "cpu", trigger=trigger, profile=profile, basis="interval"
        )  # type: ignore[arg-type]

    explanation = explain(store, incident)

    assert explanation.findings == []
    assert says in next(note.statement for note in explanation.ruled_out if note.statement.startswith("CPU"))


def test_taking_the_profile_is_not_evidence(store: Store):
    start = datetime.now(UTC) - timedelta(minutes=1)
    incident = open_incident(store, start, None)
    work, polling = "main.serve > main.match", "main.main > net/http/pprof.Index > runtime/pprof.writeGoroutine"
    for trigger, counts, at in (
        ("baseline", {work: 300}, start - timedelta(hours=1)),
        ("alert", {work: 300, polling: 3000}, start),
    ):
        profile = replace(cpu_profile(counts), time_ns=int(at.timestamp() * 1e9))
        save_capture(
            store, incident if trigger == "alert" else None, "cpu", trigger=trigger, profile=profile, basis="interval"
        )  # type: ignore[arg-type]

    assert explain(store, incident).findings == []
