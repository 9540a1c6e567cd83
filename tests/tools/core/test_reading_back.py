"""Reading back, looking around one message, searching, and what is new."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.harness import Admin, app_for
from tests.tools.core.test_names import MAYA, ask
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo, running
from waha_mcp.tools.catalog import ArgumentError

pytestmark = pytest.mark.anyio

MESSAGES = "/api/default/chats/*/messages"


async def all_pages(bridge: Bridge, tool: str, field: str, **arguments: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await ask(bridge, tool, **arguments, **({"cursor": cursor} if cursor else {}))
        found += page[field]
        cursor = page.get("cursor")
        if cursor is None:
            return found


async def all_answers(bridge: Bridge, tool: str, field: str, **arguments: Any) -> list[dict[str, Any]]:
    """The rows of all pages, each answered within the budget."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        page = (await bridge.answer(tool, arguments | cursor)).data
        found += page[field]
        cursor = {"cursor": page["cursor"]} if "cursor" in page else None
    return found


async def test_pages_have_no_gaps_and_no_repeats_while_messages_arrive(bridge: Bridge, admin: Admin) -> None:
    whole = [m["id"] for m in (await ask(bridge, "get_messages", chat=MAYA, limit=100))["messages"]]
    read: list[str] = []
    cursor: dict[str, str] = {}
    while len(read) < len(whole):
        page = await ask(bridge, "get_messages", chat=MAYA, limit=7, **cursor)
        read += [message["id"] for message in page["messages"]]
        await admin.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": "one more"})
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert read == whole


async def test_messages_of_one_second_are_paged_whole(bridge: Bridge, admin: Admin) -> None:
    for number in range(25):
        await admin.request(
            "POST", "/sandbox/messages", {"chatId": MAYA, "text": f"burst {number}", "timestamp": 1_790_000_000}
        )
    found = await all_pages(bridge, "get_messages", "messages", chat=MAYA, limit=4, since="2026-09-21T00:00:00Z")
    texts = [m["text"] for m in found if m.get("text", "").startswith("burst")]
    assert len(texts) == len(set(texts)) == 25


async def test_a_window_is_given_as_time_or_as_how_long_ago(bridge: Bridge) -> None:
    last_day = (await ask(bridge, "get_messages", chat=MAYA, limit=50, since="1d"))["messages"]
    assert [m["kind"] for m in last_day] == ["text", "image"]
    older = (await ask(bridge, "get_messages", chat=MAYA, limit=50, since="3d", until="1d"))["messages"]
    assert older
    assert not {m["id"] for m in last_day} & {m["id"] for m in older}
    with pytest.raises(ArgumentError, match="since"):
        await bridge.call("get_messages", {"chat": MAYA, "since": "some day"})


async def test_sender_kind_and_from_me_narrow_it_down(bridge: Bridge) -> None:
    mine = (await ask(bridge, "get_messages", chat=MAYA, from_me=True, limit=5))["messages"]
    assert {m["sender"] for m in mine} == {"me"}
    files = (await ask(bridge, "get_messages", chat=MAYA, kind="document"))["messages"]
    assert [m["media"]["filename"] for m in files] == ["floor-plan-v3.pdf"]
    jonas = await ask(bridge, "get_messages", chat="Sunday Hikers 🥾", sender="Jonas Becker", limit=2)
    assert {m["sender_name"] for m in jonas["messages"]} == {"Jonas Becker"}


@pytest.mark.parametrize("status", [400, 501])
async def test_a_filter_that_the_engine_refuses_is_applied_here_and_the_answer_says_so(
    status: int, bridge: Bridge, admin: Admin
) -> None:
    body = '{"statusCode":400,"message":"filter is not supported","error":"Bad Request"}'
    wanted = {"chat": MAYA, "since": "3d", "until": "1d", "from_me": True, "limit": 50}
    expected = (await ask(bridge, "get_messages", **wanted))["messages"]
    await admin.fault(MESSAGES, status=status, body=body, content_type="application/json", count=2)
    here = await ask(bridge, "get_messages", **wanted)
    assert here["messages"] == expected
    assert len(here["notes"]) == 2


async def test_one_message_is_shown_with_its_surroundings(bridge: Bridge) -> None:
    messages = (await ask(bridge, "get_messages", chat=MAYA, limit=9))["messages"]
    middle = messages[4]
    view = await ask(bridge, "get_message", message_id=middle["id"], before=2, after=2)
    assert view["message"]["id"] == middle["id"]
    assert [m["id"] for m in view["before"]] == [messages[6]["id"], messages[5]["id"]]
    assert [m["id"] for m in view["after"]] == [messages[3]["id"], messages[2]["id"]]


