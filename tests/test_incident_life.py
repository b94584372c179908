"""What happens to an incident after it was opened, in the real service in its own process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from diagnose.model import Alert, IncidentKey
from diagnose.store.alerts import save_group
from diagnose.store.captures import plan_captures
from diagnose.store.db import Store
from diagnose.store.incidents import close_incident
from diagnose.store.reports import save_revision
from tests.builders import alert as stored_alert
from tests.builders import capture, group, webhook
from tests.fake_upstreams import FakeServer, Reply, profile_bytes, serving
from tests.service_process import ServiceProcess

NOW = datetime.now(UTC)
PROFILES = {"goroutine": "cpu-goroutine", "heap": "cpu-heap", "profile": "cpu-profile"}
RULES = [{"matchers": ['severity!="none"'], "seconds": 1, "capture": ["goroutine", "heap"]}]


@pytest.fixture
def go_process() -> Iterator[FakeServer]:
    """Answers like net/http/pprof, at once."""
    fake = FakeServer()
    fake.replies = {f"/debug/pprof/{path}": Reply(profile_bytes(name)) for path, name in PROFILES.items()}
    with serving(fake):
        yield fake


def alert(name: str, *, job: str = "checkout", ended: bool = False, **labels: str) -> dict[str, Any]:
    return {
        "status": "resolved" if ended else "firing",
        "labels": {"alertname": name, "job": job, "severity": "critical", **labels},
        "annotations": {},
        "startsAt": (NOW - timedelta(seconds=5)).isoformat(),
        "endsAt": datetime.now(UTC).isoformat() if ended else "0001-01-01T00:00:00Z",
        "generatorURL": "",
    }


def post(running: ServiceProcess, *alerts: dict[str, Any], **fields: Any) -> str:
    """The one incident of the answer."""
    status, answer = running.post("/webhook", webhook(*alerts, **fields))

    assert 202 == status, answer
    [incident_id] = answer["incidents"]
    return str(incident_id)


def detail(running: ServiceProcess, incident_id: str) -> Any:
    return running.get(f"/api/v1/incidents/{incident_id}")


def operate(running: ServiceProcess, incident_id: str, what: str, **body: Any) -> Any:
    status, answer = running.post(f"/api/v1/incidents/{incident_id}/{what}", body)

    assert status in (200, 201), answer
    return answer


# --- one message, many times


def test_one_payload_a_thousand_times_from_two_senders_is_one_incident(tmp_path: Path):
    """Shuffled with its end, of which nobody can say when it comes; a firing comes first, as it does."""
    with ServiceProcess(tmp_path, rules=RULES) as running:
        firing, resolved = alert("HighLatency"), alert("HighLatency", ended=True)
        messages = [
            webhook(each, status=each["status"], externalURL=f"http://am-{sender}.test")
            for sender in (1, 2)
            for each in [firing] * 490 + [resolved] * 10
        ]
        random.Random(5).shuffle(messages)  # noqa: S311  a shuffle, the same in every run
        opened = post(running, firing, externalURL="http://am-1.test")
        with ThreadPoolExecutor(8) as senders:
            answers = list(senders.map(lambda message: running.post("/webhook", message), messages))
        running.report(opened, "resolved")
        incident = detail(running, opened)

        assert {202} == {status for status, _ in answers}
        assert 1 == sum(answer["accepted"] for _, answer in answers)  # the one end
        assert [opened] == [each["id"] for each in running.get("/api/v1/incidents")["incidents"]]
        assert ["resolved"] == [each["status"] for each in incident["alerts"]]
        kinds = [line["kind"] for line in incident["timeline"]]
        assert (1, 1, 0) == tuple(kinds.count(kind) for kind in ("opened", "resolved", "reopened"))
        decisions = running.get(f"/api/v1/incidents/{opened}/explain")["decisions"]
        assert 1 == sum(each["step"] == "kinds" for each in decisions)


# --- a second alert, and people


def test_a_new_alert_captures_only_what_is_missing(tmp_path: Path, go_process: FakeServer):
    target = {
        "name": "checkout",
        "match": {"job": "checkout"},
        "service": "checkout",
        "source": "static",
        "addresses": [go_process.address],
        "pprof": "http://{address}/debug/pprof",
        "networks": ["127.0.0.0/8"],
    }
    rules = [
        {"matchers": ["alertname=Memory"], "capture": ["heap"], "seconds": 1},
        {"matchers": ['severity!="none"'], "capture": ["goroutine", "heap"], "seconds": 1},
    ]
    with ServiceProcess(tmp_path, targets=[target], rules=rules, baseline={"first": "1h"}) as running:
        incident_id = post(running, alert("Memory"))
        running.report(incident_id, "profiles captured")
        assert ["heap", "heap"] == captured(running, incident_id)

        post(running, alert("Memory"), alert("HighLatency"))
        running.wait_for(lambda: "goroutine" in captured(running, incident_id))
        assert 2 == captured(running, incident_id).count("heap")
        decisions = running.get(f"/api/v1/incidents/{incident_id}/explain")["decisions"]
        assert {"rule 1", "rule 2", "heap", "goroutine, heap", "checkout", "sick"} == {
            each["outcome"] for each in decisions
        }

        [plan] = running.post("/api/v1/simulate", webhook(alert("Other", job="checkout")))[1]["alerts"]
        assert (["goroutine", "heap"], 1) == (plan["kinds"], len(plan["targets"]))
        assert "cooldown of 10 min" in plan["decisions"][-1]["reason"]
        assert 2 == len(detail(running, incident_id)["alerts"])


def captured(running: ServiceProcess, incident_id: str) -> list[str]:
    return [each["kind"] for each in detail(running, incident_id)["captures"] if each["status"] == "done"]


def test_people_merge_split_annotate_and_close(tmp_path: Path):
    with ServiceProcess(tmp_path, rules=RULES) as running:
        checkout, pricing = post(running, alert("HighLatency")), post(running, alert("ErrorRatio", job="pricing"))
        merged = operate(running, checkout, "merge", **{"from": [pricing]})
        assert {"HighLatency", "ErrorRatio"} == {each["alertname"] for each in merged["alerts"]}
        assert checkout == detail(running, pricing)["merged_into"]
        assert checkout == post(running, alert("TargetDown", job="pricing"))

        [episode] = [each["episode_id"] for each in merged["alerts"] if each["alertname"] == "ErrorRatio"]
        new = operate(running, checkout, "split", episodes=[episode])
        assert ("pricing", "open") == (new["service"], new["status"])

        split = new["id"]
        operate(running, split, "notes", text="rolled back")
        operate(running, split, "close", reason="it was the deploy")
        running.report(split, "resolved")
        by_hand = [line for line in detail(running, split)["timeline"] if line["kind"] in ("split", "note", "closed")]
        assert [f"split off {checkout}", "rolled back", "it was the deploy"] == [line["text"] for line in by_hand]

        refused = [
            ("merge", {"from": "x"}),
            ("merge", {"from": [checkout]}),
            ("split", {}),
            ("split", {"episodes": []}),
        ]
        for path, body in refused:
            assert 400 == running.post(f"/api/v1/incidents/{checkout}/{path}", body)[0]
        assert 404 == running.post("/api/v1/incidents/inc-none/merge", {"from": [checkout]})[0]


def test_what_a_message_left_out_is_fetched(tmp_path: Path):
    left_out = {"alertname": "LeftOut", "job": "checkout", "severity": "critical"}
    listed = {
        "fingerprint": "00000000000000ff",
        "labels": left_out,
        "startsAt": datetime.now(UTC).isoformat(),
        "receivers": [{"name": "diagnose"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }
    fake = FakeServer()
    with serving(fake), ServiceProcess(tmp_path, rules=RULES, alertmanagers=[{"url": fake.url}]) as running:
        fake.replies["/api/v2/status"] = Reply(json.dumps({"uptime": NOW.isoformat()}).encode())
        fake.replies["/api/v2/alerts"] = Reply(json.dumps([listed]).encode())
        incident_id = post(running, alert("HighLatency"), truncatedAlerts=1)

        running.wait_for(lambda: 2 == len(detail(running, incident_id)["alerts"]))
        assert {"alertmanager", "reconciled"} == {each["source"] for each in detail(running, incident_id)["alerts"]}


# --- new settings


def test_settings_are_read_again_and_a_mistake_leaves_the_old_ones(tmp_path: Path):
    with ServiceProcess(tmp_path, rules=[{"matchers": ["severity=page"]}]) as running:
        ignored = running.post("/webhook", webhook(alert("HighLatency")))[1]
        assert [] == ignored["incidents"]

        running.settings |= {"rules": RULES, "server": {**running.settings["server"], "listen": "127.0.0.1:1"}}
        running.configure()
        status, reloaded = running.post("/-/reload", None)
        assert (200, ["server.listen"]) == (status, reloaded["needs_restart"])
        assert "rules" in reloaded["changed"]
        post(running, alert("ErrorRatio"))

        running.config.write_text("rules: [{matchers: ['severity=']}, {secnds: 3}]\nsinks: [{type: pigeon}]\n")
        status, refused = running.post("/-/reload", None)
        assert 400 == status
        assert all(part in refused["error"]["message"] for part in ("secnds", "sinks"))
        running.hang_up()
        running.wait_for(lambda: "settings not reloaded" in running.log())
        post(running, alert("StillByTheOldRule"))

        running.settings["rules"] = [{"matchers": ["severity=page"]}]
        running.configure()
        running.hang_up()
        running.wait_for(lambda: 2 == running.log().count("settings reloaded"))
        assert [] == running.post("/webhook", webhook(alert("Ignored")))[1]["incidents"]


# --- alerts that join


def test_alerts_that_join_one_by_one_are_told_together(tmp_path: Path):
    """A report each would be a message each, while somebody reads the first."""
    with ServiceProcess(tmp_path, rules=RULES, incidents={"update_every": "3s"}) as running:
        incident_id = post(running, alert("HighLatency"))
        running.report(incident_id, "first evidence")
        for number in range(8):
            post(running, alert(f"Joined{number}"))
            running.wait_for(lambda: number + 2 == len(decided(running, incident_id)))  # noqa: B023  called at once
        running.wait_for(lambda: 9 == len(told(running, incident_id)["incident"]["alerts"]))

        reported = [at for kind, at in timeline(running, incident_id) if kind == "report"]
        assert all(later - earlier >= timedelta(seconds=3) for earlier, later in pairwise(reported))
        assert "alerts joined" == told(running, incident_id)["reason"]
        assert 1 == [kind for kind, _ in timeline(running, incident_id)].count("capture")


def decided(running: ServiceProcess, incident_id: str) -> set[str]:
    """Alerts of which it is known what to do."""
    found = running.get(f"/api/v1/incidents/{incident_id}/explain")["decisions"]
    return {each["subject"] for each in found if each["step"] == "rule"}


def told(running: ServiceProcess, incident_id: str) -> Any:
    """The newest report."""
    return running.get(f"/api/v1/incidents/{incident_id}/report.json")


def timeline(running: ServiceProcess, incident_id: str) -> list[tuple[str, datetime]]:
    return [(each["kind"], datetime.fromisoformat(each["at"])) for each in detail(running, incident_id)["timeline"]]


# --- after a crash


def test_reports_that_a_crash_kept_from_coming_are_put_out_at_the_next_start(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        captured = opened(store, "captured", "first evidence")
        plan_captures(store, [capture("cap-1", incident_id=captured, status="done", requested_at=NOW, ended_at=NOW)])
        unreported = opened(store, "unreported")
        grown = opened(store, "grown", "profiles captured")
        save(store, stored_alert(job="grown", alertname="Second", starts_at=NOW))
        over = opened(store, "over", "first evidence", "profiles captured")
        save(store, stored_alert(job="over", starts_at=NOW, ends_at=datetime.now(UTC)))
        closed = opened(store, "closed", "profiles captured")
        close_incident(store, closed, "done")
        told = opened(store, "told", "first evidence", "profiles captured")
        finished = opened(store, "finished", "profiles captured")
        close_incident(store, finished, "done")
        publish(store, finished, 2, "resolved")

    with ServiceProcess(tmp_path, rules=RULES) as running:
        running.report(captured, "profiles captured")
        running.report(unreported, "first evidence")
        running.report(grown, "profiles captured")
        running.report(over, "resolved")
        running.report(closed, "resolved")

        assert [2, 2] == [detail(running, each)["revision"] for each in (told, finished)]
        assert 2 == detail(running, grown)["revision"]


def opened(store: Store, job: str, *reports: str) -> str:
    [incident_id] = save(store, stored_alert(job=job, starts_at=NOW)).opened
    for revision, reason in enumerate(reports, start=1):
        publish(store, incident_id, revision, reason)
    return str(incident_id)


def save(store: Store, *alerts: Alert) -> Any:
    message = group(*alerts, received_at=datetime.now(UTC))
    quiet = timedelta(minutes=15)
    return save_group(store, message, lambda each: IncidentKey(each.labels["job"], each.labels["job"]), quiet=quiet)


def publish(store: Store, incident_id: str, revision: int, reason: str) -> None:
    pages = {"html": "", "markdown": "", "json_text": "{}"}
    save_revision(store, incident_id, revision, reason, [], ruled_out=[], missing=[], sinks=[], **pages)


def test_a_restart_with_many_open_episodes_starts_nothing_anew(tmp_path: Path):
    """bench/startup.py does it with ten thousand and tells how long it takes."""
    with Store.open(tmp_path / "data") as store:
        for service in range(10):
            alerts = [stored_alert(job=f"s{service}", pod=str(pod), starts_at=NOW) for pod in range(100)]
            [incident_id] = save(store, *alerts).opened
            publish(store, incident_id, 1, "profiles captured")

    with ServiceProcess(tmp_path, rules=RULES) as running:
        found = running.get("/api/v1/incidents")["incidents"]

        assert [("open", 100)] * 10 == [(each["status"], each["alert_count"]) for each in found]
        assert {1} == {detail(running, each["id"])["revision"] for each in found}
