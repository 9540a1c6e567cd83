"""A chat that may not be read is answered exactly like one that does not exist: words, kind of error, requests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest

from tests.harness import Admin
from tests.policy.common import DAD, SAM, bridge_with, lid_of
from tests.policy.test_gate import sample
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.server.resources import Resources
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Tool
from waha_mcp.tools.toolsets import load_tools
from waha_mcp.waha.errors import WahaError

pytestmark = pytest.mark.anyio

load_tools()

#: Ids that do not occur in the sandbox.
NOBODY, NO_LID = "12025550177@c.us", "990000000000077@lid"
NO_GROUP, NO_CHANNEL = "120363999999999999@g.us", "120363999999999998@newsletter"


@dataclass(frozen=True)
class World:
    """Ids of one chat of each kind, and a message."""

    person: str
    lid: str
    group: str
    channel: str
    message: str

    def form(self, tool: Tool, name: str, form: str) -> str:
        if name in tool.messages:
            return self.message
        kind = tool.references[name].kind or "person"
        if kind != "person":
            return self.group if kind == "group" else self.channel
        return {"id": self.person, "number": f"+{self.person.partition('@')[0]}", "lid": self.lid}[form]


ABSENT = World(NOBODY, NO_LID, NO_GROUP, NO_CHANNEL, f"false_{NOBODY}_3EB0AAAAAAAAAAAAAAAA")


@pytest.fixture
async def sealed(admin: Admin) -> World:
    """Chats of the sandbox, of an engine that lacks nothing."""
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})
    group = await admin.request("POST", "/api/default/groups", {"name": "Sealed", "participants": [{"id": SAM}]})
    channels = await admin.request("GET", "/api/default/channels")
    message = await admin.request("POST", "/sandbox/messages", {"chatId": DAD, "text": "Hello"})
    return World(DAD, await lid_of(admin, DAD), group.get("id") or group["JID"], channels[0]["id"], message["id"])


def rule(name: str, world: World) -> dict[str, Any]:
    """Lists that seal the chats of this world, and do not otherwise distinguish them from absent ones."""
    if name == "deny":
        return {"deny": [world.person, world.group, world.channel]}
    return {"allow": [SAM]}


def sealable() -> list[tuple[str, str, str]]:
    """Each parameter for a chat or message that must be readable, with each form in which it can be written."""
    found = []
    for tool in CATALOG.values():
        for name, mark in tool.references.items():
            if not (tool.effect and mark.reached):
                forms = ("id", "number", "lid") if mark.kind in (None, "person") else ("id",)
                found += [(tool.name, name, form) for form in forms]
        found += [(tool.name, name, "id") for name, mark in tool.messages.items() if not (tool.effect and mark.reached)]
    return found


SEALABLE = sealable()
#: How the query of a search names chats and people.
IN_QUERY = {"of": "from:", "not_of": "-from:", "within": "in:", "not_within": "-in:"}


@pytest.fixture(params=["deny", "allow"])
async def bridge(request: pytest.FixtureRequest, sandbox: SandboxInfo, sealed: World) -> AsyncIterator[Bridge]:
    async with bridge_with(sandbox, "full", chats={"read": rule(request.param, sealed)}) as made:
        made.app = made.app.model_copy(update={"toolsets": frozenset({"all"})})
        await made.call("list_chats", {"limit": 1})
        yield made


async def answer(bridge: Bridge, tool: str, arguments: dict[str, Any], admin: Admin, world: World) -> Any:
    """The answer to a call and the requests that it made, with placeholders for this world's ids and names."""
    await admin.clear()
    try:
        said: Any = ("answer", (await bridge.answer(tool, arguments)).data)
    except (ArgumentError, Refusal, WahaError) as error:
        said = (type(error).__name__, str(error), getattr(error, "decision", None))
    asked = [(r["method"], unquote(r["path"]), r["query"]) for r in await admin.requests()]
    text = repr((said, asked))
    for each in (world.message, world.person, world.lid, world.group, world.channel, world.person.partition("@")[0]):
        text = text.replace(each, "X").replace(each.replace("@", "%40"), "X")
    # A reference is derived from the id; time passes.
    return re.sub(r"'limit': \d+|'now': '[^']*'|(?<=')[mg]\d{9}(?=')", "", text)


@pytest.mark.parametrize(("tool", "name", "form"), SEALABLE)
async def test_a_sealed_chat_is_answered_as_one_that_is_not_there(
    tool: str, name: str, form: str, bridge: Bridge, admin: Admin, sealed: World
) -> None:
    ordinary = await admin.request("POST", "/sandbox/messages", {"chatId": SAM, "text": "Hello"})
    groups = await admin.request("GET", "/api/default/groups?limit=1")
    [group] = groups if isinstance(groups, list) else groups.values()
    chats = {
        "person": SAM,
        "group": group.get("id") or group["JID"],
        "channel": "120363000000000003@newsletter",
        "message": ordinary["id"],
    }
    found = []
    for world in (ABSENT, sealed, ABSENT, sealed):
        arguments = sample(CATALOG[tool], chats)
        value = world.form(CATALOG[tool], name, form)
        if name in IN_QUERY:
            arguments["query"] = f"x {IN_QUERY[name]}{value}"
        else:
            listed = CATALOG[tool].input_schema["properties"][name]["type"] == "array"
            arguments[name] = [value] if listed else value
        found.append(await answer(bridge, tool, arguments, admin, world))
    assert found[0] == found[1]
    if form != "number":  # whether a number is on WhatsApp is not secret, and is asked once
        assert found[2] == found[3]
    assert "There is no such chat or message that this App may read" in found[0]


