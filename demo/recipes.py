"""
How each program of the demo is built from its Go modules.

Every module is pinned: go.sum files are committed for Prometheus, Alertmanager and the collector builder (in
demo/toolchain), for the collector itself (collector-config) and for the sample system (target). `go build` runs with
-mod=readonly, so it never picks another version; -trimpath makes the result independent of the folder it is built in.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from demo.errors import ToolError
from demo.golang import Go

HEARTBEAT_S = 20.0  # a log without a terminal gets a line this often
TAIL_LINES = 25


@dataclass(frozen=True)
class Recipe:
    """
    One program.

    *sources* are what its result depends on, *flags* go to `go build`, *minutes* is the cold build on two cores with
    downloads, *packages* about how many packages Go then compiles.
    """

    name: str
    sources: tuple[str, ...]
    prepare: Callable[[Workshop], Path]
    package: str
    minutes: float
    packages: int
    flags: tuple[str, ...] = ("-ldflags=-s -w",)
    experiment: str = ""
    release: Callable[[Path], str] | None = None


class Workshop:
    """The scratch folder, the Go command and the progress line of one build."""

    def __init__(self, root: Path, scratch: Path, go: Go, recipe: Recipe, console: Console) -> None:
        self.root, self.scratch, self.go, self.recipe, self.console = root, scratch, go, recipe, console
        self.log = scratch / f"{recipe.name}.log"
        self.started = self.last_line_at = time.monotonic()
        self.downloaded = self.compiled = 0

    def build(self, into: Path) -> None:
        """Builds the program into the file *into*. Raises ToolError with the compiler's last lines."""
        self.log.unlink(missing_ok=True)
        module = self.recipe.prepare(self)
        flags = [flag.format(release=self._release()) for flag in self.recipe.flags]
        self.go_build(self.recipe.package, *flags, into=into, folder=module, GOEXPERIMENT=self.recipe.experiment)

    def go_build(self, package: str, *flags: str, into: Path, folder: Path, **environ: str) -> None:
        """Builds one package of the module in *folder*; it is written only when it is complete."""
        fixed = ("-v", "-trimpath", "-buildvcs=false", "-mod=readonly")
        self.run(self.go.command, "build", *fixed, *flags, "-o", into, package, folder=folder, **environ)

    def run(self, *command: str | Path, folder: Path, **environ: str) -> str:
        """Runs one step and returns what it printed. Raises ToolError when it fails."""
        with (
            self.log.open("a") as log,
            self.console.status(self._progress()) as status,
            subprocess.Popen(
                command,
                cwd=folder,
                env=self.go.with_environ(**environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            lines: list[str] = []
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    log.write(line)
                    self._count(line)
                    status.update(self._progress())
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            tail = "".join(lines[-TAIL_LINES:])
            raise ToolError(
                f"building {self.recipe.name} failed ({' '.join(map(str, command[:3]))} …):\n{tail}{self.log}"
            )
        return "".join(lines)

    def _count(self, line: str) -> None:
        if line.startswith("go: downloading"):
            self.downloaded += 1
        elif " " not in line.strip():
            self.compiled += 1  # -v prints the import path of each package it compiles
        if not self.console.is_terminal and time.monotonic() - self.last_line_at > HEARTBEAT_S:
            self.last_line_at = time.monotonic()
            self.console.print(self._progress())

    def _progress(self) -> str:
        parts = [f"{self.downloaded} modules downloaded"] if self.downloaded else []
        parts += [f"{self.compiled} of about {self.recipe.packages} packages compiled"] if self.compiled else []
        return f"  {self.recipe.name}: {', '.join([*parts, f'{time.monotonic() - self.started:.0f} s'])}"

    def _release(self) -> str:
        return self.recipe.release(self.root) if self.recipe.release else ""


def pinned(root: Path, go_mod: str, module: str) -> str:
    """The version of *module* in a go.mod file, without its v."""
    found = re.search(rf"^(?:require\s+|\s+){re.escape(module)} v(\S+)", (root / go_mod).read_text(), re.MULTILINE)
    if not found:
        raise ToolError(f"{go_mod} does not pin {module}")
    return found.group(1)


def prometheus_release(root: Path) -> str:
    """3.16.0: the module counts 0.316.0."""
    _, minor, patch = pinned(root, "demo/toolchain/prometheus/go.mod", "github.com/prometheus/prometheus").split(".")
    return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"


def alertmanager_release(root: Path) -> str:
    return pinned(root, "demo/toolchain/alertmanager/go.mod", "github.com/prometheus/alertmanager")


def in_folder(name: str) -> Callable[[Workshop], Path]:
    """A module that is built where it lies."""
    return lambda workshop: workshop.root / name


def copy_alertmanager(workshop: Workshop) -> Path:
    """
    Alertmanager embeds web pages that its module does not contain, so the module is copied and given an empty one.

    The copy is the module as checked against our go.sum, its own go.sum pins the rest.
    """
    asked = workshop.run(
        workshop.go.command, "mod", "download", "-json", "github.com/prometheus/alertmanager",
        folder=workshop.root / "demo/toolchain/alertmanager",
    )  # fmt: skip
    source = Path(json.loads(asked[asked.index("{") : asked.rindex("}") + 1])["Dir"])
    copy = workshop.scratch / "alertmanager-source"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, copy_function=shutil.copyfile)  # without the module cache's read-only modes
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    page = copy / "ui/app/dist/index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("<!doctype html><title>Alertmanager</title>This build has the API only.\n")
    return copy


def generate_collector(workshop: Workshop) -> Path:
    """The collector's sources from builder.yaml, with the committed go.mod and go.sum."""
    check_collector_pins(workshop.root / "collector-config")
    folder = run_collector_builder(workshop, "--skip-get-modules", "--skip-compilation")
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(workshop.root / "collector-config" / name, folder / name)
    return folder


def check_collector_pins(config: Path) -> None:
    """Raises ToolError when builder.yaml names a module or version that go.mod does not pin."""
    manifest = yaml.safe_load((config / "builder.yaml").read_text())
    wanted = {
        part["gomod"]
        for kind in ("receivers", "processors", "connectors", "exporters", "extensions", "providers")
        for part in manifest.get(kind) or ()
    }
    have = {line.strip().removesuffix(" // indirect") for line in (config / "go.mod").read_text().splitlines()}
    if missing := wanted - have:
        raise ToolError(
            f"collector-config/go.mod does not pin {', '.join(sorted(missing))}: run python -m demo.tools --pin otelcol"
        )


def run_collector_builder(workshop: Workshop, *flags: str) -> Path:
    """Builds OCB, runs it in the scratch folder and returns the folder of the generated sources."""
    builder, folder = workshop.scratch / "ocb", workshop.scratch / "collector"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    package = "go.opentelemetry.io/collector/cmd/builder"
    workshop.go_build(package, "-ldflags=-s -w", into=builder, folder=workshop.root / "demo/toolchain/ocb")
    shutil.copyfile(workshop.root / "collector-config/builder.yaml", folder / "builder.yaml")
    workshop.run(builder, "--config=builder.yaml", *flags, folder=folder)
    return folder / "_build"


def pin_collector(workshop: Workshop) -> None:
    """Lets OCB resolve the modules of builder.yaml and keeps what it chose beside it."""
    folder = run_collector_builder(workshop, "--skip-compilation")
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(folder / name, workshop.root / "collector-config" / name)


PROMETHEUS_FLAGS = (
    "-tags=remove_all_sd,netgo",  # without the cloud providers' discovery: a third of the build time and size
    "-ldflags=-s -w -X github.com/prometheus/common/version.Version={release}",
)
ALERTMANAGER_FLAGS = ("-ldflags=-s -w -X github.com/prometheus/common/version.Version={release}",)


def _prometheus(command: str, minutes: float, packages: int) -> Recipe:
    return Recipe(
        command,
        sources=("demo/toolchain/prometheus",),
        prepare=in_folder("demo/toolchain/prometheus"),
        package=f"github.com/prometheus/prometheus/cmd/{command}",
        minutes=minutes,
        packages=packages,
        flags=PROMETHEUS_FLAGS,
        release=prometheus_release,
    )


def _alertmanager(command: str, minutes: float, packages: int) -> Recipe:
    return Recipe(
        command,
        sources=("demo/toolchain/alertmanager",),
        prepare=copy_alertmanager,
        package=f"./cmd/{command}",
        minutes=minutes,
        packages=packages,
        flags=ALERTMANAGER_FLAGS,
        release=alertmanager_release,
    )


def _target(name: str, minutes: float, *flags: str) -> Recipe:
    return Recipe(
        name,
        sources=("target",),
        prepare=in_folder("target"),
        package=".",
        minutes=minutes,
        packages=380,
        flags=flags,  # no -s -w: symbols stay, it is the program that gets profiled
        experiment="goroutineleakprofile",
    )


RECIPES: Sequence[Recipe] = (
    _target("target", 1),
    _target("target-v2", 0.1, "-ldflags=-X main.version=v2"),  # the same sources, linked again: another build id
    Recipe(
        "otelcol",
        sources=(
            "collector-config/builder.yaml",
            "collector-config/go.mod",
            "collector-config/go.sum",
            "demo/toolchain/ocb",
        ),
        prepare=generate_collector,
        package=".",
        minutes=3,
        packages=1360,
    ),
    _prometheus("prometheus", 3.5, 1050),
    _alertmanager("alertmanager", 1, 500),
    _prometheus("promtool", 1, 250),
    _alertmanager("amtool", 0.2, 50),
)
