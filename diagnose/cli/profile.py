"""
`diagnose profile …`: look into one profile, or compare two.

Every command takes a FILE.pb.gz, which needs no server, or the id of a stored profile.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from diagnose.cli.importing import importer
from diagnose.cli.output import Unusable, read_input, write_output
from diagnose.errors import DecodeError
from diagnose.model import from_unix_ns, rfc3339
from diagnose.pprof import filters
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.diff import diff
from diagnose.pprof.export import folded, speedscope
from diagnose.pprof.kinds import guess_kind
from diagnose.pprof.names import trace_and_span
from diagnose.pprof.parse import Parsed
from diagnose.pprof.pool import SHARED as PARSERS
from diagnose.pprof.profile import Profile
from diagnose.pprof.shapes import diff_shape, peek_shape, top_shape
from diagnose.pprof.sides import Diff, FunctionChange
from diagnose.pprof.top import By, Peek, Top, peek, top
from diagnose.pprof.units import format_share, format_value
from diagnose.report.flamegraph import render_page

SHOWN = 30
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Loaded:
    """A profile with where it came from; `profile_id` is None for a file."""

    profile: Profile
    name: str
    profile_id: str | None

    @property
    def identity(self) -> dict[str, Any]:
        return {"profile_id": self.profile_id, "kind": guess_kind(self.profile)}


@dataclass(frozen=True)
class Selection:
    """Which value and which samples a command is about."""

    value: str | None = None
    trace: str | None = None
    focus: str | None = None
    labels: tuple[tuple[str, str], ...] = field(default=())

    def of(self, profile: Profile) -> Profile:
        """Only the selected samples; checks that the value type exists."""
        try:
            profile.value_index(self.value)
        except KeyError as err:
            raise Unusable(str(err.args[0])) from err
        if self.trace:
            profile = filters.by_trace(profile, self.trace)
        for key, value in self.labels:
            profile = filters.by_label(profile, key, value)
        return filters.focus(profile, self.focus) if self.focus else profile


def load_profile(ref: str, ctx: click.Context) -> Loaded:
    """The profile in the file *ref*, or the stored one with that id. Raises Unusable when it cannot be read."""
    file = Path(ref)
    if file.is_file():
        return Loaded(_decoded(read_input(file), ref), file.name, None)
    if ctx.obj is None or file.suffix in (".gz", ".pb", ".pprof") or "/" in ref:
        raise Unusable(f"no such file: {ref}")
    body = ctx.obj.reader.profile(ref)
    return Loaded(_decoded(body, ref), ref, ref)


def _decoded(body: bytes, ref: str) -> Profile:
    try:
        return decode(body)
    except DecodeError as err:
        raise Unusable(f"{ref}: {err}") from err


def _pattern(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    try:
        re.compile(value or "")
    except re.error as err:
        raise click.BadParameter(f"not a regular expression: {err}") from err
    return value


def _label(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    if any(not sign or not key for key, sign, _ in pairs):
        raise click.BadParameter("give labels as key=value")
    return tuple((key, value) for key, _, value in pairs)


def _selecting(command: Command) -> Command:
    options = [
        click.option(
            "--value", metavar="TYPE", help="Value type, such as cpu or inuse_space; default: the profile's own."
        ),
        click.option("--trace", metavar="ID", help="Only samples of this trace."),
        click.option("--focus", metavar="RE", callback=_pattern, help="Only stacks with a matching function or file."),
        click.option("--label", "labels", metavar="K=V", multiple=True, callback=_label, help="Only with this label."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_by = click.option(
    "--by", type=click.Choice(["flat", "cum"]), default="flat", show_default=True, help="Column to order by."
)
_limit = click.option(
    "-n",
    "limit",
    metavar="N",
    type=click.IntRange(min=0),
    default=SHOWN,
    show_default=True,
    help="Functions shown; 0: all.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
_output = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; default: standard output."
)


@click.group()
def profile() -> None:
    """Look into a profile: a FILE.pb.gz without any server, or the id of a stored one."""


@profile.command("top")
@click.argument("ref", metavar="PROFILE")
@_by
@_limit
@_selecting
@_json
@click.pass_context
def top_command(ctx: click.Context, /, *, ref: str, by: By, limit: int, as_json: bool, **selected: Any) -> None:
    """Functions by what they cost, themselves (flat) or with all they call (cum)."""
    loaded = load_profile(ref, ctx)
    result = top(Selection(**selected).of(loaded.profile), selected["value"], by=by, limit=limit)
    click.echo(json.dumps(top_shape(result, **loaded.identity)) if as_json else _top_text(result), nl=as_json)


def _top_text(result: Top) -> str:
    unit, total = result.value_type.unit, result.total
    rows = [
        (
            format_value(f.flat, unit),
            format_share(f.flat, total),
            format_value(f.cum, unit),
            format_share(f.cum, total),
            f.name,
        )
        for f in result.functions
    ]
    title = f"{result.value_type.type}, {format_value(total, unit)} in all\n"
    return title + _table(("flat", "flat%", "cum", "cum%", "function"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns two spaces apart, all but the last flush right."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head) - 1)]
    return "".join(
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) + "\n"
        for line in lines
    )


@profile.command("peek")
@click.argument("ref", metavar="PROFILE")
@click.argument("pattern", metavar="RE", callback=_pattern)
@_selecting
@_json
@click.pass_context
def peek_command(ctx: click.Context, /, *, ref: str, pattern: str, as_json: bool, **selected: Any) -> None:
    """Functions matching RE, who calls them and whom they call."""
    loaded = load_profile(ref, ctx)
    chosen = Selection(**selected).of(loaded.profile)
    found = peek(chosen, pattern, selected["value"])
    value_type = chosen.sample_types[chosen.value_index(selected["value"])]
    if as_json:
        click.echo(json.dumps(peek_shape(found, value_type, **loaded.identity)))
    else:
        click.echo("\n".join(_peek_text(each, value_type.unit) for each in found) or "no function matches\n", nl=False)


def _peek_text(found: Peek, unit: str) -> str:
    function = found.function
    lines = [f"{function.name}  flat {format_value(function.flat, unit)}, cum {format_value(function.cum, unit)}"]
    for title, edges in (("called by", found.callers), ("calls", found.callees)):
        for edge in edges:
            inlined = " (inlined)" if edge.inlined else ""
            value, share = format_value(edge.value, unit), format_share(edge.value, function.cum)
            lines.append(f"  {title:>9} {value:>9} {share:>6}  {edge.name}{inlined}")
    return "\n".join(lines) + "\n"


@profile.command("diff")
@click.argument("base_ref", metavar="BASE")
@click.argument("new_ref", metavar="NEW")
@click.option("--relative", is_flag=True, help="Scale NEW to the total of BASE before subtracting.")
@_by
@_limit
@_selecting
@_json
@click.pass_context
def diff_command(
    ctx: click.Context,
    /,
    *,
    base_ref: str,
    new_ref: str,
    relative: bool,
    by: By,
    limit: int,
    as_json: bool,
    **selected: Any,
) -> None:
    """
    What changed from BASE to NEW, per function, with significance.

    The column --by is tested on the number of samples: did the rate per second change, and did the share? A star marks
    functions where both did, at a false discovery rate of 1 %.
    """
    base, new = load_profile(base_ref, ctx), load_profile(new_ref, ctx)
    selection = Selection(**selected)
    name = new.profile.sample_types[selection.of(new.profile).value_index(selection.value)].type
    try:
        result = diff(selection.of(base.profile), selection.of(new.profile), name, by=by, relative=relative)
    except KeyError as err:
        raise Unusable(f"{base_ref}: {err.args[0]}") from err
    if as_json:
        shape = diff_shape(result, **new.identity, base_profile_id=base.profile_id, limit=limit)
        click.echo(json.dumps(shape))
    else:
        click.echo(_diff_text(result, result.functions[:limit] if limit else result.functions), nl=False)


def _diff_text(result: Diff, shown: Iterable[FunctionChange]) -> str:
    unit = result.value_type.unit
    rows = [
        (
            "*" if change.significant else "",
            "-" if change.z is None else f"{change.z:+.1f}",
            f"{change.flat_points:+.1f}",
            format_value(change.flat, unit),
            f"{change.cum_points:+.1f}",
            format_value(change.cum, unit),
            change.name,
        )
        for change in shown
    ]
    totals = f"{format_value(result.base_total, unit)} before, {format_value(result.new_total, unit)} after"
    head = ("", "z", "flat points", "flat", "cum points", "cum", "function")
    return f"{result.value_type.type}, {totals}; * = significant\n" + _table(head, rows)


@profile.command("flame")
@click.argument("ref", metavar="PROFILE")
@click.option("--base", "base_ref", metavar="PROFILE", help="Show the difference to this profile.")
@_output
@_selecting
@click.pass_context
def flame_command(
    ctx: click.Context, /, *, ref: str, base_ref: str | None, output: Path | None, **selected: Any
) -> None:
    """A flame graph as one HTML file that needs no network."""
    loaded = load_profile(ref, ctx)
    selection = Selection(**selected)
    base = selection.of(load_profile(base_ref, ctx).profile) if base_ref else None
    title = f"{guess_kind(loaded.profile)} · {loaded.name}"
    page = render_page(selection.of(loaded.profile), base, title=title, value_type=selection.value)
    write_output(page.encode(), output)


@profile.command("export")
@click.argument("ref", metavar="PROFILE")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["pprof", "folded", "speedscope"]),
    default="pprof",
    show_default=True,
    help="For which tools.",
)
@_output
@_selecting
@click.pass_context
def export_command(ctx: click.Context, /, *, ref: str, format_name: str, output: Path | None, **selected: Any) -> None:
    """The profile, or the selected samples of it, for other tools."""
    loaded = load_profile(ref, ctx)
    selection = Selection(**selected)
    chosen = selection.of(loaded.profile)
    if format_name == "pprof":
        write_output(encode(chosen), output)
    elif format_name == "folded":
        write_output(folded(chosen, selection.value).encode(), output)
    else:
        write_output(speedscope(chosen, selection.value, name=loaded.name).encode(), output)


@profile.command("info")
@click.argument("ref", metavar="PROFILE")
@_json
@click.pass_context
def info_command(ctx: click.Context, /, *, ref: str, as_json: bool) -> None:
    """What the profile is: kind, value types and totals, time, build, labels."""
    loaded = load_profile(ref, ctx)
    facts = _facts(loaded)
    click.echo(json.dumps(facts) if as_json else _facts_text(facts), nl=as_json)


def _facts(loaded: Loaded) -> dict[str, Any]:
    read = loaded.profile
    default = read.value_index()
    labels = Counter(key for sample in read.samples for key in sample.labels)
    traces = {trace_and_span(sample.labels)[0] for sample in read.samples} - {None}
    return {
        **loaded.identity,
        "value_types": [
            {"type": each.type, "unit": each.unit, "total": read.total(each.type), "default": at == default}
            for at, each in enumerate(read.sample_types)
        ],
        "samples": len(read.samples),
        "started_at": rfc3339(from_unix_ns(read.time_ns)) if read.time_ns else None,
        "duration_ns": read.duration_ns,
        "period": read.period,
        "binary": read.binary,
        "build_id": read.build_id,
        "labels": dict(sorted(labels.items())),
        "traces": len(traces),
        "comments": list(read.comments),
    }


def _facts_text(facts: dict[str, Any]) -> str:
    lines = [f"kind      {facts['kind']}"]
    for each in facts["value_types"]:
        default = " (default)" if each["default"] else ""
        lines.append(f"value     {each['type']}: {format_value(each['total'], each['unit'])}{default}")
    lines.append(f"samples   {facts['samples']:,}")
    lines.append(f"started   {facts['started_at'] or 'not said'}")
    lines.append(
        f"duration  {format_value(facts['duration_ns'], 'nanoseconds') if facts['duration_ns'] else 'not said'}"
    )
    lines += [f"{name:<9} {facts[key]}" for name, key in (("binary", "binary"), ("build", "build_id")) if facts[key]]
    lines += [f"label     {key}: on {count:,} samples" for key, count in facts["labels"].items()]
    lines.append(f"traces    {facts['traces']:,}")
    lines += [f"comment   {comment}" for comment in facts["comments"]]
    return "\n".join(lines) + "\n"


@profile.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--service", metavar="NAME", help="Whose it is; default: the name of the binary in the profile.")
@click.option("--instance", metavar="NAME", default="", help="Which process of it.")
@click.option("--kind", metavar="KIND", help="Default: told from the profile.")
@click.option("--label", "labels", metavar="K=V", multiple=True, callback=_label, help="Kept with the profile.")
@_json
@click.pass_context
def import_command(
    ctx: click.Context,
    /,
    *,
    files: tuple[Path, ...],
    service: str | None,
    instance: str,
    kind: str | None,
    labels: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """
    Store profiles and print their ids; one that is stored already gives the same id.

    They go to the server; when none runs, into its data directory.
    """
    with importer(ctx.obj) as target:
        for file in files:
            body = read_input(file)
            parsed = _parsed(body, str(file))
            binary = Path(parsed.binary).name
            stored = target.store(
                parsed,
                body,
                service=service or binary or file.name.partition(".")[0],
                instance=instance,
                kind=kind or parsed.kind,
                labels=dict(labels),
            )
            click.echo(json.dumps({"file": str(file), **stored}) if as_json else stored["id"])


def _parsed(body: bytes, ref: str) -> Parsed:
    try:
        return PARSERS.parse(body)
    except DecodeError as err:
        raise Unusable(f"{ref}: {err}") from err
