"""What alert-rules/ promises: valid, tested with promtool, labelled, and the same rules with the demo's figures."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.faults import FAULTS
from demo.rules import DEMO, FOLDER, PRODUCTION, render_rules
from demo.tools import Tools
from diagnose.kinds import PROFILE_KINDS
from diagnose.telemetry import REGISTRY

FILES = sorted(FOLDER.glob("*.yaml"))
RULES = [
    pytest.param(rule, id=rule["alert"])
    for path in FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]

FINDING_KINDS = {  # of report.json
    "hot_code", "leak", "memory", "gc", "lock", "latency", "errors", "difference", "instance", "change", "scheduler",
    "retry_storm", "n_plus_one", "saturation", "downstream", "missing_evidence",
}  # fmt: skip


@pytest.fixture(scope="session")
def promtool() -> str:
    found = Tools().find("promtool")
    if found is None:
        pytest.fail("promtool is neither in $DIAGNOSE_TOOLS nor on the PATH nor in .tools/bin: run `make tools`")
    return str(found)


def run(*command: str | Path, folder: Path = FOLDER) -> str:
    """What a command printed. Its failure is the test's, with all of that."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def alerts(text: str) -> Iterator[dict[str, Any]]:
    """The rules of a rendered file."""
    for group in yaml.safe_load(text)["groups"]:
        yield from group["rules"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_rule_file_passes_its_promtool_tests(path: Path, promtool: str) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", path)
    run(promtool, "test", "rules", path.name, folder=FOLDER / "tests")


@pytest.mark.parametrize("rule", RULES)
def test_an_alert_is_tested_for_firing_for_quiet_and_for_its_end(rule: dict[str, Any]) -> None:
    tested = [
        [each["exp_alerts"] for each in test["alert_rule_test"] if each["alertname"] == rule["alert"]]
        for path in (FOLDER / "tests").glob("*.yaml")
        for test in yaml.safe_load(path.read_text())["tests"]
    ]

    assert any(re.search(r"\.x+\.", "".join("x" if fires else "." for fires in each)) for each in tested)


@pytest.mark.parametrize("rule", RULES)
def test_an_alert_says_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    page = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", rule["alert"]).lower()

    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert f"https://diagnose.example/runbooks/{page}" == annotations["runbook_url"]


@pytest.mark.parametrize("rule", RULES)
def test_an_alert_asks_for_kinds_of_profile_that_exist(rule: dict[str, Any]) -> None:
    if rule["alert"].startswith("Diagnose"):
        assert "diagnose" not in rule["annotations"]
        return
    wanted = rule["annotations"]["diagnose"].split(",")

    assert set(wanted) <= PROFILE_KINDS.keys()
    assert len(wanted) == len(set(wanted))
    assert 'job=~".+"' in rule["expr"]


@pytest.mark.parametrize("rule", RULES)
def test_the_alerts_about_diagnose_read_metrics_it_has(rule: dict[str, Any]) -> None:
    samples = {sample for metric in REGISTRY.collect() for sample in (metric.name, f"{metric.name}_total")}

    assert set(re.findall(r"\bdiagnose_\w+", rule["expr"])) <= samples


def test_the_readme_lists_every_alert_and_its_severity() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", (FOLDER / "README.md").read_text(), re.MULTILINE))

    assert {param.id: param.values[0]["labels"]["severity"] for param in RULES} == table


def readme_rows() -> dict[str, list[str]]:
    """Alert → cells of its row."""
    lines = (FOLDER / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {cells[0].strip("`"): cells for cells in rows if len(cells) == 6}


@pytest.mark.parametrize("rule", RULES)
def test_the_readme_says_what_an_alert_should_lead_to_and_which_fault_shows_it(rule: dict[str, Any]) -> None:
    cells = readme_rows()[rule["alert"]]
    kinds, faults = (set(re.findall(r"`([a-z_-]+)`", cells[column])) for column in (3, 4))

    assert kinds or cells[3] == "for people"
    assert kinds <= FINDING_KINDS
    assert (cells[3] == "for people") == rule["alert"].startswith("Diagnose")
    assert all(kinds & set(FAULTS[fault].kinds) for fault in faults)


def test_every_fault_of_the_demo_is_one_that_some_alert_shows() -> None:
    shown = {fault for cells in readme_rows().values() for fault in re.findall(r"`([a-z-]+)`", cells[4])}

    assert FAULTS.keys() == shown


def test_production_figures_change_nothing() -> None:
    assert {path.name: yaml.safe_load(path.read_text()) for path in FILES} == {
        name: yaml.safe_load(text) for name, text in render_rules(PRODUCTION).items()
    }


def test_the_rules_of_the_demo_are_valid_and_watch_the_shop_alone(promtool: str, tmp_path: Path) -> None:
    rendered = render_rules(DEMO)
    for name, text in rendered.items():
        (tmp_path / name).write_text(text)
    run(promtool, "check", "rules", *(tmp_path / name for name in rendered))

    for rule in (rule for name, text in rendered.items() if name != "diagnose.yaml" for rule in alerts(text)):
        windows = [int(seconds) for seconds in re.findall(r"\[(\d+)s\]", rule["expr"])]
        assert 'job=~"gateway|checkout|pricing|inventory"' in rule["expr"]
        assert 'job=~".+"' not in rule["expr"]
        assert all(seconds <= 6 for seconds in windows)
        assert rule["expr"].count("[") == len(windows)
        assert int(rule["for"].removesuffix("s")) <= 6


def test_the_demo_says_which_percentile_it_means() -> None:
    latency = {rule["alert"]: rule for rule in alerts(render_rules(DEMO)["latency.yaml"])}

    assert "histogram_quantile(0.95," in latency["HighLatency"]["expr"]
    assert "p95" in latency["HighLatency"]["annotations"]["summary"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"HihgLatency": {"for": "1s"}}, "no such alert in alert-rules/: HihgLatency"),
        ({"HighLatency": {"[7m]": "[4s]"}}, r"HighLatency: neither a field nor a text is '\[7m\]'"),
        ({"TargetDown": {"keep_firing_for": "5s"}}, "TargetDown: neither a field nor a text is 'keep_firing_for'"),
    ],
)
def test_a_figure_that_fits_no_rule_is_an_error(values: dict[str, dict[str, str]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        render_rules(values)


def test_the_tests_would_notice_another_threshold(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "tests", tmp_path / "tests")
    for name, text in render_rules({"HighErrorRatio": {"> 0.05": "> 0.5"}}).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [promtool, "test", "rules", "errors.yaml"], cwd=tmp_path / "tests", capture_output=True, text=True, check=False
    )

    assert 1 == done.returncode
    assert "HighErrorRatio" in done.stdout + done.stderr
