"""Subscriptions to single resources, in both eras: who is notified of what, how often, and when that ends."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import INVALID_PARAMS

from tests.harness import ERAS, Admin, Era, app_for, memory_client, stdio_client
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.server import subscriptions
from waha_mcp.server.protocol import Protocol
from waha_mcp.server.subscriptions import MOST

pytestmark = pytest.mark.anyio

MAYA, SAM = "447700900142@c.us", "12025550123@c.us"
CHAT, UNREAD = f"waha://chats/{MAYA}", "waha://unread"
OTHER = f"waha://chats/{SAM}"
#: Seconds within which a client must be notified.
SOON = 20.0


class Ear:
    """A client, and the URIs of its notifications."""

    def __init__(self, client: Client, era: Era) -> None:
        self.client, self.era = client, era
        self.told = Counter[str]()
        self.ended = anyio.Event()
        self._more = anyio.Event()
        self._streams = anyio.CancelScope()

    def note(self, uri: str) -> None:
        self.told[uri] += 1
        self._more.set()
        self._more = anyio.Event()

    async def until(self, true: Callable[[], bool]) -> None:
        with anyio.fail_after(SOON):
            while not true():
                await self._more.wait()


class Ears:
    """Clients, each of a separate server."""

    def __init__(self, sandbox: SandboxInfo, tasks: Any) -> None:
        self._sandbox, self._tasks = sandbox, tasks

    @asynccontextmanager
    async def on(self, made: Any, era: Era) -> AsyncIterator[Ear]:
        found: list[Ear] = []

        async def message(each: Any) -> None:
            if type(each).__name__ == "ResourceUpdatedNotification":
                found[0].note(str(each.params.uri))

        async with replace(made, message_handler=message) if era == "legacy" else made as client:
            found.append(Ear(client, era))
            yield found[0]

    def over_stdio(self, era: Era, key: str, *arguments: str) -> Any:
        return self.on(stdio_client(self._sandbox, key, *arguments, era=era), era)

    async def subscribe(self, ear: Ear, *uris: str) -> None:
        """Subscribe to all of them, in one stream where there are streams."""
        if ear.era == "legacy":
            for uri in uris:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", MCPDeprecationWarning)
                    await ear.client.subscribe_resource(uri)
            return
        refused: list[MCPError] = []

        async def run(*, task_status: Any) -> None:
            began = False
            try:
                async with ear.client.listen(resource_subscriptions=list(uris)) as events:
                    began = True
                    assert set(events.honored.resource_subscriptions or ()) == set(uris)
                    task_status.started()
                    async for event in events:
                        ear.note(event.uri)  # type: ignore[union-attr]
                    ear.ended.set()
            except MCPError as error:
                if began:
                    raise
                refused.append(error)
                task_status.started()
            except SubscriptionLost:
                pass  # closed with the client

        await self._tasks.start(run)
        if refused:
            raise refused[0]


@pytest.fixture
async def ears(sandbox: SandboxInfo) -> AsyncIterator[Ears]:
    async with anyio.create_task_group() as tasks:
        yield Ears(sandbox, tasks)
        tasks.cancel_scope.cancel()


async def arrives(admin: Admin, chat: str = MAYA, text: str = "Hello", **more: Any) -> str:
    told = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text} | more)
    return str(told["id"]) if isinstance(told, dict) and "id" in told else str(told)


async def happens(admin: Admin, kind: str, **what: Any) -> None:
    await admin.request("POST", "/sandbox/events", {"kind": kind} | what)


@pytest.mark.parametrize("era", ERAS)
async def test_a_burst_is_told_once_by_each_uri_as_it_was_subscribed_to(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    uris = [CHAT, "waha://chats/Maya%20Lindqvist", "waha://chats/+447700900142", UNREAD]
    async with ears.over_stdio(era, sandbox.keys["read"]) as ear:
        await ears.subscribe(ear, *uris, OTHER)
        for number in range(5):
            await arrives(admin, text=f"Message {number}")
        await ear.until(lambda: ear.told.keys() >= set(uris))
        assert OTHER not in ear.told
        await arrives(admin, SAM)
        await ear.until(lambda: ear.told[OTHER] == 1 and ear.told[UNREAD] == 2)
        assert ear.told == Counter(uris) + Counter([OTHER, UNREAD])


@pytest.mark.parametrize("era", ERAS)
async def test_edits_deletions_and_reactions_of_a_chat_are_told_and_receipts_are_not(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    async with ears.over_stdio(era, sandbox.keys["read"]) as ear:
        await ears.subscribe(ear, CHAT, UNREAD)
        message = await arrives(admin)
        await ear.until(lambda: ear.told[CHAT] == 1 and ear.told[UNREAD] == 1)
        changes: list[dict[str, Any]] = [
            {"kind": "edited", "text": "Hi"}, {"kind": "reaction", "reaction": "👍"}, {"kind": "revoked"},
        ]  # fmt: skip
        for number, change in enumerate(changes, 2):
            await happens(admin, messageId=message, **change)
            await ear.until(lambda number=number: ear.told[CHAT] == number)
        assert ear.told[UNREAD] == 1
        # What the owner has read on the phone.
        await happens(admin, "read", chatId=MAYA)
        await ear.until(lambda: ear.told[UNREAD] == 2)
        # Messages sent from the phone change the chat, but not the unread ones.
        await arrives(admin, fromMe=True)
        await ear.until(lambda: ear.told[CHAT] == 5)
        assert ear.told == {CHAT: 5, UNREAD: 2}


@pytest.mark.parametrize("era", ERAS)
async def test_a_chat_that_is_not_there_or_may_not_be_read_is_refused_as_reading_it_is(
    era: Era, sandbox: SandboxInfo, ears: Ears
) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], chats={"read": {"deny": [SAM]}}))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        for uri in (OTHER, "waha://chats/Zzyzx%20Qwrtpl", "waha://chats/15005550999@c.us", "waha://nothing"):
            said = []
            for act in (ear.client.read_resource, lambda uri: ears.subscribe(ear, uri)):
                with pytest.raises(MCPError) as refusal:
                    await act(uri)
                said.append((refusal.value.code, refusal.value.message, refusal.value.error.data))
            assert said[0] == said[1]
        assert bridge.feed.state == "off"


@pytest.mark.parametrize("era", ERAS)
async def test_nothing_is_told_of_chats_that_may_not_be_read(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], chats={"read": {"allow": [MAYA]}}))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        await ears.subscribe(ear, UNREAD)
        heard: list[str | None] = []
        bridge.feed.listeners.add(lambda event: heard.append(event.chat))
        await arrives(admin, SAM)
        with anyio.fail_after(SOON):
            while not heard:
                await bridge.feed.record.more(bridge.feed.record.last)
        [subscriptions] = [each for clients in _clients(bridge) for each in [clients.subscriptions]]
        assert [each.untold for mine in subscriptions._by_owner.values() for each in mine.values()] == [None]
        await arrives(admin, MAYA)
        await ear.until(lambda: ear.told[UNREAD] == 1)


@pytest.mark.parametrize("era", ERAS)
async def test_what_comes_under_a_persons_hidden_id_is_told_by_the_id_as_it_was_subscribed_to(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    lid = (await admin.request("GET", f"/api/default/lids/pn/{MAYA}"))["lid"]
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], chats={"read": {"allow": [MAYA]}}))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        # Nobody has asked yet whose hidden id it is.
        await ears.subscribe(ear, UNREAD)
        await arrives(admin, lid)
        await ear.until(lambda: ear.told[UNREAD] == 1)
        await ears.subscribe(ear, CHAT, f"waha://chats/{lid}")
        await arrives(admin, lid)
        await ear.until(lambda: ear.told == {UNREAD: 2, CHAT: 1, f"waha://chats/{lid}": 1})


def _clients(bridge: Bridge) -> list[Any]:
    return [listener.__self__ for listener in bridge.listeners]  # type: ignore[attr-defined]


@pytest.mark.parametrize("era", ERAS)
async def test_subscriptions_end_with_the_action_read(era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears) -> None:
    key = await admin.mint({Action.READ, Action.SEND})
    bridge = Bridge(app_for(sandbox, key["key"]))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        await ears.subscribe(ear, CHAT, UNREAD)
        [clients] = _clients(bridge)
        assert clients.subscriptions._by_owner
        await admin.change_key(key, actions={"send": True})
        assert (await ear.client.call_tool("list_chats", {})).is_error
        if era == "auto":
            with anyio.fail_after(SOON):
                await ear.ended.wait()
        assert not clients.subscriptions._by_owner
        assert bridge.feed.state == "off"
        with pytest.raises(MCPError) as refusal:
            await ears.subscribe(ear, CHAT)
        assert refusal.value.code == INVALID_PARAMS


@pytest.mark.parametrize("era", ERAS)
async def test_subscriptions_end_with_the_session_or_stream(era: Era, sandbox: SandboxInfo, ears: Ears) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"]))
    async with bridge:
        async with ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
            await ears.subscribe(ear, CHAT, UNREAD)
            [clients] = _clients(bridge)
            assert clients.subscriptions._by_owner
        assert not clients.subscriptions._by_owner


async def test_a_session_that_unsubscribes_is_told_no_more(sandbox: SandboxInfo, admin: Admin, ears: Ears) -> None:
    async with ears.over_stdio("legacy", sandbox.keys["read"]) as ear:
        await ears.subscribe(ear, CHAT, UNREAD)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            await ear.client.unsubscribe_resource(CHAT)
            await ear.client.unsubscribe_resource("waha://chats/never")
        await arrives(admin)
        await ear.until(lambda: ear.told[UNREAD] == 1)
        assert ear.told == {UNREAD: 1}


async def test_a_session_cannot_subscribe_to_what_never_changes_by_itself(sandbox: SandboxInfo, ears: Ears) -> None:
    async with ears.over_stdio("legacy", sandbox.keys["read"]) as ear:
        with pytest.raises(MCPError) as refusal:
            await ears.subscribe(ear, "waha://status")
        assert "subscribe to waha://unread or waha://chats/{chat}" in refusal.value.message


async def test_a_client_is_told_how_many_subscriptions_there_may_be(sandbox: SandboxInfo, ears: Ears) -> None:
    async with ears.over_stdio("auto", sandbox.keys["read"]) as ear:
        with pytest.raises(MCPError) as refusal:
            await ears.subscribe(ear, *(f"waha://chats/{number}" for number in range(MOST + 1)))
        assert f"subscribed to {MOST} resources at a time" in refusal.value.message


async def test_all_clients_of_an_app_together_have_so_many_and_room_again_when_one_goes(
    sandbox: SandboxInfo, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_OF_ALL", 2)
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"]))
    async with bridge:
        server = Protocol(lambda _: bridge).server
        async with ears.on(memory_client(server, "legacy"), "legacy") as other:
            async with ears.on(memory_client(server, "legacy"), "legacy") as first:
                await ears.subscribe(first, CHAT, UNREAD)
                with pytest.raises(MCPError, match="all clients of this App together to 2"):
                    await ears.subscribe(other, OTHER)
            await ears.subscribe(other, OTHER)


@pytest.mark.parametrize("era", ERAS)
async def test_without_live_events_what_polling_finds_is_told(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "POLL", 0.05)
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], feed="poll"))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        await ears.subscribe(ear, CHAT, UNREAD)
        await arrives(admin)
        await ear.until(lambda: ear.told == {CHAT: 1, UNREAD: 1})


@pytest.mark.parametrize("era", ERAS)
async def test_of_status_stories_only_those_whose_author_may_be_read_are_told(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    stories = "waha://chats/status@broadcast"
    chats = {"read": {"allow": [MAYA, "status"]}}
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"], chats=chats))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        await ears.subscribe(ear, stories)
        heard: list[str | None] = []
        bridge.feed.listeners.add(lambda event: heard.append(event.by))
        await arrives(admin, "status@broadcast", **{"from": SAM})
        with anyio.fail_after(SOON):
            while not heard:
                await bridge.feed.record.more(bridge.feed.record.last)
        [clients] = _clients(bridge)
        assert [each.untold for mine in clients.subscriptions._by_owner.values() for each in mine.values()] == [None]
        await arrives(admin, "status@broadcast", **{"from": MAYA})
        await ear.until(lambda: ear.told == {stories: 1})


@pytest.mark.parametrize("era", ERAS)
async def test_a_subscription_fails_in_words_where_nothing_can_be_heard(
    era: Era, sandbox: SandboxInfo, admin: Admin, ears: Ears
) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["read"]))
    async with bridge, ears.on(memory_client(Protocol(lambda _: bridge).server, era), era) as ear:
        await admin.fault("/api/default/chats/overview", status=500, count=50)
        with pytest.raises(MCPError) as refusal:
            await ears.subscribe(ear, CHAT)
        assert refusal.value.message.startswith("Changes cannot be followed now: ")