async def test_a_message_that_is_not_there_is_said_not_to_be(bridge: Bridge) -> None:
    with pytest.raises(Exception, match="no such chat or message"):
        await bridge.call("get_message", {"message_id": f"false_{MAYA}_FFFFFFFFFFFFFFFF"})


# What is new


async def test_what_is_new_comes_newest_first_and_stays_unread(bridge: Bridge, admin: Admin) -> None:
    found = await ask(bridge, "get_unread")
    assert [chat.get("name") for chat in found["chats"]][:2] == ["Maya Lindqvist", "Project Kestrel"]
    assert all(len(chat["messages"]) <= 3 for chat in found["chats"])
    assert {r["method"] for r in await admin.requests()} == {"GET"}
    assert (await ask(bridge, "get_unread"))["chats"] == found["chats"]
    pages = await all_pages(bridge, "get_unread", "chats", limit=3)
    assert [chat["id"] for chat in pages] == [chat["id"] for chat in found["chats"]]


# Searching


@pytest.mark.slow
async def test_words_are_found_in_any_order_whatever_their_case_and_accents(bridge: Bridge) -> None:
    [hit] = (await ask(bridge, "search_messages", query="AURORA cafe"))["hits"]
    assert "Café Aurora" in hit["text"]
    assert hit["chat_name"] == "Maya Lindqvist"
    names = [h["text"] for h in (await ask(bridge, "search_messages", query="floor plan"))["hits"]]
    assert "floor-plan-v3.pdf" in names


@pytest.mark.slow
async def test_a_search_is_narrowed_by_chat_sender_and_time(bridge: Bridge) -> None:
    everywhere = (await ask(bridge, "search_messages", query="friday", limit=50))["hits"]
    hers = (await ask(bridge, "search_messages", query="friday", chat=MAYA, sender=MAYA, limit=50))["hits"]
    assert hers
    assert [h for h in everywhere if h["sender"] == MAYA] == hers
    recent = (await ask(bridge, "search_messages", query="friday", since="1d"))["hits"]
    assert [h["id"] for h in recent] == [hers[0]["id"]]


@pytest.mark.slow
async def test_a_search_goes_on_where_it_stopped_and_says_how_far_it_looked(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await ask(bridge, "search_messages", query="tomorrow", limit=100))["hits"]
    monkeypatch.setattr("waha_mcp.history.rest_records.PAGE", 50)
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 2)
    first = await ask(bridge, "search_messages", query="tomorrow", limit=100)
    assert first["looked_at"] < 600
    assert first["looked_back_to"]
    pages = await all_pages(bridge, "search_messages", "hits", query="tomorrow", limit=100)
    assert [hit["id"] for hit in pages] == [hit["id"] for hit in whole]


@pytest.mark.slow
async def test_an_engine_that_cannot_read_all_chats_at_once_is_searched_chat_by_chat(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await ask(bridge, "search_messages", query="tomorrow", limit=100)
    await admin.fault("/api/default/chats/all/messages", status=501, body="{}", count=100)
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 12)
    pages = await all_pages(bridge, "search_messages", "hits", query="tomorrow", limit=100)
    assert sorted(hit["id"] for hit in pages) == sorted(hit["id"] for hit in whole["hits"])
    told = await ask(bridge, "search_messages", query="nowhere to be found")
    assert "cursor" in told


async def test_a_search_tells_how_far_it_is(bridge: Bridge) -> None:
    told: list[tuple[float, str]] = []

    async def progress(done: float, total: float | None, message: str) -> None:
        told.append((done, message))

    await bridge.call("search_messages", {"query": "friday"}, progress=progress)
    assert told
    assert "found" in told[-1][1]


async def test_a_search_leaves_out_what_may_not_be_read(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], chats={"read": {"deny": [MAYA]}})
    async with Bridge(app) as bridge:
        found = await ask(bridge, "search_messages", query="friday", limit=100)
        assert MAYA not in {hit["chat"] for hit in found["hits"]}


# Small answers


