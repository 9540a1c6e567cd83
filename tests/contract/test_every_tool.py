"""Every tool over a real stdio server, on all engines: its requests to WAHA, and what it makes of the answers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from mcp import Client

from tests.contract.rows import ROWS, arguments, chosen, in_order, missing
from tests.contract.world import World, furnish
from tests.harness import NO_PACE_TEXT, Admin, payload, stdio_client, texts
from waha_mcp.app.actions import Action
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.sandbox.account import Message
from waha_mcp.sandbox.contract import contract
from waha_mcp.sandbox.engines.browser_content import thumbnail
from waha_mcp.tools.catalog import CATALOG

pytestmark = pytest.mark.anyio

ENGINES = pytest.mark.parametrize("engine", ["gows", "noweb", "webjs", "wpp"])

#: Requests that the server itself adds to a tool's: whose the key is, who is meant by a name or hidden id, and an id
#: for a message to send.
AROUND = {
    "GET /api/server/environment",
    "GET /api/sessions",
    "GET /api/sessions/{session}",
    "GET /api/{session}/status/new-message-id",
    "GET /api/apps",
    "GET /api/{session}/new-message-id",
    "GET /api/{session}/lids",
    "GET /api/{session}/chats",
    "GET /api/{session}/groups",
    "GET /api/{session}/groups/{id}",
    "GET /api/contacts",
    "GET /api/contacts/all",
    "GET /api/contacts/check-exists",
    # If the key may read, the unread count of the chat is read.
    "GET /api/{session}/chats/overview",
    # What came before events were received is read back in the background.
    "GET /api/{session}/chats/{chatId}/messages",
    # The color of a label that is renamed.
    "GET /api/{session}/labels",
    # Every message that a call names is looked up first.
    "GET /api/{session}/chats/{chatId}/messages/{messageId}",
}

#: Tools whose answer does not depend on one request: the first reports what is wrong, the next know the directory, and
#: the last reads whatever chats can be read.
UNSPOILED = {"get_status", "find_chats", "get_contacts", "list_groups", "search_messages"}

BROWSERS = ("webjs", "wpp")
#: Text that only appears in an answer if an engine's own objects got into it.
DUMPED = ("_serialized", "groupMetadata", "dynamicReplyButtons")

APP = f"""
id = "contract"
session = "default"
actions = ["read", "send", "control", "setting", "app", "delete"]
toolsets = ["all"]
outbox = "outbox"
outbound_hosts = ["hooks.example.org"]
audit = "off"

