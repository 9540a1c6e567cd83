"""Nothing of a chat that may not be read comes out of an index that was filled while it could be."""

from __future__ import annotations

import json
import random
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.harness import Admin, app_for
from tests.tools.core.test_indexed_search import DAD, HIKERS, KESTREL, MAYA, SAM, all_hits, current, indexed, queries
from tests.tools.core.test_names import ask
from waha_mcp import bridge as bridge_module
from waha_mcp import indexing as indexing_module
from waha_mcp.bridge import Bridge
from waha_mcp.history.index import Index
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.waha.errors import WahaError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MUM, STRANGER, HIDDEN = "12025550102@c.us", "12025550188@c.us", "211000000000777@lid"
FAMILY = "120363079422555556@g.us"
#: People and groups that may be sealed, with their names, and a word that only occurs in their chats.
CHATS = {
    MAYA: ("Maya Lindqvist", "quokka"),
    DAD: (None, "numbat"),
    MUM: (None, "wombat"),
    SAM: ("Sam Okafor", "dugong"),
    STRANGER: (None, "bilby"),
    HIDDEN: (None, "potoroo"),
    FAMILY: (None, "cassowary"),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the steps of filling."""
    monkeypatch.setattr(bridge_module, "LISTING_FIRST", 0.0)
    for name, seconds in {"PAUSE": 0.0, "CLAIM": 0.05, "AGAIN": 0.1, "SOON": 0.0}.items():
        monkeypatch.setattr(indexing_module, name, seconds)


@pytest.fixture
def undropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may not be read any more stays in the index, as before the next pass over all chats."""
    monkeypatch.setattr(Index, "drop", lambda index, chats: 0)


async def outcome(bridge: Bridge, tool: str, **arguments: Any) -> Any:
    """Everything that a call returns, over all its pages."""
    said: list[Any] = []
    while True:
        try:
            page = await ask(bridge, tool, **arguments)
        except (Refusal, ArgumentError, WahaError) as error:
            return [*said, f"{type(error).__name__}: {error}"]
        said.append(page)
        if "cursor" not in page:
            return said
        arguments["cursor"] = page.pop("cursor")


async def status(bridge: Bridge) -> Any:
    found = await ask(bridge, "get_status")
    assert found["index"]
    return {name: value for name, value in found.items() if name != "app"}


async def write(admin: Admin, sealed: list[str]) -> None:
    """Messages with each chat's word, at the same seconds as messages in others, and of people by both ids."""
    second = int(time.time()) - 3_000
    for number in range(3):
        for chat, (_, word) in CHATS.items():
            # The order within one second is not defined: what may be read has separate seconds.
            second += chat not in sealed
            text = f"{word} number {number}, see @447700900142 there?"
            body = {"chatId": chat, "text": text, "timestamp": second}
            for _ in range(4 if chat in sealed else 1):
                person = {"from": MUM} if chat.endswith("@g.us") else {}
                await admin.request("POST", "/sandbox/messages", body | person)
    for chat in sealed:
        if chat.endswith("@c.us"):
            lid = (await admin.request("GET", f"/api/default/lids/pn/{chat}")).get("lid")
            if lid:
                await admin.request(
                    "POST", "/sandbox/messages", {"chatId": lid, "text": f"{CHATS[chat][1]} of a phone"}
                )
            story = {"chatId": "status@broadcast", "from": chat, "text": f"{CHATS[chat][1]} of a day"}
            await admin.request("POST", "/sandbox/messages", story)


async def lists(admin: Admin, sealed: list[str], rng: random.Random) -> dict[str, Any]:
    """Lists that seal these chats, in one of their forms."""
    named: list[str] = []
    for chat in sealed:
        name = CHATS[chat][0]
        forms = [chat]
        if chat.endswith("@c.us"):
            forms.append(f"+{chat.partition('@')[0]}")
            lid = (await admin.request("GET", f"/api/default/lids/pn/{chat}")).get("lid")
            forms += [lid] if lid else []
        forms += [name] if name else []
        named.append(rng.choice(forms))
    if rng.random() < 0.5:
        return {"read": {"deny": named}}
    others = [chat for chat in CHATS if chat not in sealed]
    return {"read": {"allow": [*others, KESTREL] if rng.random() < 0.7 else ["*"], "deny": named}}


@pytest.mark.usefixtures("undropped")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("engine", ["gows", "noweb", "webjs", "wpp"])
async def test_of_a_sealed_chat_no_answer_tells(engine: str, seed: int, anyio_backend: str) -> None:
    rng = random.Random(f"{engine} {seed}")
    sealed = rng.sample(list(CHATS), rng.randint(1, 3))
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(running(engine=engine, reply_after=0.05))
        admin = Admin(sandbox)
        stack.push_async_callback(admin.aclose)
        await write(admin, sealed)
        old = []
        async with indexed(sandbox) as bridge:
            everything = await all_hits(bridge, query="before:now", limit=100)
            names = [name for name, _ in CHATS.values() if name] + [HIKERS, KESTREL]
            for query in ("number", "e", "before:now"):
                first = await ask(bridge, "search_messages", query=query, limit=2)
                old.append((query, first["cursor"]))
        chats = await lists(admin, sealed, rng)
        fields: dict[str, Any] = {"index": True, "chats": chats}
        key = sandbox.keys["read"]
        dirty = await stack.enter_async_context(Bridge(app_for(sandbox, key, **fields)))
        clean = await stack.enter_async_context(Bridge(app_for(sandbox, key, id="other", **fields)))
        kept, never = await current(dirty), await current(clean)
        held = {each.id for each in kept.chats()}
        assert len(held - {each.id for each in never.chats()}) >= len(sealed)
        secrets = [CHATS[chat][1] for chat in sealed]
        said: list[Any] = []

        async def same(tool: str, **arguments: Any) -> None:
            ours = await outcome(dirty, tool, **arguments)
            assert ours == await outcome(clean, tool, **arguments), (chats, tool, arguments)
            said.append(ours)

        for word in [word for _, word in CHATS.values()]:
            await same("search_messages", query=word, context=5)
            await same("search_messages", query=word[:2], order="relevance", limit=5)
        for chat in CHATS:
            for query in (f"number in:{chat}", f"number -from:{chat}", f"after:2d -in:{chat}"):
                await same("search_messages", query=query, context=2)
        for asked in queries(everything, names, 15, f"{engine} {seed}"):
            await same("search_messages", **asked, context=rng.choice((0, 5)))
        await same("get_unread", limit=50)
        await same("get_catch_up", since=str(int(time.time()) - 259_200))
        assert await status(dirty) == await status(clean)
        for query, cursor in old:
            readable = {hit["id"] for hit in await all_hits(clean, query=query, limit=100)}
            found = await outcome(dirty, "search_messages", query=query, cursor=cursor, limit=100, context=3)
            assert {hit["id"] for page in found for hit in page["hits"]} <= readable
            said.append(found)
        told = json.dumps([each for each in said if not isinstance(each[-1], str)])
        assert not [word for word in secrets if word in told]
        assert any(word in told for _, word in CHATS.values())


@pytest.mark.usefixtures("undropped")
async def test_before_the_lists_are_resolved_no_answer_tells(sandbox: SandboxInfo, admin: Admin) -> None:
    await write(admin, [MAYA])
    async with indexed(sandbox):
        pass
    await admin.fault("/api/contacts", status=500, count=100_000)
    fields: dict[str, Any] = {"index": True, "chats": {"read": {"deny": ["Maya Lindqvist"]}}}
    key = sandbox.keys["read"]
    async with (
        Bridge(app_for(sandbox, key, **fields)) as dirty,
        Bridge(app_for(sandbox, key, id="other", **fields)) as clean,
    ):
        for arguments in ({"query": "quokka"}, {"query": "number", "context": 5}, {"query": f"e in:{MAYA}"}):
            ours = await outcome(dirty, "search_messages", **arguments)
            assert ours == await outcome(clean, "search_messages", **arguments)
            assert "quokka number" not in json.dumps(ours)
        for tool, more in (("get_unread", {}), ("get_catch_up", {"since": str(int(time.time()) - 86_400)})):
            ours = await outcome(dirty, tool, **more)
            assert ours == await outcome(clean, tool, **more)
            assert "quokka" not in json.dumps(ours)


async def test_what_is_dropped_is_gone_and_tells_nothing(sandbox: SandboxInfo, admin: Admin) -> None:
    await write(admin, [MAYA])
    async with indexed(sandbox):
        pass
    chats = {"read": {"deny": ["Maya Lindqvist"]}}
    async with indexed(sandbox, chats=chats) as dirty, indexed(sandbox, id="other", chats=chats) as clean:
        for query in ("quokka", "number", "e"):
            ours = await outcome(dirty, "search_messages", query=query, context=3)
            assert ours == await outcome(clean, "search_messages", query=query, context=3)
        assert await status(dirty) == await status(clean)