async def test_every_answer_fits_the_budget_and_says_what_was_left_out(anyio_backend: str) -> None:
    async with running(contacts=300, messages=2_000) as sandbox:
        hand = Admin(sandbox)
        await hand.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": "long " * 5_000})
        async with Bridge(app_for(sandbox, sandbox.keys["read"], budget=2_500)) as bridge:
            calls: dict[str, dict[str, Any]] = {
                "list_chats": {"limit": 100, "detail": "full"},
                "get_messages": {"chat": MAYA, "limit": 100},
                "get_contacts": {"limit": 100},
                "get_unread": {"limit": 50},
            }
            for tool, arguments in calls.items():
                answer = await bridge.answer(tool, arguments)
                assert len(json.dumps(answer.data, ensure_ascii=False, separators=(",", ":"))) <= 2_500, tool
                assert answer.data["cursor"], tool
            contacts = await all_answers(bridge, "get_contacts", "contacts", limit=100)
            assert len({contact.get("phone", contact.get("id")) for contact in contacts}) == len(contacts) == 300
            [newest] = (await bridge.answer("get_messages", {"chat": MAYA, "limit": 1})).data["messages"]
            assert newest["text"].endswith("of 25000]")
            rest = await bridge.answer("get_message", {"message_id": newest["id"], "text_from": 24_000})
            assert len(rest.data["message"]["text"]) == 1_000
        await hand.aclose()


# What one call costs

NOBODY = "12025550197@c.us"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["gows", "noweb"])
async def test_no_reading_back_asks_more_than_its_budget_and_each_says_so_and_goes_on(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waha_mcp.history.rest_records.PAGE", 20)
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 12)
    monkeypatch.setattr("waha_mcp.tools.core.chat_messages.MOST_REQUESTS", 2)
    async with running(engine=engine, contacts=40, messages=1_500) as sandbox:
        hand = Admin(sandbox)
        for number in range(400):
            await hand.request("POST", "/sandbox/messages", {"chatId": MAYA, "text": f"theirs {number}"})
        one_chat = {"chats": {"read": {"allow": [MAYA]}}}
        searches: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("search_messages", {"query": "zzyzx"}, {}),
            ("search_messages", {"query": "zzyzx", "limit": 25}, one_chat),
            ("search_messages", {"query": "zzyzx", "sender": MAYA}, {}),
            ("search_messages", {"query": "zzyzx", "since": "300d", "until": "1m"}, {}),
            ("get_messages", {"chat": MAYA, "sender": MAYA, "kind": "poll"}, {}),
            ("get_messages", {"chat": MAYA, "kind": "poll", "since": "300d"}, {}),
        ]
        for tool, arguments, fields in searches:
            # A refusal that no filter explains is an error, and nothing else is tried.
            for refused in (False, True) if tool == "search_messages" or "since" in arguments else (False,):
                async with Bridge(app_for(sandbox, sandbox.keys["read"], **fields)) as bridge:
                    await ask(bridge, "find_chats", query="maya")  # requests for names are not counted here
                    if refused:
                        await hand.fault(MESSAGES, status=501, body="{}", count=1)
                    await hand.clear()
                    found = await ask(bridge, tool, **arguments)
                    asked = [r for r in await hand.requests() if r["path"].endswith("/messages")]
                    assert len(asked) <= (12 if tool == "search_messages" else 2), (tool, arguments)
                    assert "cursor" in found, (tool, arguments, found)
                    assert "Stopped after" in " ".join(found.get("notes", [])), (tool, arguments, found)
        await hand.aclose()


@pytest.mark.slow
async def test_what_a_cut_answer_over_many_chats_did_not_show_comes_with_its_cursor(
    sandbox: SandboxInfo, admin: Admin
) -> None:
    for number in range(12):
        for chat in (MAYA, "12025550123@c.us"):
            text = f"needle {number} " + "x" * 140
            await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text})
    await admin.fault("/api/default/chats/all/messages", status=501, body="{}", count=100)
    async with Bridge(app_for(sandbox, sandbox.keys["read"], budget=2_500)) as bridge:
        first = (await bridge.answer("search_messages", {"query": "needle", "limit": 100})).data
        assert 0 < len(first["hits"]) < 24
        assert first["cursor"]
        hits = await all_answers(bridge, "search_messages", "hits", query="needle", limit=100)
    assert len(hits) == len({hit["id"] for hit in hits}) == 24


async def test_a_search_over_chats_counts_only_those_that_it_has_not_searched(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(bridge, "find_chats", query="maya")
    await admin.fault("/api/default/chats/all/messages", status=501, body="{}", count=100)
    # One request finds out that chats must be searched one by one.
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 4)
    monkeypatch.setattr("waha_mcp.history.rest_records.PER_CHAT", 1)
    left: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await ask(bridge, "search_messages", query="zzyzx", **cursor)
        told = [re.search(r"(\d+) chats not searched yet", note) for note in page.get("notes", [])]
        left += [int(each[1]) for each in told if each]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert left == sorted(set(left), reverse=True)
    assert left[-1] <= 4
