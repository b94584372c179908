"""The one set of templates gives every program a configuration it accepts, with both sets of values."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from demo.render import DEMO_PORTS, Values, collector_environ, compose_values, demo_values, render
from demo.tools import ROOT, Tools, collector_components
from diagnose.config import load_settings

PROGRAMS = ("promtool", "amtool", "otelcol")


@pytest.fixture(scope="module")
def tools() -> dict[str, Path]:
    return Tools().locate(PROGRAMS)


@pytest.fixture(params=["demo", "compose"])
def values(request: pytest.FixtureRequest, tmp_path: Path) -> Values:
    return (
        compose_values()
        if request.param == "compose"
        else demo_values(list(range(20000, 20000 + DEMO_PORTS)), tmp_path)
    )


@pytest.fixture
def folder(values: Values, tmp_path: Path) -> Path:
    """A folder with the rendered files."""
    for name, text in render(values).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def accepted(*command: str | Path, **environ: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_prometheus_yml(tools: dict[str, Path], folder: Path) -> None:
    assert "SUCCESS" in accepted(tools["promtool"], "check", "config", folder / "prometheus.yml")


def test_amtool_accepts_alertmanager_yml(tools: dict[str, Path], folder: Path) -> None:
    assert "2 receivers" in accepted(tools["amtool"], "check-config", folder / "alertmanager.yml")


def test_an_alert_reaches_diagnose_and_the_pager(tools: dict[str, Path], folder: Path) -> None:
    config = f"--config.file={folder / 'alertmanager.yml'}"

    routed = accepted(tools["amtool"], "config", "routes", "test", config, "severity=critical", "alertname=HighLatency")

    assert "diagnose,pager" in routed.splitlines()


def test_the_collector_accepts_its_configuration(tools: dict[str, Path], values: Values) -> None:
    config = ROOT / "collector-config/collector.yaml"

    said = accepted(tools["otelcol"], "validate", f"--config={config}", **collector_environ(values, token="t"))

    assert "deprecated" not in said


def test_the_collector_needs_no_environment(tools: dict[str, Path]) -> None:
    accepted(tools["otelcol"], "validate", f"--config={ROOT / 'collector-config/collector.yaml'}")


def test_every_component_of_the_collector_is_compiled_in() -> None:
    manifest = (ROOT / "collector-config/builder.yaml").read_text().replace("_", "")

    assert [] == [name for name in collector_components() if name.replace("_", "") not in manifest]


def test_diagnose_accepts_diagnose_yaml(values: Values, folder: Path) -> None:
    token = folder / "token"
    token.write_text("t\n")
    config = (folder / "diagnose.yaml").read_text().replace("/run/secrets/diagnose_token", str(token))
    (folder / "diagnose.yaml").write_text(config)

    settings = load_settings(folder / "diagnose.yaml", {})

    assert list(values.services) == [target.service for target in settings.targets]
    assert values.listen(values.diagnose) == settings.server.listen


def test_only_the_values_differ() -> None:
    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {key: shape(part) for key, part in value.items() if key not in {"auth", "hosts", "http_config"}}
        return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__

    demo, compose = (
        render(values) for values in (demo_values(list(range(DEMO_PORTS)), Path("/run")), compose_values())
    )

    assert demo.keys() == compose.keys()
    for name in ("prometheus.yml", "alertmanager.yml"):
        assert shape(yaml.safe_load(demo[name])) == shape(yaml.safe_load(compose[name]))
