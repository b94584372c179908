"""Programs come from $DIAGNOSE_TOOLS, the PATH or one build; a build happens again only when its sources change."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from demo.errors import ToolError
from demo.golang import RELEASE, find_go
from demo.recipes import RECIPES, check_collector_pins, pinned, prometheus_release
from demo.tools import ROOT, Tools, build_key

MAIN = 'package main\n\nfunc main() { println("one") }\n'


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes an executable that prints *text*, into a folder of its own."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "path" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the smallest target there is."""
    root = tmp_path / "clone"
    (root / "target").mkdir(parents=True)
    (root / "target/go.mod").write_text("module diagnose.example/target\n\ngo 1.26\n")
    (root / "target/main.go").write_text(MAIN)
    return root


def tools(root: Path, **environ: str) -> tuple[Tools, StringIO]:
    said = StringIO()
    return Tools(root, {**os.environ, "DIAGNOSE_TOOLS": "", **environ}, Console(file=said, width=200)), said


def test_the_folder_given_by_the_user_comes_first(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    given = program("prometheus", "whatever")

    found, _ = tools(tmp_path, DIAGNOSE_TOOLS=str(given.parent))

    assert {"prometheus": given} == found.locate(["prometheus"])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    found, _ = tools(tmp_path, DIAGNOSE_TOOLS=str(tmp_path / "gone"))

    with pytest.raises(ToolError, match=r"DIAGNOSE_TOOLS=.*gone is not a folder"):
        found.locate(["prometheus"])


@pytest.mark.parametrize(
    ("name", "command", "version"),
    [
        ("prometheus", "prometheus", "prometheus, version 3.16.0 (branch: )"),
        ("alertmanager", "prometheus-alertmanager", "alertmanager, version 0.31.0+ds (branch: debian/sid)"),
    ],
)
def test_a_new_enough_program_of_the_path_is_used(
    tmp_path: Path, program: Callable[[str, str], Path], name: str, command: str, version: str
) -> None:
    installed = program(command, version)

    found, _ = tools(tmp_path, PATH=f"{installed.parent}:/bin:/usr/bin")

    assert installed == found.find(name)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("prometheus, version 2.33.5 (branch: )", "it is 2.33, and 2.42 or newer is needed"),
        ("prometheus, version  (branch: , revision: unknown)", "it does not say its version"),
    ],
)
def test_another_program_of_the_path_is_passed_over_with_the_reason(
    tmp_path: Path, program: Callable[[str, str], Path], version: str, reason: str
) -> None:
    installed = program("prometheus", version)
    shutil.copytree(ROOT / "demo/toolchain", tmp_path / "demo/toolchain")

    found, said = tools(tmp_path, PATH=f"{installed.parent}:/bin:/usr/bin")

    assert found.find("prometheus") is None
    assert f"{installed} is not used: {reason}" in said.getvalue()


def test_a_collector_without_our_components_is_passed_over(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    installed = program("otelcol", "otelcol version 0.160.0")

    found, said = tools(tmp_path, PATH=f"{installed.parent}:/bin:/usr/bin")

    assert found.find("otelcol") is None
    assert "it was built without file_storage, health_check" in said.getvalue()


def test_the_target_never_comes_from_the_path(clone: Path, program: Callable[[str, str], Path]) -> None:
    installed = program("target", "target v1 go1.26.8")

    found, _ = tools(clone, PATH=f"{installed.parent}:/bin:/usr/bin")

    assert found.find("target") is None


def test_a_program_is_built_once_and_again_when_its_sources_change(clone: Path) -> None:
    found, said = tools(clone)

    built = found.locate(["target"])["target"]

    assert clone / ".tools/bin/target" == built
    assert "one\n" == subprocess.run([built], capture_output=True, text=True, check=True).stderr
    assert "building target, once; about 1 min" in said.getvalue()
    assert [] == found.missing(["target"])

    (clone / "target/main_test.go").write_text("package main\n")
    assert [] == found.missing(["target"])

    (clone / "target/main.go").write_text(MAIN.replace("one", "two"))
    assert ["target"] == [recipe.name for recipe in found.missing(["target"])]
    assert (
        "two\n" == subprocess.run(found.locate(["target"])["target"], capture_output=True, text=True, check=True).stderr
    )


def test_the_second_build_of_the_target_differs_in_what_it_is_linked_with() -> None:
    recipes = {recipe.name: recipe for recipe in RECIPES}

    assert recipes["target"].sources == recipes["target-v2"].sources
    assert build_key(ROOT, recipes["target"]) != build_key(ROOT, recipes["target-v2"])


def test_a_failed_build_shows_the_compiler_and_leaves_no_program(clone: Path) -> None:
    (clone / "target/main.go").write_text("package main\n\nfunc main() { oops() }\n")
    found, _ = tools(clone)

    with pytest.raises(ToolError, match=r"building target failed[\s\S]*main\.go:3:15: undefined: oops"):
        found.locate(["target"])

    assert not (clone / ".tools/bin/target").exists()


def test_a_program_without_a_stamp_is_built_again(clone: Path) -> None:
    """That is what an interruption between the program and its stamp leaves behind."""
    (clone / ".tools/bin").mkdir(parents=True)
    (clone / ".tools/bin/target").write_text("half")
    found, _ = tools(clone)

    assert ["target"] == [recipe.name for recipe in found.missing(["target"])]


def test_go_of_another_release_is_told_to_switch(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    newer = program("go", "go version go1.27.3 linux/amd64")
    environ = {**os.environ, "PATH": f"{newer.parent}:/bin:/usr/bin"}

    assert RELEASE == find_go(environ).environ["GOTOOLCHAIN"]

    program("go", f"go version {RELEASE} linux/amd64")
    assert "local" == find_go(environ).environ["GOTOOLCHAIN"]


def test_a_component_without_a_pin_is_named(tmp_path: Path) -> None:
    shutil.copy(ROOT / "collector-config/go.mod", tmp_path)
    manifest = (ROOT / "collector-config/builder.yaml").read_text()
    (tmp_path / "builder.yaml").write_text(manifest.replace("otlpreceiver v0.159.0", "otlpreceiver v0.160.0"))

    with pytest.raises(
        ToolError, match=r"does not pin .*otlpreceiver v0\.160\.0: run python -m demo\.tools --pin otelcol"
    ):
        check_collector_pins(tmp_path)


def test_the_pins_are_those_of_the_manifest() -> None:
    check_collector_pins(ROOT / "collector-config")
    assert "0.159.0" == pinned(ROOT, "demo/toolchain/ocb/go.mod", "go.opentelemetry.io/collector/cmd/builder")
    assert "3.16.0" == prometheus_release(ROOT)
