"""`diagnose capture`: profiles now, without an alert."""

from __future__ import annotations

import json
from typing import Any

import click

from diagnose.cli.output import Unusable
from diagnose.cli.session import Session
from diagnose.cli.simulate import pairs


@click.command()
@click.option("--target", metavar="NAME", help="Entry of the allow-list (setting targets).")
@click.option(
    "--match", metavar="K=V", multiple=True, callback=pairs, help="Labels of the processes, instead of a name."
)
@click.option("--instances", type=click.IntRange(1, 50), help="Most processes to capture.  [default: 2]")
@click.option("--kinds", metavar="KIND,KIND", help="Kinds of profile; default: as a rule has them.")
@click.option("--seconds", type=click.IntRange(1, 300), help="Length of the CPU profile.  [default: 10]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def capture(
    session: Session,
    /,
    *,
    target: str | None,
    match: dict[str, str],
    instances: int | None,
    kinds: str | None,
    seconds: int | None,
    as_json: bool,
) -> None:
    """
    Capture profiles of a process now and print the id of the incident they get.

    It ends when its report is out: `diagnose report ID`.
    """
    if bool(target) == bool(match):
        raise Unusable("give --target or --match")
    wanted: dict[str, Any] = {"target": target, "match": match or None, "instances": instances, "seconds": seconds}
    wanted["kinds"] = [kind.strip() for kind in kinds.split(",")] if kinds else None
    answer = session.api.post_json("/api/v1/captures", {name: value for name, value in wanted.items() if value})
    click.echo(json.dumps(answer) if as_json else answer["incident"])
