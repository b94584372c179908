from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from demo.processes import free_port
from diagnose.cli import main
from diagnose.config import Auth, Settings, Token
from diagnose.model import Decision
from diagnose.store.db import Store
from diagnose.store.decisions import save_decisions
from diagnose.store.incidents import save_timing
from tests.serving import Serving, data, serving
from tests.test_web_api import publish

CPU = data("pprof", "cpu-profile.pb.gz")
HEAP = data("pprof", "leak-heap.pb.gz")
FIRING = data("alertmanager", "firing.json")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store) as running:
        yield running


@pytest.fixture(scope="module")
def incident(web: Serving) -> str:
    [incident_id] = web.post("/webhook", FIRING.read_bytes()).json["incidents"]
    publish(web.store, incident_id, 1)
    decide(web.store, incident_id)
    return incident_id


def decide(store: Store, incident_id: str) -> None:
    save_decisions(store, incident_id, [Decision("rule", "GoroutineLeak", "rule 1", "severity!=none")])
    save_timing(store, incident_id, "webhook_to_ack", 4.2)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("DIAGNOSE_URL", "DIAGNOSE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def ask(web: Serving, *arguments: object) -> Result:
    result = run(*arguments, "--server", web.url)
    assert 0 == result.exit_code, result.output
    return result


def settings_file(folder: Path, text: str = "") -> Path:
    """With a listener nobody is at."""
    file = folder / "diagnose.yaml"
    file.write_text(f"server: {{listen: '127.0.0.1:{free_port()}'}}\n{text}")
    return file


# --- what all commands have in common


def test_help_lists_every_command():
    result = run("--help")

    assert 0 == result.exit_code
    for name in ("serve", "check-config", "incidents", "report", "export", "explain", "simulate", "profile", "sql"):
        assert f"\n  {name} " in result.output


def test_the_server_may_be_named_before_or_behind_the_command(web, incident):
    for arguments in (["--server", web.url, "incidents", "list"], ["incidents", "--server", web.url, "list"]):
        assert incident in run(*arguments).output


def test_the_server_may_come_from_the_environment(web, incident, monkeypatch):
    monkeypatch.setenv("DIAGNOSE_URL", web.url)

    assert incident in run("incidents", "list").output


def test_a_named_server_that_is_not_there_ends_with_3(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    result = run("incidents", "list", "--server", url)

    assert (3, f"Error: no server answers at {url}\n") == (result.exit_code, result.stderr)


def test_no_server_and_no_data_ends_with_3(tmp_path):
    settings_file(tmp_path)
    result = run("incidents", "list")

    assert 3 == result.exit_code
    assert f"and {tmp_path / 'data'} holds no data" in result.stderr


def test_something_that_is_no_diagnose_server_is_said_to_be_none(web):
    result = run("incidents", "list", "--server", f"{web.url}/metrics?")

    assert 1 == result.exit_code
    assert "is it a diagnose server?" in result.stderr


def test_credentials(tmp_path, store):
    token = Token(name="reader", token="t-read", roles=["read"])
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("t-read\n")
    bad.write_text("wrong")
    with serving(store, Settings(auth=Auth(tokens=[token]))) as web:
        assert 4 == run("incidents", "list", "--server", web.url).exit_code
        assert 4 == run("incidents", "list", "--server", web.url, "--token-file", bad).exit_code
        assert 0 == run("incidents", "list", "--server", web.url, "--token-file", good).exit_code
        assert 4 == run("sql", "SELECT 1", "--server", web.url, "--token-file", good).exit_code
    assert 2 == run("incidents", "list", "--server", web.url, "--token-file", tmp_path / "none").exit_code


def test_what_is_not_there_ends_with_1(web):
    result = run("incidents", "show", "inc-none", "--server", web.url)

    assert (1, "Error: no incident inc-none\n") == (result.exit_code, result.stderr)


def test_a_wrong_argument_ends_with_2(web):
    result = run("incidents", "list", "--since", "yesterday", "--server", web.url)

    assert 2 == result.exit_code
    assert "since must be a time" in result.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["incidents", "list", "--status", "closed"], ["report"]])