{NO_PACE_TEXT}
"""


#: Sends that are answered without a message are looked up at once, and shortly after.
SOON = "import waha_mcp.policy.delivery as delivery\ndelivery.LOOK_AGAIN = (0.0, 0.01, 0.02)\n"


@dataclass
class Stage:
    """A sandbox and one server process on it."""

    sandbox: SandboxInfo
    admin: Admin
    world: World
    folder: Path

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Client]:
        """A `waha-mcp serve` process with every tool, once it has probed its key."""
        (self.folder / "outbox").mkdir(exist_ok=True)
        (self.folder / "app.toml").write_text(APP, encoding="utf-8")
        home = str(self.folder)
        app = str(self.folder / "app.toml")
        key = self.sandbox.keys["full"]
        # A listing that was prepared while WAHA refused the key would be answered first.
        shutil.rmtree(self.folder / "waha-mcp" / "store.listings", ignore_errors=True)
        async with stdio_client(self.sandbox, key, "--app", app, first=SOON, XDG_STATE_HOME=home) as client:
            listed = await client.list_tools()
            assert [tool.name for tool in listed.tools] == list(CATALOG)
            # Its requests at start-up are done then, and are not hit by a test's fault.
            await client.call_tool("get_status", {})
            yield client

    async def ready(self, tool: str) -> None:
        """Bring the session into the status that a tool needs."""
        await self.admin.request("POST", "/sandbox/session", {"status": ROWS[tool].status})

    async def requests(self) -> list[dict[str, Any]]:
        """The requests to WAHA since the log was cleared."""
        asked = [entry for entry in await self.admin.requests() if entry["key"] == "full"]
        # Media files are not an operation of the contract.
        return [entry for entry in asked if not entry["path"].startswith("/api/files/")]


@asynccontextmanager
async def stage(engine: str, folder: Path) -> AsyncIterator[Stage]:
    async with running(engine=engine, reply_after=60) as sandbox:
        admin = Admin(sandbox)
        try:
            if engine not in BROWSERS:
                # The engines that speak the protocol lack few operations; here they have them.
                everything = [operation.id for operation in contract().operations]
                await admin.request("POST", "/sandbox/engine", {"has": everything})
            yield Stage(sandbox, admin, await furnish(admin), folder)
        finally:
            await admin.aclose()


@pytest.mark.tools
def test_every_tool_has_a_row_with_arguments_to_try_it_with() -> None:
    assert ROWS.keys() >= CATALOG.keys(), missing()
    assert ROWS.keys() <= CATALOG.keys(), "tests/contract/rows.py has rows of tools that there are not"


@pytest.mark.tools
@ENGINES
async def test_every_tool_does_its_work_within_the_contract_and_tells_no_secret(engine: str, tmp_path: Path) -> None:
    wrong: dict[str, Any] = {}
    asked: set[str] = set()
    async with stage(engine, tmp_path) as on, on.server() as client:
        rows = arguments(on.world)
        for name in in_order():
            await on.ready(name)
            await on.admin.clear()
            result = await client.call_tool(name, rows[name])
            says = _lack(engine, name)
            if says is not None and not (result.is_error and says in texts(result)):
                wrong[name] = f"does not say: {says} but {texts(result)}"
            if says is not None:
                continue
            if result.is_error:
                wrong[name] = texts(result)
                continue
            assert payload(result), name
            problems = [secret for secret in [*on.world.secrets, on.sandbox.admin_key] if secret in str(result)]
            problems += [dump for dump in DUMPED if dump in texts(result)]
            for entry in await on.requests():
                problems += _breaches(entry, CATALOG[name].calls)
                asked.add(_operation(entry))
            if problems:
                wrong[name] = problems
    assert wrong == {}


@pytest.mark.parametrize("engine", BROWSERS)
async def test_no_list_of_messages_shows_a_preview_or_an_engines_objects(engine: str, tmp_path: Path) -> None:
    preview = thumbnail(Message("x", "y", False, "z", 0))[:32]
    async with stage(engine, tmp_path) as on, on.server() as client:
        chats = payload(await client.call_tool("list_chats", {"limit": 50}))
        answers = [await client.call_tool(name, {}) for name in ("list_chats", "get_unread", "list_groups")]
        answers += [
            await client.call_tool("get_messages", {"chat": chat.get("id", chat.get("name")), "limit": 100})
            for chat in chats["chats"]
        ]
    told = "".join(map(texts, answers))
    assert [each for each in (preview, "BEGIN:VCARD", *DUMPED) if each in told] == []


def _lack(engine: str, name: str) -> str | None:
    """What a tool must say on an engine that lacks its whole work or part of it."""
    if engine in ROWS[name].lacking:
        return f"runs on the {engine.upper()} engine, which cannot do this (501)"
    if engine in BROWSERS and name == "post_text_status":
        return f"{engine.upper()} doesn't accept 'contacts'"
    return None


def _operation(entry: dict[str, Any]) -> str:
    return str(contract().by_id[entry["operation"]])


def _breaches(entry: dict[str, Any], calls: tuple[str, ...]) -> list[str]:
    """What is wrong with a request: the tool does not declare it, or it does not fit the contract."""
    operation = contract().by_id[entry["operation"]]
    problems = [] if str(operation) in {*calls, *AROUND} else [f"{operation} is not among its calls"]
    query = {name: values if len(values) > 1 else values[0] for name, values in parse_qs(entry["query"]).items()}
    problems += contract().query_errors(operation, dict(query))
    if operation.session_from == "none" and "session" in query:
        problems.append("it concerns no session: call it with bound=False")
    return problems + contract().body_errors(operation, entry["body"])


#: Tools for which WAHA's refusal is worded like the answer about a missing chat.
HIDDEN = {"get_channel", "get_invite_info", "preview_channel"}
FORBIDDEN = {"status": 403, "body": '{"message":"Forbidden","statusCode":403}'}
REFUSALS = {
    404: ({"status": 404, "body": '{"statusCode":404,"message":"Not found"}'}, "404"),
    422: ({"status": 422, "body": '{"statusCode":422,"message":"Too much of it"}'}, "Too much of it"),
    501: (
        {"status": 501, "body": '{"statusCode":501,"message":"The method is not implemented by \'GOWS\' engine."}'},
        "GOWS engine",
    ),
    "odd": ({"status": 200, "body": "[[1], 2]"}, ""),
    "empty": ({"status": 200, "body": ""}, ""),
    "page": ({"status": 200, "body": "<html>Log in</html>", "content_type": "text/html"}, ""),
}


def _paths(name: str) -> list[tuple[str, str]]:
    """(method, glob of the path) of each request of a tool."""
    found = []
    for call in CATALOG[name].calls:
        method, path = call.split(" ")
        parts = [
            ("default" if part == "{session}" else "*") if part.startswith("{") else part for part in path.split("/")
        ]
        found.append((method, "/".join(parts)))
    return found


async def _spoil(on: Stage, name: str, what: dict[str, Any]) -> None:
    fault = {"content_type": "application/json"} | what | {"count": 20}
    faults = [fault | {"method": method, "path": path} for method, path in _paths(name)]
    await on.admin.request("PUT", "/sandbox/faults", {"faults": faults})


@pytest.mark.tools
@ENGINES
async def test_whatever_waha_answers_every_tool_says_it_in_words_or_gives_a_right_result(
    engine: str, tmp_path: Path
) -> None:
    wrong: dict[str, Any] = {}
    async with stage(engine, tmp_path) as on, on.server() as client:
        rows = arguments(on.world)
        for name in in_order():
            if name in UNSPOILED:
                continue
            await on.ready(name)
            for case, (what, says) in REFUSALS.items():
                await _spoil(on, name, what)
                extra = {"allow_repeat": True} if CATALOG[name].repeats else {}
                (tmp_path / "outbox" / "note.ogg").unlink(missing_ok=True)
                result = await client.call_tool(name, rows[name] | extra)
                text = texts(result)
                if isinstance(case, int):
                    if name in HIDDEN and case in (404, 422):
                        says = "WAHA shows no"
                    if not result.is_error or says not in text:
                        wrong[f"{name} {case}"] = text
                elif result.is_error:
                    if "had an internal error" in text or "Wrong arguments" in text:
                        wrong[f"{name} {case}"] = text
                else:
                    payload(result)
                if any(secret in str(result) for secret in on.world.secrets):
                    wrong[f"{name} {case}"] = "tells a secret"
    assert wrong == {}


@pytest.mark.tools
@ENGINES
async def test_a_403_ends_a_tool_in_words_and_takes_its_action_away_where_the_probe_is_refused_too(
    engine: str, tmp_path: Path
) -> None:
    probes = {
        Action.READ: "/api/sessions/default",
        Action.SEND: "/api/default/status/new-message-id",
        Action.APP: "/api/apps",
    }
    wrong: dict[str, Any] = {}
    async with stage(engine, tmp_path) as on:
        rows = arguments(on.world)
        probed = [name for name in in_order() if CATALOG[name].action in (Action.READ, Action.SEND, Action.APP)]
        probed = [name for name in probed if name not in UNSPOILED]
        async with on.server() as client:
            for name in probed:
                await _spoil(on, name, FORBIDDEN)
                result = await client.call_tool(name, rows[name])
                if not result.is_error or "403" not in texts(result):
                    wrong[name] = texts(result)
                action = CATALOG[name].action
                assert action is not None
                of_action = {tool.name for tool in CATALOG.values() if tool.action is action}
                if ("GET", probes[action]) not in _paths(name):
                    left = {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
                    if not of_action <= left:
                        wrong[name] = "one refused operation took the action away"
                    fault = FORBIDDEN | {"content_type": "application/json", "path": probes[action], "count": 5}
                    await on.admin.request("POST", "/sandbox/faults", fault)
                    await client.call_tool(name, rows[name] | ({"allow_repeat": True} if CATALOG[name].repeats else {}))
                left = {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
                if left & of_action:
                    wrong[name] = "its action is still there"
                # WAHA allows it again, which get_status finds out.
                await on.admin.request("DELETE", "/sandbox/faults")
                await client.call_tool("get_status", {})
        # No harmless request shows that the other actions are back, so each needs a new server: one of each is tested.
        for name in chosen(("control_session", "update_session_settings", "delete_session")):
            async with on.server() as client:
                await _spoil(on, name, FORBIDDEN)
                result = await client.call_tool(name, rows[name])
                if not result.is_error or "403" not in texts(result):
                    wrong[name] = texts(result)
                left = {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
                assert not {tool.name for tool in CATALOG.values() if tool.action is CATALOG[name].action} & left
                await on.admin.request("DELETE", "/sandbox/faults")
    assert wrong == {}
