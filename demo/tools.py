"""
The real programs of the demo: found on this machine, or built once into .tools/bin.

    python -m demo.tools [NAME…]          make sure they are there (default: all) and print where
    python -m demo.tools --pin otelcol    write collector-config/go.mod and go.sum again after a change of builder.yaml

Looked for in this order: the folder $DIAGNOSE_TOOLS (taken as it is), the PATH (if new enough), .tools/bin (if built
from the present sources). `target` and `target-v2`, what a deploy brings, are never taken from the PATH: they have to
be built from the sources that lie here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import yaml
from rich.console import Console

from demo.errors import ToolError
from demo.golang import RELEASE, Go, find_go
from demo.recipes import RECIPES, Recipe, Workshop, pin_collector

ROOT = Path(__file__).parent.parent
LOCK_LINE = "waiting for another build of these programs to end"


@dataclass(frozen=True)
class Wanted:
    """What a program may be called on the PATH and the oldest version that will do. No names: not from the PATH."""

    commands: tuple[str, ...] = ()
    oldest: tuple[int, int] = (0, 0)


WANTED = {
    "target": Wanted(),
    "target-v2": Wanted(),
    "otelcol": Wanted(("otelcol", "otelcol-contrib"), (0, 159)),  # before, otlp_http and span_metrics had other names
    "prometheus": Wanted(("prometheus",), (2, 42)),
    "alertmanager": Wanted(("alertmanager", "prometheus-alertmanager"), (0, 25)),
    "promtool": Wanted(("promtool",), (2, 42)),
    "amtool": Wanted(("amtool",), (0, 25)),
}
DEMO_PROGRAMS = ("target", "otelcol", "prometheus", "alertmanager")


class Tools:
    """Finds or builds programs. *environ* decides what is found; *root* is the clone, which also holds .tools."""

    def __init__(
        self, root: Path = ROOT, environ: Mapping[str, str] | None = None, console: Console | None = None
    ) -> None:
        self.root = root
        self.environ = dict(os.environ if environ is None else environ)
        self.console = console or Console(stderr=True)
        self.folder = root / ".tools"
        self._refused: dict[str, str | None] = {}  # program of the PATH → why not, None when it will do

    def locate(self, names: Iterable[str]) -> dict[str, Path]:
        """Path per name; builds what is missing. Raises ToolError."""
        names = tuple(names)
        if self.missing(names):
            with self._locked() as go:
                for recipe in self.missing(names):  # asked again: whoever held the lock may have built them
                    self._build(recipe, go)
        return {name: path for name in names if (path := self.find(name))}

    def find(self, name: str) -> Path | None:
        """Where *name* is ready to run, or None when it has to be built."""
        return self._given(name) or self._on_path(name) or self._built(name)

    def missing(self, names: Iterable[str]) -> list[Recipe]:
        """What would have to be built, in the order of building."""
        lacking = {name for name in names if not self.find(name)}
        return [recipe for recipe in RECIPES if recipe.name in lacking]

    def pin_collector(self) -> None:
        recipe = _recipe("otelcol")
        with self._locked() as go:
            pin_collector(Workshop(self.root, self._scratch(), go, recipe, self.console))

    def _given(self, name: str) -> Path | None:
        if not (folder := self.environ.get("DIAGNOSE_TOOLS")):
            return None
        if not Path(folder).is_dir():
            raise ToolError(f"DIAGNOSE_TOOLS={folder} is not a folder")
        for command in (name, *WANTED[name].commands):
            if found := shutil.which(command, path=folder):
                return Path(found).absolute()
        return None

    def _on_path(self, name: str) -> Path | None:
        for command in WANTED[name].commands:
            found = shutil.which(command, path=self.environ.get("PATH"))
            if not found:
                continue
            if found not in self._refused:
                self._refused[found] = why_not(name, Path(found))
                if self._refused[found]:
                    self.console.print(f"{found} is not used: {self._refused[found]}", style="dim", highlight=False)
            if self._refused[found] is None:
                return Path(found)
        return None

    def _built(self, name: str) -> Path | None:
        binary, stamp = self._binary(name), self._stamp(name)
        fresh = binary.exists() and stamp.exists() and stamp.read_text() == build_key(self.root, _recipe(name))
        return binary if fresh else None

    def _build(self, recipe: Recipe, go: Go) -> None:
        expected = f"{recipe.minutes:g} min" if recipe.minutes >= 1 else f"{recipe.minutes * 60:.0f} s"
        self.console.print(f"building {recipe.name}, once; about {expected} if nothing is cached", highlight=False)
        started = time.monotonic()
        fresh = self._scratch() / recipe.name
        Workshop(self.root, self._scratch(), go, recipe, self.console).build(fresh)
        binary, stamp = self._binary(recipe.name), self._stamp(recipe.name)
        binary.parent.mkdir(parents=True, exist_ok=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        # In this order an interruption leaves at worst a program without a stamp, which is built again.
        stamp.unlink(missing_ok=True)
        fresh.replace(binary)
        stamp.write_text(build_key(self.root, recipe))
        self.console.print(f"built {recipe.name} in {time.monotonic() - started:.0f} s", highlight=False)

    @contextmanager
    def _locked(self) -> Iterator[Go]:
        """Two builds at once would write into one scratch folder."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.console.print(LOCK_LINE)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield find_go(self.environ)

    def _scratch(self) -> Path:
        scratch = self.folder / "build"
        scratch.mkdir(parents=True, exist_ok=True)
        return scratch

    def _binary(self, name: str) -> Path:
        return self.folder / "bin" / name

    def _stamp(self, name: str) -> Path:
        return self.folder / "stamps" / name