def test_a_mistake_in_the_command_line_ends_with_2(arguments):
    assert 2 == run(*arguments).exit_code


# --- check-config


def test_check_config_says_that_all_is_well(tmp_path):
    assert "the defaults: ok\n" == run("check-config").stdout
    assert f"{settings_file(tmp_path)}: ok\n".rpartition("/")[2] == run("check-config").stdout


def test_check_config_lists_every_mistake(tmp_path):
    file = tmp_path / "other.yaml"
    file.write_text("sql: {rows: many}\nsnks: []\n")

    result = run("check-config", "--config", file)

    assert 2 == result.exit_code
    expected = ["sql.rows (line 1): must be a whole number", "snks (line 2): unknown setting; did you mean sinks?"]
    assert [f"{file}: 2 mistakes", *(f"  {line}" for line in expected)] == result.stderr.splitlines()


def test_check_config_as_json(tmp_path):
    file = tmp_path / "diagnose.yaml"
    file.write_text("sql: {rows: many}\n")

    result = run("check-config", "--json")

    mistake = {"path": "sql.rows", "message": "must be a whole number", "line": 1}
    assert (2, {"file": "diagnose.yaml", "mistakes": [mistake]}) == (result.exit_code, json.loads(result.stdout))


def test_other_commands_list_the_mistakes_too(tmp_path):
    (tmp_path / "diagnose.yaml").write_text("sql: {rows: many}\nsnks: []\n")

    result = run("incidents", "list")

    assert 2 == result.exit_code
    assert "sql.rows (line 1)" in result.stderr
    assert "snks (line 2)" in result.stderr


# --- incidents


def test_incidents_are_listed(web, incident):
    lines = ask(web, "incidents", "list").stdout.splitlines()

    assert ["id", "status", "service", "started", "title", "cause"] == lines[0].split()
    assert any(line.startswith(incident) and "71 % of CPU time" in line for line in lines)
    assert incident in [each["id"] for each in json.loads(ask(web, "incidents", "list", "--json").stdout)["incidents"]]


def test_nothing_found_is_said_on_standard_error(web):
    result = ask(web, "incidents", "list", "--service", "nobody")

    assert ("", "no incidents\n") == (result.stdout, result.stderr)


def test_an_incident_is_shown(web, incident):
    text = ask(web, "incidents", "show", incident).stdout

    assert "1. 71 % of CPU time is in match (strong)" in text
    assert "GoroutineLeak" in text
    assert "\ntimeline\n" in text
    assert incident == json.loads(ask(web, "incidents", "show", incident, "--json").stdout)["id"]


def test_an_incident_is_annotated_and_closed(web):
    labels = ["--label", "job=ledger", "--label", "severity=critical"]
    [_, incident_id] = ask(web, "simulate", "--alertname", "ToClose", *labels).stdout.splitlines()

    ask(web, "incidents", "note", incident_id, "rolled back")
    ask(web, "incidents", "close", incident_id, "--reason", "silenced")

    shown = ask(web, "incidents", "show", incident_id).stdout
    assert "rolled back" in shown
    assert "\nresolved, " in shown


def test_incidents_are_merged_and_split(web):
    def sent(name: str, job: str) -> str:
        labels = ["--label", f"job={job}", "--label", "severity=critical"]
        return ask(web, "simulate", "--alertname", name, *labels).stdout.splitlines()[1]

    one, other = sent("One", "merged"), sent("Other", "taken")
    ask(web, "incidents", "merge", one, other)
    shown = json.loads(ask(web, "incidents", "show", one, "--json").stdout)
    [episode] = [each["episode_id"] for each in shown["alerts"] if each["alertname"] == "Other"]
    assert episode in ask(web, "incidents", "show", one).stdout

    new = ask(web, "incidents", "split", one, episode).stdout.strip()
    assert "Other" in ask(web, "incidents", "show", new).stdout
    assert 2 == run("incidents", "merge", one, one, "--server", web.url).exit_code


