"""
Does a diff report what changed, and nothing else?

    python -m bench.significance [--pairs 20] [--windows 34] [--seconds 3]

Real Go processes (tests/goprograms/mixture, one busy thread each) are profiled in windows of the same length, by turns:
as it is, with a third of the requests, with one function that does more, with one that is new, and built with comments
between its functions. While one is profiled the others are stopped, so that all have the same machine. Pairs of windows
of the same program must report nothing; a side of 2,000 samples and more is made of as many windows as that takes,
drawn at random. Writes bench/results/significance.json.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from bench.environment import describe
from diagnose.capture.fetch import Connection, fetch
from diagnose.kinds import PROFILE_KINDS
from diagnose.model import Target
from diagnose.pprof.codec import decode
from diagnose.pprof.diff import Diff, diff
from diagnose.pprof.profile import Profile

RESULTS = Path(__file__).parent / "results" / "significance.json"
SOURCE = Path(__file__).parent.parent / "tests" / "goprograms" / "mixture"
GO = {**os.environ, "GOTOOLCHAIN": "go1.26.8", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
RATE = 900  # requests per second: most of one core
SLOW_RATE = 300
ENOUGH_SAMPLES = 2000
HEALTHY = 4  # windows that tell how much varies by itself
GROWN = "2.5"  # f05 from about 3 to about 8 % of CPU
EXTRA = "0.8"
Variant = tuple[Path, int, str, str]  # program, rate, how much f05 does, work of the added function


@click.command(help=__doc__)
@click.option("--pairs", default=20, help="Pairs per row of the table.")
@click.option("--windows", default=34, help="Profiles taken of each variant.")
@click.option("--seconds", default=3, help="Length of one.")
def main(pairs: int, windows: int, seconds: int) -> None:
    chance = random.Random(1)  # noqa: S311  the same pairs every time
    with tempfile.TemporaryDirectory() as folder:
        program, commented = _build(Path(folder) / "a"), _build(Path(folder) / "b", comments=True)
        few = max(4, windows // 2 - 3)
        variants = _windows(
            seconds,
            {
                "same": ((program, RATE, "1", "0"), windows),
                "grown": ((program, RATE, GROWN, "0"), windows),
                "comments": ((commented, RATE, "1", "0"), few),
                "slow": ((program, SLOW_RATE, "1", "0"), few),
                "added": ((program, SLOW_RATE, "1", EXTRA), few),
            },
        )
    same = variants["same"]
    sides = _Sides(chance, same)
    found = {
        "environment": describe(),
        "window_s": seconds,
        "samples_per_window": round(sum(map(_samples, same)) / len(same)),
        "same, one window each": _table([diff(*chance.sample(same, 2), by="cum") for _ in range(pairs)]),
        "same, 2,000 samples a side": _table([_compare(*sides.two(), sides) for _ in range(pairs)]),
        "load tripled": _table([_compare(_side(chance, variants["slow"]), sides.one(), sides) for _ in range(pairs)]),
        "comments inserted": _table(
            [_compare(sides.one(), _side(chance, variants["comments"]), sides) for _ in range(pairs)]
        ),
        "5 points more in main.f05": _table(
            [_compare(sides.one(), _side(chance, variants["grown"]), sides) for _ in range(pairs)], "main.f05"
        ),
        "main.added added": _table(
            [_compare(_side(chance, variants["slow"]), _side(chance, variants["added"]), sides) for _ in range(pairs)],
            "main.added",
        ),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _build(folder: Path, *, comments: bool = False) -> Path:
    folder.mkdir()
    for file in SOURCE.iterdir():
        text = file.read_text()
        if comments and file.suffix == ".go":
            text = re.sub(
                r"^(//go:noinline\nfunc)", r"// A comment.\n//\n// And more of it.\n\1", text, flags=re.MULTILINE
            )
        (folder / file.name).write_text(text)
    subprocess.run(["go", "build", "-o", "program", "."], cwd=folder, env=GO, check=True)
    return folder / "program"


@contextmanager
def _stopped(program: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Target]]:
    """A process that only runs while it is told to."""
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.send_signal(signal.SIGSTOP)
        try:
            yield process, Target("mixture", "mixture", "m-1", url, ("127.0.0.1/32",), {})
        finally:
            process.kill()


def _windows(seconds: int, variants: Mapping[str, tuple[Variant, int]]) -> dict[str, list[Profile]]:
    """As many CPU profiles of each variant as it says, by turns."""
    taken: dict[str, list[Profile]] = {name: [] for name in variants}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(_stopped(program, str(rate), grown, extra))
            for name, ((program, rate, grown, extra), _) in variants.items()
        }
        for turn in range(max(count for _, count in variants.values())):
            for name, (process, target) in running.items():
                if turn < variants[name][1]:
                    taken[name].append(_window(process, target, seconds))
    return taken


def _window(process: subprocess.Popen[str], target: Target, seconds: int) -> Profile:
    process.send_signal(signal.SIGCONT)
    try:
        with Connection(target) as connection:
            return decode(fetch(connection, PROFILE_KINDS["cpu"], seconds=seconds).body)
    finally:
        process.send_signal(signal.SIGSTOP)


def _samples(profile: Profile) -> int:
    return profile.total("samples")


class _Sides:
    """Sides of 2,000 samples drawn from windows of the unchanged program."""

    def __init__(self, chance: random.Random, windows: Sequence[Profile]) -> None:
        self.chance = chance
        self.healthy, self.windows = windows[:HEALTHY], windows[HEALTHY:]

    def one(self) -> Profile:
        return _side(self.chance, self.windows)

    def two(self) -> tuple[Profile, Profile]:
        """Of no common window."""
        shuffled = self.chance.sample(self.windows, len(self.windows))
        half = len(shuffled) // 2
        return _side(self.chance, shuffled[:half]), _side(self.chance, shuffled[half:])


def _side(chance: random.Random, windows: Sequence[Profile]) -> Profile:
    """Windows drawn at random until they have ENOUGH_SAMPLES, or all of them, as one profile."""
    drawn: list[Profile] = []
    for window in chance.sample(windows, len(windows)):
        drawn.append(window)
        if sum(map(_samples, drawn)) >= ENOUGH_SAMPLES:
            break
    return Profile(
        sample_types=drawn[0].sample_types,
        samples=tuple(sample for each in drawn for sample in each.samples),
        period_type=drawn[0].period_type,
        period=drawn[0].period,
        time_ns=drawn[0].time_ns,
        duration_ns=sum(each.duration_ns for each in drawn),
    )


def _compare(base: Profile, new: Profile, sides: _Sides) -> Diff:
    """By what functions take with all they call, as findings do for functions of the program's own."""
    return diff(base, new, by="cum", healthy=sides.healthy)


def _table(diffs: Sequence[Diff], planted: str = "") -> dict[str, Any]:
    """How many functions of the program's own were tested and reported, and in how many pairs the planted one was."""
    own = [
        [each for each in found.functions if each.name.startswith("main.f") or each.name == planted] for found in diffs
    ]
    wrong = [each.name for functions in own for each in functions if each.significant and each.name != planted]
    told: dict[str, Any] = {
        "pairs": len(diffs),
        "tested": sum(each.z is not None for functions in own for each in functions),
        "reported_wrongly": len(wrong),
    }
    if wrong:
        told["which"] = {name: wrong.count(name) for name in sorted(set(wrong))}
    if planted:
        hits = [each for functions in own for each in functions if each.name == planted]
        told |= {
            "planted": planted,
            "found": sum(each.significant for each in hits),
            "points": round(sum(each.cum_points for each in hits) / max(1, len(hits)), 1),
            "z": round(sum(each.z or 0 for each in hits) / max(1, len(hits)), 1),
        }
    return told


if __name__ == "__main__":
    main()
