"""`python -m demo`, which `make demo` calls: options, the picture of what happened, the exit code."""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.table import Table

from demo.errors import DemoError
from demo.faults import FAULTS, NONE, Fault, find_fault
from demo.rules import DEMO, render_rules
from demo.run import RESULTS, Outcome, Steps, tell
from demo.stack import Stack
from demo.tools import DEMO_PROGRAMS, ROOT, Tools

RECORDED = ROOT / "docs/recorded-incident/report.html"
STEP_NAMES = {
    "webhook_to_ack": "202 answered",
    "webhook_to_first_exemplar": "first exemplar found",
    "webhook_to_first_capture_request": "first profile asked for",
    "webhook_to_first_report": "first report",
    "webhook_to_cpu_report": "report with the CPU profile",
}


@click.command()
@click.option("--fault", type=click.Choice([*FAULTS, NONE]), default="cpu", show_default=True, help="What to plant.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo-out",
    show_default=True,
    help="Results go here.",
)
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C.")
def main(fault: str, out: Path, keep: bool) -> None:
    """
    Start a real stack on this machine, plant a fault and see whether the report names it.

    Exit code 0: it does (or, with --fault none, there was no incident). 1: it does not. 2: the demo could not run.
    """
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with _folder_of_our_own(out):
            planted = find_fault(fault)
            programs = _programs(console, planted)
            steps = Steps()
            with Stack(out / "run", programs, render_rules(DEMO)) as stack:
                console.print("starting the stack")
                stack.start()
                steps.reached("stack ready")
                code = _tell_and_show(stack, planted, out, console, steps)
                if keep:
                    _wait_for_interrupt(console, stack)
    except DemoError as err:
        code = _failed(console, err)
    except KeyboardInterrupt:
        console.print("stopped")
        code = 130
    sys.exit(code)


def _tell_and_show(stack: Stack, fault: Fault | None, out: Path, console: Console, steps: Steps) -> int:
    """The exit code."""
    try:
        outcome = tell(stack, fault, out, console=console, steps=steps)
    except DemoError as err:
        console.print(_step_table(steps, {}))
        return _failed(console, err)
    _show(console, outcome, steps, out)
    return 0 if outcome.named else 1


def _failed(console: Console, err: DemoError) -> int:
    console.print(f"demo: {err}", style="red", markup=False, soft_wrap=True)
    return 2


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _folder_of_our_own(out: Path) -> Iterator[None]:
    """Without what an earlier demo left in it, and refused while another demo writes there."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise DemoError(f"another demo writes into {out}; give this one another folder (OUT=…)") from err
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)
        if (out / "run/diagnose.yaml").exists():
            shutil.rmtree(out / "run")
        yield


def _programs(console: Console, fault: Fault | None) -> dict[str, Path]:
    tools = Tools(console=console)
    names = (*DEMO_PROGRAMS, fault.build) if fault and fault.build else DEMO_PROGRAMS
    if missing := tools.missing(names):
        minutes = sum(recipe.minutes for recipe in missing)
        console.print(f"{len(missing)} programs are built first, once: about {minutes:.0f} minutes on two cores.")
        if RECORDED.exists():
            console.print(f"Meanwhile, the report of a recorded incident: {RECORDED}", soft_wrap=True)
    return tools.locate(names)


def _wait_for_interrupt(console: Console, stack: Stack) -> None:
    console.print("Everything is still running; Ctrl-C stops it.")
    for name, url in stack.urls.items():
        console.print(f"  {name:20} {url}", soft_wrap=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("stopping")


def _show(console: Console, outcome: Outcome, steps: Steps, out: Path) -> None:
    console.print(_step_table(steps, (outcome.report or {}).get("timings_ms", {})))
    console.print(outcome.sentence, style="bold green" if outcome.named else "bold red", markup=False, soft_wrap=True)
    if outcome.report is None:
        return
    samples, traces = outcome.joined
    console.print(f"{samples} CPU samples carry the trace id of {traces} of its traces (profile_samples JOIN spans).")
    console.print("The report names the planted fault." if outcome.named else "That is not the planted fault.")
    for name in RESULTS:
        console.print(f"  {out / name}", soft_wrap=True)


def _step_table(steps: Steps, timings_ms: Mapping[str, float | None]) -> Table:
    table = Table("step", "since start", "since fault", "since webhook")
    for step, since_start, since_fault in steps.rows:
        table.add_row(step, f"{since_start:.1f} s", "" if since_fault is None else f"{since_fault:.1f} s", "")
    for name, milliseconds in timings_ms.items():
        since = "not seen" if milliseconds is None else f"{milliseconds:.0f} ms"
        table.add_row(STEP_NAMES.get(name, name), "", "", since, style="cyan")
    return table


if __name__ == "__main__":
    main()