def test_a_report_is_printed_or_written(web, incident, tmp_path):
    assert "# 1" == ask(web, "report", incident).stdout
    ask(web, "report", incident, "--format", "html", "-o", tmp_path / "report.html")
    assert "<!doctype html><title>1</title>" == (tmp_path / "report.html").read_text()
    assert 1 == run("report", incident, "--revision", 9, "--server", web.url).exit_code


def test_an_incident_is_exported(web, incident, tmp_path):
    file = tmp_path / "incident.duckdb"
    ask(web, "export", incident, "-o", file)

    with duckdb.connect(str(file), read_only=True) as opened:
        assert [(incident,)] == opened.execute("SELECT incident_id FROM incidents").fetchall()
    assert [file] == list(tmp_path.iterdir())


def test_explain_tells_why(web, incident):
    told = json.loads(ask(web, "explain", incident, "--json").stdout)

    assert (incident, {"webhook_to_ack": 4.2}) == (told["id"], told["timings_ms"])
    assert [("rule", "rule 1", "severity!=none")] == [
        (each["step"], each["outcome"], each["reason"]) for each in told["decisions"]
    ]
    assert "ack" in ask(web, "explain", incident).stdout


# --- profiles


def test_profiles_are_imported_once_and_read_by_id(web):
    first = ask(web, "profile", "import", CPU, "--service", "checkout", "--label", "origin=drill").stdout
    again = json.loads(ask(web, "profile", "import", CPU, "--service", "checkout", "--json").stdout)

    assert (first.strip(), True) == (again["id"], again["duplicate"])
    by_id = json.loads(ask(web, "profile", "top", again["id"], "--json").stdout)
    from_file = json.loads(run("profile", "top", CPU, "--json").stdout)
    assert from_file | {"profile_id": again["id"]} == by_id


def test_a_profile_is_named_after_its_binary_unless_told(web):
    ask(web, "profile", "import", data("pprof", "lock-profile.pb.gz"))

    assert 1 == len(web.get("/api/v1/profiles?service=target").json["profiles"]) or web.get("/api/v1/profiles").json


def test_a_file_that_is_no_profile_is_not_imported(web, tmp_path):
    broken = tmp_path / "broken.pb.gz"
    broken.write_bytes(CPU.read_bytes()[:1000])

    result = run("profile", "import", broken, "--server", web.url)
    assert 2 == result.exit_code
    assert "cut off" in result.output


# --- simulate


def test_a_file_is_sent_as_it_is(web):
    answer = json.loads(ask(web, "simulate", FIRING, "--json").stdout)

    assert 1 == answer["accepted"] + answer["duplicates"]


def test_a_made_up_alert_and_its_end(web):
    opened = ask(web, "simulate", "--alertname", "MadeUp", "--label", "job=made-up", "--expr", "up == 0").stdout
    [incident_id] = opened.splitlines()[1:]
    assert "open" == web.get(f"/api/v1/incidents/{incident_id}").json["status"]

    ask(web, "simulate", "--alertname", "MadeUp", "--label", "job=made-up", "--resolved")
    assert "resolved" == web.get(f"/api/v1/incidents/{incident_id}").json["status"]


def test_a_dry_run_says_what_would_happen_and_sends_nothing(tmp_path):
    settings_file(
        tmp_path,
        "targets: [{name: shop, service: checkout, match: {job: api}, source: static, addresses: ['127.0.0.1:1']}]\n"
        "rules: [{matchers: ['severity=\"warning\"'], capture: [goroutine, heap, cpu]}]\n",
    )
    plan = json.loads(run("simulate", FIRING, "--dry-run", "--json").stdout)["alerts"]

    assert [("GoroutineLeak", 1, "checkout")] == [(p["alertname"], p["rule"]["number"], p["service"]) for p in plan]
    assert ["goroutine", "heap", "cpu"] == plan[0]["kinds"]
    assert ["shop"] == [each["target"] for each in plan[0]["targets"]]
    text = run("simulate", "--alertname", "X", "--label", "severity=info", "--dry-run").stdout
    assert "X: no rule matches" in text


