"""`diagnose simulate`: an alert as Alertmanager would send it, or what would be done about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from diagnose.capture.targets import TargetDirectory
from diagnose.cli.explain import print_decisions
from diagnose.cli.output import Unusable, read_input
from diagnose.cli.session import Session
from diagnose.errors import DecodeError
from diagnose.model import AlertGroup, fingerprint_of, rfc3339, utc_now
from diagnose.planning import dry_run
from diagnose.prometheus import Prometheus
from diagnose.receive.alertmanager import decode


def pairs(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """The value of an option that is given as K=V any number of times."""
    found = {}
    for value in values:
        key, sign, text = value.partition("=")
        if not sign or not key:
            raise click.BadParameter("write key=value")
        found[key] = text
    return found


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--alertname", metavar="NAME", help="Name of a made-up alert, instead of a FILE.")
@click.option("--label", "labels", metavar="K=V", multiple=True, callback=pairs, help="Label of the made-up alert.")
@click.option("--annotation", "annotations", metavar="K=V", multiple=True, callback=pairs, help="Annotation of it.")
@click.option("--expr", metavar="PROMQL", default="", help="Expression of its rule; exemplars are looked up by it.")
@click.option("--resolved", is_flag=True, help="The end of the same alert.")
@click.option("--dry-run", is_flag=True, help="Only say what would be captured, and from whom.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def simulate(
    session: Session,
    /,
    *,
    file: Path | None,
    alertname: str | None,
    labels: dict[str, str],
    annotations: dict[str, str],
    expr: str,
    resolved: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Send the webhook in FILE, or a made-up alert, to the server.

    With --dry-run nothing is stored, captured or delivered: the settings, the targets Prometheus knows now and what
    was captured lately say what would happen.
    """
    if (file is None) == (alertname is None):
        raise Unusable("give a FILE or --alertname")
    if file is not None:
        body = read_input(file)
    else:
        made_up = webhook({"alertname": alertname or "", **labels}, annotations, expr=expr, resolved=resolved)
        body = json.dumps(made_up).encode()
    if dry_run:
        _print_plan(plan(session, body), as_json)
        return
    answer = session.api.post_bytes("/webhook", body, "application/json")
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(f"accepted {answer['accepted']}, duplicates {answer['duplicates']}")
        for incident_id in answer["incidents"]:
            click.echo(incident_id)


def webhook(labels: dict[str, str], annotations: dict[str, str], *, expr: str, resolved: bool) -> dict[str, Any]:
    """One alert that began a minute ago, in Alertmanager's version 4."""
    now = utc_now()
    status = "resolved" if resolved else "firing"
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(now - timedelta(minutes=1)),
        "endsAt": rfc3339(now) if resolved else "0001-01-01T00:00:00Z",
        "generatorURL": f"http://simulated/graph?{urlencode({'g0.expr': expr})}" if expr else "",
        "fingerprint": fingerprint_of(labels),
    }
    return {
        "version": "4",
        "groupKey": f"simulated:{labels['alertname']}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "simulate",
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [alert],
    }


def _decoded(body: bytes) -> AlertGroup:
    try:
        return decode(body, received_at=utc_now()).group
    except DecodeError as err:
        raise Unusable(f"not a webhook: {err}") from err


def plan(session: Session, body: bytes) -> list[dict[str, Any]]:
    """By the server if there is one: it knows what was captured lately."""
    group = _decoded(body)
    if session.named_server or session.api.answers():
        told: list[dict[str, Any]] = session.api.post_bytes("/api/v1/simulate", body, "application/json")["alerts"]
        return told
    settings = session.settings
    return dry_run(group, settings, TargetDirectory(settings, [Prometheus(each) for each in settings.prometheus]))


def _print_plan(plans: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"alerts": plans}))
        return
    for planned in plans:
        if planned["rule"] is None:
            click.echo(f"{planned['alertname']}: no rule matches; it would be listed, but open no incident")
            continue
        click.echo(f"{planned['alertname']}: incident of {planned['service']}")
        click.echo(f"  captures {', '.join(planned['kinds']) or 'nothing'}; {planned['seconds']} s of CPU")
        for target in planned["targets"]:
            click.echo(f"  {target['target']} {target['instance']}: {target['pprof']}")
        print_decisions(planned["decisions"])
