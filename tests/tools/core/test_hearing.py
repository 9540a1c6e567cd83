"""The tools for live events report everything that came, once, and nothing of chats that may not be read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.feed import live, record, since
from waha_mcp.feed.reading_back import ReadBack
from waha_mcp.feed.record import Mark
from waha_mcp.feed.settling import LONGEST_SETTLE
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError, Context
from waha_mcp.tools.core import hearing, what_came
from waha_mcp.tools.paging import encode_cursor
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.events import Event, event_from, message_event

pytestmark = pytest.mark.anyio

MAYA, SAM, STRANGER = "447700900142@c.us", "12025550123@c.us", "12025550188@c.us"
MUM, DAD, FAMILY = "12025550102@c.us", "12025550101@c.us", "120363079422555556@g.us"
OVERVIEW = "/api/default/chats/overview"


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as bridge:
        yield bridge


async def ask(bridge: Bridge, tool: str, **arguments: Any) -> Any:
    return (await bridge.call(tool, arguments)).model_dump(mode="json", exclude_none=True)


async def come(admin: Admin, chat: str, text: str, **more: Any) -> str:
    answer = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text, **more})
    return str(answer["id"])


async def happen(admin: Admin, kind: str, **more: Any) -> None:
    await admin.request("POST", "/sandbox/events", {"kind": kind, **more})


def elsewhere(when: float = 0.0, start: int | None = None) -> str:
    """A cursor of another process."""
    now = time.time()
    return encode_cursor("after", Mark("other", 1, when or now, int(now) if start is None else start).state)


def said(found: Any) -> list[str]:
    return [each["text"] for each in found.get("messages", found.get("updates")) if each.get("text")]


async def test_where_nothing_happened_there_is_nothing_but_a_cursor(bridge: Bridge) -> None:
    await ask(bridge, "get_updates")
    while bridge.feed.state != "live":
        await bridge.feed.record.more(bridge.feed.record.last)
    first = await ask(bridge, "get_updates")
    then = await ask(bridge, "get_updates", after=first["cursor"])
    assert then.keys() == {"updates", "cursor"}
    assert then["updates"] == []


async def test_of_which_times_only_messages_are_known_is_told(bridge: Bridge) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    bridge.feed.record.gaps.append((time.time() + 5, time.time() + 10))
    [note] = (await ask(bridge, "get_updates", after=cursor))["notes"]
    assert note.startswith("Reactions, receipts, edits, deletions and calls may be missing from ")


# Nothing is lost, nothing is told twice


async def test_what_comes_while_it_is_read_back_is_told_as_well(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(bridge, "get_updates")

    async def slow(*_: Any) -> ReadBack:
        before = bridge.feed.record.last
        await come(admin, MAYA, "meanwhile")
        await bridge.feed.record.more(before)
        return ReadBack()

    monkeypatch.setattr(since, "read_back", slow)
    assert "meanwhile" in said(await ask(bridge, "get_updates", after=elsewhere(start=1_000)))


async def test_where_more_chats_have_news_than_can_be_read_back_the_way_to_the_rest_is_told(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_: Any) -> ReadBack:
        return ReadBack(whole=False)

    monkeypatch.setattr(since, "read_back", cut)
    found = await ask(bridge, "get_updates", after=elsewhere(start=1_000))
    assert "Too many chats have new messages: see get_unread" in str(found["notes"])


@pytest.mark.parametrize("order", [("delivered", "read"), ("read", "delivered"), ("read", "read")])
async def test_of_the_receipts_of_a_message_the_furthest_is_told_in_whichever_order_they_come(
    order: tuple[str, ...], bridge: Bridge
) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    for number, what in enumerate(order):
        row = {"number": number}
        bridge.feed.take(Event("receipt", time.time(), MAYA, row, about="3EB0", by=MAYA, what=what), 10)
    updates = (await ask(bridge, "get_updates", after=cursor))["updates"]
    assert [each["what"] for each in updates] == ["read"]


async def test_a_message_that_was_read_back_before_it_was_heard_is_told_once(bridge: Bridge, admin: Admin) -> None:
    await ask(bridge, "get_updates")
    bridge.feed.deaf_since = time.time()
    cursor = elsewhere()
    await come(admin, MAYA, "once", timestamp=int(time.time()) + 2, told=[])
    first = await ask(bridge, "wait_for_messages", after=cursor, settle=0)
    assert said(first) == ["once"]
    await bridge.feed._catch_up(tries=1)
    assert said(await ask(bridge, "wait_for_messages", after=first["cursor"], timeout=0)) == []


async def test_what_came_while_the_engine_was_not_connected_is_read_back_once_it_is(
    bridge: Bridge, admin: Admin
) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    await come(admin, MAYA, "unheard of", told=[])
    await admin.request("POST", "/sandbox/session", {"status": "STARTING"})
    await admin.request("POST", "/sandbox/session", {"status": "WORKING"})
    assert said(await ask(bridge, "wait_for_messages", after=cursor, settle=0, timeout=10)) == ["unheard of"]


async def test_the_place_of_an_old_event_holds_elsewhere_however_many_came_after_it(
    bridge: Bridge, admin: Admin
) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    await admin.request("POST", "/sandbox/socket", {"flood": 700, "chatId": MAYA})
    await admin.settle()
    while bridge.feed.record.last < 700:
        await bridge.feed.record.more(bridge.feed.record.last)
    first = await bridge.call("get_updates", {"after": cursor})
    assert first.updates[-1].id is not None  # type: ignore[attr-defined]
    numbers = [each.number for each in bridge.feed.record.entries if each.event.kind == "message"]
    early = bridge.feed.record.mark(numbers[39])
    assert len(early.seen) >= 40


async def test_an_edit_is_of_its_authors_message_though_another_one_has_the_same_id(bridge: Bridge) -> None:
    group = "120363000000000001@g.us"
    row = {"id": f"false_{group}_AAA_{MAYA}", "timestamp": 1_000, "body": "right", "participant": MAYA}
    forged = row | {"id": f"false_{group}_AAA_{SAM}", "body": "forged", "participant": SAM}
    edit = row | {"id": f"false_{group}_BBB_{MAYA}", "body": "righter", "editedMessageId": "AAA"}
    names = bridge.directory
    found = what_came.Found(Context(bridge.app, bridge.waha, bridge.key.grant, names))
    edited = event_from({"event": "message.edited", "timestamp": 1_000, "payload": edit})
    events = [event for event in (message_event(row), message_event(forged), edited) if event is not None]
    await found.take((event, 0.0, bridge.feed.record.mark) for event in events)
    told = [(each.text, each.edited) for each in found.worded(found.rows, names)]
    assert told == [("righter", True), ("forged", None)]


# Nothing is told of what may not be read


async def test_which_hidden_chats_could_not_be_read_back_is_not_told(sandbox: SandboxInfo, admin: Admin) -> None:
    app = app_for(sandbox, sandbox.keys["read_send"], chats={"read": {"allow": [MAYA]}})
    async with Bridge(app) as bridge:
        cursor = (await ask(bridge, "get_updates"))["cursor"]
        await come(admin, STRANGER, "hidden", told=[])
        await come(admin, MAYA, "shown", told=[])
        await admin.fault("/api/default/chats/*/messages", status=501, count=20, body='{"message": "no"}')
        await bridge.feed._catch_up(tries=1)
        told = str(await ask(bridge, "get_updates", after=cursor))
        assert STRANGER.partition("@")[0] not in told
        assert MAYA in told


# What is forged or fails


@pytest.mark.parametrize(
    "state", [["x", 1, float("nan"), 1, []], ["x", 1, 10**400, 1, []], ["x", -1, 1, 1, []], ["x", 1, 1, -5, []]]
)
async def test_a_forged_cursor_is_refused(bridge: Bridge, state: list[Any]) -> None:
    with pytest.raises(ArgumentError, match="neither a message id nor a cursor"):
        await ask(bridge, "get_updates", after=encode_cursor("after", state))


async def test_clients_are_told_when_the_feed_finds_out_that_the_key_may_not_read_any_more(
    sandbox: SandboxInfo, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_PAUSE", "TRY_AGAIN"):
        monkeypatch.setattr(live, name, 0.05)
    made = await admin.mint([Action.READ, Action.SEND])
    told = anyio.Event()

    async def tell() -> None:
        await anyio.lowlevel.checkpoint()
        told.set()

    async with Bridge(app_for(sandbox, made["key"])) as bridge:
        await ask(bridge, "get_updates")
        bridge.listeners.add(tell)
        await admin.change_key(made, actions={"send": True})
        await admin.request("POST", "/sandbox/socket", {"drop": True})
        with anyio.fail_after(10):
            await told.wait()
        assert "wait_for_messages" not in {tool.name for tool in bridge.tools()}


async def test_what_comes_faster_than_it_is_kept_is_read_back_by_who_waits(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "MOST", 1)
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            found.append(await ask(bridge, "wait_for_messages", chat=MAYA, settle=1, timeout=20))

        await ask(bridge, "get_updates")
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        number = bridge.feed.record.last
        # No other task runs between these.
        for message in (await come(admin, MAYA, "first", told=[]), await come(admin, SAM, "flood", told=[])):
            row = {"id": message, "timestamp": time.time(), "body": "heard"}
            event = message_event(row)
            assert event is not None
            bridge.feed.take(event, 100)
        assert bridge.feed.record.since(number)[1] == 1
    assert said(found[0]) == ["first"]
    assert "were too many to keep: their messages were read back" in found[0]["notes"][0]


async def test_a_wait_ends_when_reading_is_withdrawn(bridge: Bridge) -> None:
    await ask(bridge, "get_updates")
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with anyio.fail_after(10), pytest.raises(WahaError, match="may no longer read"):
                await ask(bridge, "wait_for_messages")

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        bridge.feed.close()


async def test_what_was_heard_before_a_message_is_no_answer_to_it_though_its_time_is_no_earlier(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "SETTLE", 0.5)
    await ask(bridge, "get_updates")
    before = bridge.feed.record.last
    await come(admin, SAM, "Before", timestamp=int(time.time()) + 30)
    await bridge.feed.record.more(before)
    sent = await ask(bridge, "send_text", chat=SAM, text="Hello", wait_for_reply=20)
    assert [each["text"] for each in sent["replies"]] == ["Got it: “Hello” 👍"]


async def test_whatever_fails_in_the_wait_the_message_was_sent(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise OverflowError

    monkeypatch.setattr(hearing, "came_since", broken)
    sent = await ask(bridge, "send_text", chat=SAM, text="Hello", wait_for_reply=5)
    assert sent["message_id"]
    assert sent["notes"][0].startswith("It was sent; waiting for an answer failed: an error inside.")


async def test_an_answer_counts_as_one_though_wahas_clock_is_ahead_of_whatsapps(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "SETTLE", 0.5)
    found: list[Any] = []
    await ask(bridge, "get_updates")

    async def send() -> None:
        found.append(await ask(bridge, "send_text", chat=MAYA, text="When?", wait_for_reply=20))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while not [each for each in bridge.feed.record.entries if each.event.row.get("body") == "When?"]:
            await bridge.feed.record.more(bridge.feed.record.last)
        await come(admin, MAYA, "At five", timestamp=int(time.time()) - 30)
    assert said({"messages": found[0]["replies"]}) == ["At five"]


async def test_slow_reading_back_ends_with_the_time_of_a_call(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(hearing, "came_since", slow)
    monkeypatch.setattr(hearing, "WHOLE", 2.0)
    with anyio.fail_after(20), pytest.raises(WahaError, match="took too long"):
        await ask(bridge, "get_updates")


async def test_what_fails_while_listening_does_not_end_the_bridge(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, admin: Admin
) -> None:
    monkeypatch.setattr(live, "LONGEST_PAUSE", 0.01)
    cursor = (await ask(bridge, "get_updates"))["cursor"]

    def broken(_: Any) -> None:
        bridge.feed.listeners.remove(broken)
        raise RuntimeError

    bridge.feed.listeners.add(broken)
    await come(admin, MAYA, "first")
    await come(admin, MAYA, "second")
    found = await ask(bridge, "wait_for_messages", after=cursor, settle=2, timeout=20)
    assert said(found) == ["first", "second"]


async def test_proxy_settings_that_cannot_be_used_do_not_end_the_bridge(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(bridge, "get_updates")
    bridge.feed.close()
    await bridge.waha.call("GET /api/{session}/chats/overview", query={"limit": 1})
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "nonsense://127.0.0.1:1")
    await ask(bridge, "get_updates")
    assert bridge.feed.why is not None
    assert "InvalidProxy" in bridge.feed.why


# WEBJS reports it only if its settings say so.
@pytest.mark.parametrize("sandbox", ["gows", "noweb", "wpp"], indirect=True)
@pytest.mark.parametrize("how", ["typing", "recording"])
async def test_who_types_or_records_has_not_finished(how: str, bridge: Bridge, admin: Admin) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    await come(admin, MAYA, "Hello")
    await happen(admin, "presence", chatId=MAYA, presence=how)
    while not [each for each in bridge.feed.record.entries if each.event.what == how]:
        await bridge.feed.record.more(bridge.feed.record.last)
    found = await ask(bridge, "wait_for_messages", chat=MAYA, after=cursor, settle=1, timeout=1)
    assert said(found) == ["Hello"]
    assert found["typing"]


@pytest.mark.parametrize("sandbox", ["gows", "noweb", "wpp"], indirect=True)
async def test_who_has_stopped_typing_is_not_typing(bridge: Bridge, admin: Admin) -> None:
    cursor = (await ask(bridge, "get_updates"))["cursor"]
    await come(admin, MAYA, "Hello")
    await happen(admin, "presence", chatId=MAYA, presence="typing")
    await happen(admin, "presence", chatId=MAYA, presence="paused")
    while not [each for each in bridge.feed.record.entries if each.event.what == "paused"]:
        await bridge.feed.record.more(bridge.feed.record.last)
    found = await ask(bridge, "wait_for_messages", chat=MAYA, after=cursor, settle=0)
    assert said(found) == ["Hello"]
    assert "typing" not in found


@pytest.mark.parametrize("sandbox", ["gows", "noweb", "wpp"], indirect=True)
async def test_who_is_not_waited_for_keeps_no_wait_from_settling(bridge: Bridge, admin: Admin) -> None:
    found: list[Any] = []

    async def wait(cursor: str) -> None:
        found.append(
            await ask(bridge, "wait_for_messages", chat=FAMILY, sender=DAD, after=cursor, settle=1, timeout=40)
        )

    cursor = (await ask(bridge, "get_updates"))["cursor"]
    async with anyio.create_task_group() as tasks:
        await come(admin, FAMILY, "Hello", **{"from": DAD})
        tasks.start_soon(wait, cursor)
        while not found:
            await happen(admin, "presence", chatId=FAMILY, presence="typing", **{"from": MUM})
            await anyio.sleep(0.2)
    assert said(found[0]) == ["Hello"]
    assert found[0]["waited"] < LONGEST_SETTLE / 2
    assert "typing" not in found[0]