@pytest.mark.parametrize(
    "arguments", [[], [FIRING, "--alertname", "X"], ["gone.json"], ["--alertname", "X", "--label", "a"]]
)
def test_simulate_needs_one_alert(arguments):
    assert 2 == run("simulate", *arguments).exit_code


# --- without a server


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """A data directory that no server has open; the id of the incident in it."""
    settings_file(tmp_path)
    with Store.open(tmp_path / "data") as store, serving(store) as web:
        [incident_id] = web.post("/webhook", FIRING.read_bytes()).json["incidents"]
        publish(store, incident_id, 1)
        decide(store, incident_id)
        web.post("/api/v1/profiles?service=checkout", CPU.read_bytes())
    return incident_id


def test_reading_commands_open_the_directory_themselves(directory, tmp_path):
    assert directory in run("incidents", "list").stdout
    assert directory in run("incidents", "list", "--since", "5000d").stdout
    assert "GoroutineLeak" in run("incidents", "show", directory).stdout
    assert "# 1" == run("report", directory).stdout
    assert 0 == run("export", directory, "-o", tmp_path / "x.duckdb").exit_code
    assert 1 == run("report", "inc-none").exit_code
    assert "rule 1" in run("explain", directory).stdout
    profile_id = json.loads(run("sql", "SELECT profile_id FROM profiles", "--json").stdout)["rows"][0][0]
    assert "cpu" in run("profile", "top", profile_id).stdout


def test_writing_commands_need_a_server(directory):
    assert 3 == run("incidents", "close", directory).exit_code


def test_profiles_are_imported_into_the_directory_while_no_server_runs(directory):
    first, again = (
        json.loads(run("profile", "import", HEAP, "--service", "checkout", "--json").stdout) for _ in range(2)
    )

    assert (first["id"], False, True) == (again["id"], first["duplicate"], again["duplicate"])
    assert "heap" in run("profile", "info", first["id"]).stdout


def test_an_import_needs_a_server_or_a_directory_with_data(tmp_path):
    settings_file(tmp_path)

    assert 3 == run("profile", "import", CPU).exit_code


# --- sql


def test_rows_as_a_table(web, incident):
    text = ask(
        web,
        "sql",
        "SELECT incident_id, alert_count FROM incidents WHERE incident_id = $id",
        "--param",
        f"id={incident}",
    )

    assert ["incident_id", "alert_count"] == text.stdout.splitlines()[0].split()
    assert [incident, "1"] == text.stdout.splitlines()[1].split()


def test_rows_in_other_formats(web, tmp_path):
    query = "SELECT 1 AS a, 'x' AS b"
    assert [[1, "x"]] == json.loads(ask(web, "sql", query, "--json").stdout)["rows"]
    assert ['"a","b"', '1,"x"'] == ask(web, "sql", query, "--format", "csv").stdout.splitlines()
    file = tmp_path / "rows.parquet"
    ask(web, "sql", query, "--format", "parquet", "-o", file)
    assert [(1, "x")] == duckdb.execute("SELECT * FROM read_parquet(?)", [str(file)]).fetchall()


@pytest.mark.parametrize(
    ("query", "code"), [("SELECT nothing_like_it", 2), ("DROP TABLE incident", 4), ("COPY (SELECT 1) TO 'x.csv'", 4)]
)
def test_a_refused_query(web, query, code):
    assert code == run("sql", query, "--server", web.url).exit_code


def test_a_cut_answer_says_so(web):
    result = ask(web, "sql", "SELECT * FROM range(100)", "--limit", "3")

    assert (4, "cut after 3 rows\n") == (len(result.stdout.splitlines()), result.stderr)


def test_the_program_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "diagnose", "--version"], capture_output=True, text=True, timeout=30, check=True
    )

    assert result.stdout.startswith("diagnose, version ")