def _recipe(name: str) -> Recipe:
    return next(recipe for recipe in RECIPES if recipe.name == name)


def build_key(root: Path, recipe: Recipe) -> str:
    """Changes whenever another binary would come out: sources, flags, Go release, kind of machine."""
    key = hashlib.sha256(
        repr((RELEASE, recipe.flags, recipe.package, recipe.experiment, platform.uname()[::4])).encode()
    )
    for path in _source_files(root, recipe):
        key.update(f"\0{path.relative_to(root)}\0".encode())
        key.update(path.read_bytes())
    return key.hexdigest()


def _source_files(root: Path, recipe: Recipe) -> list[Path]:
    places = [root / source for source in recipe.sources]
    inside = [path for place in places if place.is_dir() for path in place.rglob("*")]
    files = [path for path in (*places, *inside) if path.is_file()]
    return sorted(
        path for path in files if path.suffix in {".go", ".mod", ".sum", ".yaml"} and not path.name.endswith("_test.go")
    )


def why_not(name: str, command: Path) -> str | None:
    """The reason a program of the PATH cannot be used, or None."""
    said = _output(command, "--version")
    version = re.search(r"version v?(\d+)\.(\d+)", said)
    if not version:
        return "it does not say its version"
    oldest = WANTED[name].oldest
    if (int(version[1]), int(version[2])) < oldest:
        return f"it is {version[1]}.{version[2]}, and {oldest[0]}.{oldest[1]} or newer is needed"
    if name == "otelcol" and (lacking := collector_components() - components_of(command)):
        return f"it was built without {', '.join(sorted(lacking))}"
    return None


def components_of(collector: Path) -> set[str]:
    """Names of the components a collector was built with; empty if it does not tell."""
    return set(re.findall(r"^ *- name: (\S+)$", _output(collector, "components"), re.MULTILINE))


def collector_components() -> set[str]:
    """Names of the components that collector.yaml uses."""
    config = yaml.safe_load((ROOT / "collector-config/collector.yaml").read_text())
    kinds = ("receivers", "processors", "exporters", "connectors", "extensions")
    return {name.split("/")[0] for kind in kinds for name in config[kind]}


def _output(command: Path, *args: str) -> str:
    try:
        done = subprocess.run(
            [command, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr  # Alertmanager before 0.26 says its version on stderr


@click.command(help="Finds the real programs of the demo or builds them into .tools/bin, and prints where they are.")
@click.argument("names", nargs=-1, type=click.Choice(list(WANTED)))
@click.option("--pin", type=click.Choice(["otelcol"]), help="Resolve its modules again and write the pins.")
def main(names: tuple[str, ...], pin: str | None) -> None:
    tools = Tools()
    try:
        if pin:
            tools.pin_collector()
        for name, path in tools.locate(names or tuple(WANTED)).items():
            click.echo(f"{name}\t{path}")
    except ToolError as err:
        raise click.ClickException(str(err)) from err


if __name__ == "__main__":
    main()