@pytest.mark.parametrize("uri", ["waha://chats/{}", "waha://messages/{}"])
async def test_a_sealed_resource_is_answered_as_one_that_is_not_there(uri: str, bridge: Bridge, sealed: World) -> None:
    said = []
    for world in (ABSENT, sealed):
        value = world.message if "messages" in uri else world.person
        with pytest.raises(Exception, match="There is no such chat or message") as error:
            await Resources(bridge).read(uri.format(value))
        said.append(str(error.value).replace(value, "X"))
    assert said[0] == said[1]


async def test_a_sealed_channel_is_answered_by_link_or_id_as_one_that_is_not_there(
    bridge: Bridge, admin: Admin, sealed: World
) -> None:
    for tool in ("get_channel", "preview_channel"):
        said = [await answer(bridge, tool, {"channel": world.channel}, admin, world) for world in (ABSENT, sealed)]
        assert said[0] == said[1]


async def test_an_invite_to_a_sealed_group_is_answered_as_one_that_leads_nowhere(
    bridge: Bridge, admin: Admin, sealed: World
) -> None:
    code = await admin.request("GET", f"/api/default/groups/{sealed.group}/invite-code")
    said = [
        (await answer(bridge, "get_invite_info", {"invite": each}, admin, sealed)).replace(each, "X")
        for each in ("AbCdEfGhIjKlMnOpQrStUv", str(code).rpartition("/")[2])
    ]
    assert said[0] == said[1]


async def test_changes_of_a_sealed_group_say_nothing_of_who_is_in_it_or_how_to_join(
    bridge: Bridge, admin: Admin, sealed: World
) -> None:
    async def field(tool: str, name: str, **arguments: Any) -> Any:
        return getattr(await bridge.call(tool, arguments), name)

    assert await field("revoke_invite_link", "link", group=sealed.group) is None
    code = await admin.request("GET", f"/api/default/groups/{sealed.group}/invite-code")
    assert await field("join_group", "group", invite=str(code).rpartition("/")[2]) is None
    for tool, more in (
        ("add_participants", {}),
        ("set_group_admins", {}),
        ("decide_join_requests", {"approved": True}),
        ("remove_participants", {}),
    ):
        assert await field(tool, "people", group=sealed.group, people=[SAM], **more) is None


async def everything(bridge: Bridge) -> list[Any]:
    async def data(tool: str, **arguments: Any) -> Any:
        return {k: v for k, v in (await bridge.answer(tool, arguments)).data.items() if k != "now"}

    return [
        await data("get_status"),
        await bridge.chat_names(""),
        await bridge.chat_names("zor"),
        *[
            await data(tool)
            for tool in ("get_contacts", "get_unread", "list_hidden_ids", "list_groups", "get_presence")
        ],
        # By itself it says the minute from which it looks.
        await data("get_catch_up", since="yesterday"),
        await data("find_chats", query="zora"),
    ]


async def test_listings_counts_completions_and_status_are_the_same_with_a_sealed_chat_and_without(
    bridge: Bridge, admin: Admin, sandbox: SandboxInfo
) -> None:
    read = {"deny": [NOBODY]} if bridge.app.chats.read.deny else {"allow": [SAM]}
    async with bridge_with(sandbox, "full", chats={"read": read}) as other:
        other.app = other.app.model_copy(update={"toolsets": frozenset({"all"})})
        before = await everything(other)
        await admin.request("POST", "/sandbox/messages", {"chatId": NOBODY, "text": "Psst", "pushName": "Zora Blum"})
        await admin.request("PUT", f"/api/default/contacts/{NOBODY}", {"firstName": "Zora", "lastName": "Blum"})
        other.people.expire()
        await other.directory.load()
        assert await everything(other) == before


@pytest.mark.parametrize("effect", [True, False])
async def test_a_sealed_name_is_answered_as_one_that_is_nobodys(
    effect: bool, admin: Admin, sandbox: SandboxInfo
) -> None:
    tool, more = ("send_text", {"text": "Hello"}) if effect else ("get_messages", {})
    said = []
    for exists in (False, True):
        if exists:
            await admin.request("POST", "/sandbox/messages", {"chatId": NOBODY, "text": "Psst"})
            await admin.request("PUT", f"/api/default/contacts/{NOBODY}", {"firstName": "Zora", "lastName": "Blum"})
        async with bridge_with(sandbox, "full", chats={"read": {"deny": [NOBODY]}}) as bridge:
            for name in ("Zora Blum", "zora blum", "Zor"):
                with pytest.raises(ArgumentError) as error:
                    await bridge.call(tool, {"chat": name, **more})
                said.append(str(error.value))
    assert said[:3] == said[3:]
