"""`diagnose mcp`: incidents, profiles and SQL for assistants (Model Context Protocol on standard input and output)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from diagnose import __version__
from diagnose.cli.output import Unusable
from diagnose.cli.session import Session
from diagnose.errors import DecodeError, DiagnoseError
from diagnose.query.question import Question
from diagnose.query.saved import saved_queries

if TYPE_CHECKING:  # the SDK is an extra
    from mcp.server import MCPServer

    from diagnose.cli.reader import Reader
    from diagnose.pprof.profile import Profile

P = ParamSpec("P")
R = TypeVar("R")
FUNCTIONS = 30
INSTRUCTIONS = """Incidents of Go services: alerts, traces, tagged profiles, findings; all readable with SQL (DuckDB).
Begin with list_incidents and get_incident; its findings name the likely cause, each with the SQL that shows it.
run_sql answers one SELECT over the views incidents, alerts, spans, metrics, exemplars, captures, profiles,
profile_samples, findings and others (SHOW TABLES, DESCRIBE name), or one of these saved queries by name:
"""


@click.command()
@click.pass_obj
def mcp(session: Session, /) -> None:
    """Answer an assistant on standard input and output (MCP); needs the extra `mcp`."""
    try:
        from mcp.server import MCPServer  # noqa: PLC0415  an extra
    except ImportError as err:
        raise Unusable("the SDK is not installed: pip install 'diagnose[mcp]'") from err
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415

    listed = "".join(f"- {query.name}: {query.question}\n" for query in saved_queries().values())
    server = MCPServer("diagnose", instructions=INSTRUCTIONS + listed, version=__version__, log_level="ERROR")
    add_tools(server, session.reader, ToolError)
    server.run("stdio")


def add_tools(server: MCPServer, reader: Reader, failure: type[Exception]) -> None:
    """What an assistant may do: what the reader's token may. Errors of ours are told as *failure*."""
    tools = Tools(reader)
    for tool in (tools.list_incidents, tools.get_incident, tools.run_sql, tools.top_functions, tools.compare):
        server.add_tool(_telling(tool, failure), structured_output=False)


def _telling(tool: Callable[P, R], failure: type[Exception]) -> Callable[P, str]:
    @functools.wraps(tool)
    def told(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return json.dumps(tool(*args, **kwargs), ensure_ascii=False)
        except (DiagnoseError, KeyError) as err:
            raise failure(str(err)) from err

    return told


class Tools:
    """The docstrings are what the assistant reads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def list_incidents(self, status: str | None = None, service: str | None = None, limit: int = 20) -> dict[str, Any]:
        """Incidents, newest first, each with its verdict. status is open or resolved."""
        found = self._reader.incidents(status=status, service=service, since=None, limit=limit)
        return {"incidents": found}

    def get_incident(self, incident_id: str) -> dict[str, Any]:
        """One incident: alerts, findings (cause first), traces, captures with their profile ids, timeline."""
        return self._reader.incident(incident_id)

    def run_sql(
        self,
        sql: str | None = None,
        saved: str | None = None,
        params: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """One SELECT, or a saved query by name; params are its $name parameters. Answers columns, rows, truncated."""
        if (sql is None) == (saved is None):
            raise DecodeError("give either sql or saved")
        answer = self._reader.sql(Question(sql or "", params or {}, saved=saved, limit=limit))
        found: dict[str, Any] = json.loads(answer)
        return found

    def top_functions(self, profile_id: str, value: str | None = None, by: str = "flat") -> dict[str, Any]:
        """The most expensive functions of a stored profile, by flat (themselves) or cum (with what they call)."""
        from diagnose.pprof.kinds import guess_kind  # noqa: PLC0415  most commands never load a profile
        from diagnose.pprof.shapes import top_shape  # noqa: PLC0415
        from diagnose.pprof.top import top  # noqa: PLC0415

        profile = self._profile(profile_id)
        result = top(profile, value, by="cum" if by == "cum" else "flat", limit=FUNCTIONS)
        return top_shape(result, profile_id=profile_id, kind=guess_kind(profile))

    def compare(self, base_profile_id: str, new_profile_id: str, value: str | None = None) -> dict[str, Any]:
        """What changed between two profiles, per function, with significance; flat_points are points of the share."""
        from diagnose.pprof.diff import diff  # noqa: PLC0415
        from diagnose.pprof.kinds import guess_kind  # noqa: PLC0415
        from diagnose.pprof.shapes import diff_shape  # noqa: PLC0415

        base, new = self._profile(base_profile_id), self._profile(new_profile_id)
        changed = diff(base, new, value)
        return diff_shape(
            changed,
            profile_id=new_profile_id,
            base_profile_id=base_profile_id,
            kind=guess_kind(new),
            limit=FUNCTIONS,
        )

    def _profile(self, profile_id: str) -> Profile:
        from diagnose.pprof.codec import decode  # noqa: PLC0415

        return decode(self._reader.profile(profile_id))
