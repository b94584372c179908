"""`diagnose mcp` as an assistant uses it: the SDK's own client starts the command and talks to it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from diagnose.config import Settings
from diagnose.store.db import Store
from tests.recorded_incident import load_recorded
from tests.serving import Serving, serving

Talk = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("mcp")
    tokens = []
    for name, roles in (("reader", ["read"]), ("engineer", ["read", "sql"])):
        (folder / name).write_text(f"{name}-token")
        tokens.append({"name": name, "token_file": str(folder / name), "roles": roles, "token": f"{name}-token"})
    settings = Settings.model_validate({"auth": {"tokens": tokens}})
    with Store.open(folder / "data") as store:
        load_recorded(store, "cpu", kinds=("cpu",))
        with serving(store, settings) as running:
            yield running


def talk(web: Serving, talk: Talk, *, who: str = "engineer") -> Any:
    """What *talk* found out, with the token of *who*."""
    token = Path(web.store.path).parent / who
    args = ["-m", "diagnose", "--server", web.url, "--token-file", str(token), "mcp"]

    async def connected() -> Any:
        server = StdioServerParameters(command=sys.executable, args=args, cwd=Path(__file__).parent.parent)
        async with Client(server, read_timeout_seconds=60) as client:
            return await talk(client)

    return asyncio.run(connected())


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text  # type: ignore[union-attr]
    assert not result.is_error, text
    return json.loads(text)


def test_an_assistant_comes_from_the_incident_to_the_function(web: Serving):
    async def night(client: Client) -> list[Any]:
        [incident] = (await ask(client, "list_incidents", status="resolved"))["incidents"]
        detail = await ask(client, "get_incident", incident_id=incident["id"])
        during = next(each["profile_id"] for each in detail["captures"] if each["kind"] == "cpu")
        before = "SELECT profile_id FROM captures WHERE trigger = $trigger"
        [[base]] = (await ask(client, "run_sql", sql=before, params={"trigger": "baseline"}))["rows"]
        top = await ask(client, "top_functions", profile_id=during)
        changed = await ask(client, "compare", base_profile_id=base, new_profile_id=during)
        lines = await ask(client, "run_sql", saved="guilty-lines", limit=1)
        return [top["functions"][0]["name"], changed["functions"][0]["name"], *lines["rows"][0][:2]]

    top, changed, function, line = talk(web, night)

    assert top == changed == function
    assert top.endswith("(*PriceMatcher).compareEveryPair")
    assert line.endswith("price_matcher.go:80")


def test_tools_and_saved_queries_are_described(web: Serving):
    async def look(client: Client) -> tuple[list[str], str]:
        tools = (await client.list_tools()).tools
        assert all(tool.description for tool in tools)
        return [tool.name for tool in tools], client.instructions or ""

    names, instructions = talk(web, look)

    assert ["list_incidents", "get_incident", "run_sql", "top_functions", "compare"] == names
    assert "guilty-lines: At which line?" in instructions


def test_what_is_refused_or_wrong_is_told(web: Serving):
    async def mistakes(client: Client) -> list[str]:
        calls = [
            ("run_sql", {"sql": "DROP TABLE incident"}),
            ("run_sql", {"sql": "SELECT nothing"}),
            ("run_sql", {}),
            ("run_sql", {"saved": "no-such"}),
            ("get_incident", {"incident_id": "inc-0"}),
            ("top_functions", {"profile_id": "cpu-0"}),
        ]
        results = [await client.call_tool(tool, arguments) for tool, arguments in calls]
        assert all(result.is_error for result in results)
        return [result.content[0].text for result in results]  # type: ignore[union-attr]

    drop, wrong, neither, saved, incident, profile = talk(web, mistakes)

    assert "only SELECT and EXPLAIN" in drop
    assert "nothing" in wrong
    assert "either sql or saved" in neither
    assert "no-such" in saved
    assert "inc-0" in incident
    assert "cpu-0" in profile


def test_a_token_may_no_more_through_an_assistant(web: Serving):
    async def try_sql(client: Client) -> tuple[bool, str]:
        listed = await ask(client, "list_incidents")
        refused = await client.call_tool("run_sql", {"sql": "SELECT 1"})
        assert len(listed["incidents"]) == 1
        return refused.is_error, refused.content[0].text  # type: ignore[union-attr]

    is_error, text = talk(web, try_sql, who="reader")

    assert is_error
    assert "lacks the role sql" in text
