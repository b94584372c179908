from __future__ import annotations

import json
from collections.abc import Iterator

import duckdb
import pytest

from diagnose.model import Effect, Finding, Note, Subject
from diagnose.pprof.codec import decode
from diagnose.pprof.shapes import top_shape
from diagnose.pprof.top import top
from diagnose.store.db import Store
from diagnose.store.reports import save_revision
from tests.builders import webhook, webhook_alert
from tests.serving import Answer, Serving, data, serving

CPU = data("pprof", "cpu-profile.pb.gz").read_bytes()
LOCK = data("pprof", "lock-profile.pb.gz").read_bytes()
HEAP = data("pprof", "cpu-heap.pb.gz").read_bytes()
FINDING = Finding(
    kind="hot_code",
    statement="71 % of CPU time is in match",
    subject=Subject("function", "main.match", "match.go", 12),
    effect=Effect(0.71, "share", 0.03, 0.71),
    significance={"method": "poisson", "z": 41.0},
    confidence="strong",
    evidence=("cpu-1",),
    sql="SELECT 1",
    weight=0.7,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.fixture(scope="module")
def web(store: Store) -> Iterator[Serving]:
    with serving(store) as running:
        yield running


def alert(**labels: str) -> dict:
    return webhook_alert(labels={"alertname": "HighLatency", "severity": "critical", **labels})


def publish(store: Store, incident_id: str, revision: int) -> None:
    page = f"<!doctype html><title>{revision}</title>"
    save_revision(
        store,
        incident_id,
        revision,
        "test",
        [FINDING],
        ruled_out=[Note("GC took 2 % of CPU")],
        missing=[],
        html=page,
        markdown=f"# {revision}",
        json_text=json.dumps(
            {"revision": revision, "timings_ms": {"webhook_to_ack": 4.2, "webhook_to_cpu_report": None}}
        ),
        sinks=[],
    )


@pytest.fixture(scope="module")
def incident(web: Serving) -> str:
    [incident_id] = web.post("/webhook", webhook(alert(job="checkout"))).json["incidents"]
    publish(web.store, incident_id, 1)
    publish(web.store, incident_id, 2)
    return incident_id


@pytest.fixture(scope="module")
def profiles(web: Serving) -> tuple[str, str, str]:
    asked = [("checkout", CPU), ("checkout", LOCK), ("pricing", HEAP)]
    first, second, third = (web.post(f"/api/v1/profiles?service={name}", body).json["id"] for name, body in asked)
    return first, second, third


# --- incidents


def test_a_list_item_has_the_documented_shape(web, incident):
    [item] = [each for each in web.get("/api/v1/incidents").json["incidents"] if each["id"] == incident]

    assert ("open", "checkout", "critical", 1) == tuple(
        item[k] for k in ("status", "service", "severity", "alert_count")
    )
    assert (None, FINDING.statement) == (item["ended_at"], item["verdict"])
    assert "2026-11-24T10:00:00.000000Z" == item["started_at"]


def test_incidents_can_be_filtered_and_paged(web, incident):
    for job in ("pricing", "inventory"):
        web.post("/webhook", webhook(alert(job=job)))

    assert ["pricing"] == [each["service"] for each in web.get("/api/v1/incidents?service=pricing").json["incidents"]]
    assert [] == web.get("/api/v1/incidents?status=resolved").json["incidents"]
    assert [] == web.get("/api/v1/incidents?since=2027-01-01T00:00:00Z").json["incidents"]
    first = web.get("/api/v1/incidents?limit=2").json
    second = web.get(f"/api/v1/incidents?limit=2&cursor={first['next']}").json
    assert (2, 1, None) == (len(first["incidents"]), len(second["incidents"]), second["next"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=closed", "status"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-11-24T10:00:00", "since"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_wrong_parameter_is_named(web, query, field):
    answer = web.get(f"/api/v1/incidents?{query}")

    assert (400, "bad_request", field) == (answer.status, answer.error["code"], answer.error["field"])


def test_one_incident_has_everything(web, incident):
    found = web.get(f"/api/v1/incidents/{incident}").json

    wanted = {"id", "status", "title", "service", "started_at", "ended_at", "alerts", "traces", "captures", "findings"}
    assert wanted | {"deliveries", "timeline"} <= set(found)
    assert "function" == found["findings"][0]["subject"]["type"]


@pytest.mark.parametrize("path", ["", "/report.html", "/report.json", "/incident.duckdb"])
def test_what_is_not_there_is_404(web, path):
    answer = web.get(f"/api/v1/incidents/inc-none{path}")

    assert (404, "not_found") == (answer.status, answer.error["code"])


@pytest.mark.parametrize(
    ("form", "content_type", "text"),
    [("html", "text/html", "<!doctype html><title>%s</title>"), ("md", "text/markdown", "# %s")],
)
def test_a_report_is_served_as_it_was_rendered(web, incident, form, content_type, text):
    path = f"/api/v1/incidents/{incident}/report.{form}"
    newest, first = web.get(path), web.get(f"{path}?revision=1")

    assert (content_type, text % 2, "2") == _report(newest)
    assert (content_type, text % 1, "1") == _report(first)
    assert 404 == web.get(f"{path}?revision=9").status


def _report(answer: Answer) -> tuple[str, str, str | None]:
    return answer.headers.get_content_type(), answer.text, answer.headers["X-Report-Revision"]


def test_a_report_runs_apart_from_our_origin(web, incident):
    for path in (f"/api/v1/incidents/{incident}/report.html", f"/incidents/{incident}"):
        assert "sandbox allow-scripts" in web.get(path).headers["Content-Security-Policy"]


def test_report_json_is_json(web, incident):
    answer = web.get(f"/api/v1/incidents/{incident}/report.json")

    assert ("application/json", 2) == (answer.headers.get_content_type(), answer.json["revision"])


def test_the_incident_as_a_database(web, incident, tmp_path):
    answer = web.get(f"/api/v1/incidents/{incident}/incident.duckdb")
    file = tmp_path / "x.duckdb"
    file.write_bytes(answer.body)

    assert f"attachment; filename={incident}.duckdb" == answer.headers["Content-Disposition"]
    with duckdb.connect(str(file), read_only=True) as opened:
        assert [(incident,)] == opened.execute("SELECT incident_id FROM incidents").fetchall()
    assert [] == list(web.store.path.glob("export-*"))


def test_an_incident_can_be_annotated_and_closed(web):
    [incident_id] = web.post("/webhook", webhook(alert(job="ledger"))).json["incidents"]

    noted = web.post(f"/api/v1/incidents/{incident_id}/notes", {"text": " rolled back "})
    closed = web.post(f"/api/v1/incidents/{incident_id}/close", {"reason": "silenced"})

    assert (201, 200) == (noted.status, closed.status)
    assert "rolled back" in [line["text"] for line in noted.json["timeline"]]
    assert "resolved" == closed.json["status"]
    assert any("silenced" in line["text"] for line in closed.json["timeline"])


@pytest.mark.parametrize(("body", "said"), [(b"", "text is missing"), (b"{", "not JSON"), (b"[1]", "JSON object")])
def test_a_note_without_text_is_400(web, incident, body, said):
    answer = web.post(f"/api/v1/incidents/{incident}/notes", body)

    assert 400 == answer.status
    assert said in answer.error["message"]


# --- traces


@pytest.fixture(scope="module")
def spans(web: Serving) -> None:
    body = data("otlp", "cpu-traces.bin").read_bytes()
    assert 200 == web.post("/v1/traces", body, Content_Type="application/x-protobuf").status


def test_traces_are_found_by_service_and_window(web, spans):
    service = web.store.row("SELECT service_name FROM span LIMIT 1")["service_name"]
    everything = f"/api/v1/traces?service={service}&since=2020-01-01T00:00:00Z"
    found = web.get(everything).json["traces"]

    assert found[0]["duration_ns"] >= found[-1]["duration_ns"]
    assert [] == web.get(f"{everything}&min_duration=1h").json["traces"]
    assert [] == web.get(f"/api/v1/traces?service={service}&until=2020-01-01T00:00:00Z").json["traces"]
    trace = web.get(f"/api/v1/traces/{found[0]['trace_id']}").json
    assert {found[0]["trace_id"]} == {span["trace_id"] for span in trace["spans"]}
    assert trace["spans"][0]["start_time"].endswith("Z")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/traces", 400),
        ("/api/v1/traces?service=a&min_duration=5", 400),
        ("/api/v1/traces?service=a&error=maybe", 400),
        ("/api/v1/traces/00000000000000000000000000000000", 404),
    ],
)
def test_a_wrong_question_about_traces(web, path, status):
    assert status == web.get(path).status


# --- profiles


def test_profiles_are_listed_newest_first(web, profiles):
    found = web.get("/api/v1/profiles?service=checkout").json["profiles"]

    assert {profiles[0], profiles[1]} == {each["profile_id"] for each in found}
    assert found == sorted(found, key=lambda each: each["started_at"], reverse=True)
    assert [profiles[2]] == [each["profile_id"] for each in web.get("/api/v1/profiles?kind=heap").json["profiles"]]


def test_a_profile_comes_back_byte_for_byte(web, profiles):
    answer = web.get(f"/api/v1/profiles/{profiles[0]}")

    assert CPU == answer.body
    assert f"{profiles[0]}.pb.gz" in answer.headers["Content-Disposition"]


def test_top_is_the_same_as_on_the_command_line(web, profiles):
    found = web.get(f"/api/v1/profiles/{profiles[0]}/top?by=cum&n=3").json

    expected = top_shape(top(decode(CPU), by="cum", limit=3), profile_id=profiles[0], kind="cpu")

    assert expected | {"profiles": 1} == found


def test_the_value_type_and_the_samples_can_be_chosen(web, profiles):
    by_bytes = web.get(f"/api/v1/profiles/{profiles[2]}/top?value=alloc_space").json
    focused = web.get(f"/api/v1/profiles/{profiles[0]}/top?focus=nothing_is_called_so").json

    assert ("alloc_space", 0) == (by_bytes["value_type"], focused["total"])


def test_a_flame_graph_as_data_and_as_a_page(web, profiles):
    found = web.get(f"/api/v1/flamegraph?profile={profiles[0]}").json
    page = web.get(f"/api/v1/flamegraph?profile={profiles[0]}&base={profiles[1]}&format=html")

    assert ("cpu", decode(CPU).total()) == (found["type"], found["total"] + _own_samples(found))
    assert "text/html" == page.headers.get_content_type()
    assert "sandbox" in page.headers["Content-Security-Policy"]


def _own_samples(found: dict) -> int:
    """What the graph sets apart as the profiler's own."""
    nodes = found["nodes"]
    return sum(
        total
        for total, kind, parent in zip(nodes["total"], nodes["kind"], nodes["parent"], strict=True)
        if kind == 4 and parent == 0
    )


def test_two_profiles_are_compared(web, profiles):
    found = web.get(f"/api/v1/diff?base={profiles[0]}&new={profiles[1]}&n=5").json

    assert (profiles[0], profiles[1], 5) == (found["base_profile_id"], found["profile_id"], len(found["functions"]))
    assert {"base", "new", "delta", "z", "significant"} <= set(found["functions"][0])


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/profiles/cpu-none", 404, None),
        ("/api/v1/profiles/cpu-none/top", 404, None),
        ("/api/v1/profiles/{cpu}/top?by=name", 400, "by"),
        ("/api/v1/profiles/{cpu}/top?value=heap", 400, "value"),
        ("/api/v1/profiles/{cpu}/top?focus=(", 400, "focus"),
        ("/api/v1/profiles/{cpu}/top?n=-1", 400, "n"),
        ("/api/v1/flamegraph", 400, "profile"),
        ("/api/v1/flamegraph?profile={cpu}&base={heap}", 400, "base"),
        ("/api/v1/diff?base={cpu}", 400, "new"),
        ("/api/v1/diff?base={heap}&new={cpu}", 400, "base"),
    ],
)
def test_a_wrong_question_about_profiles(web, profiles, path, status, field):
    answer = web.get(path.format(cpu=profiles[0], heap=profiles[2]))

    assert (status, field) == (answer.status, answer.error.get("field"))


def test_an_unexpected_error_is_not_shown(web, store):
    """A row as no code of ours writes it: whoever asked is not to blame, and is not told how it failed."""
    store.telemetry.run(lambda cursor: cursor.execute("UPDATE profile SET value_types = [] WHERE kind = 'heap'"))
    profile_id = store.row("SELECT profile_id FROM profile WHERE kind = 'heap'")["profile_id"]

    answer = web.get(f"/api/v1/profiles/{profile_id}/top")

    assert (500, "internal") == (answer.status, answer.error["code"])
    assert "pprof" not in answer.text
